//! `/api/v1/conversations`: the caller's conversations and their messages.

use crate::{
    auth::{DocumentLinks, Identity},
    bus::Bus,
    domain::{
        Conversation, ConversationAccess, ConversationId, FinishReason, Message, MessageId, MessageRole, Part, TurnId,
        UnixMillis, UserTitle,
    },
    http::{
        error::{ErrorBody, HttpError},
        extract::{Json, PageQuery, Query},
        routes::feedback::FeedbackView,
        state::{State, passage_url},
    },
    registry::{ConnectionManager, ConnectionRegistry},
    store::{ConversationCursor, ConversationStore, EventStore, Listed, ListedConversations},
    workflow::{Turns, renew_links},
};
use actix::Addr;
use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use switchboard_protocol::{ApiError, ErrorCode, FieldNames, MetadataView};
use utoipa::ToSchema;

pub fn routes(cfg: &mut web::ServiceConfig) {
    cfg.service(web::resource("/api/v1/conversations").route(web::get().to(list)))
        .service(
            web::resource("/api/v1/conversations/{conversation_id}")
                .route(web::patch().to(rename))
                .route(web::delete().to(delete)),
        )
        .service(web::resource("/api/v1/conversations/{conversation_id}/messages").route(web::get().to(messages)));
}

#[derive(Serialize, ToSchema)]
pub struct ConversationsPage {
    /// Most recently updated first.
    conversations: Vec<ConversationView>,
    /// Cursor of the next page, to pass as `before`. Absent on the last page. The order is fixed when the first page is read;
    /// later messages do not change it.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<ConversationCursor>,
}

#[derive(Serialize, ToSchema)]
pub struct ConversationView {
    conversation_id: ConversationId,
    /// Alias of `conversation_id`.
    session_id: ConversationId,
    /// The user's title; without one, a title that a model has written, or the first words of the first message.
    title: String,
    created_at_ms: UnixMillis,
    updated_at_ms: UnixMillis,
}

#[derive(Serialize, ToSchema)]
pub struct MessagesPage<'a> {
    /// Oldest first. Without `before`, the latest messages. A page of long messages may hold fewer than `limit`, even if there
    /// are more.
    messages: Vec<MessageView<'a>>,
    /// Cursor of the preceding messages, to pass as `before`. Absent if the page starts with the first message.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<MessageId>,
}

#[derive(Serialize, ToSchema)]
pub struct MessageView<'a> {
    message_id: MessageId,
    /// Absent for a message that started no turn.
    #[serde(skip_serializing_if = "Option::is_none")]
    turn_id: Option<TurnId>,
    role: MessageRole,
    content: &'a str,
    created_at_ms: UnixMillis,
    /// The `seq` of the answer's last token, for `resume`; -1 if it has none. Present in answers only.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_seq: Option<i64>,
    /// Present in answers only.
    #[serde(skip_serializing_if = "Option::is_none")]
    finish_reason: Option<FinishReason>,
    /// Present in answers only.
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<MetadataView<'a>>,
    /// Text in which the model reasoned before it answered. Present in answers only, with `workflow.keep_reasoning`.
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning: Option<&'a str>,
    /// Typed parts of the answer, such as citations, in the order of their `part` frames. Absent if there are none. Ignore kinds that
    /// you do not know.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    parts: Vec<PartView<'a>>,
    /// The caller's feedback on the answer. Absent if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    feedback: Option<FeedbackView<'a>>,
}

#[derive(Serialize, ToSchema)]
pub struct PartView<'a> {
    kind: &'a str,
    /// Fields that depend on the kind.
    #[serde(flatten)]
    fields: &'a Map<String, Value>,
}

impl From<Conversation> for ConversationView {
    fn from(conversation: Conversation) -> Self {
        Self {
            conversation_id: conversation.id,
            session_id: conversation.id,
            title: conversation.title,
            created_at_ms: conversation.created_at,
            updated_at_ms: conversation.updated_at,
        }
    }
}

impl<'a> From<&'a Message> for MessageView<'a> {
    fn from(message: &'a Message) -> Self {
        Self {
            message_id: message.id,
            turn_id: message.turn_id,
            role: message.role,
            content: &message.content,
            created_at_ms: message.created_at,
            last_seq: message.last_seq,
            finish_reason: message.finish_reason,
            metadata: message.metadata.as_ref().map(|metadata| MetadataView::new(metadata, FieldNames::Both)),
            reasoning: message.reasoning.as_deref(),
            parts: message.parts.iter().map(|Part { kind, fields }| PartView { kind, fields }).collect(),
            feedback: message.feedback.as_ref().map(FeedbackView::from),
        }
    }
}

