//! Switchboard: an actor-based connection server for real-time AI chat.
//!
//! `main.rs` only calls [`cli`]. `switchboard serve` builds an [`app::Application`], which composes the modules below. Each
//! WebSocket is served by an actix actor ([`session::ChatSession`]). It registers with the registry of connections
//! ([`registry::ConnectionManager`]) and sends questions to the workflow actor of its thread ([`workflow::Workflow`]), which
//! writes each answer to a turn log that the session reads. `docs/ARCHITECTURE.md` follows a turn through all of it.
//!
//! # Layout
//!
//! In dependency order: a module imports only from the lines above it, which `tests/tidy/boundaries.rs` enforces.
//!
//! | module | contents |
//! | --- | --- |
//! | [`limits`] | bounds that are not settings, with units, and their relations |
//! | [`domain`] | plain values: users, conversations, messages, answers, audit entries, time |
//! | `private`, [`process`], [`build_info`], `pause` | private files, resource usage, the commit of the build, pauses of the process |
//! | `toml_file` | operators' TOML files, with the positions of their faults |
//! | [`language`] | languages: small talk, follow-ups, danger, stop words, detection |
//! | [`terms`] | words and search terms of texts in any language, for the index and for scoring passages |
//! | `switchboard_protocol` | the published contract: frames, error codes, close reasons, dialects (a crate of its own) |
//! | [`config`] | settings, each declared once; loading, checking, explaining them |
//! | [`logging`] | log lines as text or JSON, written without ever blocking the server |
//! | [`metrics`] | counters and histograms, and their Prometheus exposition |
//! | [`store`] | users, conversations, turns, documents and the audit log: traits, and their SQLite implementation |
//! | [`knowledge`] | documents into chunks, and search for passages |
//! | [`provider`] | one trait for models: OpenAI-compatible servers, the built-in answerer, scripts for tests |
//! | [`limiter`] | rate limits, connection limits, allowed origins and hosts |
//! | [`auth`] | accounts, passwords, tokens, tickets, revocations |
//! | [`turn`] | the log of a turn, and subscriptions to it |
//! | [`bus`] | live data of conversations: stored events, started turns, ephemeral signals |
//! | [`registry`] | open connections, the conversations they are subscribed to, operators' queries, drain |
//! | [`workflow`] | a turn from admission to its recorded answer: routing, retrieval, generation, checkpoints, cancel |
//! | [`preflight`] | checks of the files, addresses and secrets that settings refer to, at start and for `config check` |
//! | [`steering`] | operators' actions: audit, settings that change at run time, the state of a drain |
//! | [`transport`] | connections below their actors: listener, upgraded connections, WebSocket messages |
//! | `api_error` | mapping of each layer's errors to the codes and texts of the wire |
//! | [`encode`] | the entries of a turn as the frames of each surface |
//! | `connection` | authentication and inbound guard, shared by all kinds of connection |
//! | [`session`] | the session actor of a chat connection, and its pure state |
//! | [`ops`] | the live feed for operators |
//! | [`http`] | REST routes, operators' routes, pages, and the extractors and middleware before them |
//! | [`eval`] | labelled questions, measures of answers, reports and their comparison |
//! | [`app`] | the composition root: starts actors, chooses backends, stops |
//! | [`cli`] | the commands of the program |

mod api_error;
pub mod app;
pub mod auth;
pub mod build_info;
pub mod bus;
pub mod cli;
pub mod config;
mod connection;
pub mod domain;
pub mod encode;
pub mod eval;
pub mod http;
pub mod knowledge;
pub mod language;
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
mod toml_file;
pub mod transport;
pub mod turn;
pub mod workflow;
