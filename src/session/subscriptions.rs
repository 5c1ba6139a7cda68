//! The subscriptions of a session, and the credit for their frames.

use super::effect::{Effect, send};
use crate::{
    connection::Now,
    domain::TurnId,
    limits::CONNECTION_CREDIT_BYTES,
    turn::{Mailbox, Outbox, ReplayStart, Subscription, SubscriptionOptions, TurnEvent, TurnLog},
};
use std::{sync::Arc, time::Instant};
use switchboard_protocol::{Heartbeat, ServerFrame, TurnHead};

pub struct Subscriptions {
    options: SubscriptionOptions,
    mailbox: Mailbox,
    /// The number of subscriptions so far, which is the number of the last one.
    count: u32,
    /// Few, so that a linear search is faster than a hash table.
    turns: Vec<Subscription>,
    /// The bytes that may be sent before the connection polls again.
    credit: usize,
    /// The earliest time at which collected tokens are due.
    next_flush: Option<Instant>,
}

/// Whether the end of a turn was sent.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnyEnded(pub bool);

impl Subscriptions {
    pub fn new(options: SubscriptionOptions, mailbox: Mailbox) -> Self {
        Self { options, mailbox, count: 0, turns: Vec::new(), credit: CONNECTION_CREDIT_BYTES, next_flush: None }
    }

    pub fn len(&self) -> usize {
        self.turns.len()
    }

