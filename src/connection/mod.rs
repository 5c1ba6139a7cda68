//! The parts that every kind of connection shares: authentication and the guard of what arrives. Pure: frames, results and
//! the clock go in, decisions and effects come out.

mod auth;
mod inbound_guard;
mod now;

pub use auth::{AuthRefusal, ConnectionAuth, auth_error};
pub use inbound_guard::{GuardEffect, InboundGuard, Refused};
pub use now::Now;
