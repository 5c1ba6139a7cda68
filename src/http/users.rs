//! `/api/v1/users/{id}/kick`: an operator sends somebody away.

use super::{
    ErrorBody, MaybeJson, Operator,
    operator_text::{check_reason, close_text},
};
use crate::{
    auth::Accounts,
    domain::UserId,
    ops::OpsContext,
    protocol::ApiError,
    registry::{ConnectionManager, Kick, Whom},
    steering::{Audit, Deed},
};
use actix::Addr;
use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};
use serde_json::json;

pub fn routes(cfg: &mut web::ServiceConfig) {
    cfg.service(web::resource("/api/v1/users/{id}/kick").route(web::post().to(kick)));
}

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct KickUserRequest {
    /// What the user is told; the close frame has room for 123 bytes of it.
    reason: Option<String>,
    /// Whether the user is also signed out everywhere: no token that was issued until now is good any more. `true` when
    /// absent.
    revoke_tokens: bool,
}

impl Default for KickUserRequest {
    fn default() -> Self {
        Self { reason: None, revoke_tokens: true }
    }
}

#[derive(Serialize, utoipa::ToSchema)]
pub struct KickUserResponse {
    /// Connections that were closed, operators' sockets among them.
    kicked: usize,
    /// Whether the user's tokens were revoked.
    revoked: bool,
}

/// Closes all connections of a user with 4403, operators' sockets too, and signs the user out everywhere.
#[utoipa::path(
    post, path = "/api/v1/users/{id}/kick", tag = "operators", operation_id = "kick_user",
    params(("id" = UserId, Path)), request_body = KickUserRequest,
    responses((status = 200, body = KickUserResponse), (status = "4XX", body = ErrorBody), (status = 503, body = ErrorBody)),
    security(("bearer" = [])),
)]
async fn kick(
    Operator(operator): Operator,
    id: web::Path<UserId>,
    MaybeJson(request): MaybeJson<KickUserRequest>,
    accounts: web::Data<Accounts>,
    registry: web::Data<Addr<ConnectionManager>>,
    ops: web::Data<OpsContext>,
    audit: web::Data<Audit>,
) -> Result<HttpResponse, ApiError> {
    check_reason(request.reason.as_deref())?;
    let (id, KickUserRequest { reason, revoke_tokens: revoked }) = (*id, request);
    let detail = json!({"reason": reason, "revoke_tokens": revoked});
    let deed = Deed { action: "kick_user", target: Some(id.to_string()), detail };
    let work = async move {
        if revoked {
            // First, so that nobody comes back with one of them.
            accounts.revoke_tokens(id).await?;
        }
        let text = close_text(reason.as_deref());
        let of_operator = ops.feed.sockets().kick(id, &text);
        let kick = Kick { whom: Whom::User(id), text };
        let kicked = of_operator + registry.send(kick).await.map_err(|error| ApiError::internal(&error))?;
        Ok(KickUserResponse { kicked, revoked })
    };
    Ok(HttpResponse::Ok().json(audit.into_inner().record(&operator, deed, work).await?))
}
