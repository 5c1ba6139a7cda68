//! `/api/v1/conversations`: what was said before.

use super::error::HttpError;
use super::{ErrorBody, PageQuery, Query};
use crate::{
    auth::Identity,
    domain::{Conversation, ConversationId, FinishReason, Message, MessageId, MessageRole, TurnId, UnixMillis},
    registry::{ConnectionManager, ConversationDeleted},
    store::{ConversationCursor, ConversationStore, Listed, ListedConversations},
    workflow::Turns,
};
use actix::Addr;
use actix_web::{HttpResponse, web};
use serde::Serialize;
use switchboard_protocol::{ApiError, ErrorCode, FieldNames, MetadataView};
use utoipa::ToSchema;

pub fn routes(cfg: &mut web::ServiceConfig) {
    cfg.service(web::resource("/api/v1/conversations").route(web::get().to(list)))
        .service(web::resource("/api/v1/conversations/{conversation_id}").route(web::delete().to(delete)))
        .service(web::resource("/api/v1/conversations/{conversation_id}/messages").route(web::get().to(messages)));
}

#[derive(Serialize, ToSchema)]
pub struct ConversationsPage {
    /// Those with the latest messages first.
    conversations: Vec<ConversationView>,
    /// Pass it as `before` for the next page; absent on the last one. The pages have the order of the moment at which the first
    /// was read, whatever is said meanwhile.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<ConversationCursor>,
}

#[derive(Serialize, ToSchema)]
pub struct ConversationView {
    conversation_id: ConversationId,
    /// An older name of `conversation_id`.
    session_id: ConversationId,
    /// The start of its first message.
    title: String,
    created_at_ms: UnixMillis,
    updated_at_ms: UnixMillis,
}

#[derive(Serialize, ToSchema)]
pub struct MessagesPage<'a> {
    /// Oldest first; a page without `before` holds the latest. Fewer than `limit` when they are long, though not all.
    messages: Vec<MessageView<'a>>,
    /// Pass it as `before` for the messages before these; absent when these are the first of the conversation.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<MessageId>,
}

#[derive(Serialize, ToSchema)]
pub struct MessageView<'a> {
    message_id: MessageId,
    turn_id: TurnId,
    role: MessageRole,
    content: &'a str,
    created_at_ms: UnixMillis,
    /// The seq of the answer's last token, for `resume`; -1 for an answer without tokens. Only of answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_seq: Option<i64>,
    /// Only of answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    finish_reason: Option<FinishReason>,
    /// Only of answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<MetadataView<'a>>,
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
        }
    }
}

/// The caller's conversations.
#[utoipa::path(
    get, path = "/api/v1/conversations", tag = "conversations", params(PageQuery<ConversationCursor>),
    responses((status = 200, body = ConversationsPage), (status = "4XX", body = ErrorBody)),
    security(("bearer" = [])),
)]
async fn list(
    identity: Identity,
    Query(query): Query<PageQuery<ConversationCursor>>,
    store: web::Data<dyn ConversationStore>,
) -> Result<HttpResponse, HttpError> {
    let ListedConversations { conversations, next } = store.conversations(identity.user_id, query.page()?).await?;
    let conversations = conversations.into_iter().map(ConversationView::from).collect();
    Ok(HttpResponse::Ok().json(ConversationsPage { conversations, next }))
}

/// The messages of a conversation.
#[utoipa::path(
    get, path = "/api/v1/conversations/{conversation_id}/messages", tag = "conversations",
    params(("conversation_id" = ConversationId, Path), PageQuery<MessageId>),
    responses((status = 200, body = MessagesPage<'_>), (status = "4XX", body = ErrorBody)),
    security(("bearer" = [])),
)]
async fn messages(
    identity: Identity,
    conversation: web::Path<ConversationId>,
    Query(query): Query<PageQuery<MessageId>>,
    store: web::Data<dyn ConversationStore>,
) -> Result<HttpResponse, HttpError> {
    let Listed { items, has_more } = store.messages(identity.user_id, *conversation, query.page()?).await?;
    let messages: Vec<_> = items.iter().map(MessageView::from).collect();
    let next = messages.first().filter(|_| has_more).map(|message| message.message_id);
    Ok(HttpResponse::Ok().json(MessagesPage { messages, next }))
}

/// Deletes a conversation with all its messages.
#[utoipa::path(
    delete, path = "/api/v1/conversations/{conversation_id}", tag = "conversations",
    params(("conversation_id" = ConversationId, Path)),
    responses(
        (status = 204, description = "deleted"),
        (status = 409, description = "an answer is being written there", body = ErrorBody),
        (status = "4XX", body = ErrorBody),
    ),
    security(("bearer" = [])),
)]
async fn delete(
    identity: Identity,
    conversation: web::Path<ConversationId>,
    store: web::Data<dyn ConversationStore>,
    turns: web::Data<Turns>,
    registry: web::Data<Addr<ConnectionManager>>,
) -> Result<HttpResponse, HttpError> {
    if turns.running_in(identity.user_id, *conversation).await.is_some() {
        let reason = "An answer is being written in this conversation; cancel it first.";
        return Err(ApiError::new(ErrorCode::TurnInProgress, reason).into());
    }
    store.delete_conversation(identity.user_id, *conversation).await?;
    turns.forget_conversation(*conversation);
    registry.do_send(ConversationDeleted(*conversation));
    Ok(HttpResponse::NoContent().finish())
}
