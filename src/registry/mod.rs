//! Who is connected: the `ConnectionManager` actor and what it knows of each session.
//!
//! It routes commands to sessions and counts them. It never holds a turn's text or a database handle.

mod actor;
mod drain;
mod stall;
mod state;
mod vitals;

pub use actor::{
    ConnectionManager, ContinueDrain, FollowConversation, GetStats, ListSessions, Register, Registration,
    SessionCommand, TurnStarted,
};
pub use drain::{Drain, DrainOrders};
pub use stall::StallLimits;
pub use state::{DialectSessions, RegistryStats, SessionView, SessionsPage, StateSessions, TurnView, UserSessions};
pub use vitals::{ConnectionState, Vitals};
