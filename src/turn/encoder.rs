//! The port through which a subscription writes frames of any surface.

use super::{Cursor, Entry, TurnSubject};
use bytestring::ByteString;
use switchboard_protocol::TurnState;

/// A turn as one reader of it sees it.
#[derive(Clone, Copy, Debug)]
pub struct SubscribedAs<'a> {
    pub subject: &'a TurnSubject,
    /// The number of the subscription on its connection, from 1.
    pub number: u32,
}

/// The start of a replay, as announced to the client.
#[derive(Clone, Copy, Debug)]
pub struct ReplayStart<'a> {
    pub cursor: Cursor,
    pub state: TurnState,
    /// Whether the client has to reload the history, because more turns follow than are replayed.
    pub reload_history: bool,
    /// The `client_message_id` of a message that was sent again.
    pub client_message_id: Option<&'a str>,
}

/// Encodes the entries of a log as the frames of one surface.
///
/// An encoding depends only on its arguments, so a replay equals the live stream.
pub trait Encoder: Sync {
    /// Encodes an entry; `after` is the position after it. `None` if the surface does not show such entries.
    fn entry(&self, turn: SubscribedAs<'_>, entry: &Entry<'_>, after: Cursor) -> Option<ByteString>;

    /// Encodes the announcement of a replay; `None` if the surface has none.
    fn replay(&self, turn: SubscribedAs<'_>, start: ReplayStart<'_>) -> Option<ByteString>;

    /// Whether tokens may wait for each other to share a frame.
    fn coalesces(&self) -> bool;
}
