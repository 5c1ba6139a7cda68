//! The dependencies of a turn, shared by the workflows of all worker threads, and the lookup of a turn's log.

use super::{
    Recorder, Turns,
    error::TurnError,
    progress::{STARTING, progress},
    router::Router,
    specialists::Specialists,
};
use crate::{
    bus::Bus,
    config::WorkflowConfig,
    domain::{ConversationId, Event, TurnId, UserId},
    knowledge::KnowledgeBase,
    limits::{EVENTS_PER_READ, MAX_REPLAYED_EVENTS, MAX_REPLAYED_TURNS, SNAPSHOT_EVENTS},
    metrics::Metrics,
    provider::ModelProvider,
    store::{ConversationStore, EventStore, Listed, Page, StoreError, StoredTurn, StoredTurnState},
    turn::{FailureMapping, Progress, Tokens, TurnEnd, TurnFailure, TurnLog, TurnSubject},
};
use std::sync::Arc;
use switchboard_protocol::{Step, TurnState};

/// The number of events that a connection reads at once.
const PAGE_OF_EVENTS: i64 = EVENTS_PER_READ as i64;

/// The dependencies of a turn.
pub struct Engine {
    pub config: WorkflowConfig,
    /// The number of passages that are sent to the model.
    pub max_passages: usize,
    pub specialists: Arc<Specialists>,
    pub router: Router,
    pub provider: Arc<dyn ModelProvider>,
    pub knowledge: Arc<KnowledgeBase>,
    pub store: Arc<dyn ConversationStore>,
    pub events: Arc<dyn EventStore>,
    pub recorder: Arc<Recorder>,
    pub turns: Arc<Turns>,
    pub bus: Arc<dyn Bus>,
    pub metrics: Arc<Metrics>,
    pub failures: FailureMapping,
}

/// The turns that a connection has missed in a conversation.
#[derive(Default)]
pub struct ResumedConversation {
    /// The turn to replay; `None` when the conversation has no turn that can be replayed.
    pub turn: Option<Arc<TurnLog>>,
    /// Turns that began after it, oldest first.
    pub later: Vec<Arc<TurnLog>>,
    /// More turns began after it than are replayed.
    pub has_more: bool,
}

/// The events that a connection has missed in a conversation.
pub struct ResumedEvents {
    /// Position after which the events follow.
    pub from_position: i64,
    /// Position of the latest event.
    pub head: i64,
    /// Whether the events follow from another position than the client named.
    pub is_snapshot: bool,
    /// The first of the events.
    pub events: Listed<Event>,
    /// The turn that is running.
    pub running: Option<Arc<TurnLog>>,
}

impl ResumedConversation {
    pub fn state(&self) -> TurnState {
        self.turn.as_ref().map_or(TurnState::Idle, |turn| turn.state())
    }
}

impl Engine {
    /// Finds the turns that a connection has missed in a conversation, from `turn_id` on or from the latest turn.
    pub(super) async fn resume(
        &self,
        user_id: UserId,
        conversation_id: ConversationId,
        turn_id: Option<TurnId>,
    ) -> Result<ResumedConversation, TurnError> {
        let turn = match self.find(user_id, Some(conversation_id), turn_id).await {
            Ok(turn) => turn,
            Err(error) if error == TurnError::Unknown && turn_id.is_none() => {
                let nothing = Page { before: None, limit: 0 };
                return match self.store.messages(user_id, conversation_id, nothing).await {
                    Ok(_) => Ok(ResumedConversation::default()),
                    Err(StoreError::NotFound(_)) => Err(error),
                    Err(other) => Err(other.into()),
                };
            }
            Err(error) => return Err(error),
        };
        // No turn follows a running one or the latest one.
        let later = match turn_id {
            Some(turn_id) if turn.has_ended() => {
                self.store.turns_after(conversation_id, turn_id, MAX_REPLAYED_TURNS + 1).await?
            }
            _ => Vec::new(),
        };
        let mut resumed = ResumedConversation { turn: Some(turn), ..ResumedConversation::default() };
        if later.len() > MAX_REPLAYED_TURNS {
            resumed.has_more = true;
            return Ok(resumed);
        }
        for turn_id in later {
            match self.find(user_id, Some(conversation_id), Some(turn_id)).await {
                Ok(turn) => resumed.later.push(turn),
                // Its conversation was deleted in the meantime, or its token boundaries are unknown.
                Err(TurnError::Unknown) => resumed.has_more = true,
                Err(error) => return Err(error),
            }
        }
        Ok(resumed)
    }

