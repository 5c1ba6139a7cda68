//! The `ConnectionManager` actor: [`RegistryState`] behind a mailbox.

use super::{
    ConnectionQuery, ConnectionStats, ConnectionView, ConnectionsPage, RegistryStats, StallLimits,
    drain::{Drain, DrainOrders, GoAwayOrder},
    state::RegistryState,
};
use crate::{
    domain::{ConnectionId, ConversationId, UserId},
    pause,
    protocol::CloseReason,
    store::Revocation,
    turn::TurnLog,
};
use actix::{Actor, Addr, AsyncContext, Context, Handler, MessageResult, Recipient};
use bytestring::ByteString;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// What the registry tells a session to do.
#[derive(Clone, actix::Message)]
#[rtype(result = "()")]
pub enum SessionCommand {
    /// Follow a turn that another session of the same user started.
    Subscribe(Arc<TurnLog>),
    Close(CloseReason),
    /// An operator sends it away; the text of the close frame.
    Kick(Arc<str>),
    /// A frame for whoever is there, made once for all of them.
    Notice(ByteString),
    /// The server stops.
    GoAway {
        /// When the client should come back, in milliseconds.
        reconnect_after_ms: u64,
    },
}

pub struct ConnectionManager {
    state: RegistryState<Recipient<SessionCommand>>,
    stall_limits: StallLimits,
    /// When connections were looked at last.
    looked_at: Instant,
    drain: Option<Drain>,
}

impl ConnectionManager {
    pub fn new(stall_limits: StallLimits) -> Self {
        Self { state: RegistryState::default(), stall_limits, looked_at: Instant::now(), drain: None }
    }

    fn give_up_stalled(&mut self, interval: Duration) {
        let now = Instant::now();
        let due = std::mem::replace(&mut self.looked_at, now) + interval;
        if let Some(paused) = pause::lateness(due, now) {
            self.state.skip_pause(paused);
        }
        for (stats, session) in self.state.give_up_stalled(now, self.stall_limits) {
            log::warn!(connection_id:% = stats.connection_id; "a session is given up: its peer does not read");
            // It stands still. Should it go on after all, this is the first that it does.
            session.do_send(SessionCommand::Close(CloseReason::SlowReader));
        }
    }
}

impl Actor for ConnectionManager {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let interval = (self.stall_limits.lagging / 10).clamp(Duration::from_millis(100), Duration::from_secs(2));
        ctx.run_interval(interval, move |registry, _| registry.give_up_stalled(interval));
    }
}

/// A session opened. Sent with `do_send`, as is all that must not get lost.
#[derive(actix::Message)]
#[rtype(result = "()")]
pub struct Register {
    pub stats: Arc<ConnectionStats>,
    pub to: Recipient<SessionCommand>,
}

#[derive(actix::Message)]
#[rtype(result = "()")]
struct Unregister(ConnectionId);

/// A session's entry in the registry, which ends with it, however it ends.
pub struct Registration {
    registry: Addr<ConnectionManager>,
    id: ConnectionId,
}

impl Registration {
    pub fn new(registry: Addr<ConnectionManager>, stats: Arc<ConnectionStats>, to: Recipient<SessionCommand>) -> Self {
        let id = stats.connection_id;
        registry.do_send(Register { stats, to });
        Self { registry, id }
    }

    /// Gets the session the turns that others start in this conversation, too.
    pub fn subscribe(&self, conversation_id: ConversationId) {
        self.registry.do_send(SubscribeToConversation { connection_id: self.id, conversation_id });
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.registry.do_send(Unregister(self.id));
    }
}

#[derive(actix::Message)]
#[rtype(result = "()")]
pub struct SubscribeToConversation {
    pub connection_id: ConnectionId,
    pub conversation_id: ConversationId,
}

/// A conversation was deleted; nobody is subscribed to it any more.
#[derive(actix::Message)]
#[rtype(result = "()")]
pub struct ConversationDeleted(pub ConversationId);

/// A turn began; whoever else follows its conversation is told.
#[derive(actix::Message)]
#[rtype(result = "()")]
pub struct TurnStarted {
    pub turn: Arc<TurnLog>,
    /// The session that started it and follows it already.
    pub by: Option<ConnectionId>,
}

#[derive(actix::Message)]
#[rtype(result = "RegistryStats")]
pub struct GetStats;

/// Asks how many sessions each of these users has, in their order.
#[derive(actix::Message)]
#[rtype(result = "Vec<usize>")]
pub struct CountConnections(pub Vec<UserId>);

/// Asks for a part of the sessions.
#[derive(actix::Message)]
#[rtype(result = "ConnectionsPage")]
pub struct ListConnections(pub ConnectionQuery);

/// Asks for one session.
#[derive(actix::Message)]
#[rtype(result = "Option<FoundConnection>")]
pub struct FindConnection(pub ConnectionId);

/// A session as operators see it, and its signs of life to go on looking at.
pub struct FoundConnection {
    pub view: ConnectionView,
    pub stats: Arc<ConnectionStats>,
}

