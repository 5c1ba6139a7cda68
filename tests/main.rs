//! Black-box tests: each starts the real server on a free port and talks to it as a client does.

mod browser;
mod cli;
mod clients;
mod harness;
mod http;
mod knowledge;
mod provider;
mod reliability;
mod session;
mod tidy;
mod websocket_doc;
