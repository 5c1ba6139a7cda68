//! The `Workflow` actor. There is one for each worker thread, and its turns run there; what they share is the [`Engine`].

use super::{
    Question, Recorder, Turns,
    router::Router,
    run::{STARTING, TurnRun, progress},
    specialists::Specialists,
};
use crate::{
    config::WorkflowConfig,
    domain::{ConnectionId, ConversationId, TurnId, UserId},
    knowledge::KnowledgeBase,
    limits::MAX_REPLAYED_TURNS,
    logging,
    metrics::Metrics,
    protocol::{ApiError, ErrorCode, Step, TurnState},
    provider::ModelProvider,
    registry::{ConnectionManager, TurnStarted},
    store::{ConversationStore, Page, StoreError, StoredTurn, StoredTurnState},
    turn::{Progress, Tokens, TurnEnd, TurnLog, TurnSubject},
};
use actix::{Actor, Addr, Context, Handler, ResponseFuture};
use std::{net::IpAddr, sync::Arc};

/// What turns work with.
pub struct Engine {
    pub config: WorkflowConfig,
    /// Passages that go to the model.
    pub max_passages: usize,
    pub specialists: Arc<Specialists>,
    pub router: Router,
    pub provider: Arc<dyn ModelProvider>,
    pub knowledge: Arc<KnowledgeBase>,
    pub store: Arc<dyn ConversationStore>,
    pub recorder: Arc<Recorder>,
    pub turns: Arc<Turns>,
    pub registry: Addr<ConnectionManager>,
    pub metrics: Arc<Metrics>,
}

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
#[rtype(result = "Result<StartedTurn, ApiError>")]
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
#[rtype(result = "Result<Arc<TurnLog>, ApiError>")]
pub struct ResumeTurn {
    pub user_id: UserId,
    pub turn_id: TurnId,
}

/// Finds what a connection that subscribes to a conversation has missed. Turns that begin later are announced to it by the
/// registry, if it is subscribed there before it asks.
#[derive(actix::Message)]
#[rtype(result = "Result<ResumedConversation, ApiError>")]
pub struct ResumeConversation {
    pub user_id: UserId,
    pub conversation_id: ConversationId,
    /// The turn to replay; the latest one without.
    pub turn_id: Option<TurnId>,
}

/// The turns that [`ResumeConversation`] found.
#[derive(Default)]
pub struct ResumedConversation {
    /// The turn to replay; `None` when the conversation has none that can be.
    pub turn: Option<Arc<TurnLog>>,
    /// Turns that began after it, oldest first.
    pub later: Vec<Arc<TurnLog>>,
    /// More turns began after it than are replayed.
    pub has_more: bool,
}

impl ResumedConversation {
    pub fn state(&self) -> TurnState {
        self.turn.as_ref().map_or(TurnState::Idle, |turn| turn.state())
    }
}

/// Asks a running turn to stop. It ends in `complete` with what there was; a turn that has ended stays as it is, and the
/// answer is `false`.
#[derive(actix::Message)]
#[rtype(result = "Result<bool, ApiError>")]
pub struct CancelTurn {
    pub user_id: UserId,
    pub turn_id: TurnId,
}

impl Handler<StartTurn> for Workflow {
    type Result = ResponseFuture<Result<StartedTurn, ApiError>>;

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
    type Result = ResponseFuture<Result<Arc<TurnLog>, ApiError>>;

    fn handle(&mut self, message: ResumeTurn, _: &mut Self::Context) -> Self::Result {
        let engine = Arc::clone(&self.engine);
        Box::pin(async move { engine.find(message.user_id, None, Some(message.turn_id)).await })
    }
}

impl Handler<ResumeConversation> for Workflow {
    type Result = ResponseFuture<Result<ResumedConversation, ApiError>>;

    fn handle(&mut self, message: ResumeConversation, _: &mut Self::Context) -> Self::Result {
        let engine = Arc::clone(&self.engine);
        Box::pin(async move { engine.resume(&message).await })
    }
}

impl Handler<CancelTurn> for Workflow {
    type Result = ResponseFuture<Result<bool, ApiError>>;

