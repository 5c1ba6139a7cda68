//! `/api/v1/users/{id}`: disconnecting, locking and unlocking users.

use crate::{
    api_error::InternalError,
    auth::Accounts,
    domain::UserId,
    http::{
        error::{ErrorBody, HttpError},
        extract::{Operator, OptionalJson},
        operator::text::{check_reason, close_text},
        state::State,
    },
    registry::{ConnectionManager, ConnectionRegistry, KickTarget},
    steering::{Audit, AuditedAction},
};
use actix::Addr;
use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};
use serde_json::json;
use switchboard_protocol::{ApiError, ErrorCode};

pub fn routes(cfg: &mut web::ServiceConfig) {
    cfg.service(web::resource("/api/v1/users/{id}/kick").route(web::post().to(kick)))
        .service(web::resource("/api/v1/users/{id}/lock").route(web::post().to(lock)).route(web::delete().to(unlock)));
}

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct KickUserRequest {
    /// Reason sent to the user; the close frame carries at most 123 bytes of it.
    reason: Option<String>,
    /// Whether to sign the user out everywhere by revoking all tokens issued so far. Defaults to `true`.
    revoke_tokens: bool,
}

impl Default for KickUserRequest {
    fn default() -> Self {
        Self { reason: None, revoke_tokens: true }
    }
}

#[derive(Serialize, utoipa::ToSchema)]
pub struct KickUserResponse {
    /// Number of closed connections, including those to `/ws/ops` and streaming answers of `POST /api/v1/chat`.
    kicked: usize,
    /// Whether the user's tokens were revoked.
    revoked: bool,
}

/// Disconnects a user.
///
/// Closes all connections of the user with 4403, including those to `/ws/ops`, ends streaming answers with an `error` event, and by
/// default signs the user out everywhere.
#[utoipa::path(
    post, path = "/api/v1/users/{id}/kick", tag = "operators", operation_id = "kick_user",
    params(("id" = UserId, Path)), request_body = KickUserRequest,
    responses(
        (status = 200, description = "The connections were closed.", body = KickUserResponse),
        (status = "4XX", description = "The request was refused; see `code`.", body = ErrorBody),
        (status = 503, description = "`OVERLOADED`: the store is unavailable; nothing was done.", body = ErrorBody),
    ),
    security(("bearer" = [])),
)]
async fn kick(
    Operator(operator): Operator,
    id: web::Path<UserId>,
    OptionalJson(request): OptionalJson<KickUserRequest>,
    accounts: State<Accounts>,
    registry: State<Addr<ConnectionManager>>,
    audit: State<Audit>,
) -> Result<HttpResponse, HttpError> {
    check_reason(request.reason.as_deref())?;
    let (id, KickUserRequest { reason, revoke_tokens: revoked }) = (*id, request);
    let detail = json!({"reason": reason, "revoke_tokens": revoked});
    let audited = AuditedAction { action: "kick_user", target: Some(id.to_string()), detail };
    let work = async move {
        if revoked {
            // First, so that the user cannot reconnect with one of them.
            accounts.revoke_tokens(id).await?;
        }
        let kicked = disconnect(id, reason.as_deref(), &registry).await?;
        Ok(KickUserResponse { kicked, revoked })
    };
    Ok(HttpResponse::Ok().json(audit.into_inner().record::<_, ApiError>(&operator, audited, work).await?))
}

/// Closes all connections of a user and returns their number.
async fn disconnect(id: UserId, reason: Option<&str>, registry: &Addr<ConnectionManager>) -> Result<usize, ApiError> {
    let kicked = registry.kick(KickTarget::User(id), close_text(reason)).await;
    kicked.map_err(|error| ApiError::internal(&error))
}

#[derive(Default, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct LockUserRequest {
    /// Reason sent to the user's connections; the close frame carries at most 123 bytes of it.
    reason: Option<String>,
}

#[derive(Serialize, utoipa::ToSchema)]
pub struct LockUserResponse {
    /// Whether the account is locked.
    locked: bool,
    /// Number of closed connections, including those to `/ws/ops` and streaming answers of `POST /api/v1/chat`.
    kicked: usize,
}

/// Locks an account.
///
/// Signs its user out everywhere, closes all connections with 4403 and refuses further sign-ins. Operators cannot lock their own
/// account.
#[utoipa::path(
    post, path = "/api/v1/users/{id}/lock", tag = "operators", operation_id = "lock_user",
    params(("id" = UserId, Path)), request_body = LockUserRequest,
    responses(
        (status = 200, description = "The new state of the account.", body = LockUserResponse),
        (status = "4XX", description = "The request was refused; see `code`.", body = ErrorBody),
        (status = 503, description = "`OVERLOADED`: the store is unavailable; nothing was done.", body = ErrorBody),
    ),
    security(("bearer" = [])),
)]
async fn lock(
    Operator(operator): Operator,
    id: web::Path<UserId>,
    OptionalJson(LockUserRequest { reason }): OptionalJson<LockUserRequest>,
    accounts: State<Accounts>,
    registry: State<Addr<ConnectionManager>>,
    audit: State<Audit>,
) -> Result<HttpResponse, HttpError> {
    check_reason(reason.as_deref())?;
    let id = *id;
    if id == operator.user_id {
        let reason =
            "You cannot lock your own account. Ask another operator, or use `switchboard user lock` on the server.";
        return Err(ApiError::new(ErrorCode::Forbidden, reason).into());
    }
    let audited =
        AuditedAction { action: "lock_user", target: Some(id.to_string()), detail: json!({"reason": reason}) };
    let work = async move {
        // First, so that the user cannot reconnect.
        accounts.lock(id).await?;
        Ok(LockUserResponse { locked: true, kicked: disconnect(id, reason.as_deref(), &registry).await? })
    };
    Ok(HttpResponse::Ok().json(audit.into_inner().record::<_, ApiError>(&operator, audited, work).await?))
}

/// Unlocks an account.
///
/// The user can sign in again. Earlier tokens stay revoked.
#[utoipa::path(
    delete, path = "/api/v1/users/{id}/lock", tag = "operators", operation_id = "unlock_user",
    params(("id" = UserId, Path)),
    responses(
        (status = 200, description = "The new state of the account.", body = LockUserResponse),
        (status = "4XX", description = "The request was refused; see `code`.", body = ErrorBody),
        (status = 503, description = "`OVERLOADED`: the store is unavailable; nothing was done.", body = ErrorBody),
    ),
    security(("bearer" = [])),
)]
async fn unlock(
    Operator(operator): Operator,
    id: web::Path<UserId>,
    accounts: State<Accounts>,
    audit: State<Audit>,
) -> Result<HttpResponse, HttpError> {
    let id = *id;
    let audited = AuditedAction { action: "unlock_user", target: Some(id.to_string()), detail: json!({}) };
    let work = async move {
        accounts.unlock(id).await?;
        Ok(LockUserResponse { locked: false, kicked: 0 })
    };
    Ok(HttpResponse::Ok().json(audit.into_inner().record::<_, ApiError>(&operator, audited, work).await?))
}
