//! The registry of open connections: the `ConnectionManager` actor and its state.
//!
//! It routes commands to session actors, announces turns to the connections that are subscribed to their conversation, and
//! answers operators' queries. It holds neither the text of a turn nor a database handle.

mod actor;
mod connection_stats;
mod drain;
mod query;
mod row;
mod stall;
mod state;
mod tap;
mod tap_watch;
mod view;

pub use actor::{
    ConnectionManager, ContinueDrain, ConversationDeleted, CountConnections, EndDrain, FindConnection, FoundConnection,
    GetStats, Kick, KickTarget, ListConnections, Register, Registration, SendNotice, SessionCommand,
    SubscribeToConversation, TokensRevoked,
};
pub use connection_stats::ConnectionStats;
pub use drain::{Drain, DrainOrders, reconnect_after_ms};
pub use query::{ConnectionQuery, InvalidQuery, Order, SortKey};
pub use stall::StallLimits;
pub use state::{DialectConnections, RegistryStats, StateConnections, UserConnections};
pub use tap::{Direction, FrameShape, NewFrames, Tap};
pub use tap_watch::TapWatch;
pub use view::{ConnectedUser, ConnectionState, ConnectionView, ConnectionsPage, TurnView};
