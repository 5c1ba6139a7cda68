//! One WebSocket: what it has proved, what it follows, when it ends.
//!
//! `state` decides, without sockets; `actor` carries out, above the WebSocket of `socket`. This is the only module that knows
//! actix-web-actors: the crate is deprecated upstream, and one module holds it.

mod actor;
mod alarm;
mod announced;
mod authenticator;
mod context;
mod effect;
mod fragments;
mod frame_guard;
mod handshake;
mod heartbeat;
mod intake;
mod now;
mod pending_resumes;
mod question;
mod response_body;
pub mod socket;
mod state;
mod subscriptions;

pub use actor::{ChatSession, Opening, upgrade};
pub use context::SessionContext;
pub use fragments::{Fragments, Whole};
pub use handshake::check as check_handshake;
pub use question::QuestionRules;
