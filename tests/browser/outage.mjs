// node outage.mjs target/debug/switchboard
//
// Drives /ws/test in a real Chromium against a server that is killed (SIGKILL) and started again on the same data. Exits 1 when a
// scenario fails.

import assert from "node:assert/strict";
import { axe } from "./chromium.mjs";
import { Server } from "./server.mjs";
import { answered, ask, online, QUESTION, register, run, turn } from "./visitor.mjs";

const TOKENS = 60;
const server = await new Server(process.argv[2], {
  PROVIDER__SCRIPTED__TOKENS: TOKENS,
  PROVIDER__SCRIPTED__INTERVAL_MS: 50,
}).start();

/** Expects the errors that a browser logs when the server cannot be reached. */
const unreachable = (visitor) =>
  visitor.expectComplaints(
    "WebSocket connection to",
    "ERR_CONNECTION_REFUSED",
    "ERR_CONNECTION_RESET",
    "ERR_EMPTY_RESPONSE",
    "ERR_SOCKET_NOT_CONNECTED",
  );

/** The messages that the server has stored, as [role, text]. */
const stored = (page) =>
  page.evaluate(async () => {
    const [{ messagesOf }, { shown }] = await Promise.all(
      ["history", "shown"].map((name) => import(`/static/pages/chat/${name}.js`)),
    );
    return (await messagesOf(shown.id)).map(({ role, content }) => [role, content]);
  });
const questions = async (page) => (await stored(page)).filter(([role]) => role === "user").map(([, text]) => text);

/** Waits for the page's next try, which may be half a minute away. */
async function back(page) {
  await page.evaluate(async () => (await import("/static/pages/chat/thread.js")).reconnectNow());
  await online(page);
}

