//! What a turn has said and done so far.

use super::{Cursor, Subscriber, TurnEvent, TurnEventKind, TurnFailure};
use crate::domain::{AnswerMetadata, ConversationId, FinishReason, MessageId, Source, TurnId, UserId};
use sha2::{Digest, Sha256};
use std::{
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use switchboard_protocol::{Step, TurnState};

/// The least by which the room for an answer grows, in bytes.
const MIN_GROWTH: usize = 256;

/// Whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TurnSubject {
    pub turn_id: TurnId,
    pub conversation_id: ConversationId,
    pub user_id: UserId,
}

/// A step that began, with what the steps before it found.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    pub step: Step,
    pub message: String,
    pub specialist: Option<String>,
    pub confidence: Option<f64>,
    pub sources: Option<Arc<[Source]>>,
    /// Of the message that started the turn; only on the first step.
    pub client_message_id: Option<String>,
    /// The user's message; only on the first step.
    pub question: Option<String>,
}

/// How a turn ended.
#[derive(Clone, Debug, PartialEq)]
pub enum TurnEnd {
    Complete { message_id: MessageId, finish_reason: FinishReason, metadata: Box<AnswerMetadata>, sha256: String },
    Failed(TurnFailure),
}

/// The log of one turn. One task appends; any thread reads.
pub struct TurnLog {
    pub subject: TurnSubject,
    entries: Mutex<Entries>,
}

#[derive(Default)]
struct Entries {
    progress: Vec<Arc<Progress>>,
    tokens: Tokens,
    end: Option<Arc<TurnEnd>>,
    /// Nobody follows a turn that has ended.
    subscribers: Vec<Subscriber>,
    /// Since when nobody follows; absent while somebody does.
    alone_since: Option<Instant>,
}

/// A text and where its tokens end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    text: String,
    /// The byte at which each token ends.
    ends: Vec<u32>,
}

/// What a follower has not seen yet.
pub struct Missed<'a> {
    pub progress: &'a [Arc<Progress>],
    /// The tokens' places; empty when there are none.
    pub seqs: Range<u32>,
    pub tokens: &'a Tokens,
    pub end: Option<&'a Arc<TurnEnd>>,
}

impl Tokens {
    /// Tokens as they were stored; `None` when the ends do not fit the text.
    pub fn restore(text: String, ends: Vec<u32>) -> Option<Self> {
        let in_order = ends.is_sorted() && ends.last().map_or(text.is_empty(), |end| *end as usize == text.len());
        let on_characters = ends.iter().all(|end| text.is_char_boundary(*end as usize));
        (in_order && on_characters).then_some(Self { text, ends })
    }

    fn push(&mut self, token: &str) -> u32 {
        // By a quarter instead of doubling: thousands of answers are in memory at once.
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

    /// How many tokens there are: the next one's seq.
    pub fn count(&self) -> u32 {
        u32::try_from(self.ends.len()).expect("there are no more tokens than bytes")
    }

    /// The text before the token `seq`, which may be one past the last.
    pub fn text_before(&self, seq: u32) -> &str {
        match seq {
            0 => "",
            _ => &self.text[..self.ends[seq as usize - 1] as usize],
        }
    }

    /// The text of some tokens, joined.
    pub fn joined(&self, seqs: Range<u32>) -> &str {
        &self.text_before(seqs.end)[self.text_before(seqs.start).len()..]
    }

    /// The hash that proves a transcript, in hex.
    pub fn sha256(&self) -> String {
        use std::fmt::Write;
        Sha256::digest(self.text.as_bytes()).iter().fold(String::with_capacity(64), |mut hex, byte| {
            write!(hex, "{byte:02x}").expect("writing to a string does not fail");
            hex
        })
    }
}

impl TurnLog {
    /// A turn that begins.
    pub fn new(subject: TurnSubject) -> Arc<Self> {
        let entries = Entries { alone_since: Some(Instant::now()), ..Entries::default() };
        Arc::new(Self { subject, entries: Mutex::new(entries) })
    }

    /// A turn that ended before, as the store kept it. Of its steps only the first is known, which tells the question.
    pub fn restore(subject: TurnSubject, starting: Progress, tokens: Tokens, end: TurnEnd) -> Arc<Self> {
        let progress = vec![Arc::new(starting)];
        let entries = Entries { progress, tokens, end: Some(Arc::new(end)), ..Entries::default() };
        Arc::new(Self { subject, entries: Mutex::new(entries) })
    }

