//! Who is connected: the `ConnectionManager` actor and what it knows of each session.
//!
//! It routes commands to sessions and counts them. It never holds a turn's text or a database handle.

mod actor;
mod drain;
mod query;
mod stall;
mod state;
mod tap;
mod view;
mod vitals;

pub use actor::{
    ConnectionManager, ContinueDrain, ConversationDeleted, CountSessions, EndDrain, FindSession, FollowConversation,
    FoundSession, GetStats, Kick, ListSessions, Register, Registration, SendNotice, SessionCommand, TokensRevoked,
    TurnStarted, Whom,
};
pub use drain::{Drain, DrainOrders, reconnect_after_ms};
pub use query::{ConnectionQuery, Order, SortKey};
pub use stall::StallLimits;
pub use state::{DialectSessions, RegistryStats, StateSessions, UserSessions};
pub use tap::{Direction, FrameShape, NewFrames, Tap, TapWatch};
pub use view::{ConnectedUser, ConnectionState, ConnectionView, ConnectionsPage, TurnView};
pub use vitals::Vitals;
