//! The errors of the layers below, as clients receive them: one file for each layer.
//!
//! The layers know neither codes nor texts of the wire. Here each of their errors gets its [`ApiError`]: code, message and time
//! to wait. WebSockets, REST and the command line all use these conversions.
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
pub use turn::of_failure;
