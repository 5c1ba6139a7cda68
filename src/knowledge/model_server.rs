//! HTTP client for the model servers of a search: JSON in, JSON of bounded size out, each request with a deadline.
//!
//! Redirects are not followed and proxies not used, so that the API key is sent only to the configured server. The text of a
//! response is never part of an error, since servers repeat their input in it.

use reqwest::{
    Response, StatusCode, Url,
    header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, HeaderMap, HeaderValue, RETRY_AFTER},
    redirect,
};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use std::{error::Error, time::Duration};

/// Time for which an idle connection stays in the pool.
const POOL_IDLE: Duration = Duration::from_secs(60);

/// Part of a question that is sent, in characters, so that a long one does not exceed the time limit.
const MAX_QUESTION_CHARS: usize = 1_000;

/// Returns the part of a question that is sent to a model server.
pub fn beginning(question: &str) -> &str {
    question.char_indices().nth(MAX_QUESTION_CHARS).map_or(question, |(end, _)| &question[..end])
}

/// One path of a model server.
pub struct ModelServer {
    client: reqwest::Client,
    url: Url,
}

/// Settings of a model server that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{key} {reason}")]
pub struct InvalidModelServer {
    key: &'static str,
    reason: String,
}

/// Failure of a request to a model server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    #[error("no response within {} ms", .0.as_millis())]
    Timeout(Duration),
    #[error("the connection failed{0}")]
    Connection(String),
    #[error("status {status}")]
    Status { status: u16, retry_after: Option<Duration> },
    #[error("the response is larger than {0} bytes")]
    TooLarge(usize),
}

impl RequestError {
    /// Whether the server refused what was sent, rather than any request.
    pub fn is_of_input(&self) -> bool {
        matches!(self, Self::Status { status: 400 | 413 | 422, .. })
    }
}

impl ModelServer {
    /// Builds the client of `base_url` with `path` appended, without connecting.
    ///
    /// # Errors
    /// When the URL is invalid or the key contains characters that are not allowed in a header.
    pub fn new(
        base_url: &str,
        path: &str,
        api_key: Option<&SecretString>,
        connect_timeout: Duration,
    ) -> Result<Self, InvalidModelServer> {
        let invalid = |key, reason: String| InvalidModelServer { key, reason };
        let url = Url::parse(&format!("{}/{path}", base_url.trim_end_matches('/')))
            .map_err(|error| invalid("base_url", format!("is not a URL: {error}")))?;
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if let Some(key) = api_key {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", key.expose_secret()))
                .map_err(|_| invalid("api_key", "contains characters that are not allowed in a header".to_owned()))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let client = reqwest::Client::builder()
            .user_agent(concat!("switchboard/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers)
            .connect_timeout(connect_timeout)
            .pool_idle_timeout(POOL_IDLE)
            .tcp_nodelay(true)
            .redirect(redirect::Policy::none())
            .no_proxy()
            .retry(reqwest::retry::never())
            .build()
            .map_err(|error| invalid("base_url", format!("cannot be used: {error}")))?;
        Ok(Self { client, url })
    }

    /// Sends `body` and returns that of the response, of at most `max_bytes`.
    ///
    /// # Errors
    /// When the server cannot be reached, answers with another status than 2xx, or exceeds the limits of time and size.
    pub async fn post(
        &self,
        body: &impl Serialize,
        max_bytes: usize,
        timeout: Duration,
    ) -> Result<Vec<u8>, RequestError> {
        let exchange = async {
            match self.exchange(body, max_bytes).await {
                // The server may have closed an idle connection while the request was on its way.
                Err(RequestError::Connection(_)) => self.exchange(body, max_bytes).await,
                outcome => outcome,
            }
        };
        tokio::time::timeout(timeout, exchange).await.map_err(|_| RequestError::Timeout(timeout))?
    }

    async fn exchange(&self, body: &impl Serialize, max_bytes: usize) -> Result<Vec<u8>, RequestError> {
        let request = self.client.post(self.url.clone()).json(body);
        let response = request.send().await.map_err(|error| connection_failure(&error))?;
        match response.status() {
            status if status.is_success() => read(response, max_bytes).await,
            status => Err(refused(status, response.headers())),
        }
    }
}

async fn read(mut response: Response, max_bytes: usize) -> Result<Vec<u8>, RequestError> {
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(|error| connection_failure(&error))? {
        if body.len() + piece.len() > max_bytes {
            return Err(RequestError::TooLarge(max_bytes));
        }
        body.extend_from_slice(&piece);
    }
    Ok(body)
}

fn refused(status: StatusCode, headers: &HeaderMap) -> RequestError {
    let seconds = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
    RequestError::Status { status: status.as_u16(), retry_after: seconds.map(Duration::from_secs) }
}

/// Describes the causes of a failure. The outermost error is left out: its text contains the URL.
fn connection_failure(error: &reqwest::Error) -> RequestError {
    let mut causes = String::new();
    let mut source = error.source();
    while let Some(cause) = source {
        causes = format!("{causes}: {cause}");
        source = cause.source();
    }
    RequestError::Connection(causes)
}
