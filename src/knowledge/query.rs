//! Retrieval query: the text to search for, given a question and the conversation before it.

use crate::{
    domain::{HistoryMessage, MessageRole},
    terms::count_significant_words,
};

/// Openings of follow-up questions.
const FOLLOW_UP_OPENINGS: &[&str] =
    &["and ", "and,", "also ", "but ", "or ", "what about", "how about", "same for", "why"];
/// Maximum number of significant words in a follow-up; with more, a question stands on its own.
const MAX_FOLLOW_UP_WORDS: usize = 2;

/// Returns the text to search for: the question, followed by the user's previous question if this one is a follow-up ("and the
/// hybrid?") or has no significant words ("how much is it?").
pub fn retrieval_query(question: &str, history: &[HistoryMessage]) -> String {
    let previous = history.iter().rev().find(|message| message.role == MessageRole::User);
    match previous {
        Some(previous) if is_follow_up(question) => format!("{question}\n{}", previous.content),
        _ => question.to_owned(),
    }
}

fn is_follow_up(question: &str) -> bool {
    let words = count_significant_words(question);
    let start = question.trim_start().to_lowercase();
    words == 0 || (words <= MAX_FOLLOW_UP_WORDS && FOLLOW_UP_OPENINGS.iter().any(|opening| start.starts_with(opening)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history() -> Vec<HistoryMessage> {
        let message = |role, content: &str| HistoryMessage { role, content: content.to_owned() };
        vec![
            message(MessageRole::User, "How wide is it?"),
            message(MessageRole::Assistant, "1,842 mm."),
            message(MessageRole::User, "What is the engine power?"),
            message(MessageRole::Assistant, "180 kW."),
        ]
    }

    #[test]
    fn a_follow_up_includes_the_previous_question() {
        for question in ["And the hybrid?", "what about the hybrid?", "How much is it?"] {
            let query = retrieval_query(question, &history());
            assert_eq!(query, format!("{question}\nWhat is the engine power?"));
        }
    }

    #[test]
    fn an_independent_question_is_unchanged() {
        for question in [
            "How much horsepower does it have?",
            "And how often should I change the oil?",
            "And which tyre pressure fits a fully loaded car?",
        ] {
            assert_eq!(retrieval_query(question, &history()), question);
        }
        assert_eq!(retrieval_query("And the hybrid?", &[]), "And the hybrid?");
    }
}
