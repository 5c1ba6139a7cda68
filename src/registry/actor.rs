//! The `ConnectionManager` actor: [`RegistryState`] behind a mailbox.

use super::{
    ConnectionAddress, ConnectionCommand, ConnectionKind, ConnectionQuery, ConnectionStats, ConnectionsPage,
    RegistryStats, StallLimits,
    drain::{Drain, DrainOrders, GoAwayOrder, reconnect_after_ms},
    port::{ConnectionRegistry, FoundConnection, KickTarget, RegistryStopped},
    state::RegistryState,
};
use crate::{
    bus::TurnAnnouncements,
    domain::{ConnectionId, ConversationId, UserId},
    pause,
    store::Revocation,
    turn::TurnLog,
};
use actix::{Actor, Addr, AsyncContext, Context, Handler, MessageResult};
use bytestring::ByteString;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use switchboard_protocol::CloseReason;

pub struct ConnectionManager {
    state: RegistryState<ConnectionAddress>,
    stall_limits: StallLimits,
    /// Time of the last check for stalled connections.
    looked_at: Instant,
    drain: Option<Drain>,
    /// Whether the server stops. Operators' connections are closed then, including new ones.
    operators_go_away: bool,
}

impl ConnectionManager {
    pub fn new(stall_limits: StallLimits) -> Self {
        Self {
            state: RegistryState::default(),
            stall_limits,
            looked_at: Instant::now(),
            drain: None,
            operators_go_away: false,
        }
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
            session.send(ConnectionCommand::Close(CloseReason::SlowReader));
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
struct Register {
    stats: Arc<ConnectionStats>,
    to: ConnectionAddress,
}

#[derive(actix::Message)]
#[rtype(result = "()")]
struct Unregister(ConnectionId);

/// Announces the turns of the bus to the connections.
impl TurnAnnouncements for Addr<ConnectionManager> {
    fn subscribe(&self, connection_id: ConnectionId, conversation_id: ConversationId) {
        self.do_send(SubscribeToConversation { connection_id, conversation_id });
    }

    fn on_announced(&self, turn: Arc<TurnLog>, by: Option<ConnectionId>) {
        self.do_send(TurnStarted { turn, by });
    }
}

/// The actor's mailbox handles messages in the order of their sending.
impl ConnectionRegistry for Addr<ConnectionManager> {
    fn register(&self, stats: Arc<ConnectionStats>, to: ConnectionAddress) {
        self.do_send(Register { stats, to });
    }

    fn unregister(&self, id: ConnectionId) {
        self.do_send(Unregister(id));
    }

    fn forget_conversation(&self, conversation: ConversationId) {
        self.do_send(ConversationDeleted(conversation));
    }

    fn revoke(&self, revocations: Vec<Revocation>) {
        self.do_send(TokensRevoked(revocations));
    }

    async fn kick(&self, target: KickTarget, text: Arc<str>) -> Result<usize, RegistryStopped> {
        self.send(Kick { target, text }).await.map_err(|_| RegistryStopped)
    }

    async fn notify(&self, frame: ByteString, user_id: Option<UserId>) -> Result<usize, RegistryStopped> {
        self.send(SendNotice { frame, user_id }).await.map_err(|_| RegistryStopped)
    }

    async fn stats(&self) -> Result<RegistryStats, RegistryStopped> {
        self.send(GetStats).await.map_err(|_| RegistryStopped)
    }

    async fn count_of(&self, users: Vec<UserId>) -> Result<Vec<usize>, RegistryStopped> {
        self.send(CountConnections(users)).await.map_err(|_| RegistryStopped)
    }

    async fn list(&self, query: ConnectionQuery) -> Result<ConnectionsPage, RegistryStopped> {
        self.send(ListConnections(query)).await.map_err(|_| RegistryStopped)
    }

    async fn find(&self, id: ConnectionId) -> Result<Option<FoundConnection>, RegistryStopped> {
        self.send(FindConnection(id)).await.map_err(|_| RegistryStopped)
    }
}

/// A connection's entry in the registry; dropping it removes the entry.
pub struct Registration {
    /// Shared, because each clone of an address allocates.
    registry: Arc<Addr<ConnectionManager>>,
    id: ConnectionId,
}

impl Registration {
    pub fn new(registry: Arc<Addr<ConnectionManager>>, stats: Arc<ConnectionStats>, to: ConnectionAddress) -> Self {
        let id = stats.connection_id;
        registry.register(stats, to);
        Self { registry, id }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.registry.unregister(self.id);
    }
}

#[derive(actix::Message)]
#[rtype(result = "()")]
struct SubscribeToConversation {
    connection_id: ConnectionId,
    conversation_id: ConversationId,
}

/// Ends all subscriptions to a deleted conversation.
#[derive(actix::Message)]
#[rtype(result = "()")]
struct ConversationDeleted(ConversationId);

/// Announces a turn to the other connections that are subscribed to its conversation.
#[derive(actix::Message)]
#[rtype(result = "()")]
struct TurnStarted {
    turn: Arc<TurnLog>,
    /// The connection that started the turn and is subscribed to it already.
    by: Option<ConnectionId>,
}

#[derive(actix::Message)]
#[rtype(result = "RegistryStats")]
struct GetStats;

/// Counts the connections of each of these users, in the same order.
#[derive(actix::Message)]
#[rtype(result = "Vec<usize>")]
struct CountConnections(Vec<UserId>);

/// Queries the connections.
#[derive(actix::Message)]
#[rtype(result = "ConnectionsPage")]
struct ListConnections(ConnectionQuery);

/// Looks up one connection.
#[derive(actix::Message)]
#[rtype(result = "Option<FoundConnection>")]
struct FindConnection(ConnectionId);

/// Closes connections on behalf of an operator; returns how many.
#[derive(actix::Message)]
#[rtype(result = "usize")]
struct Kick {
    target: KickTarget,
    /// Text of the close frame, cut to its maximum length.
    text: Arc<str>,
}

/// Closes the connections that authenticated with a revoked token.
#[derive(actix::Message)]
#[rtype(result = "()")]
struct TokensRevoked(Vec<Revocation>);

/// Sends a frame to all chat connections, or to those of one user; returns the number of these connections.
#[derive(actix::Message)]
#[rtype(result = "usize")]
struct SendNotice {
    frame: ByteString,
    user_id: Option<UserId>,
}

/// Closes all operators' connections, and each that is opened later, because the server stops.
#[derive(actix::Message)]
#[rtype(result = "()")]
pub struct CloseOperators;

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
        if self.operators_go_away && stats.kind == ConnectionKind::Operator {
            to.send(go_away());
        }
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
        for session in self.state.subscribers(turn.subject.conversation_id, by) {
            session.send(ConnectionCommand::Subscribe(Arc::clone(&turn)));
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
            session.send(ConnectionCommand::Kick(Arc::clone(&text)));
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
            session.send(ConnectionCommand::Close(CloseReason::AuthExpired));
        }
    }
}