    pub fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }

    /// Shows a turn from its start.
    pub fn subscribe(&mut self, turn: Arc<TurnLog>, now: Now, effects: &mut Vec<Effect>) {
        self.add(now, effects, |options, mailbox, number, outbox| {
            Subscription::start(turn, mailbox.subscriber(), options, number, outbox)
        });
    }

    /// Announces a replay of a turn, and shows the turn from there on.
    pub fn resume(&mut self, turn: Arc<TurnLog>, start: ReplayStart<'_>, now: Now, effects: &mut Vec<Effect>) {
        self.add(now, effects, |options, mailbox, number, outbox| {
            Subscription::resume(turn, mailbox.subscriber(), options, number, start, outbox)
        });
    }

    fn add(
        &mut self,
        now: Now,
        effects: &mut Vec<Effect>,
        subscribe: impl FnOnce(SubscriptionOptions, &Mailbox, u32, &mut Outbox<'_>) -> Subscription,
    ) {
        self.count += 1;
        let put = &mut |outgoing| effects.push(Effect::Send(outgoing));
        let mut outbox = Outbox { now: now.instant, credit: &mut self.credit, put };
        let subscription = subscribe(self.options, &self.mailbox, self.count, &mut outbox);
        if !subscription.has_ended() {
            effects.push(Effect::Subscribed(subscription.subscribed()));
            // Most sessions have one subscription at a time, but a `Vec` starts with a capacity of four.
            self.turns.reserve_exact(1);
            self.turns.push(subscription);
        }
    }

    pub fn unsubscribe(&mut self, turn_id: TurnId, effects: &mut Vec<Effect>) {
        if let Some(index) = self.turns.iter().position(|subscription| subscription.is_of(turn_id)) {
            let subscription = self.turns.swap_remove(index);
            effects.push(Effect::Unsubscribed(Arc::clone(subscription.turn())));
        }
    }

    /// Handles an event of a turn. A late one, of a turn without a subscription, has no effect.
    pub fn on_event(&mut self, event: TurnEvent, now: Now, effects: &mut Vec<Effect>) -> AnyEnded {
        let mut any_ended = false;
        let turn_id = event.turn.subject.turn_id;
        if let Some(subscription) = self.turns.iter_mut().find(|subscription| subscription.is_of(turn_id)) {
            let put = &mut |outgoing| effects.push(Effect::Send(outgoing));
            subscription.on_event(&event, &mut Outbox { now: now.instant, credit: &mut self.credit, put });
            any_ended = subscription.has_ended();
            self.next_flush = earliest(self.next_flush, subscription.flush_at());
        }
        let AnyEnded(others) = self.read_overflowed(now, effects);
        self.forget_ended(any_ended || others, effects)
    }

    /// Lets lagging subscriptions catch up if the mailbox was full. Call it after every message of the mailbox, because a
    /// full mailbox need not contain an event of the lagging turn.
    pub fn read_overflowed(&mut self, now: Now, effects: &mut Vec<Effect>) -> AnyEnded {
        let any_ended = self.mailbox.take_overflowed() && self.write(now, effects, Subscription::is_lagging);
        self.forget_ended(any_ended, effects)
    }

    /// Sets the credit: the connection has sent everything and may be given `bytes` more.
    pub fn grant_credit(&mut self, bytes: usize) {
        self.credit = bytes;
    }

    pub fn has_credit(&self) -> bool {
        self.credit > 0
    }

    /// Uses credit for a frame that is not of a turn.
    pub fn spend(&mut self, bytes: usize) {
        self.credit = self.credit.saturating_sub(bytes);
    }

    /// Whether a backlog waits for credit.
    pub fn waits_for_credit(&self) -> bool {
        self.credit == 0 && self.turns.iter().any(Subscription::is_lagging)
    }

    /// Continues with the backlogs after new credit.
    pub fn send_more(&mut self, now: Now, effects: &mut Vec<Effect>) -> AnyEnded {
        let any_ended = self.write(now, effects, Subscription::is_lagging);
        self.forget_ended(any_ended, effects)
    }

    /// When to call [`Subscriptions::flush`] next.
    pub fn next_flush(&self) -> Option<Instant> {
        self.next_flush
    }

    /// Sends collected tokens that are due.
    pub fn flush(&mut self, now: Now, effects: &mut Vec<Effect>) -> AnyEnded {
        if self.next_flush.is_none_or(|at| now.instant < at) {
            return AnyEnded(false);
        }
        self.next_flush = None;
        let is_due = |subscription: &Subscription| subscription.flush_at().is_some_and(|until| until <= now.instant);
        let any_ended = self.write(now, effects, is_due);
        self.next_flush = self.turns.iter().filter_map(Subscription::flush_at).min();
        self.forget_ended(any_ended, effects)
    }

    /// Records that a ping was sent after everything written so far.
    pub fn pinged(&self) {
        self.turns.iter().for_each(Subscription::pinged);
    }

    /// Records that the ping was answered.
    pub fn acknowledged(&self) {
        self.turns.iter().for_each(Subscription::acknowledged);
    }

    /// Sends the last seq of each running turn, by which a client detects a lost frame.
    pub fn send_heads(&mut self, now: Now, effects: &mut Vec<Effect>) -> AnyEnded {
        let any_ended = self.write(now, effects, |_| true);
        let any_ended = self.forget_ended(any_ended, effects);
        // A turn without a step may still be refused.
        let turns = self.turns.iter().filter(|subscription| subscription.cursor().items > 0);
        let turns: Vec<_> = turns
            .map(|subscription| TurnHead {
                turn_id: subscription.turn().subject.turn_id,
                turn: subscription.number(),
                conversation_id: subscription.turn().subject.conversation_id,
                seq: i64::from(subscription.cursor().next_seq) - 1,
            })
            .collect();
        if !turns.is_empty() {
            effects.push(send(ServerFrame::Heartbeat(Heartbeat { turns })));
        }
        any_ended
    }

    fn write(&mut self, now: Now, effects: &mut Vec<Effect>, which: impl Fn(&Subscription) -> bool) -> bool {
        let put = &mut |outgoing| effects.push(Effect::Send(outgoing));
        let mut outbox = Outbox { now: now.instant, credit: &mut self.credit, put };
        let mut any_ended = false;
        for subscription in self.turns.iter_mut().filter(|subscription| which(subscription)) {
            subscription.catch_up(&mut outbox);
            any_ended |= subscription.has_ended();
            self.next_flush = earliest(self.next_flush, subscription.flush_at());
        }
        any_ended
    }

    fn forget_ended(&mut self, any_ended: bool, effects: &mut Vec<Effect>) -> AnyEnded {
        if any_ended {
            let ended = self.turns.extract_if(.., |subscription| subscription.has_ended());
            effects.extend(ended.map(|subscription| Effect::Unsubscribed(Arc::clone(subscription.turn()))));
            if self.turns.is_empty() {
                // Frees the memory: connections are idle most of the time.
                self.turns = Vec::new();
            }
        }
        AnyEnded(any_ended)
    }
}

fn earliest(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    [one, other].into_iter().flatten().min()
}
