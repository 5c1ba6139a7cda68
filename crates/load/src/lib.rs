//! The load generator: many clients in one process, what they saw, and what it cost the server.
//!
//! Nothing here knows the server's inside: it speaks the protocol through [`switchboard_client`], and reads the server's CPU and
//! memory from /proc when it runs on the same host.

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
