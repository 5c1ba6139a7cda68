//! `/api/v1/conversations/{conversation_id}/events`: the durable events of a conversation.

use crate::{
    auth::Identity,
    domain::{ConversationAccess, ConversationId},
    encode::event_view,
    http::{
        error::{ErrorBody, HttpError},
        extract::{PageQuery, Query},
        state::State,
    },
    store::{EventStore, Listed, Page},
};
use actix_web::{HttpResponse, web};
use serde::Serialize;
use switchboard_protocol::EventFrame;
use utoipa::ToSchema;

pub fn routes(cfg: &mut web::ServiceConfig) {
    cfg.service(web::resource("/api/v1/conversations/{conversation_id}/events").route(web::get().to(events)));
}

#[derive(Serialize, ToSchema)]
pub struct EventsPage<'a> {
    /// Oldest first. Without `before`, the latest events. A page of long messages may hold fewer than `limit`, even if there
    /// are more.
    events: Vec<EventFrame<'a>>,
    /// Cursor of the preceding events, to pass as `before`. Absent if the page starts with the first event.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<i64>,
}

/// Lists the events of a conversation.
#[utoipa::path(
    get, path = "/api/v1/conversations/{conversation_id}/events", tag = "conversations",
    params(("conversation_id" = ConversationId, Path), PageQuery<i64>),
    responses(
        (status = 200, description = "A page of events.", body = EventsPage<'_>),
        (status = "4XX", description = "The request was refused; see `code`.", body = ErrorBody),
    ),
    security(("bearer" = [])),
)]
pub async fn events(
    identity: Identity,
    conversation: web::Path<ConversationId>,
    Query(query): Query<PageQuery<i64>>,
    store: State<dyn EventStore>,
) -> Result<HttpResponse, HttpError> {
    let Page { before, limit } = query.page()?;
    let access = store.require(identity.user_id, *conversation, ConversationAccess::can_subscribe).await?;
    let Listed { items, has_more } = store.events_before(*conversation, before.unwrap_or(i64::MAX), limit).await?;
    let readable: Vec<_> = items.iter().filter(|event| access.can_read(event.position)).collect();
    let has_more = has_more && readable.len() == items.len();
    let next = readable.first().filter(|_| has_more).map(|event| event.position);
    let events = readable.into_iter().map(event_view).collect();
    Ok(HttpResponse::Ok().json(EventsPage { events, next }))
}
