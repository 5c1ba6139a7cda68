//! `POST /api/v1/chat`: a turn without a WebSocket, whole or as server-sent events.

use super::error::HttpError;
use super::{
    ErrorBody, LongBody, client_address,
    in_flight::{InFlight, OpenStream},
};
use crate::api_error::InternalError;
use crate::{
    api_error::of_failure,
    auth::{Identity, Tokens},
    domain::{ConversationId, TurnId},
    limiter::{AddressPermit, Limiter, UserPermit},
    metrics::Metrics,
    session::QuestionRules,
    turn::{Cursor, Outgoing, TurnEnd, TurnFailure, TurnLog, TurnReader, TurnSubject},
    workflow::{CancelTurn, ResumeTurn, StartTurn, StartedTurn, TurnError, Workflow},
};
use actix::{Addr, MailboxError};
use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{ACCEPT, CACHE_CONTROL},
    web::{self, Bytes},
};
use futures_util::{Stream, stream};
use serde::Serialize;
use std::{convert::Infallible, net::IpAddr, sync::Arc, time::Duration};
use switchboard_protocol::{ApiError, CompleteFrame, ErrorFrame, ErrorSubject, FieldNames, MessageFrame, ServerFrame};

/// Proxies drop what is silent for a minute or so.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

pub fn routes(cfg: &mut web::ServiceConfig) {
    cfg.service(web::resource("/api/v1/chat").route(web::post().to(chat)))
        .service(web::resource("/api/v1/chat/{turn_id}/cancel").route(web::post().to(cancel)));
}

/// Asks a question.
///
/// Answers with the whole answer, or, with `Accept: text/event-stream`, with the frames of `chat.v2` as events. An event
/// stream that broke goes on with the header `Last-Event-ID`; the body is then ignored.
#[utoipa::path(
    post, path = "/api/v1/chat", tag = "chat", request_body = ChatRequest,
    params(("Last-Event-ID" = Option<String>, Header, description = "the id of the last event that arrived")),
    responses(
        (status = 200, description = "the answer", content(
            (CompleteFrame<'_> = "application/json"), (ServerFrame<'_> = "text/event-stream"),
        )),
        (status = "4XX", description = "see `code`", body = ErrorBody),
        (status = "5XX", description = "see `code`", body = ErrorBody),
    ),
    security(("bearer" = [])),
)]
#[expect(clippy::too_many_arguments, reason = "each is one of the app's services")]
async fn chat(
    request: HttpRequest,
    identity: Identity,
    workflow: web::Data<Addr<Workflow>>,
    rules: web::Data<QuestionRules>,
    metrics: web::Data<Metrics>,
    tokens: web::Data<Tokens>,
    limiter: web::Data<Limiter>,
    in_flight: web::Data<InFlight>,
    LongBody(body): LongBody,
) -> Result<HttpResponse, HttpError> {
    let address = client_address(&request);
    // Before a turn is started, which would go on without anybody to read it.
    let places = limiter.open_stream(identity.user_id, address)?;
    let (turn, cursor) = match header(&request, "last-event-id") {
        Some(id) => {
            let (turn_id, cursor) = parse_event_id(id)?;
            let user_id = identity.user_id;
            let resume = ResumeTurn { user_id, turn_id };
            let found = received(workflow.send(resume).await);
            metrics.resumed(found.as_ref().map(|turn| turn.state()).map_err(|error| error.code));
            (found?, cursor)
        }
        None => {
            super::json::check_content_type(&request)?;
            let message: MessageFrame = super::json::parse(&body)?;
            let turn = start(&workflow, &rules, &identity, address, message).await?;
            (turn, Cursor::default())
        }
    };
    // A token that was never sent is none to go on behind.
    let cursor = Cursor { next_seq: cursor.next_seq.min(turn.position().1), ..cursor };
    let next_seq = cursor.next_seq;
    let reader = TurnReader::new(turn, cursor, metrics.into_inner(), of_failure);
    let wants_events = header(&request, ACCEPT.as_str()).is_some_and(|accept| accept.contains("text/event-stream"));
    if wants_events {
        let caller = Caller { identity, tokens, _permits: places, _open: in_flight.into_inner().open_stream() };
        Ok(events(reader, next_seq, caller))
    } else {
        // The places are held until the answer is there.
        whole(reader).await
    }
}

/// What `POST /api/v1/chat` takes: a `message` frame without its `type`.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "only describes `MessageFrame` in the OpenAPI document")]
pub struct ChatRequest {
    /// The question: 1 to 8,000 characters.
    message: String,
    /// The conversation to continue; absent for a new one.
    conversation_id: Option<ConversationId>,
    /// An older name of `conversation_id`.
    session_id: Option<ConversationId>,
    /// Your own name for the person who asks.
    customer_id: Option<String>,
    /// The same id again never starts a second turn.
    client_message_id: Option<String>,
    metadata: Option<serde_json::Map<String, serde_json::Value>>,
}

async fn start(
    workflow: &Addr<Workflow>,
    rules: &QuestionRules,
    identity: &Identity,
    address: IpAddr,
    message: MessageFrame,
) -> Result<Arc<TurnLog>, ApiError> {
    let question = rules.parse(message)?;
    let turn = TurnLog::new(TurnSubject {
        turn_id: TurnId::new(),
        conversation_id: question.conversation_id.unwrap_or_else(ConversationId::new),
        user_id: identity.user_id,
    });
    let start = StartTurn { turn: Arc::clone(&turn), question, by: None, address };
    match received(workflow.send(start).await)? {
        StartedTurn::New => Ok(turn),
        StartedTurn::Duplicate(first) => Ok(first),
    }
}

