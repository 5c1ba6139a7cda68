"use strict";
// Substitutes for what browsers offer on https and localhost only: the pages also work on plain http from another host, where
// crypto.randomUUID, crypto.subtle, navigator.clipboard and navigator.locks do not exist.

function readStored(key) {
  try { return JSON.parse(localStorage.getItem(key)); } catch { return null; }
}

const store = (key, value) => localStorage.setItem(key, JSON.stringify(value));
const toHex = (bytes) => [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");

/** A random id of 128 bits: crypto.getRandomValues exists everywhere. */
const randomId = () => toHex(crypto.getRandomValues(new Uint8Array(16)));

/** Runs `work` while no other tab does. Without Web Locks tabs may refresh at once: the server gives both the same tokens. */
const exclusively = (name, work) => navigator.locks ? navigator.locks.request(name, work) : work();

/** Copies a text; rejects when the browser refuses. */
async function copyText(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const area = document.createElement("textarea"), focused = document.activeElement;
  area.value = text;
  area.className = "hidden-text";
  document.body.append(area);
  area.select();
  const copied = document.execCommand("copy");
  area.remove();
  focused?.focus();
  if (!copied) throw new Error("The browser did not copy the text.");
}

/** The SHA-256 of a text's UTF-8, in hex. */
async function sha256(text) {
  const bytes = new TextEncoder().encode(text);
  return toHex(crypto.subtle ? new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)) : sha256Of(bytes));
}

/** SHA-256 as in FIPS 180-4. */
function sha256Of(bytes) {
  const fraction = (root) => (root - Math.floor(root)) * 2 ** 32 | 0;
  const primes = [];
  for (let n = 2; primes.length < 64; n += 1) if (primes.every((prime) => n % prime)) primes.push(n);
  const constants = primes.map((prime) => fraction(Math.cbrt(prime)));
  const hash = primes.slice(0, 8).map((prime) => fraction(Math.sqrt(prime)));

  const padded = new DataView(new ArrayBuffer((bytes.length + 72) & ~63));   // the text, 0x80, zeros, 8 bytes of length
  new Uint8Array(padded.buffer).set(bytes);
  padded.setUint8(bytes.length, 0x80);
  padded.setUint32(padded.byteLength - 8, bytes.length / 2 ** 29);
  padded.setUint32(padded.byteLength - 4, bytes.length << 3);

  const rotate = (word, by) => word >>> by | word << 32 - by;
  const words = new Int32Array(64);
  for (let block = 0; block < padded.byteLength; block += 64) {
    for (let i = 0; i < 64; i += 1) {
      if (i < 16) { words[i] = padded.getInt32(block + 4 * i); continue; }
      const early = words[i - 15], late = words[i - 2];
      words[i] = words[i - 16] + (rotate(early, 7) ^ rotate(early, 18) ^ early >>> 3)
        + words[i - 7] + (rotate(late, 17) ^ rotate(late, 19) ^ late >>> 10);
    }
    let [a, b, c, d, e, f, g, h] = hash;
    for (let i = 0; i < 64; i += 1) {
      const first = h + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + (e & f ^ ~e & g) + constants[i] + words[i];
      const second = (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + (a & b ^ a & c ^ b & c);
      [h, g, f, e, d, c, b, a] = [g, f, e, d + first | 0, c, b, a, first + second | 0];
    }
    [a, b, c, d, e, f, g, h].forEach((word, i) => { hash[i] = hash[i] + word | 0; });
  }
  const digest = new DataView(new ArrayBuffer(32));
  hash.forEach((word, i) => digest.setInt32(4 * i, word));
  return new Uint8Array(digest.buffer);
}
