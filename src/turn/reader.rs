//! A reader of one turn that is no actor: an HTTP answer.

use super::{Cursor, Following, Mailbox, Outgoing, TurnEvent, TurnLog};
use crate::{limits::TURN_EVENTS_WAITING, protocol::Dialect};
use std::{collections::VecDeque, sync::Arc};
use tokio::sync::mpsc;

/// Follows a turn; dropping it leaves the turn alone.
pub struct TurnReader {
    events: mpsc::Receiver<TurnEvent>,
    following: Following,
    waiting: VecDeque<Outgoing>,
}

impl TurnReader {
    /// Reads a turn from `cursor` on.
    pub fn new(turn: Arc<TurnLog>, cursor: Cursor) -> Self {
        let (sender, events) = mpsc::channel(TURN_EVENTS_WAITING);
        let mut waiting = VecDeque::new();
        let follower = Mailbox::new(sender).follower();
        let following = Following::start(turn, follower, Dialect::V2, cursor, &mut |frame| waiting.push_back(frame));
        Self { events, following, waiting }
    }

    pub fn turn(&self) -> &Arc<TurnLog> {
        self.following.turn()
    }

    /// The next frame; none behind the terminal one.
    pub async fn next(&mut self) -> Option<Outgoing> {
        while self.waiting.is_empty() && !self.following.has_ended() {
            let event = self.events.recv().await?;
            let waiting = &mut self.waiting;
            self.following.on_event(event, &mut |frame| waiting.push_back(frame));
        }
        self.waiting.pop_front()
    }
}
