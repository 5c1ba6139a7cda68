//! Announced turns, started by other connections in conversations to which this one is subscribed. Decides which of them to
//! show, and when. Pure.
//!
//! The registry announces each turn once, but not at a fixed time. A late announcement may concern a turn that `resume` has
//! shown already. An early one has to wait: for a pending `resume`, whose answer may contain the same turn, or for a new token
//! when the current one has expired.

use crate::{
    domain::{ConversationId, TurnId},
    limits::{MAX_REMEMBERED_TURNS, MAX_WAITING_TURNS_PER_CONNECTION},
    turn::TurnLog,
};
use std::sync::Arc;

/// The announcements of one connection.
#[derive(Default)]
pub struct Announcements {
    /// Announced and not yet shown.
    waiting: Vec<Arc<TurnLog>>,
    /// The most recently shown turns.
    shown: Vec<TurnId>,
}

impl Announcements {
    /// Records that this connection shows a turn, announced or not.
    pub fn mark_shown(&mut self, turn: TurnId) {
        if self.was_shown(turn) {
            return;
        }
        if self.shown.len() == MAX_REMEMBERED_TURNS {
            self.shown.remove(0);
        }
        self.shown.push(turn);
    }

    pub fn was_shown(&self, turn: TurnId) -> bool {
        self.shown.contains(&turn)
    }

    /// Adds a turn that another connection started. It waits until [`Announcements::take_ready`] returns it.
    pub fn announce(&mut self, turn: Arc<TurnLog>) {
        if self.waiting.len() == MAX_WAITING_TURNS_PER_CONNECTION {
            self.waiting.remove(0);
        }
        self.waiting.push(turn);
    }

    /// Returns the announced turns that can be shown now, oldest first, without those that were shown before. Turns of a
    /// conversation with a pending `resume` keep waiting.
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
    fn announcement_waits_for_a_pending_resume() {
        let (mut announced, here, elsewhere) = (Announcements::default(), ConversationId::new(), ConversationId::new());
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
    fn announced_turn_is_not_shown_twice() {
        let (mut announced, conversation) = (Announcements::default(), ConversationId::new());
        let (early, late, next) = (turn_in(conversation), turn_in(conversation), turn_in(conversation));
        announced.announce(Arc::clone(&early));
        announced.mark_shown(early.subject.turn_id);
        announced.mark_shown(late.subject.turn_id);
        assert!(announced.take_ready(|_| false).is_empty());
        announced.announce(late);
        announced.announce(Arc::clone(&next));
        assert_eq!(ids(&announced.take_ready(|_| false)), ids(&[next]));
    }

    #[test]
    fn waiting_and_remembered_turns_are_bounded() {
        let (mut announced, conversation) = (Announcements::default(), ConversationId::new());
        let turns: Vec<_> = (0..MAX_WAITING_TURNS_PER_CONNECTION + 1).map(|_| turn_in(conversation)).collect();
        for turn in &turns {
            announced.announce(Arc::clone(turn));
            announced.mark_shown(turn.subject.turn_id);
            announced.mark_shown(turn.subject.turn_id);
        }
        assert_eq!((announced.waiting.len(), announced.shown.len()), (turns.len() - 1, MAX_REMEMBERED_TURNS));
        assert!(
            !announced.was_shown(turns[0].subject.turn_id)
                && announced.was_shown(turns[turns.len() - 1].subject.turn_id)
        );
    }
}
