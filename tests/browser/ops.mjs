// node ops.mjs http://localhost:8000 OPERATOR_EMAIL USER_EMAIL AWAY_EMAIL PASSWORD
//
// Drives /ops in a real Chromium against a running server that has an operator, a user, and connections: those of
// tests/browser/ops.rs. Exits 1 when a scenario fails. Screenshots are left in target/screenshots.

import assert from "node:assert/strict";
import { axe, launch, PHONE, screenshots } from "./chromium.mjs";

const [base, operatorEmail, userEmail, awayEmail, password] = process.argv.slice(2);
/** Accounts of the server. */
const USERS = 4;
const WAIT_MS = 20_000;
/** Rows of the large table. */
const MANY = 10_000;
/** CPU time that the page may take per frame while it is scrolled, on average. */
const MAX_CPU_MS_PER_FRAME = 10;
/**
 * Maximum duration of one task of the page. Its own work never takes 50 ms; a task lasts longer only while another process has the
 * core, on a loaded machine for hundreds of milliseconds.
 */
const MAX_BUSY_MS = 500;

const browser = await launch();

async function visit({ prepare = async () => {}, ...options } = {}) {
  const context = await browser.newContext({
    viewport: { width: 1440, height: 1000 },
    reducedMotion: "reduce",
    ...options,
  });
  context.setDefaultTimeout(WAIT_MS);
  const visitor = { context, complaints: [] };
  await context.exposeBinding("reportComplaint", (_, text) => visitor.complaints.push(text));
  await context.addInitScript(() => {
    addEventListener("securitypolicyviolation", (event) =>
      window.reportComplaint(`CSP ${event.violatedDirective}: ${event.blockedURI} ${event.sample}`),
    );
  });
  const page = await context.newPage();
  visitor.page = page;
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) visitor.complaints.push(`console: ${message.text()}`);
  });
  page.on("pageerror", (error) => visitor.complaints.push(`uncaught: ${error.message}`));
  page.on("dialog", (dialog) => {
    visitor.complaints.push(`dialog: ${dialog.message()}`);
    dialog.dismiss();
  });
  page.on("request", (request) => {
    if (new URL(request.url()).host !== new URL(base).host && !request.url().startsWith("data:"))
      visitor.complaints.push(`asked ${request.url()}`);
  });
  visitor.shot = (name) => page.screenshot({ path: `${screenshots}/${name}.png` });
  await prepare(page);
  await page.goto(new URL("/ops", base).href);
  return visitor;
}

async function signIn({ page }, email = operatorEmail) {
  await page.fill("#form-login [name=email]", email);
  await page.fill("#form-login [name=password]", password);
  await page.click("#form-login .primary");
}

async function enter(options) {
  const visitor = await visit(options);
  await signIn(visitor);
  await visitor.page.waitForSelector("#status[data-state=online]");
  await visitor.page.locator(".row:not(.waiting)").first().waitFor();
  return visitor;
}

const rows = (page) => page.locator(".row:not([hidden]):not(.waiting)");
const total = (page, n) => page.locator(`#grid[aria-rowcount="${n + 1}"]`).waitFor();
const activeIndex = (page) =>
  page.evaluate(
    () =>
      document
        .getElementById(document.getElementById("grid").getAttribute("aria-activedescendant"))
        ?.getAttribute("aria-rowindex") - 2,
  );

/** The number of labels on each axis of each chart; a single one gives no scale. */
const labels = (page) =>
  page.evaluate(async () =>
    (await import("/static/pages/ops/charts.js")).CHARTS.map(({ plot }) =>
      plot.axes.map((axis) => axis._values.filter(Boolean).length),
    ),
  );

async function haveLabels(page) {
  for (const minutes of [1, 15, 5]) {
    await page.click(`#span [data-minutes="${minutes}"]`);
    for (const [time, value] of await labels(page))
      assert.ok(time >= 2 && value === 3, `${minutes} min: ${time} and ${value} labels`);
  }
}

