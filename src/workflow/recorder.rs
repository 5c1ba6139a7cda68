//! Persistence of turns: checkpoints of running answers, and the final answers.
//!
//! Streaming never waits for the store. One task batches the new text of all turns into few writes. When the store cannot take
//! the end of a turn, it is kept in memory and retried.

use super::{
    budgets,
    journal::{Journal, Part},
    unstored::Unstored,
};
use crate::{
    bus::Bus,
    domain::{AnswerMetadata, FinishReason, MessageId, Part as AnswerPart, UnixMillis},
    limits::{
        CHECKPOINT_BATCH_BYTES, CHECKPOINT_BATCH_TURNS, CHECKPOINT_INTERVAL_MS, CHECKPOINT_TOKENS,
        CLIENT_MESSAGE_ID_LIFE_MS, MAX_UNSTORED_BYTES, PURGE_INTERVAL, UNSTORED_RETRY_INTERVAL_MS,
    },
    store::{Answer, Checkpoint, ConversationStore, EndedTurn, ServingClock, StoreError},
    turn::{FailureMapping, TurnFailure, TurnLog},
};
use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{Mutex as AsyncMutex, Notify},
    time::{MissedTickBehavior, interval},
};

/// The value of `saved_items` before the first checkpoint.
const UNSAVED: usize = usize::MAX;

pub struct Recorder {
    store: Arc<dyn ConversationStore>,
    bus: Arc<dyn Bus>,
    clock: ServingClock,
    failures: FailureMapping,
    /// Turns with output since their last checkpoint.
    changed: Mutex<Vec<Arc<RecordedTurn>>>,
    /// Those of them with so much output that they are written without waiting for the interval.
    urgent: Mutex<Vec<Arc<RecordedTurn>>>,
    wake: Notify,
    /// The checkpoints that running turns need.
    journal: Mutex<Journal<Arc<RecordedTurn>>>,
    unstored: Mutex<Unstored<Arc<RecordedTurn>>>,
    /// Serialises retries, so that each end is retried once at a time.
    retrying: AsyncMutex<()>,
}

/// The recorder's state of a running turn.
struct RecordedTurn {
    log: Arc<TurnLog>,
    /// The number of tokens that are in a checkpoint, written or in flight.
    saved_tokens: AtomicU32,
    is_changed: AtomicBool,
    /// Epoch of the conversation, under which the turn writes.
    epoch: i64,
    /// The metadata known so far.
    metadata: Mutex<Option<AnswerMetadata>>,
    /// Whether this metadata is in a checkpoint.
    metadata_saved: AtomicBool,
    /// The number of items that are in a checkpoint; [`UNSAVED`] before the first.
    saved_items: AtomicUsize,
    /// Whether the end is in the store, so that the checkpoints are obsolete.
    is_stored: AtomicBool,
}

/// Records one turn. If dropped before [`Recording::end`], it stores the turn as interrupted.
pub struct Recording {
    recorder: Arc<Recorder>,
    turn: Arc<RecordedTurn>,
    has_ended: AtomicBool,
}

impl Recorder {
    pub fn new(
        store: Arc<dyn ConversationStore>,
        bus: Arc<dyn Bus>,
        clock: ServingClock,
        failures: FailureMapping,
    ) -> Arc<Self> {
        Arc::new(Self {
            store,
            bus,
            clock,
            failures,
            changed: Mutex::default(),
            urgent: Mutex::default(),
            wake: Notify::new(),
            journal: Mutex::default(),
            unstored: Mutex::default(),
            retrying: AsyncMutex::default(),
        })
    }

    /// Returns the code and message of a failure as clients receive them, for the store.
    pub(super) fn stored_error(&self, failure: &TurnFailure) -> (String, String) {
        let error = (self.failures)(failure);
        (error.code.to_string(), error.message.into_owned())
    }

