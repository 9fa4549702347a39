// Uploads without leaving the page: drop or choose, one request for each file, bar, speed, time left, retry.
import { say } from "./shell.js";

const form = document.querySelector("[data-upload]");
const input = form.querySelector("input[type=file]");
const tray = document.querySelector("[data-tray]");
const token = document.querySelector("meta[name=csrf-token]")?.content;
const AT_ONCE = 2;
const waiting = [];
let running = 0;
let arrived = 0;
let failed = 0;

document.body.classList.add("enhanced");

const size = (bytes) => {
  for (const unit of ["B", "kB", "MB", "GB", "TB"]) {
    if (bytes < 999.5 || unit === "TB") return `${unit === "B" || bytes >= 100 ? Math.round(bytes) : bytes.toFixed(1)} ${unit}`;
    bytes /= 1000;
  }
};
const duration = (seconds) =>
  seconds < 60 ? `${Math.ceil(seconds)} s` : seconds < 3600 ? `${Math.ceil(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

function add(files) {
  for (const file of files) {
    const how = element("span", { className: "how", textContent: "waiting" });
    const bar = element("progress", { max: 1, value: 0 });
    bar.setAttribute("aria-label", `Upload of ${file.name}`);
    const button = element("button", { type: "button", className: "btn btn-quiet", textContent: "Cancel" });
    const row = element("div", { className: "tray-row" }, element("span", { className: "what", textContent: file.name }), button, bar, how);
    tray.append(row);
    waiting.push({ file, row, bar, how, button });
  }
  tray.hidden = false;
  next();
}

function next() {
  while (running < AT_ONCE && waiting.length) send(waiting.shift());
  if (running || waiting.length || !arrived) return;
  if (!failed) return location.assign(form.dataset.done ?? location.href);
  if (tray.querySelector("[data-go-on]")) return;
  const go = element("button", { type: "button", className: "btn btn-outline-secondary", textContent: "Go on without the rest" });
  go.dataset.goOn = "";
  go.onclick = () => location.assign(form.dataset.done ?? location.href);
  tray.append(go);
}

function send(item) {
  const { file, row, bar, how, button } = item;
  const request = new XMLHttpRequest();
  const started = performance.now();
  running += 1;
  row.classList.remove("failed");
  button.textContent = "Cancel";
  button.onclick = () => request.abort();
  const end = (text, ok, again = true) => {
    running -= 1;
    how.textContent = text;
    if (ok) {
      arrived += 1;
      button.remove();
    } else {
      failed += 1;
      bar.value = 0;
      row.classList.add("failed");
      button.textContent = again ? "Try again" : "Remove";
      button.onclick = () => {
        failed -= 1;
        if (again) waiting.push(item);
        else row.remove();
        tray.hidden = !tray.querySelector(".tray-row");
        next();
      };
      say(text.startsWith(file.name) ? text : `${file.name}: ${text}`, true);
    }
    next();
  };
  request.upload.onprogress = ({ loaded, total }) => {
    bar.value = total ? loaded / total : 1;
    const seconds = (performance.now() - started) / 1000;
    const speed = loaded / Math.max(seconds, 0.1);
    how.textContent =
      loaded < total
        ? `${Math.floor((100 * loaded) / total)} % · ${size(speed)}/s · ${duration((total - loaded) / speed)} left`
        : "all sent; the site is checking it";
  };
  request.onload = () => {
    if (request.status === 201) return end(`${size(file.size)} · done`, true);
    let reason = `the site answered ${request.status}`;
    try {
      reason = JSON.parse(request.responseText).detail;
    } catch {
      if (request.status === 413) reason = "a proxy in front of the site limits the size of requests";
    }
    end(reason, false, request.status >= 500 || request.status === 429);
  };
  request.onerror = () => end("the connection broke", false);
  request.onabort = () => {
    running -= 1;
    row.remove();
    tray.hidden = !tray.querySelector(".tray-row");
    next();
  };
  request.open("PUT", form.dataset.upload + encodeURIComponent(file.name));
  if (token) request.setRequestHeader("X-CSRFToken", token);
  request.setRequestHeader("Accept", "application/json");
  request.send(file);
}

function take() {
  if (input.files.length) add([...input.files]);
  input.value = "";
}
input.addEventListener("change", take);
take(); // what was chosen before this script ran
addEventListener("beforeunload", (event) => {
  if (running || waiting.length) event.preventDefault();
});
for (const name of ["dragenter", "dragover"]) {
  addEventListener(name, (event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    document.body.classList.add("dropping");
  });
}
for (const name of ["dragleave", "drop"]) {
  addEventListener(name, (event) => {
    if (name === "drop" || !event.relatedTarget) document.body.classList.remove("dropping");
  });
}
addEventListener("drop", (event) => {
  if (!event.dataTransfer?.files.length) return;
  event.preventDefault();
  add([...event.dataTransfer.files]);
});
addEventListener("paste", (event) => {
  if (event.clipboardData?.files.length) add([...event.clipboardData.files]);
});