/// An operator sends sessions away; returns how many.
#[derive(actix::Message)]
#[rtype(result = "usize")]
pub struct Kick {
    pub whom: Whom,
    /// Of the close frame: what has room there.
    pub text: Arc<str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whom {
    Session(ConnectionId),
    User(UserId),
}

/// Tokens were revoked: who signed in with one of them has to sign in again.
#[derive(actix::Message)]
#[rtype(result = "()")]
pub struct TokensRevoked(pub Vec<Revocation>);

/// Sends a frame to all sessions, or to those of one user; returns to how many.
#[derive(actix::Message)]
#[rtype(result = "usize")]
pub struct SendNotice {
    pub frame: ByteString,
    pub user_id: Option<UserId>,
}

/// The server is not emptied any more.
#[derive(actix::Message)]
#[rtype(result = "()")]
pub struct EndDrain;

/// Goes on with emptying the server, or begins it. Sent every [`crate::limits::DRAIN_TICK`] until it is done.
#[derive(actix::Message)]
#[rtype(result = "DrainOrders")]
pub struct ContinueDrain {
    /// How many turns run in the whole server.
    pub running_turns: usize,
    /// HTTP answers of which something was not sent yet.
    pub unsent_answers: usize,
    /// How long turns may go on, from the first of these messages.
    pub timeout: Duration,
}

impl Handler<Register> for ConnectionManager {
    type Result = ();

    fn handle(&mut self, Register { stats, to }: Register, _: &mut Self::Context) {
        self.state.register(stats, to);
    }
}

impl Handler<Unregister> for ConnectionManager {
    type Result = ();

    fn handle(&mut self, Unregister(id): Unregister, _: &mut Self::Context) {
        self.state.remove(id);
    }
}

impl Handler<SubscribeToConversation> for ConnectionManager {
    type Result = ();

    fn handle(&mut self, message: SubscribeToConversation, _: &mut Self::Context) {
        self.state.subscribe(message.connection_id, message.conversation_id);
    }
}

impl Handler<ConversationDeleted> for ConnectionManager {
    type Result = ();

    fn handle(&mut self, ConversationDeleted(id): ConversationDeleted, _: &mut Self::Context) {
        self.state.forget_conversation(id);
    }
}

impl Handler<TurnStarted> for ConnectionManager {
    type Result = ();

    fn handle(&mut self, TurnStarted { turn, by }: TurnStarted, _: &mut Self::Context) {
        for session in self.state.subscribers(turn.subject.conversation_id, turn.subject.user_id, by) {
            session.do_send(SessionCommand::Subscribe(Arc::clone(&turn)));
        }
    }
}

impl Handler<GetStats> for ConnectionManager {
    type Result = MessageResult<GetStats>;

    fn handle(&mut self, _: GetStats, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.state.stats())
    }
}

impl Handler<CountConnections> for ConnectionManager {
    type Result = MessageResult<CountConnections>;

    fn handle(&mut self, CountConnections(users): CountConnections, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.state.count_of(&users))
    }
}

impl Handler<ListConnections> for ConnectionManager {
    type Result = MessageResult<ListConnections>;

    fn handle(&mut self, ListConnections(query): ListConnections, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.state.page(&query, Instant::now()))
    }
}

impl Handler<FindConnection> for ConnectionManager {
    type Result = MessageResult<FindConnection>;

    fn handle(&mut self, FindConnection(id): FindConnection, _: &mut Self::Context) -> Self::Result {
        let found = self.state.find(id, Instant::now());
        MessageResult(found.map(|(view, stats)| FoundConnection { view, stats: Arc::clone(stats) }))
    }
}

impl Handler<Kick> for ConnectionManager {
    type Result = usize;

    fn handle(&mut self, Kick { whom, text }: Kick, _: &mut Self::Context) -> Self::Result {
        // Nothing is routed to them any more, whether or not their peers read.
        let kicked = self.state.take(|stats| match whom {
            Whom::Session(id) => stats.connection_id == id,
            Whom::User(user) => stats.user() == Some(user),
        });
        for (stats, session) in &kicked {
            log::info!(connection_id:% = stats.connection_id; "a session is sent away by an operator");
            session.do_send(SessionCommand::Kick(Arc::clone(&text)));
        }
        kicked.len()
    }
}

impl Handler<TokensRevoked> for ConnectionManager {
    type Result = ();

    fn handle(&mut self, TokensRevoked(revocations): TokensRevoked, _: &mut Self::Context) {
        let is_revoked = |stats: &ConnectionStats| {
            stats.identity().is_some_and(|identity| revocations.iter().any(|one| identity.is_revoked_by(one)))
        };
        for session in self.state.recipients(is_revoked) {
            session.do_send(SessionCommand::Close(CloseReason::AuthExpired));
        }
    }
}

impl Handler<SendNotice> for ConnectionManager {
    type Result = usize;

    fn handle(&mut self, SendNotice { frame, user_id }: SendNotice, _: &mut Self::Context) -> Self::Result {
        let sessions = self.state.recipients(|stats| user_id.is_none_or(|user| stats.user() == Some(user)));
        sessions.map(|session| session.do_send(SessionCommand::Notice(frame.clone()))).count()
    }
}

impl Handler<EndDrain> for ConnectionManager {
    type Result = ();

    fn handle(&mut self, _: EndDrain, _: &mut Self::Context) {
        self.drain = None;
    }
}

impl Handler<ContinueDrain> for ConnectionManager {
    type Result = MessageResult<ContinueDrain>;

    fn handle(
        &mut self,
        ContinueDrain { running_turns, unsent_answers, timeout }: ContinueDrain,
        _: &mut Self::Context,
    ) -> Self::Result {
        let now = Instant::now();
        let drain = self.drain.get_or_insert_with(|| Drain::new(now, timeout, self.state.connections().count()));
        let random = || getrandom::u32().unwrap_or_default();
        let orders = drain.next(now, self.state.connections(), running_turns, unsent_answers, random);
        for &GoAwayOrder { connection_id, reconnect_after_ms } in &orders.close {
            if let Some(session) = self.state.recipient(connection_id) {
                session.do_send(SessionCommand::GoAway { reconnect_after_ms });
            }
        }
        MessageResult(orders)
    }
}
