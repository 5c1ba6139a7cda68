//! Brings turns to the store: what they say while they run, and how they ended.
//!
//! Streaming never waits here. One task looks at all turns that have said something new and keeps it in few changes of the
//! store, however many turns there are. An end that the store cannot take is kept in memory and tried again.

use super::journal::{Journal, Part};
use crate::{
    domain::{AnswerMetadata, FinishReason, MessageId, UnixMillis},
    limits::{
        CHECKPOINT_BATCH_BYTES, CHECKPOINT_BATCH_TURNS, CHECKPOINT_INTERVAL_MS, CHECKPOINT_TOKENS,
        CLIENT_MESSAGE_ID_LIFE_MS, MAX_UNSTORED_BYTES, PURGE_INTERVAL, UNSTORED_RETRY_INTERVAL_MS,
    },
    store::{Answer, Checkpoint, ConversationStore, EndedTurn, ServingClock, StoreError},
    turn::{FailureMapping, TurnFailure, TurnLog},
};
use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{Mutex as AsyncMutex, Notify},
    time::{MissedTickBehavior, interval},
};

pub struct Recorder {
    store: Arc<dyn ConversationStore>,
    clock: ServingClock,
    failures: FailureMapping,
    /// Turns that have said something since they were looked at last.
    news: Mutex<Vec<Arc<Recorded>>>,
    /// Those among them that have said so much that they do not wait.
    urgent: Mutex<Vec<Arc<Recorded>>>,
    wake: Notify,
    /// Which checkpoints are needed, and by which turns.
    journal: Mutex<Journal<Arc<Recorded>>>,
    unstored: Mutex<Unstored>,
    /// Held while what could not be stored is tried again, so that it is tried once.
    trying: AsyncMutex<()>,
}

/// Ends that the store has not taken yet, oldest first.
#[derive(Default)]
struct Unstored {
    ends: VecDeque<(EndedTurn, Arc<Recorded>)>,
    bytes: usize,
}

/// A running turn, as the recorder sees it.
struct Recorded {
    log: Arc<TurnLog>,
    /// Its tokens that are on disk, or on their way there.
    kept: AtomicU32,
    has_news: AtomicBool,
    metadata: OnceLock<AnswerMetadata>,
    metadata_kept: AtomicBool,
    /// Its end is in the store: its checkpoints are needed no more.
    is_stored: AtomicBool,
}

/// One turn's way to the store. Dropped before [`Recording::end`], it ends the stored turn as interrupted.
pub struct Recording {
    recorder: Arc<Recorder>,
    turn: Arc<Recorded>,
    has_ended: AtomicBool,
}

impl Recorder {
    pub fn new(store: Arc<dyn ConversationStore>, clock: ServingClock, failures: FailureMapping) -> Arc<Self> {
        Arc::new(Self {
            store,
            clock,
            failures,
            news: Mutex::default(),
            urgent: Mutex::default(),
            wake: Notify::new(),
            journal: Mutex::default(),
            unstored: Mutex::default(),
            trying: AsyncMutex::default(),
        })
    }

    /// The code and the message of a failure, as clients receive them, for the store.
    pub(super) fn stored_error(&self, failure: &TurnFailure) -> (String, String) {
        let error = (self.failures)(failure);
        (error.code.to_string(), error.message.into_owned())
    }

    /// Begins to record a turn whose question is stored.
    pub fn record(self: &Arc<Self>, log: Arc<TurnLog>) -> Recording {
        let turn = Arc::new(Recorded {
            log,
            kept: AtomicU32::new(0),
            has_news: AtomicBool::new(false),
            metadata: OnceLock::new(),
            metadata_kept: AtomicBool::new(false),
            is_stored: AtomicBool::new(false),
        });
        Recording { recorder: Arc::clone(self), turn, has_ended: AtomicBool::new(false) }
    }

    /// Keeps checkpoints until the recorder is dropped by all others.
    pub async fn run(self: Arc<Self>) {
        let recorder = Arc::downgrade(&self);
        let mut looks = interval(Duration::from_millis(CHECKPOINT_INTERVAL_MS));
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        drop(self);
        while let Some(recorder) = recorder.upgrade() {
            tokio::select! {
                _ = looks.tick() => {
                    lock(&recorder.urgent).clear();
                    let turns = std::mem::take(&mut *lock(&recorder.news));
                    for turn in &turns {
                        turn.has_news.store(false, Ordering::SeqCst);
                    }
                    recorder.checkpoint(&turns).await;
                    recorder.forget_checkpoints().await;
                }
                () = recorder.wake.notified() => {
                    let turns = std::mem::take(&mut *lock(&recorder.urgent));
                    recorder.checkpoint(&turns).await;
                }
            }
        }
    }

