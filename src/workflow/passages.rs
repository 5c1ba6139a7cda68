//! Search for the passages of an answer, and for the follow-ups to suggest after it.

use super::{engine::Engine, stages::Routed, suggestions};
use crate::domain::{MethodOutcome, Retrieval, RetrievalMethods};

/// Result of a search for one turn.
pub(super) struct Found {
    /// The passages of the answer.
    pub retrieval: Retrieval,
    /// Follow-ups to suggest.
    pub suggestions: Vec<String>,
}

/// Searches the collections of the specialist for passages that answer the question, by the words of `query`.
pub(super) async fn search(engine: &Engine, query: &str, routed: &Routed) -> Found {
    let (scope, question) = (&routed.specialist.collections, &routed.asked.question.text);
    let (max_passages, max_suggestions) = (engine.max_passages, engine.config.max_suggestions);
    let candidates = if max_passages == 0 || max_suggestions == 0 { 0 } else { suggestions::CANDIDATES };
    let found = engine.knowledge.retrieve(query, scope, max_passages + candidates).await;
    let mut retrieval = found.unwrap_or_else(|error| {
        // An answer without sources is better than none.
        log::error!("knowledge base search failed; answering without sources: {error}");
        let methods = RetrievalMethods { words: Some(MethodOutcome::Failed), ..RetrievalMethods::default() };
        Retrieval { methods, ..Retrieval::default() }
    });
    let suggestions = suggest(engine, &mut retrieval, question).await;
    Found { retrieval, suggestions }
}

/// Leaves the passages of the answer, and returns follow-ups from the others.
async fn suggest(engine: &Engine, retrieval: &mut Retrieval, question: &str) -> Vec<String> {
    let limit = engine.config.max_suggestions;
    let mut candidates = suggestions::next_best(retrieval, engine.max_passages);
    let suggested = suggestions::headings(question, &retrieval.passages, &candidates, limit);
    let Some(best) = suggestions::best(retrieval).filter(|_| suggested.len() < limit) else { return suggested };
    // Few passages contain the words of the question: others contain those of the best passage's headings.
    let related = engine.knowledge.search(&best.title, &[], engine.max_passages + suggestions::CANDIDATES).await;
    candidates.extend(related.unwrap_or_default());
    suggestions::headings(question, &retrieval.passages, &candidates, limit)
}
