//! `/api/v1/connections`: the live connections, as operators see them.

use super::{ErrorBody, Query, require_operator};
use crate::{
    auth::Identity,
    domain::SessionId,
    limiter::{LimitHits, Limiter},
    protocol::{ApiError, ErrorCode},
    registry::{
        ConnectionManager, ConnectionQuery, ConnectionView, ConnectionsPage, FindSession, GetStats, ListSessions,
        RegistryStats,
    },
    workflow::{Turns, TurnsStats},
};
use actix::Addr;
use actix_web::{HttpResponse, web};
use serde::Serialize;

pub fn routes(cfg: &mut web::ServiceConfig) {
    cfg.service(web::resource("/api/v1/connections").route(web::get().to(list)))
        .service(web::resource("/api/v1/connections/stats").route(web::get().to(stats)))
        .service(web::resource("/api/v1/connections/{id}").route(web::get().to(get)));
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

/// The live connections that fit, and what each is doing.
#[utoipa::path(
    get, path = "/api/v1/connections", tag = "operators", operation_id = "list_connections", params(ConnectionQuery),
    responses((status = 200, body = ConnectionsPage), (status = "4XX", body = ErrorBody)),
    security(("bearer" = [])),
)]
async fn list(
    identity: Identity,
    Query(query): Query<ConnectionQuery>,
    registry: web::Data<Addr<ConnectionManager>>,
) -> Result<HttpResponse, ApiError> {
    require_operator(&identity)?;
    query.check()?;
    let page = registry.send(ListSessions(query)).await.map_err(|error| ApiError::internal(&error))?;
    Ok(HttpResponse::Ok().json(page))
}

/// One live connection.
#[utoipa::path(
    get, path = "/api/v1/connections/{id}", tag = "operators", operation_id = "get_connection",
    params(("id" = SessionId, Path)),
    responses((status = 200, body = ConnectionView), (status = "4XX", body = ErrorBody)),
    security(("bearer" = [])),
)]
async fn get(
    identity: Identity,
    id: web::Path<SessionId>,
    registry: web::Data<Addr<ConnectionManager>>,
) -> Result<HttpResponse, ApiError> {
    require_operator(&identity)?;
    let found = registry.send(FindSession(*id)).await.map_err(|error| ApiError::internal(&error))?;
    let found = found.ok_or_else(no_such_connection)?;
    Ok(HttpResponse::Ok().json(found.view))
}

pub(super) fn no_such_connection() -> ApiError {
    ApiError::new(ErrorCode::NotFound, "There is no such connection.")
}
