// The table of all accounts, with or without a connection: GET /api/v1/users, in pages.

import { api, signIn } from "../shared/account.js";
import { $, el, said } from "../shared/dom.js";
import { kickUser, lockUser, unlockUser } from "./actions.js";
import { count, many } from "./format.js";
import { toastError } from "./toast.js";

const USERS_EVERY_MS = 5000,
  USERS_PAGE = 50,
  MAX_USERS_PAGE = 200,
  SEARCH_AFTER_MS = 200;
/** Set by page.js: shows the connections of a user. */
export const on = { connectionsOf() {} };

const users = { list: [], next: null, asked: 0, timer: 0 };

const usersShown = () => !$("panel-users").hidden && !$("body").hidden;

/** Loads the first page, or one more; `again` reloads what is shown without emptying the table. */
export async function loadUsers({ more = false, again = false } = {}) {
  clearTimeout(users.timer);
  if (!usersShown() || !signIn) return;
  const asked = ++users.asked;
  const limit = again ? Math.min(MAX_USERS_PAGE, Math.max(USERS_PAGE, users.list.length)) : USERS_PAGE;
  const query = new URLSearchParams({ limit: String(limit) });
  for (const [name, id] of [
    ["q", "users-q"],
    ["role", "users-role"],
    ["locked", "users-locked"],
  ]) {
    if ($(id).value.trim()) query.set(name, $(id).value.trim());
  }
  if (more && users.next) query.set("before", users.next);
  try {
    const page = await api("GET", `/api/v1/users?${query}`);
    if (asked !== users.asked) return; // another question was asked meanwhile
    // More than one request may reload: the rest stays as it is.
    const rest = again && page.next ? users.list.slice(page.users.length) : [];
    if (!rest.length) users.next = page.next ?? null;
    users.list = more ? [...users.list, ...page.users] : [...page.users, ...rest];
    drawUsers();
  } catch (error) {
    if (asked === users.asked && error.status !== 401) toastError(error);
  }
  if (asked === users.asked)
    users.timer = setTimeout(() => (document.hidden ? undefined : loadUsers({ again: true })), USERS_EVERY_MS);
}

function drawUsers() {
  const known = new Map([...$("users").children].map((row) => [row.userId, row]));
  // A row is drawn anew only when something in it has changed, so that a button keeps the focus.
  const rows = users.list.map((user) => {
    const text = JSON.stringify(user),
      old = known.get(user.id);
    return old?.drawn === text ? old : Object.assign(userRow(user), { userId: user.id, drawn: text });
  });
  if (rows.length !== $("users").children.length || rows.some((row, i) => $("users").children[i] !== row))
    $("users").replaceChildren(...rows);
  $("users-table").hidden = rows.length === 0;
  $("users-empty").hidden = rows.length > 0;
  $("users-more").hidden = !users.next;
}

function userRow(user) {
  const own = user.id === signIn?.account.user?.id;
  const date = (ms) =>
    ms === undefined ? "–" : new Date(ms).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
  const lock = user.locked
    ? el("button", { type: "button", onclick: () => unlockUser(user) }, "Unlock…")
    : el(
        "button",
        {
          type: "button",
          class: "danger",
          disabled: own,
          title: own ? "You cannot lock your own account." : null,
          onclick: () => lockUser(user),
        },
        "Lock…",
      );
  const connections =
    user.connections === 0
      ? "–"
      : el(
          "button",
          {
            type: "button",
            class: "quiet",
            "aria-label": `${many(user.connections, "connection")} of ${user.email}`,
            onclick: () => on.connectionsOf(user),
          },
          count(user.connections),
        );
  return el(
    "tr",
    {},
    el(
      "th",
      { scope: "row", class: "user" },
      said(user.name),
      own ? el("span", { class: "soft" }, " (you)") : null,
      el("small", {}, said(user.email)),
    ),
    el("td", { class: "role" }, user.role),
    el(
      "td",
      { class: "state" },
      el(
        "span",
        { class: "badge", "data-state": user.locked ? "locked" : user.connections ? "streaming" : "idle" },
        user.locked ? "locked" : user.connections ? "connected" : user.sign_ins ? "signed in" : "signed out",
      ),
    ),
    el("td", { class: "time" }, date(user.created_at_ms)),
    el("td", { class: "time" }, date(user.last_seen_at_ms)),
    el("td", { class: "number" }, connections),
    el("td", { class: "number turns" }, user.running_turns ? count(user.running_turns) : "–"),
    el(
      "td",
      { class: "acts" },
      lock,
      el("button", { type: "button", class: "danger", onclick: () => kickUser(user) }, "Kick…"),
    ),
  );
}

let usersSearchTimer = 0;
$("users-q").oninput = () => {
  clearTimeout(usersSearchTimer);
  usersSearchTimer = setTimeout(loadUsers, SEARCH_AFTER_MS);
};
$("users-role").onchange = $("users-locked").onchange = () => loadUsers();
$("users-more").onclick = () => loadUsers({ more: true });
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) loadUsers({ again: true });
});

/** Empties the table, for another account. */
export function forgetUsers() {
  users.list = [];
}
