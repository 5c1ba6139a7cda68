// Accounts, their tokens, and requests to the REST API.

/** The time limit of a REST request. */
const TIMEOUT_MS = 15_000;
const MAX_WAIT_MS = 30_000;
/** An access token is stale for this long before its end, or for a quarter of its life if that is less. */
const STALE_MS = 30_000;

/** An error from the server or the network. `code` is a row of the error table, a close code, or `NETWORK`. */
export class SwitchboardError extends Error {
  constructor({ error, code, retryable = false, retry_after_ms, correlation_id, status }, options) {
    super(`${code}: ${error}`, options);
    Object.assign(this, {
      name: "SwitchboardError",
      code,
      error,
      retryable,
      retryAfterMs: retry_after_ms,
      correlationId: correlation_id,
      status,
    });
  }

  /** Whether this server refused the request for good. An answer that is not from this server, such as a proxy's page, is no refusal. */
  get isRefusal() {
    return !this.retryable && !String(this.code).startsWith("HTTP_");
  }
}

function parsed(text) {
  try {
    return text ? JSON.parse(text) : null;
  } catch {
    return null; // not from this server
  }
}

/** Sends a request to the REST API of `base` and returns the parsed answer; rejects with a `SwitchboardError`. */
export async function request(base, method, path, { body, token } = {}) {
  const headers = {
    ...(body ? { "Content-Type": "application/json" } : {}),
    ...(token ? { Authorization: `Bearer ${token}` } : {}),
  };
  let response, text;
  try {
    response = await fetch(new URL(path, base), {
      method,
      headers,
      body: body && JSON.stringify(body),
      signal: AbortSignal.timeout?.(TIMEOUT_MS),
    });
    text = await response.text();
  } catch (cause) {
    throw new SwitchboardError({ error: "The server cannot be reached.", code: "NETWORK", retryable: true }, { cause });
  }
  const answer = parsed(text),
    { status } = response;
  if (response.ok) return answer;
  const retryable = status >= 500 || [408, 425, 429].includes(status);
  throw new SwitchboardError({
    error: `The server answered ${status} without saying why; a proxy in front of it may have answered instead.`,
    code: `HTTP_${status}`,
    retryable,
    ...answer,
    status,
  });
}

/** Creates an account from `{ name, email, password }`. Returns `{ access_token, refresh_token, expires_in, user }`. */
export const register = (base, credentials) => request(base, "POST", "/api/v1/auth/register", { body: credentials });

/** Signs in with `{ email, password }`. Returns the same as `register`. */
export const login = (base, credentials) => request(base, "POST", "/api/v1/auth/login", { body: credentials });

/** Exchanges an account's refresh token for new tokens. */
export const refresh = (base, { refresh_token }) =>
  request(base, "POST", "/api/v1/auth/refresh", { body: { refresh_token } });

/** Exponential backoff with jitter, so that clients do not come back all at once. */
export const backoffMs = (attempt) => Math.min(MAX_WAIT_MS, 500 * 2 ** attempt) * (0.5 + Math.random() / 2);

/** Whether an access token that ends at `expires_at` (seconds, by this device's clock) is about to end. */
export const isStale = ({ expires_at, expires_in = Infinity }) =>
  expires_at * 1000 - Date.now() <= Math.min(STALE_MS, expires_in * 250);

/** The tokens of one sign-in, and their renewal. */
export class SignIn {
  #base;
  #account;
  #exchange;
  #pending = null; // a request for new tokens
  #renewing = null; // the same, until it succeeds or is refused
  #timer = null;
  #wake = null;
  #isClosed = false;
  /** The error with which the server refused to renew the tokens; null until then. */
  refusal = null;

  /** `exchange(account, used)` gets new tokens in place of the access token `used`; pages share them between tabs. */
  constructor(base, account, { exchange = (current) => refresh(base, current) } = {}) {
    this.#base = base;
    this.#account = account;
    this.#exchange = exchange;
  }

  get account() {
    return this.#account;
  }

  get accessToken() {
    return this.#account.access_token;
  }

  get canRenew() {
    return Boolean(this.#account.refresh_token) && !this.refusal;
  }

  /** Whether the access token should be renewed before it is used. Unknown for an account that did not say when its token ends. */
  get isStale() {
    return this.canRenew && isStale(this.#account);
  }

  /** Time before the end of an access token at which it is renewed: min(60 s, a quarter of its life), as the server announces. */
  get leadMs() {
    return Math.min(60_000, (this.#account.expires_in ?? 240) * 250);
  }

  /** Takes over the tokens that another tab got. */
  adopt(account) {
    this.#account = account;
  }

  /** Sends a REST request as this account. Renews the tokens once when the server no longer takes the access token. */
  async request(method, path, body) {
    const token = this.accessToken;
    try {
      return await request(this.#base, method, path, { body, token });
    } catch (error) {
      if (error.status !== 401 || !this.canRenew) throw error;
      await this.renewOnce(token);
      return request(this.#base, method, path, { body, token: this.accessToken });
    }
  }

  /** Replaces the access token `used`, unless that has been done already. Rejects when the server refuses, or cannot be reached. */
  async renewOnce(used = this.accessToken) {
    if (used !== this.accessToken && !this.isStale) return;
    this.#pending ??= this.#renewNow(used).finally(() => {
      this.#pending = null;
    });
    await this.#pending;
  }

  /**
   * Replaces the access token `used`; concurrent calls share one renewal. While the server or the network is in trouble, it is tried
   * again; only a refusal, such as 401, ends the sign-in, and rejects. `onTrouble` is called with each failed attempt.
   */
  renew(used = this.accessToken, onTrouble = () => {}) {
    this.#renewing ??= this.#renewPatiently(used, onTrouble).finally(() => {
      this.#renewing = null;
    });
    return this.#renewing;
  }

  /** Stops renewing. */
  close() {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#wake?.();
  }

  reopen() {
    this.#isClosed = false;
  }

  async #renewNow(used) {
    try {
      const account = await this.#exchange(this.#account, used);
      const expires_at = Math.floor(Date.now() / 1000) + account.expires_in;
      this.#account = { expires_at, ...account, user: account.user ?? this.#account.user };
    } catch (error) {
      if (error.isRefusal) this.refusal = error;
      throw error;
    }
  }

  async #renewPatiently(used, onTrouble) {
    for (let attempt = 0; !this.#isClosed; attempt++) {
      try {
        return await this.renewOnce(used);
      } catch (error) {
        if (error.isRefusal) throw error;
        const delayMs = Math.max(error.retryAfterMs ?? 0, backoffMs(attempt));
        onTrouble({ attempt: attempt + 1, delayMs, error });
        await new Promise((wake) => {
          this.#wake = wake;
          this.#timer = setTimeout(wake, delayMs);
        });
      }
    }
    throw new SwitchboardError({ error: "the client was closed", code: "CLOSED" });
  }
}
