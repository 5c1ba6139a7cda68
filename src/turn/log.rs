//! The log of a turn: its entries, in append-only order. One task appends; any thread reads.

use super::{Cursor, Entries, Item, Progress, Subscriber, Tokens, TurnEnd, TurnEvent, entry::PlacedItem, stored_items};
use crate::domain::{ConversationId, Part, TurnId, UserId};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use switchboard_protocol::{Step, TurnState};

/// The ids of a turn, its conversation and its user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TurnSubject {
    pub turn_id: TurnId,
    pub conversation_id: ConversationId,
    pub user_id: UserId,
}

/// The log of one turn.
pub struct TurnLog {
    pub subject: TurnSubject,
    state: Mutex<LogState>,
}

#[derive(Default)]
struct LogState {
    items: Vec<PlacedItem>,
    /// The step of the last progress entry.
    step: Option<Step>,
    tokens: Tokens,
    end: Option<Arc<TurnEnd>>,
    /// Empty once the turn has ended.
    subscribers: Vec<Subscriber>,
    /// When the last subscriber left; `None` while there is one.
    without_subscribers_since: Option<Instant>,
}

impl TurnLog {
    /// Creates the empty log of a new turn.
    pub fn new(subject: TurnSubject) -> Arc<Self> {
        let state = LogState { without_subscribers_since: Some(Instant::now()), ..LogState::default() };
        Arc::new(Self { subject, state: Mutex::new(state) })
    }

    /// Rebuilds the log of an ended turn from the store. Of its steps, only the first comes back, with the question; `items` is what
    /// [`TurnLog::items_to_store`] returned.
    pub fn restore(
        subject: TurnSubject,
        starting: Progress,
        tokens: Tokens,
        items: Option<&str>,
        end: TurnEnd,
    ) -> Arc<Self> {
        let mut items = items.and_then(|json| stored_items::from_json(json, tokens.count())).unwrap_or_default();
        let step = Some(starting.step);
        let first = PlacedItem { tokens_before: 0, item: Item::Progress(Box::new(starting)) };
        match items.first_mut() {
            Some(placed) => *placed = first,
            None => items.push(first),
        }
        let state = LogState { items, step, tokens, end: Some(Arc::new(end)), ..LogState::default() };
        Arc::new(Self { subject, state: Mutex::new(state) })
    }

    /// Returns the number of items and, if it is not `known`, the items as JSON for the store.
    pub fn items_to_store(&self, known: Option<usize>) -> (usize, Option<String>) {
        let state = self.lock();
        let count = state.items.len();
        (count, (known != Some(count)).then(|| stored_items::to_json(&state.items)))
    }

    /// Appends the start of a step.
    pub fn announce(self: &Arc<Self>, progress: Progress) {
        self.push(Item::Progress(Box::new(progress)));
    }

    /// Appends text of the model's reasoning.
    pub fn append_reasoning(self: &Arc<Self>, delta: &str) {
        self.push(Item::Reasoning(delta.into()));
    }

    /// Appends a part.
    pub fn append_part(self: &Arc<Self>, part: Part) {
        self.push(Item::Part(Box::new(part)));
    }

    /// Appends a token and returns its seq.
    pub fn append(self: &Arc<Self>, token: &str) -> u32 {
        let mut state = self.lock();
        let seq = state.tokens.push(token);
        self.publish(&state, true);
        seq
    }

    /// Appends the end. Later calls have no effect.
    pub fn end(self: &Arc<Self>, end: TurnEnd) {
        let mut state = self.lock();
        if state.end.is_none() {
            state.end = Some(Arc::new(end));
            self.publish(&state, false);
            state.subscribers = Vec::new();
            // The log stays in memory for a while, but grows no more.
            state.tokens.shrink_to_fit();
            state.items.shrink_to_fit();
        }
    }

    fn push(self: &Arc<Self>, item: Item) {
        let mut state = self.lock();
        let tokens_before = state.tokens.count();
        if let Item::Progress(progress) = &item {
            state.step = Some(progress.step);
        }
        state.items.push(PlacedItem { tokens_before, item });
        self.publish(&state, false);
    }

