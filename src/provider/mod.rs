//! Model providers: the [`ModelProvider`] trait, its request and answer types, and its implementations.
//!
//! A provider takes a request and streams an answer; it knows no conversations, connections or store. Dropping an
//! [`AnswerStream`] also cancels the request to the model server.
//!
//! [`Providers`] holds those of the configuration. A turn uses a [`Chain`] of them, which falls back from one to the next and
//! records in [`Calls`] what it asked.

mod breaker;
mod calls;
mod chain;
pub mod extractive;
mod member;
pub mod openai;
mod prices;
mod providers;
pub mod scripted;
mod usage;

pub use crate::domain::ProviderErrorKind;
pub use breaker::Circuit;
pub use calls::{Call, CallOutcome, Calls};
pub use chain::{Chain, RecordedChain};
pub use member::ProviderStatus;
pub use prices::{PriceTable, PricesError};
pub use providers::{ModelChoice, Providers, SetupProblem};
pub use usage::{CallUsage, Meter};

use crate::{
    config::{ProviderConfig, ProviderKind, ScriptedConfig},
    domain::{FinishReason, HistoryMessage, Part, Passage, RetrievalBasis},
    language::{Languages, SmallTalk},
};
use futures_util::stream::BoxStream;
use std::{error::Error, sync::Arc};

/// Input of one answer.
#[derive(Clone, Debug)]
pub struct GenerateRequest {
    /// Operator's instructions. Never contains text of a user or a document.
    pub system_prompt: String,
    /// Passages retrieved for the question, best match first.
    pub passages: Vec<Passage>,
    /// Strength of the passages.
    pub basis: RetrievalBasis,
    /// Earlier messages of the conversation, oldest first.
    pub history: Vec<HistoryMessage>,
    pub question: String,
    /// Read only by the embedded answerer.
    pub guidance: Guidance,
    /// Script of this turn; read only by the `scripted` provider.
    pub script: Option<ScriptedConfig>,
}

/// Input of the embedded answerer, which has no model to work it out.
#[derive(Clone, Debug, Default)]
pub struct Guidance {
    /// Code of the language to answer in.
    pub language: String,
    /// Subjects that the documents cover, in that language.
    pub topics: Vec<String>,
    /// Questions that the documents answer, in that language.
    pub starters: Vec<String>,
    /// Kind of small talk that the message consists of.
    pub small_talk: Option<SmallTalk>,
    /// Small talk in a message that also has something to search for.
    pub aside: Option<SmallTalk>,
    /// Whether a safety warning precedes the answer. The first passage is then about the danger.
    pub is_danger: bool,
    /// The text that was searched for; differs from the question if that is a follow-up.
    pub query: String,
    /// The questions in the message, if there are several.
    pub parts: Vec<QuestionPart>,
}

/// One of several questions in a message.
#[derive(Clone, Debug, PartialEq)]
pub struct QuestionPart {
    pub question: String,
    /// The text that was searched for: the question, and what it needs to be understood.
    pub query: String,
    /// Whether it has the form of a question.
    pub asks: bool,
    pub basis: RetrievalBasis,
    /// Indices of its passages in the request, best match first.
    pub passages: Vec<usize>,
}

/// Request to classify a question with one of a few labels.
#[derive(Clone, Debug)]
pub struct ClassifyRequest {
    pub instructions: String,
    pub question: String,
    /// Pairs of label and description.
    pub labels: Vec<(String, String)>,
    pub meter: Meter,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Classification {
    pub label: String,
    /// 0 (a guess) to 1, computed from token probabilities; `None` if the server reports none.
    pub confidence: Option<f64>,
}

/// Request to rewrite a follow-up as a question that can be understood without the conversation.
#[derive(Clone, Debug)]
pub struct RewriteRequest {
    pub instructions: String,
    /// Latest messages before the question, oldest first.
    pub history: Vec<HistoryMessage>,
    pub question: String,
    pub meter: Meter,
}

/// Part of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AnswerPart {
    /// Text to append; never empty.
    Token(String),
    /// Text of the model's reasoning; never empty, and never part of the answer.
    Reasoning(String),
    /// Part of the answer that is not text.
    Part(Part),
    /// Sign of activity without anything to show.
    Working,
    /// End of the answer; always the last part.
    Finished { reason: FinishReason, usage: CallUsage },
}

pub type AnswerStream = BoxStream<'static, Result<AnswerPart, ProviderError>>;

