//! The reasoning of a model within a turn: a step for clients, the text if the settings say so, never part of the answer.

use super::progress::progress;
use crate::{
    config::{Reasoning, WorkflowConfig},
    limits::MAX_REASONING_BYTES,
    turn::TurnLog,
};
use std::sync::Arc;
use switchboard_protocol::Step;

/// The reasoning of one turn.
pub(super) struct TurnReasoning {
    is_shown: bool,
    is_kept: bool,
    has_begun: bool,
    bytes: usize,
    kept: String,
}

impl TurnReasoning {
    pub fn new(config: &WorkflowConfig) -> Self {
        let is_shown = config.reasoning == Reasoning::Shown;
        Self { is_shown, is_kept: config.keep_reasoning, has_begun: false, bytes: 0, kept: String::new() }
    }

    /// Handles the next piece. The part beyond [`MAX_REASONING_BYTES`] is dropped.
    pub fn push(&mut self, delta: &str, log: &Arc<TurnLog>) {
        if !self.has_begun && log.with_tokens(|tokens| tokens.count() == 0) {
            log.announce(progress(Step::Thinking, "Thinking…"));
        }
        self.has_begun = true;
        self.bytes += delta.len();
        if self.bytes > MAX_REASONING_BYTES {
            return;
        }
        if self.is_shown {
            log.append_reasoning(delta);
        }
        if self.is_kept {
            self.kept.push_str(delta);
        }
    }

    /// Returns the text to store with the answer.
    pub fn into_kept(self) -> Option<String> {
        Some(self.kept).filter(|text| !text.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::{ConversationId, TurnId, UserId},
        turn::{Cursor, Entry, TurnSubject},
    };

    fn entries(log: &Arc<TurnLog>) -> Vec<String> {
        log.with_entries(|entries| {
            let (mut cursor, mut found) = (Cursor::default(), Vec::new());
            while let Some((entry, after)) = entries.next(cursor, 1) {
                cursor = after;
                found.push(match entry {
                    Entry::Progress(progress) => progress.message.clone(),
                    Entry::Reasoning(delta) => delta.to_owned(),
                    other => format!("{other:?}"),
                });
            }
            found
        })
    }

    fn pushed(reasoning: Reasoning, keep_reasoning: bool, deltas: &[&str]) -> (Vec<String>, Option<String>) {
        let log = TurnLog::new(TurnSubject {
            turn_id: TurnId::new(),
            conversation_id: ConversationId::new(),
            user_id: UserId::new(),
        });
        let mut turn = TurnReasoning::new(&WorkflowConfig { reasoning, keep_reasoning, ..WorkflowConfig::default() });
        for delta in deltas {
            turn.push(delta, &log);
        }
        (entries(&log), turn.into_kept())
    }

    #[test]
    fn settings_decide_who_sees_reasoning() {
        let thinking = || "Thinking…".to_owned();
        let deltas = ["Hm, ", "well."];
        assert_eq!(pushed(Reasoning::Hidden, false, &deltas), (vec![thinking()], None));
        assert_eq!(pushed(Reasoning::Hidden, true, &deltas), (vec![thinking()], Some("Hm, well.".to_owned())));
        let shown = vec![thinking(), "Hm, ".to_owned(), "well.".to_owned()];
        assert_eq!(pushed(Reasoning::Shown, false, &deltas), (shown, None));
    }

    #[test]
    fn endless_reasoning_is_cut() {
        let long = "x".repeat(MAX_REASONING_BYTES);
        let (entries, kept) = pushed(Reasoning::Shown, true, &[&long, "more"]);
        assert_eq!((entries.len(), kept.unwrap().len()), (2, MAX_REASONING_BYTES));
    }
}
