//! `POST /api/v1/chat`: a turn over plain HTTP, answered as one JSON body or as server-sent events.

use crate::{
    api_error::InternalError,
    api_error::from_failure,
    auth::{Identity, Tokens},
    domain::{ConnectionId, ConversationId, TurnId, UnixMillis},
    encode::{Json, Sse, error_event, parse_event_id},
    http::{
        error::{ErrorBody, HttpError},
        extract::{LongBody, client_address, json},
        routes::ws::user_agent,
        state::State,
    },
    limiter::{AddressPermit, Limiter, UserPermit},
    limits::DRAIN_RETRY_MS,
    metrics::Metrics,
    registry::{
        ConnectionAddress, ConnectionCommand, ConnectionKind, ConnectionManager, ConnectionStats, Registration,
    },
    session::QuestionRules,
    transport::{InFlight, OpenStream},
    turn::{Cursor, Encoder, TurnEnd, TurnFailure, TurnLog, TurnReader, TurnSubject},
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
use switchboard_protocol::{ApiError, CloseReason, CompleteFrame, Dialect, ErrorCode, MessageFrame, ServerFrame};
use tokio::sync::mpsc;

/// Interval of comments on a silent event stream. Proxies drop a response after about a minute without data.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

pub fn routes(cfg: &mut web::ServiceConfig) {
    cfg.service(web::resource("/api/v1/chat").route(web::post().to(chat)))
        .service(web::resource("/api/v1/chat/{turn_id}/cancel").route(web::post().to(cancel)));
}

/// Sends a message and returns the answer.
///
/// Responds with the complete answer as JSON or, with `Accept: text/event-stream`, with a stream of `chat.v2` frames as
/// events. An interrupted event stream resumes with the header `Last-Event-ID`; the body of that request is ignored.
#[utoipa::path(
    post, path = "/api/v1/chat", tag = "chat", request_body = ChatRequest,
    params(("Last-Event-ID" = Option<String>, Header, description = "The id of the last event received; resumes its stream.")),
    responses(
        (status = 200, description = "The answer.", content(
            (CompleteFrame<'_> = "application/json"), (ServerFrame<'_> = "text/event-stream"),
        )),
        (status = "4XX", description = "The request was refused; see `code`.", body = ErrorBody),
        (status = "5XX", description = "The server or the model's provider failed; see `code`.", body = ErrorBody),
    ),
    security(("bearer" = [])),
)]
#[expect(clippy::too_many_arguments, reason = "one parameter per service of the application")]
async fn chat(
    request: HttpRequest,
    identity: Identity,
    workflow: State<Addr<Workflow>>,
    rules: State<QuestionRules>,
    metrics: State<Metrics>,
    tokens: State<Tokens>,
    limiter: State<Limiter>,
    in_flight: State<InFlight>,
    registry: State<Addr<ConnectionManager>>,
    LongBody(body): LongBody,
) -> Result<HttpResponse, HttpError> {
    let address = client_address(&request);
    // Taken before the turn starts: a turn continues without its reader.
    let permits = limiter.open_stream(identity.user_id, address)?;
    let (turn, cursor) = match header(&request, "last-event-id") {
        Some(id) => {
            let invalid = || ApiError::invalid_field("Last-Event-ID", "must be the id of an event sent by this server");
            let (turn_id, next_seq, last_index) = parse_event_id(id).ok_or_else(invalid)?;
            let user_id = identity.user_id;
            let resume = ResumeTurn { user_id, turn_id };
            let found = flatten_reply(workflow.send(resume).await);
            metrics.resumed(found.as_ref().map(|turn| turn.state()).map_err(|error| error.code));
            let turn = found?;
            let cursor = turn.position_after(next_seq, last_index);
            (turn, cursor)
        }
        None => {
            json::check_content_type(&request)?;
            let message: MessageFrame = json::parse(&body)?;
            let turn = start(&workflow, &rules, &identity, address, message).await?;
            (turn, Cursor::default())
        }
    };
    let wants_events = header(&request, ACCEPT.as_str()).is_some_and(|accept| accept.contains("text/event-stream"));
    let encoder: &'static dyn Encoder = if wants_events { &Sse } else { &Json };
    let reader = TurnReader::new(turn, cursor, encoder, metrics.into_inner());
    let stream = wants_events.then(|| in_flight.into_inner().open_stream());
    let caller = Caller::register(&request, identity, tokens.into_inner(), registry.into_inner(), (permits, stream));
    caller.stats.add_turn(reader.subscribed());
    // The token may have been revoked since it was verified. A revocation ends only registered connections.
    caller.tokens.check_revoked(&caller.identity).map_err(ApiError::from)?;
    if wants_events { Ok(event_response(reader, caller)) } else { complete_response(reader, caller).await }
}

/// A message, with the fields of a `message` frame except its `type`.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "only describes `MessageFrame` in the OpenAPI document")]
pub struct ChatRequest {
    /// The user's message: 1 to 8,000 characters.
    message: String,
    /// The conversation to continue. Absent: a new one.
    conversation_id: Option<ConversationId>,
    /// Alias of `conversation_id`.
    session_id: Option<ConversationId>,
    /// The caller's identifier of the customer on whose behalf the message is sent.
    customer_id: Option<String>,
    /// Idempotency key: a repeated id returns the turn that the first request started.
    client_message_id: Option<String>,
    /// Free-form data of the client.
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
    match flatten_reply(workflow.send(start).await)? {
        StartedTurn::New => Ok(turn),
        StartedTurn::Duplicate(first) => Ok(first),
    }
}

