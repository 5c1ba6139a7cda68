//! The `Workflow` actor: starts, finds and cancels turns. Each worker thread has one and runs its turns; all share the
//! [`Engine`].

use super::{
    Question,
    engine::Engine,
    error::TurnError,
    resume::{ResumeConversation, ResumeEvents, ResumedConversation, ResumedEvents},
    start::{AlreadyStarted, TurnRun},
};
use crate::{
    domain::{ConnectionId, ConversationAccess, ConversationId, Event, TurnId, UserId},
    logging,
    store::Listed,
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

/// Starts a turn. The caller creates the log, so that it can subscribe before the first token.
#[derive(actix::Message)]
#[rtype(result = "Result<StartedTurn, TurnError>")]
pub struct StartTurn {
    pub turn: Arc<TurnLog>,
    pub question: Question,
    /// The connection that starts it.
    pub by: Option<ConnectionId>,
    /// The client's address; the limit on turns per user does not apply to exempt ones.
    pub address: IpAddr,
}

/// The result of a [`StartTurn`] that was not refused.
pub enum StartedTurn {
    /// The question is on disk and the turn runs.
    New,
    /// The same `client_message_id` started this turn before; the log in the request stays empty.
    Duplicate(Arc<TurnLog>),
}

/// Finds the log of a turn, in memory or in the store.
#[derive(actix::Message)]
#[rtype(result = "Result<Arc<TurnLog>, TurnError>")]
pub struct ResumeTurn {
    pub user_id: UserId,
    pub turn_id: TurnId,
}

/// Reads the next events after a position.
#[derive(actix::Message)]
#[rtype(result = "Result<Listed<Event>, TurnError>")]
pub struct ReadEvents {
    pub user_id: UserId,
    pub conversation_id: ConversationId,
    pub after: i64,
}

/// Asks a running turn to stop. It ends with `complete` and the answer so far. Returns `false` if the turn has ended already.
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
            match TurnRun::begin(Arc::clone(&engine), Arc::clone(&turn), question, by, address).await? {
                Ok(run) => {
                    log::info!("turn started");
                    engine.bus.announce(turn, by);
                    // Spawned on the runtime rather than on this actor: an actor's context polls all of its futures at
                    // each wake-up, so the cost of a token would grow with the number of turns.
                    actix::spawn(logging::with_fields(fields, run.finish()));
                    Ok(StartedTurn::New)
                }
                Err(AlreadyStarted { turn_id }) => {
                    let first = engine.find(turn.subject.user_id, turn_id).await?;
                    engine.announce_to(by, first.subject.conversation_id);
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
        Box::pin(async move { engine.find(message.user_id, message.turn_id).await })
    }
}

impl Handler<ResumeConversation> for Workflow {
    type Result = ResponseFuture<Result<ResumedConversation, TurnError>>;

    fn handle(&mut self, message: ResumeConversation, _: &mut Self::Context) -> Self::Result {
        let engine = Arc::clone(&self.engine);
        Box::pin(async move { engine.resume(message).await })
    }
}

impl Handler<ResumeEvents> for Workflow {
    type Result = ResponseFuture<Result<ResumedEvents, TurnError>>;

    fn handle(&mut self, message: ResumeEvents, _: &mut Self::Context) -> Self::Result {
        let engine = Arc::clone(&self.engine);
        Box::pin(async move { engine.resume_events(message).await })
    }
}

impl Handler<ReadEvents> for Workflow {
    type Result = ResponseFuture<Result<Listed<Event>, TurnError>>;

    fn handle(&mut self, message: ReadEvents, _: &mut Self::Context) -> Self::Result {
        let engine = Arc::clone(&self.engine);
        let ReadEvents { user_id, conversation_id, after } = message;
        Box::pin(async move { engine.read_events(user_id, conversation_id, after).await })
    }
}

impl Handler<CancelTurn> for Workflow {
    type Result = ResponseFuture<Result<bool, TurnError>>;

    fn handle(&mut self, CancelTurn { user_id, turn_id }: CancelTurn, _: &mut Self::Context) -> Self::Result {
        let engine = Arc::clone(&self.engine);
        Box::pin(async move {
            engine
                .require(user_id, engine.turn(turn_id).await?.subject.conversation_id, ConversationAccess::can_write)
                .await?;
            Ok(engine.turns.cancel(turn_id))
        })
    }
}