async fn whole(mut reader: TurnReader) -> Result<HttpResponse, HttpError> {
    let mut last = None;
    while let Some(outgoing) = reader.next().await {
        last = Some(outgoing.frame);
    }
    match (reader.turn().outcome().as_deref(), last) {
        (Some(TurnEnd::Complete { .. }), Some(frame)) => {
            Ok(HttpResponse::Ok().content_type("application/json").body(frame.into_bytes()))
        }
        (Some(TurnEnd::Failed(failure)), _) => Err(of_failure(failure).into()),
        _ => Err(of_failure(&TurnFailure::TaskLost).into()),
    }
}

/// Whose stream it is.
struct Caller {
    identity: Identity,
    tokens: web::Data<Tokens>,
    /// Held as long as the stream.
    _permits: (AddressPermit, UserPermit),
    _open: OpenStream,
}

fn events(reader: TurnReader, next_seq: u32, caller: Caller) -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/event-stream")
        .insert_header((CACHE_CONTROL, "no-store"))
        // nginx would collect the tokens otherwise.
        .insert_header(("X-Accel-Buffering", "no"))
        .streaming(event_stream(reader, next_seq, caller))
}

/// The frames of a turn as events. To somebody whose tokens are revoked it says so, and ends; the turn goes on.
fn event_stream(reader: TurnReader, next_seq: u32, caller: Caller) -> impl Stream<Item = Result<Bytes, Infallible>> {
    let last_seq = i64::from(next_seq) - 1;
    stream::unfold(Some((reader, last_seq, caller)), |open| async move {
        let (mut reader, mut last_seq, caller) = open?;
        let turn_id = reader.turn().subject.turn_id;
        let next = tokio::time::timeout(KEEP_ALIVE, reader.next()).await;
        if let Err(revoked) = caller.tokens.check_revoked(&caller.identity) {
            // Not about the turn: that has another end.
            let frame =
                ServerFrame::Error(ErrorFrame::new(&revoked.into(), &ErrorSubject::default(), FieldNames::Both))
                    .encode();
            return Some((Ok(Bytes::from(encode_event(turn_id, last_seq, &frame))), None));
        }
        let event = match next {
            Ok(Some(Outgoing { frame, seq, .. })) => {
                last_seq = seq.map_or(last_seq, i64::from);
                encode_event(turn_id, last_seq, &frame)
            }
            Ok(None) => return None,
            Err(_) => ": still here\n\n".to_owned(),
        };
        Some((Ok(Bytes::from(event)), Some((reader, last_seq, caller))))
    })
}

/// The id of an event is `<turn_id>:<seq>`, with the seq of the last token so far, -1 before the first: whatever event
/// was the last to arrive, the stream can go on behind it. A frame is one line of JSON.
fn encode_event(turn_id: TurnId, last_seq: i64, frame: &str) -> String {
    format!("id: {turn_id}:{last_seq}\ndata: {frame}\n\n")
}

fn parse_event_id(id: &str) -> Result<(TurnId, Cursor), ApiError> {
    let parsed = id.split_once(':').and_then(|(turn_id, seq)| {
        let next_seq = u32::try_from(seq.parse::<i64>().ok()?.checked_add(1)?).ok()?;
        // All steps come before the first token: who has a token has seen the steps.
        let progress = if next_seq == 0 { 0 } else { usize::MAX };
        Some((turn_id.parse().ok()?, Cursor { progress, next_seq, ended: false }))
    });
    parsed.ok_or_else(|| ApiError::invalid_field("Last-Event-ID", "must be the id of an event of this server"))
}

fn header<'a>(request: &'a HttpRequest, name: &str) -> Option<&'a str> {
    request.headers().get(name).and_then(|value| value.to_str().ok())
}

/// What became of a request to stop a turn.
#[derive(Serialize, utoipa::ToSchema)]
pub struct CancelResponse {
    pub turn_id: TurnId,
    /// `false` when the turn had ended before.
    pub cancelled: bool,
}

/// Stops a turn. What there was of its answer is kept, and ends in `complete` with `finish_reason` `cancelled`.
#[utoipa::path(
    post, path = "/api/v1/chat/{turn_id}/cancel", tag = "chat",
    params(("turn_id" = TurnId, Path)),
    responses(
        (status = 200, body = CancelResponse),
        (status = 403, description = "the turn belongs to another user", body = ErrorBody),
        (status = 410, description = "no such turn", body = ErrorBody),
    ),
    security(("bearer" = [])),
)]
async fn cancel(
    identity: Identity,
    turn_id: web::Path<TurnId>,
    workflow: web::Data<Addr<Workflow>>,
) -> Result<HttpResponse, HttpError> {
    let turn_id = turn_id.into_inner();
    let cancelled = received(workflow.send(CancelTurn { user_id: identity.user_id, turn_id }).await)?;
    Ok(HttpResponse::Ok().json(CancelResponse { turn_id, cancelled }))
}

fn received<T>(answer: Result<Result<T, TurnError>, MailboxError>) -> Result<T, ApiError> {
    Ok(answer.map_err(|error| ApiError::internal(&error))??)
}
