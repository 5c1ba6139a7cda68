"use strict";
// The operator's page. What is live comes over /ws/ops, steering goes over REST: docs/OPERATIONS.md.
// Text from the server (names, agents, reasons) only ever becomes text nodes, never markup, and is isolated against
// characters that turn the direction of text round.

const $ = (id) => document.getElementById(id);
const MAX_SAMPLES = 900, MAX_FRAMES = 300, MAX_AUDIT = 500, WINDOW = 120, OVERSCAN = 6, VIEW_EVERY_MS = 120, SILENCE_MS = 8000, TICK_PX = 54;

let ws = null;
let ready = false;               // whether the server has authenticated the socket
let attempt = 0;                 // failed connections in a row
let reconnectTimer = 0, silenceTimer = 0;
let comeBackMs = null;           // when a server that ends wants us back
let triedRefresh = false;        // a refused token is refreshed once, not for ever
let socketToken = null;          // the access token that this socket was authenticated with last
let clockSkew = 0;               // the server's clock minus ours, in milliseconds
let stats = null;                // the last `stats`

// ── Small things ────────────────────────────────────────────────────────────────────────────────────────────────────

/** An element with properties, attributes and children; strings become text nodes. */
function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (key === "class") node.className = value;
    else if (key.startsWith("on")) node[key] = value;
    else if (key in node && typeof value !== "string") node[key] = value;
    else node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return node;
}

/** What somebody else wrote, with its own direction. */
const said = (text) => el("bdi", {}, text);

function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

const now = () => Date.now() + clockSkew;
const plain = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

const count = (n) => n === null || n === undefined ? "–" : n < 100 ? plain.format(n) : n < 10000 ? plain.format(Math.round(n)) : compact.format(n);
const millis = (ms) => ms === null || ms === undefined ? "–" : ms < 1000 ? (ms < 10 ? plain.format(ms) : Math.round(ms)) + " ms" : plain.format(ms / 1000) + " s";

function bytes(n) {
  if (n === null || n === undefined) return "–";
  if (n < 1000) return n + " B";
  for (const unit of ["kB", "MB", "GB"]) {
    n /= 1000;
    if (n < 1000 || unit === "GB") return (n < 10 ? n.toFixed(1) : Math.round(n)) + " " + unit;
  }
}

function duration(ms) {
  const s = Math.max(0, Math.floor(ms / 1000));
  if (s < 60) return s + " s";
  if (s < 3600) return Math.floor(s / 60) + " min" + (s % 60 ? " " + (s % 60) + " s" : "");
  if (s < 86400) return Math.floor(s / 3600) + " h " + Math.floor(s % 3600 / 60) + " min";
  return Math.floor(s / 86400) + " d " + Math.floor(s % 86400 / 3600) + " h";
}

const shortDuration = (ms) => duration(ms).split(" ").slice(0, 2).join(" ");
const clock = (ms, withMillis) => {
  const at = new Date(ms);
  return at.toLocaleTimeString([], { hour12: false }) + (withMillis ? "." + String(at.getMilliseconds()).padStart(3, "0") : "");
};

function toast(text, bad = false) {
  const node = el("div", { class: bad ? "toast bad" : "toast" }, said(text));
  $("toasts").append(node);
  setTimeout(() => node.remove(), bad ? 12000 : 6000);
}

const told = (error) => error?.code ? error.code + ": " + error.error : String(error);

// ── Signing in and out ──────────────────────────────────────────────────────────────────────────────────────────────

async function signOut(why = null) {
  const leaving = account;
  account = null;
  localStorage.removeItem(ACCOUNT_KEY);
  closeSocket();
  clearTimeout(reconnectTimer);
  closeDetail();
  if ($("ask").open) $("ask").close();
  setStatus("idle", "Signed out");
  layout();
  gateError(why);
  $("form-login").elements.email.focus();
  if (leaving?.refresh_token) await fetch("/api/v1/auth/logout", { method: "POST", headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ refresh_token: leaving.refresh_token }) }).catch(() => {});
}

function gateError(error) {
  $("gate-error").replaceChildren(...(error ? [el("div", { class: "failure" }, el("code", {}, error.code ?? "ERROR"), said(error.error))] : []));
}

function layout() {
  const signedIn = account !== null;
  $("gate").hidden = signedIn;
  $("body").hidden = $("sign-out").hidden = !signedIn;
  setText($("who"), signedIn ? account.user?.name ?? "" : "");
  $("who").title = account?.user?.email ?? "";
}

function setStatus(state, text) {
  $("status").dataset.state = state;
  setText($("status"), text);
}

// ── The socket ──────────────────────────────────────────────────────────────────────────────────────────────────────

function connect() {
  clearTimeout(reconnectTimer);
  closeSocket();
  setStatus("busy", attempt ? "Reconnecting…" : "Connecting…");
  const url = new URL("/ws/ops", location.href);
  url.protocol = url.protocol.replace("http", "ws");
  const socket = ws = new WebSocket(url);
  const authenticate = async () => {
    if (!isFresh(account)) await renewToken(account.access_token);
    if (socket !== ws || socket.readyState !== WebSocket.OPEN) return;
    socketToken = account.access_token;
    send({ type: "auth", token: socketToken });
  };
  socket.onopen = () => {
    setStatus("busy", "Signing in…");
    authenticate().catch((error) => endsSignIn(error) ? signOut(error) : socket.close());
  };
  socket.onmessage = (event) => { if (socket === ws) { listen(); receive(JSON.parse(event.data)); } };
  socket.onclose = (event) => {
    if (socket !== ws) return;
    closeSocket();
    if (event.code === 4403) return signOut({ code: "4403", error: event.reason || "You were sent away." });
    if (event.code === 4401 && triedRefresh) return signOut({ code: "4401", error: event.reason || "Please sign in again." });
    if (event.code === 4401 && account) { triedRefresh = true; account.expires_at = 0; }
    reconnectLater();
  };
}