/// Lists the caller's conversations.
#[utoipa::path(
    get, path = "/api/v1/conversations", tag = "conversations", params(PageQuery<ConversationCursor>),
    responses(
        (status = 200, description = "A page of conversations.", body = ConversationsPage),
        (status = "4XX", description = "The request was refused; see `code`.", body = ErrorBody),
    ),
    security(("bearer" = [])),
)]
async fn list(
    identity: Identity,
    Query(query): Query<PageQuery<ConversationCursor>>,
    store: State<dyn ConversationStore>,
) -> Result<HttpResponse, HttpError> {
    let ListedConversations { conversations, next } = store.conversations(identity.user_id, query.page()?).await?;
    let conversations = conversations.into_iter().map(ConversationView::from).collect();
    Ok(HttpResponse::Ok().json(ConversationsPage { conversations, next }))
}

/// Lists the messages of a conversation.
#[utoipa::path(
    get, path = "/api/v1/conversations/{conversation_id}/messages", tag = "conversations",
    params(("conversation_id" = ConversationId, Path), PageQuery<MessageId>),
    responses(
        (status = 200, description = "A page of messages.", body = MessagesPage<'_>),
        (status = "4XX", description = "The request was refused; see `code`.", body = ErrorBody),
    ),
    security(("bearer" = [])),
)]
async fn messages(
    identity: Identity,
    conversation: web::Path<ConversationId>,
    Query(query): Query<PageQuery<MessageId>>,
    store: State<dyn ConversationStore>,
    links: State<DocumentLinks>,
) -> Result<HttpResponse, HttpError> {
    let Listed { mut items, has_more } = store.messages(identity.user_id, *conversation, query.page()?).await?;
    let url = passage_url(&links.into_inner());
    for metadata in items.iter_mut().filter_map(|message| message.metadata.as_mut()) {
        renew_links(metadata, &url);
    }
    let messages: Vec<_> = items.iter().map(MessageView::from).collect();
    let next = messages.first().filter(|_| has_more).map(|message| message.message_id);
    Ok(HttpResponse::Ok().json(MessagesPage { messages, next }))
}

#[derive(Deserialize, ToSchema)]
pub struct RenameRequest {
    /// 1 to 100 characters; white space is joined to single spaces.
    title: String,
}

/// Gives a conversation a title.
///
/// No other title replaces it. The order of the conversations does not change.
#[utoipa::path(
    patch, path = "/api/v1/conversations/{conversation_id}", tag = "conversations",
    operation_id = "rename_conversation",
    params(("conversation_id" = ConversationId, Path)), request_body = RenameRequest,
    responses(
        (status = 200, description = "The conversation with its new title.", body = ConversationView),
        (status = "4XX", description = "The request was refused; see `code`.", body = ErrorBody),
    ),
    security(("bearer" = [])),
)]
async fn rename(
    identity: Identity,
    conversation: web::Path<ConversationId>,
    Json(RenameRequest { title }): Json<RenameRequest>,
    store: State<dyn ConversationStore>,
) -> Result<HttpResponse, HttpError> {
    let title = UserTitle::parse(&title).map_err(|reason| ApiError::invalid_field("title", reason))?;
    let renamed = store.rename_conversation(identity.user_id, *conversation, title).await?;
    Ok(HttpResponse::Ok().json(ConversationView::from(renamed)))
}

/// Deletes a conversation and all its messages.
#[utoipa::path(
    delete, path = "/api/v1/conversations/{conversation_id}", tag = "conversations",
    params(("conversation_id" = ConversationId, Path)),
    responses(
        (status = 204, description = "The conversation was deleted."),
        (status = 409, description = "`TURN_IN_PROGRESS`: a turn is running in it", body = ErrorBody),
        (status = "4XX", description = "The request was refused; see `code`.", body = ErrorBody),
    ),
    security(("bearer" = [])),
)]
async fn delete(
    identity: Identity,
    conversation: web::Path<ConversationId>,
    store: State<dyn ConversationStore>,
    events: State<dyn EventStore>,
    turns: State<Turns>,
    registry: State<Addr<ConnectionManager>>,
    bus: State<dyn Bus>,
) -> Result<HttpResponse, HttpError> {
    events.require(identity.user_id, *conversation, ConversationAccess::can_administer).await?;
    if turns.running_in(*conversation).await.is_some() {
        let reason = "An answer is being written in this conversation; cancel it first.";
        return Err(ApiError::new(ErrorCode::TurnInProgress, reason).into());
    }
    store.delete_conversation(identity.user_id, *conversation).await?;
    turns.forget_conversation(*conversation);
    registry.forget_conversation(*conversation);
    bus.invalidate(*conversation);
    Ok(HttpResponse::NoContent().finish())
}
