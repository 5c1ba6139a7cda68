//! One subscription to one turn: a cursor in its log. Its encoder turns entries into frames.
//!
//! Pure: events and the log go in, encoded frames come out. WebSocket sessions and server-sent events both use it.

use super::{Cursor, Encoder, Entries, ReplayStart, SubscribedAs, Subscriber, TurnEvent, TurnLog};
use crate::domain::TurnId;
use bytestring::ByteString;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// A frame on its way to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    pub frame: ByteString,
    /// The number of tokens in it, for statistics.
    pub tokens: u32,
}

/// A sink for frames with a credit in bytes. The frame that uses up the credit may exceed it.
pub struct Outbox<'a> {
    pub now: Instant,
    pub credit: &'a mut usize,
    pub put: &'a mut dyn FnMut(Outgoing),
}

impl Outbox<'_> {
    fn is_full(&self) -> bool {
        *self.credit == 0
    }

    fn put(&mut self, outgoing: Outgoing) {
        *self.credit = self.credit.saturating_sub(outgoing.frame.len());
        (self.put)(outgoing);
    }
}

/// The form of a subscriber's frames.
#[derive(Clone, Copy)]
pub struct SubscriptionOptions {
    pub encoder: &'static dyn Encoder,
    /// Time after a frame during which new tokens are collected for the next one, if the encoder allows it. Zero disables it.
    pub coalesce: Duration,
}

/// A turn and one of its subscribers, for connection statistics.
#[derive(Clone)]
pub struct SubscribedTurn {
    pub turn: Arc<TurnLog>,
    pub subscriber: Subscriber,
}

pub struct Subscription {
    turn: Arc<TurnLog>,
    subscriber: Subscriber,
    options: SubscriptionOptions,
    /// The number of the subscription on its connection.
    number: u32,
    cursor: Cursor,
    /// Set while tokens are collected in the log for one frame: the time at which that frame is due.
    flush_at: Option<Instant>,
}

impl Subscription {
    /// Subscribes from the start of the turn, and writes the entries so far to `outbox` as far as the credit allows.
    pub fn start(
        turn: Arc<TurnLog>,
        subscriber: Subscriber,
        options: SubscriptionOptions,
        number: u32,
        outbox: &mut Outbox<'_>,
    ) -> Self {
        Self::begin(turn, subscriber, options, number, Cursor::default(), outbox)
    }

    /// Announces a replay to the client, then subscribes from where it starts.
    pub fn resume(
        turn: Arc<TurnLog>,
        subscriber: Subscriber,
        options: SubscriptionOptions,
        number: u32,
        start: ReplayStart<'_>,
        outbox: &mut Outbox<'_>,
    ) -> Self {
        if let Some(frame) = options.encoder.replay(SubscribedAs { subject: &turn.subject, number }, start) {
            outbox.put(Outgoing { frame, tokens: 0 });
        }
        Self::begin(turn, subscriber, options, number, start.cursor, outbox)
    }

    fn begin(
        turn: Arc<TurnLog>,
        subscriber: Subscriber,
        options: SubscriptionOptions,
        number: u32,
        cursor: Cursor,
        outbox: &mut Outbox<'_>,
    ) -> Self {
        subscriber.start_at(cursor.next_seq);
        let mut subscription =
            Self { turn: Arc::clone(&turn), subscriber: subscriber.clone(), options, number, cursor, flush_at: None };
        turn.subscribe(&subscriber, |entries| subscription.write(entries, outbox));
        subscription
    }

    /// Handles an event from the mailbox. An event that is not the next one makes the subscription read the log, so that missing
    /// entries are written first.
    pub fn on_event(&mut self, event: &TurnEvent, outbox: &mut Outbox<'_>) {
        if event.is_text && self.flush_at.is_some_and(|until| outbox.now < until) {
            return;
        }
        let next_index = self.cursor.index();
        if self.flush_at.is_some() || self.subscriber.is_lagging() || event.index > next_index {
            return self.catch_up(outbox);
        }
        if event.index < next_index {
            return;
        }
        if outbox.is_full() {
            return self.subscriber.mark_lagging();
        }
        let turn = Arc::clone(&self.turn);
        turn.with_entries(|entries| self.write_next(entries, 1, outbox));
        if event.is_text {
            self.start_coalescing(outbox.now);
        }
    }

    pub fn has_ended(&self) -> bool {
        self.cursor.ended
    }

    pub fn turn(&self) -> &Arc<TurnLog> {
        &self.turn
    }

    pub fn is_of(&self, turn_id: TurnId) -> bool {
        self.turn.subject.turn_id == turn_id
    }

    /// The number of the subscription on its connection.
    pub fn number(&self) -> u32 {
        self.number
    }

    pub fn subscribed(&self) -> SubscribedTurn {
        SubscribedTurn { turn: Arc::clone(&self.turn), subscriber: self.subscriber.clone() }
    }

    pub fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// Records that a ping was sent after everything written so far.
    pub fn pinged(&self) {
        self.subscriber.pinged();
    }

    /// Records that the ping was answered.
    pub fn acknowledged(&self) {
        self.subscriber.acknowledged();
    }

    /// Whether a backlog is waiting in the log. Call [`Subscription::catch_up`] then, once there is credit.
    pub fn is_lagging(&self) -> bool {
        self.subscriber.is_lagging()
    }

    /// When the collected tokens are due; call [`Subscription::catch_up`] then.
    pub fn flush_at(&self) -> Option<Instant> {
        self.flush_at
    }

    /// Writes the backlog, as far as the credit allows.
    pub fn catch_up(&mut self, outbox: &mut Outbox<'_>) {
        self.flush_at = None;
        let (turn, subscriber, next_seq) = (Arc::clone(&self.turn), self.subscriber.clone(), self.cursor.next_seq);
        turn.catch_up(&subscriber, |entries| self.write(entries, outbox));
        if self.cursor.next_seq > next_seq {
            self.start_coalescing(outbox.now);
        }
    }

    /// Called after a frame with tokens: collects the next tokens for one frame.
    fn start_coalescing(&mut self, now: Instant) {
        let is_live = !self.cursor.ended && !self.subscriber.is_lagging();
        if is_live && !self.options.coalesce.is_zero() && self.options.encoder.coalesces() {
            self.flush_at = Some(now + self.options.coalesce);
            self.subscriber.start_coalescing();
        }
    }

    /// Writes the unread entries, with tokens joined; returns whether the credit sufficed for all of them.
    fn write(&mut self, entries: Entries<'_>, outbox: &mut Outbox<'_>) -> bool {
        while entries.next(self.cursor, 1).is_some() {
            if outbox.is_full() {
                return false;
            }
            self.write_next(entries, u32::MAX, outbox);
        }
        true
    }

    /// Writes the next entry, if there is one.
    fn write_next(&mut self, entries: Entries<'_>, max_tokens: u32, outbox: &mut Outbox<'_>) {
        let Some((entry, after)) = entries.next(self.cursor, max_tokens) else { return };
        let tokens = after.next_seq - self.cursor.next_seq;
        self.cursor = after;
        self.subscriber.advance_to(after.next_seq);
        let turn = SubscribedAs { subject: &self.turn.subject, number: self.number };
        if let Some(frame) = self.options.encoder.entry(turn, &entry, after) {
            outbox.put(Outgoing { frame, tokens });
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if !self.cursor.ended {
            self.turn.unsubscribe(&self.subscriber);
        }
    }
}

#[cfg(test)]
mod tests;
