//! `/api/v1/drain`: starts, observes and undoes a drain.

use crate::{
    api_error::InternalError,
    http::{
        error::{ErrorBody, HttpError},
        extract::{Operator, OptionalJson},
        state::State,
    },
    registry::{ConnectionManager, ConnectionRegistry, EndDrain},
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
    /// Action that follows the drain. Defaults to `stop`.
    then: Option<Then>,
}

/// Connections and turns that are left.
#[derive(Serialize, utoipa::ToSchema)]
pub struct DrainResponse {
    /// Open WebSockets. A drain closes them.
    connections: usize,
    /// Alias of `connections`, until 1.0.
    sessions: usize,
    /// Running turns. A drain lets them finish for up to `server.drain_timeout_s`.
    running_turns: usize,
}

#[derive(Serialize, utoipa::ToSchema)]
pub struct DrainStatus {
    phase: DrainPhase,
    /// Action that follows the drain. Absent if the server is not draining.
    #[serde(skip_serializing_if = "Option::is_none")]
    then: Option<Then>,
    #[serde(flatten)]
    left: DrainResponse,
}

async fn left(registry: &Addr<ConnectionManager>, turns: &Turns) -> Result<DrainResponse, ApiError> {
    let connections = registry.stats().await.map_err(|error| ApiError::internal(&error))?.connections;
    Ok(DrainResponse { connections, sessions: connections, running_turns: turns.stats().running_turns })
}

/// Returns the state of the drain.
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
    control: State<DrainControl>,
    registry: State<Addr<ConnectionManager>>,
    turns: State<Turns>,
) -> Result<HttpResponse, HttpError> {
    let left = left(&registry, &turns).await?;
    Ok(HttpResponse::Ok().json(DrainStatus { phase: control.phase(), then: control.then(), left }))
}

/// Starts a drain.
///
/// The server refuses new connections and turns, lets running turns finish, and closes its connections. Then the process stops, or
/// stays drained until the drain is undone.
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
    control: State<DrainControl>,
    registry: State<Addr<ConnectionManager>>,
    turns: State<Turns>,
    audit: State<Audit>,
) -> Result<HttpResponse, HttpError> {
    let then = then.unwrap_or_default();
    let user_id = operator.user_id;
    let audited = AuditedAction { action: "drain", target: None, detail: json!({"then": then}) };
    let work = async move {
        let before = left(&registry, &turns).await?;
        log::warn!(user_id:%; "an operator started a drain");
        control.start(then);
        Ok(before)
    };
    Ok(HttpResponse::Accepted().json(audit.into_inner().record::<_, ApiError>(&operator, audited, work).await?))
}

/// Undoes a drain.
///
/// The server accepts new work again. Connections that the drain has closed stay closed.
#[utoipa::path(
    delete, path = "/api/v1/drain", tag = "operators", operation_id = "undrain",
    responses(
        (status = 200, description = "The drain is undone; these are still open.", body = DrainResponse),
        (status = "4XX", description = "The request was refused; see `code`.", body = ErrorBody),
        (status = 503, description = "`OVERLOADED`: the process is already stopping, or the store is unavailable", body = ErrorBody),
    ),
    security(("bearer" = [])),
)]
async fn undo(
    Operator(operator): Operator,
    control: State<DrainControl>,
    registry: State<Addr<ConnectionManager>>,
    turns: State<Turns>,
    audit: State<Audit>,
) -> Result<HttpResponse, HttpError> {
    let user_id = operator.user_id;
    let audited = AuditedAction { action: "undrain", target: None, detail: json!({}) };
    let work = async move {
        control.undo()?;
        registry.do_send(EndDrain);
        log::warn!(user_id:%; "an operator undid the drain");
        left(&registry, &turns).await
    };
    Ok(HttpResponse::Ok().json(audit.into_inner().record::<_, ApiError>(&operator, audited, work).await?))
}
