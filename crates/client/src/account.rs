//! Who signs in: an account at the server, and tokens that are still good. Many connections may share one.

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
/// The first wait before a failed renewal is tried again, and the longest.
const RENEWAL_BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
/// Until an answer of REST.
const TIMEOUT: Duration = Duration::from_secs(60);

/// An account that is signed in.
pub struct Account {
    http: reqwest::Client,
    base: String,
    tokens: Mutex<Tokens>,
}

#[derive(Clone)]
struct Tokens {
    access: String,
    /// Without it and the end, the access token is used until the server refuses it.
    renewal: Option<Renewal>,
}

#[derive(Clone)]
struct Renewal {
    refresh: String,
    life: Duration,
    ends_at: Instant,
    /// Not tried again before; `None` when the server has refused for good.
    next_try: Option<Instant>,
    failures: u32,
}

impl Renewal {
    fn new(refresh: String, life: Duration) -> Self {
        let now = Instant::now();
        Self { refresh, life, ends_at: now + life, next_try: Some(now), failures: 0 }
    }

    /// When the token should be renewed: a little before the server announces its end, since the answer with the token took a
    /// while to arrive. `None` when it never will be.
    fn due_at(&self) -> Option<Instant> {
        let lead = MAX_RENEWAL_LEAD.min(self.life / 4) + MAX_RENEWAL_SLACK.min(self.life / 20);
        self.next_try.map(|at| at.max(self.ends_at - lead))
    }

    fn is_due(&self, now: Instant) -> bool {
        self.due_at().is_some_and(|at| at <= now)
    }

    /// A try failed: when to try again.
    fn failed(&mut self, error: &ClientError, now: Instant) {
        self.failures += 1;
        let doubled = RENEWAL_BACKOFF.0.saturating_mul(2_u32.saturating_pow(self.failures - 1)).min(RENEWAL_BACKOFF.1);
        let wait = error.retry_after().unwrap_or_default().max(doubled.mul_f64(0.5 + fastrand::f64() / 2.0));
        self.next_try = error.is_temporary().then_some(now + wait);
    }
}

impl Account {
    /// Makes a new account.
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

    /// An account of which there is only an access token; it ends when the token does.
    pub fn from_token(connector: &Connector, access_token: String) -> Self {
        let tokens = Tokens { access: access_token, renewal: None };
        Self { http: http_client(), base: connector.http_url(), tokens: Mutex::new(tokens) }
    }

    /// An account whose tokens came from elsewhere; the access token is good for `life` from now on.
    pub fn from_tokens(connector: &Connector, access_token: String, refresh_token: String, life: Duration) -> Self {
        let tokens = Tokens { access: access_token, renewal: Some(Renewal::new(refresh_token, life)) };
        Self { http: reqwest::Client::new(), base: connector.http_url(), tokens: Mutex::new(tokens) }
    }

    /// An access token that is good for a while. Of all callers that ask at once, one renews it. A renewal that fails is an
    /// error only when the token has ended; until then the token that is there is used.
    ///
    /// # Errors
    /// When the token has ended, and its renewal fails.
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

    /// The access token that is there, however long it is good for.
    pub(super) async fn current_token(&self) -> String {
        self.tokens.lock().await.access.clone()
    }

    /// Waits until the access token is another one than `old`: as long as it takes, over failures of the network and of the
    /// server.
    ///
    /// # Errors
    /// When the server refuses for good, or nothing can be renewed.
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

    /// Asks the REST API in the name of this account. `path` is what follows `/api/v1/`, its query included; an answer
    /// without a body is `null`.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses, or the access token has to be renewed and that fails.
    pub async fn request(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, ClientError> {
        let token = self.access_token().await?;
        let mut request = self.http.request(method, format!("{}/api/v1/{path}", self.base)).bearer_auth(token);
        if let Some(body) = body {
            request = request.json(body);
        }
        let text = exchange(request, "answering").await?;
        if text.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_str(&text).map_err(not_ours)
    }

    async fn with_tokens_of(connector: &Connector, route: &str, body: Value) -> Result<Self, ClientError> {
        let http = http_client();
        let base = connector.http_url();
        let tokens = Mutex::new(post(&http, &base, route, &body).await?);
        Ok(Self { http, base, tokens })
    }
}

/// A client that sends its requests, and with them passwords and tokens, to the server that was named and nowhere else:
/// not to the target of a redirect, and not to a proxy of the environment, which the WebSocket would not use either.
fn http_client() -> reqwest::Client {
    let builder = reqwest::Client::builder().redirect(redirect::Policy::none()).no_proxy();
    builder.build().expect("the settings are sound")
}

/// The body of an answer that is no error.
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

fn not_ours(error: serde_json::Error) -> ClientError {
    ClientError::Protocol(format!("the answer is not one of a Switchboard server: {error}"))
}

/// Why a request got no answer: the innermost cause, which names what the system said.
fn unreachable(error: reqwest::Error) -> ClientError {
    let place = error.url().map(|url| format!("{}: ", url.origin().ascii_serialization())).unwrap_or_default();
    let mut cause: &dyn std::error::Error = &error;
    let mut kind = None;
    while let Some(source) = cause.source() {
        cause = source;
        kind = cause.downcast_ref::<io::Error>().map(io::Error::kind).or(kind);
    }
    ClientError::Connect(io::Error::new(kind.unwrap_or(io::ErrorKind::Other), format!("{place}{cause}")))
}

async fn post(http: &reqwest::Client, base: &str, route: &str, body: &Value) -> Result<Tokens, ClientError> {
    #[derive(Deserialize)]
    struct Answer {
        access_token: String,
        refresh_token: String,
        expires_in: u64,
    }
    let text = exchange(http.post(format!("{base}/api/v1/auth/{route}")).json(body), "signing in").await?;
    let answer: Answer = serde_json::from_str(&text).map_err(not_ours)?;
    let renewal = Renewal::new(answer.refresh_token, Duration::from_secs(answer.expires_in));
    Ok(Tokens { access: answer.access_token, renewal: Some(renewal) })
}
