//! Reader of one turn for HTTP responses, which have no actor.

use super::{
    Cursor, Encoder, Mailbox, Outbox, Outgoing, ReplayStart, SubscribedTurn, Subscription, SubscriptionOptions,
    TurnEvent, TurnLog,
};
use crate::{
    limits::{CONNECTION_CREDIT_BYTES, TURN_QUEUE_EVENTS},
    metrics::Metrics,
};
use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::mpsc;

/// Subscribes to a turn and yields its frames. Dropping it ends the subscription; the turn goes on.
pub struct TurnReader {
    events: mpsc::Receiver<TurnEvent>,
    subscription: Subscription,
    ready: VecDeque<Outgoing>,
}

impl TurnReader {
    /// Starts reading at `cursor`.
    pub fn new(turn: Arc<TurnLog>, cursor: Cursor, encoder: &'static dyn Encoder, metrics: Arc<Metrics>) -> Self {
        let (sender, events) = mpsc::channel(TURN_QUEUE_EVENTS);
        let mut ready = VecDeque::new();
        let subscriber = Mailbox::new(sender).with_metrics(metrics).subscriber();
        let options = SubscriptionOptions { encoder, coalesce: Duration::ZERO };
        let start = ReplayStart { cursor, state: turn.state(), reload_history: false, client_message_id: None };
        let subscription =
            with_credit(&mut ready, |outbox| Subscription::resume(turn, subscriber, options, 1, start, outbox));
        Self { events, subscription, ready }
    }

    pub fn turn(&self) -> &Arc<TurnLog> {
        self.subscription.turn()
    }

    /// Returns the turn with this reader's position in it, for connection statistics.
    pub fn subscribed(&self) -> SubscribedTurn {
        self.subscription.subscribed()
    }

    /// Returns the next frame, and `None` after the terminal one.
    pub async fn next(&mut self) -> Option<Outgoing> {
        while self.ready.is_empty() && !self.subscription.has_ended() {
            let Self { events, subscription, ready } = self;
            if subscription.is_lagging() {
                with_credit(ready, |outbox| subscription.catch_up(outbox));
            } else {
                let event = events.recv().await?;
                with_credit(ready, |outbox| subscription.on_event(&event, outbox));
            }
        }
        self.ready.pop_front()
    }
}

/// Reads with full credit: every frame before was taken.
fn with_credit<T>(ready: &mut VecDeque<Outgoing>, read: impl FnOnce(&mut Outbox<'_>) -> T) -> T {
    let put = &mut |outgoing| ready.push_back(outgoing);
    read(&mut Outbox { now: Instant::now(), credit: &mut { CONNECTION_CREDIT_BYTES }, put })
}
