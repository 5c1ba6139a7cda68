// node page.mjs http://localhost:8000 [answers | slow | hostile | insecure]
//
// Drives /ws/test in a real Chromium (CHROMIUM, or /usr/bin/chromium) against a running server. Exits 1 when a scenario
// fails. `answers`, the default, wants a server that answers from its documents, with sources; `slow` one whose answers
// take some seconds. Screenshots are left in target/screenshots.

import assert from "node:assert/strict";
import { axe, PHONE } from "./chromium.mjs";
import { CuttingProxy } from "./cutting_proxy.mjs";
import {
  answered,
  ask,
  hasNewToken,
  online,
  QUESTION,
  register,
  run,
  shotOf,
  tokenOf,
  turn,
  until,
} from "./visitor.mjs";

const base = new URL(process.argv[2] ?? "http://localhost:8000");
const suite = process.argv[3] ?? "answers";
/** Turns that a tab misses: more than the server replays. */
const MISSED = 18;

/** Rates an answer up, withdraws that, and rates it down with a reason and a comment. */
async function rate(answer) {
  const [up, down] = ["Good answer", "Bad answer"].map((name) => answer.getByRole("button", { name }));
  const pressed = (thumb, isPressed) => thumb.and(answer.locator(`[aria-pressed="${isPressed}"]`)).waitFor();
  await up.click();
  await pressed(up, true);
  await up.click();
  await pressed(up, false);
  await down.click();
  await pressed(down, true);
  await answer.getByLabel("Incomplete").check();
  await answer.getByLabel("Comment").fill("It leaves out the hybrid.");
  await answer.getByRole("button", { name: "Send" }).click();
  await answer.locator("form.reasons").waitFor({ state: "hidden" });
}

/** A citation shows its source, and both it and the list lead to the passage in its document. */
async function sourcesOpenAsPages(visitor) {
  const { page } = visitor;
  const [cite, row] = [".cite", ".sources > ol > li"].map((selector) => turn(page, 0).locator(selector).first());
  assert.equal(await cite.innerText(), "[1]");
  const title = await row.locator(".title").evaluate((link) => link.firstChild.data);
  assert.equal(await cite.getAttribute("aria-label"), `Source 1: ${title}`);
  assert.ok((await row.locator("p").innerText()).length > 20, "an excerpt");

  const tip = page.locator("#source-tip");
  for (const show of [() => cite.focus(), () => cite.hover()]) {
    await show();
    await tip.waitFor();
    assert.ok((await tip.innerText()).startsWith(title));
    assert.equal(await cite.getAttribute("aria-describedby"), "source-tip");
    await page.keyboard.press("Escape");
    await tip.waitFor({ state: "hidden" });
    await page.mouse.move(0, 0);
    await cite.blur();
  }

  const href = await cite.getAttribute("href");
  assert.equal(await row.locator("a").getAttribute("href"), href);
  const [source] = await Promise.all([page.waitForEvent("popup"), cite.click()]);
  await source.waitForLoadState();
  const target = new URL(href, base).hash;
  const passage = source.locator(target);
  assert.ok(await passage.isVisible(), `${target} is shown`);
  const washed = await passage.evaluate((node) => getComputedStyle(node).backgroundColor);
  const other = source.locator(`.passage:not(${target})`).first();
  assert.notEqual(washed, await other.evaluate((node) => getComputedStyle(node).backgroundColor), "it is highlighted");
  for (const colorScheme of ["light", "dark"]) {
    await source.emulateMedia({ colorScheme });
    await axe(source, `a source, ${colorScheme}`);
    await shotOf(source, `desktop-${colorScheme}-source`);
  }
  await source.setViewportSize(PHONE.viewport);
  const width = await source.evaluate(() => document.documentElement.scrollWidth);
  assert.ok(width <= PHONE.viewport.width, `a source is ${width} px wide on a phone`);
  await shotOf(source, "phone-dark-source");
  assert.equal(await source.evaluate(() => document.referrer), "");

  await source.goto(new URL(href.replace("?t=", "?t=1"), base).href);
  assert.equal(await source.locator("h1").innerText(), "This link is not valid");
  await axe(source, "a link that is not valid");
  await source.close();
}

