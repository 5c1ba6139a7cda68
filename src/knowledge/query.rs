//! The words to search for, given a question and the conversation it stands in.

use crate::{
    domain::{HistoryMessage, MessageRole},
    terms::telling_words,
};

/// How a question starts that goes on from the one before.
const FOLLOW_UP_STARTS: &[&str] =
    &["and ", "and,", "also ", "but ", "or ", "what about", "how about", "same for", "why"];
/// A follow-up is short: with more telling words it stands on its own.
const MAX_FOLLOW_UP_TERMS: usize = 2;

/// What to search for: the question, and behind it the user's question before when this one only goes on from it ("and
/// the hybrid?") or has no telling word of its own ("how much is it?").
pub fn retrieval_query(question: &str, history: &[HistoryMessage]) -> String {
    let previous = history.iter().rev().find(|message| message.role == MessageRole::User);
    match previous {
        Some(previous) if is_follow_up(question) => format!("{question}\n{}", previous.content),
        _ => question.to_owned(),
    }
}

fn is_follow_up(question: &str) -> bool {
    let terms = telling_words(question);
    let start = question.trim_start().to_lowercase();
    terms == 0 || (terms <= MAX_FOLLOW_UP_TERMS && FOLLOW_UP_STARTS.iter().any(|words| start.starts_with(words)))
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
    fn a_follow_up_searches_with_the_question_before() {
        for question in ["And the hybrid?", "what about the hybrid?", "How much is it?"] {
            let query = retrieval_query(question, &history());
            assert_eq!(query, format!("{question}\nWhat is the engine power?"));
        }
    }

    #[test]
    fn a_question_of_its_own_is_left_alone() {
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
