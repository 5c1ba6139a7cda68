//! Switchboard: an actor-based connection server for real-time AI chat.

mod api_error;
pub mod app;
pub mod auth;
pub mod build_info;
pub mod cli;
pub mod config;
pub mod domain;
pub mod http;
pub mod knowledge;
pub mod limiter;
pub mod limits;
pub mod logging;
pub mod metrics;
pub mod ops;
mod pause;
pub mod preflight;
mod private;
pub mod process;
pub mod provider;
pub mod registry;
pub mod session;
pub mod steering;
pub mod store;
pub mod terms;
pub mod turn;
pub mod workflow;
