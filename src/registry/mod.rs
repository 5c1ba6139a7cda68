//! Who is connected: the `ConnectionManager` actor and what it knows of each session.
//!
//! It routes commands to sessions and counts them. It never holds a turn's text or a database handle.

mod actor;
mod state;
mod vitals;

pub use actor::{
    CloseSessions, ConnectionManager, FollowConversation, GetStats, ListSessions, Register, Registration,
    SessionCommand, TurnStarted,
};
pub use state::{DialectSessions, RegistryStats, SessionView, SessionsPage, TurnView, UserSessions};
pub use vitals::Vitals;
