// node probe.mjs URL ACCESS_TOKEN PING_AFTER_MS PONG_WITHIN_MS
//
// Asks each question that comes on a line of the input, `{ message, metadata }`, and says in lines of JSON what the client
// tells an application: `{ notice }`, `{ frame, text }`, and at the end of an answer `{ end: { text, code } }`.

import { createInterface } from "node:readline";
import { SwitchboardClient } from "../../clients/javascript/switchboard-client.mjs";

const [url, token, pingAfterMs, pongWithinMs] = process.argv.slice(2);
const say = (news) => process.stdout.write(`${JSON.stringify(news)}\n`);
const client = new SwitchboardClient(url, { access_token: token }, {
  onNotice: (notice) => say({ notice }), pingAfterMs: Number(pingAfterMs), pongWithinMs: Number(pongWithinMs),
});
for await (const line of createInterface({ input: process.stdin })) {
  const { message, metadata } = JSON.parse(line);
  const turn = client.ask(message, { metadata });
  let code = null;
  try {
    for await (const frame of turn) say({ frame, text: turn.text });
  } catch (error) {
    code = error.code ?? String(error);
  }
  say({ end: { text: turn.text, code } });
}
client.close();
