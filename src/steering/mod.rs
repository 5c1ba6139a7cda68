//! Operators' control of a running server, apart from its connections and turns: the audit of their actions, live settings,
//! and the drain.

mod audit;
mod drain;
mod settings;

pub use audit::{Audit, AuditedAction};
pub use drain::{DrainControl, DrainPhase, Then};
pub use settings::{Settings, SettingsChange, SettingsInForce};