/// Responds with the whole answer once the turn has ended. If the caller is kicked or its tokens are revoked, the response is an error;
/// the turn continues.
async fn complete_response(mut reader: TurnReader, mut caller: Caller) -> Result<HttpResponse, HttpError> {
    let body = tokio::select! {
        biased;
        Some(command) = caller.commands.recv() => return Err(caller.end_error(&command).into()),
        body = reader.next() => body,
    };
    match (reader.turn().outcome().as_deref(), body) {
        (Some(TurnEnd::Complete { .. }), Some(body)) => {
            Ok(HttpResponse::Ok().content_type("application/json").body(body.frame.into_bytes()))
        }
        (Some(TurnEnd::Failed(failure)), _) => Err(from_failure(failure).into()),
        _ => Err(from_failure(&TurnFailure::TaskLost).into()),
    }
}

type Held = ((AddressPermit, UserPermit), Option<OpenStream>);

/// The reader of an answer, which is a connection in the registry.
struct Caller {
    identity: Arc<Identity>,
    tokens: Arc<Tokens>,
    stats: Arc<ConnectionStats>,
    /// Receives a command to end the response.
    commands: mpsc::Receiver<ConnectionCommand>,
    _registration: Registration,
    /// Held until the response ends.
    _held: Held,
}

impl Caller {
    fn register(
        request: &HttpRequest,
        identity: Identity,
        tokens: Arc<Tokens>,
        registry: Arc<Addr<ConnectionManager>>,
        held: Held,
    ) -> Self {
        let identity = Arc::new(identity);
        let (address, user_agent) = (client_address(request).to_string(), user_agent(request));
        let dialect = Some(Dialect::V2);
        let stats = ConnectionStats::of_kind(ConnectionKind::Stream, ConnectionId::new(), dialect, address, user_agent);
        stats.set_identity(Arc::clone(&identity));
        let (to_stream, commands) = mpsc::channel(1);
        let address = ConnectionAddress::Stream(to_stream);
        let registration = Registration::new(registry, Arc::clone(&stats), address);
        Self { identity, tokens, stats, commands, _registration: registration, _held: held }
    }

    /// Returns the error with which a command ends the response. The turn goes on.
    fn end_error(&self, command: &ConnectionCommand) -> ApiError {
        match (self.tokens.check_revoked(&self.identity), command) {
            (Err(revoked), _) => ApiError::from(revoked),
            (Ok(()), ConnectionCommand::Kick(text)) => ApiError::new(ErrorCode::Forbidden, text.to_string()),
            (Ok(()), ConnectionCommand::Close(reason)) => ApiError::new(ErrorCode::Forbidden, reason.text()),
            (Ok(()), _) => ApiError::overloaded(CloseReason::GoingAway.text(), DRAIN_RETRY_MS),
        }
    }
}

fn event_response(reader: TurnReader, caller: Caller) -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/event-stream")
        .insert_header((CACHE_CONTROL, "no-store"))
        // Turns off response buffering in nginx, which would hold tokens back.
        .insert_header(("X-Accel-Buffering", "no"))
        .streaming(event_stream(reader, caller))
}

/// Streams the events of a turn. If the caller is kicked or its tokens are revoked, the stream ends with an error event; the turn
/// continues.
fn event_stream(reader: TurnReader, caller: Caller) -> impl Stream<Item = Result<Bytes, Infallible>> {
    stream::unfold(Some((reader, caller)), |open| async move {
        let (mut reader, mut caller) = open?;
        let next = tokio::select! {
            biased;
            Some(command) = caller.commands.recv() => {
                return Some((Ok(error_event(&caller.end_error(&command)).into_bytes()), None));
            }
            next = tokio::time::timeout(KEEP_ALIVE, reader.next()) => next,
        };
        let event = match next {
            Ok(Some(outgoing)) => {
                caller.stats.sent_frame(UnixMillis::now(), outgoing.frame.len(), outgoing.tokens);
                outgoing.frame.into_bytes()
            }
            Ok(None) => return None,
            Err(_) => Bytes::from_static(b": still here\n\n"),
        };
        Some((Ok(event), Some((reader, caller))))
    })
}

fn header<'a>(request: &'a HttpRequest, name: &str) -> Option<&'a str> {
    request.headers().get(name).and_then(|value| value.to_str().ok())
}

/// Outcome of a request to cancel a turn.
#[derive(Serialize, utoipa::ToSchema)]
pub struct CancelResponse {
    pub turn_id: TurnId,
    /// `false` if the turn had already ended.
    pub cancelled: bool,
}

/// Cancels one of the caller's turns.
///
/// The text so far is kept, and the turn ends with a `complete` frame whose `finish_reason` is `cancelled`.
#[utoipa::path(
    post, path = "/api/v1/chat/{turn_id}/cancel", tag = "chat",
    params(("turn_id" = TurnId, Path)),
    responses(
        (status = 200, description = "The outcome.", body = CancelResponse),
        (status = 403, description = "`FORBIDDEN`: the turn belongs to another user", body = ErrorBody),
        (status = 410, description = "`RESUME_UNAVAILABLE`: the turn is unknown or too old", body = ErrorBody),
    ),
    security(("bearer" = [])),
)]
async fn cancel(
    identity: Identity,
    turn_id: web::Path<TurnId>,
    workflow: State<Addr<Workflow>>,
) -> Result<HttpResponse, HttpError> {
    let turn_id = turn_id.into_inner();
    let cancelled = flatten_reply(workflow.send(CancelTurn { user_id: identity.user_id, turn_id }).await)?;
    Ok(HttpResponse::Ok().json(CancelResponse { turn_id, cancelled }))
}

/// Flattens the reply of the workflow actor.
fn flatten_reply<T>(reply: Result<Result<T, TurnError>, MailboxError>) -> Result<T, ApiError> {
    Ok(reply.map_err(|error| ApiError::internal(&error))??)
}
