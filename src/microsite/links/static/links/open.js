// The recipient's page: a button that must be held, and notes that are decrypted here.
import { decrypt, keyOf, possible, proofOf } from "./notes.js";

const HOLD_MS = 1200;
const form = document.querySelector("[data-open]");
const button = form.querySelector("button[type=submit]");
const hold = form.querySelector("[data-hold]");

if (hold) {
  const field = hold.querySelector("input");
  let timer;
  hold.hidden = true;
  button.type = "button";
  button.textContent = "Hold to open";
  button.dataset.holding = "";
  const start = (event) => {
    if (timer || (event.type === "keydown" && !["Enter", " "].includes(event.key))) return;
    event.preventDefault();
    button.dataset.holding = "on";
    timer = setTimeout(() => {
      timer = undefined;
      field.value = hold.dataset.hold;
      form.requestSubmit();
    }, HOLD_MS);
  };
  const said = document.createElement("p");
  said.setAttribute("role", "status");
  said.className = "quiet mt-2 mb-0";
  button.after(said);
  const ask = () => (said.textContent = "Hold the button until it is filled.");
  const stop = () => {
    if (timer) ask();
    clearTimeout(timer);
    timer = undefined;
    button.dataset.holding = "";
  };
  form.addEventListener("submit", (event) => {
    if (field.value) return;
    event.preventDefault(); // Enter in the password
    ask();
    button.focus();
  });
  for (const name of ["pointerdown", "keydown"]) button.addEventListener(name, start);
  for (const name of ["pointerup", "pointerleave", "pointercancel", "keyup", "blur"]) button.addEventListener(name, stop);
  button.addEventListener("contextmenu", (event) => event.preventDefault());
}

const box = document.querySelector("[data-encrypted]");
if (box) prepareNote();

async function prepareNote() {
  const problem = box.querySelector("[data-problem]");
  const say = (words) => {
    problem.textContent = words;
    problem.hidden = false;
  };
  if (!possible()) {
    form.hidden = true;
    return say("This browser decrypts only on https. Ask whoever runs the site.");
  }
  const key = await keyOf(location.hash);
  if (!key) {
    form.hidden = true;
    return say("This link is incomplete: the part after # is missing or damaged. It is not used up by this. Copy the whole link, or ask for it again.");
  }
  button.hidden = false;
  form.addEventListener("submit", async (event) => {
    if (event.defaultPrevented) return; // the button was not held
    event.preventDefault();
    problem.hidden = true;
    button.disabled = true;
    try {
      const body = { proof: await proofOf(key) };
      if (form.password?.value) body.password = form.password.value;
      const headers = { "Content-Type": "application/json", Accept: "application/json" };
      const answer = await fetch(location.pathname, { method: "POST", headers, body: JSON.stringify(body) });
      const found = await answer.json();
      if (!answer.ok) return say(found.detail);
      box.querySelector("#text").textContent = await decrypt(found.ciphertext, key);
      form.hidden = true;
      for (const words of box.querySelectorAll("[data-explains]")) words.hidden = true;
      box.querySelector("[data-note]").hidden = false;
      box.querySelector("#text").focus();
    } catch {
      say("The connection broke, or the note was damaged. Try again.");
    } finally {
      button.disabled = false;
    }
  });
}
