//! Selection of the earlier messages that the model receives, within a token budget.
//!
//! 1. Answers lose their citations: the numbers are those of the sources of that turn, and a model would imitate them. Messages
//!    without text (a failed, cancelled or empty answer) are left out, neighbours of the same role are merged, and the first
//!    message is the user's, because strict servers reject anything else.
//! 2. The newest messages take precedence. A message longer than a quarter of the budget first counts as a quarter, so that it
//!    does not displace everything before it.
//! 3. The rest of the budget goes to those long messages, newest first. One that still does not fit keeps its start and its
//!    end, with a marker in between that says how much is missing.

use super::citations::without_citations;
use crate::domain::{HistoryMessage, MessageRole, is_blank};

/// A token is about four bytes of English text; exact counts differ from model to model.
pub(super) const BYTES_PER_TOKEN: usize = 4;
/// The inverse of the share of the budget that one message may take while others need it.
const SHARES: usize = 4;
/// The smallest share to which messages are shortened, in bytes. Below it, a message is included whole or not at all.
const MIN_SHORTENED_BYTES: usize = 160;

/// Returns the messages that fit into `token_budget`, oldest first.
pub fn within_budget(messages: Vec<(MessageRole, String)>, token_budget: usize) -> Vec<HistoryMessage> {
    let budget = token_budget.saturating_mul(BYTES_PER_TOKEN);
    let mut messages = alternating(messages);
    let sizes = sizes_within(budget, messages.iter().map(|message| message.content.len()).rev());
    let mut kept = messages.split_off(messages.len() - sizes.len());
    for (message, size) in kept.iter_mut().rev().zip(sizes) {
        if size < message.content.len() {
            message.content = shortened(&message.content, size);
        }
    }
    let answers = kept.iter().take_while(|message| message.role != MessageRole::User).count();
    kept.drain(..answers);
    kept
}

/// Leaves out citations and blank messages, and merges neighbours of the same role.
fn alternating(messages: Vec<(MessageRole, String)>) -> Vec<HistoryMessage> {
    let mut turns: Vec<HistoryMessage> = Vec::with_capacity(messages.len());
    for (role, content) in messages {
        let content = if role == MessageRole::Assistant { without_citations(content) } else { content };
        if is_blank(&content) {
            continue;
        }
        match turns.last_mut() {
            Some(last) if last.role == role => {
                last.content.push_str("\n\n");
                last.content.push_str(&content);
            }
            _ => turns.push(HistoryMessage { role, content }),
        }
    }
    turns
}

/// Returns how many bytes of each message fit, for as many messages as fit at all. `lengths` and the result are newest first.
fn sizes_within(budget: usize, lengths: impl Iterator<Item = usize>) -> Vec<usize> {
    let share = budget / SHARES;
    let mut left = budget;
    let mut fitting = Vec::new();
    for length in lengths {
        let size = if share >= MIN_SHORTENED_BYTES { length.min(share) } else { length };
        let Some(rest) = left.checked_sub(size) else { break };
        left = rest;
        fitting.push((length, size));
    }
    let grown = fitting.into_iter().map(|(length, size)| {
        let more = left.min(length - size);
        left -= more;
        size + more
    });
    grown.collect()
}

