//! Audit log of operators' actions.

use super::{AuditId, Email, UnixMillis, UserId};
use serde::Serialize;
use serde_json::Value;

/// Audited action of an operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct AuditEntry {
    pub id: AuditId,
    pub at_ms: UnixMillis,
    pub operator: AuditedOperator,
    /// Name of the action, such as `kick_user`.
    pub action: String,
    /// Id or name of the object of the action.
    pub target: Option<String>,
    /// Parameters of the action; an object.
    pub detail: Value,
    /// `begun`, then `done` or an error code. An action that stays `begun` was interrupted, with unknown effect.
    pub outcome: String,
}

/// Operator with the e-mail address at the time of the action.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct AuditedOperator {
    pub id: UserId,
    #[schema(value_type = String)]
    pub email: Email,
}
