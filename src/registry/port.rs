//! The registry of connections as the rest of the server uses it.

use super::{ConnectionAddress, ConnectionQuery, ConnectionStats, ConnectionView, ConnectionsPage, RegistryStats};
use crate::{
    bus::TurnAnnouncements,
    domain::{ConnectionId, ConversationId, UserId},
    store::Revocation,
};
use bytestring::ByteString;
use std::sync::Arc;

/// Error of a request to a registry that has ended, because the server stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the registry of connections has stopped")]
pub struct RegistryStopped;

/// A connection as operators see it, and its live statistics.
pub struct FoundConnection {
    pub view: ConnectionView,
    pub stats: Arc<ConnectionStats>,
}

/// The connections that a kick closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KickTarget {
    Connection(ConnectionId),
    User(UserId),
}

type Answer<T> = Result<T, RegistryStopped>;

/// A registry of open connections, which passes the suite of `conformance`. It announces a turn of the bus to the connections that
/// are subscribed to its conversation, except to the one that started it. Methods without an answer take effect before those that the
/// same caller calls later.
pub trait ConnectionRegistry: TurnAnnouncements {
    /// Adds a connection, which receives its commands at `to`.
    fn register(&self, stats: Arc<ConnectionStats>, to: ConnectionAddress);

    /// Removes a connection and its subscriptions.
    fn unregister(&self, id: ConnectionId);

    /// Ends all subscriptions to a deleted conversation.
    fn forget_conversation(&self, conversation: ConversationId);

    /// Closes the connections that authenticated with a revoked token.
    fn revoke(&self, revocations: Vec<Revocation>);

    /// Closes connections on behalf of an operator; returns their number. `text` is the text of the close frame, truncated to its
    /// maximum length.
    fn kick(&self, target: KickTarget, text: Arc<str>) -> impl Future<Output = Answer<usize>>;

    /// Sends a frame to all chat connections, or to those of one user; returns the number of these connections.
    fn notify(&self, frame: ByteString, user: Option<UserId>) -> impl Future<Output = Answer<usize>>;

    /// Returns the counts of live connections.
    fn stats(&self) -> impl Future<Output = Answer<RegistryStats>>;

    /// Counts the chat connections of each of these users, in the same order.
    fn count_of(&self, users: Vec<UserId>) -> impl Future<Output = Answer<Vec<usize>>>;

    /// Returns a page of the connections that match a query.
    fn list(&self, query: ConnectionQuery) -> impl Future<Output = Answer<ConnectionsPage>>;

    /// Finds a connection of any kind.
    fn find(&self, id: ConnectionId) -> impl Future<Output = Answer<Option<FoundConnection>>>;
}
