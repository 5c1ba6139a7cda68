//! One question on its way through the pipeline.

use crate::{
    app::{Pipeline, PipelineAnswer, PipelineError},
    cli::CliError,
    domain::{ConversationId, HistoryMessage, MessageRole, MethodOutcome, Passage, RetrievalBasis, Source},
    eval::{Answered, Basis, Cost, Question, RankedPassage},
};
use std::time::{Duration, Instant};

/// Passages of a ranking.
const RANKED_PASSAGES: usize = 20;
/// Attempts at a question while the provider fails with errors that may pass.
const MAX_ATTEMPTS: u32 = 3;
/// Wait before the second attempt, unless the provider names one; doubled before each further one.
const RETRY_WAIT: Duration = Duration::from_secs(1);

/// Asks a question in a conversation of its own, after the messages of its history, each of which is answered by a turn. A
/// provider that keeps failing is an error.
pub(super) async fn ask(pipeline: &Pipeline, place: &str, question: &Question) -> Result<Answered, CliError> {
    let mut wait = RETRY_WAIT;
    for attempt in 1.. {
        match ask_once(pipeline, question).await {
            Ok(answered) => return Ok(answered),
            Err(PipelineError::Provider { kind, retry_after_ms }) if attempt < MAX_ATTEMPTS && !kind.is_permanent() => {
                tokio::time::sleep(retry_after_ms.map_or(wait, Duration::from_millis)).await;
                wait *= 2;
            }
            Err(error @ (PipelineError::Provider { .. } | PipelineError::Embeddings)) => {
                return Err(CliError::Provider(format!("{place}: {error}; there is no report")));
            }
            Err(error) => return Err(CliError::Failed(format!("{place}: {error}"))),
        }
    }
    unreachable!("the last attempt returns")
}

async fn ask_once(pipeline: &Pipeline, question: &Question) -> Result<Answered, PipelineError> {
    let mut conversation: Option<ConversationId> = None;
    let mut history = Vec::new();
    for message in &question.history {
        let answer = pipeline.ask(conversation, message).await?;
        conversation = Some(answer.conversation_id);
        let said = |role, content: &str| HistoryMessage { role, content: content.to_owned() };
        history.extend([said(MessageRole::User, message), said(MessageRole::Assistant, &answer.text)]);
    }
    let began = Instant::now();
    let answer = pipeline.ask(conversation, &question.question).await?;
    let latency = began.elapsed();
    // Another search would be measured instead.
    let methods = answer.metadata.retrieval.as_ref().map(|account| account.methods).unwrap_or_default();
    if methods.embeddings == Some(MethodOutcome::Failed) {
        return Err(PipelineError::Embeddings);
    }
    let found = pipeline.search(&question.question, &history, &answer.metadata, RANKED_PASSAGES).await?;
    // The sources are what the turn found, whatever the repeated search did.
    let mut ranking = Vec::new();
    for source in answer.metadata.sources.iter() {
        ranking.push(passage_of(pipeline, source).await?);
    }
    let is_source = |passage: &Passage| answer.metadata.sources.iter().any(|source| is_same(source, passage));
    ranking.extend(found.into_iter().filter(|passage| !is_source(passage)).map(ranked));
    Ok(answered(pipeline, question, answer, ranking, latency))
}

fn answered(
    pipeline: &Pipeline,
    question: &Question,
    answer: PipelineAnswer,
    ranking: Vec<RankedPassage>,
    latency: Duration,
) -> Answered {
    let PipelineAnswer { text, metadata, .. } = answer;
    let warning = pipeline.safety_warning(&question.question);
    let without_warning = warning.and_then(|warning| text.strip_prefix(warning));
    let basis = match metadata.retrieval.as_ref().map(|account| account.basis) {
        Some(RetrievalBasis::Covered | RetrievalBasis::Similar) => Basis::Known,
        Some(RetrievalBasis::Closest) => Basis::Closest,
        Some(RetrievalBasis::Nothing) | None => Basis::Nothing,
    };
    Answered {
        has_warning: without_warning.is_some(),
        text: without_warning.unwrap_or(&text).to_owned(),
        basis,
        sources: metadata.sources.len(),
        specialist: metadata.specialist.clone(),
        ranking,
        latency,
        model: metadata.model.clone(),
        cost: metadata.cost.clone().map(|cost| Cost { currency: cost.currency, trillionths: cost.trillionths }),
        prompt_tokens: metadata.usage.prompt_tokens.into(),
        completion_tokens: metadata.usage.completion_tokens.into(),
    }
}

fn is_same(source: &Source, passage: &Passage) -> bool {
    source.document_id == Some(passage.document_id) && source.passage == Some(passage.passage)
}

/// Returns the passage that a source names.
async fn passage_of(pipeline: &Pipeline, source: &Source) -> Result<RankedPassage, PipelineError> {
    let text = match (source.document_id, source.passage) {
        (Some(document), Some(number)) => {
            let passages = pipeline.knowledge().passages(document, number.saturating_sub(1)).await?;
            passages.into_iter().next().map(|passage| passage.text)
        }
        _ => None,
    };
    let text = text.unwrap_or_default();
    Ok(RankedPassage { document: source.source.clone(), title: source.title.clone(), text })
}

fn ranked(passage: Passage) -> RankedPassage {
    RankedPassage { document: passage.source, title: passage.title, text: passage.text }
}
