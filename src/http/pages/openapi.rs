//! The OpenAPI document at `/api/openapi.json`, and Swagger UI at `/api/docs/`.

use crate::{
    api_error::InternalError,
    http::{
        error::{ErrorBody, HttpError, no_such_route},
        operator::{audit, connections, drain, notices, settings, turns, user_list, users},
        pages::files::redirect,
        pages::static_file::static_file,
        pages::swagger_ui,
        routes::{auth, chat, conversation_events, conversations, documents, feedback, health, metrics, starters},
    },
    registry::{ConnectionState, KindFilter, Order, SortKey},
};
use actix_web::{HttpRequest, HttpResponse, http::header::CONTENT_SECURITY_POLICY, middleware::DefaultHeaders, web};
use std::sync::LazyLock;
use switchboard_protocol::{ApiError, Dialect, ServerFrame};
use utoipa::{
    Modify, OpenApi,
    openapi::security::{Http, HttpAuthScheme, SecurityScheme},
};

/// Content security policy of Swagger UI, which sets inline styles.
const DOCS_POLICY: &str = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
                           base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub fn routes(cfg: &mut web::ServiceConfig) {
    cfg.service(web::resource("/api/openapi.json").route(web::get().to(document)))
        .service(web::resource("/api/docs").route(web::get().to(|| redirect("/api/docs/"))))
        .service(
            web::resource("/api/docs/{file:.*}")
                .wrap(DefaultHeaders::new().add((CONTENT_SECURITY_POLICY, DOCS_POLICY)))
                .route(web::get().to(docs_file)),
        );
}

#[derive(OpenApi)]
#[openapi(
    info(title = "Switchboard", description = "REST API of Switchboard, a chat server. The WebSocket protocol at `/ws/chat` is documented separately."),
    modifiers(&Bearer),
    paths(
        auth::register, auth::login, auth::refresh, auth::logout, auth::ws_ticket, auth::me,
        chat::chat, chat::cancel, starters::starters,
        conversations::list, conversations::messages, conversations::rename, conversations::delete,
        conversation_events::events,
        feedback::put, feedback::withdraw,
        documents::create, documents::list, documents::get, documents::delete, documents::search,
        connections::stats, connections::list, connections::get, connections::kick, user_list::list, users::kick,
        users::lock, users::unlock,
        turns::cancel, notices::send, drain::status, drain::drain, drain::undo, settings::get, settings::change,
        audit::list,
        health::health, health::ready, metrics::metrics,
    ),
    components(schemas(ErrorBody, ServerFrame<'_>, Dialect, ConnectionState, KindFilter, SortKey, Order)),
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

/// Returns the OpenAPI document as JSON.
pub fn document_of_the_api() -> Result<String, String> {
    Document::openapi().to_json().map_err(|error| error.to_string())
}

async fn document(request: HttpRequest) -> Result<HttpResponse, HttpError> {
    // Built once; the document is constant.
    static JSON: LazyLock<Result<String, String>> = LazyLock::new(document_of_the_api);
    let json = JSON.as_ref().map_err(|error| ApiError::internal(error))?;
    Ok(static_file(&request, "application/json", json.clone().into_bytes()))
}

/// Serves a file of Swagger UI.
async fn docs_file(request: HttpRequest, file: web::Path<String>) -> Result<HttpResponse, HttpError> {
    let found = swagger_ui::file(&file).map_err(|error| ApiError::internal(&error))?;
    let file = found.ok_or_else(no_such_route)?;
    Ok(static_file(&request, file.content_type, file.bytes.clone()))
}
