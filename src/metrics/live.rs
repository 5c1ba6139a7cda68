//! Values that other parts of the server supply for a scrape.

use std::collections::BTreeMap;
use switchboard_protocol::Dialect;

/// The state of the server at the time of a scrape.
#[derive(Clone, Debug, Default)]
pub struct Live {
    /// `false` while the server drains and accepts neither connections nor turns.
    pub accepting: bool,
    /// Chat connections.
    pub connections: Vec<ConnectionCount>,
    pub connections_by_kind: Vec<KindCount>,
    /// Users with an open connection.
    pub users: usize,
    /// Since the start.
    pub connections_opened: u64,
    /// Closed because the client did not read, since the start.
    pub connections_stalled: u64,
    /// On all connections, since the start.
    pub tokens_sent: u64,
    /// Backlog of all connections, in bytes of text.
    pub bytes_waiting: u64,
    pub turns_running: usize,
    pub max_running_turns: usize,
    pub turns_waiting: usize,
    pub turns_retained: usize,
    /// Since the start.
    pub turns_started: u64,
    /// Answers that the store has not taken yet.
    pub answers_unstored: usize,
    /// Since the start.
    pub log_lines_lost: u64,
    /// Since the start.
    pub limits: Vec<LimitCount>,
    pub providers: Vec<ProviderState>,
    /// Absent without an embedding model.
    pub embedded: Option<EmbeddedPassages>,
}

/// Progress of the embedding of passages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EmbeddedPassages {
    pub passages: usize,
    pub without_vector: usize,
}

/// State of a provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderState {
    pub name: String,
    pub circuit: &'static str,
    /// Requests since the start, by outcome.
    pub requests: BTreeMap<&'static str, u64>,
}

/// Number of connections in one state and dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionCount {
    pub state: &'static str,
    pub dialect: Dialect,
    pub connections: usize,
}

/// Number of connections of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KindCount {
    pub kind: &'static str,
    pub connections: usize,
}

/// Number of refusals by a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitCount {
    pub limit: &'static str,
    pub hits: u64,
}
