//! HTTP client for the model server: authenticated requests with deadlines, and bodies of bounded size.
//!
//! Redirects are not followed and proxies not used, so that the API key is sent only to `provider.base_url`.

use super::{answer::Body, coding::Coding, failure::Failure, retry::Retry};
use crate::{config::ProviderConfig, pause, provider::InvalidProviderConfig};
use futures_util::StreamExt;
use reqwest::{
    RequestBuilder, Response, Url,
    header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, HeaderMap, HeaderValue},
    redirect,
};
use secrecy::ExposeSecret;
use serde::Serialize;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// Time for which an idle connection stays in the pool.
const POOL_IDLE: Duration = Duration::from_secs(60);
/// Maximum size of a response that is not streamed, in bytes.
const MAX_BODY_BYTES: usize = 256 * 1024;

/// Client of one model server. Clones share its connections.
#[derive(Clone)]
pub(super) struct Connection {
    client: reqwest::Client,
    chat_url: Url,
    models_url: Url,
}

impl Connection {
    /// Builds the client without connecting.
    ///
    /// # Errors
    /// When the URL is invalid or the key contains characters that are not allowed in a header.
    pub fn new(config: &ProviderConfig, section: &str) -> Result<Self, InvalidProviderConfig> {
        let invalid =
            |key, reason: &str| InvalidProviderConfig { section: section.to_owned(), key, reason: reason.to_owned() };
        let base = config.base_url.trim_end_matches('/');
        let url = |path: &str| {
            Url::parse(&format!("{base}/{path}")).map_err(|err| invalid("base_url", &format!("is not a URL: {err}")))
        };
        let (chat_url, models_url) = (url("chat/completions")?, url("models")?);
        if !matches!(chat_url.scheme(), "http" | "https") {
            return Err(invalid("base_url", "must start with http:// or https://"));
        }
        let mut headers = HeaderMap::new();
        // Compression delays tokens.
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if let Some(key) = &config.api_key {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", key.expose_secret()))
                .map_err(|_| invalid("api_key", "contains characters that are not allowed in an HTTP header"))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let client = reqwest::Client::builder()
            .user_agent(concat!("switchboard/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers)
            .connect_timeout(Duration::from_millis(config.connect_timeout_ms))
            .pool_idle_timeout(POOL_IDLE)
            .tcp_nodelay(true)
            .redirect(redirect::Policy::none())
            .no_proxy()
            // The caller decides about retries, since it knows the remaining time.
            .retry(reqwest::retry::never())
            .build()
            .map_err(|err| invalid("base_url", &format!("cannot be used: {err}")))?;
        Ok(Self { client, chat_url, models_url })
    }

    /// Sends `body` to `/chat/completions` and waits until `deadline` for a response with a 2xx status.
    pub async fn post(
        &self,
        body: &impl Serialize,
        accept: &'static str,
        deadline: Instant,
    ) -> Result<Response, Failure> {
        send(self.client.post(self.chat_url.clone()).header(ACCEPT, accept).json(body), deadline).await
    }

    /// Requests the list of models.
    pub async fn models(&self, deadline: Instant) -> Result<Vec<u8>, Failure> {
        let request = self.client.get(self.models_url.clone()).header(ACCEPT, "application/json");
        read_bounded(send(request, deadline).await?, deadline).await
    }

    /// Sends an empty request to `/chat/completions`, which servers refuse without generating text.
    pub async fn probe_chat(&self, deadline: Instant) -> Result<(), Failure> {
        self.post(&serde_json::json!({}), "application/json", deadline).await.map(drop)
    }
}

async fn send(request: RequestBuilder, deadline: Instant) -> Result<Response, Failure> {
    let response = pause::timeout(deadline.saturating_duration_since(Instant::now()), request.send())
        .await
        .map_err(|_| Failure::timeout("no response before the deadline"))?
        .map_err(|err| Failure::from_transport(&err))?;
    if response.status().is_success() {
        return Ok(response);
    }
    let (status, headers) = (response.status(), response.headers().clone());
    // The body only adds detail; the status suffices if it cannot be read.
    let body = read_bounded(response, deadline).await.unwrap_or_default();
    Err(Failure::from_status(status, &headers, &body))
}

/// Splits a response into its body as a stream and the decoder for it.
pub(super) fn into_body(response: Response) -> Result<(Body, Coding), Failure> {
    let coding = Coding::from_headers(response.headers())?;
    let body = response.bytes_stream().map(|bytes| bytes.map_err(|err| Failure::from_transport(&err)));
    Ok((body.boxed(), coding))
}

/// Reads and decodes a complete body of at most [`MAX_BODY_BYTES`].
pub(super) async fn read_bounded(response: Response, deadline: Instant) -> Result<Vec<u8>, Failure> {
    let (mut pieces, mut coding) = into_body(response)?;
    let mut body = Vec::new();
    loop {
        let piece = timeout_at(deadline, pieces.next())
            .await
            .map_err(|_| Failure::timeout("the response body did not end before the deadline"))?;
        let Some(piece) = piece else { return Ok(body) };
        coding.decode(&piece?, |piece| {
            if body.len() + piece.len() > MAX_BODY_BYTES {
                return Err(Failure::broken("the response body is too large", Retry::Never));
            }
            body.extend_from_slice(piece);
            Ok(())
        })?;
    }
}