const scenarios = {
  async "an answer that the server took with it says so, and queued messages are sent once"(visit) {
    const visitor = await visit();
    const { page, frames } = visitor;
    await register(visitor);
    await ask(visitor, QUESTION);
    await page.waitForFunction(() => document.querySelector(".turn.streaming .answer")?.textContent.length > 120);
    await server.kill();
    await turn(page, 0).getByText("Connection lost; reconnecting…").waitFor();
    assert.equal(
      await page.locator(".turn.streaming, .steps:not([hidden])").count(),
      0,
      "nothing moves as if an answer came",
    );
    assert.ok(!(await page.locator("#stop").isVisible()));
    assert.equal(await page.locator("#send").textContent(), "Queue");

    await ask(visitor, "First of the queue");
    await ask(visitor, "Not this one");
    await ask(visitor, "Second of the queue");
    assert.deepEqual(await page.locator("#queued span").allTextContents(), [
      "First of the queue",
      "Not this one",
      "Second of the queue",
    ]);
    assert.equal(await page.locator("#queue-title").textContent(), "Queued: sent when connected again");
    assert.equal(await page.inputValue("#question"), "");
    for (const colorScheme of ["light", "dark"]) {
      await page.emulateMedia({ colorScheme });
      await axe(page, `a queue, ${colorScheme}`);
    }
    await visitor.shot("desktop-dark-connection-lost");
    await page.emulateMedia({ colorScheme: "light" });
    await page.getByLabel("Remove from the queue: Not this one").click();
    assert.equal(await page.evaluate(() => document.activeElement.id), "question", "the focus is not lost");

    await server.start();
    await back(page);
    const failure = turn(page, 0).locator(".failure");
    await failure.getByText("The answer could not be completed.").waitFor();
    assert.equal(await failure.locator("code").textContent(), "TURN_INTERRUPTED");
    const [, [role, kept]] = await stored(page);
    assert.ok(role === "assistant" && kept.length > 0, "some of the answer was stored");
    assert.equal(
      await turn(page, 0).locator(".answer").textContent(),
      kept,
      "the page has what the server has kept of the answer",
    );
    await answered(visitor, 1);
    await answered(visitor, 2);
    assert.ok(!(await page.locator("#queue").isVisible()));
    assert.deepEqual(await questions(page), [QUESTION, "First of the queue", "Second of the queue"]);
    assert.deepEqual(await page.locator(".question").allTextContents(), [
      QUESTION,
      "First of the queue",
      "Second of the queue",
    ]);
    assert.equal(frames.filter((frame) => frame.type === "complete").length, 2);

    await failure.getByText("Try again").click();
    await answered(visitor, 2);
    assert.deepEqual(await questions(page), [QUESTION, "First of the queue", "Second of the queue", QUESTION]);
    unreachable(visitor);
    return visitor;
  },

  async "a message that was on its way is sent again, and answered once"(visit) {
    const visitor = await visit();
    const { page, sent } = visitor;
    await register(visitor);
    server.pause();
    await ask(visitor, QUESTION);
    await page.waitForFunction(async () => (await import("/static/pages/chat/wire.js")).unnamed.length === 1);
    await server.kill();
    await turn(page, 0).getByText("Connection lost").waitFor();
    await server.start();
    await back(page);
    await answered(visitor);
    assert.equal(await page.locator(".turn").count(), 1);
    assert.deepEqual(await questions(page), [QUESTION]);
    assert.equal(
      new Set(sent.filter(({ type }) => type === "message").map((frame) => frame.client_message_id)).size,
      1,
    );
    unreachable(visitor);
    return visitor;
  },

  async "a server that stays away: the answer is called incomplete, and goes on if it can"(visit) {
    const visitor = await visit();
    const { page } = visitor;
    await page.clock.install();
    await page.reload();
    await register(visitor);
    await ask(visitor, QUESTION);
    await page.waitForSelector(".turn.streaming");
    await server.kill();
    await turn(page, 0).getByText("Connection lost").waitFor();
    await page.clock.fastForward(31_000);
    await turn(page, 0).getByText("The answer could not be completed: the server cannot be reached.").waitFor();
    await axe(page, "an answer that was given up");
    await visitor.shot("desktop-light-gave-up");
    await turn(page, 0).getByText("Try again").click();
    await turn(page, 0).getByText("Connection lost; reconnecting…").waitFor();
    await server.start();
    await back(page);
    await turn(page, 0).locator(".failure code", { hasText: "TURN_INTERRUPTED" }).waitFor();
    assert.equal(await page.locator(".lost, .failure").count(), 1);
    unreachable(visitor);
    return visitor;
  },

  async "messages queued while an answer is written are sent in order, each after the one before"(visit) {
    const visitor = await visit();
    const { page, frames } = visitor;
    await register(visitor);
    await ask(visitor, "One");
    await page.waitForSelector(".turn.streaming");
    await ask(visitor, "Two");
    await ask(visitor, "Three");
    assert.equal(await page.locator("#queue-title").textContent(), "Queued: sent when the answer has ended");
    assert.deepEqual(await page.locator("#queued span").allTextContents(), ["Two", "Three"]);
    assert.ok(await page.locator("#stop").isVisible());
    // Another conversation has a queue of its own.
    await page.click("#new");
    assert.ok(!(await page.locator("#queue").isVisible()));
    await page.locator("#conversations .pick", { hasText: "One" }).click();
    for (const n of [0, 1, 2]) await answered(visitor, n);
    assert.deepEqual(await page.locator(".question").allTextContents(), ["One", "Two", "Three"]);
    assert.deepEqual(await questions(page), ["One", "Two", "Three"]);
    assert.ok(!frames.some((frame) => frame.type === "error"), "nothing was sent too early");
    assert.equal(await page.locator("#conversations .pick").count(), 1, "one conversation");
    return visitor;
  },

  async "what is queued before a conversation has its id stays in it"(visit) {
    const visitor = await visit();
    const { page } = visitor;
    await register(visitor);
    await server.kill();
    await page.locator("#status", { hasText: "Reconnecting" }).waitFor();
    await ask(visitor, "One");
    await ask(visitor, "Two");
    await server.start();
    await back(page);
    await answered(visitor, 1);
    assert.deepEqual(await questions(page), ["One", "Two"]);
    assert.equal(await page.locator("#conversations .pick").count(), 1);
    unreachable(visitor);
    return visitor;
  },
};

await run(scenarios, server.url);
await server.remove();
