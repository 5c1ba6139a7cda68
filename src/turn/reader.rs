//! A reader of one turn that is no actor: an HTTP answer.

use super::{Cursor, FailureMapping, Mailbox, Outbox, Outgoing, Style, Subscription, TurnEvent, TurnLog};
use crate::{
    limits::{CONNECTION_CREDIT_BYTES, TURN_QUEUE_EVENTS},
    metrics::Metrics,
};
use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};
use switchboard_protocol::{Dialect, FieldNames};
use tokio::sync::mpsc;

/// Follows a turn; dropping it leaves the turn alone.
pub struct TurnReader {
    events: mpsc::Receiver<TurnEvent>,
    subscription: Subscription,
    waiting: VecDeque<Outgoing>,
}

impl TurnReader {
    /// Reads a turn from `cursor` on.
    pub fn new(turn: Arc<TurnLog>, cursor: Cursor, metrics: Arc<Metrics>, failures: FailureMapping) -> Self {
        let (sender, events) = mpsc::channel(TURN_QUEUE_EVENTS);
        let mut waiting = VecDeque::new();
        let subscriber = Mailbox::new(sender).counted(metrics).subscriber();
        let style = Style { dialect: Dialect::V2, names: FieldNames::Both, coalesce: Duration::ZERO, failures };
        let subscription =
            with_credit(&mut waiting, |outbox| Subscription::start(turn, subscriber, style, cursor, outbox));
        Self { events, subscription, waiting }
    }

    pub fn turn(&self) -> &Arc<TurnLog> {
        self.subscription.turn()
    }

    /// The next frame; none behind the terminal one.
    pub async fn next(&mut self) -> Option<Outgoing> {
        while self.waiting.is_empty() && !self.subscription.has_ended() {
            let Self { events, subscription, waiting } = self;
            if subscription.is_lagging() {
                with_credit(waiting, |outbox| subscription.catch_up(outbox));
            } else {
                let event = events.recv().await?;
                with_credit(waiting, |outbox| subscription.on_event(event, outbox));
            }
        }
        self.waiting.pop_front()
    }
}

/// Reads with the room of somebody who has taken everything so far.
fn with_credit<T>(waiting: &mut VecDeque<Outgoing>, read: impl FnOnce(&mut Outbox<'_>) -> T) -> T {
    let put = &mut |outgoing| waiting.push_back(outgoing);
    read(&mut Outbox { now: Instant::now(), credit: &mut { CONNECTION_CREDIT_BYTES }, put })
}
