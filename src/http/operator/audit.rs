//! `GET /api/v1/audit`: the audit log of operators' actions.

use crate::{
    domain::{AuditEntry, AuditId},
    http::{
        error::{ErrorBody, HttpError},
        extract::{Operator, PageQuery, Query},
        state::State,
    },
    steering::Audit,
    store::Listed,
};
use actix_web::{HttpResponse, web};
use serde::Serialize;

pub fn routes(cfg: &mut web::ServiceConfig) {
    cfg.service(web::resource("/api/v1/audit").route(web::get().to(list)));
}

#[derive(Serialize, utoipa::ToSchema)]
pub struct AuditPage {
    /// Newest first.
    entries: Vec<AuditEntry>,
    /// Cursor of the next page, to pass as `before`. Absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<AuditId>,
}

/// Lists the audit log.
///
/// Records each action of an operator with its target and outcome. Newest entries come first.
#[utoipa::path(
    get, path = "/api/v1/audit", tag = "operators", operation_id = "list_audit", params(PageQuery<AuditId>),
    responses(
        (status = 200, description = "A page of the audit log.", body = AuditPage),
        (status = "4XX", description = "The request was refused; see `code`.", body = ErrorBody),
    ),
    security(("bearer" = [])),
)]
async fn list(
    _: Operator,
    Query(query): Query<PageQuery<AuditId>>,
    audit: State<Audit>,
) -> Result<HttpResponse, HttpError> {
    let Listed { items: entries, has_more } = audit.entries(query.page()?).await?;
    let next = entries.last().filter(|_| has_more).map(|entry| entry.id);
    Ok(HttpResponse::Ok().json(AuditPage { entries, next }))
}
