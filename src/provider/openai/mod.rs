//! Any server with an OpenAI-compatible `/chat/completions`: OpenAI, OpenRouter, vLLM, Ollama, llama.cpp.
//!
//! `request` makes the body, `events` reads the stream's events, `answer` turns them into parts within the time-outs,
//! `failure` says whose fault a failure is and whether a second try is safe, `classify` chooses a label.
//!
//! A request is tried a second time only while the caller has seen nothing of the answer. Redirects and proxies are not
//! followed: the key goes to `provider.base_url` and nowhere else.

mod answer;
mod classify;
mod events;
mod failure;
mod request;

use super::{
    AnswerPart, AnswerStream, Classification, ClassifyRequest, GenerateRequest, InvalidProviderConfig, ModelProvider,
    ProviderError,
};
use crate::config::ProviderConfig;
use answer::{Answer, Deadlines};
use failure::{Failure, Retry};
use futures_util::stream;
use reqwest::{
    Response, Url,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue},
    redirect,
};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use std::{sync::atomic::AtomicBool, time::Duration};
use tokio::time::{Instant, sleep, timeout_at};

/// How long an idle connection is kept for the next request.
const POOL_IDLE: Duration = Duration::from_secs(60);
/// The most that is read of an answer that is not a stream, in bytes.
const MAX_BODY_BYTES: usize = 256 * 1024;

/// A model behind an OpenAI-compatible server.
pub struct OpenAi {
    client: reqwest::Client,
    url: Url,
    api_key: Option<SecretString>,
    model: String,
    max_answer_tokens: u32,
    temperature: f64,
    first_token_timeout: Duration,
    idle_timeout: Duration,
    total_timeout: Duration,
    /// The server refused a request for `logprobs` before; it is not asked for them again.
    without_logprobs: AtomicBool,
}

impl OpenAi {
    /// A provider for the server at `config.base_url`. Nothing is sent yet.
    ///
    /// # Errors
    /// When the address or the key cannot be used in a request.
    pub fn new(config: &ProviderConfig) -> Result<Self, InvalidProviderConfig> {
        let invalid = |key, reason: &str| InvalidProviderConfig { key, reason: reason.to_owned() };
        let url = format!("{}/chat/completions", config.base_url.trim_end_matches('/'));
        let url = Url::parse(&url).map_err(|err| invalid("base_url", &format!("is not a URL: {err}")))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(invalid("base_url", "must start with http:// or https://"));
        }
        if config.model.is_empty() {
            return Err(invalid("model", "must not be empty"));
        }
        let mut headers = HeaderMap::new();
        if let Some(key) = &config.api_key {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", key.expose_secret()))
                .map_err(|_| invalid("api_key", "has characters that a header cannot carry"))?;
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
            // Whether a second try is safe is decided here, where the time left is known.
            .retry(reqwest::retry::never())
            .build()
            .map_err(|err| invalid("base_url", &format!("cannot be used: {err}")))?;
        Ok(Self {
            client,
            url,
            api_key: config.api_key.clone(),
            model: config.model.clone(),
            max_answer_tokens: config.max_answer_tokens,
            temperature: config.temperature,
            first_token_timeout: Duration::from_millis(config.first_token_timeout_ms),
            idle_timeout: Duration::from_millis(config.idle_timeout_ms),
            total_timeout: Duration::from_millis(config.total_timeout_ms),
            without_logprobs: AtomicBool::new(false),
        })
    }

    /// Sends `body` and waits for an answer with a good status until `deadline`.
    async fn post(&self, body: &impl Serialize, accept: &'static str, deadline: Instant) -> Result<Response, Failure> {
        let request = self.client.post(self.url.clone()).header(ACCEPT, accept).json(body);
        let response = timeout_at(deadline, request.send())
            .await
            .map_err(|_| Failure::timeout("no answer to the request in time"))?
            .map_err(|err| Failure::from_transport(&err))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let (status, headers) = (response.status(), response.headers().clone());
        // The body only adds the machine-readable code; without it the status says enough.
        let body = read_bounded(response, deadline).await.unwrap_or_default();
        Err(Failure::from_status(status, &headers, &body))
    }