const scenarios = {
  async "an operator signs in and sees what is live"() {
    const visitor = await visit();
    const { page } = visitor;
    await visitor.shot("ops-light-sign-in");
    await signIn(visitor);
    await page.waitForSelector("#status[data-state=online]");
    await total(page, 14);
    assert.equal(await rows(page).count(), 14);
    await page.locator("#card-connections b", { hasText: "14" }).first().waitFor();
    await page.locator("#card-turns b", { hasText: "2" }).first().waitFor();
    assert.equal(await page.locator("#cards canvas").count(), 6, "each card has its chart");
    await haveLabels(page);
    await page.locator("#card-turns .plot").hover();
    await page.locator("#card-tokens .at", { hasText: ":" }).waitFor();
    const before = await page.locator("#uptime").textContent();
    await page.waitForFunction((text) => document.getElementById("uptime").textContent !== text, before);
    await visitor.shot("ops-light");
    await page.reload();
    await page.waitForSelector("#status[data-state=online]");
    await total(page, 14);
    await page.click("#sign-out");
    await page.locator("#gate").waitFor();
    assert.equal(await page.evaluate(() => localStorage.getItem("switchboard.ops.account")), null);
    return visitor;
  },

  async "it works on plain http from another host"() {
    const visitor = await enter({
      prepare: (page) =>
        page.addInitScript(() => {
          for (const [owner, name] of [
            [Crypto, "randomUUID"],
            [Crypto, "subtle"],
            [Navigator, "clipboard"],
            [Navigator, "locks"],
          ])
            delete owner.prototype[name];
        }),
    });
    const { page } = visitor;
    assert.ok(
      !(await page.evaluate(() => crypto.subtle || navigator.locks || navigator.clipboard)),
      "nothing that needs a secure context",
    );
    const before = await page.evaluate(async () => (await import("/static/pages/ops/feed.js")).connection.token);
    await page.evaluate(async () => (await import("/static/pages/ops/feed.js")).connection.authenticateAgain());
    await page.waitForFunction(
      async (token) => (await import("/static/pages/ops/feed.js")).connection.token !== token,
      before,
    );
    await total(page, 14);
    return visitor;
  },

  async "an account without the role operator is refused"() {
    const visitor = await visit();
    const { page } = visitor;
    await signIn(visitor, userEmail);
    await page.locator("#gate-error").getByText("FORBIDDEN").waitFor();
    assert.ok(await page.locator("#gate-error").getByText("not an operator").isVisible());
    await page.fill("#form-login [name=email]", operatorEmail);
    await page.fill("#form-login [name=password]", "not the password");
    await page.click("#form-login .primary");
    await page.locator("#gate-error").getByText("INVALID_CREDENTIALS").waitFor();
    visitor.complaints = visitor.complaints.filter((text) => !text.includes("status of 401"));
    return visitor;
  },

  async "the table is sorted, searched and filtered"() {
    const visitor = await enter();
    const { page } = visitor;
    const column = async (name) => rows(page).locator(`.${name}`).allTextContents();
    await page.click("#head .dialect button");
    await page.waitForSelector('#head .dialect[aria-sort="ascending"]');
    await page.waitForFunction(() => document.querySelector(".row:not(.waiting) .dialect")?.textContent === "chat.v1");
    await page.click("#head .dialect button");
    await page.waitForFunction(() => document.querySelector(".row:not(.waiting) .dialect")?.textContent === "chat.v2");
    await page.fill("#q", "HOSTILE");
    await total(page, 1);
    await page.fill("#q", "nobody has this");
    await total(page, 0);
    assert.ok(await page.locator("#empty").isVisible());
    await page.fill("#q", "");
    await page.selectOption("#state", "streaming");
    await total(page, 2);
    assert.deepEqual(await column("state"), ["streaming", "streaming"]);
    await page.selectOption("#state", "");
    await page.selectOption("#dialect", "chat.v2");
    await total(page, 3);
    return visitor;
  },

  async "names and user agents stay text, and turn nothing round"() {
    const visitor = await enter();
    const { page } = visitor;
    await page.fill("#q", "hostile");
    await total(page, 1);
    await rows(page).first().click();
    await page.locator("#detail dd", { hasText: "<img" }).first().waitFor();
    assert.equal(
      await page.locator("#grid :is(img, script, svg, iframe), #detail :is(img, script, svg, iframe)").count(),
      0,
      "no markup came to life",
    );
    const isolation = await page.evaluate(() =>
      [".row .user bdi", ".row .client bdi", "#detail-title bdi"].map(
        (selector) => getComputedStyle(document.querySelector(selector)).unicodeBidi,
      ),
    );
    assert.deepEqual(isolation, ["isolate", "isolate", "isolate"]);
    return visitor;
  },

  async "a connection is followed, and kicked"() {
    const visitor = await enter();
    const { page } = visitor;
    await page.selectOption("#state", "streaming");
    await total(page, 2);
    await rows(page).first().click();
    await page.locator("#frames li", { hasText: "token #" }).first().waitFor();
    await page.locator("#detail .turn b", { hasText: "generating" }).waitFor();
    assert.ok(!(await page.locator("#detail").textContent()).includes("What is said"), "no texts");
    await visitor.shot("ops-light-detail");
    await page.click("#detail .turn button");
    await page.locator("#ask h2", { hasText: "Cancel this turn?" }).waitFor();
    await page.click("#ask .primary");
    await page.locator(".toast", { hasText: "The turn was cancelled." }).waitFor();
    await page.locator("#detail .turns", { hasText: "No turn is running." }).waitFor();
    await page.locator("#detail button", { hasText: "Kick…" }).click();
    await page.keyboard.press("Escape");
    assert.ok(
      !(await page.locator("#ask").isVisible()) && (await page.locator("#detail").isVisible()),
      "Escape closes the question alone",
    );
    await page.locator("#detail button", { hasText: "Kick…" }).click();
    await page.fill("#ask [name=reason]", "a test <b>of kicking</b>");
    await page.click("#ask .primary");
    await page.locator(".toast", { hasText: "The connection was kicked." }).waitFor();
    await page.locator("#detail .gone").waitFor();
    await page.selectOption("#state", "");
    await total(page, 13);
    await page.locator("#audit li", { hasText: "a test <b>of kicking</b>" }).waitFor();
    assert.equal(await page.locator("#audit li b b, #audit li bdi b").count(), 0);
    await page.keyboard.press("Escape");
    assert.ok(!(await page.locator("#detail").isVisible()));
    return visitor;
  },

  async "it works with the keyboard alone"() {
    const visitor = await visit();
    const { page } = visitor;
    const tabTo = async (selector) => {
      for (let i = 0; i < 40; i += 1) {
        await page.keyboard.press("Tab");
        if (await page.evaluate((s) => document.activeElement?.matches(s), selector)) return;
      }
      assert.fail(`Tab does not reach ${selector}`);
    };
    await tabTo("#form-login [name=email]");
    await page.keyboard.type(operatorEmail);
    await tabTo("#form-login [name=password]");
    await page.keyboard.type(password);
    await page.keyboard.press("Enter");
    await page.waitForSelector("#status[data-state=online]");
    await rows(page).first().waitFor();
    assert.equal(await page.evaluate(() => document.activeElement.id), "grid", "the table has the focus");
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("ArrowDown");
    await page.waitForFunction(() => document.querySelector(".row.active")?.getAttribute("aria-rowindex") === "4");
    assert.equal(await activeIndex(page), 2);
    await page.keyboard.press("End");
    await page.waitForFunction(
      () =>
        document.querySelector(".row.active")?.getAttribute("aria-rowindex") ===
        document.getElementById("grid").getAttribute("aria-rowcount"),
    );
    await page.keyboard.press("Home");
    await page.keyboard.press("Enter");
    await page.locator("#detail dl").waitFor();
    assert.equal(await page.evaluate(() => document.activeElement.getAttribute("aria-label")), "Close the details");
    await page.keyboard.press("Escape");
    assert.equal(await page.evaluate(() => document.activeElement.id), "grid", "the focus comes back");
    await page.keyboard.press("/");
    assert.equal(await page.evaluate(() => document.activeElement.id), "q");
    await page.keyboard.press("Enter");
    await tabTo('#head [aria-sort="ascending"] button, #head [aria-sort="descending"] button');
    await page.keyboard.press("ArrowRight");
    await page.keyboard.press("Enter");
    await page.waitForSelector('#head .tokens[aria-sort="descending"]');
    return visitor;
  },

  async "it is accessible, light and dark"() {
    const visitor = await visit();
    const { page } = visitor;
    for (const colorScheme of ["light", "dark"]) {
      await page.emulateMedia({ colorScheme });
      await axe(page, `sign-in, ${colorScheme}`);
    }
    await signIn(visitor);
    await page.waitForSelector("#status[data-state=online]");
    await rows(page).first().click();
    await page.locator("#detail dl dd").first().waitFor();
    for (const colorScheme of ["light", "dark"]) {
      await page.emulateMedia({ colorScheme });
      await axe(page, `the page, ${colorScheme}`);
    }
    await page.click("#do-drain");
    await axe(page, "a question");
    await page.keyboard.press("Escape");
    await page.keyboard.press("Escape");
    await visitor.shot("ops-dark");
    const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    const dark = await ground();
    await page.click("#theme");
    assert.notEqual(await ground(), dark, "the choice wins over the system");
    await page.reload();
    await page.waitForSelector("#status[data-state=online]");
    assert.notEqual(await ground(), dark, "and is kept");
    return visitor;
  },

  async "it works on a phone"() {
    const visitor = await enter({ ...PHONE, colorScheme: "dark" });
    const { page } = visitor;
    const fits = async (where) => {
      const width = await page.evaluate(() => document.documentElement.scrollWidth);
      assert.ok(width <= PHONE.viewport.width, `${where} is ${width} px wide`);
    };
    await fits("the page");
    await haveLabels(page);
    const cards = await page.locator("#cards .tile").all();
    for (const box of await Promise.all(cards.map((card) => card.boundingBox()))) {
      assert.ok(
        box.x >= 0 && box.x + box.width <= PHONE.viewport.width,
        "each chart can be seen without scrolling aside",
      );
    }
    await visitor.shot("ops-phone-dark");
    await rows(page).first().scrollIntoViewIfNeeded();
    await rows(page).first().tap();
    await page.locator("#detail dl dd").first().waitFor();
    await fits("the details");
    await visitor.shot("ops-phone-dark-detail");
    await page.tap("#detail .top button");
    assert.ok(!(await page.locator("#detail").isVisible()));
    await page.tap("#tab-users");
    await page.locator("#users tr").first().waitFor();
    await fits("the users");
    for (const box of await Promise.all(
      (await page.locator("#users .acts button").all()).map((button) => button.boundingBox()),
    )) {
      assert.ok(
        box.x >= 0 && box.x + box.width <= PHONE.viewport.width,
        "each action can be reached without scrolling aside",
      );
    }
    await visitor.shot("ops-phone-dark-users");
    await page.tap("#breakdowns summary");
    await fits("the breakdown");
    return visitor;
  },

  async "a server that goes away is told, and the page comes back"() {
    let first = true,
      goAway;
    const visitor = await enter({
      prepare: (page) =>
        page.routeWebSocket("**/ws/ops", (socket) => {
          const server = socket.connectToServer();
          if (!first) return;
          first = false;
          goAway = async () => {
            socket.send(JSON.stringify({ type: "going_away", reconnect_after_ms: 1500 }));
            await socket.close({ code: 1001, reason: "the server is going away" });
            server.close();
          };
        }),
    });
    const { page } = visitor;
    await page.locator("#uptime", { hasText: "1 operator connected" }).waitFor();
    await goAway();
    await page.locator("#banner", { hasText: "The server is going away" }).waitFor();
    await page.locator("#status", { hasText: "Reconnecting in 2 s" }).waitFor();
    await page.waitForSelector("#status[data-state=online]");
    await page.locator("#banner").waitFor({ state: "hidden" });
    return visitor;
  },

  async "ten thousand rows scroll smoothly"() {
    // The real feed, with its rows multiplied.
    const visitor = await enter({
      prepare: (page) =>
        page.routeWebSocket("**/ws/ops", (socket) => {
          const server = socket.connectToServer();
          let view = null;
          socket.onMessage((text) => {
            const frame = JSON.parse(text);
            if (frame.type === "view") view = frame;
            server.send(frame.type === "view" ? JSON.stringify({ ...frame, offset: 0 }) : text);
          });
          server.onMessage((text) => {
            const frame = JSON.parse(text);
            if (frame.type !== "connections" || !view) return socket.send(text);
            const connections = Array.from({ length: view.limit }, (_, i) => ({
              ...frame.connections[i % frame.connections.length],
              id: `row ${view.offset + i}`,
              tokens_sent: view.offset + i,
            })).slice(0, MANY - view.offset);
            socket.send(JSON.stringify({ ...frame, id: view.id, offset: view.offset, total: MANY, connections }));
          });
        }),
    });
    const { page } = visitor;
    await total(page, MANY);
    await page.locator("#grid").hover();
    const devtools = await page.context().newCDPSession(page);
    await devtools.send("Performance.enable", { timeDomain: "threadTicks" });
    const cpuMs = async () => {
      const { metrics } = await devtools.send("Performance.getMetrics");
      return 1000 * metrics.find(({ name }) => name === "TaskDuration").value;
    };
    const before = await cpuMs();
    const measured = await page.evaluate(async () => {
      const grid = document.getElementById("grid"),
        gaps = [],
        busy = [0];
      new PerformanceObserver((list) => busy.push(...list.getEntries().map((entry) => entry.duration))).observe({
        type: "longtask",
      });
      let last = performance.now(),
        most = 0;
      const end = last + 4000;
      await new Promise((done) => {
        const step = (at) => {
          gaps.push(at - last);
          last = at;
          grid.scrollTop += gaps.length % 40 === 0 ? 40_000 : 90; // a steady pull, and now and then a leap
          most = Math.max(most, document.querySelectorAll(".row").length);
          if (at < end) requestAnimationFrame(step);
          else done();
        };
        requestAnimationFrame(step);
      });
      gaps.sort((a, b) => a - b);
      return {
        frames: gaps.length,
        p50: gaps[gaps.length >> 1],
        p95: gaps[Math.floor(gaps.length * 0.95)],
        busy: Math.max(...busy),
        longTasks: busy.length - 1,
        most,
      };
    });
    measured.cpuPerFrame = ((await cpuMs()) - before) / measured.frames;
    console.log(`     ${JSON.stringify(measured)}`);
    assert.ok(measured.cpuPerFrame < MAX_CPU_MS_PER_FRAME, `${measured.cpuPerFrame} ms of CPU per frame`);
    assert.ok(measured.most < 60, `${measured.most} rows are in the page`);
    assert.ok(measured.busy < MAX_BUSY_MS, `busy for ${measured.busy} ms at a time`);
    await page.evaluate(() => {
      document.getElementById("grid").scrollTop = 1e9;
    });
    await page.locator(`#row-${MANY - 1}:not(.waiting)`).waitFor();
    assert.equal(await page.locator(`#row-${MANY - 1} .tokens`).textContent(), "9,999");
    await page.locator("#grid").focus();
    await page.keyboard.press("Home");
    await page.locator("#row-0:not(.waiting)").waitFor();
    await visitor.shot("ops-light-many");
    return visitor;
  },

  async "errors and refusals are told apart"() {
    const visitor = await enter();
    const { page } = visitor;
    await page.click("#breakdowns summary");
    await page.locator("#refused-by-limit", { hasText: "No limit refused anything." }).waitFor();
    await page.evaluate(async () =>
      (await import("/static/pages/shared/account.js"))
        .api("GET", "/api/v1/connections/01890a5d-ac96-774b-bcce-b302099a8057")
        .catch(() => {}),
    );
    const row = page.locator("#errors-by-code tr", { hasText: "NOT_FOUND" });
    await row.locator("td", { hasText: "+1" }).waitFor();
    for (const colorScheme of ["light", "dark"]) {
      await page.emulateMedia({ colorScheme });
      await axe(page, `the breakdown, ${colorScheme}`);
    }
    await visitor.shot("ops-dark-breakdown");
    visitor.complaints = visitor.complaints.filter((text) => !text.includes("status of 404"));
    return visitor;
  },

  async "circuits and the use of budgets are shown"() {
    const visitor = await enter();
    const { page } = visitor;
    const line = page.locator("#uptime");
    await line.filter({ hasText: "circuit of titles open" }).waitFor();
    // An earlier scenario may have stopped a turn of another user.
    await line.filter({ hasText: /[1-9] of [1-9] users have used up their daily budget/ }).waitFor();
    await page.click("#breakdowns summary");
    const cells = page.locator("#providers tr", { hasText: "titles" }).locator("td");
    const [circuit, failures, until] = await cells.allTextContents();
    assert.deepEqual([circuit, failures], ["open", "1"]);
    assert.match(until, /\d\d:\d\d:\d\d/);
    assert.match(await cells.nth(1).getAttribute("title"), /unavailable/);
    const own = await page.locator("#providers tr", { hasText: "default" }).locator("td").allTextContents();
    assert.deepEqual(own, ["closed", "0", "–"]);
    return visitor;
  },

  async "everyone is on the list, and a locked account is unlocked there"() {
    const visitor = await enter();
    const { page } = visitor;
    const users = page.locator("#users tr");
    await page.focus("#tab-connections");
    await page.keyboard.press("ArrowRight");
    assert.ok(!(await page.locator("#work").isVisible()));
    await users.nth(USERS - 1).waitFor();
    const own = users.filter({ hasText: operatorEmail });
    assert.ok(await own.getByText("Lock…").isDisabled(), "not the own account");
    await own.getByText("(you)").waitFor();
    assert.equal(await page.locator("#users :is(img, script)").count(), 0, "names stay text");
    for (const colorScheme of ["light", "dark"]) {
      await page.emulateMedia({ colorScheme });
      await axe(page, `users, ${colorScheme}`);
    }
    await visitor.shot("ops-dark-users");

    await page.fill("#users-q", awayEmail.toUpperCase());
    await page.waitForFunction(() => document.querySelectorAll("#users tr").length === 1);
    assert.equal(await users.locator(".state").textContent(), "signed in");
    await users.getByText("Lock…").click();
    await page.click("#ask .primary");
    await page.locator(".toast", { hasText: "is locked, 0 connections closed." }).waitFor();
    await users.locator(".state", { hasText: "locked" }).waitFor();
    await page.fill("#users-q", "");
    await page.waitForFunction((n) => document.querySelectorAll("#users tr").length === n, USERS);
    await page.selectOption("#users-locked", "true");
    await page.waitForFunction(() => document.querySelectorAll("#users tr").length === 1);
    await users.getByText("Unlock…").click();
    await page.click("#ask .primary");
    await page.locator(".toast", { hasText: "is unlocked." }).waitFor();
    await page.locator("#users-empty").waitFor();
    await page.locator("#audit li", { hasText: "unlock user" }).waitFor();

    await page.selectOption("#users-locked", "");
    await page.fill("#users-q", "hostile");
    await page.waitForFunction(() => document.querySelectorAll("#users tr").length === 1);
    await users.locator(".number button", { hasText: "1" }).click();
    await total(page, 1);
    await rows(page).first().getByText("hostile").first().waitFor();
    return visitor;
  },

  async "many users come in pages"() {
    const page0 = Array.from({ length: 120 }, (_, i) => ({
      id: `user ${i}`,
      email: `user${i}@example.org`,
      name: `User ${i}`,
      role: "user",
      locked: i === 3,
      created_at_ms: 1795000000000 - i,
      sign_ins: 0,
      connections: 0,
      running_turns: 0,
    }));
    const visitor = await enter({
      prepare: (page) =>
        page.route("**/api/v1/users?*", (route) => {
          const query = new URL(route.request().url()).searchParams,
            limit = Number(query.get("limit"));
          const from = query.has("before") ? page0.findIndex(({ id }) => id === query.get("before")) + 1 : 0;
          const users = page0.slice(from, from + limit);
          return route.fulfill({ json: { users, next: from + limit < page0.length ? users.at(-1).id : undefined } });
        }),
    });
    const { page } = visitor;
    await page.click("#tab-users");
    for (const shown of [50, 100, 120]) {
      await page.waitForFunction((n) => document.querySelectorAll("#users tr").length === n, shown);
      if (shown < 120) await page.click("#users-more");
    }
    assert.ok(!(await page.locator("#users-more").isVisible()));
    await page.evaluate(async () => (await import("/static/pages/ops/users.js")).loadUsers({ again: true }));
    assert.equal(await page.locator("#users tr").count(), 120, "what is shown stays");
    assert.equal(await page.locator("#users tr .state", { hasText: "locked" }).count(), 1);
    return visitor;
  },

  async "an account is locked"() {
    const visitor = await enter();
    const { page } = visitor;
    await page.fill("#q", "hostile");
    await total(page, 1);
    await rows(page).first().click();
    await page.locator("#detail button", { hasText: "Lock user…" }).click();
    await page.locator("#ask", { hasText: "cannot sign in until an operator unlocks the account" }).waitFor();
    await page.click("#ask .primary");
    await page.locator(".toast", { hasText: "is locked, 1 connection closed." }).waitFor();
    await page.locator("#detail .gone").waitFor();
    await total(page, 0);
    await page.locator("#audit li b").getByText("lock user", { exact: true }).first().waitFor();
    return visitor;
  },

  // The last one: a server that is drained sends its connections away.
  async "the server is steered"() {
    const visitor = await enter();
    const { page } = visitor;
    await page.click("#do-notice");
    await page.fill("#ask [name=message]", "Tea at five.");
    await page.click("#ask .primary");
    await page.locator(".toast", { hasText: /Sent to 1[12] connections\./ }).waitFor();
    await page.click("#do-settings");
    assert.ok((await page.inputValue("#ask [name=log_level]")).length > 0, "the level in force");
    const turns = await page.inputValue("#ask [name=workflow-max_running_turns]");
    await page.fill("#ask [name=workflow-max_running_turns]", "0");
    await page.click("#ask .primary");
    await page.locator("#ask .failure", { hasText: "max_running_turns" }).waitFor();
    await page.fill("#ask [name=workflow-max_running_turns]", turns);
    await page.fill("#ask [name=limits-frame_burst]", "123");
    await page.click("#ask .primary");
    await page.locator(".toast", { hasText: "Changed: frame burst." }).waitFor();
    await page.click("#do-drain");
    await page.selectOption("#ask [name=then]", "stay");
    await page.click("#ask .primary");
    await page.locator("#banner", { hasText: "The server is draining" }).waitFor();
    await page.locator("#do-drain", { hasText: "Undrain…" }).click();
    await page.click("#ask .primary");
    await page.locator("#banner").waitFor({ state: "hidden" });
    visitor.complaints = visitor.complaints.filter((text) => !text.includes("status of 422"));
    return visitor;
  },
};

let failed = 0;
for (const [name, run] of Object.entries(scenarios)) {
  try {
    const visitor = await run();
    assert.deepEqual(visitor.complaints, [], "the browser complained");
    await visitor.context.close();
    console.log(`ok   ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAIL ${name}\n     ${String(error.message ?? error).replaceAll("\n", "\n     ")}`);
    const [context] = browser.contexts();
    await context
      ?.pages()[0]
      ?.screenshot({ path: `${screenshots}/ops-failed-${failed}.png` })
      .catch(() => {});
    for (const left of browser.contexts()) await left.close();
  }
}
await browser.close();
console.log(`${Object.keys(scenarios).length - failed} passed, ${failed} failed`);
process.exitCode = failed ? 1 : 0;
