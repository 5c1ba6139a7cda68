//! Operators' queries over the open connections: a filter, an order and a window.
//!
//! A query is pure and cheap over many thousands of connections: only those that pass the filter get a sort key, only the
//! window is sorted, and only the window is turned into views.

use super::{
    ConnectionStats, KindFilter,
    row::ConnectionRow,
    view::{ConnectionState, ConnectionsPage},
};
use crate::{
    auth::Identity,
    domain::UserId,
    limits::{MAX_PAGE_ENTRIES, MAX_QUERY_CHARS},
};
use serde::{Deserialize, Serialize};
use std::{cmp::Ordering, sync::Arc, time::Instant};
use switchboard_protocol::Dialect;

/// Entries of a page unless the request says otherwise.
const DEFAULT_LIMIT: usize = 50;

#[derive(Clone, Debug, PartialEq, Eq, Deserialize, utoipa::IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub struct ConnectionQuery {
    /// Text to find in the connection's id, its user's id, e-mail or name, its address or user agent, case-insensitively.
    pub q: Option<String>,
    /// Only connections of this user.
    pub user_id: Option<UserId>,
    /// Only connections of this kind. Defaults to `chat`.
    pub kind: KindFilter,
    pub dialect: Option<Dialect>,
    pub state: Option<ConnectionState>,
    pub sort: SortKey,
    pub order: Order,
    /// Number of connections to skip.
    pub offset: usize,
    /// Number of entries, 1 to 200.
    pub limit: usize,
}

impl Default for ConnectionQuery {
    /// The first page of all, oldest first.
    fn default() -> Self {
        Self {
            q: None,
            user_id: None,
            kind: KindFilter::default(),
            dialect: None,
            state: None,
            sort: SortKey::default(),
            order: Order::default(),
            offset: 0,
            limit: DEFAULT_LIMIT,
        }
    }
}

/// Sort key; connections with equal keys are sorted by age.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SortKey {
    #[default]
    OpenedAtMs,
    /// The user's e-mail.
    User,
    Address,
    UserAgent,
    Dialect,
    State,
    LastReceivedAtMs,
    LastSentAtMs,
    FramesReceived,
    BytesReceived,
    FramesSent,
    BytesSent,
    TokensSent,
    /// Number of subscriptions to conversations.
    Conversations,
    /// Number of subscriptions to turns.
    Turns,
    BytesWaiting,
    PingMs,
    Violations,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    #[default]
    Asc,
    Desc,
}

/// A parameter of a [`ConnectionQuery`] that is out of range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidQuery {
    #[error("`limit` must be 1 to {}", MAX_PAGE_ENTRIES)]
    Limit,
    #[error("`q` must be at most {} characters", MAX_QUERY_CHARS)]
    Text,
}

impl ConnectionQuery {
    /// # Errors
    /// The parameter that is out of range.
    pub fn check(&self) -> Result<(), InvalidQuery> {
        let max = usize::try_from(MAX_PAGE_ENTRIES).unwrap_or(usize::MAX);
        if !(1..=max).contains(&self.limit) {
            return Err(InvalidQuery::Limit);
        }
        if self.q.as_ref().is_some_and(|q| q.chars().count() > MAX_QUERY_CHARS) {
            return Err(InvalidQuery::Text);
        }
        Ok(())
    }

    /// Returns the requested window and the number of matching connections.
    pub fn page<'a>(&self, rows: impl Iterator<Item = ConnectionRow<'a>>, now: Instant) -> ConnectionsPage {
        let needle = self.q.as_deref().map(str::trim).filter(|q| !q.is_empty()).map(str::to_lowercase);
        let mut found: Vec<_> = rows
            .filter(|row| self.matches(row, needle.as_deref(), now))
            .map(|row| (Key::of(&row, self.sort, now), row))
            .collect();
        let total = found.len();
        let (start, end) = (self.offset.min(total), self.offset.saturating_add(self.limit).min(total));
        let order = |one: &(Key<'a>, ConnectionRow<'a>), other: &(Key<'a>, ConnectionRow<'a>)| {
            let by_key = one.0.compare(&other.0, self.order);
            by_key.then_with(|| one.1.stats.connection_id.cmp(&other.1.stats.connection_id))
        };
        // Only the window has to be sorted: selection moves everything else before or after it.
        if end < total {
            found.select_nth_unstable_by(end, order);
        }
        if 0 < start && start < end {
            found[..end].select_nth_unstable_by(start, order);
        }
        found[start..end].sort_unstable_by(order);
        let connections = found[start..end].iter().map(|(_, row)| row.view(now)).collect();
        ConnectionsPage { connections, total, offset: self.offset }
    }

    /// `needle` is in lower case.
    fn matches(&self, row: &ConnectionRow<'_>, needle: Option<&str>, now: Instant) -> bool {
        let stats = row.stats;
        self.kind.includes(stats.kind)
            && self.dialect.is_none_or(|dialect| Some(dialect) == stats.dialect)
            && self.user_id.is_none_or(|user| stats.user() == Some(user))
            && needle.is_none_or(|needle| mentions(stats, needle))
            && self.state.is_none_or(|state| state == row.state(now))
    }
}

