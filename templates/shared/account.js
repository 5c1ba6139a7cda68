// The sign-in that all tabs of a page share through localStorage.

import { isStale, refresh, request, SignIn, SwitchboardError } from "../../clients/javascript/account.mjs";
import { exclusively, readStored, store } from "./browser.js";

const ACCOUNT_KEY = document.documentElement.dataset.account;
const base = location.href;

/** The sign-in of this page, or null. Its account has `expires_at`, by this device's clock, and `user`. */
export let signIn = null;

const withEnd = (answer) => ({ expires_at: Math.floor(Date.now() / 1000) + answer.expires_in, ...answer });

/** Whether the tokens of `account` were issued before those of `other`. */
const isOlder = (account, other) => account.expires_at < other.expires_at;

/** Gets new tokens in place of the access token `used`, unless another tab has: a refresh token is good for one renewal. */
function exchange(own, account, used) {
  const stored = () => {
    const found = readStored(ACCOUNT_KEY);
    return found?.user?.id === account.user?.id ? found : null;
  };
  const ofOtherTab = () => {
    const found = stored();
    return found && found.access_token !== used && !isStale(found) ? found : null;
  };
  return exclusively(`${ACCOUNT_KEY}.refresh`, async () => {
    const found = ofOtherTab();
    if (found) return found;
    const exchanged = stored() ?? account;
    try {
      const renewed = { user: account.user, ...withEnd(await refresh(base, exchanged)) };
      if (own !== signIn) return renewed; // the user has signed out or in meanwhile
      // Without Web Locks, another tab may have renewed these tokens again before they arrived here.
      const newer = stored();
      if (newer && newer.refresh_token !== exchanged.refresh_token && isOlder(renewed, newer)) return newer;
      store(ACCOUNT_KEY, renewed);
      return renewed;
    } catch (error) {
      const other = error.status === 401 ? ofOtherTab() : null;
      if (other) return other;
      throw error;
    }
  });
}

function use(account) {
  const own = new SignIn(base, account, { exchange: (current, used) => exchange(own, current, used) });
  signIn = own;
}

/** Signs in with the answer of `/api/v1/auth/login`, or with a token alone. */
export function signInWith(answer) {
  use(answer.expires_in ? withEnd(answer) : answer);
  if (answer.user) store(ACCOUNT_KEY, signIn.account);
}

/** Registers or signs in at `path`. */
export async function authenticate(path, credentials) {
  signInWith(await request(base, "POST", path, { body: credentials }));
}

/** Keeps the user that the server named. The end of a token that was pasted is known only from the server. */
export function keepUser({ user, expires_at }) {
  const account = { ...signIn.account, user, expires_at: signIn.account.expires_at || expires_at };
  const other = readStored(ACCOUNT_KEY);
  if (other?.user?.id === user.id && isOlder(account, other)) return signIn.adopt(other);
  signIn.adopt(account);
  store(ACCOUNT_KEY, account);
}

/** Forgets the sign-in in all tabs; `revoke` also ends it at the server. */
export async function forgetSignIn(revoke) {
  const leaving = signIn?.account;
  signIn?.close();
  signIn = null;
  localStorage.removeItem(ACCOUNT_KEY);
  if (!revoke || !leaving?.refresh_token) return;
  const body = { refresh_token: leaving.refresh_token };
  await request(base, "POST", "/api/v1/auth/logout", { body, token: leaving.access_token }).catch(() => {});
}

/** A request to the REST API as the user. */
export async function api(method, path, body) {
  if (!signIn) throw new SwitchboardError({ error: "You signed out.", code: "SIGNED_OUT" });
  return signIn.request(method, path, body);
}

/** Keeps up with other tabs: takes over their tokens, and calls `onSignedOut` with the reason when they sign out. */
export function watchOtherTabs(onSignedOut) {
  addEventListener("storage", (event) => {
    if (event.key !== ACCOUNT_KEY || !signIn) return;
    const other = readStored(ACCOUNT_KEY);
    if (!other) onSignedOut(new SwitchboardError({ error: "You signed out in another tab.", code: "SIGNED_OUT" }));
    // The event about another tab's write may arrive after this tab has written newer tokens.
    else if (other.user?.id === signIn.account.user?.id && !isOlder(other, signIn.account)) signIn.adopt(other);
  });
}

const kept = readStored(ACCOUNT_KEY);
if (kept) use(kept);
