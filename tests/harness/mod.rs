//! Foundation of the black-box tests: the real server on a free port, and clients that read like the protocol.

#![expect(clippy::unwrap_used, reason = "a helper of tests fails its test by panicking")]

mod app;
mod chaos_proxy;
mod events;
mod eventually;
mod frame_proxy;
mod installed;
mod program;
mod raw_socket;
mod reserved_port;
mod socket;
mod system;
pub mod token;
mod turn_numbers;

pub use app::{JWT_SECRET, Leftovers, PASSWORD, TestApp, TestUser};
pub use chaos_proxy::ChaosProxy;
pub use events::Event;
pub use eventually::{eventually, eventually_within, holds};
pub use frame_proxy::{Fate, FrameProxy};
pub use installed::{installed, needs_installed};
pub use program::Program;
pub use raw_socket::{RawSocket, first};
pub use reserved_port::ReservedPort;
pub use socket::{SocketBuilder, TestSocket, Transcript, conversation_of, in_v2_names, is_terminal};
pub use system::System;
pub use turn_numbers::TurnNumbers;
