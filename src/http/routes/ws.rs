//! `GET /ws/chat`: the upgrade to a chat WebSocket, and authentication in the upgrade request.

use crate::{
    auth::{Identity, Tickets, Tokens},
    http::{
        error::HttpError,
        extract::{Query, client_address},
        middleware::cors::check_origin,
        state::State,
    },
    limiter::Limit,
    limits::MAX_USER_AGENT_CHARS,
    session::{self, Opening, SessionContext},
    transport,
    workflow::Turns,
};
use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL, USER_AGENT},
    web,
};
use serde::Deserialize;
use switchboard_protocol::{ApiError, ErrorCode, Offer};

pub fn routes(cfg: &mut web::ServiceConfig) {
    cfg.service(web::resource("/ws/chat").route(web::get().to(chat)));
}

/// Credentials in the query of an upgrade request.
#[derive(Deserialize)]
pub struct Credentials {
    token: Option<String>,
    ticket: Option<String>,
}

impl Credentials {
    /// Removes empty values and `null`, which scripts send for a missing value.
    fn without_placeholders(self) -> Self {
        let present = |value: &String| !matches!(value.as_str(), "" | "null");
        Self { token: self.token.filter(present), ticket: self.ticket.filter(present) }
    }
}

async fn chat(
    request: HttpRequest,
    Query(credentials): Query<Credentials>,
    context: State<SessionContext>,
    tickets: State<Tickets>,
    turns: State<Turns>,
) -> Result<HttpResponse, HttpError> {
    check_origin(&request).inspect_err(|_| context.limiter.hit(Limit::Origins))?;
    transport::check_handshake(&request)?;
    turns.check_open().map_err(ApiError::from)?;
    let address = client_address(&request);
    let address_permit = context.limiter.connect(address).map_err(ApiError::from)?;
    let offered = request.headers().get_all(SEC_WEBSOCKET_PROTOCOL).filter_map(|value| value.to_str().ok());
    let offer = Offer::parse(offered).ok_or_else(|| {
        ApiError::new(ErrorCode::UnknownSubprotocol, "Offer the subprotocol `chat.v1`, `chat.v2` or none.")
    })?;
    let auth = authenticate(&request, credentials, offer.token.as_deref(), &context.tokens, &tickets);
    let user_permit = match &auth {
        Some(Ok(identity)) => Some(context.limiter.sign_in_socket(identity.user_id, address).map_err(ApiError::from)?),
        _ => None,
    };
    let opening = Opening { offer, auth, address, address_permit, user_permit, user_agent: user_agent(&request) };
    Ok(session::upgrade(&request, context.into_inner(), opening)?)
}

/// The user agent as the registry keeps it.
pub(in crate::http) fn user_agent(request: &HttpRequest) -> String {
    let user_agent = request.headers().get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    user_agent.chars().take(MAX_USER_AGENT_CHARS).collect()
}

/// Verifies the first credential of the request, if there is any. The upgrade continues if it fails: the client may still
/// authenticate with a frame.
pub fn authenticate(
    request: &HttpRequest,
    credentials: Credentials,
    subprotocol_token: Option<&str>,
    tokens: &Tokens,
    tickets: &Tickets,
) -> Option<Result<Identity, ApiError>> {
    let credentials = credentials.without_placeholders();
    if let Some(ticket) = credentials.ticket {
        // The token that the ticket was issued for may have been revoked in the meantime.
        let redeemed = tickets.redeem(&ticket);
        let checked = redeemed.and_then(|identity| tokens.check_revoked(&identity).map(|()| identity));
        return Some(checked.map_err(ApiError::from));
    }
    let header = request.headers().get(AUTHORIZATION).map(|value| value.to_str().unwrap_or_default());
    let token = credentials.token.as_deref().or(header).or(subprotocol_token)?;
    Some(tokens.verify_access(token).map_err(ApiError::from))
}