    fn handle(&mut self, CancelTurn { user_id, turn_id }: CancelTurn, _: &mut Self::Context) -> Self::Result {
        let engine = Arc::clone(&self.engine);
        Box::pin(async move {
            engine.find(user_id, None, Some(turn_id)).await?;
            Ok(engine.turns.cancel(turn_id))
        })
    }
}

/// A turn whose `client_message_id` was here before.
pub(super) struct BegunBefore {
    pub turn_id: TurnId,
}

impl Engine {
    async fn resume(&self, wanted: &ResumeConversation) -> Result<ResumedConversation, ApiError> {
        let ResumeConversation { user_id, conversation_id, turn_id } = *wanted;
        let turn = match self.find(user_id, Some(conversation_id), turn_id).await {
            Ok(turn) => turn,
            Err(error) if error.code == ErrorCode::ResumeUnavailable && turn_id.is_none() => {
                let nothing = Page { before: None, limit: 0 };
                return match self.store.messages(user_id, conversation_id, nothing).await {
                    Ok(_) => Ok(ResumedConversation::default()),
                    Err(StoreError::NotFound(_)) => Err(error),
                    Err(other) => Err(other.into()),
                };
            }
            Err(error) => return Err(error),
        };
        // While a turn runs, none can begin after it; the latest one has none after it either.
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
                // Its conversation was deleted meanwhile, or it cannot be replayed token by token.
                Err(error) if error.code == ErrorCode::ResumeUnavailable => resumed.has_more = true,
                Err(error) => return Err(error),
            }
        }
        Ok(resumed)
    }

    /// A turn of this user.
    async fn find(
        &self,
        user_id: UserId,
        conversation_id: Option<ConversationId>,
        turn_id: Option<TurnId>,
    ) -> Result<Arc<TurnLog>, ApiError> {
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
                self.stored(turn_id.ok_or_else(unknown_turn)?).await?
            }
        };
        let subject = turn.subject;
        if subject.user_id != user_id {
            return Err(ApiError::new(ErrorCode::Forbidden, "This conversation is somebody else's."));
        }
        if conversation_id.is_some_and(|id| id != subject.conversation_id) {
            return Err(unknown_turn());
        }
        Ok(turn)
    }

    async fn stored(&self, turn_id: TurnId) -> Result<Arc<TurnLog>, ApiError> {
        if let Some(turn) = self.turns.find(turn_id).await {
            return Ok(turn);
        }
        let stored = self.store.turn(turn_id).await?;
        stored.and_then(restore).ok_or_else(unknown_turn)
    }
}

/// The log of a turn that ended before; `None` for one that cannot be replayed token by token.
fn restore(stored: StoredTurn) -> Option<Arc<TurnLog>> {
    let subject =
        TurnSubject { turn_id: stored.turn_id, conversation_id: stored.conversation_id, user_id: stored.user_id };
    let (tokens, answer) = match stored.answer {
        Some(mut answer) => {
            let tokens = Tokens::restore(std::mem::take(&mut answer.text), std::mem::take(&mut answer.token_ends))?;
            (tokens, Some(answer))
        }
        None => (Tokens::default(), None),
    };
    let end = match (stored.state, answer) {
        (StoredTurnState::Complete, Some(answer)) => TurnEnd::Complete {
            message_id: answer.message_id,
            finish_reason: answer.finish_reason,
            metadata: Box::new(answer.metadata),
            sha256: tokens.sha256(),
        },
        (StoredTurnState::Failed { code, message }, _) => {
            let code = ErrorCode::ALL.iter().find(|known| known.as_str() == code).copied();
            TurnEnd::Failed(ApiError::new(code.unwrap_or(ErrorCode::TurnInterrupted), message))
        }
        (StoredTurnState::Running | StoredTurnState::Complete, _) => return None,
    };
    let starting = Progress {
        client_message_id: stored.client_message_id,
        question: stored.question,
        ..progress(Step::Starting, STARTING)
    };
    Some(TurnLog::restore(subject, starting, tokens, end))
}

fn unknown_turn() -> ApiError {
    ApiError::new(ErrorCode::ResumeUnavailable, "This turn is unknown or too old; the history has its answer.")
}
