//! Black-box tests: each starts the real server on a free port and talks to it as a client does.

mod cli;
mod harness;
mod knowledge;
mod provider;
mod session;
mod tidy;