impl Handler<SendNotice> for ConnectionManager {
    type Result = usize;

    fn handle(&mut self, SendNotice { frame, user_id }: SendNotice, _: &mut Self::Context) -> Self::Result {
        let sessions = self.state.recipients(|stats| {
            stats.kind == ConnectionKind::Chat && user_id.is_none_or(|user| stats.user() == Some(user))
        });
        sessions.map(|session| session.send(ConnectionCommand::Notice(frame.clone()))).count()
    }
}

impl Handler<CloseOperators> for ConnectionManager {
    type Result = ();

    fn handle(&mut self, _: CloseOperators, _: &mut Self::Context) {
        self.operators_go_away = true;
        for operator in self.state.recipients(|stats| stats.kind == ConnectionKind::Operator) {
            operator.send(go_away());
        }
    }
}

/// The command to close a connection of a server that stops.
fn go_away() -> ConnectionCommand {
    ConnectionCommand::GoAway { reconnect_after_ms: reconnect_after_ms(getrandom::u32().unwrap_or_default()) }
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
                session.send(ConnectionCommand::GoAway { reconnect_after_ms });
            }
        }
        MessageResult(orders)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix::test]
    async fn manager_conforms() {
        let limit = Duration::from_secs(60);
        let empty = || ConnectionManager::new(StallLimits { lagging: limit, idle: limit }).start();
        crate::registry::conformance::suite(empty).await;
    }

    #[actix::test]
    async fn stop_closes_operators_connections_also_later_ones() {
        let limit = Duration::from_secs(60);
        let registry = ConnectionManager::new(StallLimits { lagging: limit, idle: limit }).start();
        let connect = |kind| {
            let (to, commands) = tokio::sync::mpsc::channel(1);
            let stats = ConnectionStats::of_kind(kind, ConnectionId::new(), None, String::new(), String::new());
            registry.register(stats, ConnectionAddress::Stream(to));
            commands
        };
        let (mut chat, mut early) = (connect(ConnectionKind::Chat), connect(ConnectionKind::Operator));
        registry.do_send(CloseOperators);
        let mut late = connect(ConnectionKind::Operator);
        for commands in [&mut early, &mut late] {
            assert!(matches!(commands.recv().await, Some(ConnectionCommand::GoAway { .. })));
        }
        assert!(chat.try_recv().is_err());
    }
}
