//! Accounts: registration, sign-in and the renewal of access tokens. Many connections may share one account.

use super::{
    ClientError, Connector, ServerError,
    connection::{redirected, server_error},
};
use reqwest::{
    Method,
    header::{HeaderValue, LOCATION},
    redirect,
};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{io, time::Duration};
use tokio::{
    sync::Mutex,
    time::{Instant, sleep_until, timeout},
};

/// Longest time before its expiry at which an access token is renewed; one that lives for less than four times this is renewed when a
/// quarter of its life is left. The server announces the end at the same moment.
const MAX_RENEWAL_LEAD: Duration = Duration::from_secs(60);
const MAX_RENEWAL_SLACK: Duration = Duration::from_secs(5);
/// Initial and maximum delay before a failed renewal is retried.
const RENEWAL_BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
/// Time limit for a REST request.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A signed-in account.
pub struct Account {
    http: reqwest::Client,
    base: String,
    tokens: Mutex<Tokens>,
}

#[derive(Clone)]
struct Tokens {
    access: String,
    /// `None` if there is no refresh token: the access token is used until the server refuses it.
    renewal: Option<Renewal>,
}

#[derive(Clone)]
struct Renewal {
    refresh: String,
    life: Duration,
    ends_at: Instant,
    /// Earliest time of the next attempt; `None` after a permanent refusal.
    next_try: Option<Instant>,
    failures: u32,
}

impl Renewal {
    fn new(refresh: String, life: Duration) -> Self {
        let now = Instant::now();
        Self { refresh, life, ends_at: now + life, next_try: Some(now), failures: 0 }
    }

    /// When the token should be renewed; `None` after a permanent refusal. That is a little before the server announces the
    /// expiry, because the server counts from when it issued the token.
    fn due_at(&self) -> Option<Instant> {
        let lead = MAX_RENEWAL_LEAD.min(self.life / 4) + MAX_RENEWAL_SLACK.min(self.life / 20);
        self.next_try.map(|at| at.max(self.ends_at - lead))
    }

    fn is_due(&self, now: Instant) -> bool {
        self.due_at().is_some_and(|at| at <= now)
    }

    /// Schedules the next attempt after a failed one.
    fn failed(&mut self, error: &ClientError, now: Instant) {
        self.failures += 1;
        let doubled = RENEWAL_BACKOFF.0.saturating_mul(2_u32.saturating_pow(self.failures - 1)).min(RENEWAL_BACKOFF.1);
        let wait = error.retry_after().unwrap_or_default().max(doubled.mul_f64(0.5 + fastrand::f64() / 2.0));
        self.next_try = error.is_temporary().then_some(now + wait);
    }
}

impl Account {
    /// Registers a new account.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses, for example with `EMAIL_TAKEN` or `OVERLOADED`.
    pub async fn register(connector: &Connector, name: &str, email: &str, password: &str) -> Result<Self, ClientError> {
        Self::with_tokens_of(connector, "register", json!({"name": name, "email": email, "password": password})).await
    }

    /// Signs in to an account.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses.
    pub async fn sign_in(connector: &Connector, email: &str, password: &str) -> Result<Self, ClientError> {
        Self::with_tokens_of(connector, "login", json!({"email": email, "password": password})).await
    }

    /// Wraps an access token without a refresh token; the account is usable until the token expires.
    pub fn from_token(connector: &Connector, access_token: String) -> Self {
        let tokens = Tokens { access: access_token, renewal: None };
        Self { http: http_client(), base: connector.http_url(), tokens: Mutex::new(tokens) }
    }

    /// Wraps tokens obtained elsewhere; the access token is valid for `life` from now on.
    pub fn from_tokens(connector: &Connector, access_token: String, refresh_token: String, life: Duration) -> Self {
        let tokens = Tokens { access: access_token, renewal: Some(Renewal::new(refresh_token, life)) };
        Self { http: reqwest::Client::new(), base: connector.http_url(), tokens: Mutex::new(tokens) }
    }

    /// Returns a valid access token, renewing it when due. Concurrent callers share one renewal. A failed renewal is an error
    /// only if the token has expired; until then the current token is returned.
    ///
    /// # Errors
    /// When the token has expired and its renewal fails.
    pub async fn access_token(&self) -> Result<String, ClientError> {
        let mut tokens = self.tokens.lock().await;
        let now = Instant::now();
        let Some(renewal) = &mut tokens.renewal else { return Ok(tokens.access.clone()) };
        let has_ended = renewal.ends_at <= now;
        if has_ended || renewal.is_due(now) {
            let body = json!({"refresh_token": renewal.refresh});
            match post(&self.http, &self.base, "refresh", &body).await {
                Ok(renewed) => *tokens = renewed,
                Err(error) => {
                    renewal.failed(&error, Instant::now());
                    if has_ended {
                        return Err(error);
                    }
                }
            }
        }
        Ok(tokens.access.clone())
    }

