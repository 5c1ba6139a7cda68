//! Persistence of turns: checkpoints of running answers, and the final answers.
//!
//! Streaming never waits for the store. One task batches the new text of all turns into few writes. When the store cannot take
//! the end of a turn, it is kept in memory and retried.

use super::{
    budgets,
    journal::{Journal, Part},
    recorded_turn::RecordedTurn,
    unstored::Unstored,
};
use crate::{
    bus::Bus,
    domain::UnixMillis,
    limits::{
        CHECKPOINT_BATCH_BYTES, CHECKPOINT_BATCH_TURNS, CHECKPOINT_INTERVAL_MS, CLIENT_MESSAGE_ID_LIFE_MS,
        MAX_UNSTORED_BYTES, PURGE_INTERVAL, UNSTORED_RETRY_INTERVAL_MS,
    },
    store::{ConversationStore, EndedTurn, ServingClock, StoreError},
    turn::{FailureMapping, TurnFailure},
};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{Mutex as AsyncMutex, Notify},
    time::{MissedTickBehavior, interval},
};

pub struct Recorder {
    pub(super) store: Arc<dyn ConversationStore>,
    pub(super) bus: Arc<dyn Bus>,
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
                        turn.clear_changed();
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
                    let needed = taken.into_iter().filter(|(turn, ..)| !turn.is_stored());
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
                        turn.save_again_from(first_seq);
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
            turn.save_again_from(0);
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
    pub(super) fn release_checkpoints(&self, turn: &RecordedTurn) {
        // Set before the journal is locked: a checkpoint in flight checks the flag under that lock.
        turn.set_stored();
        lock(&self.journal).forget(turn.log.subject.turn_id);
    }

    /// Lets the next interval write a turn with new output.
    pub(super) fn mark_changed(&self, turn: &Arc<RecordedTurn>) {
        if turn.set_changed() {
            lock(&self.changed).push(Arc::clone(turn));
        }
    }

    /// Writes a turn without waiting for the interval.
    pub(super) fn write_soon(&self, turn: &Arc<RecordedTurn>) {
        lock(&self.urgent).push(Arc::clone(turn));
        self.wake.notify_one();
    }

    /// Keeps an end in memory for a retry.
    pub(super) fn keep_unstored(&self, end: EndedTurn, turn: &Arc<RecordedTurn>) {
        let turn_id = end.turn_id;
        if !lock(&self.unstored).push(end, turn) {
            log::error!(turn_id:%, max_bytes = MAX_UNSTORED_BYTES; "answer lost; too many answers wait for the store");
        }
    }
}

/// Ignores poisoning: the guarded data is consistent between any two statements that could panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