/// Shortens a text to its start and its end, with a marker in between, in at most `max_bytes`.
fn shortened(text: &str, max_bytes: usize) -> String {
    let mark = |chars: usize| format!("\n[… {chars} characters left out …]\n");
    // Reserves the longest possible marker.
    let kept_bytes = max_bytes.saturating_sub(mark(text.len()).len());
    let head = text.floor_char_boundary(kept_bytes / 2);
    let tail = text.ceil_char_boundary(text.len() - (kept_bytes - kept_bytes / 2));
    let left_out = text[head..tail].chars().count();
    format!("{}{}{}", &text[..head], mark(left_out), &text[tail..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use MessageRole::{Assistant, User};
    use proptest::prelude::*;

    fn history(messages: &[(MessageRole, &str)], token_budget: usize) -> Vec<String> {
        let messages = messages.iter().map(|(role, content)| (*role, (*content).to_owned())).collect();
        within_budget(messages, token_budget).into_iter().map(|message| message.content).collect()
    }

    const CHAT: [(MessageRole, &str); 4] =
        [(User, "first question"), (Assistant, "first answer"), (User, "second question"), (Assistant, "yes")];

    #[test]
    fn newest_messages_take_precedence() {
        assert_eq!(history(&CHAT, 1000).len(), 4);
        assert_eq!(history(&CHAT, 5), ["second question", "yes"]);
        assert!(history(&CHAT, 0).is_empty());
    }

    #[test]
    fn answer_without_its_question_is_left_out() {
        assert_eq!(history(&CHAT, 8), ["second question", "yes"]);
    }

    #[test]
    fn question_of_an_empty_answer_is_merged_with_the_next() {
        let failed =
            [(Assistant, "Hi!"), (User, "One?"), (Assistant, ""), (User, "Two?"), (Assistant, " \n"), (User, "Three?")];
        assert_eq!(history(&failed, 1000), ["One?\n\nTwo?\n\nThree?"]);
        assert!(history(&[(User, "   "), (Assistant, "")], 1000).is_empty());
    }

    #[test]
    fn answers_lose_their_citations() {
        let chat = [(User, "What is [1]?"), (Assistant, "It holds 5 l [1] since [2024] [2, 3].")];
        assert_eq!(history(&chat, 1000), ["What is [1]?", "It holds 5 l since [2024] ."]);
    }

    #[test]
    fn long_message_is_shortened_and_the_others_are_kept() {
        let long = format!("START {} END", "x".repeat(100_000));
        for at in 0..4 {
            let mut chat = CHAT;
            chat[at].1 = &long;
            let kept = history(&chat, 1000);
            assert_eq!(kept.len(), 4, "{at}");
            assert!(kept[at].starts_with("START ") && kept[at].ends_with(" END"), "{at}");
            assert!(
                kept[at].contains("characters left out") && kept[at].len() > 3_900,
                "{} bytes at {at}",
                kept[at].len()
            );
            assert!((0..4).all(|other| other == at || kept[other] == CHAT[other].1), "{at}");
        }
    }

    #[test]
    fn several_long_messages_share_the_budget() {
        let long = "y".repeat(50_000);
        // Of 4,000 bytes the newest message takes 4 and three more take 1,000 each, which leaves 996 for the newest of the
        // long ones. The oldest of the three is dropped as an answer without its question.
        let kept =
            history(&[(User, &long), (Assistant, &long), (User, &long), (Assistant, &long), (User, "And?")], 1000);
        assert_eq!(kept.iter().map(String::len).collect::<Vec<_>>(), [1_000, 1_996, 4]);
    }

    #[test]
    fn marker_states_how_much_is_missing() {
        assert_eq!(shortened(&"ä".repeat(1_000), 50), "äää\n[… 994 characters left out …]\näää");
    }

    proptest! {
        #[test]
        fn selection_rules_hold_for_any_history(
            messages in prop::collection::vec((prop_oneof![Just(User), Just(Assistant)], "[a-zä👍 \n]{0,9}", 0..400_usize), 0..12),
            token_budget in 0..1_500_usize,
        ) {
            let messages: Vec<_> = messages.into_iter().map(|(role, word, times)| (role, word.repeat(times))).collect();
            let all = alternating(messages.clone());
            let kept = within_budget(messages, token_budget);
            let bytes: usize = kept.iter().map(|message| message.content.len()).sum();
            prop_assert!(bytes <= token_budget * BYTES_PER_TOKEN, "{bytes} bytes");
            prop_assert!(kept.iter().all(|message| !message.content.trim().is_empty()), "a blank message");
            prop_assert!(kept.first().is_none_or(|first| first.role == User), "an answer first");
            prop_assert!(kept.windows(2).all(|pair| pair[0].role != pair[1].role), "the same role twice");
            // The result is the newest messages, each whole or shortened.
            for (kept, whole) in kept.iter().rev().zip(all.iter().rev()) {
                prop_assert_eq!(kept.role, whole.role);
                let is_short = kept.content.len() < whole.content.len() && kept.content.contains("characters left out");
                prop_assert!(kept.content == whole.content || is_short);
            }
            // A history that fits is unchanged.
            let whole: usize = all.iter().map(|message| message.content.len()).sum();
            if whole <= token_budget * BYTES_PER_TOKEN {
                let start = all.iter().take_while(|message| message.role != User).count();
                prop_assert_eq!(&kept[..], &all[start..]);
            }
            // Four messages always fit, unless the budget is tiny.
            if token_budget * BYTES_PER_TOKEN / SHARES >= MIN_SHORTENED_BYTES {
                let newest = &all[all.len().saturating_sub(SHARES)..];
                let start = newest.iter().take_while(|message| message.role != User).count();
                prop_assert!(kept.len() >= newest.len() - start, "{} of {}", kept.len(), newest.len());
            }
        }
    }
}
