//! `/health` and `/health/ready`, for those who restart and route.

use crate::{store::ConversationStore, workflow::Turns};
use actix_web::{HttpResponse, web};
use serde::Serialize;

pub fn routes(cfg: &mut web::ServiceConfig) {
    cfg.service(web::resource("/health").route(web::get().to(health)))
        .service(web::resource("/health/ready").route(web::get().to(ready)));
}

#[derive(Serialize, utoipa::ToSchema)]
pub struct Health {
    /// `ok`, or `unavailable`.
    status: &'static str,
    version: &'static str,
    /// What is missing, when something is.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The process is alive.
#[utoipa::path(get, path = "/health", tag = "health", responses((status = 200, body = Health)))]
async fn health() -> HttpResponse {
    HttpResponse::Ok().json(Health { status: "ok", version: VERSION, reason: None })
}

/// The server can take new work: it does not stop, and its store can write.
#[utoipa::path(
    get, path = "/health/ready", tag = "health",
    responses((status = 200, body = Health), (status = 503, description = "not now", body = Health)),
)]
async fn ready(store: web::Data<dyn ConversationStore>, turns: web::Data<Turns>) -> HttpResponse {
    if turns.check_open().is_err() {
        let reason = Some("the server is going away");
        return HttpResponse::ServiceUnavailable().json(Health { status: "unavailable", version: VERSION, reason });
    }
    match store.check().await {
        Ok(()) => HttpResponse::Ok().json(Health { status: "ok", version: VERSION, reason: None }),
        Err(error) => {
            log::error!("not ready: {error}");
            let reason = Some("the store cannot write");
            HttpResponse::ServiceUnavailable().json(Health { status: "unavailable", version: VERSION, reason })
        }
    }
}
