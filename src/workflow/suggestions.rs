//! Suggested follow-ups: the headings of the passages that fit the question next best, or that are around the best one.

use super::recording::Recording;
use crate::{
    domain::{FinishReason, Part, Passage, Retrieval, RetrievalBasis},
    turn::TurnFailure,
};
use serde_json::{Map, Value};

/// Passages that are looked at for suggestions, after those of the answer.
pub(super) const CANDIDATES: usize = 8;
/// Lowest score of a passage that is suggested, relative to the best one.
const MIN_SHARE: f64 = 0.25;
/// Longest suggestion, in characters.
const MAX_CHARS: usize = 80;
/// Separator of the headings in the title of a passage.
const HEADING_SEPARATOR: &str = " › ";

/// Keeps the first `max_passages` passages for the answer, and returns the titles of the others, except those that hardly fit. There
/// are none if the documents do not cover the question: what is only close to it would lead further away.
pub(super) fn next_best(found: &mut Retrieval, max_passages: usize) -> Vec<String> {
    let rest = found.passages.split_off(max_passages.min(found.passages.len()));
    let Some(best) = best(found) else { return Vec::new() };
    let min_score = best.score * MIN_SHARE;
    rest.into_iter().filter(|passage| passage.score >= min_score).map(|passage| passage.title).collect()
}

/// Returns the best passage, if the documents cover the question.
pub(super) fn best(found: &Retrieval) -> Option<&Passage> {
    let is_covered = matches!(found.basis, RetrievalBasis::Covered | RetrievalBasis::Similar);
    found.passages.first().filter(|_| is_covered)
}

/// Returns up to `limit` innermost headings of titles, best first, that neither the question nor the passages of the answer have.
pub(super) fn headings(question: &str, used: &[Passage], titles: &[String], limit: usize) -> Vec<String> {
    let mut known: Vec<String> = used.iter().map(|passage| heading(&passage.title).to_lowercase()).collect();
    known.push(question.trim().to_lowercase());
    let mut suggestions = Vec::new();
    for heading in titles.iter().map(|title| heading(title)) {
        let is_usable = (1..=MAX_CHARS).contains(&heading.chars().count());
        if suggestions.len() < limit && is_usable && !known.contains(&heading.to_lowercase()) {
            known.push(heading.to_lowercase());
            suggestions.push(heading.to_owned());
        }
    }
    suggestions
}

/// Returns the innermost heading of a title.
fn heading(title: &str) -> &str {
    title.rsplit(HEADING_SEPARATOR).next().unwrap_or_default().trim()
}

/// Appends the suggestions to an answer that is complete.
pub(super) fn append(suggestions: Vec<String>, ending: &Result<FinishReason, TurnFailure>, recording: &Recording) {
    if let (Ok(FinishReason::Stop), Some(part)) = (ending, part(suggestions)) {
        recording.append_part(part);
    }
}

/// Returns the part of an answer that carries the suggestions; `None` without any.
fn part(suggestions: Vec<String>) -> Option<Part> {
    let fields = Map::from_iter([("items".to_owned(), Value::from(suggestions))]);
    let has_items = fields["items"].as_array().is_some_and(|items| !items.is_empty());
    has_items.then(|| Part { kind: "suggestions".to_owned(), fields })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::DocumentId;
    use serde_json::json;

    fn found(basis: RetrievalBasis, titles: &[(&str, f64)]) -> Retrieval {
        let passage = |&(title, score): &(&str, f64)| Passage {
            document_id: DocumentId::new(),
            source: "a.md".to_owned(),
            title: title.to_owned(),
            passage: 1,
            text: "Text.".to_owned(),
            score,
        };
        Retrieval { passages: titles.iter().map(passage).collect(), basis, ..Retrieval::default() }
    }

    const TITLES: [(&str, f64); 7] = [
        ("Car › Width", 0.8),
        ("Car › Length", 0.7),
        ("Car › width", 0.6),
        ("Car › Height", 0.6),
        ("Van › Height", 0.5),
        ("Car › Weight", 0.4),
        ("Car › Colours", 0.1),
    ];

    fn suggested(basis: RetrievalBasis, max_passages: usize, question: &str, limit: usize) -> Vec<String> {
        let mut found = found(basis, &TITLES);
        let titles = next_best(&mut found, max_passages);
        assert_eq!(found.passages.len(), max_passages);
        headings(question, &found.passages, &titles, limit)
    }

    #[test]
    fn the_next_best_headings_are_suggested_once() {
        assert_eq!(suggested(RetrievalBasis::Covered, 2, "How wide?", 3), ["Height", "Weight"]);
    }

    #[test]
    fn suggestions_are_limited_and_do_not_repeat_the_question() {
        assert_eq!(suggested(RetrievalBasis::Similar, 1, " length ", 3), ["Height", "Weight"]);
        assert_eq!(suggested(RetrievalBasis::Similar, 1, " length ", 1), ["Height"]);
        assert!(suggested(RetrievalBasis::Similar, 1, " length ", 0).is_empty());
    }

    #[test]
    fn nothing_is_suggested_for_a_question_that_is_not_covered() {
        for basis in [RetrievalBasis::Closest, RetrievalBasis::Nothing] {
            assert!(suggested(basis, 2, "How wide?", 3).is_empty());
            assert_eq!(best(&found(basis, &TITLES)), None);
        }
    }

    #[test]
    fn the_part_has_the_items() {
        let part = part(vec!["Height".to_owned()]).unwrap();
        assert_eq!((part.kind.as_str(), &part.fields["items"]), ("suggestions", &json!(["Height"])));
        assert_eq!(super::part(Vec::new()), None);
    }
}
