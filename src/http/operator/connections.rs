//! `/api/v1/connections`: live connections, for operators.

use crate::{
    api_error::InternalError,
    domain::ConnectionId,
    http::{
        error::{ErrorBody, HttpError},
        extract::{Operator, OptionalJson, Query},
        operator::text::{check_reason, close_text},
        state::State,
    },
    limiter::{LimitHits, Limiter},
    provider::{ProviderStatus, Providers},
    registry::{
        ConnectionManager, ConnectionQuery, ConnectionRegistry, ConnectionView, ConnectionsPage, KickTarget,
        RegistryStats,
    },
    steering::{Audit, AuditedAction},
    workflow::{
        Turns, TurnsStats,
        budgets::{BudgetUse, Budgets},
    },
};
use actix::Addr;
use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};
use serde_json::json;
use switchboard_protocol::{ApiError, ErrorCode};

pub fn routes(cfg: &mut web::ServiceConfig) {
    cfg.service(web::resource("/api/v1/connections").route(web::get().to(list)))
        .service(web::resource("/api/v1/connections/stats").route(web::get().to(stats)))
        .service(web::resource("/api/v1/connections/{id}").route(web::get().to(get)))
        .service(web::resource("/api/v1/connections/{id}/kick").route(web::post().to(kick)));
}

/// Statistics of live connections and turns.
#[derive(Serialize, utoipa::ToSchema)]
pub struct ConnectionStats {
    #[serde(flatten)]
    connections: RegistryStats,
    #[serde(flatten)]
    turns: TurnsStats,
    /// Authenticated connections of operators to `/ws/ops`, not included in `connections`.
    operators: usize,
    /// Number of refusals by each limit since the server started.
    limits: LimitHits,
    /// Providers that answer questions or serve tasks, with the state of their circuits.
    providers: Vec<ProviderStatus>,
    /// Use of the daily budgets of users; absent without a budget, or when the store is unavailable.
    #[serde(skip_serializing_if = "Option::is_none")]
    budget: Option<BudgetUse>,
}

/// Returns statistics of live connections and turns.
#[utoipa::path(
    get, path = "/api/v1/connections/stats", tag = "operators",
    responses(
        (status = 200, description = "The statistics.", body = ConnectionStats),
        (status = "4XX", description = "The request was refused; see `code`.", body = ErrorBody),
    ),
    security(("bearer" = [])),
)]
async fn stats(
    _: Operator,
    registry: State<Addr<ConnectionManager>>,
    turns: State<Turns>,
    limiter: State<Limiter>,
    providers: State<Providers>,
    budgets: State<Budgets>,
) -> Result<HttpResponse, HttpError> {
    let budget = budgets.use_today().await;
    let connections = registry.stats().await.map_err(|error| ApiError::internal(&error))?;
    let (turns, operators, limits) = (turns.stats(), connections.operators(), limiter.hits());
    let providers = providers.status();
    Ok(HttpResponse::Ok().json(ConnectionStats { connections, turns, operators, limits, providers, budget }))
}

/// Lists live connections.
///
/// Returns the connections that match the query, with the state of each.
#[utoipa::path(
    get, path = "/api/v1/connections", tag = "operators", operation_id = "list_connections", params(ConnectionQuery),
    responses(
        (status = 200, description = "A page of connections.", body = ConnectionsPage),
        (status = "4XX", description = "The request was refused; see `code`.", body = ErrorBody),
    ),
    security(("bearer" = [])),
)]
async fn list(
    _: Operator,
    Query(query): Query<ConnectionQuery>,
    registry: State<Addr<ConnectionManager>>,
) -> Result<HttpResponse, HttpError> {
    query.check()?;
    let page = registry.list(query).await.map_err(|error| ApiError::internal(&error))?;
    Ok(HttpResponse::Ok().json(page))
}

/// Returns one live connection.
#[utoipa::path(
    get, path = "/api/v1/connections/{id}", tag = "operators", operation_id = "get_connection",
    params(("id" = ConnectionId, Path)),
    responses(
        (status = 200, description = "The connection.", body = ConnectionView),
        (status = "4XX", description = "The request was refused; see `code`.", body = ErrorBody),
    ),
    security(("bearer" = [])),
)]
async fn get(
    _: Operator,
    id: web::Path<ConnectionId>,
    registry: State<Addr<ConnectionManager>>,
) -> Result<HttpResponse, HttpError> {
    let found = registry.find(*id).await.map_err(|error| ApiError::internal(&error))?;
    let found = found.ok_or_else(no_such_connection)?;
    Ok(HttpResponse::Ok().json(found.view))
}

fn no_such_connection() -> ApiError {
    ApiError::new(ErrorCode::NotFound, "There is no such connection. It may have been closed.")
}

#[derive(Default, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct KickRequest {
    /// Reason sent to the client; the close frame carries at most 123 bytes of it.
    reason: Option<String>,
}

#[derive(Serialize, utoipa::ToSchema)]
pub struct KickResponse {
    /// Number of closed connections.
    kicked: usize,
}

/// Closes a connection with 4403, or ends a streaming answer with an `error` event.
///
/// The user may connect again.
#[utoipa::path(
    post, path = "/api/v1/connections/{id}/kick", tag = "operators", operation_id = "kick_connection",
    params(("id" = ConnectionId, Path)), request_body = KickRequest,
    responses(
        (status = 200, description = "The connection was closed.", body = KickResponse),
        (status = "4XX", description = "The request was refused; see `code`.", body = ErrorBody),
        (status = 503, description = "`OVERLOADED`: the store is unavailable; nothing was done.", body = ErrorBody),
    ),
    security(("bearer" = [])),
)]
async fn kick(
    Operator(operator): Operator,
    id: web::Path<ConnectionId>,
    OptionalJson(KickRequest { reason }): OptionalJson<KickRequest>,
    registry: State<Addr<ConnectionManager>>,
    audit: State<Audit>,
) -> Result<HttpResponse, HttpError> {
    check_reason(reason.as_deref())?;
    let id = *id;
    let found = registry.find(id).await.map_err(|error| ApiError::internal(&error))?;
    let stats = found.map(|found| found.stats);
    let user_id = stats.as_ref().and_then(|stats| stats.user());
    let address = stats.as_ref().map(|stats| &stats.address);
    let detail = json!({"reason": reason, "user_id": user_id, "address": address});
    let audited = AuditedAction { action: "kick_connection", target: Some(id.to_string()), detail };
    let work = async move {
        let kicked = registry.kick(KickTarget::Connection(id), close_text(reason.as_deref())).await;
        match kicked.map_err(|error| ApiError::internal(&error))? {
            // It did not exist, or has closed in the meantime.
            0 => Err(no_such_connection()),
            kicked => Ok(KickResponse { kicked }),
        }
    };
    Ok(HttpResponse::Ok().json(audit.into_inner().record::<_, ApiError>(&operator, audited, work).await?))
}
