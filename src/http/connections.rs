//! `/api/v1/connections`: the live connections, for operators.

use super::{ErrorBody, Query, require_operator};
use crate::{
    auth::Identity,
    domain::SessionId,
    limiter::{LimitHits, Limiter},
    limits::MAX_PAGE,
    protocol::ApiError,
    registry::{ConnectionManager, GetStats, ListSessions, RegistryStats, SessionsPage},
    workflow::{Turns, TurnsStats},
};
use actix::Addr;
use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};

pub fn routes(cfg: &mut web::ServiceConfig) {
    cfg.service(web::resource("/api/v1/connections").route(web::get().to(list)))
        .service(web::resource("/api/v1/connections/stats").route(web::get().to(stats)));
}

/// The live connections and turns in numbers.
#[derive(Serialize, utoipa::ToSchema)]
pub struct ConnectionStats {
    #[serde(flatten)]
    connections: RegistryStats,
    #[serde(flatten)]
    turns: TurnsStats,
    /// How often each limit said no, since the start of the server.
    limits: LimitHits,
}

#[utoipa::path(
    get, path = "/api/v1/connections/stats", tag = "operators",
    responses((status = 200, body = ConnectionStats), (status = "4XX", body = ErrorBody)),
    security(("bearer" = [])),
)]
async fn stats(
    identity: Identity,
    registry: web::Data<Addr<ConnectionManager>>,
    turns: web::Data<Turns>,
    limiter: web::Data<Limiter>,
) -> Result<HttpResponse, ApiError> {
    require_operator(&identity)?;
    let connections = registry.send(GetStats).await.map_err(|error| ApiError::internal(&error))?;
    Ok(HttpResponse::Ok().json(ConnectionStats { connections, turns: turns.stats(), limits: limiter.hits() }))
}

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// Only what opened after this one: the `next` of the page before.
    after: Option<SessionId>,
    /// 1 to 200.
    #[serde(default = "default_limit")]
    limit: usize,
}

const fn default_limit() -> usize {
    50
}

/// The live connections and what each is doing, oldest first.
#[utoipa::path(
    get, path = "/api/v1/connections", tag = "operators", params(ListQuery),
    responses((status = 200, body = SessionsPage), (status = "4XX", body = ErrorBody)),
    security(("bearer" = [])),
)]
async fn list(
    identity: Identity,
    Query(query): Query<ListQuery>,
    registry: web::Data<Addr<ConnectionManager>>,
) -> Result<HttpResponse, ApiError> {
    require_operator(&identity)?;
    let ListQuery { after, limit } = query;
    if !(1..=MAX_PAGE).contains(&i64::try_from(limit).unwrap_or(i64::MAX)) {
        return Err(ApiError::invalid_field("limit", format_args!("must be 1 to {MAX_PAGE}")));
    }
    let page = registry.send(ListSessions { after, limit }).await.map_err(|error| ApiError::internal(&error))?;
    Ok(HttpResponse::Ok().json(page))
}
