//! `/api/v1/messages/{message_id}/feedback`: the caller's feedback on an answer.

use crate::{
    auth::Identity,
    domain::{Feedback, MessageId, Rating, UnixMillis},
    http::{
        error::{ErrorBody, HttpError},
        extract::Json,
        state::State,
    },
    metrics::Metrics,
    store::{ChangedFeedback, FeedbackStore},
};
use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};
use switchboard_protocol::ApiError;
use utoipa::ToSchema;

pub fn routes(cfg: &mut web::ServiceConfig) {
    let resource = web::resource("/api/v1/messages/{message_id}/feedback");
    cfg.service(resource.route(web::put().to(put)).route(web::delete().to(withdraw)));
}

#[derive(Deserialize, ToSchema)]
pub struct FeedbackRequest {
    rating: Rating,
    /// Up to 10 reasons of 1 to 64 characters, such as `incorrect` or `incomplete`.
    #[serde(default)]
    reasons: Vec<String>,
    /// At most 1,000 characters.
    comment: Option<String>,
}

/// The caller's feedback on an answer.
#[derive(Serialize, ToSchema)]
pub struct FeedbackView<'a> {
    rating: Rating,
    reasons: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<&'a str>,
}

impl<'a> From<&'a Feedback> for FeedbackView<'a> {
    fn from(feedback: &'a Feedback) -> Self {
        Self { rating: feedback.rating, reasons: &feedback.reasons, comment: feedback.comment.as_deref() }
    }
}

/// Gives feedback on an answer.
///
/// Replaces earlier feedback of the caller on the same answer. Only the user who asked can rate an answer.
#[utoipa::path(
    put, path = "/api/v1/messages/{message_id}/feedback", tag = "conversations", operation_id = "give_feedback",
    params(("message_id" = MessageId, Path)), request_body = FeedbackRequest,
    responses(
        (status = 200, description = "The feedback as it was stored.", body = FeedbackView<'_>),
        (status = "4XX", description = "The request was refused; see `code`.", body = ErrorBody),
    ),
    security(("bearer" = [])),
)]
async fn put(
    identity: Identity,
    message: web::Path<MessageId>,
    Json(request): Json<FeedbackRequest>,
    store: State<dyn FeedbackStore>,
    metrics: State<Metrics>,
) -> Result<HttpResponse, HttpError> {
    let FeedbackRequest { rating, reasons, comment } = request;
    let feedback = Feedback::new(rating, reasons, comment).map_err(ApiError::from)?;
    let changed = store.set_feedback(identity.user_id, *message, feedback.clone(), UnixMillis::now());
    let ChangedFeedback { before, metadata } = changed.await?;
    metrics.rating_changed(&metadata.specialist, &metadata.model, before, Some(rating));
    Ok(HttpResponse::Ok().json(FeedbackView::from(&feedback)))
}

/// Withdraws the caller's feedback on an answer.
#[utoipa::path(
    delete, path = "/api/v1/messages/{message_id}/feedback", tag = "conversations", operation_id = "withdraw_feedback",
    params(("message_id" = MessageId, Path)),
    responses(
        (status = 204, description = "The caller has no feedback on the answer any more."),
        (status = "4XX", description = "The request was refused; see `code`.", body = ErrorBody),
    ),
    security(("bearer" = [])),
)]
async fn withdraw(
    identity: Identity,
    message: web::Path<MessageId>,
    store: State<dyn FeedbackStore>,
    metrics: State<Metrics>,
) -> Result<HttpResponse, HttpError> {
    let ChangedFeedback { before, metadata } = store.withdraw_feedback(identity.user_id, *message).await?;
    metrics.rating_changed(&metadata.specialist, &metadata.model, before, None);
    Ok(HttpResponse::NoContent().finish())
}
