//! The OpenAPI document at `/api/openapi.json`, and a page to try it at `/api/docs/`.

use super::{
    ErrorBody, audit, auth, chat, connections, conversations, documents, drain, health, metrics, notices, settings,
    turns, users,
};
use crate::{
    protocol::{ApiError, Dialect, ServerFrame},
    registry::{ConnectionState, Order, SortKey},
};
use actix_web::{HttpResponse, ResponseError, http::header::CONTENT_SECURITY_POLICY, middleware::DefaultHeaders, web};
use std::sync::LazyLock;
use utoipa::{
    Modify, OpenApi,
    openapi::security::{Http, HttpAuthScheme, SecurityScheme},
};
use utoipa_swagger_ui::{Config, SwaggerUi};

/// Swagger UI sets styles on its elements.
const DOCS_POLICY: &str = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
                           base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub fn routes(cfg: &mut web::ServiceConfig) {
    cfg.service(web::resource("/api/openapi.json").route(web::get().to(|| async { document() }))).service(
        web::scope("/api/docs")
            .wrap(DefaultHeaders::new().add((CONTENT_SECURITY_POLICY, DOCS_POLICY)))
            .service(SwaggerUi::new("/{_:.*}").config(Config::from("/api/openapi.json"))),
    );
}

#[derive(OpenApi)]
#[openapi(
    info(title = "Switchboard", description = "The REST twins of the WebSocket protocol."),
    modifiers(&Bearer),
    paths(
        auth::register, auth::login, auth::refresh, auth::logout, auth::ws_ticket, auth::me,
        chat::chat, chat::cancel,
        conversations::list, conversations::messages, conversations::delete,
        documents::create, documents::list, documents::get, documents::delete, documents::search,
        connections::stats, connections::list, connections::get, connections::kick, users::kick,
        turns::cancel, notices::send, drain::status, drain::drain, drain::undo, settings::get, settings::change,
        audit::list,
        health::health, health::ready, metrics::metrics,
    ),
    components(schemas(ErrorBody, ServerFrame<'_>, Dialect, ConnectionState, SortKey, Order)),
)]
struct Document;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = Http::builder().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("bearer", SecurityScheme::Http(scheme));
    }
}

/// Every route of the API, with its schemas. It never changes while the program runs.
fn document() -> HttpResponse {
    static JSON: LazyLock<Result<String, String>> =
        LazyLock::new(|| Document::openapi().to_json().map_err(|error| error.to_string()));
    match JSON.as_ref() {
        Ok(json) => HttpResponse::Ok().content_type("application/json").body(json.as_str()),
        Err(error) => ApiError::internal(error).error_response(),
    }
}
