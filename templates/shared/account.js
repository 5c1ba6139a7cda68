"use strict";
// The sign-in, shared by all tabs of a page through localStorage: REST with it, and its renewal.

const ACCOUNT_KEY = document.documentElement.dataset.account;
const RENEW_BEFORE_MS = 30000;   // how long before its end a token counts as old, or a quarter of its life if that is less
let account = readStored(ACCOUNT_KEY);   // access_token, refresh_token, expires_in, expires_at by this device's clock, user

const isFresh = ({ expires_at, expires_in = Infinity }) => expires_at * 1000 - Date.now() > Math.min(RENEW_BEFORE_MS, expires_in * 250);

/** Whether an error means that the sign-in is over, as this server says it. Any other may be gone in a moment. */
const endsSignIn = ({ status, code }) => (status === 401 || status === 403) && !code.startsWith("HTTP_");

async function api(method, path, body, retried = false) {
  const signedIn = account && !/\/auth\/(register|login|refresh)$/.test(path);
  const used = account?.access_token;
  const response = await fetch(path, {
    method,
    headers: { ...(body ? { "Content-Type": "application/json" } : {}), ...(signedIn ? { Authorization: "Bearer " + used } : {}) },
    body: body ? JSON.stringify(body) : undefined,
  }).catch(() => { throw { code: "NETWORK", error: "The server cannot be reached." }; });
  const text = await response.text().catch(() => { throw { code: "NETWORK", error: "The connection to the server was lost." }; });
  let answer = null;
  try { answer = text ? JSON.parse(text) : null; } catch { /* not from this server: the page of a proxy, for example */ }
  if (response.ok) return answer;
  if (response.status === 401 && signedIn && account?.refresh_token && !retried) {
    await renewToken(used);
    return api(method, path, body, true);
  }
  throw { ...answer, error: answer?.error ?? "The server answered " + response.status + ".", code: answer?.code ?? "HTTP_" + response.status, status: response.status };
}

/** Replaces the access token `used`, unless another tab has done so: a refresh token is good for one renewal. */
async function renewToken(used) {
  const user = account.user?.id;
  await exclusively(ACCOUNT_KEY + ".refresh", async () => {
    if (takeFromOtherTab(used) || !account?.refresh_token) return;
    try {
      const answer = await api("POST", "/api/v1/auth/refresh", { refresh_token: account.refresh_token });
      // Somebody may have signed out or in meanwhile.
      if (account && account.user?.id === user) keepAccount(answer);
    } catch (error) {
      if (error.status === 401 && takeFromOtherTab(used)) return;
      throw error;
    }
  });
  if (!account || account.user?.id !== user) throw { code: "SIGNED_OUT", error: "You signed out." };
}

/**
 * Renews the access token `used` of an open connection. A refusal that may be gone in a moment fails nothing: it is tried again for as
 * long as `isWanted`. Returns whether there is a new token; rejects when the sign-in is over.
 */
async function renewPatiently(used, isWanted) {
  for (let tries = 0; account && isWanted(); tries += 1) {
    try {
      await renewToken(used);
      return isWanted();
    } catch (error) {
      if (!account || !isWanted()) return false;
      if (endsSignIn(error)) throw error;
      const wait = Math.min(15000, 1000 * 2 ** tries) * (0.75 + Math.random() / 4);
      await new Promise((done) => setTimeout(done, Math.max(wait, error.retry_after_ms ?? 0)));
    }
  }
  return false;
}

/** Takes over what another tab has stored since `used` was issued; whether that is good for now. */
function takeFromOtherTab(used) {
  const stored = readStored(ACCOUNT_KEY);
  if (stored && account && stored.user?.id === account.user?.id) account = stored;
  return Boolean(account) && account.access_token !== used && isFresh(account);
}

function keepAccount(answer) {
  account = { ...answer, user: answer.user ?? account?.user, expires_at: Math.floor(Date.now() / 1000) + answer.expires_in };
  store(ACCOUNT_KEY, account);
}