/// Whether a searchable field of a connection contains the text.
fn mentions(stats: &ConnectionStats, needle: &str) -> bool {
    contains(&stats.address, needle)
        || contains(&stats.user_agent, needle)
        || is_part_of_id(stats.connection_id, needle)
        || stats.identity().is_some_and(|identity| {
            contains(identity.email.as_str(), needle)
                || contains(identity.name.as_str(), needle)
                || is_part_of_id(identity.user_id, needle)
        })
}

/// Formats the id only if `needle` can be part of one: most searches are not hexadecimal.
fn is_part_of_id(id: impl std::fmt::Display, needle: &str) -> bool {
    needle.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-') && id.to_string().contains(needle)
}

fn contains(text: &str, needle: &str) -> bool {
    if text.is_ascii() {
        let needle = needle.as_bytes();
        text.as_bytes().windows(needle.len()).any(|part| part.eq_ignore_ascii_case(needle))
    } else {
        text.to_lowercase().contains(needle)
    }
}

/// The value of a sort key. All values of one query are of one kind.
enum Key<'a> {
    Number(u64),
    Text(&'a str),
    User(Arc<Identity>),
    /// No value; sorted last in either order.
    Absent,
}

impl<'a> Key<'a> {
    fn of(row: &ConnectionRow<'a>, sort: SortKey, now: Instant) -> Self {
        let stats = row.stats;
        let number = match sort {
            SortKey::Address => return Self::Text(&stats.address),
            SortKey::UserAgent => return Self::Text(&stats.user_agent),
            SortKey::User => return stats.identity().map_or(Self::Absent, Self::User),
            SortKey::PingMs => match stats.round_trip() {
                Some(took) => took.as_micros().try_into().unwrap_or(u64::MAX),
                None => return Self::Absent,
            },
            SortKey::OpenedAtMs => stats.opened_at.0.unsigned_abs(),
            SortKey::Dialect => match stats.dialect {
                Some(dialect) => dialect as u64,
                None => return Self::Absent,
            },
            SortKey::State => row.state(now) as u64,
            SortKey::LastReceivedAtMs => stats.received().last_at.0.unsigned_abs(),
            SortKey::LastSentAtMs => stats.sent().last_at.0.unsigned_abs(),
            SortKey::FramesReceived => stats.received().frames,
            SortKey::BytesReceived => stats.received().bytes,
            SortKey::FramesSent => stats.sent().frames,
            SortKey::BytesSent => stats.sent().bytes,
            SortKey::TokensSent => stats.tokens_sent(),
            SortKey::Conversations => row.subscriptions.len() as u64,
            SortKey::Turns => stats.turn_count() as u64,
            SortKey::BytesWaiting => stats.bytes_waiting(),
            SortKey::Violations => stats.violations().into(),
        };
        Self::Number(number)
    }

    fn compare(&self, other: &Self, order: Order) -> Ordering {
        let ascending = match (self, other) {
            (Self::Absent, Self::Absent) => return Ordering::Equal,
            (Self::Absent, _) => return Ordering::Greater,
            (_, Self::Absent) => return Ordering::Less,
            (Self::Number(one), Self::Number(other)) => one.cmp(other),
            (Self::Text(one), Self::Text(other)) => one.cmp(other),
            (Self::User(one), Self::User(other)) => one.email.as_str().cmp(other.email.as_str()),
            _ => Ordering::Equal,
        };
        if order == Order::Desc { ascending.reverse() } else { ascending }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::{ConnectionId, DisplayName, Email, Role, UnixMillis},
        registry::{state::RegistryState, view::ConnectionView},
    };
    use std::time::Duration;

    struct World {
        state: RegistryState<()>,
        all: Vec<Arc<ConnectionStats>>,
    }

    impl World {
        fn new() -> Self {
            Self { state: RegistryState::default(), all: Vec::new() }
        }

        fn connect(&mut self, dialect: Dialect, address: &str, agent: &str, user: Option<(&str, &str)>) -> usize {
            let stats = ConnectionStats::new(ConnectionId::new(), dialect, address.to_owned(), agent.to_owned());
            if let Some((email, name)) = user {
                stats.set_identity(Arc::new(Identity {
                    user_id: UserId::new(),
                    email: Email::parse(email).unwrap(),
                    name: DisplayName::parse(name).unwrap(),
                    role: Role::User,
                    family_id: None,
                    generation: 0,
                    issued_at_ms: 0,
                    expires_at: 0,
                }));
            }
            self.state.register(Arc::clone(&stats), ());
            self.all.push(stats);
            self.all.len() - 1
        }

        /// Which connections the page has, by their number.
        fn page(&self, query: &ConnectionQuery) -> (Vec<usize>, usize) {
            let page = self.state.page(query, Instant::now());
            let number = |view: &ConnectionView| self.all.iter().position(|one| one.connection_id == view.id).unwrap();
            (page.connections.iter().map(number).collect(), page.total)
        }

