// node renewal.mjs target/debug/switchboard
//
// Drives /ws/test in a real Chromium against a server whose access tokens live for seconds. Exits 1 when a scenario fails.

import assert from "node:assert/strict";
import { Server } from "./server.mjs";
import { answered, ask, hasNewToken, online, QUESTION, register, run, tokenOf, turn } from "./visitor.mjs";

const TOKEN_LIFE_S = 8;
const server = await new Server(process.argv[2], {
  AUTH__ACCESS_TOKEN_TTL_S: TOKEN_LIFE_S,
  PROVIDER__SCRIPTED__TOKENS: 240,
  PROVIDER__SCRIPTED__INTERVAL_MS: 50,
}).start();
/** A server whose tokens end long after a test does: no tab renews them by itself. */
const calm = await new Server(process.argv[2], { AUTH__ACCESS_TOKEN_TTL_S: 300 }).start();

/** Removes Web Locks, which browsers do not offer on plain http. */
const withoutLocks = () => {
  delete Navigator.prototype.locks;
};

/** A visitor with two tabs, both signed in. */
async function twoTabs(visit, options) {
  const visitor = await visit(options);
  await visitor.context.addInitScript(withoutLocks);
  await visitor.page.reload();
  await register(visitor);
  const second = await visitor.openTab();
  await online(second.page);
  return [visitor, second];
}

const scenarios = {
  async "two tabs that renew at once get the same tokens and stay signed in"(visit) {
    const [visitor, second] = await twoTabs(visit, { url: calm.url.href });
    // Both requests are under way before either is answered.
    const waiting = [];
    await visitor.context.route("**/api/v1/auth/refresh", (route) => {
      waiting.push(route);
      if (waiting.length >= 2) for (const held of waiting.splice(0)) held.continue();
    });
    const tabs = [visitor, second];
    const before = await Promise.all(tabs.map(({ page }) => tokenOf(page)));
    await Promise.all(
      tabs.map(({ page }) =>
        page.evaluate(async () => (await import("/static/pages/chat/wire.js")).connection.authenticateAgain()),
      ),
    );
    await Promise.all(tabs.map(({ page }, i) => hasNewToken(page, before[i])));
    await visitor.context.unroute("**/api/v1/auth/refresh");
    const tokens = await Promise.all(
      tabs.map(({ page }) =>
        page.evaluate(async () => (await import("/static/pages/shared/account.js")).signIn.account.refresh_token),
      ),
    );
    assert.equal(tokens[0], tokens[1]);
    for (const { page } of tabs) {
      await page.evaluate(async () => (await import("/static/pages/shared/account.js")).api("GET", "/api/v1/auth/me"));
      await page.reload();
      await online(page);
    }
    return visitor;
  },

  async "an answer outlives several tokens, in two tabs"(visit) {
    const [visitor, second] = await twoTabs(visit);
    let refreshes = 0;
    visitor.context.on("request", (request) => {
      refreshes += request.url().endsWith("/auth/refresh");
    });
    await ask(visitor, QUESTION);
    await visitor.page.waitForSelector(".turn.streaming");
    await second.page.reload();
    await online(second.page);
    await second.page.locator("#conversations .pick").first().click();
    for (const tab of [visitor, second]) {
      await answered(tab);
      await turn(tab.page, 0).getByText("verified").waitFor();
      assert.ok(tab.sent.filter((frame) => frame.type === "auth").length >= 1, "the token was renewed meanwhile");
      assert.equal(await tab.page.locator(".failure").count(), 0);
      assert.equal(await tab.page.locator("#status").getAttribute("data-state"), "online");
    }
    assert.ok(refreshes < 20, `${refreshes} renewals in about 12 seconds`);
    return visitor;
  },
};

await run(scenarios, server.url);
await Promise.all([server, calm].map((each) => each.remove()));
