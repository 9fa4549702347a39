// Says while typing whether the name is free.
const input = document.querySelector("[data-check]");
const line = document.createElement("p");
line.className = "form-text";
line.setAttribute("role", "status");
input.after(line);
let timer;
let asked = 0;
input.addEventListener("input", () => {
  clearTimeout(timer);
  timer = setTimeout(async () => {
    const turn = ++asked;
    const answer = await fetch(`${input.dataset.check}?username=${encodeURIComponent(input.value)}`).catch(() => null);
    if (turn !== asked || !answer?.ok) return;
    const { available, message } = await answer.json();
    line.textContent = message;
    line.classList.toggle("taken", !available);
  }, 250);
});