/// Failure of a provider. `detail` is for the log and never sent to clients.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the provider failed ({kind:?}): {detail}")]
pub struct ProviderError {
    pub kind: ProviderErrorKind,
    pub detail: String,
    /// Delay that the model server asked for, in milliseconds.
    pub retry_after_ms: Option<u64>,
}

/// Maximum length of [`ProviderError::detail`], in characters.
const MAX_DETAIL_CHARS: usize = 300;

impl ProviderError {
    /// Creates an error, truncating `detail` to [`MAX_DETAIL_CHARS`].
    pub fn new(kind: ProviderErrorKind, detail: impl std::fmt::Display) -> Self {
        let mut detail = detail.to_string();
        if let Some((end, _)) = detail.char_indices().nth(MAX_DETAIL_CHARS) {
            detail.truncate(end);
        }
        Self { kind, detail, retry_after_ms: None }
    }
}

/// Invalid setting in the section of a provider.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{section}.{key}` {reason}")]
pub struct InvalidProviderConfig {
    pub section: String,
    pub key: &'static str,
    pub reason: String,
}

/// Estimates the tokens in a text of `bytes` bytes, at four bytes per token.
pub(crate) fn estimate_tokens(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(4)).unwrap_or(u32::MAX)
}

/// Generates answers, classifies questions and rewrites follow-ups.
#[async_trait::async_trait]
pub trait ModelProvider: Send + Sync {
    /// Returns the model's name, as reported to clients in `metadata.model`.
    fn model(&self) -> &str;

    /// Whether answers are composed from passages without a model. Small talk is then answered from
    /// [`GenerateRequest::guidance`], without a search.
    fn is_embedded(&self) -> bool {
        false
    }

    /// Starts generating an answer.
    ///
    /// # Errors
    /// When the answer cannot be started. A later failure is the stream's last item.
    async fn generate(&self, request: GenerateRequest) -> Result<AnswerStream, ProviderError>;

    /// Asks the model once for the label that fits the question, with a deadline; `None` for a provider without a model.
    ///
    /// # Errors
    /// When the request fails, or the model answers with an unknown label.
    async fn classify(&self, request: ClassifyRequest) -> Result<Option<Classification>, ProviderError>;

    /// Asks the model once to rewrite a question, with a deadline; `None` for a provider without a model. The text is untrusted.
    ///
    /// # Errors
    /// When the request fails.
    async fn rewrite(&self, request: RewriteRequest) -> Result<Option<String>, ProviderError>;

    /// Checks that the model server is reachable, has the API, accepts the key and serves the model, without generating text.
    /// Takes a few seconds at most.
    ///
    /// # Errors
    /// When one of these checks fails.
    async fn check(&self) -> Result<(), ProviderError> {
        Ok(())
    }
}

/// Describes a failed [`ModelProvider::check`] to the operator and names the setting to change.
pub fn setup_problem(kind: ProviderErrorKind) -> &'static str {
    match kind {
        ProviderErrorKind::Unauthorized => "the model server rejects the API key; check provider.api_key",
        ProviderErrorKind::OutOfCredit => "the account at the model server is out of credit; check provider.api_key",
        ProviderErrorKind::UnknownModel => {
            "the model server does not list the model and may reject requests; check provider.model"
        }
        ProviderErrorKind::Rejected => {
            "the server has no OpenAI-compatible API at this URL, so turns will fail; check provider.base_url, which usually ends \
             in /v1"
        }
        _ => "the model server is unreachable; turns fail until it responds; check provider.base_url",
    }
}

/// Describes a model without a price to the operator, when there is a budget of cost.
pub const UNKNOWN_PRICE: &str = "the price of this model is unknown: its requests do not count towards \
    budgets.cost_per_user_per_day, unless the model server reports their cost; add the model to budgets.prices_file";

/// Builds the configured provider. The extractive provider answers in `languages`.
///
/// # Errors
/// When a setting is invalid; the error names it.
pub fn build(config: &ProviderConfig, languages: Arc<Languages>) -> Result<Arc<dyn ModelProvider>, Box<dyn Error>> {
    Ok(match config.kind {
        ProviderKind::Extractive => Arc::new(extractive::ExtractiveProvider::new(languages, config.extractive)),
        ProviderKind::Openai => Arc::new(openai::OpenAi::new(config)?),
        ProviderKind::Scripted => Arc::new(scripted::Scripted::new(config.scripted)?),
    })
}
