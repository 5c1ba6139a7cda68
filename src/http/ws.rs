//! `GET /ws/chat`: the upgrade to a session.

use super::error::HttpError;
use super::{Query, client_address, cors::check_origin};
use crate::{
    auth::{Identity, Tickets, Tokens},
    limiter::Limit,
    limits::MAX_USER_AGENT_CHARS,
    session::{self, Opening, SessionContext},
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

#[derive(Deserialize)]
pub(super) struct Proof {
    token: Option<String>,
    ticket: Option<String>,
}

impl Proof {
    /// Takes empty values and `null`, which scripts write for what they do not have, as absent: neither can be a proof.
    fn without_placeholders(self) -> Self {
        let present = |value: &String| !matches!(value.as_str(), "" | "null");
        Self { token: self.token.filter(present), ticket: self.ticket.filter(present) }
    }
}

async fn chat(
    request: HttpRequest,
    payload: web::Payload,
    Query(proof): Query<Proof>,
    context: web::Data<SessionContext>,
    tickets: web::Data<Tickets>,
    turns: web::Data<Turns>,
) -> Result<HttpResponse, HttpError> {
    check_origin(&request).inspect_err(|_| context.limiter.hit(Limit::Origins))?;
    session::check_handshake(&request)?;
    turns.check_open().map_err(ApiError::from)?;
    let address = client_address(&request);
    let address_permit = context.limiter.connect(address).map_err(ApiError::from)?;
    let offered = request.headers().get_all(SEC_WEBSOCKET_PROTOCOL).filter_map(|value| value.to_str().ok());
    let offer = Offer::parse(offered).ok_or_else(|| {
        ApiError::new(ErrorCode::UnknownSubprotocol, "Offer the subprotocol `chat.v1` or `chat.v2`, or none.")
    })?;
    let auth = authenticate(&request, proof, offer.token.as_deref(), &context.tokens, &tickets);
    let user_permit = match &auth {
        Some(Ok(identity)) => Some(context.limiter.sign_in_socket(identity.user_id, address).map_err(ApiError::from)?),
        _ => None,
    };
    let user_agent = request.headers().get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let opening = Opening {
        offer,
        auth,
        address,
        address_permit,
        user_permit,
        user_agent: user_agent.chars().take(MAX_USER_AGENT_CHARS).collect(),
    };
    Ok(session::upgrade(&request, payload, context, opening)?)
}

/// The first proof that the request holds. A proof that fails leaves the socket open for another try.
pub(super) fn authenticate(
    request: &HttpRequest,
    proof: Proof,
    subprotocol_token: Option<&str>,
    tokens: &Tokens,
    tickets: &Tickets,
) -> Option<Result<Identity, ApiError>> {
    let proof = proof.without_placeholders();
    if let Some(ticket) = proof.ticket {
        // What was proved for the ticket may have been revoked since.
        let redeemed = tickets.redeem(&ticket);
        let checked = redeemed.and_then(|identity| tokens.check_revoked(&identity).map(|()| identity));
        return Some(checked.map_err(ApiError::from));
    }
    let header = request.headers().get(AUTHORIZATION).map(|value| value.to_str().unwrap_or_default());
    let token = proof.token.as_deref().or(header).or(subprotocol_token)?;
    Some(tokens.verify_access(token).map_err(ApiError::from))
}