    /// Tries again to store what could not be stored, and forgets old `client_message_id`s, until the recorder is dropped
    /// by all others.
    pub async fn maintain(self: Arc<Self>) {
        let recorder = Arc::downgrade(&self);
        let mut tries = interval(Duration::from_millis(UNSTORED_RETRY_INTERVAL_MS));
        tries.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut purges = interval(PURGE_INTERVAL);
        drop(self);
        while let Some(recorder) = recorder.upgrade() {
            tokio::select! {
                _ = tries.tick() => recorder.store_again().await,
                _ = purges.tick() => recorder.purge().await,
            }
        }
    }

    /// Stores what could not be stored before, oldest first, as far as the store takes it.
    pub async fn store_again(&self) {
        if self.unstored() == 0 {
            return;
        }
        let _trying = self.trying.lock().await;
        loop {
            let Some((end, turn)) = lock(&self.unstored).ends.front().cloned() else { return };
            let turn_id = end.turn_id;
            match self.store.end_turn(end).await {
                Ok(()) => log::info!(turn_id:%; "an answer is stored that could not be stored before"),
                Err(StoreError::Unavailable(_)) => return,
                Err(error) => log::error!(turn_id:%; "an answer will never be stored: {error}"),
            }
            self.needs_no_checkpoints(&turn);
            lock(&self.unstored).take_first();
        }
    }

    /// Answers that wait for the store. Meanwhile no question is taken: the answer before it would be missing in what the
    /// model sees.
    pub fn unstored(&self) -> usize {
        lock(&self.unstored).ends.len()
    }

    async fn purge(&self) {
        // Not by the wall clock, which may be ahead at the moment.
        let before = UnixMillis(self.clock.confirmed_now().0 - CLIENT_MESSAGE_ID_LIFE_MS);
        match self.store.forget_client_messages(before).await {
            Ok(0) => {}
            Ok(ids) => log::info!(ids; "old client_message_ids are forgotten"),
            Err(error) => log::error!("old client_message_ids cannot be forgotten: {error}"),
        }
    }

    async fn checkpoint(&self, all: &[Arc<Recorded>]) {
        let mut rest = all;
        while !rest.is_empty() {
            let (mut taken, mut checkpoints, mut bytes, mut looked_at) = (Vec::new(), Vec::new(), 0, 0);
            for turn in rest {
                if taken.len() >= CHECKPOINT_BATCH_TURNS || bytes >= CHECKPOINT_BATCH_BYTES {
                    break;
                }
                looked_at += 1;
                if let Some(checkpoint) = turn.take() {
                    let size = checkpoint.text.len() + 4 * checkpoint.token_ends.len();
                    bytes += size;
                    let is_whole = checkpoint.first_seq == 0 && checkpoint.metadata.is_some();
                    taken.push((turn, checkpoint.first_seq, is_whole, size as u64));
                    checkpoints.push(checkpoint);
                }
            }
            if checkpoints.is_empty() {
                return;
            }
            match self.store.checkpoint(checkpoints).await {
                Ok(number) => {
                    let mut journal = lock(&self.journal);
                    let needed = taken.into_iter().filter(|(turn, ..)| !turn.is_stored.load(Ordering::SeqCst));
                    let parts = needed.map(|(turn, _, is_whole, bytes)| Part {
                        id: turn.log.subject.turn_id,
                        turn: Arc::clone(turn),
                        is_whole,
                        bytes,
                    });
                    journal.written(number, parts, bytes as u64);
                }
                Err(error) => {
                    log::error!(turns = taken.len(); "what running turns said could not be kept: {error}");
                    for (turn, first_seq, ..) in taken {
                        turn.kept.store(first_seq, Ordering::SeqCst);
                        turn.metadata_kept.store(false, Ordering::SeqCst);
                    }
                    // The others would fail, too, and each batch would wait for it.
                    rest.iter().for_each(|turn| self.look_at(turn));
                    return;
                }
            }
            rest = &rest[looked_at..];
        }
    }

    /// Lets go of the checkpoints that nobody needs.
    async fn forget_checkpoints(&self) {
        let again = lock(&self.journal).to_keep_again();
        for turn in &again {
            turn.kept.store(0, Ordering::SeqCst);
            turn.metadata_kept.store(false, Ordering::SeqCst);
        }
        self.checkpoint(&again).await;
        let obsolete = lock(&self.journal).obsolete_before();
        if let Some(before) = obsolete {
            match self.store.forget_checkpoints(before).await {
                Ok(()) => lock(&self.journal).removed_before(before),
                // They are asked for again.
                Err(error) => log::error!("old checkpoints could not be forgotten: {error}"),
            }
        }
    }

    /// The end of a turn is in the store, or never will be.
    fn needs_no_checkpoints(&self, turn: &Recorded) {
        // Before the journal is locked: a checkpoint that is on its way looks there, under that lock.
        turn.is_stored.store(true, Ordering::SeqCst);
        lock(&self.journal).forget(turn.log.subject.turn_id);
    }

