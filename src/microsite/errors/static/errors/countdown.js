// Five seconds to the home page, unless the visitor stays.
const line = document.querySelector("[data-countdown]");
const seconds = line.querySelector("[data-seconds]");
line.hidden = false;
let left = 5;
const timer = setInterval(() => {
  left -= 1;
  seconds.textContent = left;
  if (left > 0) return;
  clearInterval(timer);
  location.replace(line.dataset.countdown);
}, 1000);
line.querySelector("[data-stay]").addEventListener("click", () => {
  clearInterval(timer);
  line.textContent = "You stay here.";
});
