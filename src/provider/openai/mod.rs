//! Any server with an OpenAI-compatible `/chat/completions`. `docs/MODEL_SERVERS.md` says which, and what is done about failures.
//!
//! # Layout
//! - A request: `request` makes its body, `connection` sends it, `parameters` and `adaptation` leave out what the server refuses.
//! - An answer: `coding` undoes compression, `framing` finds events, `chunk` reads one with `json`, `surrogates` and `thinking` give
//!   its text, `parser` puts it all together without sockets or time, `answer` adds the time-outs.
//! - A failure: `diagnosis` finds its cause, `failure` says whether a second try is safe, `advice` tells the operator.
//! - `classify` chooses a label; `models` checks the settings at start.
//!
//! A request is tried a second time only while the model has produced nothing, not even reasoning.

mod adaptation;
mod advice;
mod answer;
mod chunk;
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
mod request;
mod surrogates;
mod thinking;

use super::{
    AnswerPart, AnswerStream, Classification, ClassifyRequest, GenerateRequest, InvalidProviderConfig, ModelProvider,
    ProviderError,
};
use crate::config::ProviderConfig;
use adaptation::Adaptation;
use advice::Advice;
use answer::{Answer, Deadlines};
use connection::Connection;
use failure::Failure;
use futures_util::stream;
use parameters::RefusedParameters;
use secrecy::{ExposeSecret, SecretString};
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, sleep};

/// A model behind an OpenAI-compatible server.
pub struct OpenAi {
    connection: Connection,
    model: String,
    max_answer_tokens: u32,
    temperature: f64,
    first_token_timeout: Duration,
    idle_timeout: Duration,
    total_timeout: Duration,
    refused: RefusedParameters,
    exit: Arc<Exit>,
}

/// The way out for failures, which outlives a request in its stream.
struct Exit {
    api_key: Option<SecretString>,
    model: String,
    advice: Advice,
}

impl Exit {
    /// The error as it leaves this module. A server that echoes the key does not get it into the log.
    fn seal(&self, failure: Failure) -> ProviderError {
        let mut error = failure.error;
        if let Some(key) = self.api_key.as_ref().map(ExposeSecret::expose_secret).filter(|key| !key.is_empty()) {
            error.detail = error.detail.replace(key, "[redacted]");
        }
        error
    }

    /// The same, and the operator is told what to do about it.
    fn report(&self, failure: Failure) -> ProviderError {
        let error = self.seal(failure);
        self.advice.tell(&error, &self.model);
        error
    }
}

impl OpenAi {
    /// A provider for the server at `config.base_url`. Nothing is sent yet.
    ///
    /// # Errors
    /// When the address or the key cannot be used in a request.
    pub fn new(config: &ProviderConfig) -> Result<Self, InvalidProviderConfig> {
        if config.model.is_empty() {
            return Err(InvalidProviderConfig { key: "model", reason: "must not be empty".to_owned() });
        }
        Ok(Self {
            connection: Connection::new(config)?,
            model: config.model.clone(),
            max_answer_tokens: config.max_answer_tokens,
            temperature: config.temperature,
            first_token_timeout: Duration::from_millis(config.first_token_timeout_ms),
            idle_timeout: Duration::from_millis(config.idle_timeout_ms),
            total_timeout: Duration::from_millis(config.total_timeout_ms),
            refused: RefusedParameters::default(),
            exit: Arc::new(Exit {
                api_key: config.api_key.clone(),
                model: config.model.clone(),
                advice: Advice::default(),
            }),
        })
    }

    /// One try, up to the first part of the answer.
    async fn start(
        &self,
        body: &request::ChatBody<'_>,
        prompt_bytes: usize,
        deadlines: Deadlines,
    ) -> Result<(AnswerPart, Answer), Failure> {
        let response = self.connection.post(body, "text/event-stream", deadlines.first_token_at).await?;
        let (pieces, coding) = connection::body_of(response)?;
        let mut answer = Answer::new(pieces, coding, prompt_bytes, deadlines);
        let first = answer.next().await?;
        Ok((first, answer))
    }

    /// Tries until an answer begins: without the parameters that the server refuses, and once more after a failure that may pass.
    async fn begin(&self, request: &GenerateRequest) -> Result<(AnswerPart, Answer), Failure> {
        let messages = request::messages(request);
        let prompt_bytes = messages.iter().map(|message| message.content.len()).sum();
        let mut body = request::chat(&self.model, &messages, self.max_answer_tokens, self.temperature);
        let now = Instant::now();
        let deadlines = Deadlines {
            first_token_at: now + self.first_token_timeout.min(self.total_timeout),
            total_at: now + self.total_timeout,
            idle: self.idle_timeout,
        };
        let mut adaptation = Adaptation::new(&self.refused, &mut body);
        let mut tried = false;
        loop {
            let failure = match self.start(&body, prompt_bytes, deadlines).await {
                Ok(started) => {
                    adaptation.learn(&self.refused);
                    return Ok(started);
                }
                Err(failure) => failure,
            };
            let Err(failure) = adaptation.apply(failure, &mut body) else { continue };
            let wait = failure.retry.wait().filter(|wait| !tried && Instant::now() + *wait < deadlines.first_token_at);
            let Some(wait) = wait else { return Err(failure) };
            log::warn!(kind:? = failure.error.kind, wait_ms = wait.as_millis() as u64;
                "the provider failed before the first token; trying once more");
            sleep(wait).await;
            tried = true;
        }
    }
}

#[async_trait::async_trait]
impl ModelProvider for OpenAi {
    fn model(&self) -> &str {
        &self.model
    }

    async fn generate(&self, request: GenerateRequest) -> Result<AnswerStream, ProviderError> {
        let (first, answer) = self.begin(&request).await.map_err(|failure| self.exit.report(failure))?;
        let parts = stream::unfold(Some((Some(first), answer, Arc::clone(&self.exit))), |state| async move {
            let (first, mut answer, exit) = state?;
            let part = match first {
                Some(part) => Ok(part),
                None => answer.next().await.map_err(|failure| exit.report(failure)),
            };
            let ended = matches!(part, Ok(AnswerPart::Finished { .. }) | Err(_));
            Some((part, (!ended).then_some((None, answer, exit))))
        });
        Ok(Box::pin(parts))
    }

    async fn classify(&self, request: ClassifyRequest) -> Result<Option<Classification>, ProviderError> {
        self.choose(&request).await.map(Some).map_err(|failure| self.exit.report(failure))
    }

    async fn check(&self) -> Result<(), ProviderError> {
        self.check_models().await
    }
}
