//! `/ws/chat`, as a client meets it.

mod auth;
mod messages;
