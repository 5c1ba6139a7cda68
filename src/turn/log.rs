//! The log of a turn: its steps, its tokens and its end, in append-only order. One task appends; any thread reads.

use super::{Cursor, Subscriber, TurnEvent, TurnEventKind, TurnFailure};
use crate::domain::{AnswerMetadata, ConversationId, FinishReason, MessageId, Source, TurnId, UserId};
use sha2::{Digest, Sha256};
use std::{
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use switchboard_protocol::{Step, TurnState};

/// The smallest growth of a text's capacity, in bytes.
const MIN_GROWTH: usize = 256;

/// The ids of a turn, its conversation and its user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TurnSubject {
    pub turn_id: TurnId,
    pub conversation_id: ConversationId,
    pub user_id: UserId,
}

/// The start of a step, with the findings of the steps before it.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    pub step: Step,
    pub message: String,
    pub specialist: Option<String>,
    pub confidence: Option<f64>,
    pub sources: Option<Arc<[Source]>>,
    /// The id that the client gave the user's message; only in the first step.
    pub client_message_id: Option<String>,
    /// The user's message; only in the first step.
    pub question: Option<String>,
}

/// The end of a turn.
#[derive(Clone, Debug, PartialEq)]
pub enum TurnEnd {
    Complete { message_id: MessageId, finish_reason: FinishReason, metadata: Box<AnswerMetadata>, sha256: String },
    Failed(TurnFailure),
}

/// The log of one turn.
pub struct TurnLog {
    pub subject: TurnSubject,
    entries: Mutex<Entries>,
}

#[derive(Default)]
struct Entries {
    progress: Vec<Arc<Progress>>,
    tokens: Tokens,
    end: Option<Arc<TurnEnd>>,
    /// Empty once the turn has ended.
    subscribers: Vec<Subscriber>,
    /// When the last subscriber left; `None` while there is one.
    without_subscribers_since: Option<Instant>,
}

/// The text of an answer and its token boundaries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    text: String,
    /// The byte offset at which each token ends.
    ends: Vec<u32>,
}

/// The entries that a subscriber has not read yet.
pub struct Backlog<'a> {
    pub progress: &'a [Arc<Progress>],
    /// The unread tokens; possibly empty.
    pub seqs: Range<u32>,
    pub tokens: &'a Tokens,
    pub end: Option<&'a Arc<TurnEnd>>,
}

impl Tokens {
    /// Rebuilds tokens from the store; `None` if the ends do not fit the text.
    pub fn restore(text: String, ends: Vec<u32>) -> Option<Self> {
        let in_order = ends.is_sorted() && ends.last().map_or(text.is_empty(), |end| *end as usize == text.len());
        let on_characters = ends.iter().all(|end| text.is_char_boundary(*end as usize));
        (in_order && on_characters).then_some(Self { text, ends })
    }

    fn push(&mut self, token: &str) -> u32 {
        // Grows by a quarter instead of doubling: thousands of answers are in memory at once.
        if self.text.capacity() - self.text.len() < token.len() {
            self.text.reserve_exact((self.text.len() / 4).max(token.len()).max(MIN_GROWTH));
        }
        if self.ends.capacity() == self.ends.len() {
            self.ends.reserve_exact((self.ends.len() / 4).max(MIN_GROWTH / 8));
        }
        self.text.push_str(token);
        self.ends.push(u32::try_from(self.text.len()).expect("an answer is far below 4 GiB"));
        self.count() - 1
    }

    fn shrink_to_fit(&mut self) {
        self.text.shrink_to_fit();
        self.ends.shrink_to_fit();
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    pub fn ends(&self) -> &[u32] {
        &self.ends
    }

    /// The number of tokens, which is the seq of the next one.
    pub fn count(&self) -> u32 {
        u32::try_from(self.ends.len()).expect("there are no more tokens than bytes")
    }

    /// Returns the text before token `seq`, which may be one past the last.
    pub fn text_before(&self, seq: u32) -> &str {
        match seq {
            0 => "",
            _ => &self.text[..self.ends[seq as usize - 1] as usize],
        }
    }

    /// Returns the text of a range of tokens, joined.
    pub fn joined(&self, seqs: Range<u32>) -> &str {
        &self.text_before(seqs.end)[self.text_before(seqs.start).len()..]
    }

    /// Returns the SHA-256 of the text in hex, by which clients verify their transcript.
    pub fn sha256(&self) -> String {
        use std::fmt::Write;
        Sha256::digest(self.text.as_bytes()).iter().fold(String::with_capacity(64), |mut hex, byte| {
            write!(hex, "{byte:02x}").expect("writing to a string does not fail");
            hex
        })
    }
}

impl TurnLog {
    /// Creates the empty log of a new turn.
    pub fn new(subject: TurnSubject) -> Arc<Self> {
        let entries = Entries { without_subscribers_since: Some(Instant::now()), ..Entries::default() };
        Arc::new(Self { subject, entries: Mutex::new(entries) })
    }

