// node --experimental-websocket docs/images/operators.mjs target/release/switchboard
//
// Takes the pictures of the operators' page: the page in a real Chromium, light and dark, after 60 users have asked questions for
// two minutes. Writes docs/images/ops-light.png and ops-dark.png. Needs the packages of the browser tests (`make tools`).

import { fileURLToPath } from "node:url";
import { randomId, register, SwitchboardClient } from "../../clients/javascript/switchboard-client.mjs";
import { launch } from "../../tests/browser/chromium.mjs";
import { Server } from "../../tests/browser/server.mjs";

const here = fileURLToPath(new URL(".", import.meta.url));
const VIEWPORT = { width: 1440, height: 960 };
const USERS = 60;
const LOAD_MS = 125_000;
const NAMES = [
  "Ada Lovelace",
  "Alan Kay",
  "Barbara Liskov",
  "Donald Knuth",
  "Edsger Dijkstra",
  "Katherine Johnson",
  "Margaret Hamilton",
  "Shafi Goldwasser",
  "Tony Hoare",
];

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** A user who asks, reads the answer, and thinks for a while. */
async function chat(url, number, until) {
  const name = NAMES[number % NAMES.length];
  const email = `${name.toLowerCase().replace(" ", ".")}${number}@example.org`;
  const account = await register(url, { name, email, password: randomId() });
  const client = new SwitchboardClient(url, account, { dialect: number % 8 ? "chat.v2" : "chat.v1" });
  while (Date.now() < until) {
    for await (const { type } of client.ask("What is the engine power?")) if (type === "complete") break;
    await pause(Math.random() * 8_000);
  }
  client.close();
}

async function picture(browser, url, operator, colorScheme) {
  const context = await browser.newContext({ viewport: VIEWPORT, colorScheme, reducedMotion: "reduce" });
  const page = await context.newPage();
  await page.goto(new URL("/ops", url).href);
  await page.fill("#form-login [name=email]", operator.email);
  await page.fill("#form-login [name=password]", operator.password);
  await page.click("#form-login .primary");
  await page.waitForSelector("#status[data-state=online]");
  await page.locator("#row-5:not(.waiting)").waitFor();
  // The charts begin with the history, and the table is live.
  await pause(2_500);
  await page.screenshot({ path: `${here}ops-${colorScheme}.png` });
  await context.close();
}

const server = await new Server(process.argv[2], {
  PROVIDER__SCRIPTED__TOKENS: 160,
  PROVIDER__SCRIPTED__INTERVAL_MS: 50,
  LIMITS__EXEMPT_ADDRESSES: "127.0.0.1",
}).start();
const browser = await launch();
try {
  const operator = { name: "Grace Hopper", email: "grace.hopper@example.org", password: randomId() };
  await register(server.url, operator);
  server.run("user", "set-role", operator.email, "operator");
  const until = Date.now() + LOAD_MS;
  const chats = Array.from({ length: USERS }, (_, number) => chat(server.url, number, until + 60_000));
  // A chat that fails fails the recording.
  await Promise.race([pause(LOAD_MS), Promise.all(chats)]);
  for (const colorScheme of ["light", "dark"]) await picture(browser, server.url, operator, colorScheme);
} finally {
  await browser.close();
  await server.remove();
}
process.exit();