const answers = {
  async "a new user registers, asks, and watches the answer arrive"(visit) {
    const visitor = await visit();
    const { page, frames } = visitor;
    assert.equal(await page.title(), "WebSocket Chat Test");
    await visitor.shot("desktop-light-sign-in");
    await register(visitor);
    await visitor.shot("desktop-light-welcome");
    await page.click(`[data-ask="${QUESTION}"]`);
    const answer = await answered(visitor);
    assert.ok(answer.length > 20, `an answer: ${answer}`);
    assert.equal(await turn(page, 0).locator(".question").innerText(), QUESTION);

    const types = frames.map((frame) => frame.type);
    const steps = frames.filter((frame) => frame.type === "progress").map((frame) => frame.step);
    assert.deepEqual(steps, ["starting", "routing", "retrieval", "generating"]);
    const beforeEnd = types.slice(0, types.indexOf("complete"));
    assert.ok(beforeEnd.filter((type) => type === "token").length >= 5, `token frames before the end: ${beforeEnd}`);
    const seen = await page.evaluate(() => window.seenAnswers);
    assert.ok(seen.length >= 3, `the page showed the answer growing, before its end: ${JSON.stringify(seen)}`);

    await sourcesOpenAsPages(visitor);
    assert.ok(await turn(page, 0).getByText("verified").isVisible(), "the SHA-256 was checked");
    await page.click("#toggle-log");
    assert.ok((await page.locator("#frames li").count()) >= beforeEnd.length, "the raw frames");
    assert.ok(!(await page.locator("#frames").innerText()).includes("bearer.e"), "no token in the log");
    await visitor.shot("desktop-light-answer");
    await page.click("#toggle-log");

    await rate(turn(page, 0));
    await ask(visitor, "And how often should I change the oil?");
    await answered(visitor, 1);
    assert.equal(await page.locator("#conversations .pick").count(), 1, "both turns are one conversation");

    await page.reload();
    // A turn's words come with the frame that the browser draws next.
    for (const n of [0, 1]) await turn(page, n).locator(".answer > *").first().waitFor();
    assert.equal(await turn(page, 0).locator(".answer").innerText(), answer, "the history has the same answer");
    const down = turn(page, 0).getByRole("button", { name: "Bad answer" });
    assert.equal(await down.getAttribute("aria-pressed"), "true", "the history has the rating");
    await page.click("#new");
    assert.equal(await page.locator(".turn").count(), 0);
    await page.locator("#conversations .pick").first().click();
    await page.locator(".turn").nth(1).waitFor();
    await page.emulateMedia({ colorScheme: "dark" });
    await visitor.shot("desktop-dark-history");
    return visitor;
  },

  async "the page is accessible, light and dark"(visit) {
    const visitor = await visit();
    const { page } = visitor;
    for (const colorScheme of ["light", "dark"]) {
      await page.emulateMedia({ colorScheme });
      await axe(page, `sign-in, ${colorScheme}`);
    }
    await register(visitor);
    await ask(visitor, QUESTION);
    await answered(visitor);
    await turn(page, 0).locator(".cite").first().focus();
    await turn(page, 0).getByRole("button", { name: "Bad answer" }).click();
    await turn(page, 0).locator("form.reasons").waitFor();
    await page.click("#toggle-log");
    await page.click(".settings summary");
    for (const colorScheme of ["light", "dark"]) {
      await page.emulateMedia({ colorScheme });
      await axe(page, `an answer, ${colorScheme}`);
    }
    return visitor;
  },

  async "it works on a phone"(visit) {
    const visitor = await visit({ ...PHONE, colorScheme: "dark" });
    const { page } = visitor;
    const fits = async (where) => {
      const width = await page.evaluate(() => document.documentElement.scrollWidth);
      assert.ok(width <= PHONE.viewport.width, `${where} is ${width} px wide`);
    };
    await fits("the sign-in");
    await visitor.shot("phone-dark-sign-in");
    await register(visitor);
    await page.tap(`[data-ask="${QUESTION}"]`);
    await answered(visitor);
    await fits("the chat");
    for (const [status, more] of [
      ["Online", " · 12 ms"],
      ["Reconnecting", " in 12 s"],
      ["Closed", ": the server closed the connection"],
    ]) {
      await page.evaluate(
        async ([text, more]) => (await import("/static/pages/chat/layout.js")).setStatus("online", text, more),
        [status, more],
      );
      const cut = await page.evaluate(() => {
        const pill = document.querySelector("#status");
        return pill.scrollWidth > pill.clientWidth;
      });
      assert.ok(!cut, `"${status}" can be read`);
      const [logo, pill] = await Promise.all(
        [".brand svg", "#status"].map((selector) => page.locator(selector).boundingBox()),
      );
      assert.ok(logo.x + logo.width <= pill.x, `"${status}" covers the logo`);
      await fits(status);
    }
    await visitor.shot("phone-dark-answer");
    await page.tap("#menu");
    await page.locator("#conversations .pick").first().waitFor();
    await visitor.shot("phone-dark-menu");
    await page.tap("#new");
    assert.ok(await page.locator("#welcome").isVisible());
    assert.ok(!(await page.locator("#side").isVisible()), "the menu closes");
    return visitor;
  },

  async "it works with the keyboard alone"(visit) {
    const visitor = await visit();
    const { page } = visitor;
    const tabTo = async (selector) => {
      for (let i = 0; i < 30; i += 1) {
        await page.keyboard.press("Tab");
        if (await page.evaluate((s) => document.activeElement?.matches(s), selector)) return;
      }
      assert.fail(`Tab does not reach ${selector}`);
    };
    await tabTo("#tab-register");
    await page.keyboard.press("ArrowRight");
    assert.ok(await page.locator("#form-login").isVisible(), "arrows change the tab");
    await page.keyboard.press("ArrowLeft");
    await tabTo("#form-register [name=name]");
    await page.keyboard.type("Grace Hopper");
    await tabTo("#form-register [name=email]");
    await page.keyboard.type(visitor.email);
    await tabTo("#form-register [name=password]");
    await page.keyboard.type(visitor.password);
    await page.keyboard.press("Enter");
    await page.waitForSelector("#status[data-state=online]");
    assert.ok(await page.evaluate(() => document.activeElement.id === "question"), "the question has the focus");
    await page.keyboard.type(QUESTION);
    await page.keyboard.press("Enter");
    await answered(visitor);
    await page.keyboard.press("Shift+Tab");
    await tabTo("#question");
    return visitor;
  },

  async "a cut in the middle of an answer is healed"(visit) {
    const proxy = await CuttingProxy.start(base);
    try {
      const visitor = await visit({ url: proxy.url });
      const { page, frames } = visitor;
      await register(visitor);
      proxy.cutAfterTokenFrames(3);
      await ask(visitor, QUESTION);
      await answered(visitor);
      assert.equal(proxy.cuts, 1, "the connection was cut");
      const resumed = frames.find((frame) => frame.type === "resumed");
      assert.equal(resumed?.from_seq, 2, "resumed after the two tokens that arrived whole");
      const { response } = frames.find((frame) => frame.type === "complete");
      const joined = frames
        .filter((frame) => frame.type === "token")
        .map((frame) => frame.token)
        .join("");
      assert.equal(joined, response, "every token once");
      await turn(page, 0).getByText("verified").waitFor();
      await turn(page, 0).getByText("resumed 1×").waitFor();
      await visitor.shot("desktop-light-resumed");
      visitor.complaints = visitor.complaints.filter((text) => !text.includes("WebSocket connection to"));
      return visitor;
    } finally {
      proxy.stop();
    }
  },

  async "markup in a name and in a message stays text"(visit) {
    const visitor = await visit();
    const { page } = visitor;
    const name = `<img src=x onerror="alert('name')">`;
    const message = `<script>alert("message")</script><img src=x onerror=alert(1)> **bold** [x](javascript:alert(2))`;
    await register(visitor, name);
    assert.equal(await page.locator("#who").innerText(), name);
    await ask(visitor, message);
    await answered(visitor);
    assert.equal(await turn(page, 0).locator(".question").innerText(), message);
    await page.reload();
    await page.locator(".turn .meta").waitFor();
    // The links of the page itself lead to sources.
    const links = `#turns a:not([href^="/documents/"])`;
    assert.equal(
      await page.locator(`#turns img, #turns script, ${links}, #conversations img, #who img`).count(),
      0,
      "no markup came to life",
    );
    return visitor;
  },

  async "a direction override affects its own text alone"(visit) {
    const visitor = await visit();
    const { page } = visitor;
    await page.fill("#form-register [name=name]", "Ada \u202eecalevoL");
    await page.fill("#form-register [name=email]", visitor.email);
    await page.fill("#form-register [name=password]", visitor.password);
    await page.click("#form-register .primary");
    await page.locator("#gate-error").getByText("`name` must not contain characters that are invisible").waitFor();
    visitor.complaints = visitor.complaints.filter((text) => !text.includes("status of 422"));
    await register(visitor);
    await ask(visitor, "first \u202e**second**");
    await answered(visitor);
    const isolation = await page.evaluate(() =>
      ["#who", ".question", ".answer p", "#conversations .pick span"].map(
        (selector) => getComputedStyle(document.querySelector(selector)).unicodeBidi,
      ),
    );
    assert.deepEqual(isolation, ["plaintext", "plaintext", "plaintext", "plaintext"]);
    const log = await page.locator("#frames").textContent();
    assert.ok(
      !log.includes("\u202e") && log.includes("first \\u202e**second**"),
      "the log shows the override as an escape",
    );
    return visitor;
  },

  async "a server that goes away says when to come back"(visit) {
    const visitor = await visit();
    const { page } = visitor;
    await page.routeWebSocket("**/ws/chat", (socket) => {
      const server = socket.connectToServer();
      visitor.goAway = (afterMs) => {
        socket.send(JSON.stringify({ type: "going_away", reconnect_after_ms: afterMs }));
        server.close();
        socket.close({ code: 1001 });
      };
    });
    await register(visitor);
    visitor.goAway(60_000);
    await page.locator("#status", { hasText: "Reconnecting in 60 s" }).waitFor();
    return visitor;
  },

  async "notices are shown by their level until they are dismissed"(visit) {
    const visitor = await visit();
    const { page } = visitor;
    await page.routeWebSocket("**/ws/chat", (socket) => {
      socket.connectToServer();
      visitor.say = (frame) => socket.send(JSON.stringify(frame));
    });
    await register(visitor);
    visitor.say({ type: "notice", level: "info", message: "Away at 18:00.\n<b>Save</b> your work." });
    visitor.say({ type: "notice", level: "warning", message: "It is 17:55." });
    const notices = page.locator("[role=status] .notice");
    await notices.nth(1).waitFor();
    assert.equal(
      await notices.nth(0).locator("p").innerText(),
      "Away at 18:00.\n<b>Save</b> your work.",
      "with its line break, as text",
    );
    assert.deepEqual(await notices.locator("code").allTextContents(), ["Notice", "Warning"]);
    await axe(page, "notices");
    await visitor.shot("desktop-light-notices");
    await notices.nth(0).getByText("Dismiss").click();
    assert.deepEqual(await notices.locator("code").allTextContents(), ["Warning"]);
    assert.ok(await page.evaluate(() => document.activeElement.id === "question"), "the focus is not lost");
    return visitor;
  },

  async "what a server has lost is asked for again, or dropped"(visit) {
    const visitor = await visit();
    const { page } = visitor;
    const sent = [];
    await page.routeWebSocket("**/ws/chat", (socket) => {
      const server = socket.connectToServer();
      visitor.say = (frame) => socket.send(JSON.stringify({ session_id: "c", turn_id: "t", ...frame }));
      // The turn is this test's own.
      socket.onMessage((text) => {
        const frame = JSON.parse(text);
        if (["message", "resume"].includes(frame.type)) sent.push(frame);
        else server.send(text);
      });
    });
    await register(visitor);
    await ask(visitor, QUESTION);
    const answer = turn(page, 0).locator(".answer");
    const resumes = () => sent.filter(({ type, turn_id }) => type === "resume" && turn_id === "t");
    const resumed = async (times) => {
      await until(() => resumes().length === times);
      return resumes().at(-1).last_seq;
    };
    visitor.say({
      type: "progress",
      step: "starting",
      message: "Starting",
      client_message_id: sent[0].client_message_id,
    });
    visitor.say({ type: "token", token: "a", seq: 0 });
    visitor.say({ type: "token", token: "bcd", first_seq: 1, seq: 3 });
    visitor.say({ type: "heartbeat", turns: [{ turn_id: "t", session_id: "c", seq: 9 }] });
    assert.equal(await resumed(1), 3, "a heartbeat is ahead");
    visitor.say({ type: "error", code: "TURN_INTERRUPTED", error: "of before", retryable: true });
    visitor.say({ type: "resumed", from_seq: 2, state: "interrupted" });
    assert.equal(await resumed(2), 0, "`b` cannot be told from what was lost");
    visitor.say({ type: "error", code: "TURN_INTERRUPTED", error: "of before", retryable: true });
    visitor.say({ type: "resumed", from_seq: 1, state: "interrupted" });
    visitor.say({ type: "token", token: "b", seq: 1 });
    visitor.say({ type: "error", code: "TURN_INTERRUPTED", error: "The server was killed.", retryable: true });
    await turn(page, 0).getByText("The server was killed.").waitFor();
    assert.equal(await answer.innerText(), "ab");
    return visitor;
  },

  async "errors are shown with their code"(visit) {
    const visitor = await visit();
    const { page } = visitor;
    await page.click("#tab-login");
    await page.fill("#form-login [name=email]", visitor.email);
    await page.fill("#form-login [name=password]", visitor.password);
    await page.click("#form-login .primary");
    await page.locator("#gate-error").getByText("INVALID_CREDENTIALS").waitFor();
    await visitor.shot("desktop-light-error");
    await page.click("#tab-token");
    await page.fill("#form-token [name=token]", "eyJhbGciOiJub25lIn0.e30.");
    await page.click("#form-token .primary");
    await page.locator("#gate-error").getByText("INVALID_TOKEN").waitFor();
    visitor.complaints = visitor.complaints.filter((text) => !text.includes("status of 401"));
    return visitor;
  },

  async "tabs share a sign-in, and signing out ends it in all"(visit) {
    const visitor = await visit();
    await register(visitor);
    const second = await visitor.openTab();
    await online(second.page);
    await second.page.click("#sign-out");
    await visitor.page.locator("#gate").waitFor();
    assert.equal(await visitor.page.evaluate(() => localStorage.getItem("switchboard.account")), null);
    return visitor;
  },
};

