// Making a link: a date in the maker's own zone, and notes that are encrypted before they leave.
import { encrypt, possible } from "./notes.js";

/** Make the forms below `root` ready, each once: the page's own, or that of a dialog. */
export function prepare(root) {
  for (const form of root.querySelectorAll("[data-terms]:not([data-ready])")) {
    form.dataset.ready = "";
    prepareDate(form);
    if (form.dataset.noteApi) prepareNote(form);
  }
}

function prepareDate(form) {
  const choice = form.querySelector("[data-date]");
  const field = form.querySelector("[data-date-field]");
  const input = field.querySelector("input");
  field.querySelector(".form-text")?.remove();
  input.removeAttribute("aria-describedby");
  if (input.value && input.value === input.defaultValue) input.value = local(new Date(`${input.value}Z`)); // it comes in UTC
  const update = () => (field.hidden = choice.value !== "date");
  choice.addEventListener("change", update);
  update();
  form.addEventListener("formdata", ({ formData }) => {
    if (input.value) formData.set(input.name, new Date(input.value).toISOString().slice(0, 16)); // the site takes UTC
  });
}

const local = (date) => new Date(date - date.getTimezoneOffset() * 60000).toISOString().slice(0, 16);

function prepareNote(form) {
  const box = form.querySelector("[data-encrypt]");
  form.querySelector("[data-encrypt-choice]").hidden = !possible();
  const problem = form.querySelector("[data-problem]");
  const say = (words) => {
    problem.textContent = words;
    problem.hidden = false;
    problem.scrollIntoView({ block: "nearest" });
  };
  form.addEventListener("submit", async (event) => {
    if (!box.checked) return;
    event.preventDefault();
    problem.hidden = true;
    const button = event.submitter ?? form.querySelector("[type=submit]");
    button.disabled = true; // twice would make two links
    try {
      if (refuse(form, wrong(form))) return;
      const { fragment, ...encrypted } = await encrypt(form.elements.text.value);
      const headers = { "Content-Type": "application/json", Accept: "application/json", "X-CSRFToken": form.elements.csrf_token.value };
      const answer = await fetch(form.dataset.noteApi, { method: "POST", headers, body: JSON.stringify(terms(form, encrypted)) });
      const made = await answer.json();
      if (!answer.ok) {
        if (!refuse(form, made.errors ?? {})) say(made.detail);
        return;
      }
      const sooner = form.elements.shorten_to.value && form.elements.shorten_to.selectedOptions[0].text;
      show(form.closest("[data-share]"), made, `${made.url}#${fragment}`, sooner);
      form.elements.text.value = "";
      form.hidden = true;
    } catch {
      say("The connection broke. Nothing was made; try again.");
    } finally {
      button.disabled = false;
    }
  });
}

/** What the site would refuse, and what only encryption rules out: sentences by the name of their field. */
function wrong(form) {
  const { text, expires_in: until, expires_at: date, recipients } = form.elements;
  const errors = {};
  if (!text.value.trim()) errors.text = ["Write a note first."];
  if (recipients.value.trim()) errors.recipients = ["Leave the addresses out: the key never comes to this site, so it cannot be mailed from here."];
  if (until.value === "date" && !date.value) errors.expires_at = ["Choose the date and time at which it ends."];
  else if (until.value === "date" && new Date(date.value) <= new Date()) errors.expires_at = ["That time is past already."];
  return errors;
}

/** Put sentences beside their fields, the first in focus; says whether there are any. */
function refuse(form, errors) {
  for (const old of form.querySelectorAll("[data-refusal]")) {
    for (const field of form.querySelectorAll(`[aria-describedby~="${old.id}"]`)) {
      field.removeAttribute("aria-invalid");
      field.setAttribute("aria-describedby", field.getAttribute("aria-describedby").replace(old.id, "").trim());
    }
    old.remove();
  }
  let first;
  for (const [name, sentences] of Object.entries(errors)) {
    const dated = name === "expires_in" && form.elements.expires_in.value === "date";
    const field = form.elements[dated ? "expires_at" : name] ?? form.elements.text;
    const words = document.createElement("p");
    words.className = "invalid";
    words.dataset.refusal = "";
    words.id = `refused-${name}`;
    words.textContent = sentences.join(" ");
    field.setAttribute("aria-invalid", "true");
    field.setAttribute("aria-describedby", `${field.getAttribute("aria-describedby") ?? ""} ${words.id}`.trim());
    (field.closest(".with-button") ?? field).after(words);
    const more = field.closest("details");
    if (more) more.open = true;
    first ??= field;
  }
  first?.focus();
  return Boolean(first);
}

/** The new link with its key, which only this page knows, and a message to paste. */
function show(share, made, url, sooner) {
  const ends = new Date(made.expires_at).toLocaleString([], { dateStyle: "long", timeStyle: "short", timeZone: "UTC" });
  const often = made.max_uses === null ? "as often as you like" : made.max_uses === 1 ? "once" : `${made.max_uses} times`;
  const message = [
    `${made.title || "A note for you"}: ${url}`,
    "",
    `It works ${often}, until ${ends} UTC${sooner ? `, or ${sooner}` : ""}.`,
    ...(made.has_password ? ["You get the password from me by another way."] : []),
    "Copy the whole link: the part after # is its key.",
    "If it does not open, it was used, has ended, or was withdrawn: ask me for a new one.",
  ].join("\n");
  share.querySelector("[data-made-url]").value = url;
  share.querySelector("[data-made-message]").value = message;
  share.querySelector("[data-made-mail]").href = `mailto:?subject=${encodeURIComponent(made.title || "A note for you")}&body=${encodeURIComponent(message)}`;
  share.querySelector("[data-made-often]").textContent = made.max_uses === 1 ? "Opens once" : `Opens ${often === "as often as you like" ? "as often as wanted" : often}`;
  const time = Object.assign(document.createElement("time"), { dateTime: made.expires_at });
  time.dataset.clock = "";
  time.textContent = new Date(made.expires_at).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
  share.querySelector("[data-made-end]").replaceChildren(time);
  share.querySelector("h1, h2").textContent = "Your link";
  share.querySelector("[data-made]").hidden = false;
  const dialog = share.closest("dialog");
  if (dialog) dialog.dataset.changed = "";
  share.querySelector("[data-made-url]").select();
}

function terms(form, encrypted) {
  const value = (name) => form.elements[name]?.value.trim(); // the operator may have switched a field off
  const chosen = value("expires_in");
  const date = value("expires_at");
  const body = { encrypted, max_uses: value("max_uses") ? Number(value("max_uses")) : null };
  body.expires_in = chosen === "date" && date ? Math.ceil((new Date(date) - Date.now()) / 1000) : Number(chosen) || undefined;
  if (form.elements.password.value) body.password = form.elements.password.value;
  for (const name of ["title", "note", "name", "webhook"]) if (value(name)) body[name] = value(name);
  if (value("shorten_to")) body.shorten_to = Number(value("shorten_to"));
  for (const name of ["notify", "hold"]) if (form.elements[name].checked) body[name] = true;
  return body;
}

prepare(document);
