//! `/health` and `/health/ready`: liveness for supervisors, readiness for load balancers.

use crate::{http::state::State, store::ConversationStore, workflow::Turns};
use actix_web::{HttpResponse, web};
use serde::Serialize;

pub fn routes(cfg: &mut web::ServiceConfig) {
    cfg.service(web::resource("/health").route(web::get().to(health)))
        .service(web::resource("/health/ready").route(web::get().to(ready)));
}

#[derive(Serialize, utoipa::ToSchema)]
pub struct Health {
    /// `ok` or `unavailable`.
    status: &'static str,
    /// Version of the server.
    version: &'static str,
    /// Reason for `unavailable`.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Reports that the process is running.
#[utoipa::path(get, path = "/health", tag = "health", responses((status = 200, description = "The process is running.", body = Health)))]
async fn health() -> HttpResponse {
    HttpResponse::Ok().json(Health { status: "ok", version: VERSION, reason: None })
}

/// Reports whether the server accepts new work.
///
/// It does unless it is draining or its store cannot write.
#[utoipa::path(
    get, path = "/health/ready", tag = "health",
    responses(
        (status = 200, description = "The server accepts new work.", body = Health),
        (status = 503, description = "It does not; see `reason`.", body = Health),
    ),
)]
async fn ready(store: State<dyn ConversationStore>, turns: State<Turns>) -> HttpResponse {
    if turns.check_open().is_err() {
        let reason = Some("the server is draining");
        return HttpResponse::ServiceUnavailable().json(Health { status: "unavailable", version: VERSION, reason });
    }
    match store.check().await {
        Ok(()) => HttpResponse::Ok().json(Health { status: "ok", version: VERSION, reason: None }),
        Err(error) => {
            log::error!("readiness check failed: {error}");
            let reason = Some("the store cannot write");
            HttpResponse::ServiceUnavailable().json(Health { status: "unavailable", version: VERSION, reason })
        }
    }
}
