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

/** Say something in a note below the bar, or on top of a dialog; a failure stays until it is closed. */
export function say(message, failed = false, dialog = null) {
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
  if (dialog) dialog.prepend(note);
  else document.querySelector(".toasts").append(note);
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
  const far = date.toLocaleDateString([], { day: "numeric", month: "short", year: "numeric" });
  return clock || minutes > 0 ? `${far} ${time}` : far;
}

export function showTimes(root = document) {
  for (const element of root.querySelectorAll("time[datetime]")) {
    const date = new Date(element.dateTime);
    element.title = date.toLocaleString([], { dateStyle: "full", timeStyle: "long" });
    element.textContent = relative(date, new Date(), "clock" in element.dataset);
  }
}
setInterval(showTimes, 60000);

/** Copy the text of an element; without the right to the clipboard (a site on plain http) by way of the selection. */
async function copy(source) {
  try {
    await navigator.clipboard.writeText(source.value ?? source.textContent);
    return true;
  } catch {
    if (source.select) source.select();
    else getSelection().selectAllChildren(source);
    return document.execCommand("copy");
  }
}
document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const label = button.querySelector("span") ?? button;
  const before = label.textContent;
  const aloud = document.createElement("span");
  aloud.className = "visually-hidden";
  aloud.setAttribute("role", "status");
  button.after(aloud);
  aloud.textContent = label.textContent = (await copy(document.getElementById(button.dataset.copy))) ? "Copied" : "Press Ctrl+C";
  setTimeout(() => {
    label.textContent = before;
    aloud.remove();
  }, 2000);
});

/** Make what is below `root` ready: the page, or a dialog that was filled. */
function prepare(root) {
  for (const button of root.querySelectorAll("[data-reveal]")) {
    const input = document.getElementById(button.dataset.reveal);
    button.hidden = false;
    button.addEventListener("click", () => {
      const shown = input.type === "password";
      input.type = shown ? "text" : "password";
      button.setAttribute("aria-pressed", String(shown));
    });
    input.form?.addEventListener("submit", () => (input.type = "password"));
  }
  for (const hint of root.querySelectorAll("[data-caps]")) {
    document.getElementById(hint.dataset.caps).addEventListener("keyup", (event) => {
      hint.hidden = !event.getModifierState?.("CapsLock");
    });
  }
  showTimes(root);
}
prepare(document);

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
  const boxes = [...document.querySelectorAll(`[form="${bar.dataset.selection}"][type=checkbox]`)];
  const all = bar.querySelector("[data-all]");
  bar.dataset.ready = "";
  const update = () => {
    const count = boxes.filter((box) => box.checked).length;
    bar.hidden = !count;
    bar.querySelector("[data-count]").textContent = `${count} selected`;
    all.textContent = count === boxes.length ? "Select none" : "Select all";
  };
  all.addEventListener("click", () => {
    const some = boxes.some((box) => !box.checked);
    boxes.forEach((box) => (box.checked = some));
    update();
  });
  boxes.forEach((box) => box.addEventListener("change", update));
  addEventListener("pageshow", update); // a browser that goes back restores the boxes
  update();
}

// --- pages in a dialog -------------------------------------------------------------------------------------------

const POINTERS = ["for", "aria-describedby", "aria-labelledby", "data-copy", "data-reveal", "data-caps"];

/** Ids of the dialog's own: the page below may have the same. */
function rename(content) {
  for (const element of content.querySelectorAll("[id]")) element.id = `dialog-${element.id}`;
  for (const name of POINTERS) {
    for (const element of content.querySelectorAll(`[${name}]`)) {
      element.setAttribute(name, element.getAttribute(name).replace(/\S+/g, "dialog-$&"));
    }
  }
  for (const link of content.querySelectorAll("a[href^='#']")) link.setAttribute("href", `#dialog-${link.hash.slice(1)}`);
}

/** Put the main part of a page into the dialog; its modules make it ready. */
async function fill(dialog, html) {
  const page = new DOMParser().parseFromString(html, "text/html");
  const content = page.querySelector("main");
  for (const link of page.querySelectorAll("link[rel=stylesheet]")) {
    if (!document.querySelector(`link[href="${CSS.escape(link.getAttribute("href"))}"]`)) document.head.append(link);
  }
  rename(content);
  const title = content.querySelector("h1");
  const heading = document.createElement("h2");
  heading.textContent = title.textContent;
  heading.id = "dialog-heading";
  title.replaceWith(heading);
  dialog.setAttribute("aria-labelledby", heading.id);
  dialog.querySelector(".content").replaceChildren(...content.children);
  prepare(dialog);
  for (const script of page.querySelectorAll("script[type=module][src]")) {
    const module = await import(script.getAttribute("src"));
    module.prepare?.(dialog);
  }
}

/** Send a form of the dialog, and show the answer in it; what was typed stays when the site cannot take it. */
async function sendInDialog(dialog, form, submitter) {
  const button = submitter ?? form.querySelector("[type=submit]");
  button.disabled = true;
  try {
    const answer = await fetch(form.action, { method: "POST", headers: { Accept: "text/html" }, body: new URLSearchParams(new FormData(form, submitter)) });
    if (answer.redirected) return location.assign(answer.url);
    if (![201, 422, 429].includes(answer.status)) {
      const refusal = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("main p:not(.number)");
      return say(refusal?.textContent ?? `The site answered ${answer.status}.`, true, dialog);
    }
    await fill(dialog, await answer.text());
    if (answer.status === 201) dialog.dataset.changed = "";
    else dialog.querySelector(".summary")?.focus();
  } catch {
    say("The connection broke. What you typed is still here; try again.", true, dialog);
  } finally {
    button.disabled = false;
  }
}

const typed = (dialog) =>
  !("changed" in dialog.dataset) && [...dialog.querySelectorAll("textarea, input:not([type=checkbox])")].some((field) => field.value !== field.defaultValue);

/** Show the main part of another page of this site in a dialog; where that fails, the page itself. */
async function openInDialog(address, opener) {
  if (document.querySelector(".page-dialog")) return;
  const dialog = document.createElement("dialog");
  dialog.className = "page-dialog";
  const content = document.createElement("div");
  content.className = "content";
  const close = document.createElement("button");
  close.type = "button";
  close.className = "btn btn-quiet";
  close.textContent = "Close";
  const leave = () => !typed(dialog) || confirm("Close this and lose what you typed?");
  close.addEventListener("click", () => leave() && dialog.close());
  dialog.addEventListener("cancel", (event) => leave() || event.preventDefault());
  dialog.addEventListener("close", () => {
    dialog.remove();
    if ("changed" in dialog.dataset) location.reload();
    else opener.focus();
  });
  dialog.addEventListener("submit", (event) => {
    if (event.defaultPrevented || event.target.method !== "post") return;
    event.preventDefault();
    sendInDialog(dialog, event.target, event.submitter);
  });
  dialog.append(content, close);
  document.body.append(dialog);
  try {
    const answer = await fetch(address, { headers: { Accept: "text/html" } });
    if (!answer.ok || answer.redirected) throw new Error(String(answer.status));
    await fill(dialog, await answer.text());
    dialog.showModal();
    content.querySelector("textarea, select, input:not([type=hidden])")?.focus();
  } catch {
    dialog.remove();
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
