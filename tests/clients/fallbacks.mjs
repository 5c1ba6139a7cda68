// Holds what the JavaScript client makes by itself against what Node has.

import assert from "node:assert";
import { createHash, randomBytes } from "node:crypto";
import { digestOf, randomId, wellFormed } from "../../clients/javascript/fallbacks.mjs";

for (let length = 0; length < 300; length++) {
  const bytes = randomBytes(length);
  assert.equal(
    Buffer.from(digestOf(bytes)).toString("hex"),
    createHash("sha256").update(bytes).digest("hex"),
    `${length} bytes`,
  );
}
const large = randomBytes(1 << 20);
assert.equal(Buffer.from(digestOf(large)).toString("hex"), createHash("sha256").update(large).digest("hex"));

Object.defineProperty(Object.getPrototypeOf(crypto), "randomUUID", { value: undefined });
assert.match(randomId(), /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
assert.notEqual(randomId(), randomId());

for (const [text, wanted] of [
  ["Look \u{1f600}", "Look \u{1f600}"],
  ["Look \ud83d", "Look \ufffd"],
  ["\ude00x", "\ufffdx"],
  ["\ud83d\ud83d\ude00", "\ufffd\u{1f600}"],
  ["\ude00\ud83d", "\ufffd\ufffd"],
  ["", ""],
])
  assert.equal(wellFormed(text), wanted);
console.log("all right");
