// A visitor of the chat page, and what the suites about that page do as one.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { launch, screenshots } from "./chromium.mjs";

export const QUESTION = "What is the engine power?";
const DESKTOP = { width: 1280, height: 800 };
const WAIT_MS = 20_000;

/** Visitors of the server at `base`, in `browser`. */
export function visitors(browser, base) {
  /** A new visitor: an own context, whose complaints and frames are collected. */
  return async function visit({ url = base.href, ...options } = {}) {
    const context = await browser.newContext({ viewport: DESKTOP, reducedMotion: "reduce", ...options });
    context.setDefaultTimeout(WAIT_MS);
    const visitor = { context, complaints: [], email: `${randomUUID()}@example.org`, password: randomUUID() };
    await context.exposeBinding("reportComplaint", (_, text) => visitor.complaints.push(text));
    await context.addInitScript(() => {
      addEventListener("securitypolicyviolation", (event) => {
        window.reportComplaint(`CSP ${event.violatedDirective}: ${event.blockedURI} ${event.sample}`);
      });
      // The visible text of an answer before its end, one entry for each change.
      window.seenAnswers = [];
      document.addEventListener("DOMContentLoaded", () => {
        new MutationObserver(() => {
          const text = document.querySelector(".turn:last-child.streaming .answer")?.textContent;
          if (text && text !== window.seenAnswers.at(-1)) window.seenAnswers.push(text);
        }).observe(document.body, { subtree: true, childList: true, characterData: true, attributes: true });
      });
    });
    /** Another tab of the same visitor. */
    visitor.openTab = async (path = "/ws/test") => {
      const tab = { page: await context.newPage(), frames: [], sent: [] };
      tab.page.on("console", (message) => {
        if (["error", "warning"].includes(message.type())) visitor.complaints.push(`console: ${message.text()}`);
      });
      tab.page.on("pageerror", (error) => visitor.complaints.push(`uncaught: ${error.message}`));
      tab.page.on("dialog", (dialog) => {
        visitor.complaints.push(`dialog: ${dialog.message()}`);
        dialog.dismiss();
      });
      tab.page.on("websocket", (ws) => {
        ws.on("framereceived", ({ payload }) => tab.frames.push(JSON.parse(payload)));
        ws.on("framesent", ({ payload }) => tab.sent.push(JSON.parse(payload)));
      });
      await tab.page.goto(new URL(path, url).href);
      return tab;
    };
    Object.assign(visitor, await visitor.openTab());
    visitor.shot = (name) => shotOf(visitor.page, name);
    /** Passes over complaints that belong to the test. */
    visitor.expectComplaints = (...texts) => {
      visitor.complaints = visitor.complaints.filter((complaint) => !texts.some((text) => complaint.includes(text)));
    };
    return visitor;
  };
}

export const shotOf = (page, name) => page.screenshot({ path: `${screenshots}/${name}.png` });

/** Waits until a condition holds. */
export async function until(condition) {
  for (const end = Date.now() + WAIT_MS; !condition(); ) {
    assert.ok(Date.now() < end, `not within ${WAIT_MS} ms: ${condition}`);
    await new Promise((done) => setTimeout(done, 10));
  }
}

/** The access token that the page's connection was given last. */
export const tokenOf = (page) =>
  page.evaluate(async () => (await import("/static/pages/chat/wire.js")).connection.token);

/** Waits until the page's connection has another access token than `before`. */
export const hasNewToken = (page, before) =>
  page.waitForFunction(
    async (token) => (await import("/static/pages/chat/wire.js")).connection.token !== token,
    before,
  );

export const online = (page) => page.waitForSelector("#status[data-state=online]");

export async function register({ page, email, password }, name = "Ada Lovelace") {
  await page.fill("#form-register [name=name]", name);
  await page.fill("#form-register [name=email]", email);
  await page.fill("#form-register [name=password]", password);
  await page.click("#form-register .primary");
  await online(page);
}

export async function ask({ page }, text) {
  await page.fill("#question", text);
  await page.press("#question", "Enter");
}

export const turn = (page, n) => page.locator(".turn").nth(n);

/** Waits for the end of the n-th turn; returns its answer's text. */
export async function answered({ page }, n = 0) {
  await turn(page, n).locator(".meta").waitFor();
  return turn(page, n).locator(".answer").innerText();
}

/** Runs scenarios one after the other and ends the process: with 1 when one fails. Each is given `visit`. */
export async function run(scenarios, base, ...args) {
  const browser = await launch(...args);
  const visit = visitors(browser, base);
  let failed = 0;
  for (const [name, scenario] of Object.entries(scenarios)) {
    try {
      const visitor = await scenario(visit);
      assert.deepEqual(visitor.complaints, [], "the browser complained");
      await visitor.context.close();
      console.log(`ok   ${name}`);
    } catch (error) {
      failed += 1;
      console.log(`FAIL ${name}\n     ${String(error.stack ?? error).replaceAll("\n", "\n     ")}`);
      const [context] = browser.contexts();
      await context
        ?.pages()[0]
        ?.screenshot({ path: `${screenshots}/failed-${failed}.png` })
        .catch(() => {});
      for (const left of browser.contexts()) await left.close();
    }
  }
  await browser.close();
  console.log(`${Object.keys(scenarios).length - failed} passed, ${failed} failed`);
  process.exitCode = failed ? 1 : 0;
}
