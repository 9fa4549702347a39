// One conversation: history, the log by number, an outbox that loses nothing, and a poll when the socket cannot be had.
import { io } from "../vendor/socket.io.esm.min.js";
import { relative } from "../shell.js";

const box = document.querySelector("[data-conversation]");
const room = box.dataset.conversation;
const me = box.dataset.me;
const api = box.dataset.api.replace(/\/messages$/, "");
const token = document.querySelector("meta[name=csrf-token]").content;
const log = box.querySelector("[data-log]");
const list = box.querySelector("[data-messages]");
const pendingList = box.querySelector("[data-pending]");
const nothing = box.querySelector("[data-nothing]");
const earlier = box.querySelector("[data-earlier]");
const state = box.querySelector("[data-connection]");
const composer = box.querySelector("[data-composer]");
const field = box.querySelector("[data-body]");

const readAtStart = Number(box.dataset.read);
let have = Number(box.dataset.seq); // newest number that is shown, without a gap below it
let oldest = Infinity;
let lastRead = readAtStart;

// --- speaking to the site -----------------------------------------------------------------------------------------

async function call(path, options = {}) {
  const headers = { Accept: "application/json", "X-CSRFToken": token };
  if (options.body) headers["Content-Type"] = "application/json";
  const response = await fetch(api + path, { ...options, headers });
  if (response.status === 401) location.reload();
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw Object.assign(new Error(answer.detail ?? "The site did not answer."), { problem: { status: response.status, ...answer }, retryAfter: Number(response.headers.get("Retry-After")) });
  return answer;
}

// --- showing ------------------------------------------------------------------------------------------------------

const atEnd = () => log.scrollHeight - log.scrollTop - log.clientHeight < 80;
const toEnd = () => (log.scrollTop = log.scrollHeight);

function item(event) {
  const li = document.createElement("li");
  if (event.sender === me) li.classList.add("mine");
  if (event.seq) li.dataset.seq = event.seq;
  li.dataset.sender = event.sender;
  li.dataset.time = event.created_at;
  const who = Object.assign(document.createElement("p"), { className: "who", textContent: event.sender === me ? "You" : event.sender });
  const bubble = Object.assign(document.createElement("p"), { className: "bubble", textContent: event.body });
  const at = Object.assign(document.createElement("p"), { className: "at" });
  const time = Object.assign(document.createElement("time"), { dateTime: event.created_at });
  time.textContent = relative(new Date(event.created_at));
  time.title = new Date(event.created_at).toLocaleString();
  at.append(time);
  li.append(who, bubble, at);
  return li;
}

/** Group by sender and five minutes, put day dividers and the line above what is new. */
function arrange() {
  for (const divider of list.querySelectorAll(".divider")) divider.remove();
  let before = null;
  let newShown = false;
  for (const li of [...list.children]) {
    const date = new Date(li.dataset.time);
    const dayChanged = !before || new Date(before.dataset.time).toDateString() !== date.toDateString();
    if (dayChanged) li.before(divider(date.toLocaleDateString([], { weekday: "long", day: "numeric", month: "long" })));
    const isNew = !newShown && Number(li.dataset.seq) > readAtStart && li.dataset.sender !== me && readAtStart > 0;
    if (isNew) li.before(divider("New", "new"));
    newShown ||= isNew;
    const first = dayChanged || isNew || before.dataset.sender !== li.dataset.sender || date - new Date(before.dataset.time) > 300000;
    li.classList.toggle("first", first);
    li.querySelector(".who").hidden = !first;
    li.classList.add("last");
    if (before && !first) before.classList.remove("last");
    before = li;
  }
  nothing.hidden = Boolean(list.children.length || pendingList.children.length);
}

function divider(words, kind = "") {
  return Object.assign(document.createElement("li"), { className: `divider ${kind}`, textContent: words });
}

function show(event) {
  settle(event.client_id);
  if (event.type !== "message" || list.querySelector(`[data-seq="${event.seq}"]`)) return;
  const stay = atEnd();
  list.append(item(event));
  arrange();
  if (stay || event.sender === me) toEnd();
}

async function history(before) {
  const { items, next_cursor } = await call(`/messages?limit=50&before=${before}`);
  const height = log.scrollHeight;
  for (const event of items) {
    list.prepend(item(event));
    oldest = event.seq;
  }
  arrange();
  earlier.hidden = !next_cursor;
  return log.scrollHeight - height;
}
earlier.addEventListener("click", async () => {
  log.scrollTop += await history(oldest);
});

// --- the log ------------------------------------------------------------------------------------------------------

function apply(event) {
  if (event.seq <= have) return;
  if (event.seq > have + 1) return void catchUp();
  have = event.seq;
  show(event);
  markRead();
}

let catching = null;
function catchUp(wait = 0) {
  catching ??= (async () => {
    try {
      for (;;) {
        const { events, last_seq, reset } = await call(`/events?after=${have}&wait=${wait}`);
        if (reset) return location.reload();
        for (const event of events) if (event.seq === have + 1) ((have = event.seq), show(event));
        if (have >= last_seq || !events.length) break;
      }
      markRead();
    } finally {
      catching = null;
    }
  })();
  return catching;
}

let reading = null;
function markRead() {
  if (document.visibilityState !== "visible" || have <= lastRead || reading) return;
  const seq = have;
  reading = call("/read", { method: "PUT", body: JSON.stringify({ seq }) })
    .then(() => (lastRead = seq))
    .catch(() => {})
    .finally(() => {
      reading = null;
    });
}
document.addEventListener("visibilitychange", () => {
  markRead();
  if (document.visibilityState === "visible") catchUp().catch(() => {});
});

