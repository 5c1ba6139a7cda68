//! What operators did.

use super::{AuditId, Email, UnixMillis, UserId};
use serde::Serialize;
use serde_json::Value;

/// One action: who, when, what, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct AuditEntry {
    pub id: AuditId,
    pub at_ms: UnixMillis,
    pub operator: AuditedOperator,
    /// Such as `kick_user`.
    pub action: String,
    /// The id or the name of what was acted on.
    pub target: Option<String>,
    /// What the operator asked for; an object.
    pub detail: Value,
    /// `begun`, then `done` or the code of an error. One that stays `begun` was cut off: what it did is not known.
    pub outcome: String,
}

/// An operator, as they were called when they acted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct AuditedOperator {
    pub id: UserId,
    #[schema(value_type = String)]
    pub email: Email,
}