        fn find(&self, q: &str) -> Vec<usize> {
            self.page(&ConnectionQuery { q: Some(q.to_owned()), ..ConnectionQuery::default() }).0
        }
    }

    fn people() -> World {
        let mut world = World::new();
        world.connect(Dialect::V1, "192.0.2.1", "Firefox/1", Some(("ada@example.org", "Ada")));
        world.connect(Dialect::V2, "192.0.2.20", "curl", None);
        world.connect(Dialect::V2, "2001:db8::1", "Firefox/2", Some(("bob@example.org", "ÖMER Böb")));
        world
    }

    #[test]
    fn the_text_is_found_in_every_searchable_field() {
        let world = people();
        assert_eq!(world.find(""), [0, 1, 2]);
        assert_eq!(world.find(" fireFOX "), [0, 2]);
        assert_eq!(world.find("192.0.2.2"), [1]);
        assert_eq!(world.find("ADA@"), [0]);
        assert_eq!(world.find("ömer b"), [2]);
        assert_eq!(world.find("nobody"), [0; 0]);
        let id = world.all[1].connection_id.to_string();
        assert_eq!(world.find(&id[20..]), [1]);
        let user = world.all[2].user().unwrap().to_string();
        assert_eq!(world.find(&user.to_uppercase()), [2]);
        // No longer than any text, and yet not in it.
        assert_eq!(world.find(&"x".repeat(200)), [0; 0]);
    }

    #[test]
    fn filters_combine() {
        let world = people();
        let query = |change: &dyn Fn(&mut ConnectionQuery)| {
            let mut query = ConnectionQuery::default();
            change(&mut query);
            world.page(&query).0
        };
        assert_eq!(query(&|query| query.dialect = Some(Dialect::V2)), [1, 2]);
        assert_eq!(query(&|query| query.state = Some(ConnectionState::Unauthenticated)), [1]);
        assert_eq!(query(&|query| query.user_id = world.all[0].user()), [0]);
        world.all[2].set_waits_for_credit(true);
        assert_eq!(query(&|query| query.state = Some(ConnectionState::Lagging)), [2]);
        let both = query(&|query| {
            query.state = Some(ConnectionState::Idle);
            query.dialect = Some(Dialect::V2);
        });
        assert_eq!(both, [0; 0]);
    }

    #[test]
    fn absent_values_come_last_in_either_order() {
        let world = people();
        world.all[0].set_round_trip(Duration::from_millis(7));
        world.all[2].set_round_trip(Duration::from_micros(1_500));
        for (sort, asc, desc) in [
            (SortKey::User, [0, 2, 1], [2, 0, 1]),
            (SortKey::PingMs, [2, 0, 1], [0, 2, 1]),
            (SortKey::Address, [0, 1, 2], [2, 1, 0]),
            // Equal ones by their age.
            (SortKey::Violations, [0, 1, 2], [0, 1, 2]),
        ] {
            for (order, wanted) in [(Order::Asc, asc), (Order::Desc, desc)] {
                let query = ConnectionQuery { sort, order, ..ConnectionQuery::default() };
                assert_eq!(world.page(&query).0, wanted, "{sort:?} {order:?}");
            }
        }
    }

    #[test]
    fn pages_are_windows_of_one_order() {
        let mut world = World::new();
        for n in 0..500_usize {
            let connection = world.connect(Dialect::V2, "192.0.2.1", "", None);
            // Many are equal.
            world.all[connection].sent_frame(UnixMillis(0), n * 7 % 50, 0);
        }
        for order in [Order::Asc, Order::Desc] {
            let mut wanted: Vec<usize> = (0..500).collect();
            wanted.sort_by_key(|n| {
                let bytes = i64::try_from(n * 7 % 50).unwrap();
                (if order == Order::Desc { -bytes } else { bytes }, *n)
            });
            let window = |offset, limit| {
                world.page(&ConnectionQuery { sort: SortKey::BytesSent, order, offset, limit, ..Default::default() })
            };
            for (offset, limit) in [(0, 1), (0, 200), (37, 50), (300, 200), (499, 7), (0, 500)] {
                let (found, total) = window(offset, limit);
                assert_eq!((found.as_slice(), total), (&wanted[offset..(offset + limit).min(500)], 500), "{offset}");
            }
            assert_eq!(window(500, 10), (Vec::new(), 500));
            assert_eq!(window(usize::MAX, 200), (Vec::new(), 500));
        }
    }

    #[test]
    fn values_out_of_range_are_named() {
        let check = |query: ConnectionQuery| query.check().map_err(|error| error.to_string());
        assert_eq!(check(ConnectionQuery::default()), Ok(()));
        for limit in [0, 201] {
            let refused = check(ConnectionQuery { limit, ..ConnectionQuery::default() }).unwrap_err();
            assert!(refused.contains("`limit`"), "{refused}");
        }
        let long = Some("x".repeat(MAX_QUERY_CHARS + 1));
        assert!(check(ConnectionQuery { q: long, ..ConnectionQuery::default() }).unwrap_err().contains("`q`"));
    }
}
