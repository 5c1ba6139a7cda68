// The table of connections: the server sends a window of it, and the page holds the rows that can be seen.

import { $, el, setText } from "../shared/dom.js";
import { isReady, send } from "./feed.js";
import { bytes, count, millis, now, shortDuration } from "./format.js";
import { stats } from "./overview.js";

const WINDOW = 120,
  OVERSCAN = 6,
  VIEW_EVERY_MS = 120,
  SEARCH_AFTER_MS = 200;

/** Set by page.js: called when a row is opened, with the id of its connection and whether the details get the focus. */
export const on = { open() {} };

const FIELDS = [
  { key: "state", title: "State", sort: "state" },
  { key: "user", title: "User", sort: "user" },
  { key: "address", title: "Address", sort: "address" },
  { key: "client", title: "Client", sort: "user_agent" },
  { key: "dialect", title: "Dialect", sort: "dialect" },
  { key: "age", title: "Age", sort: "opened_at_ms", number: true, flipped: true },
  { key: "tokens", title: "Tokens", sort: "tokens_sent", number: true },
  { key: "sent", title: "Sent", sort: "bytes_sent", number: true },
  { key: "waiting-bytes", title: "Waiting", sort: "bytes_waiting", number: true },
  { key: "ping", title: "Ping", sort: "ping_ms", number: true },
];
export const table = {
  sort: "opened_at_ms",
  order: "desc",
  total: 0,
  offset: 0,
  rows: [],
  active: 0,
  id: 0,
  asked: null,
  timer: 0,
  lastAsked: 0,
  selected: null,
};
const pool = [];
let drawAsked = false;

