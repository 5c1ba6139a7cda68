//! How a question becomes an answer: `classify → retrieve → generate → record`.
//!
//! The `Workflow` actor admits turns and owns them while they run; each turn is a task of its own, on the thread of the
//! session that started it. It holds no sockets and no wire frames: what a turn says goes into its log.

mod actor;
mod counting;
mod engine;
mod error;
mod history;
mod journal;
mod progress;
mod question;
mod recorder;
pub mod router;
mod run;
mod similarity;
pub mod specialists;
mod turns;
mod watch;
mod words;

pub use actor::{CancelTurn, ResumeConversation, ResumeTurn, StartTurn, StartedTurn, Workflow};
pub use engine::{Engine, ResumedConversation};
pub use error::TurnError;
pub use question::{Question, is_client_id};
pub use recorder::Recorder;
pub use turns::{Turns, TurnsStats};