const slow = {
  async "Stop ends an answer, and what there was stays"(visit) {
    const visitor = await visit();
    const { page, frames } = visitor;
    await register(visitor);
    await ask(visitor, QUESTION);
    await page.waitForSelector(".turn.streaming");
    assert.ok(await page.locator("#stop").isVisible(), "Stop takes the place of Send");
    await visitor.shot("desktop-light-streaming");
    await page.press("#question", "Escape");
    const answer = await answered(visitor);
    const complete = frames.find((frame) => frame.type === "complete");
    assert.equal(complete.finish_reason, "cancelled");
    assert.ok(answer.length > 0 && (await turn(page, 0).getByText("stopped").isVisible()));
    await turn(page, 0).getByText("verified").waitFor();
    assert.ok(await page.locator("#send").isVisible(), "the next question may come");
    return visitor;
  },

  async "an answer goes on over a reload of the page"(visit) {
    const visitor = await visit();
    const { page, frames } = visitor;
    await register(visitor);
    await ask(visitor, QUESTION);
    await page.waitForSelector(".turn.streaming");
    await page.reload();
    await page.waitForSelector(".turn.streaming");
    assert.ok(frames.some((frame) => frame.type === "resumed" && frame.state === "streaming"));
    await answered(visitor);
    assert.equal(await turn(page, 0).locator(".question").innerText(), QUESTION);
    await turn(page, 0).getByText("verified").waitFor();
    return visitor;
  },

  async "a tab with an open conversation sees what another tab asks, once and without a reload"(visit) {
    const visitor = await visit();
    const { page } = visitor;
    await register(visitor);
    await ask(visitor, "One");
    await answered(visitor);
    const second = await visitor.openTab();
    await second.page.locator("#conversations .pick").first().click();
    await answered(second);
    await ask(visitor, "Two");
    await second.page.waitForSelector(".turn.streaming");
    await answered(second, 1);
    await answered(visitor, 1);
    await ask(second, "Three");
    await page.locator(".turn.streaming").waitFor();
    for (const tab of [visitor, second]) {
      await answered(tab, 2);
      await turn(tab.page, 2).getByText("verified").waitFor();
      assert.deepEqual(await tab.page.locator(".question").allTextContents(), ["One", "Two", "Three"]);
    }
    const answersOf = (tab) => tab.page.locator(".answer").allTextContents();
    assert.deepEqual(await answersOf(visitor), await answersOf(second));
    const opened = second.sent.find((frame) => frame.type === "resume");
    assert.ok(opened.turn_id && opened.last_seq >= 0, "the tab names the turn that it has");
    const resumed = second.frames.find((frame) => frame.type === "resumed");
    assert.equal(resumed.from_seq, opened.last_seq + 1, "and how much of it");
    const again = second.frames.filter((frame) => frame.type === "token" && frame.turn === resumed.turn);
    assert.deepEqual(again, [], "the history is not sent twice");
    return visitor;
  },

  async "a tab that was cut off sees what was asked meanwhile"(visit) {
    const visitor = await visit();
    const { page } = visitor;
    await register(visitor);
    await ask(visitor, "One");
    await answered(visitor);
    const second = await visitor.openTab();
    await second.page.locator("#conversations .pick").first().click();
    await answered(second);
    await second.page.evaluate(async () => (await import("/static/pages/chat/wire.js")).connection.close());
    await ask(visitor, "Two");
    await answered(visitor, 1);
    await ask(visitor, "Three");
    await page.waitForSelector(".turn.streaming");
    await second.page.evaluate(async () => (await import("/static/pages/chat/wire.js")).connection.reconnect());
    await answered(second, 2);
    await answered(visitor, 2);
    assert.deepEqual(await second.page.locator(".question").allTextContents(), ["One", "Two", "Three"]);
    assert.deepEqual(
      await second.page.locator(".answer").allTextContents(),
      await page.locator(".answer").allTextContents(),
    );
    return visitor;
  },

  async "a tab that was away for more than is replayed reads the history"(visit) {
    const visitor = await visit();
    const { page } = visitor;
    await register(visitor);
    await ask(visitor, "0");
    await answered(visitor);
    const second = await visitor.openTab();
    await second.page.locator("#conversations .pick").first().click();
    await answered(second);
    await second.page.evaluate(async () => (await import("/static/pages/chat/wire.js")).connection.close());
    for (let n = 1; n <= MISSED; n += 1) {
      await ask(visitor, String(n));
      await page.waitForSelector(".turn.streaming");
      await page.press("#question", "Escape");
      await answered(visitor, n);
    }
    await second.page.evaluate(async () => (await import("/static/pages/chat/wire.js")).connection.reconnect());
    for (let n = 1; n <= MISSED; n += 1) await answered(second, n);
    const numbers = Array.from({ length: MISSED + 1 }, (_, n) => String(n));
    assert.deepEqual(await second.page.locator(".question").allTextContents(), numbers);
    assert.ok(second.frames.some((frame) => frame.type === "resumed" && frame.reload_history));
    await ask(visitor, "last");
    await second.page.locator(".question", { hasText: "last" }).waitFor();
    await page.press("#question", "Escape");
    return visitor;
  },

  async "a message is queued while another tab's answer is written"(visit) {
    const visitor = await visit();
    await register(visitor);
    await ask(visitor, "One");
    await answered(visitor);
    const second = await visitor.openTab();
    await second.page.locator("#conversations .pick").first().click();
    await answered(second);
    await ask(visitor, "Two");
    await second.page.waitForSelector(".turn.streaming");
    await ask(second, "Three");
    assert.deepEqual(await second.page.locator("#queued span").allTextContents(), ["Three"]);
    await answered(second, 2);
    await answered(visitor, 2);
    assert.deepEqual(await visitor.page.locator(".question").allTextContents(), ["One", "Two", "Three"]);
    return visitor;
  },

  async "a refused renewal fails no answer, and is tried again"(visit) {
    const visitor = await visit();
    const { page } = visitor;
    let expire;
    await page.routeWebSocket("**/ws/chat", (socket) => {
      socket.connectToServer();
      expire = () => socket.send(JSON.stringify({ type: "auth_expiring", expires_in: 15 }));
    });
    const refusals = [
      (route) => route.fulfill({ status: 503, json: { code: "OVERLOADED", error: "Not now.", retryable: true } }),
      (route) => route.abort(),
      (route) => route.fulfill({ status: 404, contentType: "text/html", body: "<h1>a proxy</h1>" }),
    ];
    const tries = refusals.length + 1;
    let refreshes = 0;
    await page.route("**/api/v1/auth/refresh", (route) => {
      refreshes += 1;
      return (refusals.shift() ?? ((r) => r.continue()))(route);
    });
    await register(visitor);
    const before = await tokenOf(page);
    await ask(visitor, QUESTION);
    await page.waitForSelector(".turn.streaming");
    expire();
    await answered(visitor);
    await turn(page, 0).getByText("verified").waitFor();
    await hasNewToken(page, before);
    assert.equal(refreshes, tries);
    assert.equal(await page.locator(".failure").count(), 0);
    await ask(visitor, "And the torque?");
    await answered(visitor, 1);
    visitor.expectComplaints("status of 503", "status of 404", "ERR_FAILED");
    return visitor;
  },

  async "a sign-in that is over still lets the answer end"(visit) {
    const visitor = await visit();
    const { page } = visitor;
    let expire;
    await page.routeWebSocket("**/ws/chat", (socket) => {
      socket.connectToServer();
      expire = () => socket.send(JSON.stringify({ type: "auth_expiring", expires_in: 15 }));
    });
    await page.route("**/api/v1/auth/refresh", (route) =>
      route.fulfill({ status: 401, json: { code: "INVALID_TOKEN", error: "The token is not good." } }),
    );
    await register(visitor);
    await ask(visitor, QUESTION);
    await page.waitForSelector(".turn.streaming");
    expire();
    await page.locator("#failures", { hasText: "Your sign-in ends with this answer." }).waitFor();
    await answered(visitor);
    await page.getByText("Sign in again").click();
    await page.locator("#gate").waitFor();
    visitor.expectComplaints("status of 401");
    return visitor;
  },

  async "two conversations are answered side by side"(visit) {
    const visitor = await visit();
    const { page, frames } = visitor;
    await register(visitor);
    await ask(visitor, QUESTION);
    await page.waitForSelector(".turn.streaming");
    await page.click("#new");
    await ask(visitor, "My car won't start");
    await answered(visitor);
    assert.equal(await turn(page, 0).locator(".question").innerText(), "My car won't start");
    await page.locator("#conversations .pick", { hasText: QUESTION }).click();
    await page.locator(".turn .question", { hasText: QUESTION }).waitFor();
    await answered(visitor);
    await turn(page, 0).getByText("verified").waitFor();
    assert.equal(new Set(frames.filter((frame) => frame.type === "token").map((frame) => frame.turn)).size, 2);
    return visitor;
  },
};

