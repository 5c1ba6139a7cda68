// node reasoning.mjs http://localhost:8000
//
// Drives /ws/test in a real Chromium against a server whose model reasons for some seconds before it answers, and that shows and keeps
// the reasoning. Exits 1 when a scenario fails.

import assert from "node:assert/strict";
import { axe } from "./chromium.mjs";
import { answered, ask, QUESTION, register, run, turn, until } from "./visitor.mjs";

const base = new URL(process.argv[2]);
const REASONING = Array.from({ length: 60 }, (_, n) => `w${String(n).padStart(4, "0")} `).join("");

const details = (page) => turn(page, 0).locator(".reasoning");
const thought = (page) => details(page).locator("div").textContent();
/** Waits until the reasoning is open or folded. */
const isOpen = (page, open) =>
  page.waitForFunction((open) => document.querySelector(".turn .reasoning").open === open, open);

const scenarios = {
  async "reasoning is open while the model thinks, and folded away with the answer"(visit) {
    const visitor = await visit();
    const { page, frames } = visitor;
    await register(visitor);
    await ask(visitor, QUESTION);
    await page.locator('.steps [data-step="thinking"].now').waitFor();
    await page.locator(".reasoning[open] summary", { hasText: "Thinking…" }).waitFor();
    assert.equal(await turn(page, 0).locator(".answer").textContent(), "", "the answer has not begun");
    await axe(page, "reasoning");
    await visitor.shot("desktop-light-reasoning");

    await page.waitForSelector(".turn.streaming");
    await isOpen(page, false);
    assert.equal(await page.locator(".steps .now").textContent(), "Writing");
    const answer = await answered(visitor);
    const { response } = frames.find((frame) => frame.type === "complete");
    assert.equal(answer.trim(), response.trim(), "the reasoning is no part of the answer");
    await turn(page, 0).getByText("verified").waitFor();
    assert.equal(await thought(page), REASONING);
    assert.ok(!(await page.locator("#announcer").textContent()).includes(REASONING.trim()));
    await details(page).locator("summary", { hasText: "Reasoning" }).click();
    await isOpen(page, true);
    assert.ok(await details(page).locator("div").isVisible(), "it can be unfolded");
    assert.ok((await page.locator("#frames").textContent()).includes('"type":"reasoning"'), "the raw frames show it");

    await page.reload();
    await answered(visitor);
    assert.equal(await thought(page), REASONING, "the history has it");
    await isOpen(page, false);
    return visitor;
  },

  async "a cut within the reasoning repeats nothing"(visit) {
    const visitor = await visit();
    const { page, frames, sent } = visitor;
    await register(visitor);
    await ask(visitor, QUESTION);
    await until(() => frames.filter((frame) => frame.type === "reasoning").length >= 5);
    await page.evaluate(async () => (await import("/static/pages/chat/wire.js")).connection.cut());
    await answered(visitor);
    assert.ok(
      sent.find((frame) => frame.type === "resume").last_index >= 9,
      "the page names the last entry that it has",
    );
    assert.equal(await thought(page), REASONING);
    await turn(page, 0).getByText("resumed 1×").waitFor();
    await turn(page, 0).getByText("verified").waitFor();
    return visitor;
  },

  async "web pages that a stored answer cites are links after a reload"(visit) {
    const visitor = await visit();
    const { page } = visitor;
    await register(visitor);
    await ask(visitor, QUESTION);
    await answered(visitor);
    const parts = [
      { kind: "url_citation", url: "https://example.com/engines", title: "Engines <b>" },
      { kind: "url_citation", url: "javascript:alert(1)" },
      { kind: "hologram", shape: "cube" },
    ];
    await page.route("**/messages*", async (route) => {
      const response = await route.fetch();
      const history = await response.json();
      history.messages.find(({ role }) => role === "assistant").parts = parts;
      await route.fulfill({ response, json: history });
    });
    await page.reload();
    await answered(visitor);
    await turn(page, 0).locator(".citations summary", { hasText: "1 web page" }).click();
    assert.deepEqual(await turn(page, 0).locator(".citations a").allTextContents(), ["Engines <b>"]);
    return visitor;
  },

  async "unknown frames and parts are ignored, and web pages are cited as links"(visit) {
    const visitor = await visit();
    const { page } = visitor;
    await page.routeWebSocket("**/ws/chat", (socket) => {
      const server = socket.connectToServer();
      visitor.say = (frame) => socket.send(JSON.stringify(frame));
      socket.onMessage((text) => {
        const frame = JSON.parse(text);
        if (frame.type === "message") visitor.asked = frame;
        else server.send(text);
      });
    });
    await register(visitor);
    await ask(visitor, QUESTION);
    await until(() => visitor.asked);
    const ids = { conversation_id: "c", turn_id: "t", turn: 3 };
    const { client_message_id } = visitor.asked;
    const url = "https://example.com/engines";
    visitor.say({ type: "progress", step: "starting", message: "Starting", ...ids, index: 0, client_message_id });
    visitor.say({ type: "hologram", turn: 3, index: 1, shape: "cube" });
    visitor.say({ type: "part", turn: 3, index: 2, kind: "hologram", shape: "cube" });
    visitor.say({ type: "token", turn: 3, token: "abc", seq: 0 });
    for (let times = 0; times < 2; times += 1)
      visitor.say({ type: "part", turn: 3, index: 4, kind: "url_citation", url, title: "Engines <b>" });
    visitor.say({ type: "part", turn: 3, index: 5, kind: "url_citation", url: "javascript:alert(1)" });
    visitor.say({ type: "token", turn: 4, token: "of another turn", seq: 1 });
    const sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    const metadata = { sources: [], latency_ms: {}, usage: {} };
    visitor.say({
      type: "complete",
      response: "abc",
      ...ids,
      index: 6,
      seq: 0,
      finish_reason: "stop",
      sha256,
      metadata,
    });
    assert.equal(await answered(visitor), "abc");
    await turn(page, 0).getByText("verified").waitFor();
    await turn(page, 0).locator(".citations summary", { hasText: "1 web page" }).click();
    const links = turn(page, 0).locator(".citations a");
    assert.deepEqual(await links.allTextContents(), ["Engines <b>"]);
    assert.equal(await links.first().getAttribute("href"), url);
    await axe(page, "citations");
    visitor.expectComplaints("status of 404"); // the server does not know the conversation
    return visitor;
  },
};

await run(scenarios, base);
