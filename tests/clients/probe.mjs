// node probe.mjs URL ACCOUNT PING_AFTER_MS PONG_WITHIN_MS DIALECT
//
// ACCOUNT is JSON, as `register` answers. Each line of the input is a question, `{ message, metadata, timeout_ms, is_cut }`, or
// `{ open: { session_id, turn_id, last_seq } }`. Says in lines of JSON what the client tells an application: `{ status }`,
// `{ notice }`, `{ frame, text }`, at the end of an answer `{ end: { text, code } }`, and of a turn from elsewhere
// `{ other: { question, text, code } }`.

import { createInterface } from "node:readline";
import { SwitchboardClient } from "../../clients/javascript/switchboard-client.mjs";

const [url, account, pingAfterMs, pongWithinMs, dialect] = process.argv.slice(2);
const say = (news) => process.stdout.write(`${JSON.stringify(news)}\n`);
const client = new SwitchboardClient(url, JSON.parse(account), {
  dialect,
  onNotice: (notice) => say({ notice }),
  onStatus: ({ state, attempt = 0 }) => say({ status: { state, attempt } }),
  pingAfterMs: Number(pingAfterMs),
  pongWithinMs: Number(pongWithinMs),
});

async function read(turn, tell) {
  let code = null;
  try {
    for await (const frame of turn) tell(frame);
  } catch (error) {
    code = error.code ?? String(error);
  }
  return { text: turn.text, code };
}

for await (const line of createInterface({ input: process.stdin })) {
  const { message, metadata, timeout_ms: timeoutMs, is_cut: isCut, open } = JSON.parse(line);
  if (open) {
    client.open(open.session_id, {
      turnId: open.turn_id,
      lastSeq: open.last_seq,
      onTurn: async (turn) => say({ other: { question: turn.message, ...(await read(turn, () => {})) } }),
    });
    continue;
  }
  // A text that was cut inside an emoji.
  const turn = client.ask(isCut ? `${message}\ud83d` : message, { metadata, timeoutMs });
  say({ end: await read(turn, (frame) => say({ frame, text: turn.text })) });
}
client.close();
