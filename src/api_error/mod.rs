//! Mapping of the core's errors to [`ApiError`], one file per layer.
//!
//! The store, accounts, limiter and turns define errors of their own and know nothing of the wire. These conversions add the
//! code, the message and the retry delay. WebSockets, REST and the command line all use them.
//!
//! [`ApiError`]: switchboard_protocol::ApiError

mod auth;
mod field;
mod internal;
mod limiter;
mod registry;
mod steering;
mod store;
mod turn;

pub(crate) use internal::InternalError;
pub use turn::from_failure;
