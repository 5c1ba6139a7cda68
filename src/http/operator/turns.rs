//! `POST /api/v1/turns/{turn_id}/cancel`: cancellation of any user's turn by an operator.

use crate::{
    domain::TurnId,
    http::{
        error::{ErrorBody, HttpError},
        extract::Operator,
        routes::chat::CancelResponse,
        state::State,
    },
    steering::{Audit, AuditedAction},
    workflow::Turns,
};
use actix_web::{HttpResponse, web};
use serde_json::json;
use switchboard_protocol::{ApiError, ErrorCode};

pub fn routes(cfg: &mut web::ServiceConfig) {
    cfg.service(web::resource("/api/v1/turns/{turn_id}/cancel").route(web::post().to(cancel)));
}

/// Cancels any user's turn.
///
/// The turn ends as if its user had cancelled it.
#[utoipa::path(
    post, path = "/api/v1/turns/{turn_id}/cancel", tag = "operators", operation_id = "cancel_turn",
    params(("turn_id" = TurnId, Path)),
    responses(
        (status = 200, description = "The outcome.", body = CancelResponse),
        (status = "4XX", description = "The request was refused; see `code`.", body = ErrorBody),
        (status = 503, description = "`OVERLOADED`: the store is unavailable; nothing was done.", body = ErrorBody),
    ),
    security(("bearer" = [])),
)]
async fn cancel(
    Operator(operator): Operator,
    turn_id: web::Path<TurnId>,
    turns: State<Turns>,
    audit: State<Audit>,
) -> Result<HttpResponse, HttpError> {
    let turn_id = *turn_id;
    let turn = turns.find(turn_id).await;
    let subject = turn.as_ref().map(|turn| &turn.subject);
    let conversation_id = subject.map(|subject| subject.conversation_id);
    let detail = json!({
        "user_id": subject.map(|subject| subject.user_id),
        "conversation_id": conversation_id,
        // An older name of `conversation_id`, until 1.0.
        "session_id": conversation_id,
    });
    let audited = AuditedAction { action: "cancel_turn", target: Some(turn_id.to_string()), detail };
    let work = async move {
        if turn.is_none() {
            return Err(ApiError::new(ErrorCode::NotFound, "There is no such turn, or it ended some time ago."));
        }
        Ok(CancelResponse { turn_id, cancelled: turns.cancel(turn_id) })
    };
    Ok(HttpResponse::Ok().json(audit.into_inner().record::<_, ApiError>(&operator, audited, work).await?))
}
