//! Operators' control of a running server, apart from its connections and turns: the audit of their actions, live settings,
//! and the drain.

mod audit;
mod drain;
mod settings;

pub use audit::{ActionError, Audit, AuditError, AuditedAction};
pub use drain::{DrainControl, DrainPhase, Then, TooLate};
pub use settings::{Settings, SettingsChange, SettingsError, SettingsInForce};
