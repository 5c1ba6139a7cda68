//! The registry of open connections of every kind: the `ConnectionManager` actor and its state.
//!
//! It routes commands to connections, announces turns to the connections that are subscribed to their conversation, and
//! answers operators' queries. It holds neither the text of a turn nor a database handle.

mod actor;
mod command;
#[cfg(test)]
mod conformance;
mod connection_stats;
mod drain;
mod kind;
mod port;
mod query;
mod row;
mod stall;
mod state;
mod tap;
mod tap_watch;
mod view;

pub use actor::{CloseOperators, ConnectionManager, ContinueDrain, EndDrain, Registration};
pub use command::{ConnectionAddress, ConnectionCommand};
pub use connection_stats::ConnectionStats;
pub use drain::{Drain, DrainOrders, reconnect_after_ms};
pub use kind::{ConnectionKind, KindFilter};
pub use port::{ConnectionRegistry, FoundConnection, KickTarget, RegistryStopped};
pub use query::{ConnectionQuery, InvalidQuery, Order, SortKey};
pub use stall::StallLimits;
pub use state::{DialectConnections, KindConnections, RegistryStats, StateConnections, UserConnections};
pub use tap::{Direction, FrameShape, NewFrames, Tap};
pub use tap_watch::TapWatch;
pub use view::{ConnectedUser, ConnectionState, ConnectionView, ConnectionsPage, TurnView};
