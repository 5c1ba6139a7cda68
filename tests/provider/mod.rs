//! Model providers against real servers.

#![expect(clippy::unwrap_used, reason = "a helper of tests fails its test by panicking")]

mod choice;
mod citations;
mod fallback;
mod openai;
mod operator;
mod real_model;
mod refused;
mod rewriting;
mod routing;
mod summaries;
mod task_model;
mod titles;
pub mod upstream;
