//! The `ConnectionManager` actor: [`RegistryState`] behind a mailbox.

use super::{RegistryStats, SessionsPage, Vitals, state::RegistryState};
use crate::{
    domain::{ConversationId, SessionId},
    protocol::CloseReason,
    turn::TurnLog,
};
use actix::{Actor, Addr, Context, Handler, MessageResult, Recipient};
use std::sync::Arc;

/// What the registry tells a session to do.
#[derive(Clone, actix::Message)]
#[rtype(result = "()")]
pub enum SessionCommand {
    /// Follow a turn that another session of the same user started.
    Follow(Arc<TurnLog>),
    Close(CloseReason),
}

#[derive(Default)]
pub struct ConnectionManager {
    state: RegistryState<Recipient<SessionCommand>>,
}

impl Actor for ConnectionManager {
    type Context = Context<Self>;
}

/// A session opened. Sent with `do_send`, as is all that must not get lost.
#[derive(actix::Message)]
#[rtype(result = "()")]
pub struct Register {
    pub vitals: Arc<Vitals>,
    pub to: Recipient<SessionCommand>,
}

#[derive(actix::Message)]
#[rtype(result = "()")]
struct Unregister(SessionId);

/// A session's entry in the registry, which ends with it, however it ends.
pub struct Registration {
    registry: Addr<ConnectionManager>,
    id: SessionId,
}

impl Registration {
    pub fn new(registry: Addr<ConnectionManager>, vitals: Arc<Vitals>, to: Recipient<SessionCommand>) -> Self {
        let id = vitals.session_id;
        registry.do_send(Register { vitals, to });
        Self { registry, id }
    }

    /// Gets the session the turns that others start in this conversation, too.
    pub fn follow(&self, conversation_id: ConversationId) {
        self.registry.do_send(FollowConversation { session_id: self.id, conversation_id });
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.registry.do_send(Unregister(self.id));
    }
}

#[derive(actix::Message)]
#[rtype(result = "()")]
pub struct FollowConversation {
    pub session_id: SessionId,
    pub conversation_id: ConversationId,
}

/// A turn began; whoever else follows its conversation is told.
#[derive(actix::Message)]
#[rtype(result = "()")]
pub struct TurnStarted {
    pub turn: Arc<TurnLog>,
    /// The session that started it and follows it already.
    pub by: Option<SessionId>,
}

#[derive(actix::Message)]
#[rtype(result = "RegistryStats")]
pub struct GetStats;

#[derive(actix::Message)]
#[rtype(result = "SessionsPage")]
pub struct ListSessions {
    pub after: Option<SessionId>,
    pub limit: usize,
}

/// Closes every session, and returns how many there were.
#[derive(actix::Message)]
#[rtype(result = "usize")]
pub struct CloseSessions(pub CloseReason);

impl Handler<Register> for ConnectionManager {
    type Result = ();

    fn handle(&mut self, Register { vitals, to }: Register, _: &mut Self::Context) {
        self.state.register(vitals, to);
    }
}

impl Handler<Unregister> for ConnectionManager {
    type Result = ();

    fn handle(&mut self, Unregister(id): Unregister, _: &mut Self::Context) {
        self.state.unregister(id);
    }
}

impl Handler<FollowConversation> for ConnectionManager {
    type Result = ();

    fn handle(&mut self, message: FollowConversation, _: &mut Self::Context) {
        self.state.follow(message.session_id, message.conversation_id);
    }
}

impl Handler<TurnStarted> for ConnectionManager {
    type Result = ();

    fn handle(&mut self, TurnStarted { turn, by }: TurnStarted, _: &mut Self::Context) {
        for session in self.state.followers(turn.subject.conversation_id, turn.subject.user_id, by) {
            session.do_send(SessionCommand::Follow(Arc::clone(&turn)));
        }
    }
}

impl Handler<GetStats> for ConnectionManager {
    type Result = MessageResult<GetStats>;

    fn handle(&mut self, _: GetStats, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.state.stats())
    }
}

impl Handler<ListSessions> for ConnectionManager {
    type Result = MessageResult<ListSessions>;

    fn handle(&mut self, ListSessions { after, limit }: ListSessions, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.state.page(after, limit))
    }
}

impl Handler<CloseSessions> for ConnectionManager {
    type Result = MessageResult<CloseSessions>;

    fn handle(&mut self, CloseSessions(reason): CloseSessions, _: &mut Self::Context) -> Self::Result {
        let mut told = 0;
        for session in self.state.recipients() {
            session.do_send(SessionCommand::Close(reason));
            told += 1;
        }
        MessageResult(told)
    }
}