    /// Says that a step begins.
    pub fn announce(self: &Arc<Self>, progress: Progress) {
        let mut entries = self.lock();
        let progress = Arc::new(progress);
        entries.progress.push(Arc::clone(&progress));
        let index = entries.progress.len() - 1;
        self.tell(&entries, TurnEventKind::Progress { index, progress });
    }

    /// Appends a token, and returns its seq.
    pub fn append(self: &Arc<Self>, token: &str) -> u32 {
        let mut entries = self.lock();
        let seq = entries.tokens.push(token);
        self.tell(&entries, TurnEventKind::Token { seq });
        seq
    }

    /// Ends the turn. Only the first end counts.
    pub fn end(self: &Arc<Self>, end: TurnEnd) {
        let mut entries = self.lock();
        if entries.end.is_none() {
            entries.end = Some(Arc::new(end));
            self.tell(&entries, TurnEventKind::Ended);
            entries.subscribers = Vec::new();
            // It is kept for a while, and grows no more.
            entries.tokens.shrink_to_fit();
        }
    }

    /// Makes `follower` follow from where `cursor` stands: `read` gets what it missed. When it took all of that, which it
    /// says, everything later reaches it live; when not, it is behind.
    pub fn subscribe(&self, cursor: &Cursor, subscriber: &Subscriber, read: impl FnOnce(Missed<'_>) -> bool) {
        let mut entries = self.lock();
        if entries.end.is_none() && !entries.subscribers.iter().any(|known| known.is(subscriber)) {
            // Most turns have one; a list that grows by itself begins with room for four.
            entries.subscribers.reserve_exact(1);
            entries.subscribers.push(subscriber.clone());
            entries.alone_since = None;
        }
        entries.deliver_missed(cursor, subscriber, read);
    }

    /// Gives a follower that is behind what it missed; one that took all of it goes on live.
    pub fn catch_up(&self, cursor: &Cursor, subscriber: &Subscriber, read: impl FnOnce(Missed<'_>) -> bool) {
        self.lock().deliver_missed(cursor, subscriber, read);
    }

    /// Ends a following early. The turn goes on.
    pub fn unsubscribe(&self, subscriber: &Subscriber) {
        let mut entries = self.lock();
        entries.subscribers.retain(|known| !known.is(subscriber));
        if entries.subscribers.is_empty() && entries.alone_since.is_none() {
            entries.alone_since = Some(Instant::now());
        }
    }

    /// For how long nobody has followed; `None` while somebody does.
    pub fn alone_for(&self) -> Option<Duration> {
        self.lock().alone_since.map(|since| since.elapsed())
    }

    /// The text that a follower has yet to write, in bytes.
    pub fn bytes_waiting_for(&self, subscriber: &Subscriber) -> usize {
        let entries = self.lock();
        let written = subscriber.next_seq().min(entries.tokens.count());
        entries.tokens.text.len() - entries.tokens.text_before(written).len()
    }

    /// Reads the tokens there are.
    pub fn with_tokens<T>(&self, read: impl FnOnce(&Tokens) -> T) -> T {
        read(&self.lock().tokens)
    }

    pub fn has_ended(&self) -> bool {
        self.lock().end.is_some()
    }

    /// How it ended, when it has.
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

    /// The step that began last, and how many tokens there are.
    pub fn position(&self) -> (Option<Step>, u32) {
        let entries = self.lock();
        (entries.progress.last().map(|progress| progress.step), entries.tokens.count())
    }

    fn tell(self: &Arc<Self>, entries: &Entries, kind: TurnEventKind) {
        for subscriber in &entries.subscribers {
            subscriber.deliver(TurnEvent { turn: Arc::clone(self), kind: kind.clone() });
        }
    }

    /// A panic while the lock is held leaves at worst a token that nobody was told of; the log stays readable.
    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    fn deliver_missed(&self, cursor: &Cursor, subscriber: &Subscriber, read: impl FnOnce(Missed<'_>) -> bool) {
        if read(self.missed_by(cursor)) {
            subscriber.mark_live();
        } else {
            subscriber.mark_lagging();
        }
    }

    fn missed_by(&self, cursor: &Cursor) -> Missed<'_> {
        let count = self.tokens.count();
        Missed {
            progress: self.progress.get(cursor.progress..).unwrap_or_default(),
            seqs: cursor.next_seq.min(count)..count,
            tokens: &self.tokens,
            end: self.end.as_ref().filter(|_| !cursor.ended),
        }
    }
}
