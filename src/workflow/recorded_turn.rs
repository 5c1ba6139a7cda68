//! The recorder's state of one running turn: the part of its output that is in checkpoints.

use super::budgets::Spending;
use crate::{
    domain::{AnswerMetadata, FinishReason, MessageId, UnixMillis},
    store::{Answer, Checkpoint, EndedTurn},
    turn::TurnLog,
};
use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering},
};

/// The value of `saved_items` before the first checkpoint.
const UNSAVED: usize = usize::MAX;

/// A running turn.
pub struct RecordedTurn {
    pub log: Arc<TurnLog>,
    /// Epoch of the conversation, under which the turn writes.
    pub epoch: i64,
    pub spending: Spending,
    /// The number of tokens that are in a checkpoint, written or in flight.
    saved_tokens: AtomicU32,
    is_changed: AtomicBool,
    /// The metadata known so far.
    metadata: Mutex<Option<AnswerMetadata>>,
    /// Whether this metadata is in a checkpoint.
    metadata_saved: AtomicBool,
    /// The number of items that are in a checkpoint; [`UNSAVED`] before the first.
    saved_items: AtomicUsize,
    /// Whether the end is in the store, so that the checkpoints are obsolete.
    is_stored: AtomicBool,
}

impl RecordedTurn {
    pub fn new(log: Arc<TurnLog>, epoch: i64, spending: Spending) -> Self {
        Self {
            log,
            epoch,
            spending,
            saved_tokens: AtomicU32::new(0),
            is_changed: AtomicBool::new(false),
            metadata: Mutex::default(),
            metadata_saved: AtomicBool::new(false),
            saved_items: AtomicUsize::new(UNSAVED),
            is_stored: AtomicBool::new(false),
        }
    }

    /// Notes output that is in no checkpoint; returns `false` if that was noted already.
    pub fn set_changed(&self) -> bool {
        !self.is_changed.swap(true, Ordering::SeqCst)
    }

    pub fn clear_changed(&self) {
        self.is_changed.store(false, Ordering::SeqCst);
    }

    /// Notes that the end is in the store, or never will be.
    pub fn set_stored(&self) {
        self.is_stored.store(true, Ordering::SeqCst);
    }

    pub fn is_stored(&self) -> bool {
        self.is_stored.load(Ordering::SeqCst)
    }

    /// Returns the number of the first `tokens` tokens that are in no checkpoint.
    pub fn unsaved_tokens(&self, tokens: u32) -> u32 {
        tokens.saturating_sub(self.saved_tokens.load(Ordering::SeqCst))
    }

    /// Replaces the metadata known so far, which the next checkpoint saves.
    pub fn describe(&self, metadata: AnswerMetadata) {
        *self.metadata() = Some(metadata);
        self.metadata_saved.store(false, Ordering::SeqCst);
    }

    /// Takes the output since the last checkpoint. `None` if there is none, or if the turn has ended: the end holds all of it.
    pub fn take_checkpoint(&self) -> Option<Checkpoint> {
        if self.log.has_ended() {
            return None;
        }
        let first_seq = self.saved_tokens.load(Ordering::SeqCst);
        let (count, text, token_ends) = self.log.with_tokens(|tokens| {
            let count = tokens.count();
            (count, tokens.joined(first_seq..count).to_owned(), tokens.ends()[first_seq as usize..].to_vec())
        });
        let is_saved = self.metadata_saved.swap(true, Ordering::SeqCst);
        let metadata = if is_saved { None } else { self.metadata().clone() };
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
            charge: self.spending.charge(UnixMillis::now()),
        })
    }

    /// Lets the next checkpoint hold the output from token `first_seq` on, and everything else.
    pub fn save_again_from(&self, first_seq: u32) {
        self.saved_tokens.store(first_seq, Ordering::SeqCst);
        self.metadata_saved.store(false, Ordering::SeqCst);
        self.saved_items.store(UNSAVED, Ordering::SeqCst);
    }

    /// Returns the end of the turn if its task is lost, with the answer so far and this code and message.
    pub fn interrupted(&self, error: (String, String)) -> EndedTurn {
        let (text, token_ends) = self.log.with_tokens(|tokens| (tokens.text().to_owned(), tokens.ends().to_vec()));
        let at = UnixMillis::now();
        EndedTurn {
            turn_id: self.log.subject.turn_id,
            epoch: self.epoch,
            conversation_id: self.log.subject.conversation_id,
            answer: Answer {
                message_id: MessageId::new(),
                text,
                token_ends,
                finish_reason: FinishReason::Error,
                metadata: self.metadata().clone().unwrap_or_default(),
                items: self.log.items_to_store(None).1,
                reasoning: None,
            },
            error: Some(error),
            at,
            charge: self.spending.charge(at),
        }
    }

    /// Ignores poisoning: the metadata is replaced as a whole.
    fn metadata(&self) -> MutexGuard<'_, Option<AnswerMetadata>> {
        self.metadata.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