    fn look_at(&self, turn: &Arc<Recorded>) {
        if !turn.has_news.swap(true, Ordering::SeqCst) {
            lock(&self.news).push(Arc::clone(turn));
        }
    }

    /// Keeps an end in memory until the store takes it.
    fn keep(&self, end: EndedTurn, turn: &Arc<Recorded>) {
        let turn_id = end.turn_id;
        if !lock(&self.unstored).keep(end, turn) {
            log::error!(turn_id:%; "too much waits to be stored: an answer is given up");
        }
    }
}

impl Recorded {
    /// What is new, unless there is nothing or the turn has ended: then the end brings all of it.
    fn take(&self) -> Option<Checkpoint> {
        if self.log.has_ended() {
            return None;
        }
        let first_seq = self.kept.load(Ordering::SeqCst);
        let (count, text, token_ends) = self.log.with_tokens(|tokens| {
            let count = tokens.count();
            (count, tokens.joined(first_seq..count).to_owned(), tokens.ends()[first_seq as usize..].to_vec())
        });
        let metadata = self.metadata.get().filter(|_| !self.metadata_kept.swap(true, Ordering::SeqCst)).cloned();
        self.kept.store(count, Ordering::SeqCst);
        (count > first_seq || metadata.is_some()).then(|| Checkpoint {
            turn_id: self.log.subject.turn_id,
            first_seq,
            text,
            token_ends,
            metadata,
        })
    }
}

impl Unstored {
    /// `false` when there is no room for it.
    fn keep(&mut self, end: EndedTurn, turn: &Arc<Recorded>) -> bool {
        let bytes = size_of_end(&end);
        let fits = self.bytes + bytes <= MAX_UNSTORED_BYTES;
        if fits {
            self.bytes += bytes;
            self.ends.push_back((end, Arc::clone(turn)));
        }
        fits
    }

    fn take_first(&mut self) {
        if let Some((end, _)) = self.ends.pop_front() {
            self.bytes -= size_of_end(&end);
        }
    }
}

/// About what an end takes in memory, in bytes.
fn size_of_end(end: &EndedTurn) -> usize {
    end.answer.text.len() + 4 * end.answer.token_ends.len() + 1_024
}

impl Recording {
    /// Appends a token to the log, and sees to it that it comes to disk. Returns its seq.
    pub fn append(&self, token: &str) -> u32 {
        let seq = self.turn.log.append(token);
        self.recorder.look_at(&self.turn);
        let unkept = (seq + 1).saturating_sub(self.turn.kept.load(Ordering::SeqCst));
        if unkept > 0 && unkept.is_multiple_of(CHECKPOINT_TOKENS) {
            lock(&self.recorder.urgent).push(Arc::clone(&self.turn));
            self.recorder.wake.notify_one();
        }
        seq
    }

    /// What is known of the answer before its first token, for the case that it never ends.
    pub fn describe(&self, metadata: AnswerMetadata) {
        // Only the first description counts; there is one.
        let _ = self.turn.metadata.set(metadata);
        self.recorder.look_at(&self.turn);
    }

    /// Stores how the turn ended; `false` when the store could not take it now.
    pub async fn end(&self, end: EndedTurn) -> bool {
        // While others wait, it is known what would come of a try, and a client would wait for it.
        if self.recorder.unstored() > 0 {
            self.has_ended.store(true, Ordering::SeqCst);
            self.recorder.keep(end, &self.turn);
            return false;
        }
        let stored = self.recorder.store.end_turn(end.clone()).await;
        self.has_ended.store(true, Ordering::SeqCst);
        match stored {
            Ok(()) => {
                self.recorder.needs_no_checkpoints(&self.turn);
                true
            }
            Err(error) => {
                log::error!("an answer could not be stored: {error}");
                if matches!(error, StoreError::Unavailable(_)) {
                    self.recorder.keep(end, &self.turn);
                } else {
                    self.recorder.needs_no_checkpoints(&self.turn);
                }
                false
            }
        }
    }
}

/// The task of the turn is gone, by a panic or with its thread. Its `Acceptance` ends the log.
impl Drop for Recording {
    fn drop(&mut self) {
        if self.has_ended.load(Ordering::SeqCst) {
            return;
        }
        let log = &self.turn.log;
        let (text, token_ends) = log.with_tokens(|tokens| (tokens.text().to_owned(), tokens.ends().to_vec()));
        let end = EndedTurn {
            turn_id: log.subject.turn_id,
            conversation_id: log.subject.conversation_id,
            answer: Answer {
                message_id: MessageId::new(),
                text,
                token_ends,
                finish_reason: FinishReason::Error,
                metadata: self.turn.metadata.get().cloned().unwrap_or_default(),
            },
            error: Some(self.recorder.stored_error(&TurnFailure::TaskLost)),
            at: UnixMillis::now(),
        };
        self.recorder.keep(end, &self.turn);
    }
}

/// What these locks hold is whole between any two statements that could panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