    /// Starts recording a turn whose question is stored.
    pub fn record(self: &Arc<Self>, log: Arc<TurnLog>, epoch: i64) -> Recording {
        let turn = Arc::new(RecordedTurn {
            log,
            epoch,
            saved_tokens: AtomicU32::new(0),
            is_changed: AtomicBool::new(false),
            metadata: Mutex::default(),
            metadata_saved: AtomicBool::new(false),
            saved_items: AtomicUsize::new(UNSAVED),
            is_stored: AtomicBool::new(false),
        });
        Recording { recorder: Arc::clone(self), turn, has_ended: AtomicBool::new(false) }
    }

    /// Writes checkpoints until every other owner has dropped the recorder.
    pub async fn run(self: Arc<Self>) {
        let recorder = Arc::downgrade(&self);
        let mut checkpoints = interval(Duration::from_millis(CHECKPOINT_INTERVAL_MS));
        checkpoints.set_missed_tick_behavior(MissedTickBehavior::Delay);
        drop(self);
        while let Some(recorder) = recorder.upgrade() {
            tokio::select! {
                _ = checkpoints.tick() => {
                    lock(&recorder.urgent).clear();
                    let turns = std::mem::take(&mut *lock(&recorder.changed));
                    for turn in &turns {
                        turn.is_changed.store(false, Ordering::SeqCst);
                    }
                    recorder.checkpoint(&turns).await;
                    recorder.compact_checkpoints().await;
                }
                () = recorder.wake.notified() => {
                    let turns = std::mem::take(&mut *lock(&recorder.urgent));
                    recorder.checkpoint(&turns).await;
                }
            }
        }
    }

    /// Retries ends that could not be stored, and deletes old `client_message_id`s, until every other owner has dropped the
    /// recorder.
    pub async fn maintain(self: Arc<Self>) {
        let recorder = Arc::downgrade(&self);
        let mut retries = interval(Duration::from_millis(UNSTORED_RETRY_INTERVAL_MS));
        retries.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut purges = interval(PURGE_INTERVAL);
        drop(self);
        while let Some(recorder) = recorder.upgrade() {
            tokio::select! {
                _ = retries.tick() => recorder.retry_unstored().await,
                _ = purges.tick() => recorder.purge().await,
            }
        }
    }

    /// Retries ends that could not be stored, oldest first, until the store is unavailable again.
    pub async fn retry_unstored(&self) {
        if self.unstored() == 0 {
            return;
        }
        let _retrying = self.retrying.lock().await;
        loop {
            let Some((end, turn)) = lock(&self.unstored).first() else { return };
            let (turn_id, charge) = (end.turn_id, end.charge);
            match self.store.end_turn(end).await {
                Ok(events) => {
                    log::info!(turn_id:%; "answer stored after a retry");
                    self.bus.publish(events);
                }
                Err(StoreError::Unavailable(_)) => return,
                Err(error) => {
                    log::error!(turn_id:%; "answer lost; the store rejected it: {error}");
                    budgets::charge_apart(self.store.as_ref(), charge).await;
                }
            }
            self.release_checkpoints(&turn);
            lock(&self.unstored).pop_first();
        }
    }

    /// The number of answers that wait for the store. While there are any, no question is accepted: its history would lack an
    /// answer.
    pub fn unstored(&self) -> usize {
        lock(&self.unstored).len()
    }

    async fn purge(&self) {
        // The wall clock may temporarily be ahead.
        let before = UnixMillis(self.clock.confirmed_now().0 - CLIENT_MESSAGE_ID_LIFE_MS);
        match self.store.forget_client_messages(before).await {
            Ok(0) => {}
            Ok(ids) => log::info!(ids; "old client_message_ids deleted"),
            Err(error) => log::error!("old client_message_ids could not be deleted: {error}"),
        }
        budgets::forget_old(self.store.as_ref(), self.clock.confirmed_now().day()).await;
    }