    /// Finds the events that a connection has missed after a position, and the running turn.
    pub(super) async fn resume_events(
        &self,
        user_id: UserId,
        conversation_id: ConversationId,
        last_position: i64,
    ) -> Result<ResumedEvents, TurnError> {
        let readable_from = self.readable_from(user_id, conversation_id).await?;
        // Before the events are read: a turn that ends in between is shown, and its end arrives.
        let running = self.turns.running_in(user_id, conversation_id).await;
        let head = self.events.head(conversation_id).await?;
        let is_snapshot = last_position > head || head - last_position > MAX_REPLAYED_EVENTS;
        let from = if is_snapshot { (head - SNAPSHOT_EVENTS).max(0) } else { last_position };
        let from_position = from.max(readable_from - 1);
        let events = self.events.events_after(conversation_id, from_position, PAGE_OF_EVENTS).await?;
        Ok(ResumedEvents { from_position, head, is_snapshot, events, running })
    }

    /// Reads the next events after a position.
    pub(super) async fn read_events(
        &self,
        user_id: UserId,
        conversation_id: ConversationId,
        after: i64,
    ) -> Result<Listed<Event>, TurnError> {
        self.readable_from(user_id, conversation_id).await?;
        Ok(self.events.events_after(conversation_id, after, PAGE_OF_EVENTS).await?)
    }

    /// Returns the position of the first event that the user may read.
    async fn readable_from(&self, user_id: UserId, conversation_id: ConversationId) -> Result<i64, TurnError> {
        let access = self.events.access(user_id, conversation_id).await?;
        access.readable_from().ok_or(TurnError::Forbidden)
    }

    /// Finds a turn of this user: by its id, or the running or latest one of a conversation.
    pub(super) async fn find(
        &self,
        user_id: UserId,
        conversation_id: Option<ConversationId>,
        turn_id: Option<TurnId>,
    ) -> Result<Arc<TurnLog>, TurnError> {
        let in_memory = match (turn_id, conversation_id) {
            (Some(turn_id), _) => self.turns.find(turn_id).await,
            (None, Some(conversation_id)) => self.turns.running_in(user_id, conversation_id).await,
            (None, None) => None,
        };
        let turn = match in_memory {
            Some(turn) => turn,
            None => {
                let turn_id = match (turn_id, conversation_id) {
                    (Some(turn_id), _) => Some(turn_id),
                    (None, Some(conversation_id)) => self.store.latest_turn(conversation_id).await?,
                    (None, None) => None,
                };
                self.stored(turn_id.ok_or(TurnError::Unknown)?).await?
            }
        };
        let subject = turn.subject;
        if subject.user_id != user_id {
            return Err(TurnError::Forbidden);
        }
        if conversation_id.is_some_and(|id| id != subject.conversation_id) {
            return Err(TurnError::Unknown);
        }
        Ok(turn)
    }

    async fn stored(&self, turn_id: TurnId) -> Result<Arc<TurnLog>, TurnError> {
        if let Some(turn) = self.turns.find(turn_id).await {
            return Ok(turn);
        }
        let stored = self.store.turn(turn_id).await?;
        stored.and_then(restore).ok_or(TurnError::Unknown)
    }
}

/// Rebuilds the log of an ended turn; `None` if its token boundaries are unknown.
fn restore(stored: StoredTurn) -> Option<Arc<TurnLog>> {
    let subject =
        TurnSubject { turn_id: stored.turn_id, conversation_id: stored.conversation_id, user_id: stored.user_id };
    let (tokens, items, answer) = match stored.answer {
        Some(mut answer) => {
            let tokens = Tokens::restore(std::mem::take(&mut answer.text), std::mem::take(&mut answer.token_ends))?;
            (tokens, answer.items.take(), Some(answer))
        }
        None => (Tokens::default(), None, None),
    };
    let end = match (stored.state, answer) {
        (StoredTurnState::Complete, Some(answer)) => TurnEnd::Complete {
            message_id: answer.message_id,
            finish_reason: answer.finish_reason,
            metadata: Box::new(answer.metadata),
            sha256: tokens.sha256(),
        },
        (StoredTurnState::Failed { code, message }, _) => TurnEnd::Failed(TurnFailure::Restored { code, message }),
        (StoredTurnState::Running | StoredTurnState::Complete, _) => return None,
    };
    let starting = Progress {
        client_message_id: stored.client_message_id,
        question: stored.question,
        ..progress(Step::Starting, STARTING)
    };
    Some(TurnLog::restore(subject, starting, tokens, items.as_deref(), end))
}
