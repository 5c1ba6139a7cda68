//! The summary of a conversation that no longer fits into the history of a turn: when it takes part, and what it is made of.

use super::history::{BYTES_PER_TOKEN, within_budget};
use crate::{
    domain::{HistoryMessage, MessageRole, is_blank},
    limits::{MAX_HISTORY_MESSAGES, MAX_SUMMARY_CHARS, MAX_TASK_INPUT_CHARS},
    store::{Unsummarized, UnsummarizedMessage},
};

/// Fewest messages that are worth a request.
const MIN_MESSAGES: usize = 2;
/// Introduction of the summary in a history.
const HEAD: &str = "Summary of our conversation before the following messages:";

/// History of a turn.
pub(super) struct TurnHistory {
    pub messages: Vec<HistoryMessage>,
    /// Whether the first message is the summary of the conversation.
    pub has_summary: bool,
    /// Whether earlier messages are left out or shortened.
    pub is_cut: bool,
}

/// Returns the messages that fit into `token_budget`, oldest first; if some do not, after the summary of the conversation.
pub(super) fn history(
    messages: Vec<(MessageRole, String)>,
    summary: Option<String>,
    token_budget: usize,
) -> TurnHistory {
    let bytes = messages.iter().map(|(_, text)| text.len()).sum::<usize>();
    let is_long = i64::try_from(messages.len()).is_ok_and(|count| count >= MAX_HISTORY_MESSAGES);
    let is_cut = token_budget > 0 && (bytes > token_budget.saturating_mul(BYTES_PER_TOKEN) || is_long);
    let Some(summary) = summary.filter(|_| is_cut) else {
        return TurnHistory { messages: within_budget(messages, token_budget), has_summary: false, is_cut };
    };
    let content = format!("{HEAD}\n{summary}");
    let left = token_budget.saturating_sub(content.len().div_ceil(BYTES_PER_TOKEN));
    let mut messages = within_budget(messages, left);
    messages.insert(0, HistoryMessage { role: MessageRole::User, content });
    TurnHistory { messages, has_summary: true, is_cut }
}

/// Messages to be added to a summary.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Added {
    /// The earlier summary and the messages, as data for the model.
    pub text: String,
    /// Position of the last message.
    pub until: i64,
}

/// Selects the messages to add to a summary: those before the newest ones, which still fit into half of `token_budget`.
pub(super) fn to_add(unsummarized: &Unsummarized, token_budget: usize) -> Option<Added> {
    let mut left = token_budget.saturating_mul(BYTES_PER_TOKEN) / 2;
    let is_kept = |message: &&UnsummarizedMessage| match left.checked_sub(message.text.len()) {
        Some(rest) => {
            left = rest;
            true
        }
        None => false,
    };
    let kept = unsummarized.messages.iter().rev().take_while(is_kept).count();
    let added = &unsummarized.messages[..unsummarized.messages.len() - kept];
    let last = added.last().filter(|_| added.len() >= MIN_MESSAGES)?;
    let mut text = match &unsummarized.summary {
        Some(summary) => format!("Summary so far:\n{summary}\n\n"),
        None => String::new(),
    };
    text.push_str("Messages:\n");
    for UnsummarizedMessage { role, text: message, .. } in added.iter().filter(|message| !is_blank(&message.text)) {
        let message: String = message.chars().take(MAX_TASK_INPUT_CHARS).collect();
        text.push_str(&format!("{}: {}\n", role.as_str(), message.trim()));
    }
    Some(Added { text, until: last.position })
}

/// Returns the summary in the answer of a model, cut to [`MAX_SUMMARY_CHARS`]; `None` if there is none.
pub(super) fn of_answer(answer: &str) -> Option<String> {
    let text = answer.trim();
    (!is_blank(text)).then(|| text.chars().take(MAX_SUMMARY_CHARS).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use MessageRole::{Assistant, User};

    fn messages(count: usize) -> Vec<(MessageRole, String)> {
        (0..count).map(|n| (if n % 2 == 0 { User } else { Assistant }, format!("message {n:03}"))).collect()
    }

    #[test]
    fn a_summary_takes_part_only_if_messages_are_left_out() {
        let whole = history(messages(4), Some("Cars.".to_owned()), 1_000);
        assert_eq!((whole.messages.len(), whole.is_cut), (4, false));
        let cut = history(messages(40), Some("Cars.".to_owned()), 60);
        assert!(cut.is_cut);
        let [summary, next, ..] = cut.messages.as_slice() else { panic!("{:?}", cut.messages) };
        assert_eq!((summary.role, summary.content.as_str()), (User, format!("{HEAD}\nCars.").as_str()));
        assert_eq!(next.role, User);
        assert_eq!(cut.messages.last().unwrap().content, "message 039");
        assert!(cut.messages.iter().map(|message| message.content.len()).sum::<usize>() <= 60 * BYTES_PER_TOKEN);
        let without = history(messages(40), None, 60);
        assert!(without.is_cut && without.messages.len() > cut.messages.len());
        assert!(!history(messages(40), None, 0).is_cut);
    }

    fn unsummarized(count: usize, summary: Option<&str>) -> Unsummarized {
        let messages =
            (1..).zip(messages(count)).map(|(position, (role, text))| UnsummarizedMessage { position, role, text });
        Unsummarized { summary: summary.map(str::to_owned), messages: messages.collect() }
    }

    #[test]
    fn messages_before_those_that_fit_are_added() {
        // Half of the budget holds two messages of eleven bytes.
        let added = to_add(&unsummarized(5, Some("Cars.")), 12).unwrap();
        assert_eq!(added.until, 3);
        let text =
            "Summary so far:\nCars.\n\nMessages:\nuser: message 000\nassistant: message 001\nuser: message 002\n";
        assert_eq!(added.text, text);
        assert_eq!(to_add(&unsummarized(3, None), 12), None, "a single message");
        assert_eq!(to_add(&unsummarized(5, None), 1_000), None);
    }

    #[test]
    fn a_summary_is_text_of_limited_length() {
        assert_eq!(of_answer(" \n"), None);
        assert_eq!(of_answer(&"ä".repeat(MAX_SUMMARY_CHARS + 9)).unwrap().chars().count(), MAX_SUMMARY_CHARS);
    }
}
