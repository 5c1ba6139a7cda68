//! Client for servers with an OpenAI-compatible `/chat/completions`. `docs/MODEL_SERVERS.md` lists tested servers and the
//! handling of failures.
//!
//! # Layout
//! - Request: `request` builds the body, `connection` sends it, `parameters` and `adaptation` omit parameters that the server
//!   rejects.
//! - Answer: `coding` decompresses, `framing` splits the body into events, `chunk` interprets one event using `json`,
//!   `surrogates` and `reasoning` clean up its text, `parser` combines these without I/O or time, `answer` adds timeouts.
//! - Failure: `diagnosis` determines the cause, `failure` decides whether a retry is safe, `advice` informs the operator.
//! - `classify` implements classification, `rewrite` the rewriting of follow-ups, `models` the check at startup.
//!
//! A request is retried only while the model has produced nothing, not even reasoning.

mod adaptation;
mod advice;
mod answer;
mod chunk;
mod citations;
mod classify;
mod coding;
mod connection;
mod diagnosis;
mod failure;
mod framing;
mod json;
mod models;
mod parameters;
mod parser;
mod reasoning;
mod request;
mod retry;
mod rewrite;
mod surrogates;

use super::{
    AnswerPart, AnswerStream, CallUsage, Classification, ClassifyRequest, GenerateRequest, InvalidProviderConfig,
    ModelProvider, ProviderError, RewriteRequest,
};
use crate::config::ProviderConfig;
use adaptation::Adaptation;
use advice::AdviceLog;
use answer::{Answer, Deadlines};
use chunk::ChoiceSelector;
use connection::Connection;
use failure::Failure;
use framing::EventName;
use futures_util::stream;
use json::Json;
use parameters::RejectedParameters;
use reasoning::strip_reasoning;
use request::ChatBody;
use secrecy::{ExposeSecret, SecretString};
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, sleep};

/// Inverse of the share of the first-token timeout that a request before the answer may take.
const PREPARATIONS_PER_FIRST_TOKEN: u32 = 4;

/// Provider that uses a model on an OpenAI-compatible server.
pub struct OpenAi {
    connection: Connection,
    model: String,
    max_answer_tokens: u32,
    temperature: f64,
    first_token_timeout: Duration,
    idle_timeout: Duration,
    total_timeout: Duration,
    /// Whether a request is repeated after a transient failure.
    retries: bool,
    rejected: RejectedParameters,
    reporter: Arc<FailureReporter>,
}

/// Converts failures into errors for the caller. Shared with the answer streams, which outlive the call that made them.
struct FailureReporter {
    api_key: Option<SecretString>,
    model: String,
    /// Section of the configuration that describes the provider.
    section: String,
    advice: AdviceLog,
}

impl FailureReporter {
    /// Removes the API key from the error's detail: some servers echo it.
    fn redact(&self, failure: Failure) -> ProviderError {
        let mut error = failure.error;
        if let Some(key) = self.api_key.as_ref().map(ExposeSecret::expose_secret).filter(|key| !key.is_empty()) {
            error.detail = error.detail.replace(key, "[redacted]");
        }
        error
    }

    /// Redacts the error and logs advice for the operator.
    fn report(&self, failure: Failure) -> ProviderError {
        let error = self.redact(failure);
        self.advice.log(&error, &self.model, &self.section);
        error
    }
}

impl OpenAi {
    /// Creates the provider of `[provider]`.
    ///
    /// # Errors
    /// As [`Self::of_section`].
    pub fn new(config: &ProviderConfig) -> Result<Self, InvalidProviderConfig> {
        Self::of_section(config, "provider")
    }

    /// Creates a provider for the server at `config.base_url` without connecting to it. `section` is the part of the
    /// configuration that log lines name.
    ///
    /// # Errors
    /// When the model is empty, the URL is invalid or the key contains characters that are not allowed in a header.
    pub fn of_section(config: &ProviderConfig, section: &str) -> Result<Self, InvalidProviderConfig> {
        if config.model.is_empty() {
            let (section, reason) = (section.to_owned(), "must not be empty".to_owned());
            return Err(InvalidProviderConfig { section, key: "model", reason });
        }
        Ok(Self {
            connection: Connection::new(config, section)?,
            model: config.model.clone(),
            max_answer_tokens: config.max_answer_tokens,
            temperature: config.temperature,
            first_token_timeout: Duration::from_millis(config.first_token_timeout_ms),
            idle_timeout: Duration::from_millis(config.idle_timeout_ms),
            total_timeout: Duration::from_millis(config.total_timeout_ms),
            retries: true,
            rejected: RejectedParameters::default(),
            reporter: Arc::new(FailureReporter {
                api_key: config.api_key.clone(),
                model: config.model.clone(),
                section: section.to_owned(),
                advice: AdviceLog::default(),
            }),
        })
    }

    /// Returns a provider with other parameters for the same server, which shares the connections.
    pub fn with(&self, model: Option<&str>, temperature: Option<f64>, max_answer_tokens: Option<u32>) -> Self {
        let model = model.unwrap_or(&self.model);
        Self {
            connection: self.connection.clone(),
            model: model.to_owned(),
            max_answer_tokens: max_answer_tokens.unwrap_or(self.max_answer_tokens),
            temperature: temperature.unwrap_or(self.temperature),
            // Another model may accept other parameters.
            rejected: RejectedParameters::default(),
            reporter: Arc::new(FailureReporter {
                api_key: self.reporter.api_key.clone(),
                model: model.to_owned(),
                section: self.reporter.section.clone(),
                advice: AdviceLog::default(),
            }),
            ..*self
        }
    }