    /// Writes checkpoints of these turns in bounded batches.
    async fn checkpoint(&self, all: &[Arc<RecordedTurn>]) {
        let mut rest = all;
        while !rest.is_empty() {
            let (mut taken, mut checkpoints, mut bytes, mut visited) = (Vec::new(), Vec::new(), 0, 0);
            for turn in rest {
                if taken.len() >= CHECKPOINT_BATCH_TURNS || bytes >= CHECKPOINT_BATCH_BYTES {
                    break;
                }
                visited += 1;
                if let Some(checkpoint) = turn.take_checkpoint() {
                    let items = checkpoint.items.as_ref().map_or(0, String::len);
                    let size = checkpoint.text.len() + 4 * checkpoint.token_ends.len() + items;
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
                    journal.on_written(number, parts, bytes as u64);
                }
                Err(error) => {
                    log::error!(turns = taken.len(); "checkpoint failed: {error}");
                    for (turn, first_seq, ..) in taken {
                        turn.saved_tokens.store(first_seq, Ordering::SeqCst);
                        turn.metadata_saved.store(false, Ordering::SeqCst);
                        turn.saved_items.store(UNSAVED, Ordering::SeqCst);
                    }
                    // The other batches would fail as well, each after a timeout; the next interval retries all.
                    rest.iter().for_each(|turn| self.mark_changed(turn));
                    return;
                }
            }
            rest = &rest[visited..];
        }
    }

    /// Rewrites turns that retain many obsolete rows, and deletes the rows that no turn needs.
    async fn compact_checkpoints(&self) {
        let rewritten = lock(&self.journal).turns_to_rewrite();
        for turn in &rewritten {
            turn.saved_tokens.store(0, Ordering::SeqCst);
            turn.metadata_saved.store(false, Ordering::SeqCst);
            turn.saved_items.store(UNSAVED, Ordering::SeqCst);
        }
        self.checkpoint(&rewritten).await;
        let obsolete = lock(&self.journal).obsolete_before();
        if let Some(before) = obsolete {
            match self.store.forget_checkpoints(before).await {
                Ok(()) => lock(&self.journal).on_removed_before(before),
                // The next interval tries again.
                Err(error) => log::error!("old checkpoints could not be deleted: {error}"),
            }
        }
    }

    /// Releases the checkpoints of a turn whose end is in the store, or never will be.
    fn release_checkpoints(&self, turn: &RecordedTurn) {
        // Set before the journal is locked: a checkpoint in flight checks the flag under that lock.
        turn.is_stored.store(true, Ordering::SeqCst);
        lock(&self.journal).forget(turn.log.subject.turn_id);
    }

    fn mark_changed(&self, turn: &Arc<RecordedTurn>) {
        if !turn.is_changed.swap(true, Ordering::SeqCst) {
            lock(&self.changed).push(Arc::clone(turn));
        }
    }

    /// Keeps an end in memory for a retry.
    fn keep_unstored(&self, end: EndedTurn, turn: &Arc<RecordedTurn>) {
        let turn_id = end.turn_id;
        if !lock(&self.unstored).push(end, turn) {
            log::error!(turn_id:%, max_bytes = MAX_UNSTORED_BYTES; "answer lost; too many answers wait for the store");
        }
    }
}

impl RecordedTurn {
    /// Takes the output since the last checkpoint. `None` if there is none, or if the turn has ended: the end holds all of it.
    fn take_checkpoint(&self) -> Option<Checkpoint> {
        if self.log.has_ended() {
            return None;
        }
        let first_seq = self.saved_tokens.load(Ordering::SeqCst);
        let (count, text, token_ends) = self.log.with_tokens(|tokens| {
            let count = tokens.count();
            (count, tokens.joined(first_seq..count).to_owned(), tokens.ends()[first_seq as usize..].to_vec())
        });
        let is_saved = self.metadata_saved.swap(true, Ordering::SeqCst);
        let metadata = if is_saved { None } else { lock(&self.metadata).clone() };
        let known = Some(self.saved_items.load(Ordering::SeqCst)).filter(|known| *known != UNSAVED);
        let (items_count, items) = self.log.items_to_store(known);
        self.saved_tokens.store(count, Ordering::SeqCst);
        self.saved_items.store(items_count, Ordering::SeqCst);
        (count > first_seq || metadata.is_some() || items.is_some()).then(|| Checkpoint {
            turn_id: self.log.subject.turn_id,
            epoch: self.epoch,
            first_seq,
            text,
            token_ends,
            metadata,
            items,
        })
    }
}

