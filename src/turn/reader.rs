//! A reader of one turn that is no actor: an HTTP answer.

use super::{Cursor, Following, Mailbox, Outbox, Outgoing, Style, TurnEvent, TurnLog};
use crate::{
    limits::{SESSION_ROOM_BYTES, TURN_EVENTS_WAITING},
    metrics::Metrics,
    protocol::Dialect,
};
use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::mpsc;

/// Follows a turn; dropping it leaves the turn alone.
pub struct TurnReader {
    events: mpsc::Receiver<TurnEvent>,
    following: Following,
    waiting: VecDeque<Outgoing>,
}

impl TurnReader {
    /// Reads a turn from `cursor` on.
    pub fn new(turn: Arc<TurnLog>, cursor: Cursor, metrics: Arc<Metrics>) -> Self {
        let (sender, events) = mpsc::channel(TURN_EVENTS_WAITING);
        let mut waiting = VecDeque::new();
        let follower = Mailbox::new(sender).counted(metrics).follower();
        let style = Style { dialect: Dialect::V2, coalesce: Duration::ZERO };
        let following = with_room(&mut waiting, |outbox| Following::start(turn, follower, style, cursor, outbox));
        Self { events, following, waiting }
    }

    pub fn turn(&self) -> &Arc<TurnLog> {
        self.following.turn()
    }

    /// The next frame; none behind the terminal one.
    pub async fn next(&mut self) -> Option<Outgoing> {
        while self.waiting.is_empty() && !self.following.has_ended() {
            let Self { events, following, waiting } = self;
            if following.is_behind() {
                with_room(waiting, |outbox| following.catch_up(outbox));
            } else {
                let event = events.recv().await?;
                with_room(waiting, |outbox| following.on_event(event, outbox));
            }
        }
        self.waiting.pop_front()
    }
}

/// Reads with the room of somebody who has taken everything so far.
fn with_room<T>(waiting: &mut VecDeque<Outgoing>, read: impl FnOnce(&mut Outbox<'_>) -> T) -> T {
    let put = &mut |outgoing| waiting.push_back(outgoing);
    read(&mut Outbox { now: Instant::now(), room: &mut { SESSION_ROOM_BYTES }, put })
}
