//! `GET /ws/ops`: the upgrade to an operator's WebSocket.

use crate::{
    auth::{Tickets, Tokens},
    http::{
        error::HttpError,
        extract::{Query, client_address},
        middleware::cors::check_origin,
        routes::ws::{Credentials, authenticate, user_agent},
        state::State,
    },
    limiter::Limit,
    ops::{self, OpsContext, OpsOpening},
    transport,
};
use actix_web::{HttpRequest, HttpResponse, http::header::SEC_WEBSOCKET_PROTOCOL, web};
use switchboard_protocol::{ApiError, ErrorCode};

/// Optional subprotocol; a client that sends its token as `bearer.<jwt>` needs one that the server can select.
const SUBPROTOCOL: &str = "ops.v1";

pub fn routes(cfg: &mut web::ServiceConfig) {
    cfg.service(web::resource("/ws/ops").route(web::get().to(ops)));
}

/// Upgrades the connection, also while the server is draining, so that operators can observe and undo the drain.
async fn ops(
    request: HttpRequest,
    Query(credentials): Query<Credentials>,
    context: State<OpsContext>,
    tokens: State<Tokens>,
    tickets: State<Tickets>,
) -> Result<HttpResponse, HttpError> {
    check_origin(&request).inspect_err(|_| context.limiter.hit(Limit::Origins))?;
    transport::check_handshake(&request)?;
    let address = client_address(&request);
    let address_permit = context.limiter.connect(address).map_err(ApiError::from)?;
    let offered: Vec<&str> = request
        .headers()
        .get_all(SEC_WEBSOCKET_PROTOCOL)
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .collect();
    let echo = offered.contains(&SUBPROTOCOL).then_some(SUBPROTOCOL);
    if !offered.is_empty() && echo.is_none() {
        return Err(ApiError::new(ErrorCode::UnknownSubprotocol, "Offer the subprotocol `ops.v1` or none.").into());
    }
    let token = offered.iter().find_map(|offer| offer.strip_prefix("bearer."));
    let auth = authenticate(&request, credentials, token, &tokens, &tickets);
    let opening = OpsOpening { auth, address, user_agent: user_agent(&request), address_permit, echo };
    Ok(ops::upgrade(&request, OpsContext::clone(&context), opening)?)
}
