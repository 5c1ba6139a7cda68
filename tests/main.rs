//! Black-box tests: each starts the real server on a free port and talks to it as a client does.

mod browser;
mod cli;
mod clients;
mod conformance;
mod harness;
mod knowledge;
mod provider;
mod session;
mod tidy;
mod websocket_doc;
