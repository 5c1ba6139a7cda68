//! What the black-box tests stand on: the real server on a free port, and clients that read like the protocol.

mod app;
mod socket;

pub use app::{PASSWORD, TestApp, TestUser};
pub use socket::{TestSocket, Transcript};