export function makeHead() {
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
    if (event.key === "ArrowDown" || event.key === "Escape") {
      event.preventDefault();
      event.stopPropagation();
      return $("grid").focus();
    }
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
    // The age is sorted by the time of opening, in the opposite order.
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

/** Starts a new query at the top, without the rows of the one before. */
export function toTop() {
  table.rows = [];
  table.active = 0;
  $("grid").scrollTop = 0;
  askForRows(true);
  drawSoon();
}

const rowHeight = () => parseFloat(getComputedStyle(document.documentElement).getPropertyValue("--row"));
const headHeight = () => $("head").offsetHeight;

/** The visible rows: the index of the first, and of the one after the last. */
function visible() {
  const grid = $("grid"),
    height = rowHeight();
  const first = Math.max(0, Math.floor(grid.scrollTop / height));
  return [first, first + Math.ceil((grid.clientHeight - headHeight()) / height) + 1];
}

/** Requests the window around the visible rows: at once for a new query, throttled while scrolling. */
export function askForRows(force = false) {
  if (!isReady()) return;
  const [first, end] = visible();
  const offset = Math.max(0, Math.floor((first + end) / 2 - WINDOW / 2));
  const enough =
    table.asked &&
    first >= table.asked.offset &&
    Math.min(end, Math.max(table.total, 1)) <= table.asked.offset + WINDOW;
  if (!force && enough) return;
  const wait = force ? 0 : table.lastAsked + VIEW_EVERY_MS - performance.now();
  clearTimeout(table.timer);
  if (wait > 0) {
    table.timer = setTimeout(askForRows, wait);
    return;
  }
  table.lastAsked = performance.now();
  table.asked = { offset };
  const optional = { q: $("q").value.trim(), state: $("state").value, dialect: $("dialect").value };
  send({
    type: "view",
    id: ++table.id,
    sort: table.sort,
    order: table.order,
    offset,
    limit: WINDOW,
    ...Object.fromEntries(Object.entries(optional).filter(([, value]) => value)),
  });
}

export function onConnections(frame) {
  if (frame.id !== table.id) return; // of an earlier query
  Object.assign(table, { total: frame.total, offset: frame.offset, rows: frame.connections });
  if (table.active >= table.total) table.active = Math.max(0, table.total - 1);
  drawSoon();
}

export function drawSoon() {
  if (drawAsked) return;
  drawAsked = true;
  requestAnimationFrame(() => {
    drawAsked = false;
    drawRows();
  });
}

function makeRow() {
  const cells = Object.fromEntries(
    FIELDS.map(({ key, number }) => [key, el("div", { role: "gridcell", class: key + (number ? " number" : "") })]),
  );
  const state = el("span", { class: "badge" }),
    name = el("bdi"),
    email = el("bdi"),
    small = el("small");
  small.append(email);
  cells.state.append(state);
  cells.user.append(name, small);
  cells.address.append(el("bdi"));
  cells.client.append(el("bdi"));
  const node = el("div", { role: "row", class: "row" }, ...FIELDS.map(({ key }) => cells[key]));
  const row = { node, cells, state, name, email, small, index: -1, id: null };
  node.onclick = () => {
    table.active = row.index;
    $("grid").focus({ preventScroll: true });
    if (row.id) on.open(row.id);
    drawSoon();
  };
  $("rows").append(node);
  return row;
}

function drawRows() {
  const height = rowHeight(),
    [first, end] = visible();
  const from = Math.max(0, first - OVERSCAN),
    to = Math.min(table.total, end + OVERSCAN);
  $("rows").style.height = `${table.total * height}px`;
  $("grid").setAttribute("aria-rowcount", String(table.total + 1));
  $("empty").hidden = table.total > 0 || !isReady();
  setText(
    $("empty"),
    $("q").value.trim() || $("state").value || $("dialect").value ? "No connection matches." : "No connections.",
  );
  setText(
    $("matches"),
    count(table.total) + (stats && table.total < stats.connections ? ` of ${count(stats.connections)}` : ""),
  );
  while (pool.length < to - from) pool.push(makeRow());
  pool.forEach((row, i) => {
    // A row of the table keeps its node while it can be seen, so that scrolling changes little.
    const index = from + ((((i - from) % pool.length) + pool.length) % pool.length);
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
    node.style.transform = `translateY(${index * height}px)`;
    node.id = `row-${index}`;
    node.setAttribute("aria-rowindex", String(index + 2));
  }
  node.classList.toggle("waiting", !connection);
  node.classList.toggle("active", index === table.active);
  row.id = connection?.id ?? null;
  node.setAttribute("aria-selected", String(Boolean(row.id && row.id === table.selected)));
  if (!connection) return;
  const user = connection.user;
  row.state.dataset.state = connection.state;
  setText(row.state, connection.state);
  setText(row.name, user?.name ?? "–");
  setText(row.email, user?.email ?? "");
  setText(cells.address.firstChild, connection.address);
  setText(cells.client.firstChild, connection.user_agent || "–");
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
  const grid = $("grid"),
    height = rowHeight(),
    top = table.active * height;
  const room = grid.clientHeight - headHeight();
  if (top < grid.scrollTop) grid.scrollTop = top;
  else if (top + height > grid.scrollTop + room) grid.scrollTop = top + height - room;
  drawSoon();
}

function onGridKey(event) {
  if (event.target !== $("grid") || event.altKey || event.ctrlKey || event.metaKey) return;
  const [first, end] = visible();
  const page = Math.max(1, end - first - 2);
  const to = {
    ArrowDown: table.active + 1,
    ArrowUp: table.active - 1,
    PageDown: table.active + page,
    PageUp: table.active - page,
    Home: 0,
    End: table.total - 1,
  }[event.key];
  if (to !== undefined) {
    event.preventDefault();
    return moveTo(to);
  }
  if (event.key !== "Enter" && event.key !== " ") return;
  event.preventDefault();
  const row = table.rows[table.active - table.offset];
  if (row) on.open(row.id, true);
}

let searchTimer = 0;
$("q").oninput = () => {
  clearTimeout(searchTimer);
  searchTimer = setTimeout(toTop, SEARCH_AFTER_MS);
};
$("q").onkeydown = (event) => {
  if (event.key === "ArrowDown" || event.key === "Enter") {
    event.preventDefault();
    $("grid").focus();
  }
};
$("state").onchange = $("dialect").onchange = toTop;
$("grid").addEventListener(
  "scroll",
  () => {
    drawSoon();
    askForRows();
  },
  { passive: true },
);
$("grid").onkeydown = onGridKey;
