// What every page has: theme switch, notes that can be closed, times in the reader's zone, copy buttons, dialogs.

for (const button of document.querySelectorAll("[data-theme]")) {
  const mark = () => button.setAttribute("aria-pressed", String((localStorage.getItem("theme") ?? "auto") === button.dataset.theme));
  mark();
  button.addEventListener("click", () => {
    if (button.dataset.theme === "auto") localStorage.removeItem("theme");
    else localStorage.setItem("theme", button.dataset.theme);
    dispatchEvent(new Event("themechange"));
  });
  addEventListener("themechange", mark);
}

const menu = document.querySelector("details.menu");
if (menu) {
  addEventListener("click", (event) => menu.contains(event.target) || menu.removeAttribute("open"));
  menu.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    menu.removeAttribute("open");
    menu.querySelector("summary").focus();
  });
}

function prepareNote(note) {
  note.querySelector("[data-dismiss]")?.addEventListener("click", () => note.remove());
  if ("fades" in note.dataset) setTimeout(() => note.remove(), 8000);
}
for (const note of document.querySelectorAll(".toast-note")) prepareNote(note);

/** Say something in a note below the bar; a failure stays until it is closed. */
export function say(message, failed = false) {
  const note = document.createElement("div");
  note.className = `toast-note ${failed ? "error" : "success"}`;
  note.setAttribute("role", failed ? "alert" : "status");
  const words = document.createElement("p");
  words.textContent = message;
  const close = document.createElement("button");
  close.type = "button";
  close.className = "close";
  close.dataset.dismiss = "";
  close.textContent = "Close";
  note.append(words, close);
  if (!failed) note.dataset.fades = "";
  document.querySelector(".toasts").append(note);
  prepareNote(note);
}

const day = (date) => new Date(date.getFullYear(), date.getMonth(), date.getDate()).getTime();

/** "in 42 min", "today 14:02", "Tue 21:04" or a date, in the reader's zone. */
export function relative(date, now = new Date(), clock = false) {
  const minutes = Math.round((date - now) / 60000);
  const time = date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  if (!clock && minutes > 0 && minutes < 60) return `in ${minutes} min`;
  if (!clock && minutes === 0) return "just now";
  if (!clock && minutes < 0 && minutes > -60) return `${-minutes} min ago`;
  const days = Math.round((day(date) - day(now)) / 86400000);
  if (days === 0) return `today ${time}`;
  if (days === 1) return `tomorrow ${time}`;
  if (days === -1) return `yesterday ${time}`;
  if (Math.abs(days) < 7) return `${date.toLocaleDateString([], { weekday: "short" })} ${time}`;
  return date.toLocaleDateString([], { day: "numeric", month: "short", year: "numeric" });
}

export function showTimes(root = document) {
  for (const element of root.querySelectorAll("time[datetime]")) {
    const date = new Date(element.dateTime);
    element.title = date.toLocaleString([], { dateStyle: "full", timeStyle: "long" });
    element.textContent = relative(date, new Date(), "clock" in element.dataset);
  }
}
showTimes();
setInterval(showTimes, 60000);

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const source = document.getElementById(button.dataset.copy);
  const words = source.value ?? source.textContent;
  try {
    await navigator.clipboard.writeText(words);
  } catch {
    source.select?.();
    document.execCommand("copy");
  }
  const label = button.querySelector("span") ?? button;
  const before = label.textContent;
  label.textContent = "Copied";
  setTimeout(() => (label.textContent = before), 2000);
});

for (const button of document.querySelectorAll("[data-reveal]")) {
  const input = document.getElementById(button.dataset.reveal);
  button.hidden = false;
  button.addEventListener("click", () => {
    const shown = input.type === "password";
    input.type = shown ? "text" : "password";
    button.setAttribute("aria-pressed", String(shown));
  });
  input.form?.addEventListener("submit", () => (input.type = "password"));
}
for (const hint of document.querySelectorAll("[data-caps]")) {
  document.getElementById(hint.dataset.caps).addEventListener("keyup", (event) => {
    hint.hidden = !event.getModifierState?.("CapsLock");
  });
}

for (const button of document.querySelectorAll("[data-dialog]")) {
  const dialog = document.getElementById(button.dataset.dialog);
  button.addEventListener("click", (event) => {
    event.preventDefault();
    dialog.showModal();
  });
}
for (const button of document.querySelectorAll("dialog [data-close]")) {
  button.addEventListener("click", () => button.closest("dialog").close());
}

for (const bar of document.querySelectorAll("[data-selection]")) {
  const boxes = document.querySelectorAll(`[form="${bar.dataset.selection}"][type=checkbox]`);
  const update = () => {
    const count = [...boxes].filter((box) => box.checked).length;
    bar.hidden = !count;
    bar.querySelector("[data-count]").textContent = `${count} selected`;
  };
  boxes.forEach((box) => box.addEventListener("change", update));
  update();
}

/** Show the main part of another page of this site in a dialog; where that fails, the page itself. */
async function openInDialog(address, opener) {
  try {
    const answer = await fetch(address, { headers: { Accept: "text/html" } });
    if (!answer.ok || answer.redirected) throw new Error(String(answer.status));
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const link of page.querySelectorAll("link[rel=stylesheet]")) {
      if (!document.querySelector(`link[href="${CSS.escape(link.getAttribute("href"))}"]`)) document.head.append(link);
    }
    const dialog = document.createElement("dialog");
    dialog.className = "page-dialog";
    dialog.append(...page.querySelector("main").children);
    const title = dialog.querySelector("h1");
    const heading = document.createElement("h2");
    heading.textContent = title.textContent;
    heading.id = "dialog-heading";
    title.replaceWith(heading);
    dialog.setAttribute("aria-labelledby", heading.id);
    const close = document.createElement("button");
    close.type = "button";
    close.className = "btn btn-quiet";
    close.textContent = "Close";
    close.addEventListener("click", () => dialog.close());
    dialog.prepend(close);
    dialog.addEventListener("close", () => {
      dialog.remove();
      if ("changed" in dialog.dataset) location.reload();
      else opener.focus();
    });
    document.body.append(dialog);
    showTimes(dialog);
    dialog.showModal();
    for (const script of page.querySelectorAll("script[type=module][src]")) {
      const module = await import(script.getAttribute("src"));
      module.prepare?.(dialog);
    }
  } catch {
    location.assign(address);
  }
}
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-in-dialog]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  openInDialog(link.href, link);
});
document.addEventListener("submit", (event) => {
  const form = event.target.closest("form[data-in-dialog]");
  if (!form) return;
  event.preventDefault();
  openInDialog(`${form.action}?${new URLSearchParams(new FormData(form))}`, event.submitter ?? document.body);
});

document.querySelector(".summary")?.focus();
