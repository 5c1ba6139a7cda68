//! `POST /api/v1/notices`: an operator's message to connected users.

use crate::{
    api_error::InternalError,
    domain::UserId,
    http::{
        error::{ErrorBody, HttpError},
        extract::{Json, Operator},
        operator::text::check_text,
        state::State,
    },
    registry::{ConnectionManager, ConnectionRegistry},
    steering::{Audit, AuditedAction},
};
use actix::Addr;
use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};
use serde_json::json;
use switchboard_protocol::{ApiError, Notice, NoticeLevel, ServerFrame};

pub fn routes(cfg: &mut web::ServiceConfig) {
    cfg.service(web::resource("/api/v1/notices").route(web::post().to(send)));
}

#[derive(Deserialize, utoipa::ToSchema)]
pub struct NoticeRequest {
    /// Text of the notice: 1 to 1,000 characters.
    #[schema(example = "The service will be away for ten minutes at 18:00.")]
    message: String,
    #[serde(default)]
    level: NoticeLevel,
    /// Sends the notice only to this user's connections. Absent: to all connections.
    user_id: Option<UserId>,
}

#[derive(Serialize, utoipa::ToSchema)]
pub struct NoticeResponse {
    /// Number of connections that the notice is sent to.
    connections: usize,
    /// Alias of `connections`, until 1.0.
    sessions: usize,
}

/// Sends a `notice` to every connection, or to those of one user.
#[utoipa::path(
    post, path = "/api/v1/notices", tag = "operators", operation_id = "send_notice", request_body = NoticeRequest,
    responses(
        (status = 200, description = "The notice was queued.", body = NoticeResponse),
        (status = "4XX", description = "The request was refused; see `code`.", body = ErrorBody),
        (status = 503, description = "`OVERLOADED`: the store is unavailable; nothing was done.", body = ErrorBody),
    ),
    security(("bearer" = [])),
)]
async fn send(
    Operator(operator): Operator,
    Json(request): Json<NoticeRequest>,
    registry: State<Addr<ConnectionManager>>,
    audit: State<Audit>,
) -> Result<HttpResponse, HttpError> {
    let NoticeRequest { message, level, user_id } = request;
    check_text("message", &message)?;
    // Encoded once for all connections.
    let frame = ServerFrame::Notice(Notice { message: &message, level }).encode();
    let audited = AuditedAction {
        action: "notice",
        target: user_id.map(|id| id.to_string()),
        detail: json!({"message": message, "level": level}),
    };
    let work = async move {
        let sent = registry.notify(frame, user_id).await;
        let connections = sent.map_err(|error| ApiError::internal(&error))?;
        Ok(NoticeResponse { connections, sessions: connections })
    };
    Ok(HttpResponse::Ok().json(audit.into_inner().record::<_, ApiError>(&operator, audited, work).await?))
}
