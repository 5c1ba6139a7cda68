// node example.mjs [http://localhost:8000] [question]
// Registers a throw-away user, or uses the access token in SWITCHBOARD_TOKEN.

import { randomId, register, SwitchboardClient } from "./switchboard-client.mjs";

const [base = "http://localhost:8000", question = "What is the engine power?"] = process.argv.slice(2);
const account = process.env.SWITCHBOARD_TOKEN
  ? { access_token: process.env.SWITCHBOARD_TOKEN }
  : await register(base, { name: "Example", email: `${randomId()}@example.org`, password: randomId() });

const client = new SwitchboardClient(base, account, {
  onStatus: ({ state, delayMs }) => {
    if (state === "reconnecting") console.error(`· no connection; again in ${Math.round(delayMs)} ms`);
  },
});
for await (const frame of client.ask(question)) {
  if (frame.type === "progress") console.error(`· ${frame.message}`);
  if (frame.type === "token") process.stdout.write(frame.token);
  if (frame.type === "complete") {
    const { specialist, agent, sources } = frame.metadata; // chat.v1 and older servers say `agent`
    console.log(`\n\n${specialist ?? agent}, SHA-256 verified`);
    for (const source of sources) console.log(`- ${source.source}: ${source.title}`);
  }
}
client.close();