    /// One try, up to the first part of the answer.
    async fn start(
        &self,
        body: &request::ChatBody<'_>,
        prompt_bytes: usize,
        deadlines: Deadlines,
    ) -> Result<(AnswerPart, Answer), Failure> {
        let response = self.post(body, "text/event-stream", deadlines.first_token_at).await?;
        let media_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        if media_type.is_some_and(|value| !value.trim_start().to_ascii_lowercase().starts_with("text/event-stream")) {
            return Err(Failure::broken("the answer is not a stream of events", Retry::Never));
        }
        let mut answer = Answer::new(events::read(response.bytes_stream()), prompt_bytes, deadlines);
        let first = answer.next().await?;
        Ok((first, answer))
    }

    /// The error as it leaves this module. An upstream that echoes the key does not get it into the log.
    fn seal(api_key: Option<&SecretString>, failure: Failure) -> ProviderError {
        let mut error = failure.error;
        if let Some(key) = api_key.map(ExposeSecret::expose_secret).filter(|key| !key.is_empty()) {
            error.detail = error.detail.replace(key, "[redacted]");
        }
        error
    }
}

#[async_trait::async_trait]
impl ModelProvider for OpenAi {
    fn model(&self) -> &str {
        &self.model
    }

    async fn generate(&self, request: GenerateRequest) -> Result<AnswerStream, ProviderError> {
        let messages = request::messages(&request);
        let prompt_bytes = messages.iter().map(|message| message.content.len()).sum();
        let body = request::chat(&self.model, &messages, self.max_answer_tokens, self.temperature);
        let now = Instant::now();
        let deadlines = Deadlines {
            first_token_at: now + self.first_token_timeout.min(self.total_timeout),
            total_at: now + self.total_timeout,
            idle: self.idle_timeout,
        };
        let mut tried = false;
        let (first, answer) = loop {
            let failure = match self.start(&body, prompt_bytes, deadlines).await {
                Ok(started) => break started,
                Err(failure) => failure,
            };
            let wait = failure.retry.wait().filter(|wait| !tried && Instant::now() + *wait < deadlines.first_token_at);
            let Some(wait) = wait else {
                return Err(Self::seal(self.api_key.as_ref(), failure));
            };
            log::warn!(kind:? = failure.error.kind, wait_ms = wait.as_millis() as u64;
                "the provider failed before the first token; trying once more");
            sleep(wait).await;
            tried = true;
        };
        let parts = stream::unfold(Some((Some(first), answer, self.api_key.clone())), |state| async move {
            let (first, mut answer, api_key) = state?;
            let part = match first {
                Some(part) => Ok(part),
                None => answer.next().await.map_err(|failure| Self::seal(api_key.as_ref(), failure)),
            };
            let ended = !matches!(part, Ok(AnswerPart::Token(_)));
            Some((part, (!ended).then_some((None, answer, api_key))))
        });
        Ok(Box::pin(parts))
    }

    async fn classify(&self, request: ClassifyRequest) -> Result<Option<Classification>, ProviderError> {
        let chosen = self.choose(&request).await;
        chosen.map(Some).map_err(|failure| Self::seal(self.api_key.as_ref(), failure))
    }
}

/// A body of bounded size.
async fn read_bounded(mut response: Response, deadline: Instant) -> Result<Vec<u8>, Failure> {
    let mut body = Vec::new();
    loop {
        let chunk = timeout_at(deadline, response.chunk())
            .await
            .map_err(|_| Failure::timeout("the answer's body did not end in time"))?
            .map_err(|err| Failure::from_transport(&err))?;
        let Some(chunk) = chunk else { return Ok(body) };
        if body.len() + chunk.len() > MAX_BODY_BYTES {
            return Err(Failure::broken("the answer's body is too large", Retry::Never));
        }
        body.extend_from_slice(&chunk);
    }
}
