//! Who writes the answer: one trait, and the providers behind it.
//!
//! A provider knows nothing of conversations, sessions or the store; it gets a request and streams an answer.
//! Dropping an [`AnswerStream`] stops the work, upstream too.

pub mod extractive;
pub mod openai;
pub mod scripted;

pub use crate::domain::ProviderErrorKind;

use crate::{
    config::{ProviderConfig, ProviderKind, ScriptedConfig},
    domain::{FinishReason, HistoryMessage, Passage, Usage},
};
use futures_util::stream::BoxStream;
use std::{error::Error, sync::Arc};

/// What the model is asked.
#[derive(Clone, Debug)]
pub struct GenerateRequest {
    /// Our instructions. Nothing that a user or a document says is ever part of it.
    pub system_prompt: String,
    /// What the knowledge base has, best first.
    pub passages: Vec<Passage>,
    /// Earlier messages of the conversation, oldest first.
    pub history: Vec<HistoryMessage>,
    pub question: String,
    /// Only for `scripted`: what this turn changes in the script.
    pub script: Option<ScriptedConfig>,
}

/// A question that has one of a few labels as its answer.
#[derive(Clone, Debug)]
pub struct ClassifyRequest {
    pub instructions: String,
    pub question: String,
    /// What to choose from, each with what it stands for.
    pub labels: Vec<(String, String)>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Classification {
    pub label: String,
    /// 0 to 1, computed from what the model answered (token probabilities, or agreement), never a constant.
    pub confidence: f64,
}

/// A piece of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AnswerPart {
    /// Text that goes on right behind what came before; never empty.
    Token(String),
    /// The model is at work on something that is not shown, such as its reasoning.
    Working,
    /// The end; always the last part.
    Finished { reason: FinishReason, usage: Usage },
}

pub type AnswerStream = BoxStream<'static, Result<AnswerPart, ProviderError>>;

/// A provider's failure. `detail` is for the log, never for clients.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the provider failed ({kind:?}): {detail}")]
pub struct ProviderError {
    pub kind: ProviderErrorKind,
    pub detail: String,
    /// What the provider asked us to wait, in milliseconds.
    pub retry_after_ms: Option<u64>,
}

/// The most characters of a [`ProviderError::detail`].
const MAX_DETAIL_CHARS: usize = 300;

impl ProviderError {
    /// A failure whose detail is cut to a bounded length.
    pub fn new(kind: ProviderErrorKind, detail: impl std::fmt::Display) -> Self {
        let mut detail = detail.to_string();
        if let Some((end, _)) = detail.char_indices().nth(MAX_DETAIL_CHARS) {
            detail.truncate(end);
        }
        Self { kind, detail, retry_after_ms: None }
    }
}

/// A setting of `[provider]` that no provider can be built from.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`provider.{key}` {reason}")]
pub struct InvalidProviderConfig {
    pub key: &'static str,
    pub reason: String,
}

/// Tokens of a text of so many bytes, where nobody counted them: four bytes are one token.
pub(crate) fn estimate_tokens(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(4)).unwrap_or(u32::MAX)
}

/// Writes answers.
#[async_trait::async_trait]
pub trait ModelProvider: Send + Sync {
    /// The model's name, as `metadata.model` carries it.
    fn model(&self) -> &str;

    /// Starts an answer.
    ///
    /// # Errors
    /// When the answer could not be started; later failures are the stream's last item.
    async fn generate(&self, request: GenerateRequest) -> Result<AnswerStream, ProviderError>;

    /// Lets the model choose a label; `None` when there is no model that could.
    ///
    /// # Errors
    /// When the model cannot be asked, or its answer is none of the labels.
    async fn classify(&self, request: ClassifyRequest) -> Result<Option<Classification>, ProviderError>;

    /// Whether the model can be asked, as far as that shows without asking it. Takes a few seconds at most.
    ///
    /// # Errors
    /// Why it cannot be asked.
    async fn check(&self) -> Result<(), ProviderError> {
        Ok(())
    }
}

/// Explains a failed [`ModelProvider::check`] to the operator, with the settings to look at.
pub fn setup_problem(kind: ProviderErrorKind) -> &'static str {
    match kind {
        ProviderErrorKind::Unauthorized => "the model server refuses the key; check provider.api_key",
        ProviderErrorKind::OutOfCredit => "the account at the model server has no credit left; check provider.api_key",
        ProviderErrorKind::UnknownModel => {
            "the model server does not list the model and may refuse questions; check provider.model"
        }
        _ => "the model server cannot be reached; check provider.base_url. Questions fail until it answers",
    }
}

/// Checks the provider once and logs what is wrong. The server runs all the same: the model server may come up later.
pub async fn check_at_start(provider: Arc<dyn ModelProvider>) {
    let Err(error) = provider.check().await else { return };
    match error.kind {
        // The provider has told the operator.
        ProviderErrorKind::Unauthorized | ProviderErrorKind::OutOfCredit => {}
        kind => {
            log::warn!(kind = kind.as_str(), model = provider.model(), detail = error.detail; "{}", setup_problem(kind));
        }
    }
}

/// The provider that the configuration names. `topics` is what it can help with, for one that has no answer.
///
/// # Errors
/// When it cannot work with its settings; the error names the setting.
pub fn build(config: &ProviderConfig, topics: Vec<String>) -> Result<Arc<dyn ModelProvider>, Box<dyn Error>> {
    Ok(match config.kind {
        ProviderKind::Extractive => Arc::new(extractive::ExtractiveProvider::new(topics, config.extractive)),
        ProviderKind::Openai => Arc::new(openai::OpenAi::new(config)?),
        ProviderKind::Scripted => Arc::new(scripted::Scripted::new(config.scripted)?),
    })
}
