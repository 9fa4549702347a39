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
  const update = () => (field.hidden = choice.value !== "date");
  choice.addEventListener("change", update);
  update();
  form.addEventListener("formdata", ({ formData }) => {
    if (input.value) formData.set(input.name, new Date(input.value).toISOString().slice(0, 16)); // the site takes UTC
  });
}

function prepareNote(form) {
  const share = form.closest("[data-share]");
  const box = form.querySelector("#encrypt");
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
    const note = form.elements.text.value;
    if (!note.trim()) return say("Write a note first.");
    if (form.elements.recipients.value.trim()) return say("Leave the addresses out: the key never comes to this site, so it cannot be mailed from here.");
    const { fragment, ...encrypted } = await encrypt(note);
    const body = terms(form, encrypted);
    const headers = { "Content-Type": "application/json", Accept: "application/json", "X-CSRFToken": form.elements.csrf_token.value };
    try {
      const answer = await fetch(form.dataset.noteApi, { method: "POST", headers, body: JSON.stringify(body) });
      const made = await answer.json();
      if (!answer.ok) return say(Object.values(made.errors ?? {}).flat().join(" ") || made.detail);
      share.querySelector("#made-url").value = `${made.url}#${fragment}`;
      form.elements.text.value = "";
      form.hidden = true;
      share.querySelector("h1, h2").textContent = "Your link";
      share.querySelector("[data-made]").hidden = false;
      const dialog = share.closest("dialog");
      if (dialog) dialog.dataset.changed = "";
      share.querySelector("#made-url").select();
    } catch {
      say("The connection broke. Nothing was made; try again.");
    }
  });
}

function terms(form, encrypted) {
  const value = (name) => form.elements[name].value.trim();
  const chosen = value("expires_in");
  const date = value("expires_at");
  const body = { encrypted, max_uses: value("max_uses") ? Number(value("max_uses")) : null };
  body.expires_in = chosen === "date" && date ? Math.round((new Date(date) - Date.now()) / 1000) : Number(chosen) || undefined;
  if (form.elements.password.value) body.password = form.elements.password.value;
  for (const name of ["title", "note", "name"]) if (value(name)) body[name] = value(name);
  if (value("shorten_to")) body.shorten_to = Number(value("shorten_to"));
  for (const name of ["notify", "hold"]) if (form.elements[name].checked) body[name] = true;
  return body;
}

prepare(document);