function closeSocket() {
  const socket = ws;
  ws = null;
  ready = false;
  clearTimeout(silenceTimer);
  socket?.close();
}

/** The server speaks each second: one that does not is not there. */
function listen() {
  clearTimeout(silenceTimer);
  silenceTimer = setTimeout(() => { closeSocket(); reconnectLater(); }, SILENCE_MS);
}

function reconnectLater() {
  if (!account) return;
  const backOff = Math.min(15000, 500 * 2 ** attempt++) * (0.5 + Math.random() / 2);
  const wait = comeBackMs ?? backOff;
  comeBackMs = null;
  setStatus("busy", "Reconnecting in " + Math.max(1, Math.round(wait / 1000)) + " s");
  clearTimeout(reconnectTimer);
  reconnectTimer = setTimeout(connect, wait);
}

const send = (frame) => ws?.send(JSON.stringify(frame));

function receive(frame) {
  switch (frame.type) {
    case "auth_success": return onAuthSuccess(frame);
    case "auth_error": return onAuthError(frame);
    case "auth_expiring": return onAuthExpiring();
    case "history": return onHistory(frame);
    case "stats": return onStats(frame);
    case "connections": return onConnections(frame);
    case "connection": return onConnection(frame);
    case "frames": return onFrames(frame);
    case "audit": return onAudit(frame.entries);
    case "going_away": return onGoingAway(frame);
    case "error": return toast(told(frame), true);
  }
}

function onAuthSuccess(frame) {
  const first = !ready;
  account = { ...account, user: frame.user };
  store(ACCOUNT_KEY, account);
  ready = true;
  attempt = 0;
  triedRefresh = false;
  layout();
  setStatus("online", "Live");
  if (!first) return;
  askForRows(true);
  if (detail) send({ type: "watch", connection_id: detail.id });
  loadAudit(false);
}

async function onAuthError(frame) {
  if (frame.code === "FORBIDDEN") return signOut({ code: frame.code, error: "This account is not an operator's. Ask whoever runs the server for the role." });
  if (triedRefresh || !account?.refresh_token) return signOut({ code: frame.code, error: frame.message });
  triedRefresh = true;
  await authenticateAgain();
}

const onAuthExpiring = () => account?.refresh_token ? authenticateAgain() : undefined;

function onGoingAway(frame) {
  comeBackMs = frame.reconnect_after_ms;
  $("banner").hidden = false;
  setText($("banner"), "The server is going away. This page reconnects when one is there again.");
}

async function authenticateAgain() {
  const socket = ws, used = socketToken;
  try {
    const renewed = await renewPatiently(used, () => ws === socket && socketToken === used);
    if (!renewed || socket.readyState !== WebSocket.OPEN) return;
    socketToken = account.access_token;
    send({ type: "auth", token: socketToken });
  } catch (error) {
    signOut(error);
  }
}

// ── Numbers and charts ──────────────────────────────────────────────────────────────────────────────────────────────

const COLUMNS = ["at_ms", "sessions", "authenticated", "users", "behind", "running_turns", "waiting_turns", "opened_per_s", "closed_per_s", "turns_per_s",
  "tokens_per_s", "errors_per_s", "first_token_p50_ms", "first_token_p95_ms", "first_token_p99_ms", "cpu", "memory_bytes"];
const CHARTS = [
  { id: "sessions", title: "Connections", show: count, whole: true, series: [["sessions", "open"], ["authenticated", "signed in", [2, 4]]], fill: true },
  { id: "turns", title: "Turns", show: count, whole: true, series: [["running_turns", "running"], ["waiting_turns", "waiting"]], fill: true },
  { id: "tokens", title: "Tokens", show: count, series: [["tokens_per_s", "per second"]], fill: true },
  { id: "first-token", title: "First token", show: millis, series: [["first_token_p50_ms", "p50"], ["first_token_p95_ms", "p95"], ["first_token_p99_ms", "p99"]] },
  { id: "errors", title: "Errors", show: count, series: [["errors_per_s", "per second"]], fill: true, bad: true },
  { id: "process", title: "Process", show: bytes, series: [["memory_bytes", "resident"], ["cpu", "cores"]], fill: true, scales: ["y", "cpu"] },
];
let columns = Object.fromEntries(COLUMNS.map((name) => [name, []]));
let minutes = 5;

function makeCards() {
  for (const chart of CHARTS) {
    chart.values = chart.series.map(([, label], i) => {
      const value = el("b", {}, "–");
      const mark = chart.series.length > 1 ? [el("i", { "aria-hidden": "true" })] : [];
      return { value, node: el("span", { class: "value", "data-series": String(i + 1) }, ...mark, value, el("span", {}, label)) };
    });
    chart.box = el("div", { class: "plot", "aria-hidden": "true" });
    chart.at = el("span", { class: "at" });
    $("cards").append(el("article", { class: "card tile", id: "card-" + chart.id, "aria-labelledby": "title-" + chart.id },
      el("div", { class: "heading" }, el("h3", { id: "title-" + chart.id }, chart.title), chart.at), el("div", { class: "values" }, ...chart.values.map(({ node }) => node)), chart.box));
  }
}

