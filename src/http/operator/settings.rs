//! `/api/v1/settings`: settings that operators can change at run time.

use crate::{
    http::{
        error::{ErrorBody, HttpError},
        extract::{Json, Operator},
        state::State,
    },
    steering::{Audit, AuditedAction, Settings, SettingsChange, SettingsInForce},
};
use actix_web::{HttpResponse, web};
use serde_json::json;
use switchboard_protocol::ApiError;

pub fn routes(cfg: &mut web::ServiceConfig) {
    cfg.service(web::resource("/api/v1/settings").route(web::get().to(get)).route(web::patch().to(change)));
}

/// Returns the settings that can be changed at run time.
#[utoipa::path(
    get, path = "/api/v1/settings", tag = "operators", operation_id = "get_settings",
    responses(
        (status = 200, description = "The settings in force.", body = SettingsInForce),
        (status = "4XX", description = "The request was refused; see `code`.", body = ErrorBody),
    ),
    security(("bearer" = [])),
)]
async fn get(_: Operator, settings: State<Settings>) -> HttpResponse {
    HttpResponse::Ok().json(settings.in_force())
}

/// Changes settings until the next restart.
///
/// If one of the values is invalid, none is changed.
#[utoipa::path(
    patch, path = "/api/v1/settings", tag = "operators", operation_id = "change_settings", request_body = SettingsChange,
    responses(
        (status = 200, description = "The settings in force.", body = SettingsInForce),
        (status = "4XX", description = "The request was refused; see `code`.", body = ErrorBody),
        (status = 503, description = "`OVERLOADED`: the store is unavailable; nothing was done.", body = ErrorBody),
    ),
    security(("bearer" = [])),
)]
async fn change(
    Operator(operator): Operator,
    Json(change): Json<SettingsChange>,
    settings: State<Settings>,
    audit: State<Audit>,
) -> Result<HttpResponse, HttpError> {
    settings.check(&change)?;
    let audited = AuditedAction { action: "change_settings", target: None, detail: json!(change) };
    let work = async move { Ok(settings.change(&change)?) };
    Ok(HttpResponse::Ok().json(audit.into_inner().record::<_, ApiError>(&operator, audited, work).await?))
}
