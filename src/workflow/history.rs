//! Which earlier messages of a conversation the model gets to see.

use crate::{domain::MessageRole, provider::HistoryMessage};

/// A token is about four bytes of English text; exact counts differ from model to model.
const BYTES_PER_TOKEN: usize = 4;

/// The latest messages that fit into `token_budget`, oldest first. The first of them is the user's: an answer without its
/// question would only confuse.
pub fn within_budget(messages: Vec<(MessageRole, String)>, token_budget: usize) -> Vec<HistoryMessage> {
    let mut left = token_budget.saturating_mul(BYTES_PER_TOKEN);
    let fitting = messages.iter().rev().take_while(|(_, content)| {
        let fits = content.len() <= left;
        left = left.saturating_sub(content.len());
        fits
    });
    let skipped = messages.len() - fitting.count();
    messages
        .into_iter()
        .skip(skipped)
        .skip_while(|(role, _)| *role != MessageRole::User)
        .map(|(role, content)| HistoryMessage { role, content })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use MessageRole::{Assistant, User};

    fn kept(token_budget: usize) -> Vec<String> {
        let messages =
            [(User, "first question"), (Assistant, "first answer"), (User, "second question"), (Assistant, "yes")];
        let messages = messages.map(|(role, content)| (role, content.to_owned())).to_vec();
        within_budget(messages, token_budget).into_iter().map(|message| message.content).collect()
    }

    #[test]
    fn the_latest_messages_win() {
        assert_eq!(kept(1000).len(), 4);
        assert_eq!(kept(5), ["second question", "yes"]);
        assert!(kept(0).is_empty());
    }

    #[test]
    fn an_answer_without_its_question_is_left_out() {
        assert_eq!(kept(8), ["second question", "yes"]);
    }
}
