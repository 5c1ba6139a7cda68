//! Search for the passages of an answer, and for the follow-ups to suggest after it.

use super::{
    engine::Engine,
    guidance,
    stages::{Routed, Searched},
    suggestions,
};
use crate::domain::{MethodOutcome, Retrieval, RetrievalMethods};

/// Result of a search for one turn.
pub(super) struct Found {
    /// The passages of the answer.
    pub searched: Searched,
    /// Follow-ups to suggest.
    pub suggestions: Vec<String>,
}

/// Searches the collections of the specialist for passages that answer the question.
pub(super) async fn search(engine: &Engine, routed: &Routed) -> Found {
    let (max_passages, max_suggestions) = (engine.max_passages, engine.config.max_suggestions);
    let candidates = if max_passages == 0 || max_suggestions == 0 { 0 } else { suggestions::CANDIDATES };
    let found = guidance::search(engine, routed, max_passages + candidates).await;
    let mut searched = found.unwrap_or_else(|error| {
        // An answer without sources is better than none.
        log::error!("knowledge base search failed; answering without sources: {error}");
        let methods = RetrievalMethods { words: Some(MethodOutcome::Failed), ..RetrievalMethods::default() };
        Searched { retrieval: Retrieval { methods, ..Retrieval::default() }, ..Searched::default() }
    });
    let suggestions = suggest(engine, &mut searched.retrieval, &routed.asked.question.text);
    Found { searched, suggestions }
}

/// Leaves the passages of the answer, and returns follow-ups from the others.
fn suggest(engine: &Engine, retrieval: &mut Retrieval, question: &str) -> Vec<String> {
    let limit = engine.config.max_suggestions;
    let mut titles = suggestions::next_best(retrieval, engine.max_passages);
    let suggested = suggestions::headings(question, &retrieval.passages, &titles, limit);
    let Some(best) = suggestions::best(retrieval).filter(|_| suggested.len() < limit) else { return suggested };
    // Few passages fit the question: the sections around the best one are about related subjects, and need no second search.
    titles.extend(engine.knowledge.titles_around(best, suggestions::CANDIDATES));
    suggestions::headings(question, &retrieval.passages, &titles, limit)
}
