//! The dependencies of a turn, shared by the workflows of all worker threads, the check of access, and the lookup of a turn's log.

use super::{
    Recorder, Tasks, Turns,
    budgets::DailyLimits,
    error::TurnError,
    guide::Guide,
    progress::{STARTING, progress},
    router::Router,
    sources::{PassageUrl, renew_links},
    specialists::Specialists,
};
use crate::{
    bus::Bus,
    config::WorkflowConfig,
    domain::{ConnectionId, ConversationAccess, ConversationId, TurnId, UserId},
    knowledge::KnowledgeBase,
    language::Languages,
    metrics::Metrics,
    provider::Providers,
    store::{ConversationStore, EventStore, StoreError, StoredTurn, StoredTurnState},
    turn::{FailureMapping, Progress, Tokens, TurnEnd, TurnFailure, TurnLog, TurnSubject},
};
use std::sync::Arc;
use switchboard_protocol::Step;

/// The dependencies of a turn.
pub struct Engine {
    pub config: WorkflowConfig,
    /// The number of passages that are sent to the model.
    pub max_passages: usize,
    pub specialists: Arc<Specialists>,
    pub languages: Arc<Languages>,
    pub guide: Arc<Guide>,
    pub router: Router,
    pub providers: Arc<Providers>,
    pub knowledge: Arc<KnowledgeBase>,
    pub store: Arc<dyn ConversationStore>,
    pub events: Arc<dyn EventStore>,
    pub recorder: Arc<Recorder>,
    /// Queue of the task model, if there is one.
    pub tasks: Option<Tasks>,
    pub turns: Arc<Turns>,
    pub bus: Arc<dyn Bus>,
    pub metrics: Arc<Metrics>,
    /// Currency of costs.
    pub currency: String,
    /// Daily budget of each user.
    pub budget: DailyLimits,
    pub failures: FailureMapping,
    pub passage_url: PassageUrl,
}

impl Engine {
    /// Announces the turns that others start in a conversation to a connection, whose user has access.
    pub(super) fn announce_to(&self, connection_id: Option<ConnectionId>, conversation_id: ConversationId) {
        if let Some(connection_id) = connection_id {
            self.bus.announce_to(connection_id, conversation_id);
        }
    }

    /// Checks that a user has the right that `is_granted` looks for.
    pub(super) async fn require(
        &self,
        user_id: UserId,
        conversation_id: ConversationId,
        is_granted: fn(ConversationAccess) -> bool,
    ) -> Result<ConversationAccess, TurnError> {
        match self.events.require(user_id, conversation_id, is_granted).await {
            Err(StoreError::Forbidden(_)) => Err(TurnError::Forbidden),
            access => Ok(access?),
        }
    }

    /// Finds a turn that the user may read.
    pub(super) async fn find(&self, user_id: UserId, turn_id: TurnId) -> Result<Arc<TurnLog>, TurnError> {
        let turn = self.turn(turn_id).await?;
        match self.events.access(user_id, turn.subject.conversation_id).await {
            Ok(access) if access.can_read_turn(turn.has_ended()) => Ok(turn),
            Ok(_) => Err(TurnError::Forbidden),
            // The conversation was deleted in the meantime.
            Err(StoreError::NotFound(_)) => Err(TurnError::Unknown),
            Err(error) => Err(error.into()),
        }
    }

    /// Finds the running or latest turn of a conversation; `None` if there is none, or none that can be replayed.
    pub(super) async fn latest(&self, conversation_id: ConversationId) -> Result<Option<Arc<TurnLog>>, TurnError> {
        if let Some(running) = self.turns.running_in(conversation_id).await {
            return Ok(Some(running));
        }
        let Some(turn_id) = self.store.latest_turn(conversation_id).await? else { return Ok(None) };
        match self.turn(turn_id).await {
            Err(TurnError::Unknown) => Ok(None),
            turn => turn.map(Some),
        }
    }

    /// Finds a turn, in memory or in the store.
    pub(super) async fn turn(&self, turn_id: TurnId) -> Result<Arc<TurnLog>, TurnError> {
        if let Some(turn) = self.turns.find(turn_id).await {
            return Ok(turn);
        }
        let stored = self.store.turn(turn_id).await?;
        let restored = stored.and_then(|stored| restore(stored, &self.passage_url));
        restored.map(|turn| self.turns.share(turn)).ok_or(TurnError::Unknown)
    }
}

/// Rebuilds the log of an ended turn; `None` if its token boundaries are unknown.
fn restore(stored: StoredTurn, url: &PassageUrl) -> Option<Arc<TurnLog>> {
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
        (StoredTurnState::Complete, Some(mut answer)) => {
            renew_links(&mut answer.metadata, url);
            TurnEnd::Complete {
                message_id: answer.message_id,
                finish_reason: answer.finish_reason,
                metadata: Box::new(answer.metadata),
                sha256: tokens.sha256(),
            }
        }
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
