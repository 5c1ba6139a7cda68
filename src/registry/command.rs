//! Commands of the registry to connections, and their recipients.

use crate::turn::TurnLog;
use actix::Recipient;
use bytestring::ByteString;
use std::sync::Arc;
use switchboard_protocol::CloseReason;
use tokio::sync::mpsc;

/// A command to a connection.
#[derive(Clone, actix::Message)]
#[rtype(result = "()")]
pub enum ConnectionCommand {
    /// Subscribe to a turn that another connection started.
    Subscribe(Arc<TurnLog>),
    /// Close for this reason.
    Close(CloseReason),
    /// Close on behalf of an operator, with this text in the close frame.
    Kick(Arc<str>),
    /// Send this frame, which is encoded once for all connections.
    Notice(ByteString),
    /// Close because the server stops.
    GoAway {
        /// Time after which the client should reconnect, in milliseconds.
        reconnect_after_ms: u64,
    },
}

/// The recipient of commands to one connection.
pub enum ConnectionAddress {
    /// The actor of a WebSocket.
    Actor(Recipient<ConnectionCommand>),
    /// A streaming HTTP response. It ends at its first command, so a full channel loses nothing.
    Stream(mpsc::Sender<ConnectionCommand>),
}

impl ConnectionAddress {
    /// Sends a command without waiting, even if the mailbox of the actor is full.
    pub fn send(&self, command: ConnectionCommand) {
        match self {
            Self::Actor(actor) => actor.do_send(command),
            Self::Stream(stream) => {
                // Fails if the stream has ended or is ending already.
                let _ = stream.try_send(command);
            }
        }
    }
}