impl Recording {
    /// Appends a token to the log and schedules its checkpoint. Returns its seq.
    pub fn append(&self, token: &str) -> u32 {
        let seq = self.turn.log.append(token);
        self.recorder.mark_changed(&self.turn);
        let unsaved = (seq + 1).saturating_sub(self.turn.saved_tokens.load(Ordering::SeqCst));
        if unsaved > 0 && unsaved.is_multiple_of(CHECKPOINT_TOKENS) {
            lock(&self.recorder.urgent).push(Arc::clone(&self.turn));
            self.recorder.wake.notify_one();
        }
        seq
    }

    /// Epoch under which the turn writes.
    pub fn epoch(&self) -> i64 {
        self.turn.epoch
    }

    /// Appends a part to the log and schedules its checkpoint.
    pub fn append_part(&self, part: AnswerPart) {
        self.turn.log.append_part(part);
        self.recorder.mark_changed(&self.turn);
    }

    /// Saves the metadata known so far, in case the turn never ends.
    pub fn describe(&self, metadata: AnswerMetadata) {
        *lock(&self.turn.metadata) = Some(metadata);
        self.turn.metadata_saved.store(false, Ordering::SeqCst);
        self.recorder.mark_changed(&self.turn);
    }

    /// Stores the end of the turn; returns `false` if the store could not take it now.
    pub async fn end(&self, end: EndedTurn) -> bool {
        // While others wait for a retry, an attempt would fail as well and only delay the client.
        if self.recorder.unstored() > 0 {
            self.has_ended.store(true, Ordering::SeqCst);
            self.recorder.keep_unstored(end, &self.turn);
            return false;
        }
        let charge = end.charge;
        let stored = self.recorder.store.end_turn(end.clone()).await;
        self.has_ended.store(true, Ordering::SeqCst);
        match stored {
            Ok(events) => {
                self.recorder.bus.publish(events);
                self.recorder.release_checkpoints(&self.turn);
                true
            }
            Err(error) => {
                log::error!("answer could not be stored: {error}");
                if matches!(error, StoreError::Unavailable(_)) {
                    self.recorder.keep_unstored(end, &self.turn);
                } else {
                    self.recorder.release_checkpoints(&self.turn);
                    budgets::charge_apart(self.recorder.store.as_ref(), charge).await;
                }
                false
            }
        }
    }
}

/// Stores the turn as interrupted if its task was dropped, by a panic or with its thread. The turn's `Acceptance` ends the log.
impl Drop for Recording {
    fn drop(&mut self) {
        if self.has_ended.load(Ordering::SeqCst) {
            return;
        }
        let log = &self.turn.log;
        let (text, token_ends) = log.with_tokens(|tokens| (tokens.text().to_owned(), tokens.ends().to_vec()));
        let end = EndedTurn {
            turn_id: log.subject.turn_id,
            epoch: self.turn.epoch,
            conversation_id: log.subject.conversation_id,
            answer: Answer {
                message_id: MessageId::new(),
                text,
                token_ends,
                finish_reason: FinishReason::Error,
                metadata: lock(&self.turn.metadata).clone().unwrap_or_default(),
                items: log.items_to_store(None).1,
                reasoning: None,
            },
            error: Some(self.recorder.stored_error(&TurnFailure::TaskLost)),
            at: UnixMillis::now(),
            charge: None,
        };
        self.recorder.keep_unstored(end, &self.turn);
    }
}

/// Ignores poisoning: the guarded data is consistent between any two statements that could panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
