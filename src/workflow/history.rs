//! The earlier messages of a conversation that the model gets to see, within a budget of tokens.
//!
//! 1. Messages without text (a failed, cancelled or empty answer) are left out; neighbours of the same role become one message, and
//!    the first is the user's: strict servers reject anything else.
//! 2. The newest messages win. One that is longer than a quarter of the budget counts as a quarter, so that a long message does not
//!    make the model forget everything before it.
//! 3. What is left of the budget goes to the messages that count as a quarter, the newest first. One that still does not fit is
//!    shortened: its start and its end stay, with a mark between them that says so.

use crate::domain::{HistoryMessage, MessageRole};

/// A token is about four bytes of English text; exact counts differ from model to model.
const BYTES_PER_TOKEN: usize = 4;
/// One message takes no more than this share of the budget while others need it.
const SHARES: usize = 4;
/// The smallest share to which a message is shortened, in bytes. With a smaller one, a message fits as it is or not at all.
const MIN_SHORTENED_BYTES: usize = 160;

/// The messages that fit into `token_budget`, oldest first.
pub fn within_budget(messages: Vec<(MessageRole, String)>, token_budget: usize) -> Vec<HistoryMessage> {
    let budget = token_budget.saturating_mul(BYTES_PER_TOKEN);
    let mut messages = taking_turns(messages);
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

/// Leaves out blank messages and joins neighbours of the same role.
fn taking_turns(messages: Vec<(MessageRole, String)>) -> Vec<HistoryMessage> {
    let mut turns: Vec<HistoryMessage> = Vec::with_capacity(messages.len());
    for (role, content) in messages {
        if content.trim().is_empty() {
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

/// Bytes of each message that fit, for as many as fit at all. `lengths` and the result: newest first.
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

/// The start and the end of a text, with a mark between them, in no more than `max_bytes`.
fn shortened(text: &str, max_bytes: usize) -> String {
    let mark = |chars: usize| format!("\n[… {chars} characters left out …]\n");
    // As long as the mark can be.
    let room = max_bytes.saturating_sub(mark(text.len()).len());
    let head = text.floor_char_boundary(room / 2);
    let tail = text.ceil_char_boundary(text.len() - (room - room / 2));
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
    fn the_latest_messages_win() {
        assert_eq!(history(&CHAT, 1000).len(), 4);
        assert_eq!(history(&CHAT, 5), ["second question", "yes"]);
        assert!(history(&CHAT, 0).is_empty());
    }

    #[test]
    fn an_answer_without_its_question_is_left_out() {
        assert_eq!(history(&CHAT, 8), ["second question", "yes"]);
    }

    #[test]
    fn an_answer_without_text_is_left_out_and_its_question_joins_the_next() {
        let failed =
            [(Assistant, "Hi!"), (User, "One?"), (Assistant, ""), (User, "Two?"), (Assistant, " \n"), (User, "Three?")];
        assert_eq!(history(&failed, 1000), ["One?\n\nTwo?\n\nThree?"]);
        assert!(history(&[(User, "   "), (Assistant, "")], 1000).is_empty());
    }

    #[test]
    fn one_long_message_is_shortened_and_the_others_stay() {
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
    fn several_long_messages_share() {
        let long = "y".repeat(50_000);
        // 4,000 bytes: the newest takes 4, three more 1,000 each, which leaves 996 for the newest of the long ones. The first of the
        // three is an answer without its question.
        let kept =
            history(&[(User, &long), (Assistant, &long), (User, &long), (Assistant, &long), (User, "And?")], 1000);
        assert_eq!(kept.iter().map(String::len).collect::<Vec<_>>(), [1_000, 1_996, 4]);
    }

    #[test]
    fn a_mark_says_how_much_is_missing() {
        assert_eq!(shortened(&"ä".repeat(1_000), 50), "äää\n[… 994 characters left out …]\näää");
    }

    proptest! {
        #[test]
        fn the_rules_hold(
            messages in prop::collection::vec((prop_oneof![Just(User), Just(Assistant)], "[a-zä👍 \n]{0,9}", 0..400_usize), 0..12),
            token_budget in 0..1_500_usize,
        ) {
            let messages: Vec<_> = messages.into_iter().map(|(role, word, times)| (role, word.repeat(times))).collect();
            let all = taking_turns(messages.clone());
            let kept = within_budget(messages, token_budget);
            let bytes: usize = kept.iter().map(|message| message.content.len()).sum();
            prop_assert!(bytes <= token_budget * BYTES_PER_TOKEN, "{bytes} bytes");
            prop_assert!(kept.iter().all(|message| !message.content.trim().is_empty()), "a blank message");
            prop_assert!(kept.first().is_none_or(|first| first.role == User), "an answer first");
            prop_assert!(kept.windows(2).all(|pair| pair[0].role != pair[1].role), "the same role twice");
            // The newest messages, each as it was or shortened.
            for (kept, whole) in kept.iter().rev().zip(all.iter().rev()) {
                prop_assert_eq!(kept.role, whole.role);
                let is_short = kept.content.len() < whole.content.len() && kept.content.contains("characters left out");
                prop_assert!(kept.content == whole.content || is_short);
            }
            // Everything that fits is there, unchanged.
            let whole: usize = all.iter().map(|message| message.content.len()).sum();
            if whole <= token_budget * BYTES_PER_TOKEN {
                let start = all.iter().take_while(|message| message.role != User).count();
                prop_assert_eq!(&kept[..], &all[start..]);
            }
            // Four messages always have a place, unless the budget is tiny.
            if token_budget * BYTES_PER_TOKEN / SHARES >= MIN_SHORTENED_BYTES {
                let newest = &all[all.len().saturating_sub(SHARES)..];
                let start = newest.iter().take_while(|message| message.role != User).count();
                prop_assert!(kept.len() >= newest.len() - start, "{} of {}", kept.len(), newest.len());
            }
        }
    }
}
