//! The load generator: runs many clients in one process and reports latencies, errors and the server's CPU and memory use.
//!
//! Independent of the server's code: it uses the protocol through [`switchboard_client`], and reads CPU time and memory from
//! /proc if the server runs on the same host.

mod html;
mod plan;
mod plot;
mod process;
mod report;
mod run;
mod tally;
mod text;
mod verdict;
mod worker;

pub use html::write_html;
pub use plan::{Plan, PlanError};
pub use report::Report;
pub use run::{LoadError, Sample, run};
pub use text::{write_progress, write_text};
