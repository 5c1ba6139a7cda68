//! Black-box tests: each starts the real server on a free port and talks to it as a client does.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking, and prints its seed")]

mod attackers;
mod benches;
mod browser;
mod build_info;
mod chaos;
mod cli;
mod clients;
mod clock;
mod conformance;
mod harness;
mod http;
mod knowledge;
mod licences;
mod limits;
mod load;
mod metrics;
mod operations;
mod ops;
mod program;
mod prototype;
mod provider;
mod proxies;
mod quality;
mod reliability;
mod session;
mod sleeps;
mod surfaces;
mod survival;
mod tidy;
mod tidy_scripts;
mod upgrade;
mod websocket_doc;
