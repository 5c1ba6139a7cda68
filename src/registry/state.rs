//! The state of the registry, without its actor.

use super::{
    ConnectionKind, ConnectionQuery, ConnectionState, ConnectionStats, ConnectionView, ConnectionsPage,
    row::ConnectionRow,
    stall::{Stall, StallLimits},
};
use crate::{
    domain::{ConnectionId, ConversationId, UserId},
    limits::{CONNECTION_CREDIT_BYTES, MAX_SUBSCRIBED_CONVERSATIONS, MAX_USERS_IN_STATS, TCP_NOT_SENT_BYTES},
};
use serde::Serialize;
use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};
use switchboard_protocol::Dialect;

/// The open connections; `R` is the recipient of commands for one.
pub struct RegistryState<R> {
    connections: BTreeMap<ConnectionId, Entry<R>>,
    subscribers: HashMap<ConversationId, Vec<ConnectionId>>,
    opened: u64,
    closed: u64,
    /// By connections that are closed.
    tokens_sent: u64,
    stalled: u64,
}

struct Entry<R> {
    stats: Arc<ConnectionStats>,
    to: R,
    stall: Stall,
    subscriptions: VecDeque<ConversationId>,
}

/// Counts of live connections: of chat connections, unless a field says otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct RegistryStats {
    /// Open connections.
    pub connections: usize,
    /// An older name of `connections`, until 1.0.
    pub sessions: usize,
    /// Authenticated connections.
    pub authenticated: usize,
    /// Users with an open connection.
    pub users: usize,
    /// The users with the most connections, at most 100 of them.
    pub by_user: Vec<UserConnections>,
    pub by_dialect: Vec<DialectConnections>,
    /// Each kind of connection. All other numbers are about chat connections.
    pub by_kind: Vec<KindConnections>,
    /// Each state with each dialect, including those without a connection.
    pub by_state: Vec<StateConnections>,
    /// Since the start of the server.
    pub opened: u64,
    /// Since the start of the server.
    pub closed: u64,
    /// Since the start of the server, on all connections.
    pub tokens_sent: u64,
    /// Connections that have a backlog to write.
    pub lagging: usize,
    /// An older name of `lagging`, until 1.0.
    pub behind: usize,
    /// Text in these backlogs, in bytes.
    pub bytes_waiting: u64,
    /// Connections closed because the client did not read, since the start of the server.
    pub stalled: u64,
    /// Most bytes that are queued for a client that does not read; a single frame may be larger.
    pub max_waiting_bytes: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct UserConnections {
    pub user_id: UserId,
    pub connections: usize,
    /// An older name of `connections`, until 1.0.
    pub sessions: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct DialectConnections {
    pub dialect: Dialect,
    pub connections: usize,
    /// An older name of `connections`, until 1.0.
    pub sessions: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct KindConnections {
    pub kind: ConnectionKind,
    pub connections: usize,
    /// Number of these that are authenticated.
    pub authenticated: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct StateConnections {
    pub state: ConnectionState,
    pub dialect: Dialect,
    pub connections: usize,
    /// An older name of `connections`, until 1.0.
    pub sessions: usize,
}

impl<R> Default for RegistryState<R> {
    fn default() -> Self {
        Self {
            connections: BTreeMap::new(),
            subscribers: HashMap::new(),
            opened: 0,
            closed: 0,
            tokens_sent: 0,
            stalled: 0,
        }
    }
}

impl RegistryStats {
    /// Authenticated connections of operators.
    pub fn operators(&self) -> usize {
        self.of_kind(ConnectionKind::Operator).map_or(0, |counted| counted.authenticated)
    }

    /// The connections of one kind.
    pub fn of_kind(&self, kind: ConnectionKind) -> Option<&KindConnections> {
        self.by_kind.iter().find(|counted| counted.kind == kind)
    }
}

impl<R> RegistryState<R> {
    pub fn register(&mut self, stats: Arc<ConnectionStats>, to: R) {
        self.opened += u64::from(stats.kind == ConnectionKind::Chat);
        let stall = Stall::new(Instant::now());
        self.connections.insert(stats.connection_id, Entry { stats, to, stall, subscriptions: VecDeque::new() });
    }

    /// Excludes a pause of the process from the time in which clients did not read.
    pub fn skip_pause(&mut self, paused: Duration) {
        for entry in self.connections.values_mut() {
            entry.stall.skip_pause(paused);
        }
    }

    /// Removes the connections whose clients do not read, from the registry and from their turns. Returns their recipients:
    /// a command is handled if such a session actor is ever polled again.
    pub fn remove_stalled(&mut self, now: Instant, limits: StallLimits) -> Vec<(Arc<ConnectionStats>, R)> {
        // Only chat connections count how often they are polled. The kernel ends others whose clients do not read.
        let chats = self.connections.iter_mut().filter(|(_, entry)| entry.stats.kind == ConnectionKind::Chat);
        let stalled = chats.filter_map(|(id, entry)| {
            let (asks, is_lagging) = (entry.stats.asks(), entry.stats.is_lagging());
            entry.stall.is_over(now, asks, is_lagging, limits).then_some(*id)
        });
        let stalled: Vec<_> = stalled.collect();
        let removed = stalled.into_iter().filter_map(|id| {
            let entry = self.unregister(id)?;
            self.stalled += 1;
            entry.stats.leave_turns();
            Some((entry.stats, entry.to))
        });
        removed.collect()
    }

    /// Removes the connections that `which` selects, from the registry and from their turns.
    pub fn take(&mut self, which: impl Fn(&ConnectionStats) -> bool) -> Vec<(Arc<ConnectionStats>, R)> {
        let ids: Vec<_> = self.connections.iter().filter(|(_, entry)| which(&entry.stats)).map(|(id, _)| *id).collect();
        let taken = ids.into_iter().filter_map(|id| {
            let entry = self.unregister(id)?;
            entry.stats.leave_turns();
            Some((entry.stats, entry.to))
        });
        taken.collect()
    }

    /// The recipients of the connections that `which` selects.
    pub fn recipients(&self, which: impl Fn(&ConnectionStats) -> bool) -> impl Iterator<Item = &R> {
        self.connections.values().filter(move |entry| which(&entry.stats)).map(|entry| &entry.to)
    }

    fn unregister(&mut self, id: ConnectionId) -> Option<Entry<R>> {
        let mut entry = self.connections.remove(&id)?;
        if entry.stats.kind == ConnectionKind::Chat {
            self.closed += 1;
            self.tokens_sent += entry.stats.tokens_sent();
        }
        for conversation in entry.subscriptions.drain(..) {
            self.forget(conversation, id);
        }
        Some(entry)
    }

    /// Removes a connection that has ended.
    pub fn remove(&mut self, id: ConnectionId) {
        self.unregister(id);
    }

    /// Subscribes a connection to a conversation: the turns that other connections start there are announced to it. The caller has
    /// checked that its user may subscribe. A known subscription becomes the most recently used one; the least recently used is
    /// dropped beyond [`MAX_SUBSCRIBED_CONVERSATIONS`].
    pub fn subscribe(&mut self, id: ConnectionId, conversation: ConversationId) {
        let Some(entry) = self.connections.get_mut(&id) else { return };
        if let Some(place) = entry.subscriptions.iter().position(|known| *known == conversation) {
            entry.subscriptions.remove(place);
            entry.subscriptions.push_back(conversation);
            return;
        }
        entry.subscriptions.push_back(conversation);
        let oldest = (entry.subscriptions.len() > MAX_SUBSCRIBED_CONVERSATIONS)
            .then(|| entry.subscriptions.pop_front())
            .flatten();
        if let Some(oldest) = oldest {
            self.forget(oldest, id);
        }
        self.subscribers.entry(conversation).or_default().push(id);
    }

    /// Ends all subscriptions to a deleted conversation.
    pub fn forget_conversation(&mut self, conversation: ConversationId) {
        for id in self.subscribers.remove(&conversation).unwrap_or_default() {
            if let Some(entry) = self.connections.get_mut(&id) {
                entry.subscriptions.retain(|known| *known != conversation);
            }
        }
    }

    fn forget(&mut self, conversation: ConversationId, id: ConnectionId) {
        if let Some(subscribers) = self.subscribers.get_mut(&conversation) {
            subscribers.retain(|known| *known != id);
            if subscribers.is_empty() {
                self.subscribers.remove(&conversation);
            }
        }
    }

    /// The connections that are subscribed to a conversation, without `except`.
    pub fn subscribers(&self, conversation: ConversationId, except: Option<ConnectionId>) -> impl Iterator<Item = &R> {
        self.subscribers
            .get(&conversation)
            .into_iter()
            .flatten()
            .filter(move |id| Some(**id) != except)
            .filter_map(|id| self.connections.get(id))
            .map(|entry| &entry.to)
    }

    /// The open chat connections, each with whether it has a running turn. Streams end with their turn, and operators' connections
    /// stay open until the end of a drain.
    pub fn connections(&self) -> impl Iterator<Item = (ConnectionId, bool)> {
        self.chats().map(|(id, entry)| (*id, entry.stats.has_turns()))
    }

    fn chats(&self) -> impl Iterator<Item = (&ConnectionId, &Entry<R>)> {
        self.connections.iter().filter(|(_, entry)| entry.stats.kind == ConnectionKind::Chat)
    }

    pub fn recipient(&self, id: ConnectionId) -> Option<&R> {
        self.connections.get(&id).map(|entry| &entry.to)
    }

    pub fn stats(&self) -> RegistryStats {
        let mut by_user: HashMap<UserId, usize> = HashMap::new();
        let mut by_state: Vec<_> = ConnectionState::ALL
            .iter()
            .flat_map(|state| Dialect::ALL.iter().map(|dialect| (*state, *dialect)))
            .map(|(state, dialect)| (state, dialect, 0_usize))
            .collect();
        let (mut tokens_sent, mut lagging, mut bytes_waiting) = (self.tokens_sent, 0, 0);
        let now = Instant::now();
        for (_, entry) in self.chats() {
            let stats = &entry.stats;
            if let Some(user) = stats.user() {
                *by_user.entry(user).or_default() += 1;
            }
            let state = entry.row().state(now);
            for (of_state, of_dialect, count) in &mut by_state {
                *count += usize::from((*of_state, Some(*of_dialect)) == (state, stats.dialect));
            }
            tokens_sent += stats.tokens_sent();
            if matches!(state, ConnectionState::Lagging | ConnectionState::Stalled) {
                lagging += 1;
                bytes_waiting += stats.bytes_waiting();
            }
        }
        let (users, authenticated) = (by_user.len(), by_user.values().sum());
        let mut by_user: Vec<_> = by_user
            .into_iter()
            .map(|(user_id, connections)| UserConnections { user_id, connections, sessions: connections })
            .collect();
        by_user.sort_unstable_by_key(|user| (Reverse(user.connections), user.user_id));
        by_user.truncate(MAX_USERS_IN_STATS);
        let by_dialect = Dialect::ALL.iter().map(|&dialect| {
            let counts = by_state.iter().filter(|(_, of_dialect, _)| *of_dialect == dialect).map(|(.., count)| count);
            let connections = counts.sum();
            DialectConnections { dialect, connections, sessions: connections }
        });
        let by_dialect: Vec<_> = by_dialect.collect();
        let by_state = by_state.into_iter().map(|(state, dialect, connections)| StateConnections {
            state,
            dialect,
            connections,
            sessions: connections,
        });
        let by_kind = ConnectionKind::ALL.iter().map(|&kind| {
            let (mut connections, mut authenticated) = (0, 0);
            for entry in self.connections.values().filter(|entry| entry.stats.kind == kind) {
                connections += 1;
                authenticated += usize::from(entry.stats.user().is_some());
            }
            KindConnections { kind, connections, authenticated }
        });
        let by_kind: Vec<_> = by_kind.collect();
        let connections = self.chats().count();
        RegistryStats {
            connections,
            sessions: connections,
            by_kind,
            authenticated,
            users,
            by_user,
            by_dialect,
            by_state: by_state.collect(),
            opened: self.opened,
            closed: self.closed,
            tokens_sent,
            lagging,
            behind: lagging,
            bytes_waiting,
            stalled: self.stalled,
            max_waiting_bytes: CONNECTION_CREDIT_BYTES + TCP_NOT_SENT_BYTES as usize,
        }
    }

    /// Number of chat connections of each of these users.
    pub fn count_of(&self, users: &[UserId]) -> Vec<usize> {
        let mut counts: HashMap<UserId, usize> = users.iter().map(|user| (*user, 0)).collect();
        for user in self.chats().filter_map(|(_, entry)| entry.stats.user()) {
            if let Some(count) = counts.get_mut(&user) {
                *count += 1;
            }
        }
        users.iter().map(|user| counts[user]).collect()
    }

    /// The connections that match a query, page by page.
    pub fn page(&self, query: &ConnectionQuery, now: Instant) -> ConnectionsPage {
        query.page(self.connections.values().map(Entry::row), now)
    }

    /// A connection as operators see it, and its statistics.
    pub fn find(&self, id: ConnectionId, now: Instant) -> Option<(ConnectionView, &Arc<ConnectionStats>)> {
        self.connections.get(&id).map(|entry| (entry.row().view(now), &entry.stats))
    }
}

impl<R> Entry<R> {
    fn row(&self) -> ConnectionRow<'_> {
        ConnectionRow { stats: &self.stats, stall: &self.stall, subscriptions: &self.subscriptions }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        auth::Identity,
        domain::{DisplayName, Email, Role, UnixMillis},
    };
    use std::time::Duration;

    fn connect(state: &mut RegistryState<ConnectionId>, user: Option<UserId>) -> Arc<ConnectionStats> {
        let id = ConnectionId::new();
        let stats = ConnectionStats::new(id, Dialect::V2, "127.0.0.1".to_owned(), String::new());
        if let Some(user_id) = user {
            let (email, name) = (Email::parse("ada@example.org").unwrap(), DisplayName::parse("Ada").unwrap());
            let identity = Identity {
                user_id,
                email,
                name,
                role: Role::User,
                family_id: None,
                generation: 0,
                issued_at_ms: 0,
                expires_at: 0,
            };
            stats.set_identity(Arc::new(identity));
        }
        state.register(Arc::clone(&stats), id);
        stats
    }

    #[test]
    fn totals_include_closed_connections() {
        let mut state = RegistryState::default();
        let user = UserId::new();
        let (first, second) = (connect(&mut state, Some(user)), connect(&mut state, None));
        first.sent_frame(UnixMillis::now(), 10, 3);
        second.sent_frame(UnixMillis::now(), 10, 4);
        let stats = state.stats();
        assert_eq!((stats.connections, stats.authenticated, stats.users, stats.tokens_sent), (2, 1, 1, 7));
        state.remove(first.connection_id);
        state.remove(first.connection_id);
        let stats = state.stats();
        assert_eq!((stats.connections, stats.authenticated, stats.opened, stats.closed), (1, 0, 2, 1));
        assert_eq!(stats.tokens_sent, 7);
        assert!(stats.by_user.is_empty());
    }

    #[test]
    fn other_kinds_have_counts_of_their_own() {
        let mut state = RegistryState::default();
        let chat = connect(&mut state, None);
        for kind in [ConnectionKind::Operator, ConnectionKind::Stream, ConnectionKind::Stream] {
            let id = ConnectionId::new();
            state.register(ConnectionStats::of_kind(kind, id, None, String::new(), String::new()), id);
        }
        let stats = state.stats();
        let of_kind = |kind| stats.of_kind(kind).map(|counted| counted.connections);
        assert_eq!(
            (stats.connections, stats.opened, stats.by_state.iter().map(|alike| alike.connections).sum()),
            (1, 1, 1)
        );
        assert_eq!((of_kind(ConnectionKind::Operator), of_kind(ConnectionKind::Stream)), (Some(1), Some(2)));
        assert_eq!(state.connections().map(|(id, _)| id).collect::<Vec<_>>(), [chat.connection_id]);
        let limits = StallLimits { lagging: Duration::ZERO, idle: Duration::ZERO };
        assert_eq!(state.remove_stalled(Instant::now(), limits).len(), 1);
        assert_eq!(state.take(|_| true).len(), 3);
        assert_eq!(state.stats().closed, 1);
    }

    #[test]
    fn connections_are_counted_per_user() {
        let mut state = RegistryState::default();
        let (ada, bob, nobody) = (UserId::new(), UserId::new(), UserId::new());
        for user in [Some(ada), Some(bob), Some(ada), None] {
            connect(&mut state, user);
        }
        assert_eq!(state.count_of(&[nobody, ada, bob]), [0, 2, 1]);
        assert_eq!(state.count_of(&[]), [0; 0]);
    }

    #[test]
    fn subscribers_are_the_other_subscribed_connections() {
        let mut state = RegistryState::default();
        let (user, member, conversation) = (UserId::new(), UserId::new(), ConversationId::new());
        let connections = [user, user, member, user].map(|user| connect(&mut state, Some(user)).connection_id);
        for id in connections.into_iter().take(3) {
            state.subscribe(id, conversation);
            state.subscribe(id, conversation);
        }
        let subscribers = |state: &RegistryState<ConnectionId>, except| {
            state.subscribers(conversation, except).copied().collect::<Vec<_>>()
        };
        assert_eq!(subscribers(&state, Some(connections[0])), connections[1..3]);
        assert_eq!(subscribers(&state, None), connections[..3]);
        state.remove(connections[1]);
        assert_eq!(subscribers(&state, Some(connections[0])), [connections[2]]);
    }

    #[test]
    fn the_number_of_subscriptions_is_bounded() {
        let mut state = RegistryState::default();
        let user = UserId::new();
        let id = connect(&mut state, Some(user)).connection_id;
        let (used_again, first) = (ConversationId::new(), ConversationId::new());
        state.subscribe(id, used_again);
        state.subscribe(id, first);
        state.subscribe(id, used_again);
        for _ in 1..MAX_SUBSCRIBED_CONVERSATIONS {
            state.subscribe(id, ConversationId::new());
        }
        assert_eq!(state.subscribers(first, None).count(), 0);
        assert_eq!(state.subscribers(used_again, None).count(), 1);
        assert_eq!(state.subscribers.len(), MAX_SUBSCRIBED_CONVERSATIONS);
        state.forget_conversation(used_again);
        assert_eq!(state.subscribers(used_again, None).count(), 0);
        assert_eq!(state.subscribers.len(), MAX_SUBSCRIBED_CONVERSATIONS - 1);
        state.remove(id);
        assert!(state.subscribers.is_empty());
    }

    #[test]
    fn taken_connections_are_removed() {
        let mut state = RegistryState::default();
        let (user, conversation) = (UserId::new(), ConversationId::new());
        let ids = [Some(user), None, Some(user)].map(|user| connect(&mut state, user).connection_id);
        state.subscribe(ids[0], conversation);
        assert_eq!(state.recipients(|stats| stats.user() == Some(user)).copied().collect::<Vec<_>>(), [ids[0], ids[2]]);
        let taken: Vec<_> = state.take(|stats| stats.user() == Some(user)).into_iter().map(|(_, id)| id).collect();
        assert_eq!(taken, [ids[0], ids[2]]);
        assert_eq!(state.subscribers(conversation, None).count(), 0);
        assert_eq!(state.recipients(|_| true).copied().collect::<Vec<_>>(), [ids[1]]);
        // They say so themselves, too.
        state.remove(ids[0]);
        assert_eq!((state.stats().connections, state.stats().closed), (1, 2));
    }

    #[test]
    fn a_stalled_connection_is_removed_from_everything() {
        let mut state = RegistryState::default();
        let (user, conversation) = (UserId::new(), ConversationId::new());
        let stats = connect(&mut state, Some(user));
        state.subscribe(stats.connection_id, conversation);
        stats.set_waits_for_credit(true);
        let limits = StallLimits { lagging: Duration::from_secs(20), idle: Duration::from_secs(40) };
        let began = Instant::now();
        assert!(state.remove_stalled(began, limits).is_empty());
        let removed = state.remove_stalled(began + limits.lagging, limits);
        assert_eq!(removed.len(), 1);
        assert_eq!(state.subscribers(conversation, None).count(), 0);
        let stats = state.stats();
        assert_eq!((stats.connections, stats.closed, stats.stalled), (0, 1, 1));
    }
}
