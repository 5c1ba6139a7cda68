//! Input for the embedded answerer: small talk, the language to answer in, and the questions of a message, each searched for.

use super::{
    engine::Engine,
    parts::{PartSearch, is_known, is_same},
    specialists::SafetyWarning,
    stages::{Asked, Routed, Searched},
};
use crate::{
    domain::{MessageRole, Retrieval},
    language::{Language, Languages, SmallTalk},
    provider::{GenerateRequest, Guidance, QuestionPart},
    store::StoreError,
};

/// Maximum number of questions of a message that are answered one by one.
const MAX_QUESTIONS: usize = 4;

/// Returns the kind of small talk that a message consists of. With a conversation before it, "why?" or "sure?" is a question, and a
/// message about danger never is small talk.
fn small_talk(engine: &Engine, asked: &Asked) -> Option<SmallTalk> {
    let (languages, text) = (&engine.languages, &asked.question.text);
    if !asked.history.is_empty() && languages.follow_up_marks(text).is_alone {
        return None;
    }
    languages.small_talk(text).filter(|_| warning(engine, asked).is_none())
}

/// Whether a message is small talk for the embedded answerer, which needs neither a specialist nor a search. A model answers small
/// talk as any other message.
pub(super) fn needs_no_search(engine: &Engine, asked: &Asked) -> bool {
    let default = engine.specialists.default_specialist();
    engine.providers.of_specialist(&default.name).is_embedded() && small_talk(engine, asked).is_some()
}

/// Returns the warning to put before the answer.
pub(super) fn warning<'a>(engine: &'a Engine, asked: &Asked) -> Option<SafetyWarning<'a>> {
    engine.specialists.safety_warning(&asked.question.text, &engine.languages)
}

/// Builds the request for the answer.
pub(super) async fn request(engine: &Engine, routed: Routed, searched: Searched) -> GenerateRequest {
    let Searched { retrieval, parts } = searched;
    let guidance = guidance(engine, &routed, parts).await;
    GenerateRequest {
        system_prompt: routed.specialist.system_prompt.clone(),
        passages: retrieval.passages,
        basis: retrieval.basis,
        guidance,
        history: routed.asked.history,
        question: routed.asked.question.text,
        script: routed.asked.question.script,
    }
}

/// Gathers the input of the embedded answerer.
async fn guidance(engine: &Engine, Routed { asked, query, .. }: &Routed, parts: Vec<QuestionPart>) -> Guidance {
    let language = answer_language(&engine.languages, asked);
    let suggestions = engine.guide.suggestions(&language.code).await;
    Guidance {
        language: language.code.clone(),
        topics: suggestions.topics.clone(),
        starters: suggestions.starters.clone(),
        small_talk: small_talk(engine, asked),
        aside: engine.languages.aside(&asked.question.text),
        is_danger: warning(engine, asked).is_some(),
        query: query.joined(),
        parts,
    }
}

/// Returns the language to answer in: that of the message, else of the latest message of the user that has one.
fn answer_language<'a>(languages: &'a Languages, asked: &Asked) -> &'a Language {
    let earlier = asked.earlier_messages().iter().rev().filter(|message| message.role == MessageRole::User);
    let mut texts = [asked.question.text.as_str()].into_iter().chain(earlier.map(|message| message.content.as_str()));
    texts.find_map(|text| languages.detect(text)).unwrap_or_else(|| languages.default_language())
}

/// Searches for what a message asks, for at most `limit` passages. A message about danger gets the section about it first, and a
/// message with several questions passages for each.
///
/// # Errors
/// When the store is unavailable.
pub(super) async fn search(engine: &Engine, routed: &Routed, limit: usize) -> Result<Searched, StoreError> {
    let Routed { asked, specialist, query, .. } = routed;
    let scope = &specialist.collections;
    let danger = warning(engine, asked).and_then(|warning| warning.search);
    if danger.is_none() && !query.is_follow_up() {
        let language = answer_language(&engine.languages, asked);
        let pieces = engine.languages.questions(language, &asked.question.text, MAX_QUESTIONS);
        let earlier = asked.earlier_messages();
        if let Some((retrieval, parts)) = (PartSearch { engine, earlier, scope, limit }).parts(&pieces).await? {
            return Ok(Searched { retrieval, parts });
        }
    }
    let mut retrieval = engine.knowledge.retrieve(query, scope, limit).await?;
    if let Some(danger) = danger {
        let section = engine.knowledge.retrieve(danger, &[], 1).await?;
        if is_known(&section) {
            put_first(&mut retrieval, section, limit);
        }
    }
    Ok(Searched { retrieval, parts: Vec::new() })
}

/// Puts the best passage of `section` before those of `retrieval`.
fn put_first(retrieval: &mut Retrieval, section: Retrieval, limit: usize) {
    let Some(best) = section.passages.into_iter().next() else { return };
    retrieval.passages.retain(|passage| !is_same(passage, &best));
    retrieval.passages.insert(0, best);
    retrieval.passages.truncate(limit);
    retrieval.basis = section.basis;
}