    /// Rebuilds the log of an ended turn from the store, which keeps only the first step, with the question.
    pub fn restore(subject: TurnSubject, starting: Progress, tokens: Tokens, end: TurnEnd) -> Arc<Self> {
        let progress = vec![Arc::new(starting)];
        let entries = Entries { progress, tokens, end: Some(Arc::new(end)), ..Entries::default() };
        Arc::new(Self { subject, entries: Mutex::new(entries) })
    }

    /// Appends the start of a step.
    pub fn announce(self: &Arc<Self>, progress: Progress) {
        let mut entries = self.lock();
        let progress = Arc::new(progress);
        entries.progress.push(Arc::clone(&progress));
        let index = entries.progress.len() - 1;
        self.publish(&entries, TurnEventKind::Progress { index, progress });
    }

    /// Appends a token and returns its seq.
    pub fn append(self: &Arc<Self>, token: &str) -> u32 {
        let mut entries = self.lock();
        let seq = entries.tokens.push(token);
        self.publish(&entries, TurnEventKind::Token { seq });
        seq
    }

    /// Appends the end. Later calls have no effect.
    pub fn end(self: &Arc<Self>, end: TurnEnd) {
        let mut entries = self.lock();
        if entries.end.is_none() {
            entries.end = Some(Arc::new(end));
            self.publish(&entries, TurnEventKind::Ended);
            entries.subscribers = Vec::new();
            // The log stays in memory for a while, but grows no more.
            entries.tokens.shrink_to_fit();
        }
    }

    /// Adds `subscriber` at `cursor` and passes it the backlog. `read` returns whether it took all of it; if so, the subscriber
    /// is live, otherwise lagging. Both happen under one lock, so that no entry falls in between.
    pub fn subscribe(&self, cursor: &Cursor, subscriber: &Subscriber, read: impl FnOnce(Backlog<'_>) -> bool) {
        let mut entries = self.lock();
        if entries.end.is_none() && !entries.subscribers.iter().any(|known| known.is(subscriber)) {
            // Most turns have one subscriber, but a `Vec` starts with a capacity of four.
            entries.subscribers.reserve_exact(1);
            entries.subscribers.push(subscriber.clone());
            entries.without_subscribers_since = None;
        }
        entries.deliver_backlog(cursor, subscriber, read);
    }

    /// Passes a lagging subscriber its backlog; it is live again if it took all of it.
    pub fn catch_up(&self, cursor: &Cursor, subscriber: &Subscriber, read: impl FnOnce(Backlog<'_>) -> bool) {
        self.lock().deliver_backlog(cursor, subscriber, read);
    }

    /// Removes a subscriber. The turn goes on.
    pub fn unsubscribe(&self, subscriber: &Subscriber) {
        let mut entries = self.lock();
        entries.subscribers.retain(|known| !known.is(subscriber));
        if entries.subscribers.is_empty() && entries.without_subscribers_since.is_none() {
            entries.without_subscribers_since = Some(Instant::now());
        }
    }

    /// The time since the last subscriber left; `None` while there is one.
    pub fn without_subscribers_for(&self) -> Option<Duration> {
        self.lock().without_subscribers_since.map(|since| since.elapsed())
    }

    /// The text that `subscriber` has yet to write, in bytes.
    pub fn bytes_waiting_for(&self, subscriber: &Subscriber) -> usize {
        let entries = self.lock();
        let written = subscriber.next_seq().min(entries.tokens.count());
        entries.tokens.text.len() - entries.tokens.text_before(written).len()
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
        let entries = self.lock();
        (entries.progress.last().map(|progress| progress.step), entries.tokens.count())
    }

    fn publish(self: &Arc<Self>, entries: &Entries, kind: TurnEventKind) {
        for subscriber in &entries.subscribers {
            subscriber.deliver(TurnEvent { turn: Arc::clone(self), kind: kind.clone() });
        }
    }

    /// Ignores poisoning: a panic under the lock leaves at worst a token without an event, and the log stays readable.
    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    fn deliver_backlog(&self, cursor: &Cursor, subscriber: &Subscriber, read: impl FnOnce(Backlog<'_>) -> bool) {
        if read(self.backlog_from(cursor)) {
            subscriber.mark_live();
        } else {
            subscriber.mark_lagging();
        }
    }

    fn backlog_from(&self, cursor: &Cursor) -> Backlog<'_> {
        let count = self.tokens.count();
        Backlog {
            progress: self.progress.get(cursor.progress..).unwrap_or_default(),
            seqs: cursor.next_seq.min(count)..count,
            tokens: &self.tokens,
            end: self.end.as_ref().filter(|_| !cursor.ended),
        }
    }
}
