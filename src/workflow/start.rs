//! Start of a turn: the checks of its user, its admission, and its question on disk.

use super::{Question, engine::Engine, error::TurnError, stages::Asked, summary, turns::Acceptance};
use crate::{
    domain::{ConnectionId, ConversationAccess, LOCAL_NODE, MessageId, TurnId, UnixMillis},
    limits::MAX_HISTORY_MESSAGES,
    metrics::TurnStep,
    store::{AcceptedTurn, BegunTurn, NewTurn, StoreError},
    turn::TurnLog,
};
use std::{net::IpAddr, sync::Arc, time::Instant};

/// The turn that the same `client_message_id` started before.
pub(super) struct AlreadyStarted {
    pub turn_id: TurnId,
}

/// An accepted turn, ready to run.
pub struct TurnRun {
    pub(super) engine: Arc<Engine>,
    pub(super) log: Arc<TurnLog>,
    pub(super) acceptance: Acceptance,
    /// Epoch of the conversation, under which the turn writes.
    pub(super) epoch: i64,
    pub(super) asked: Box<Asked>,
    pub(super) began: Instant,
}

impl TurnRun {
    /// Admits a turn and stores its question.
    ///
    /// # Errors
    /// The outer error refuses the turn; the inner one names the turn that the same message started before.
    pub async fn begin(
        engine: Arc<Engine>,
        log: Arc<TurnLog>,
        question: Question,
        by: Option<ConnectionId>,
        address: IpAddr,
    ) -> Result<Result<Self, AlreadyStarted>, TurnError> {
        let began = Instant::now();
        let user_id = log.subject.user_id;
        let admitted = async {
            // Before admission, which reserves the conversation: a user without access must neither block it nor learn that a
            // turn is running in it.
            if let Some(conversation) = question.conversation_id {
                engine.events.require(user_id, conversation, ConversationAccess::can_write).await?;
                engine.announce_to(by, conversation);
            }
            let reservation = engine.turns.reserve(&log, address)?;
            // After the reservation, which limits the turns that may exceed the budget together.
            engine.budget.check(engine.store.as_ref(), user_id, UnixMillis::now()).await?;
            reservation.admit().await
        };
        let admission = match admitted.await {
            Ok(admission) => admission,
            Err(refusal) => {
                // The running turn may be that of the same message, sent again after a reconnect.
                if let Some(id) = question.client_message_id
                    && let Some(turn_id) = engine.store.turn_of_message(user_id, id).await?
                {
                    return Ok(Err(AlreadyStarted { turn_id }));
                }
                return Err(refusal);
            }
        };
        if engine.recorder.unstored() > 0 {
            return Err(StoreError::Unavailable("answers wait to be stored".to_owned()).into());
        }
        let begun = engine.store.begin_turn(NewTurn {
            turn_id: log.subject.turn_id,
            user_id,
            conversation_id: log.subject.conversation_id,
            is_new_conversation: question.conversation_id.is_none(),
            message_id: MessageId::new(),
            text: question.text.clone(),
            client_message_id: question.client_message_id.clone(),
            customer_id: question.customer_id.clone(),
            at: UnixMillis::now(),
            owner_node: LOCAL_NODE.to_owned(),
            history_messages: MAX_HISTORY_MESSAGES,
        });
        match begun.await? {
            BegunTurn::Started(AcceptedTurn { history, summary, epoch, events }) => {
                if question.conversation_id.is_none() {
                    engine.announce_to(by, log.subject.conversation_id);
                }
                engine.bus.publish(events);
                let history = summary::history(history, summary, engine.config.context_token_budget);
                let asked = Box::new(Asked::new(question, history));
                let acceptance = admission.accept();
                engine.metrics.step(TurnStep::Admit, began.elapsed());
                Ok(Ok(Self { engine, log, acceptance, epoch, asked, began }))
            }
            BegunTurn::Duplicate { turn_id } => Ok(Err(AlreadyStarted { turn_id })),
        }
    }
}
