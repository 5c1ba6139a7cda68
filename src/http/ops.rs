//! `GET /ws/ops`: the upgrade to an operator's socket.

use super::error::HttpError;
use super::{
    Query, client_address,
    cors::check_origin,
    ws::{Proof, authenticate},
};
use crate::{
    auth::{Tickets, Tokens},
    limiter::Limit,
    ops::{self, OpsContext, OpsOpening},
    session,
};
use actix_web::{HttpRequest, HttpResponse, http::header::SEC_WEBSOCKET_PROTOCOL, web};
use switchboard_protocol::{ApiError, ErrorCode};

/// The subprotocol that may be offered, so that `bearer.<jwt>` can travel beside it.
const SUBPROTOCOL: &str = "ops.v1";

pub fn routes(cfg: &mut web::ServiceConfig) {
    cfg.service(web::resource("/ws/ops").route(web::get().to(ops)));
}

/// Also when the server drains: operators watch it, and may call it off until it ends.
async fn ops(
    request: HttpRequest,
    payload: web::Payload,
    Query(proof): Query<Proof>,
    context: web::Data<OpsContext>,
    tokens: web::Data<Tokens>,
    tickets: web::Data<Tickets>,
) -> Result<HttpResponse, HttpError> {
    check_origin(&request).inspect_err(|_| context.limiter.hit(Limit::Origins))?;
    session::check_handshake(&request)?;
    let address_permit = context.limiter.connect(client_address(&request)).map_err(ApiError::from)?;
    let offered: Vec<&str> = request
        .headers()
        .get_all(SEC_WEBSOCKET_PROTOCOL)
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .collect();
    let echo = offered.contains(&SUBPROTOCOL).then_some(SUBPROTOCOL);
    if !offered.is_empty() && echo.is_none() {
        return Err(ApiError::new(ErrorCode::UnknownSubprotocol, "Offer the subprotocol `ops.v1`, or none.").into());
    }
    let token = offered.iter().find_map(|offer| offer.strip_prefix("bearer."));
    let place = context.feed.sockets().open()?;
    let auth = authenticate(&request, proof, token, &tokens, &tickets);
    let opening = OpsOpening { auth, place, address_permit, echo };
    Ok(ops::upgrade(&request, payload, context.as_ref().clone(), opening)?)
}