// Wants a server with the document of tests/attackers/page.rs.
const hostile = {
  async "markup in a document stays text"(visit) {
    const visitor = await visit();
    const { page } = visitor;
    await register(visitor);
    await ask(visitor, "What is the torque of a Frobnitz clamp?");
    await answered(visitor);
    const shown = await turn(page, 0).innerText();
    assert.ok(shown.includes("17 Nm"), shown);
    assert.ok(shown.includes("onerror"), `the markup is shown as it is: ${shown}`);
    await page.reload();
    await page.locator(".turn .meta").waitFor();
    assert.equal(
      await page.locator("#turns :is(img, script, svg[onload], iframe, a[href^=javascript])").count(),
      0,
      "no markup came to life",
    );
    return visitor;
  },
};

// Wants a server that takes the host chat.test. It is no name of this host, so that Chromium treats it as plain http from elsewhere.
const insecure = {
  async "it works on plain http from another host"(visit) {
    const visitor = await visit({ url: `http://chat.test:${base.port}` });
    const { page } = visitor;
    assert.ok(
      !(await page.evaluate(
        () => isSecureContext || crypto.randomUUID || crypto.subtle || navigator.clipboard || navigator.locks,
      )),
      "nothing that needs a secure context",
    );
    await register(visitor);
    await ask(visitor, QUESTION);
    await answered(visitor);
    await turn(page, 0).getByText("✓ verified").waitFor();
    const second = await visitor.openTab();
    await second.page.locator("#conversations .pick").first().click();
    await answered(second);
    await ask(second, "How often should I change the oil? – Grüße 🚗");
    await answered(second, 1);
    await answered(visitor, 1);
    for (const tab of [visitor, second]) await turn(tab.page, 1).getByText("✓ verified").waitFor();

    await page.click("#toggle-log");
    await page.click("#copy-log");
    await page.waitForFunction(() => document.getElementById("announcer").textContent === "Copied");
    await page.click("#question");
    await page.keyboard.press("Control+V");
    assert.ok((await page.inputValue("#question")).includes("auth_success"), "the frames were copied");
    await page.click("#sign-out");
    await second.page.locator("#gate").waitFor();
    visitor.expectComplaints("Cross-Origin-Opener-Policy header has been ignored"); // it protects secure contexts alone
    return visitor;
  },

  async "the substitute for SHA-256 computes what browsers do"(visit) {
    const visitor = await visit();
    const different = await visitor.page.evaluate(async () => {
      const { digestOf, sha256 } = await import("/static/clients/javascript/fallbacks.mjs");
      const wrong = [],
        hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
      for (let length = 0; length < 300; length += 1) {
        const text = "añ🚗z".repeat(length).slice(0, length),
          bytes = new TextEncoder().encode(text);
        if (hex(digestOf(bytes)) !== (await sha256(text))) wrong.push(length);
      }
      return wrong;
    });
    assert.deepEqual(different, []);
    return visitor;
  },
};

const scenarios = { answers, slow, hostile, insecure }[suite];
assert.ok(scenarios, `there is no suite ${suite}`);
await run(scenarios, base, "--host-resolver-rules=MAP chat.test 127.0.0.1");
