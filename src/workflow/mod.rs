//! The pipeline that answers a question: `classify → retrieve → generate → record`.
//!
//! The `Workflow` actor admits turns and starts them; each turn is a task of its own, on the thread of the connection that
//! started it. The module knows neither sockets nor wire frames: a turn's output goes into its log.

mod actor;
pub mod budgets;
mod citations;
mod cited_answer;
mod engine;
mod error;
mod guidance;
pub mod guide;
mod history;
mod journal;
mod markdown_code;
mod meaning;
mod model_calls;
mod parts;
mod passages;
mod progress;
mod question;
mod reasoning;
mod recorded_turn;
mod recorder;
mod recording;
mod resume;
mod rewriting;
pub mod router;
mod run;
mod similarity;
mod sources;
pub mod specialists;
mod stages;
mod start;
mod suggestions;
mod summary;
mod support;
mod tasks;
mod turn_metrics;
mod turns;
mod unstored;
mod watchdog;
mod words;

pub use actor::{CancelTurn, ReadEvents, ResumeTurn, StartTurn, StartedTurn, Workflow};
pub use engine::Engine;
pub use error::TurnError;
pub use question::{Question, is_client_id};
pub use recorder::Recorder;
pub use resume::{ResumeConversation, ResumeEvents, ResumedConversation, ResumedEvents};
pub use sources::{PassageUrl, renew_links};
pub use tasks::Tasks;
pub use turns::{Turns, TurnsStats};