function makeCharts() {
  const style = getComputedStyle(document.documentElement);
  const color = (name) => style.getPropertyValue(name).trim();
  const font = "11px " + color("--sans");
  for (const chart of CHARTS) {
    chart.plot?.destroy();
    const grid = { stroke: color("--line"), width: 1 };
    const strokes = [chart.bad ? "--three" : "--one", "--two", "--three"];
    chart.plot = new uPlot({
      ...sizeOf(chart.box), legend: { show: false }, padding: [7, 16, 0, 0],
      cursor: { drag: { x: false, y: false }, y: false, points: { size: 6 }, sync: { key: "ops" } },
      scales: {
        // The same span always: a server that has just started is at the right edge.
        x: { time: true, range: (_, min, max) => { const end = max ?? now() / 1000; return [end - minutes * 60, end]; } },
        y: { range: (_, min, max) => [0, niceTop(max, chart.whole)] },
        cpu: { range: (_, min, max) => [0, niceTop(Math.max(1, max ?? 0))] },
      },
      axes: [
        { stroke: color("--soft"), font, grid: { show: false }, ticks: { show: false }, size: 24, gap: 6, splits: timeTicks,
          values: (plot, ticks) => ticks.map((t) => agoText(plot.scales.x.max - t)) },
        { stroke: color("--soft"), font, grid, ticks: { show: false }, size: 48, gap: 4, splits: (plot, axis, min, max) => [0, max / 2, max],
          values: (_, ticks) => ticks.map((t) => chart.show(t)) },
      ],
      series: [{}, ...chart.series.map(([name, , dash], i) => ({
        dash,
        stroke: color(strokes[i]), width: 1.75, points: { show: false }, scale: chart.scales?.[i] ?? "y", spanGaps: false,
        fill: chart.fill && i === 0 ? color(chart.bad ? "--fill-bad" : "--fill") : undefined, label: name,
      }))],
      hooks: { setCursor: [(plot) => showValues(chart, plot.cursor.idx)] },
    }, dataOf(chart), chart.box);
  }
}

const sizeOf = (box) => ({ width: Math.max(80, box.clientWidth), height: box.clientHeight });

/** The end of an axis: some air above the highest point, never nothing, and a number whose half is round, too. */
function niceTop(max, whole = false) {
  const least = Math.max(whole ? 2 : 0, (max ?? 0) * 1.05);
  if (least === 0) return 1;
  const power = 10 ** Math.floor(Math.log10(least));
  const tops = whole && power === 1 ? [2, 4, 6, 8, 10] : [1, 1.2, 1.6, 2, 3, 4, 5, 6, 8, 10];
  return power * tops.find((top) => top * power >= least);
}

/** Ticks from now back, as many as have room: they stand still while time goes by. */
function timeTicks(plot, axis, min, max) {
  const room = plot.bbox.width / devicePixelRatio / (max - min);   // pixels for each second
  const step = [10, 20, 30, 60, 120, 300, 600, 900].find((seconds) => seconds * room >= TICK_PX) ?? max - min;
  const ticks = [];
  for (let at = max; at >= min; at -= step) ticks.unshift(at);
  return ticks;
}

const agoText = (seconds) => seconds < 1 ? "now" : seconds % 60 ? "−" + Math.round(seconds) + " s" : "−" + seconds / 60 + " min";

function dataOf(chart) {
  const from = Math.max(0, columns.at_ms.length - minutes * 60);
  return [columns.at_ms.slice(from).map((ms) => ms / 1000), ...chart.series.map(([name]) => columns[name].slice(from))];
}

/** The numbers of a card: of the moment under the pointer, or of now. */
function showValues(chart, index) {
  const data = chart.plot?.data ?? dataOf(chart), at = data[0][index];
  setText(chart.at, at === undefined ? "" : clock(at * 1000));
  chart.series.forEach(([name], i) => {
    const value = data[i + 1]?.[index ?? data[0].length - 1] ?? null;
    setText(chart.values[i].value, name === "cpu" ? (value === null ? "–" : value.toFixed(2)) : chart.show(value));
  });
}

function drawCharts() {
  if (document.hidden || $("body").hidden) return;
  if (!CHARTS[0].plot) makeCharts();
  for (const chart of CHARTS) {
    chart.plot.setData(dataOf(chart));
    showValues(chart, chart.plot.cursor.idx);
  }
}

function onHistory({ samples }) {
  columns = Object.fromEntries(COLUMNS.map((name) => [name, samples[name] ?? []]));
  drawCharts();
}

function onStats(frame) {
  stats = frame;
  clockSkew = frame.at_ms - Date.now();
  if (columns.at_ms.at(-1) !== frame.at_ms) {
    for (const name of COLUMNS) {
      columns[name].push(frame[name] ?? null);
      if (columns[name].length > MAX_SAMPLES) columns[name].shift();
    }
  }
  drawCharts();
  setText($("uptime"), "up " + duration(frame.at_ms - frame.started_at_ms) + " · " + count(frame.turns) + " turns · " + count(frame.tokens) + " tokens · "
    + count(frame.refused) + " refused by limits" + (frame.stalled ? " · " + count(frame.stalled) + " gave up reading" : "")
    + " · " + count(frame.operators) + (frame.operators === 1 ? " operator is" : " operators are") + " looking");
  drawBreakdowns(frame);
  $("banner").hidden = !frame.draining;
  if (frame.draining) setText($("banner"), "The server drains: it takes no new connections and turns. " + count(frame.sessions) + " connections and " + count(frame.running_turns) + " turns are left.");
  setText($("do-drain"), frame.draining ? "Undrain…" : "Drain…");
}

function chooseSpan(button) {
  minutes = Number(button.dataset.minutes);
  for (const other of $("span").children) other.setAttribute("aria-pressed", String(other === button));
  drawCharts();
}

