//! Who is connected: the `ConnectionManager` actor and what it knows of each session.
//!
//! It routes commands to sessions and counts them. It never holds a turn's text or a database handle.

mod actor;
mod connection_stats;
mod drain;
mod query;
mod stall;
mod state;
mod tap;
mod view;

pub use actor::{
    ConnectionManager, ContinueDrain, ConversationDeleted, CountConnections, EndDrain, FindConnection, FoundConnection,
    GetStats, Kick, ListConnections, Register, Registration, SendNotice, SessionCommand, SubscribeToConversation,
    TokensRevoked, TurnStarted, Whom,
};
pub use connection_stats::ConnectionStats;
pub use drain::{Drain, DrainOrders, reconnect_after_ms};
pub use query::{ConnectionQuery, Order, SortKey};
pub use stall::StallLimits;
pub use state::{DialectConnections, RegistryStats, StateConnections, UserConnections};
pub use tap::{Direction, FrameShape, NewFrames, Tap, TapWatch};
pub use view::{ConnectedUser, ConnectionState, ConnectionView, ConnectionsPage, TurnView};