// --- the outbox: one message in flight, kept over a reload, sent again until the site has answered ------------------

const key = `outbox ${room} ${me}`;
let outbox = JSON.parse(sessionStorage.getItem(key) ?? "[]");
let sending = false;
let pause = 1000;

const keep = () => sessionStorage.setItem(key, JSON.stringify(outbox));
const uuid = () =>
  crypto.randomUUID?.() ??
  "10000000-1000-4000-8000-100000000000".replace(/[018]/g, (c) => (c ^ (crypto.getRandomValues(new Uint8Array(1))[0] & (15 >> (c / 4)))).toString(16));

function drawOutbox() {
  pendingList.replaceChildren(
    ...outbox.map((message) => {
      const li = item({ ...message, sender: me });
      li.classList.add(message.failed ? "failed" : "pending", "first", "last");
      li.dataset.client = message.client_id;
      const at = li.querySelector(".at");
      at.textContent = message.failed ? message.failed : "🕓 sending";
      if (message.failed) {
        const retry = Object.assign(document.createElement("button"), { type: "button", className: "retry", textContent: "Retry" });
        retry.addEventListener("click", () => {
          delete message.failed;
          keep();
          drawOutbox();
          flush();
        });
        const drop = Object.assign(document.createElement("button"), { type: "button", className: "retry", textContent: "Discard" });
        drop.addEventListener("click", () => settle(message.client_id));
        at.append(" ", retry, drop);
      }
      return li;
    }),
  );
  nothing.hidden = Boolean(list.children.length || pendingList.children.length);
}

function settle(clientId) {
  const left = outbox.filter((message) => message.client_id !== clientId);
  if (left.length === outbox.length) return;
  outbox = left;
  keep();
  drawOutbox();
}

async function deliver(message) {
  if (socket.connected) {
    const answer = await socket.timeout(10000).emitWithAck("send", { room, client_id: message.client_id, body: message.body });
    if (answer.ok) return answer.event;
    throw Object.assign(new Error(answer.error.detail), { problem: answer.error, retryAfter: answer.error.retry_after });
  }
  return call("/messages", { method: "POST", body: JSON.stringify({ client_id: message.client_id, body: message.body }) });
}

async function flush() {
  if (sending) return;
  sending = true;
  let message;
  while ((message = outbox.find((each) => !each.failed))) {
    try {
      const event = await deliver(message);
      pause = 1000;
      if (event.seq === have + 1) apply(event);
      else if (event.seq > have) await catchUp().catch(() => {});
      settle(message.client_id);
    } catch (error) {
      const status = error.problem?.status;
      if (status >= 400 && status < 500 && status !== 429) {
        message.failed = error.message;
        keep();
        drawOutbox();
        continue;
      }
      await new Promise((done) => setTimeout(done, (error.retryAfter || 0) * 1000 || pause * (0.5 + Math.random())));
      pause = Math.min(pause * 2, 15000);
    }
  }
  sending = false;
}

composer.addEventListener("submit", (event) => {
  event.preventDefault();
  const body = field.value.trim();
  if (!body) return;
  outbox.push({ client_id: uuid(), body, created_at: new Date().toISOString() });
  keep();
  field.value = "";
  grow();
  drawOutbox();
  toEnd();
  flush();
});
const touch = matchMedia("(pointer: coarse)").matches;
field.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing || touch) return;
  event.preventDefault();
  composer.requestSubmit();
});
function grow() {
  field.rows = Math.min(6, field.value.split("\n").length);
}
field.addEventListener("input", grow);

// --- the socket, and the poll in its place ------------------------------------------------------------------------

const socket = io("/chat", { transports: ["websocket"], reconnectionDelay: 500, reconnectionDelayMax: 5000, randomizationFactor: 0.5 });
let refusals = 0;
let polling = false;

async function poll() {
  if (polling) return;
  polling = true;
  while (!socket.connected) {
    const started = Date.now();
    await catchUp(20).catch(() => {});
    flush();
    if (Date.now() - started < 1000) await new Promise((done) => setTimeout(done, 3000));
  }
  polling = false;
}

socket.on("connect", () => {
  refusals = 0;
  state.textContent = "";
  catchUp().catch(() => {});
  flush();
});
socket.on("disconnect", (reason) => {
  state.textContent = "Connecting again …";
  if (reason === "io server disconnect") call("/events?after=0").catch(() => {}); // signed out: the answer 401 reloads
});
socket.on("connect_error", () => {
  refusals += 1;
  if (refusals > 1) state.textContent = "Connecting again …";
  if (refusals > 2) poll();
});
socket.on("event", (event) => (event.room === room ? apply(event) : count(event)));
socket.on("heads", (heads) => heads[room] > have && catchUp().catch(() => {}));

function count({ room: other, sender }) {
  if (sender === me) return;
  const badge = document.querySelector(`[data-room="${other}"] .unread`);
  if (!badge) return;
  badge.dataset.unread = Number(badge.dataset.unread) + 1;
  badge.querySelector("[data-number]").textContent = badge.dataset.unread;
  badge.hidden = false;
}

// --- start --------------------------------------------------------------------------------------------------------

document.querySelector(`[data-room="${room}"] .unread`)?.setAttribute("hidden", "");
drawOutbox();
history(have + 1)
  .then(() => {
    arrange();
    toEnd();
    markRead();
    flush();
  })
  .catch(() => (state.textContent = "The messages could not be loaded. Reload the page."));
