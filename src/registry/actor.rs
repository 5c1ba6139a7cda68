//! The `ConnectionManager` actor: [`RegistryState`] behind a mailbox.

use super::{
    ConnectionQuery, ConnectionStats, ConnectionView, ConnectionsPage, RegistryStats, StallLimits,
    drain::{Drain, DrainOrders, GoAwayOrder},
    state::RegistryState,
};
use crate::{
    bus::TurnAnnouncements,
    domain::{ConnectionId, ConversationId, UserId},
    pause,
    store::Revocation,
    turn::TurnLog,
};
use actix::{Actor, Addr, AsyncContext, Context, Handler, MessageResult, Recipient};
use bytestring::ByteString;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use switchboard_protocol::CloseReason;

/// A command of the registry to a session actor.
#[derive(Clone, actix::Message)]
#[rtype(result = "()")]
pub enum SessionCommand {
    /// Subscribe to a turn that another connection of the same user started.
    Subscribe(Arc<TurnLog>),
    Close(CloseReason),
    /// Close on behalf of an operator, with this text in the close frame.
    Kick(Arc<str>),
    /// Send this frame, which is encoded once for all connections.
    Notice(ByteString),
    /// Close because the server stops.
    GoAway {
        /// Time after which the client should reconnect, in milliseconds.
        reconnect_after_ms: u64,
    },
}

pub struct ConnectionManager {
    state: RegistryState<Recipient<SessionCommand>>,
    stall_limits: StallLimits,
    /// Time of the last check for stalled connections.
    looked_at: Instant,
    drain: Option<Drain>,
}

impl ConnectionManager {
    pub fn new(stall_limits: StallLimits) -> Self {
        Self { state: RegistryState::default(), stall_limits, looked_at: Instant::now(), drain: None }
    }

    fn close_stalled(&mut self, interval: Duration) {
        let now = Instant::now();
        let due = std::mem::replace(&mut self.looked_at, now) + interval;
        if let Some(paused) = pause::lateness(due, now) {
            self.state.skip_pause(paused);
        }
        for (stats, session) in self.state.remove_stalled(now, self.stall_limits) {
            log::warn!(connection_id:% = stats.connection_id; "closed a connection whose client does not read");
            // The session actor is not polled while its client does not read. Should it be polled again, it closes first.
            session.do_send(SessionCommand::Close(CloseReason::SlowReader));
        }
    }
}

impl Actor for ConnectionManager {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let interval = (self.stall_limits.lagging / 10).clamp(Duration::from_millis(100), Duration::from_secs(2));
        ctx.run_interval(interval, move |registry, _| registry.close_stalled(interval));
    }
}

/// Registers a connection. Sent with `do_send`, which ignores the bound of the mailbox, like every message that must not be
/// lost.
#[derive(actix::Message)]
#[rtype(result = "()")]
pub struct Register {
    pub stats: Arc<ConnectionStats>,
    pub to: Recipient<SessionCommand>,
}

#[derive(actix::Message)]
#[rtype(result = "()")]
struct Unregister(ConnectionId);

/// A connection's entry in the registry; dropping it removes the entry.
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

    /// Subscribes the connection to the turns that others start in this conversation.
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

/// Ends all subscriptions to a deleted conversation.
#[derive(actix::Message)]
#[rtype(result = "()")]
pub struct ConversationDeleted(pub ConversationId);

/// Announces a turn to the other connections that are subscribed to its conversation.
#[derive(actix::Message)]
#[rtype(result = "()")]
struct TurnStarted {
    turn: Arc<TurnLog>,
    /// The connection that started the turn and is subscribed to it already.
    by: Option<ConnectionId>,
}

/// Announces the turns of the bus to the connections.
impl TurnAnnouncements for Addr<ConnectionManager> {
    fn on_announced(&self, turn: Arc<TurnLog>, by: Option<ConnectionId>) {
        self.do_send(TurnStarted { turn, by });
    }
}

#[derive(actix::Message)]
#[rtype(result = "RegistryStats")]
pub struct GetStats;

/// Counts the connections of each of these users, in the same order.
#[derive(actix::Message)]
#[rtype(result = "Vec<usize>")]
pub struct CountConnections(pub Vec<UserId>);

/// Queries the connections.
#[derive(actix::Message)]
#[rtype(result = "ConnectionsPage")]
pub struct ListConnections(pub ConnectionQuery);

/// Looks up one connection.
#[derive(actix::Message)]
#[rtype(result = "Option<FoundConnection>")]
pub struct FindConnection(pub ConnectionId);

/// A connection as operators see it, and its live statistics.
pub struct FoundConnection {
    pub view: ConnectionView,
    pub stats: Arc<ConnectionStats>,
}

/// Closes connections on behalf of an operator; returns how many.
#[derive(actix::Message)]
#[rtype(result = "usize")]
pub struct Kick {
    pub target: KickTarget,
    /// Text of the close frame, cut to its maximum length.
    pub text: Arc<str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KickTarget {
    Connection(ConnectionId),
    User(UserId),
}

/// Closes the connections that authenticated with a revoked token.
#[derive(actix::Message)]
#[rtype(result = "()")]
pub struct TokensRevoked(pub Vec<Revocation>);

/// Sends a frame on all connections, or on those of one user; returns on how many.
#[derive(actix::Message)]
#[rtype(result = "usize")]
pub struct SendNotice {
    pub frame: ByteString,
    pub user_id: Option<UserId>,
}

/// Cancels the drain.
#[derive(actix::Message)]
#[rtype(result = "()")]
pub struct EndDrain;

/// Starts or continues a drain. Sent every [`crate::limits::DRAIN_TICK`] until it is done.
#[derive(actix::Message)]
#[rtype(result = "DrainOrders")]
pub struct ContinueDrain {
    /// Number of running turns of the whole server.
    pub running_turns: usize,
    /// Number of HTTP responses with unsent bytes.
    pub unsent_answers: usize,
    /// Time that turns may take to finish, from the first of these messages.
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

    fn handle(&mut self, Kick { target, text }: Kick, _: &mut Self::Context) -> Self::Result {
        // They are removed here because a session whose client does not read handles no command.
        let kicked = self.state.take(|stats| match target {
            KickTarget::Connection(id) => stats.connection_id == id,
            KickTarget::User(user) => stats.user() == Some(user),
        });
        for (stats, session) in &kicked {
            log::info!(connection_id:% = stats.connection_id; "an operator closed a connection");
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
