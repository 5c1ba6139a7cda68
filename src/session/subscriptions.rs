//! The turns that a session follows, and how much of them may go out now.

use super::{effect::Effect, state::Now};
use crate::{
    domain::TurnId,
    limits::CONNECTION_CREDIT_BYTES,
    turn::{Cursor, FrameOptions, Mailbox, Outbox, Outgoing, Subscription, TurnEvent, TurnLog},
};
use std::{sync::Arc, time::Instant};
use switchboard_protocol::{HeadOfTurn, Heartbeat, ServerFrame};

pub struct Subscriptions {
    options: FrameOptions,
    mailbox: Mailbox,
    /// Few: a list is looked through sooner than a table.
    turns: Vec<Subscription>,
    /// Bytes that may still go out before the connection asks for more.
    credit: usize,
    /// When tokens that are being collected have to go out.
    next_flush: Option<Instant>,
}

/// Whether a turn came to its end for this session.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnyEnded(pub bool);

impl Subscriptions {
    pub fn new(options: FrameOptions, mailbox: Mailbox) -> Self {
        Self { options, mailbox, turns: Vec::new(), credit: CONNECTION_CREDIT_BYTES, next_flush: None }
    }

    pub fn options(&self) -> FrameOptions {
        self.options
    }

    pub fn len(&self) -> usize {
        self.turns.len()
    }

    pub fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }

    pub fn subscribe(&mut self, turn: Arc<TurnLog>, cursor: Cursor, now: Now, effects: &mut Vec<Effect>) {
        let put = &mut |outgoing| effects.push(Effect::Send(outgoing));
        let mut outbox = Outbox { now: now.instant, credit: &mut self.credit, put };
        let subscription = Subscription::start(turn, self.mailbox.subscriber(), self.options, cursor, &mut outbox);
        if !subscription.has_ended() {
            effects.push(Effect::Subscribed(subscription.subscribed()));
            // Most sessions follow one at a time; a list that grows by itself begins with room for four.
            self.turns.reserve_exact(1);
            self.turns.push(subscription);
        }
    }

    pub fn unsubscribe(&mut self, turn_id: TurnId, effects: &mut Vec<Effect>) {
        if let Some(place) = self.turns.iter().position(|subscription| subscription.is_of(turn_id)) {
            let subscription = self.turns.swap_remove(place);
            effects.push(Effect::Unsubscribed(Arc::clone(subscription.turn())));
        }
    }

    /// News of a turn. What comes late, of a turn that is not followed any more, says nothing.
    pub fn on_event(&mut self, event: TurnEvent, now: Now, effects: &mut Vec<Effect>) -> AnyEnded {
        let mut any_ended = false;
        let turn_id = event.turn.subject.turn_id;
        if let Some(subscription) = self.turns.iter_mut().find(|subscription| subscription.is_of(turn_id)) {
            let put = &mut |outgoing| effects.push(Effect::Send(outgoing));
            subscription.on_event(event, &mut Outbox { now: now.instant, credit: &mut self.credit, put });
            any_ended = subscription.has_ended();
            self.next_flush = earliest(self.next_flush, subscription.flush_at());
        }
        let AnyEnded(others) = self.read_overflowed(now, effects);
        self.forget_ended(any_ended || others, effects)
    }

    /// Behind everything that comes through the mailbox: what found no room there is read from the logs. No news need be
    /// among what waits when a mailbox is full.
    pub fn read_overflowed(&mut self, now: Now, effects: &mut Vec<Effect>) -> AnyEnded {
        let any_ended = self.mailbox.take_overflowed() && self.write(now, effects, Subscription::is_lagging);
        self.forget_ended(any_ended, effects)
    }

    /// The connection took what there was, and takes so many bytes more.
    pub fn grant_credit(&mut self, bytes: usize) {
        self.credit = bytes;
    }

    /// Whether something waits for the connection to ask for more.
    pub fn waits_for_credit(&self) -> bool {
        self.credit == 0 && self.turns.iter().any(Subscription::is_lagging)
    }

    /// Goes on where there was no room.
    pub fn send_more(&mut self, now: Now, effects: &mut Vec<Effect>) -> AnyEnded {
        let any_ended = self.write(now, effects, Subscription::is_lagging);
        self.forget_ended(any_ended, effects)
    }

    /// When [`Subscriptions::flush`] has to be called next.
    pub fn next_flush(&self) -> Option<Instant> {
        self.next_flush
    }

    /// Sends the tokens that were collected for long enough.
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

    /// The peer is asked for a sign of life, behind all that was written so far.
    pub fn pinged(&self) {
        self.turns.iter().for_each(Subscription::pinged);
    }

    /// The sign has come.
    pub fn acknowledged(&self) {
        self.turns.iter().for_each(Subscription::acknowledged);
    }

    /// Tells how far each running turn has come, so that who has less knows that something was lost.
    pub fn send_heads(&mut self, now: Now, effects: &mut Vec<Effect>) -> AnyEnded {
        let any_ended = self.write(now, effects, |_| true);
        let any_ended = self.forget_ended(any_ended, effects);
        // Of a turn without a step nobody knows yet whether it begins.
        let turns = self.turns.iter().filter(|subscription| subscription.cursor().progress > 0);
        let turns: Vec<_> = turns
            .map(|subscription| HeadOfTurn {
                turn_id: subscription.turn().subject.turn_id,
                conversation_id: subscription.turn().subject.conversation_id,
                seq: i64::from(subscription.cursor().next_seq) - 1,
            })
            .collect();
        if !turns.is_empty() {
            effects.push(Effect::Send(Outgoing::from(ServerFrame::Heartbeat(Heartbeat { turns }))));
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
                // A session waits for long after an answer.
                self.turns = Vec::new();
            }
        }
        AnyEnded(any_ended)
    }
}

fn earliest(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    [one, other].into_iter().flatten().min()
}
