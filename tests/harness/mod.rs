//! What the black-box tests stand on: the real server on a free port, and clients that read like the protocol.

mod app;
mod events;
mod socket;

pub use app::{PASSWORD, TestApp, TestUser};
pub use events::{Event, EventStream};
pub use socket::{TestSocket, Transcript};
