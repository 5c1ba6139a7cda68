//! Turns that other connections start in the conversations this one is subscribed to: which of them it may be shown, and when.
//! Pure.
//!
//! The registry announces a turn once, but late when it is busy: `resume` may have found and shown that turn by then. And an
//! announcement may come too early: while the answer to a `resume` is on its way, which may hold the same turn, or after the
//! connection's token has expired.

use crate::{
    domain::{ConversationId, TurnId},
    limits::{MAX_REMEMBERED_TURNS, MAX_WAITING_TURNS_PER_CONNECTION},
    turn::TurnLog,
};
use std::{collections::VecDeque, sync::Arc};

/// The announcements of one connection.
#[derive(Default)]
pub struct Announced {
    /// Announced, and not yet shown.
    waiting: Vec<Arc<TurnLog>>,
    /// The turns that were shown last.
    shown: VecDeque<TurnId>,
}

impl Announced {
    /// The connection is shown this turn, for whatever reason.
    pub fn shows(&mut self, turn: TurnId) {
        if self.was_shown(turn) {
            return;
        }
        if self.shown.len() == MAX_REMEMBERED_TURNS {
            self.shown.pop_front();
        }
        self.shown.push_back(turn);
    }

    pub fn was_shown(&self, turn: TurnId) -> bool {
        self.shown.contains(&turn)
    }

    /// Another connection started a turn. It waits until [`Announced::take_ready`] returns it.
    pub fn announce(&mut self, turn: Arc<TurnLog>) {
        if self.waiting.len() == MAX_WAITING_TURNS_PER_CONNECTION {
            self.waiting.remove(0);
        }
        self.waiting.push(turn);
    }

    /// Returns the announced turns that may be shown now, in the order in which they began; none that was shown before. Those of
    /// a conversation with a pending `resume` wait for its answer.
    pub fn take_ready(&mut self, is_resuming: impl Fn(ConversationId) -> bool) -> Vec<Arc<TurnLog>> {
        if self.waiting.is_empty() {
            return Vec::new();
        }
        let all = std::mem::take(&mut self.waiting);
        let is_early = |turn: &Arc<TurnLog>| is_resuming(turn.subject.conversation_id);
        let (early, mut ready): (Vec<_>, Vec<_>) = all.into_iter().partition(is_early);
        self.waiting = early;
        ready.retain(|turn| !self.was_shown(turn.subject.turn_id));
        ready
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{domain::UserId, turn::TurnSubject};

    fn turn_in(conversation_id: ConversationId) -> Arc<TurnLog> {
        TurnLog::new(TurnSubject { turn_id: TurnId::new(), conversation_id, user_id: UserId::new() })
    }

    fn ids(turns: &[Arc<TurnLog>]) -> Vec<TurnId> {
        turns.iter().map(|turn| turn.subject.turn_id).collect()
    }

    #[test]
    fn an_announcement_waits_while_its_conversation_is_being_resumed() {
        let (mut announced, here, elsewhere) = (Announced::default(), ConversationId::new(), ConversationId::new());
        let (turn, other) = (turn_in(here), turn_in(elsewhere));
        announced.announce(Arc::clone(&turn));
        announced.announce(Arc::clone(&other));
        let is_resuming = |conversation| conversation == here;
        assert_eq!(ids(&announced.take_ready(is_resuming)), ids(&[other]));
        assert!(announced.take_ready(is_resuming).is_empty());
        assert_eq!(ids(&announced.take_ready(|_| false)), ids(&[turn]));
        assert!(announced.take_ready(|_| false).is_empty());
    }

    #[test]
    fn a_turn_that_a_resume_has_shown_is_not_announced() {
        let (mut announced, conversation) = (Announced::default(), ConversationId::new());
        let (early, late, next) = (turn_in(conversation), turn_in(conversation), turn_in(conversation));
        announced.announce(Arc::clone(&early));
        announced.shows(early.subject.turn_id);
        announced.shows(late.subject.turn_id);
        assert!(announced.take_ready(|_| false).is_empty());
        announced.announce(late);
        announced.announce(Arc::clone(&next));
        assert_eq!(ids(&announced.take_ready(|_| false)), ids(&[next]));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let (mut announced, conversation) = (Announced::default(), ConversationId::new());
        let turns: Vec<_> = (0..MAX_WAITING_TURNS_PER_CONNECTION + 1).map(|_| turn_in(conversation)).collect();
        for turn in &turns {
            announced.announce(Arc::clone(turn));
            announced.shows(turn.subject.turn_id);
            announced.shows(turn.subject.turn_id);
        }
        assert_eq!((announced.waiting.len(), announced.shown.len()), (turns.len() - 1, MAX_REMEMBERED_TURNS));
        assert!(
            !announced.was_shown(turns[0].subject.turn_id)
                && announced.was_shown(turns[turns.len() - 1].subject.turn_id)
        );
    }
}
