//! What the black-box tests stand on: the real server on a free port, and clients that read like the protocol.

mod app;
mod events;
mod program;
mod raw_socket;
mod socket;
pub mod token;

pub use app::{JWT_SECRET, PASSWORD, TestApp, TestUser};
pub use events::{Event, EventStream};
pub use program::Program;
pub use raw_socket::{RawSocket, first};
pub use socket::{SocketBuilder, TestSocket, Transcript, is_terminal};
