//! What operators do to a running server beyond its sessions and turns: the record of their actions, settings that change
//! while it runs, and emptying it.

mod audit;
mod drain;
mod settings;

pub use audit::{Audit, AuditedAction};
pub use drain::{DrainControl, DrainPhase, Then};
pub use settings::{
    LimitsChange, LimitsInForce, Settings, SettingsChange, SettingsInForce, WorkflowChange, WorkflowInForce,
};
