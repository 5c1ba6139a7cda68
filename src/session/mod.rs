//! Sessions: the server side of one WebSocket, with its authentication, its subscriptions and its close.
//!
//! `state` makes the decisions and is pure, with a file per command of clients in `commands`; `actor` performs their effects
//! on the WebSocket of `transport::socket`.

mod actor;
mod alarm;
mod announcements;
mod authenticator;
mod commands;
mod context;
mod conversation_events;
mod effect;
mod event_readers;
mod heartbeat;
mod pending_resumes;
mod question;
mod state;
mod subscriptions;

pub use actor::{ChatSession, Opening, upgrade};
pub use context::SessionContext;
pub use question::QuestionRules;
