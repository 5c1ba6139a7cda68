//! The registry's state, without its actor: sessions in, statistics out.

use super::{
    ConnectionQuery, ConnectionState, ConnectionView, ConnectionsPage, Vitals,
    stall::{Stall, StallLimits},
};
use crate::{
    domain::{ConversationId, SessionId, UserId},
    limits::{MAX_FOLLOWED_CONVERSATIONS, MAX_USERS_IN_STATS, SESSION_ROOM_BYTES, TCP_NOT_SENT_BYTES},
    protocol::Dialect,
};
use serde::Serialize;
use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

/// The sessions that are open; `R` is how one is reached.
pub struct RegistryState<R> {
    sessions: BTreeMap<SessionId, Entry<R>>,
    followers: HashMap<ConversationId, Vec<SessionId>>,
    opened: u64,
    closed: u64,
    /// Of sessions that are closed.
    tokens_sent: u64,
    stalled: u64,
}

struct Entry<R> {
    vitals: Arc<Vitals>,
    to: R,
    stall: Stall,
    follows: VecDeque<ConversationId>,
}

/// The live connections in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct RegistryStats {
    /// Sessions open now.
    pub sessions: usize,
    /// Of these, how many have authenticated.
    pub authenticated: usize,
    /// Users with a session now.
    pub users: usize,
    /// The users with the most sessions, at most 100 of them.
    pub by_user: Vec<UserSessions>,
    pub by_dialect: Vec<DialectSessions>,
    /// Each state with each dialect, also those that no session is in.
    pub by_state: Vec<StateSessions>,
    /// Since the start of the server.
    pub opened: u64,
    /// Since the start of the server.
    pub closed: u64,
    /// Since the start of the server, to all sessions.
    pub tokens_sent: u64,
    /// Sessions for which something waits that they have not written yet.
    pub behind: usize,
    /// The text of turns that those have yet to write, in bytes.
    pub bytes_waiting: u64,
    /// Sessions given up because their peer did not read, since the start of the server.
    pub stalled: u64,
    /// The most that waits in memory for one peer that does not read, in bytes; one frame may be larger.
    pub max_waiting_bytes: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct UserSessions {
    pub user_id: UserId,
    pub sessions: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct DialectSessions {
    pub dialect: Dialect,
    pub sessions: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct StateSessions {
    pub state: ConnectionState,
    pub dialect: Dialect,
    pub sessions: usize,
}

/// A session as a query sees it.
#[derive(Clone, Copy)]
pub struct SessionRow<'a> {
    pub vitals: &'a Vitals,
    pub stall: &'a Stall,
    pub follows: &'a VecDeque<ConversationId>,
}

impl<R> Default for RegistryState<R> {
    fn default() -> Self {
        Self { sessions: BTreeMap::new(), followers: HashMap::new(), opened: 0, closed: 0, tokens_sent: 0, stalled: 0 }
    }
}

impl<R> RegistryState<R> {
    pub fn register(&mut self, vitals: Arc<Vitals>, to: R) {
        self.opened += 1;
        let stall = Stall::new(Instant::now());
        self.sessions.insert(vitals.session_id, Entry { vitals, to, stall, follows: VecDeque::new() });
    }

    /// The process was paused for so long: that time counts for no peer.
    pub fn skip_pause(&mut self, paused: Duration) {
        for entry in self.sessions.values_mut() {
            entry.stall.skip_pause(paused);
        }
    }

    /// Gives up the sessions whose peers do not read: nothing is routed to them any more, and no turn knows them. What is
    /// returned reaches them, should they ever go on.
    pub fn give_up_stalled(&mut self, now: Instant, limits: StallLimits) -> Vec<(Arc<Vitals>, R)> {
        let stalled = self.sessions.iter_mut().filter_map(|(id, entry)| {
            let (asks, is_behind) = (entry.vitals.asks(), entry.vitals.is_behind());
            entry.stall.is_over(now, asks, is_behind, limits).then_some(*id)
        });
        let stalled: Vec<_> = stalled.collect();
        let given_up = stalled.into_iter().filter_map(|id| {
            let entry = self.unregister(id)?;
            self.stalled += 1;
            entry.vitals.leave_turns();
            Some((entry.vitals, entry.to))
        });
        given_up.collect()
    }

    /// Takes sessions out: nothing is routed to them any more, and no turn knows them.
    pub fn take(&mut self, which: impl Fn(&Vitals) -> bool) -> Vec<(Arc<Vitals>, R)> {
        let ids: Vec<_> = self.sessions.iter().filter(|(_, entry)| which(&entry.vitals)).map(|(id, _)| *id).collect();
        let taken = ids.into_iter().filter_map(|id| {
            let entry = self.unregister(id)?;
            entry.vitals.leave_turns();
            Some((entry.vitals, entry.to))
        });
        taken.collect()
    }

    /// How some of the sessions are reached.
    pub fn recipients(&self, which: impl Fn(&Vitals) -> bool) -> impl Iterator<Item = &R> {
        self.sessions.values().filter(move |entry| which(&entry.vitals)).map(|entry| &entry.to)
    }

    fn unregister(&mut self, id: SessionId) -> Option<Entry<R>> {
        let mut entry = self.sessions.remove(&id)?;
        self.closed += 1;
        self.tokens_sent += entry.vitals.tokens_sent();
        for conversation in entry.follows.drain(..) {
            self.forget(conversation, id);
        }
        Some(entry)
    }

    /// A session ended.
    pub fn remove(&mut self, id: SessionId) {
        self.unregister(id);
    }

    /// Subscribes a connection to a conversation: it gets the turns that other connections start there, too. A conversation
    /// that it is subscribed to already becomes the most recently used one.
    pub fn follow(&mut self, id: SessionId, conversation: ConversationId) {
        let Some(entry) = self.sessions.get_mut(&id) else { return };
        if let Some(place) = entry.follows.iter().position(|known| *known == conversation) {
            entry.follows.remove(place);
            entry.follows.push_back(conversation);
            return;
        }
        entry.follows.push_back(conversation);
        let oldest = (entry.follows.len() > MAX_FOLLOWED_CONVERSATIONS).then(|| entry.follows.pop_front()).flatten();
        if let Some(oldest) = oldest {
            self.forget(oldest, id);
        }
        self.followers.entry(conversation).or_default().push(id);
    }

    /// Ends all subscriptions to a conversation that is no more.
    pub fn forget_conversation(&mut self, conversation: ConversationId) {
        for id in self.followers.remove(&conversation).unwrap_or_default() {
            if let Some(entry) = self.sessions.get_mut(&id) {
                entry.follows.retain(|known| *known != conversation);
            }
        }
    }

    fn forget(&mut self, conversation: ConversationId, id: SessionId) {
        if let Some(followers) = self.followers.get_mut(&conversation) {
            followers.retain(|known| *known != id);
            if followers.is_empty() {
                self.followers.remove(&conversation);
            }
        }
    }

    /// Those of one user that follow a conversation, but for one session.
    pub fn followers(
        &self,
        conversation: ConversationId,
        user: UserId,
        except: Option<SessionId>,
    ) -> impl Iterator<Item = &R> {
        self.followers
            .get(&conversation)
            .into_iter()
            .flatten()
            .filter(move |id| Some(**id) != except)
            .filter_map(|id| self.sessions.get(id))
            .filter(move |entry| entry.vitals.user() == Some(user))
            .map(|entry| &entry.to)
    }

    /// The sessions that are open, and whether each has a running turn.
    pub fn sessions(&self) -> impl Iterator<Item = (SessionId, bool)> {
        self.sessions.iter().map(|(id, entry)| (*id, entry.vitals.has_turns()))
    }

    pub fn recipient(&self, id: SessionId) -> Option<&R> {
        self.sessions.get(&id).map(|entry| &entry.to)
    }

    pub fn stats(&self) -> RegistryStats {
        let mut by_user: HashMap<UserId, usize> = HashMap::new();
        let mut by_state: Vec<_> = ConnectionState::ALL
            .iter()
            .flat_map(|state| Dialect::ALL.iter().map(|dialect| (*state, *dialect)))
            .map(|(state, dialect)| StateSessions { state, dialect, sessions: 0 })
            .collect();
        let (mut tokens_sent, mut behind, mut bytes_waiting) = (self.tokens_sent, 0, 0);
        let now = Instant::now();
        for entry in self.sessions.values() {
            let vitals = &entry.vitals;
            if let Some(user) = vitals.user() {
                *by_user.entry(user).or_default() += 1;
            }
            let state = entry.row().state(now);
            for alike in &mut by_state {
                alike.sessions += usize::from((alike.state, alike.dialect) == (state, vitals.dialect));
            }
            tokens_sent += vitals.tokens_sent();
            if matches!(state, ConnectionState::Behind | ConnectionState::Stalled) {
                behind += 1;
                bytes_waiting += vitals.bytes_waiting();
            }
        }
        let (users, authenticated) = (by_user.len(), by_user.values().sum());
        let mut by_user: Vec<_> =
            by_user.into_iter().map(|(user_id, sessions)| UserSessions { user_id, sessions }).collect();
        by_user.sort_unstable_by_key(|user| (Reverse(user.sessions), user.user_id));
        by_user.truncate(MAX_USERS_IN_STATS);
        let by_dialect = Dialect::ALL.iter().map(|&dialect| {
            let alike = by_state.iter().filter(|alike| alike.dialect == dialect);
            DialectSessions { dialect, sessions: alike.map(|alike| alike.sessions).sum() }
        });
        let by_dialect: Vec<_> = by_dialect.collect();
        RegistryStats {
            sessions: self.sessions.len(),
            authenticated,
            users,
            by_user,
            by_dialect,
            by_state,
            opened: self.opened,
            closed: self.closed,
            tokens_sent,
            behind,
            bytes_waiting,
            stalled: self.stalled,
            max_waiting_bytes: SESSION_ROOM_BYTES + TCP_NOT_SENT_BYTES as usize,
        }
    }

    /// Number of sessions of each of these users.
    pub fn count_of(&self, users: &[UserId]) -> Vec<usize> {
        let mut counts: HashMap<UserId, usize> = users.iter().map(|user| (*user, 0)).collect();
        for user in self.sessions.values().filter_map(|entry| entry.vitals.user()) {
            if let Some(count) = counts.get_mut(&user) {
                *count += 1;
            }
        }
        users.iter().map(|user| counts[user]).collect()
    }

    /// The part of the sessions that a query asks for.
    pub fn page(&self, query: &ConnectionQuery, now: Instant) -> ConnectionsPage {
        query.page(self.sessions.values().map(Entry::row), now)
    }

    /// One session, as operators see it and as it is.
    pub fn find(&self, id: SessionId, now: Instant) -> Option<(ConnectionView, &Arc<Vitals>)> {
        self.sessions.get(&id).map(|entry| (entry.row().view(now), &entry.vitals))
    }
}

impl<R> Entry<R> {
    fn row(&self) -> SessionRow<'_> {
        SessionRow { vitals: &self.vitals, stall: &self.stall, follows: &self.follows }
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

    fn session(state: &mut RegistryState<SessionId>, user: Option<UserId>) -> Arc<Vitals> {
        let id = SessionId::new();
        let vitals = Vitals::new(id, Dialect::V2, "127.0.0.1".to_owned(), String::new());
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
            vitals.set_identity(Arc::new(identity));
        }
        state.register(Arc::clone(&vitals), id);
        vitals
    }

    #[test]
    fn counts_outlive_the_sessions() {
        let mut state = RegistryState::default();
        let user = UserId::new();
        let (first, second) = (session(&mut state, Some(user)), session(&mut state, None));
        first.sent_frame(UnixMillis::now(), 10, 3);
        second.sent_frame(UnixMillis::now(), 10, 4);
        let stats = state.stats();
        assert_eq!((stats.sessions, stats.authenticated, stats.users, stats.tokens_sent), (2, 1, 1, 7));
        state.remove(first.session_id);
        state.remove(first.session_id);
        let stats = state.stats();
        assert_eq!((stats.sessions, stats.authenticated, stats.opened, stats.closed), (1, 0, 2, 1));
        assert_eq!(stats.tokens_sent, 7);
        assert!(stats.by_user.is_empty());
    }

    #[test]
    fn sessions_are_counted_for_the_users_that_are_asked_for() {
        let mut state = RegistryState::default();
        let (ada, bob, nobody) = (UserId::new(), UserId::new(), UserId::new());
        for user in [Some(ada), Some(bob), Some(ada), None] {
            session(&mut state, user);
        }
        assert_eq!(state.count_of(&[nobody, ada, bob]), [0, 2, 1]);
        assert_eq!(state.count_of(&[]), [0; 0]);
    }

    #[test]
    fn followers_are_the_users_other_sessions() {
        let mut state = RegistryState::default();
        let (user, stranger, conversation) = (UserId::new(), UserId::new(), ConversationId::new());
        let sessions = [user, user, stranger].map(|user| session(&mut state, Some(user)).session_id);
        for id in sessions {
            state.follow(id, conversation);
            state.follow(id, conversation);
        }
        let followers = |state: &RegistryState<SessionId>, except| {
            state.followers(conversation, user, except).copied().collect::<Vec<_>>()
        };
        assert_eq!(followers(&state, Some(sessions[0])), [sessions[1]]);
        state.remove(sessions[1]);
        assert!(followers(&state, Some(sessions[0])).is_empty());
    }

    #[test]
    fn a_session_follows_a_bounded_number_of_conversations() {
        let mut state = RegistryState::default();
        let user = UserId::new();
        let id = session(&mut state, Some(user)).session_id;
        let (used_again, first) = (ConversationId::new(), ConversationId::new());
        state.follow(id, used_again);
        state.follow(id, first);
        state.follow(id, used_again);
        for _ in 1..MAX_FOLLOWED_CONVERSATIONS {
            state.follow(id, ConversationId::new());
        }
        assert_eq!(state.followers(first, user, None).count(), 0);
        assert_eq!(state.followers(used_again, user, None).count(), 1);
        assert_eq!(state.followers.len(), MAX_FOLLOWED_CONVERSATIONS);
        state.forget_conversation(used_again);
        assert_eq!(state.followers(used_again, user, None).count(), 0);
        assert_eq!(state.followers.len(), MAX_FOLLOWED_CONVERSATIONS - 1);
        state.remove(id);
        assert!(state.followers.is_empty());
    }

    #[test]
    fn who_is_taken_out_is_no_longer_there() {
        let mut state = RegistryState::default();
        let (user, conversation) = (UserId::new(), ConversationId::new());
        let ids = [Some(user), None, Some(user)].map(|user| session(&mut state, user).session_id);
        state.follow(ids[0], conversation);
        assert_eq!(
            state.recipients(|vitals| vitals.user() == Some(user)).copied().collect::<Vec<_>>(),
            [ids[0], ids[2]]
        );
        let taken: Vec<_> = state.take(|vitals| vitals.user() == Some(user)).into_iter().map(|(_, id)| id).collect();
        assert_eq!(taken, [ids[0], ids[2]]);
        assert_eq!(state.followers(conversation, user, None).count(), 0);
        assert_eq!(state.recipients(|_| true).copied().collect::<Vec<_>>(), [ids[1]]);
        // They say so themselves, too.
        state.remove(ids[0]);
        assert_eq!((state.stats().sessions, state.stats().closed), (1, 2));
    }

    #[test]
    fn a_session_that_is_given_up_leaves_nothing_behind() {
        let mut state = RegistryState::default();
        let (user, conversation) = (UserId::new(), ConversationId::new());
        let vitals = session(&mut state, Some(user));
        state.follow(vitals.session_id, conversation);
        vitals.set_holds_back(true);
        let limits = StallLimits { behind: Duration::from_secs(20), idle: Duration::from_secs(40) };
        let began = Instant::now();
        assert!(state.give_up_stalled(began, limits).is_empty());
        let given_up = state.give_up_stalled(began + limits.behind, limits);
        assert_eq!(given_up.len(), 1);
        assert_eq!(state.followers(conversation, user, None).count(), 0);
        let stats = state.stats();
        assert_eq!((stats.sessions, stats.closed, stats.stalled), (0, 1, 1));
    }
}