// ── The table: the server sends a window of it, the page holds the rows that can be seen ─────────────────────────────

const FIELDS = [
  { key: "state", title: "State", sort: "state" },
  { key: "user", title: "User", sort: "user" },
  { key: "address", title: "Address", sort: "address" },
  { key: "agent", title: "Agent", sort: "user_agent" },
  { key: "dialect", title: "Dialect", sort: "dialect" },
  { key: "age", title: "Age", sort: "opened_at_ms", number: true, flipped: true },
  { key: "tokens", title: "Tokens", sort: "tokens_sent", number: true },
  { key: "sent", title: "Sent", sort: "bytes_sent", number: true },
  { key: "waiting-bytes", title: "Waiting", sort: "bytes_waiting", number: true },
  { key: "ping", title: "Ping", sort: "ping_ms", number: true },
];
const table = { sort: "opened_at_ms", order: "desc", total: 0, offset: 0, rows: [], active: 0, id: 0, asked: null, timer: 0, lastAsked: 0 };
const pool = [];
let drawAsked = false;

function makeHead() {
  for (const field of FIELDS) {
    const button = el("button", { type: "button", tabIndex: -1, onclick: () => sortBy(field) }, field.title);
    field.cell = el("div", { role: "columnheader", class: field.key + (field.number ? " number" : "") }, button);
    $("head").append(field.cell);
  }
  $("head").onkeydown = (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const buttons = FIELDS.map(({ cell }) => cell.firstChild);
    const at = buttons.indexOf(document.activeElement);
    if (at < 0) return;
    if (event.key === "ArrowDown" || event.key === "Escape") { event.preventDefault(); event.stopPropagation(); return $("grid").focus(); }
    if (event.key === "Enter" || event.key === " ") return event.stopPropagation();
    if (step === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    buttons[(at + step + buttons.length) % buttons.length].focus();
  };
  showSort();
}

function showSort() {
  for (const field of FIELDS) {
    const sorted = field.sort === table.sort;
    // An age grows as its beginning gets earlier.
    const up = (table.order === "asc") !== Boolean(field.flipped);
    field.cell.setAttribute("aria-sort", sorted ? (up ? "ascending" : "descending") : "none");
    field.cell.firstChild.tabIndex = sorted ? 0 : -1;
  }
}

function sortBy(field) {
  const first = field.number && !field.flipped ? "desc" : "asc";
  table.order = table.sort === field.sort ? (table.order === "asc" ? "desc" : "asc") : first;
  table.sort = field.sort;
  showSort();
  toTop();
}

/** Another question: from the top, with the rows of the old one gone. */
function toTop() {
  table.rows = [];
  table.active = 0;
  $("grid").scrollTop = 0;
  askForRows(true);
  drawSoon();
}

const rowHeight = () => parseFloat(getComputedStyle(document.documentElement).getPropertyValue("--row"));
const headHeight = () => $("head").offsetHeight;

/** The rows that can be seen: the first one, and one past the last. */
function visible() {
  const grid = $("grid"), height = rowHeight();
  const first = Math.max(0, Math.floor(grid.scrollTop / height));
  return [first, first + Math.ceil((grid.clientHeight - headHeight()) / height) + 1];
}

/** Asks for the window around what can be seen: now when the question is another one, soon when only the place is. */
function askForRows(force = false) {
  if (!ready) return;
  const [first, end] = visible();
  const offset = Math.max(0, Math.floor((first + end) / 2 - WINDOW / 2));
  const enough = table.asked && first >= table.asked.offset && Math.min(end, Math.max(table.total, 1)) <= table.asked.offset + WINDOW;
  if (!force && enough) return;
  const wait = force ? 0 : table.lastAsked + VIEW_EVERY_MS - performance.now();
  clearTimeout(table.timer);
  if (wait > 0) return void (table.timer = setTimeout(askForRows, wait));
  table.lastAsked = performance.now();
  table.asked = { offset };
  const optional = { q: $("q").value.trim(), state: $("state").value, dialect: $("dialect").value };
  send({ type: "view", id: ++table.id, sort: table.sort, order: table.order, offset, limit: WINDOW, ...Object.fromEntries(Object.entries(optional).filter(([, value]) => value)) });
}

function onConnections(frame) {
  if (frame.id !== table.id) return;   // of a question before
  Object.assign(table, { total: frame.total, offset: frame.offset, rows: frame.connections });
  if (table.active >= table.total) table.active = Math.max(0, table.total - 1);
  drawSoon();
}

function drawSoon() {
  if (drawAsked) return;
  drawAsked = true;
  requestAnimationFrame(() => { drawAsked = false; drawRows(); });
}

function makeRow() {
  const cells = Object.fromEntries(FIELDS.map(({ key, number }) => [key, el("div", { role: "gridcell", class: key + (number ? " number" : "") })]));
  const state = el("span", { class: "badge" }), name = el("bdi"), email = el("bdi"), small = el("small");
  small.append(email);
  cells.state.append(state);
  cells.user.append(name, small);
  cells.address.append(el("bdi"));
  cells.agent.append(el("bdi"));
  const node = el("div", { role: "row", class: "row" }, ...FIELDS.map(({ key }) => cells[key]));
  const row = { node, cells, state, name, email, small, index: -1, id: null };
  node.onclick = () => { table.active = row.index; $("grid").focus({ preventScroll: true }); if (row.id) openDetail(row.id); drawSoon(); };
  $("rows").append(node);
  return row;
}

const userOf = (c) => c.user ?? null;

function drawRows() {
  const height = rowHeight(), [first, end] = visible();
  const from = Math.max(0, first - OVERSCAN), to = Math.min(table.total, end + OVERSCAN);
  $("rows").style.height = table.total * height + "px";
  $("grid").setAttribute("aria-rowcount", String(table.total + 1));
  $("empty").hidden = table.total > 0 || !ready;
  setText($("empty"), $("q").value.trim() || $("state").value || $("dialect").value ? "No connection matches." : "Nobody is connected.");
  setText($("matches"), count(table.total) + (stats && table.total < stats.sessions ? " of " + count(stats.sessions) : ""));
  while (pool.length < to - from) pool.push(makeRow());
  pool.forEach((row, i) => {
    // A row of the table keeps its node while it can be seen, so that scrolling changes little.
    const index = from + ((i - from) % pool.length + pool.length) % pool.length;
    row.node.hidden = index >= to;
    if (index < to) fillRow(row, index, height);
  });
  const active = pool.find((row) => row.index === table.active && !row.node.hidden);
  if (active) $("grid").setAttribute("aria-activedescendant", active.node.id);
  else $("grid").removeAttribute("aria-activedescendant");
}

function fillRow(row, index, height) {
  const connection = table.rows[index - table.offset];
  const { node, cells } = row;
  if (row.index !== index || row.height !== height) {
    row.index = index;
    row.height = height;
    node.style.transform = "translateY(" + index * height + "px)";
    node.id = "row-" + index;
    node.setAttribute("aria-rowindex", String(index + 2));
  }
  node.classList.toggle("waiting", !connection);
  node.classList.toggle("active", index === table.active);
  row.id = connection?.id ?? null;
  node.setAttribute("aria-selected", String(Boolean(row.id && row.id === detail?.id)));
  if (!connection) return;
  const user = userOf(connection);
  row.state.dataset.state = connection.state;
  setText(row.state, connection.state);
  setText(row.name, user?.name ?? "–");
  setText(row.email, user?.email ?? "");
  setText(cells.address.firstChild, connection.address);
  setText(cells.agent.firstChild, connection.user_agent || "–");
  setText(cells.dialect, connection.dialect);
  setText(cells.age, shortDuration(now() - connection.opened_at_ms));
  setText(cells.tokens, count(connection.tokens_sent));
  setText(cells.sent, bytes(connection.bytes_sent));
  setText(cells["waiting-bytes"], connection.bytes_waiting ? bytes(connection.bytes_waiting) : "–");
  setText(cells.ping, millis(connection.ping_ms));
}

function moveTo(index) {
  if (!table.total) return;
  table.active = Math.min(table.total - 1, Math.max(0, index));
  const grid = $("grid"), height = rowHeight(), top = table.active * height;
  const room = grid.clientHeight - headHeight();
  if (top < grid.scrollTop) grid.scrollTop = top;
  else if (top + height > grid.scrollTop + room) grid.scrollTop = top + height - room;
  drawSoon();
}

function onGridKey(event) {
  if (event.target !== $("grid") || event.altKey || event.ctrlKey || event.metaKey) return;
  const [first, end] = visible();
  const page = Math.max(1, end - first - 2);
  const to = { ArrowDown: table.active + 1, ArrowUp: table.active - 1, PageDown: table.active + page, PageUp: table.active - page, Home: 0, End: table.total - 1 }[event.key];
  if (to !== undefined) { event.preventDefault(); return moveTo(to); }
  if (event.key !== "Enter" && event.key !== " ") return;
  event.preventDefault();
  const row = table.rows[table.active - table.offset];
  if (row) openDetail(row.id, true);
}

// ── One connection ──────────────────────────────────────────────────────────────────────────────────────────────────

let detail = null;   // id, view, and the parts of the panel

function openDetail(id, focus = false) {
  if (detail?.id !== id) {
    const frames = el("ol", { id: "frames", tabindex: "0", "aria-label": "Shapes of frames, oldest first" });
    detail = { id, view: null, frames, title: el("h3", { id: "detail-title" }, "Connection"), facts: el("dl", { class: "facts" }), turns: el("div", { class: "turns" }), gone: el("p", { class: "gone", hidden: true }, "This connection has ended."),
      actions: el("div", { class: "actions" }), close: el("button", { type: "button", class: "quiet push", "aria-label": "Close the details", onclick: () => closeDetail(true) }, "✕"), shown: {} };
    detail.kick = el("button", { type: "button", class: "danger", onclick: () => kick(id) }, "Kick…");
    detail.kickUser = el("button", { type: "button", class: "danger", hidden: true, onclick: () => kickUser(userOf(detail.view)) }, "Kick user…");
    detail.noticeUser = el("button", { type: "button", hidden: true, onclick: () => notice(userOf(detail.view)) }, "Notice…");
    detail.lockUser = el("button", { type: "button", class: "danger", hidden: true, onclick: () => lockUser(userOf(detail.view)) }, "Lock user…");
    detail.actions.append(detail.kick, detail.kickUser, detail.lockUser, detail.noticeUser);
    $("detail").replaceChildren(el("div", { class: "top" }, detail.title, detail.close), el("div", { class: "body", tabindex: "0", role: "group", "aria-labelledby": "detail-title" }, detail.gone, detail.actions, detail.facts, el("h4", {}, "Turns"), detail.turns,
      el("h4", {}, "Frames, live: kinds and sizes, never texts"), frames));
    $("detail").hidden = false;
    $("work").classList.add("with-detail");
    if (ready) send({ type: "watch", connection_id: id });
    showTurns([]);
    drawSoon();
    resizeCharts();
  }
  if (focus) detail.close.focus();
}

function closeDetail(focus = false) {
  if (!detail) return;
  detail = null;
  $("detail").hidden = true;
  $("detail").replaceChildren();
  $("work").classList.remove("with-detail");
  if (ready) send({ type: "watch", connection_id: null });
  drawSoon();
  if (focus) $("grid").focus({ preventScroll: true });
}

function onConnection({ connection_id, connection }) {
  if (detail?.id !== connection_id) return;
  detail.gone.hidden = connection !== null;
  detail.kick.disabled = connection === null;
  if (!connection) return showTurns([]);
  detail.view = connection;
  const user = userOf(connection);
  detail.title.replaceChildren(said(user?.name ?? "Not signed in"));
  detail.kickUser.hidden = detail.noticeUser.hidden = !user;
  detail.lockUser.hidden = !user || user.id === account?.user?.id;   // the server refuses it for one's own account
  fact("State", el("span", { class: "badge", "data-state": connection.state }, connection.state));
  if (user) fact("User", said(user.email));
  if (user) fact("User id", el("code", {}, user.id));
  fact("Connection", el("code", {}, connection.id));
  fact("Address", said(connection.address));
  fact("Agent", said(connection.user_agent || "–"));
  fact("Dialect", connection.dialect);
  fact("Opened", clock(connection.opened_at_ms) + ", " + duration(now() - connection.opened_at_ms) + " ago");
  fact("Received", count(connection.frames_received) + " frames, " + bytes(connection.bytes_received) + ", last " + shortDuration(now() - connection.last_received_at_ms) + " ago");
  fact("Sent", count(connection.frames_sent) + " frames, " + bytes(connection.bytes_sent) + ", last " + shortDuration(now() - connection.last_sent_at_ms) + " ago");
  fact("Tokens", count(connection.tokens_sent));
  fact("Waiting", bytes(connection.bytes_waiting));
  fact("Ping", millis(connection.ping_ms));
  fact("Violations", count(connection.violations));
  if (connection.conversations) fact("Follows", connection.conversations.length === 1 ? "1 conversation" : connection.conversations.length + " conversations");
  showTurns(connection.turns ?? []);
}

/** Only what has changed is drawn anew, so that a text can be selected. */
function fact(name, value) {
  const text = typeof value === "string" ? value : value.textContent;
  const known = detail.shown[name];
  if (known?.text === text) return;
  if (known) {
    known.dd.replaceChildren(value);
    known.text = text;
  } else {
    const dd = el("dd", {}, value);
    detail.shown[name] = { dd, text };
    detail.facts.append(el("dt", {}, name), dd);
  }
}

function showTurns(turns) {
  const known = new Map([...detail.turns.children].filter((node) => node.turnId).map((node) => [node.turnId, node]));
  const nodes = turns.map((turn) => {
    const node = known.get(turn.turn_id) ?? turnNode(turn);
    setText(node.step, turn.step ?? "waiting");
    const parts = [["written", turn.written_seq], ["acknowledged", turn.acknowledged_seq]].filter(([, seq]) => seq !== null && seq !== undefined);
    setText(node.line, "head " + (turn.head_seq ?? "–") + parts.map(([name, seq]) => " · " + name + " " + seq).join("") + (turn.lag ? " · lag " + turn.lag : ""));
    return node;
  });
  if (!nodes.length) nodes.push(detail.noTurns ??= el("p", { class: "soft" }, "No turn is running."));
  if (nodes.length !== detail.turns.childElementCount || nodes.some((node, i) => detail.turns.children[i] !== node)) detail.turns.replaceChildren(...nodes);
}

function turnNode(turn) {
  const step = el("b"), line = el("span", { class: "soft" });
  const node = el("div", { class: "turn" },
    el("div", { class: "line" }, step, el("button", { type: "button", class: "danger push", onclick: () => cancelTurn(turn.turn_id) }, "Cancel…")),
    line, el("code", { class: "soft" }, turn.turn_id));
  return Object.assign(node, { turnId: turn.turn_id, step, line });
}

function onFrames({ connection_id, frames, left_out }) {
  if (detail?.id !== connection_id) return;
  const list = detail.frames;
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
  const nodes = frames.map(({ direction, type, bytes: size, at_ms, seq }) => el("li", {},
    el("time", {}, clock(at_ms, true)), el("span", { class: direction, title: direction === "in" ? "from the client" : "to the client" }, direction === "in" ? "↑" : "↓"),
    el("span", {}, type + (seq === undefined ? "" : " #" + seq)), el("span", { class: "size" }, size + " B")));
  if (left_out) nodes.unshift(el("li", { class: "left-out" }, left_out + " more, too fast to be shown"));
  list.append(...nodes);
  while (list.childElementCount > MAX_FRAMES) list.firstChild.remove();
  if (atEnd) list.scrollTop = list.scrollHeight;
}

// ── Steering ────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Asks before something is done. `parts` are the fields, `run` gets their values; what comes of it is shown. */
function confirmThen({ title, text, parts = [], action, danger = false, run }) {
  const error = el("div", { role: "alert" });
  const go = el("button", { class: danger ? "primary danger" : "primary" }, action);
  const form = $("ask-form");
  form.replaceChildren(el("h2", { id: "ask-title" }, said(title)), el("p", {}, said(text)), ...parts, error,
    el("div", { class: "buttons" }, el("button", { type: "button", onclick: () => $("ask").close() }, "Do nothing"), go));
  form.onsubmit = async (event) => {
    event.preventDefault();
    go.disabled = true;
    error.replaceChildren();
    try {
      toast(await run(new FormData(form)));
      $("ask").close();
      loadAudit(false);
      loadUsers({ again: true });
    } catch (failure) {
      error.replaceChildren(el("div", { class: "failure" }, el("code", {}, failure.code ?? "ERROR"), said(failure.error ?? String(failure))));
    }
    go.disabled = false;
  };
  $("ask").showModal();
}

const many = (n, one) => count(n) + " " + one + (n === 1 ? "" : "s");
const reasonField = () => el("label", {}, "Reason, which the client is told", el("input", { name: "reason", maxlength: "100", autocomplete: "off" }));
const reasonOf = (form) => form.get("reason")?.trim() ? { reason: form.get("reason").trim() } : {};

function kick(id) {
  confirmThen({
    title: "Kick this connection?", text: "It is closed with 4403. Its turns go on without it. The client may not come back by itself, the user may.",
    parts: [reasonField()], action: "Kick", danger: true,
    run: async (form) => (await api("POST", "/api/v1/connections/" + id + "/kick", reasonOf(form)), "The connection was kicked."),
  });
}

function kickUser(user) {
  confirmThen({
    title: "Kick " + user.name + " everywhere?", text: user.email + " loses every open connection.",
    parts: [reasonField(), el("label", { class: "check" }, el("input", { type: "checkbox", name: "revoke", checked: true }), "Also revoke the tokens: the user has to sign in again")],
    action: "Kick user", danger: true,
    run: async (form) => {
      const answer = await api("POST", "/api/v1/users/" + user.id + "/kick", { ...reasonOf(form), revoke_tokens: form.get("revoke") !== null });
      return many(answer.kicked, "connection") + " of " + user.email + " kicked" + (answer.revoked ? ", tokens revoked." : ".");
    },
  });
}

function lockUser(user) {
  confirmThen({
    title: "Lock " + user.name + "?", text: user.email + " loses every open connection and sign-in, and cannot sign in until an operator unlocks the account, in the tab Users.",
    parts: [reasonField()], action: "Lock user", danger: true,
    run: async (form) => {
      const answer = await api("POST", "/api/v1/users/" + user.id + "/lock", reasonOf(form));
      return user.email + " is locked, " + many(answer.kicked, "connection") + " closed.";
    },
  });
}

function cancelTurn(id) {
  confirmThen({
    title: "Cancel this turn?", text: "It ends with what there is of the answer, for everybody who follows it.", action: "Cancel the turn", danger: true,
    run: async () => (await api("POST", "/api/v1/turns/" + id + "/cancel"), "The turn was cancelled."),
  });
}

function notice(user = null) {
  confirmThen({
    title: user ? "A notice to " + user.name : "A notice to everybody", text: user ? "Every open connection of " + user.email + " shows it." : "Every open connection shows it.",
    parts: [el("label", {}, "Message", el("textarea", { name: "message", rows: "3", maxlength: "1000", required: true })),
      el("label", {}, "Level", el("select", { name: "level" }, el("option", { value: "info" }, "information"), el("option", { value: "warning" }, "warning")))], action: "Send",
    run: async (form) => "Sent to " + many((await api("POST", "/api/v1/notices", { message: form.get("message"), level: form.get("level"), ...(user ? { user_id: user.id } : {}) })).sessions, "connection") + ".",
  });
}

function drain() {
  if (stats?.draining) {
    return confirmThen({ title: "Take new work again?", text: "New connections and turns are let in. A server that was told to stop stops all the same.", action: "Undrain",
      run: async () => (await api("DELETE", "/api/v1/drain"), "The server takes new work again.") });
  }
  confirmThen({
    title: "Drain the server?", text: "It takes no new connections and turns; running turns may end; clients are told to go.",
    parts: [el("label", {}, "And then", el("select", { name: "then" }, el("option", { value: "stay" }, "stay, empty, until it is undrained"), el("option", { value: "stop" }, "stop the server")))],
    action: "Drain", danger: true,
    run: async (form) => {
      const answer = await api("POST", "/api/v1/drain", { then: form.get("then") });
      return many(answer.sessions, "connection") + " and " + many(answer.running_turns, "turn") + " are being drained.";
    },
  });
}

async function settings() {
  let known;
  try { known = await api("GET", "/api/v1/settings"); } catch (error) { return toast(told(error), true); }
  const fields = ["limits", "workflow"].flatMap((section) => Object.entries(known[section] ?? {}).map(([name, value]) => ({ section, name, value, input: section + "-" + name })));
  confirmThen({
    title: "Settings in force", text: "Changes last until the server stops: put them into its configuration to keep them. 0 means no limit, except for turns.",
    parts: [
      el("label", {}, "Log level", el("input", { name: "log_level", value: known.log_level ?? "", spellcheck: "false", autocomplete: "off" })),
      el("fieldset", {}, el("legend", {}, "Limits"), ...fields.map(({ name, value, input }) => el("label", {}, name.replaceAll("_", " "), el("input", { name: input, type: "number", min: "0", step: "1", required: true, value: String(value) })))),
    ],
    action: "Change",
    run: async (form) => {
      const patch = form.get("log_level") !== known.log_level ? { log_level: form.get("log_level") } : {};
      const changed = fields.filter(({ input, value }) => Number(form.get(input)) !== value);
      for (const { section, name, input } of changed) (patch[section] ??= {})[name] = Number(form.get(input));
      if (!Object.keys(patch).length) return "Nothing was changed.";
      await api("PATCH", "/api/v1/settings", patch);
      return "Changed: " + [...(patch.log_level ? ["log level"] : []), ...changed.map(({ name }) => name.replaceAll("_", " "))].join(", ") + ".";
    },
  });
}

// ── What operators did ──────────────────────────────────────────────────────────────────────────────────────────────

const audit = { entries: [], next: null };

async function loadAudit(more) {
  try {
    const answer = await api("GET", "/api/v1/audit?limit=20" + (more && audit.next ? "&before=" + encodeURIComponent(audit.next) : ""));
    if (more || !audit.entries.length) audit.next = answer.next ?? null;
    onAudit(answer.entries, more);
  } catch (error) {
    if (error.status !== 401) toast(told(error), true);
  }
}

function onAudit(entries, older = false) {
  const known = new Set(audit.entries.map((entry) => entry.id));
  const fresh = entries.filter((entry) => !known.has(entry.id));
  audit.entries = (older ? [...audit.entries, ...fresh] : [...fresh, ...audit.entries]).sort((a, b) => b.at_ms - a.at_ms).slice(0, MAX_AUDIT);
  $("audit-more").hidden = !audit.next;
  $("audit").replaceChildren(...(audit.entries.length ? audit.entries.map(auditNode) : [el("li", {}, el("span", { class: "none" }, "Nothing yet. Kicks, notices, drains and changed settings are listed here."))]));
}

function auditNode({ at_ms, operator, action, target, detail: more, outcome }) {
  const at = new Date(at_ms), today = at.toDateString() === new Date(now()).toDateString();
  const words = (value) => value !== null && typeof value === "object" ? Object.entries(value).filter(([, v]) => v !== null && v !== undefined).map(([k, v]) => k.replaceAll("_", " ") + ": " + words(v)).join(", ") : String(value ?? "");
  const shown = words(more);
  return el("li", {}, el("time", { datetime: at.toISOString() }, (today ? "" : at.toLocaleDateString() + " ") + clock(at_ms)), said(operator?.email ?? operator?.id ?? "–"), el("b", {}, String(action).replaceAll("_", " ")),
    el("span", { class: "what" }, said(target ?? ""), target && shown ? " · " : "", said(shown)), el("span", { class: outcome === "done" || outcome === "begun" ? "soft" : "failed" }, outcome ?? ""));
}

// ── What people do ──────────────────────────────────────────────────────────────────────────────────────────────────

let resizeTimer = 0;
function resizeCharts() {
  clearTimeout(resizeTimer);
  resizeTimer = setTimeout(() => {
    for (const { plot, box } of CHARTS) plot?.setSize(sizeOf(box));
    askForRows();
    drawSoon();
  }, 60);
}

function showTheme() {
  const chosen = localStorage.getItem("switchboard.ops.theme");
  $("theme").textContent = chosen === "dark" ? "☾" : chosen === "light" ? "☀" : "◐";
  $("theme").setAttribute("aria-label", "Colours: " + (chosen ?? "as the system"));
  $("theme").title = $("theme").getAttribute("aria-label");
  applyTheme();
  if (CHARTS[0].plot) { makeCharts(); drawCharts(); }
}

$("theme").onclick = () => {
  const next = { null: "light", light: "dark", dark: null }[localStorage.getItem("switchboard.ops.theme")];
  if (next) localStorage.setItem("switchboard.ops.theme", next);
  else localStorage.removeItem("switchboard.ops.theme");
  showTheme();
};
darkSystem.addEventListener("change", showTheme);
$("sign-out").onclick = () => signOut();
$("form-login").onsubmit = async (event) => {
  event.preventDefault();
  const form = event.target, button = form.querySelector(".primary");
  button.disabled = true;
  gateError(null);
  try {
    const { email, password } = Object.fromEntries(new FormData(form));
    keepAccount(await api("POST", "/api/v1/auth/login", { email, password }));
    form.reset();
    enter();
  } catch (error) {
    gateError(error.code ? error : { code: "ERROR", error: String(error) });
  }
  button.disabled = false;
};

function enter() {
  layout();
  attempt = 0;
  triedRefresh = false;
  audit.entries = [];
  users.list = [];
  pickPanel($("tab-connections"));
  connect();
  drawCharts();
  $("grid").focus({ preventScroll: true });
}

$("span").onclick = (event) => { if (event.target.dataset.minutes) chooseSpan(event.target); };
let searchTimer = 0;
$("q").oninput = () => { clearTimeout(searchTimer); searchTimer = setTimeout(toTop, 200); };
$("q").onkeydown = (event) => { if (event.key === "ArrowDown" || event.key === "Enter") { event.preventDefault(); $("grid").focus(); } };
$("state").onchange = $("dialect").onchange = toTop;
$("grid").addEventListener("scroll", () => { drawSoon(); askForRows(); }, { passive: true });
$("grid").onkeydown = onGridKey;
$("do-notice").onclick = () => notice();
$("do-settings").onclick = settings;
$("do-drain").onclick = drain;
$("audit-more").onclick = () => loadAudit(true);
document.onkeydown = (event) => {
  if ($("ask").open || $("body").hidden) return;
  const writes = /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName);
  if (event.key === "Escape" && detail) { event.preventDefault(); closeDetail(true); }
  else if (event.key === "Escape" && event.target === $("q")) $("grid").focus();
  else if (event.key === "/" && !writes) { event.preventDefault(); $("q").focus(); }
};
document.addEventListener("visibilitychange", () => { if (!document.hidden) drawCharts(); });
addEventListener("resize", resizeCharts);
addEventListener("online", () => { if (account && !ready) { attempt = 0; connect(); } });
addEventListener("storage", (event) => {
  // Another tab signed out, or refreshed the token that all tabs share.
  if (event.key === "switchboard.ops.theme") return showTheme();
  if (event.key !== ACCOUNT_KEY) return;
  const other = readStored(event.key);
  if (!other && account) signOut({ code: "SIGNED_OUT", error: "You signed out in another tab." });
  else if (other && account && other.user?.id === account.user?.id) account = other;
});

makeCards();
makeHead();
showTheme();
layout();
