//! What others know at the moment of a scrape.

use crate::protocol::Dialect;

/// The server as it is now. Whoever scrapes brings it.
#[derive(Clone, Debug, Default)]
pub struct Live {
    /// `false` while the server empties: it takes no new sessions and turns.
    pub accepting: bool,
    pub sessions: Vec<ConnectionCount>,
    /// Users with a session.
    pub users: usize,
    /// Since the start.
    pub sessions_opened: u64,
    /// Given up because their peer did not read, since the start.
    pub sessions_stalled: u64,
    /// To all sessions, since the start.
    pub tokens_sent: u64,
    /// What sessions have yet to write, in bytes of text.
    pub bytes_waiting: u64,
    pub turns_running: usize,
    pub max_running_turns: usize,
    pub turns_waiting: usize,
    pub turns_retained: usize,
    /// Since the start.
    pub turns_started: u64,
    /// Answers that wait for the store.
    pub answers_unstored: usize,
    /// Since the start.
    pub log_lines_lost: u64,
    /// Since the start.
    pub limits: Vec<LimitCount>,
}

/// Sessions that are alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionCount {
    pub state: &'static str,
    pub dialect: Dialect,
    pub sessions: usize,
}

/// How often a limit said no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitCount {
    pub limit: &'static str,
    pub hits: u64,
}
