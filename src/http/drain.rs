//! `/api/v1/drain`: an operator empties the server, for good or for a while.

use super::error::HttpError;
use super::{ErrorBody, Operator, OptionalJson};
use crate::api_error::InternalError;
use crate::{
    registry::{ConnectionManager, EndDrain, GetStats},
    steering::{Audit, AuditedAction, DrainControl, DrainPhase, Then},
    workflow::Turns,
};
use actix::Addr;
use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};
use serde_json::json;
use switchboard_protocol::ApiError;

pub fn routes(cfg: &mut web::ServiceConfig) {
    let resource = web::resource("/api/v1/drain");
    cfg.service(resource.route(web::get().to(status)).route(web::post().to(drain)).route(web::delete().to(undo)));
}

#[derive(Default, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct DrainRequest {
    /// What follows when the server is empty. `stop` when absent.
    then: Option<Then>,
}

/// What there is to empty.
#[derive(Serialize, utoipa::ToSchema)]
pub struct DrainResponse {
    /// WebSockets that are open; while the server is emptied, they are told to go.
    connections: usize,
    /// An older name of `connections`, until 1.0.
    sessions: usize,
    /// Turns that run; while the server is emptied, they may end first, for `server.drain_timeout_s`.
    running_turns: usize,
}

#[derive(Serialize, utoipa::ToSchema)]
pub struct DrainStatus {
    phase: DrainPhase,
    /// What follows when the server is empty; absent when it takes new work.
    #[serde(skip_serializing_if = "Option::is_none")]
    then: Option<Then>,
    #[serde(flatten)]
    left: DrainResponse,
}

async fn left(registry: &Addr<ConnectionManager>, turns: &Turns) -> Result<DrainResponse, ApiError> {
    let connections = registry.send(GetStats).await.map_err(|error| ApiError::internal(&error))?.connections;
    Ok(DrainResponse { connections, sessions: connections, running_turns: turns.stats().running_turns })
}

/// Whether the server is being emptied, and how far that is.
#[utoipa::path(
    get, path = "/api/v1/drain", tag = "operators", operation_id = "drain_status",
    responses(
        (status = 200, description = "The state of the drain.", body = DrainStatus),
        (status = "4XX", description = "The request was refused; see `code`.", body = ErrorBody),
    ),
    security(("bearer" = [])),
)]
async fn status(
    _: Operator,
    control: web::Data<DrainControl>,
    registry: web::Data<Addr<ConnectionManager>>,
    turns: web::Data<Turns>,
) -> Result<HttpResponse, HttpError> {
    let left = left(&registry, &turns).await?;
    Ok(HttpResponse::Ok().json(DrainStatus { phase: control.phase(), then: control.then(), left }))
}

/// Empties the server: no new connections and turns, running turns may end, sessions are told to go away. Then the process
/// ends, or stays empty until this is undone.
#[utoipa::path(
    post, path = "/api/v1/drain", tag = "operators", operation_id = "drain", request_body = DrainRequest,
    responses(
        (status = 202, description = "The drain has begun; these are still open.", body = DrainResponse),
        (status = "4XX", description = "The request was refused; see `code`.", body = ErrorBody),
        (status = 503, description = "`OVERLOADED`: the store is unavailable; nothing was done.", body = ErrorBody),
    ),
    security(("bearer" = [])),
)]
async fn drain(
    Operator(operator): Operator,
    OptionalJson(DrainRequest { then }): OptionalJson<DrainRequest>,
    control: web::Data<DrainControl>,
    registry: web::Data<Addr<ConnectionManager>>,
    turns: web::Data<Turns>,
    audit: web::Data<Audit>,
) -> Result<HttpResponse, HttpError> {
    let then = then.unwrap_or_default();
    let user_id = operator.user_id;
    let audited = AuditedAction { action: "drain", target: None, detail: json!({"then": then}) };
    let work = async move {
        let there_was = left(&registry, &turns).await?;
        log::warn!(user_id:%; "an operator empties the server");
        control.start(then);
        Ok(there_was)
    };
    Ok(HttpResponse::Accepted().json(audit.into_inner().record::<_, ApiError>(&operator, audited, work).await?))
}

/// Takes new work again. Sessions that were told to go have gone; the others and their turns stay.
#[utoipa::path(
    delete, path = "/api/v1/drain", tag = "operators", operation_id = "undrain",
    responses(
        (status = 200, body = DrainResponse), (status = "4XX", body = ErrorBody),
        (status = 503, description = "It is too late: the process ends.", body = ErrorBody),
    ),
    security(("bearer" = [])),
)]
async fn undo(
    Operator(operator): Operator,
    control: web::Data<DrainControl>,
    registry: web::Data<Addr<ConnectionManager>>,
    turns: web::Data<Turns>,
    audit: web::Data<Audit>,
) -> Result<HttpResponse, HttpError> {
    let user_id = operator.user_id;
    let audited = AuditedAction { action: "undrain", target: None, detail: json!({}) };
    let work = async move {
        control.undo()?;
        registry.do_send(EndDrain);
        log::warn!(user_id:%; "an operator lets the server take new work again");
        left(&registry, &turns).await
    };
    Ok(HttpResponse::Ok().json(audit.into_inner().record::<_, ApiError>(&operator, audited, work).await?))
}
