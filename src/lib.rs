//! Switchboard: an actor-based connection server for real-time AI chat.

pub mod app;
pub mod auth;
pub mod build_info;
pub mod cli;
pub mod client;
pub mod config;
pub mod domain;
pub mod http;
pub mod knowledge;
pub mod limiter;
pub mod limits;
pub mod load;
pub mod logging;
pub mod metrics;
pub mod ops;
mod pause;
pub mod preflight;
mod private;
pub mod process;
pub mod protocol;
pub mod provider;
pub mod registry;
pub mod session;
pub mod steering;
pub mod store;
pub mod turn;
pub mod workflow;
