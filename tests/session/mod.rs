//! `/ws/chat`, as a client meets it.

mod auth;
mod cancel;
mod connections;
mod dialect;
mod events;
mod expiry;
mod frames;
mod heartbeat;
mod limits;
mod messages;
mod names;
mod reasoning;
mod resume;
mod tabs;
mod upgrade;
mod wire;
