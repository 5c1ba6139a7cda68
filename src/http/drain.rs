//! `POST /api/v1/drain`: an operator stops the server.

use super::{ErrorBody, require_operator};
use crate::{
    auth::Identity,
    protocol::ApiError,
    registry::{ConnectionManager, GetStats},
    workflow::Turns,
};
use actix::Addr;
use actix_web::{HttpResponse, web};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

pub fn routes(cfg: &mut web::ServiceConfig) {
    cfg.route("/api/v1/drain", web::post().to(drain));
}

/// Asks the server to stop, as SIGTERM does.
#[derive(Clone, Default)]
pub struct StopRequest(CancellationToken);

impl StopRequest {
    /// Ready when somebody has asked.
    pub async fn asked(&self) {
        self.0.cancelled().await;
    }
}

/// What there is to empty.
#[derive(Serialize, utoipa::ToSchema)]
pub struct DrainResponse {
    /// WebSockets that will be told to go.
    sessions: usize,
    /// Turns that may end first, for `server.drain_timeout_s`.
    running_turns: usize,
}

/// Stops the server: no new connections and turns, running turns may end, sessions are told to go away, the process ends.
#[utoipa::path(
    post, path = "/api/v1/drain", tag = "operators",
    responses((status = 202, body = DrainResponse), (status = "4XX", body = ErrorBody)),
    security(("bearer" = [])),
)]
pub(super) async fn drain(
    identity: Identity,
    stop: web::Data<StopRequest>,
    registry: web::Data<Addr<ConnectionManager>>,
    turns: web::Data<Turns>,
) -> Result<HttpResponse, ApiError> {
    require_operator(&identity)?;
    let sessions = registry.send(GetStats).await.map_err(|error| ApiError::internal(&error))?.sessions;
    let running_turns = turns.stats().running_turns;
    log::warn!(user_id:% = identity.user_id; "an operator stops the server");
    turns.drain();
    stop.0.cancel();
    Ok(HttpResponse::Accepted().json(DrainResponse { sessions, running_turns }))
}
