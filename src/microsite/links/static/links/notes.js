// Notes that are encrypted in the browser: docs/encrypted-notes.md describes the format, version 1.

const text = new TextEncoder();
const CONTEXT = "microsite note 1";
const KEY_BYTES = 32;
const CHECK_BYTES = 4;

const encode = (bytes) => {
  let binary = "";
  for (const byte of bytes) binary += String.fromCharCode(byte);
  return btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
};
const decode = (word) => Uint8Array.from(atob(word.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
const sha256 = async (bytes) => new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
const joined = (...parts) => Uint8Array.from(parts.flatMap((part) => [...part]));

/** Browsers offer cryptography only on https and on localhost. */
export const possible = () => Boolean(globalThis.crypto?.subtle);

async function derived(key, purpose) {
  const base = await crypto.subtle.importKey("raw", key, "HKDF", false, ["deriveBits"]);
  const info = text.encode(`${CONTEXT} ${purpose}`);
  return new Uint8Array(await crypto.subtle.deriveBits({ name: "HKDF", hash: "SHA-256", salt: new Uint8Array(), info }, base, 256));
}

async function cipher(key) {
  return crypto.subtle.importKey("raw", await derived(key, "content"), "AES-GCM", false, ["encrypt", "decrypt"]);
}

const check = async (key) => (await sha256(joined(text.encode(CONTEXT), key))).slice(0, CHECK_BYTES);

/** The value that shows that its holder has the key; the site keeps only its hash. */
export const proofOf = async (key) => encode(await derived(key, "proof"));

/** Encrypt a note: what the site gets, and the fragment that it must not get. */
export async function encrypt(note) {
  const key = crypto.getRandomValues(new Uint8Array(KEY_BYTES));
  const iv = crypto.getRandomValues(new Uint8Array(12));
  const options = { name: "AES-GCM", iv, additionalData: text.encode(CONTEXT) };
  const sealed = new Uint8Array(await crypto.subtle.encrypt(options, await cipher(key), text.encode(note)));
  const proof = await sha256(text.encode(await proofOf(key)));
  return {
    ciphertext: encode(joined(iv, sealed)),
    proof_hash: [...proof].map((byte) => byte.toString(16).padStart(2, "0")).join(""),
    fragment: encode(joined(key, await check(key))),
  };
}

/** The key in a fragment, or null when a part of it is missing or damaged. */
export async function keyOf(fragment) {
  try {
    const bytes = decode(fragment.replace(/^#/, ""));
    const key = bytes.slice(0, KEY_BYTES);
    const sum = await check(key);
    const whole = bytes.length === KEY_BYTES + CHECK_BYTES && sum.every((byte, n) => byte === bytes[KEY_BYTES + n]);
    return whole ? key : null;
  } catch {
    return null;
  }
}

/** The note; throws when the key is not its own or the text was changed. */
export async function decrypt(ciphertext, key) {
  const bytes = decode(ciphertext);
  const options = { name: "AES-GCM", iv: bytes.slice(0, 12), additionalData: text.encode(CONTEXT) };
  return new TextDecoder().decode(await crypto.subtle.decrypt(options, await cipher(key), bytes.slice(12)));
}