    /// Returns the deadline of a request that prepares an answer. The answer itself needs the rest of the time, and can be
    /// given without the preparation.
    fn preparation_deadline(&self) -> Instant {
        Instant::now() + self.first_token_timeout.min(self.total_timeout) / PREPARATIONS_PER_FIRST_TOKEN
    }

    /// Sends a request that is answered in one piece, which `read` interprets. Repeats it without parameters that the server
    /// rejects.
    async fn complete<T>(
        &self,
        mut body: ChatBody<'_>,
        deadline: Instant,
        read: impl Fn(&str) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let mut adaptation = Adaptation::new(&self.rejected, &mut body);
        loop {
            let attempt = async {
                let response = self.connection.post(&body, "application/json", deadline).await?;
                let answer = connection::read_bounded(response, deadline).await?;
                read(&String::from_utf8_lossy(&answer))
            };
            match attempt.await {
                Ok(result) => {
                    adaptation.confirm(&self.rejected);
                    return Ok(result);
                }
                Err(failure) => adaptation.apply(failure, &mut body)?,
            }
        }
    }

    /// Returns the provider without the second attempt after a transient failure.
    #[must_use]
    pub fn without_retries(self) -> Self {
        Self { retries: false, ..self }
    }

    /// Sends the request once and waits for the first part of the answer.
    async fn attempt(
        &self,
        body: &ChatBody<'_>,
        prompt_bytes: usize,
        deadlines: Deadlines,
    ) -> Result<(AnswerPart, Answer), Failure> {
        let response = self.connection.post(body, "text/event-stream", deadlines.first_token_at).await?;
        let (pieces, coding) = connection::into_body(response)?;
        let mut answer = Answer::new(pieces, coding, prompt_bytes, deadlines);
        let first = answer.next().await?;
        Ok((first, answer))
    }

    /// Starts an answer. Repeats the request without parameters that the server rejects, and retries once after a transient
    /// failure.
    async fn start(&self, request: &GenerateRequest) -> Result<(AnswerPart, Answer), Failure> {
        let messages = request::messages(request);
        let prompt_bytes = messages.iter().map(|message| message.content.len()).sum();
        let mut body = request::chat(&self.model, &messages, self.max_answer_tokens, self.temperature);
        let now = Instant::now();
        let deadlines = Deadlines {
            first_token_at: now + self.first_token_timeout.min(self.total_timeout),
            total_at: now + self.total_timeout,
            idle: self.idle_timeout,
        };
        let mut adaptation = Adaptation::new(&self.rejected, &mut body);
        let mut is_retry = !self.retries;
        loop {
            let failure = match self.attempt(&body, prompt_bytes, deadlines).await {
                Ok(started) => {
                    adaptation.confirm(&self.rejected);
                    return Ok(started);
                }
                Err(failure) => failure,
            };
            let Err(failure) = adaptation.apply(failure, &mut body) else { continue };
            let delay = failure.retry.delay();
            let delay = delay.filter(|delay| !is_retry && Instant::now() + *delay < deadlines.first_token_at);
            let Some(delay) = delay else { return Err(failure) };
            log::warn!(kind = failure.error.kind.as_str(), delay_ms = delay.as_millis() as u64;
                "provider failed before the first token; retrying once");
            sleep(delay).await;
            is_retry = true;
        }
    }
}

/// Returns the consumption of a request that was answered in one piece.
fn usage_of(answer: &str, prompt_bytes: usize) -> CallUsage {
    let completion = Json::parse(answer.trim_start_matches('\u{feff}'));
    let chunk = completion.and_then(|it| chunk::read(it, EventName::Message, &mut ChoiceSelector::default()).ok());
    let text_bytes = chunk.as_ref().and_then(|chunk| chunk.text.as_ref()).map_or(0, |text| text.len());
    chunk.map(|chunk| chunk.usage).unwrap_or_default().usage(prompt_bytes, text_bytes)
}

/// Returns the text of an answer in one piece, without reasoning.
fn complete_text(completion: Json<'_>) -> Result<String, Failure> {
    let chunk = chunk::read(completion, EventName::Message, &mut ChoiceSelector::default())?;
    Ok(strip_reasoning(&String::from_utf8_lossy(&chunk.text.unwrap_or_default())))
}

#[async_trait::async_trait]
impl ModelProvider for OpenAi {
    fn model(&self) -> &str {
        &self.model
    }

    async fn generate(&self, request: GenerateRequest) -> Result<AnswerStream, ProviderError> {
        let (first, answer) = self.start(&request).await.map_err(|failure| self.reporter.report(failure))?;
        let parts = stream::unfold(Some((Some(first), answer, Arc::clone(&self.reporter))), |state| async move {
            let (first, mut answer, reporter) = state?;
            let part = match first {
                Some(part) => Ok(part),
                None => answer.next().await.map_err(|failure| reporter.report(failure)),
            };
            let is_last = matches!(part, Ok(AnswerPart::Finished { .. }) | Err(_));
            Some((part, (!is_last).then_some((None, answer, reporter))))
        });
        Ok(Box::pin(parts))
    }

    async fn classify(&self, request: ClassifyRequest) -> Result<Option<Classification>, ProviderError> {
        self.choose_label(&request).await.map(Some).map_err(|failure| self.reporter.report(failure))
    }

    async fn rewrite(&self, request: RewriteRequest) -> Result<Option<String>, ProviderError> {
        self.rewrite_question(&request).await.map(Some).map_err(|failure| self.reporter.report(failure))
    }

    async fn check(&self) -> Result<(), ProviderError> {
        self.check_models().await
    }
}