    /// Returns the current access token, even if it has expired.
    pub(super) async fn current_token(&self) -> String {
        self.tokens.lock().await.access.clone()
    }

    /// Waits until the access token differs from `old`. Retries without a time limit while the network or the server fails.
    ///
    /// # Errors
    /// When the server refuses permanently, or there is no refresh token.
    pub(super) async fn renewed_token(&self, old: &str) -> Result<String, ClientError> {
        loop {
            let renewed = self.access_token().await;
            let renewal = self.tokens.lock().await.renewal.clone();
            match renewed {
                Ok(token) if token != old => return Ok(token),
                Err(error) if !error.is_temporary() => return Err(error),
                _ => {}
            }
            let due_at = renewal.and_then(|renewal| renewal.due_at());
            let due_at = due_at.ok_or_else(|| ClientError::Auth {
                code: "EXPIRED_TOKEN".to_owned(),
                message: "the access token cannot be renewed".to_owned(),
            })?;
            sleep_until(due_at).await;
        }
    }

    /// Sends a REST request as this account. `path` is relative to `/api/v1/` and may have a query; an empty response body is
    /// returned as `null`.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses the request, or an expired access token cannot be renewed.
    pub async fn request(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, ClientError> {
        let token = self.access_token().await?;
        let mut request = self.http.request(method, format!("{}/api/v1/{path}", self.base)).bearer_auth(token);
        if let Some(body) = body {
            request = request.json(body);
        }
        let text = exchange(request, "the response to a request").await?;
        if text.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_str(&text).map_err(unexpected_response)
    }

    async fn with_tokens_of(connector: &Connector, route: &str, body: Value) -> Result<Self, ClientError> {
        let http = http_client();
        let base = connector.http_url();
        let tokens = Mutex::new(post(&http, &base, route, &body).await?);
        Ok(Self { http, base, tokens })
    }
}

/// Builds an HTTP client that ignores redirects and the environment's proxies: passwords and tokens go only to the server that
/// the caller named, and the WebSocket would not use the proxy either.
fn http_client() -> reqwest::Client {
    let builder = reqwest::Client::builder().redirect(redirect::Policy::none()).no_proxy();
    builder.build().expect("the settings are valid")
}

/// Sends a request and returns the body of a successful response.
async fn exchange(request: reqwest::RequestBuilder, what: &'static str) -> Result<String, ClientError> {
    let exchange = async {
        let response = request.send().await?;
        let (status, target) = (response.status(), response.headers().get(LOCATION).cloned());
        Ok::<_, reqwest::Error>((status, target, response.text().await?))
    };
    let (status, target, text) =
        timeout(TIMEOUT, exchange).await.map_err(|_| ClientError::Timeout(what))?.map_err(unreachable)?;
    if status.is_success() {
        return Ok(text);
    }
    if status.is_redirection() {
        return Err(redirected(target.as_ref().map(HeaderValue::as_bytes)));
    }
    let error: ServerError = server_error(&text);
    Err(ClientError::Refused { status: status.as_u16(), error })
}

fn unexpected_response(error: serde_json::Error) -> ClientError {
    ClientError::Protocol(format!("unexpected response, not from a Switchboard server: {error}"))
}

/// Converts a transport error by its innermost cause, which has the message of the operating system.
fn unreachable(error: reqwest::Error) -> ClientError {
    let origin = error.url().map(|url| format!("{}: ", url.origin().ascii_serialization())).unwrap_or_default();
    let mut cause: &dyn std::error::Error = &error;
    let mut kind = None;
    while let Some(source) = cause.source() {
        cause = source;
        kind = cause.downcast_ref::<io::Error>().map(io::Error::kind).or(kind);
    }
    ClientError::Connect(io::Error::new(kind.unwrap_or(io::ErrorKind::Other), format!("{origin}{cause}")))
}

async fn post(http: &reqwest::Client, base: &str, route: &str, body: &Value) -> Result<Tokens, ClientError> {
    #[derive(Deserialize)]
    struct Answer {
        access_token: String,
        refresh_token: String,
        expires_in: u64,
    }
    let text =
        exchange(http.post(format!("{base}/api/v1/auth/{route}")).json(body), "the response to a sign-in").await?;
    let answer: Answer = serde_json::from_str(&text).map_err(unexpected_response)?;
    let renewal = Renewal::new(answer.refresh_token, Duration::from_secs(answer.expires_in));
    Ok(Tokens { access: answer.access_token, renewal: Some(renewal) })
}
