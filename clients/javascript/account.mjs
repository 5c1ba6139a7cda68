// Accounts and their tokens.

/** How long an answer of the REST API may take. */
const TIMEOUT_MS = 15_000;
const MAX_WAIT_MS = 30_000;

/** What the server, or the network, says went wrong. `code` is a row of the error table, or a close code. */
export class SwitchboardError extends Error {
  constructor({ error, code, retryable = false, retry_after_ms, correlation_id }) {
    super(`${code}: ${error}`);
    Object.assign(this, { name: "SwitchboardError", code, retryable, retryAfterMs: retry_after_ms, correlationId: correlation_id });
  }
}

async function post(base, path, body) {
  const response = await fetch(new URL(path, base), {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout?.(TIMEOUT_MS),
  });
  const answer = await response.json().catch(() => ({}));
  if (response.ok) return answer;
  const retryable = response.status >= 500 || [408, 425, 429].includes(response.status);
  throw new SwitchboardError({ error: `the server answered ${response.status}`, code: `HTTP_${response.status}`, retryable, ...answer });
}

/** Makes an account: `{ name, email, password }`. Returns `{ access_token, refresh_token, expires_in, user }`. */
export const register = (base, credentials) => post(base, "/api/v1/auth/register", credentials);

/** Signs in: `{ email, password }`. */
export const login = (base, credentials) => post(base, "/api/v1/auth/login", credentials);

/** How long to wait before another try: longer after every failure, and by chance, so that clients do not come all at once. */
export const backoffMs = (attempt) => Math.min(MAX_WAIT_MS, 500 * 2 ** attempt) * (0.5 + Math.random() / 2);

/** The tokens of one sign-in, and their renewal. */
export class SignIn {
  #base;
  #account;
  #renewing = null;
  #timer = null;
  #wake = null;
  #isOver = false;
  /** Why the server will not renew the tokens; null as long as it may. */
  refusal = null;

  constructor(base, account) {
    this.#base = base;
    this.#account = account;
  }

  get accessToken() { return this.#account.access_token; }

  get canRenew() { return Boolean(this.#account.refresh_token) && !this.refusal; }

  /** How long before its end an access token is renewed: min(60 s, a quarter of its life), as the server announces. */
  get leadMs() { return Math.min(60_000, (this.#account.expires_in ?? 240) * 250); }

  /**
   * Gets a new access token; calls that come meanwhile share it. A server or a network in trouble is asked again until
   * it answers: only a refusal, such as 401, ends the sign-in, and rejects. `onTrouble` hears of each failed try.
   */
  renew(onTrouble = () => {}) {
    this.#renewing ??= this.#try(onTrouble).finally(() => { this.#renewing = null; });
    return this.#renewing;
  }

  /** Stops trying. */
  close() {
    this.#isOver = true;
    clearTimeout(this.#timer);
    this.#wake?.();
  }

  reopen() { this.#isOver = false; }

  async #try(onTrouble) {
    for (let attempt = 0; !this.#isOver; attempt++) {
      try {
        this.#account = await post(this.#base, "/api/v1/auth/refresh", { refresh_token: this.#account.refresh_token });
        return;
      } catch (error) {
        // `fetch` rejects with errors of its own when there is no answer.
        if (error instanceof SwitchboardError && !error.retryable) {
          this.refusal = error;
          throw error;
        }
        const delayMs = Math.max(error.retryAfterMs ?? 0, backoffMs(attempt));
        onTrouble({ attempt: attempt + 1, delayMs, error });
        await new Promise((wake) => { this.#wake = wake; this.#timer = setTimeout(wake, delayMs); });
      }
    }
    throw new SwitchboardError({ error: "the client was closed", code: "CLOSED" });
  }
}
