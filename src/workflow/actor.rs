//! The `Workflow` actor. There is one for each worker thread, and its turns run there; what they share is the [`Engine`].

use super::{
    Question,
    engine::{Engine, ResumedConversation},
    error::TurnError,
    run::{BegunBefore, TurnRun},
};
use crate::{
    domain::{ConnectionId, ConversationId, TurnId, UserId},
    logging,
    registry::TurnStarted,
    turn::{TurnLog, TurnSubject},
};
use actix::{Actor, Context, Handler, ResponseFuture};
use std::{net::IpAddr, sync::Arc};

pub struct Workflow {
    engine: Arc<Engine>,
}

impl Workflow {
    pub fn new(engine: Arc<Engine>) -> Self {
        Self { engine }
    }
}

impl Actor for Workflow {
    type Context = Context<Self>;
}

/// Starts a turn. Its log is the caller's, who may follow it from before the first word.
#[derive(actix::Message)]
#[rtype(result = "Result<StartedTurn, TurnError>")]
pub struct StartTurn {
    pub turn: Arc<TurnLog>,
    pub question: Question,
    /// The session that starts it.
    pub by: Option<ConnectionId>,
    /// The client's: exempt addresses are not held to the limit on turns of one user.
    pub address: IpAddr,
}

/// What became of a [`StartTurn`].
pub enum StartedTurn {
    /// The question is on disk, and the turn runs.
    New,
    /// This `client_message_id` started that turn before; the log that came with the request stays empty.
    Duplicate(Arc<TurnLog>),
}

/// Finds a turn's log, in memory or in the store.
#[derive(actix::Message)]
#[rtype(result = "Result<Arc<TurnLog>, TurnError>")]
pub struct ResumeTurn {
    pub user_id: UserId,
    pub turn_id: TurnId,
}

/// Finds what a connection that subscribes to a conversation has missed. Turns that begin later are announced to it by the
/// registry, if it is subscribed there before it asks.
#[derive(actix::Message)]
#[rtype(result = "Result<ResumedConversation, TurnError>")]
pub struct ResumeConversation {
    pub user_id: UserId,
    pub conversation_id: ConversationId,
    /// The turn to replay; the latest one without.
    pub turn_id: Option<TurnId>,
}

/// Asks a running turn to stop. It ends in `complete` with what there was; a turn that has ended stays as it is, and the
/// answer is `false`.
#[derive(actix::Message)]
#[rtype(result = "Result<bool, TurnError>")]
pub struct CancelTurn {
    pub user_id: UserId,
    pub turn_id: TurnId,
}

impl Handler<StartTurn> for Workflow {
    type Result = ResponseFuture<Result<StartedTurn, TurnError>>;

    fn handle(&mut self, StartTurn { turn, question, by, address }: StartTurn, _: &mut Self::Context) -> Self::Result {
        let engine = Arc::clone(&self.engine);
        let TurnSubject { turn_id, conversation_id, .. } = turn.subject;
        let fields = vec![("turn_id", turn_id.to_string()), ("conversation_id", conversation_id.to_string())];
        Box::pin(logging::with_fields(fields.clone(), async move {
            match TurnRun::begin(Arc::clone(&engine), Arc::clone(&turn), question, address).await? {
                Ok(run) => {
                    log::info!("a turn began");
                    engine.registry.do_send(TurnStarted { turn, by });
                    // A task of the runtime, not of this actor: an actor's context polls all it has spawned at each
                    // wake-up, so that a token would cost more the more turns run.
                    actix::spawn(logging::with_fields(fields, run.finish()));
                    Ok(StartedTurn::New)
                }
                Err(BegunBefore { turn_id }) => {
                    let subject = turn.subject;
                    let first = engine.find(subject.user_id, None, Some(turn_id)).await?;
                    Ok(StartedTurn::Duplicate(first))
                }
            }
        }))
    }
}

impl Handler<ResumeTurn> for Workflow {
    type Result = ResponseFuture<Result<Arc<TurnLog>, TurnError>>;

    fn handle(&mut self, message: ResumeTurn, _: &mut Self::Context) -> Self::Result {
        let engine = Arc::clone(&self.engine);
        Box::pin(async move { engine.find(message.user_id, None, Some(message.turn_id)).await })
    }
}

impl Handler<ResumeConversation> for Workflow {
    type Result = ResponseFuture<Result<ResumedConversation, TurnError>>;

    fn handle(&mut self, message: ResumeConversation, _: &mut Self::Context) -> Self::Result {
        let engine = Arc::clone(&self.engine);
        let ResumeConversation { user_id, conversation_id, turn_id } = message;
        Box::pin(async move { engine.resume(user_id, conversation_id, turn_id).await })
    }
}

impl Handler<CancelTurn> for Workflow {
    type Result = ResponseFuture<Result<bool, TurnError>>;

    fn handle(&mut self, CancelTurn { user_id, turn_id }: CancelTurn, _: &mut Self::Context) -> Self::Result {
        let engine = Arc::clone(&self.engine);
        Box::pin(async move {
            engine.find(user_id, None, Some(turn_id)).await?;
            Ok(engine.turns.cancel(turn_id))
        })
    }
}