    /// Adds `subscriber` and passes it the log. `read` returns whether it took everything that it had not read yet; if so, the
    /// subscriber is live, otherwise lagging. Both happen under one lock, so that no entry falls in between.
    pub fn subscribe(&self, subscriber: &Subscriber, read: impl FnOnce(Entries<'_>) -> bool) {
        let mut state = self.lock();
        if state.end.is_none() && !state.subscribers.iter().any(|known| known.is(subscriber)) {
            // Most turns have one subscriber, but a `Vec` starts with a capacity of four.
            state.subscribers.reserve_exact(1);
            state.subscribers.push(subscriber.clone());
            state.without_subscribers_since = None;
        }
        state.deliver(subscriber, read);
    }

    /// Passes a lagging subscriber the log; it is live again if `read` took everything.
    pub fn catch_up(&self, subscriber: &Subscriber, read: impl FnOnce(Entries<'_>) -> bool) {
        self.lock().deliver(subscriber, read);
    }

    /// Calls `read` with the entries so far, under the log's lock.
    pub fn with_entries<T>(&self, read: impl FnOnce(Entries<'_>) -> T) -> T {
        read(self.lock().entries())
    }

    /// Returns the position of a client that names the last token and, if known, the last entry it received; see
    /// [`Entries::position`].
    pub fn position_after(&self, next_seq: u32, last_index: Option<u32>) -> Cursor {
        self.with_entries(|entries| entries.position(next_seq, last_index))
    }

    /// Removes a subscriber. The turn goes on.
    pub fn unsubscribe(&self, subscriber: &Subscriber) {
        let mut state = self.lock();
        state.subscribers.retain(|known| !known.is(subscriber));
        if state.subscribers.is_empty() && state.without_subscribers_since.is_none() {
            state.without_subscribers_since = Some(Instant::now());
        }
    }

    /// The time since the last subscriber left; `None` while there is one.
    pub fn without_subscribers_for(&self) -> Option<Duration> {
        self.lock().without_subscribers_since.map(|since| since.elapsed())
    }

    /// The text that `subscriber` has yet to write, in bytes.
    pub fn bytes_waiting_for(&self, subscriber: &Subscriber) -> usize {
        let state = self.lock();
        let written = subscriber.next_seq().min(state.tokens.count());
        state.tokens.text().len() - state.tokens.text_before(written).len()
    }

    /// Calls `read` with the tokens so far, under the log's lock.
    pub fn with_tokens<T>(&self, read: impl FnOnce(&Tokens) -> T) -> T {
        read(&self.lock().tokens)
    }

    pub fn has_ended(&self) -> bool {
        self.lock().end.is_some()
    }

    /// The end of the turn, once it has ended.
    pub fn outcome(&self) -> Option<Arc<TurnEnd>> {
        self.lock().end.clone()
    }

    pub fn state(&self) -> TurnState {
        match self.lock().end.as_deref() {
            None => TurnState::Streaming,
            Some(TurnEnd::Complete { .. }) => TurnState::Complete,
            Some(TurnEnd::Failed(_)) => TurnState::Interrupted,
        }
    }

    /// The current step and the number of tokens.
    pub fn position(&self) -> (Option<Step>, u32) {
        let state = self.lock();
        (state.step, state.tokens.count())
    }

    /// Tells the subscribers about the entry that was just appended.
    fn publish(self: &Arc<Self>, state: &LogState, is_text: bool) {
        let index = state.count() - 1;
        for subscriber in &state.subscribers {
            subscriber.deliver(TurnEvent { turn: Arc::clone(self), index, is_text });
        }
    }

    /// Ignores poisoning: a panic under the lock leaves at worst an entry without an event, and the log stays readable.
    fn lock(&self) -> MutexGuard<'_, LogState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LogState {
    fn entries(&self) -> Entries<'_> {
        Entries { items: &self.items, tokens: &self.tokens, end: self.end.as_deref() }
    }

    /// The number of entries.
    fn count(&self) -> u32 {
        let items = u32::try_from(self.items.len()).expect("a log has fewer than 2³² entries");
        items + self.tokens.count() + u32::from(self.end.is_some())
    }

    fn deliver(&self, subscriber: &Subscriber, read: impl FnOnce(Entries<'_>) -> bool) {
        if read(self.entries()) {
            subscriber.mark_live();
        } else {
            subscriber.mark_lagging();
        }
    }
}
