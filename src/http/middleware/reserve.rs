//! Reserve connections: health checks and operators' requests get through when clients hold all other connections.
//!
//! The server accepts a few connections above the limit for clients (see [`Capacity`](crate::transport::Capacity)). Each serves one request.

use crate::{
    http::{error::HttpError, extract::is_operator, state::State},
    limiter::{Limit, Limiter},
    limits::OVERLOADED_RETRY_MS,
    transport::Reserve,
};
use actix_web::{
    Error,
    body::{EitherBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::ConnectionType,
    middleware::Next,
};
use switchboard_protocol::ApiError;

/// Routes served without a token; others require an operator's token. They include what operators need to sign in.
const OPEN_ROUTES: [&str; 7] =
    ["/health", "/health/ready", "/metrics", "/ops", "/ws/ops", "/api/v1/auth/login", "/api/v1/auth/refresh"];
/// The scripts and styles of the operators' page.
const OPEN_FOLDER: &str = "/static/";

/// Middleware that refuses other requests on a reserve connection, and closes it after one request.
pub async fn keep_reserve<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    if request.conn_data::<Reserve>().is_none() {
        return Ok(next.call(request).await?.map_into_left_body());
    }
    let path = request.path();
    let is_open = OPEN_ROUTES.contains(&path) || path.starts_with(OPEN_FOLDER);
    let is_served = is_open || is_operator(request.request());
    let mut response = if is_served {
        next.call(request).await?.map_into_left_body()
    } else {
        State::<Limiter>::of(request.request()).hit(Limit::Connections);
        let refusal =
            ApiError::overloaded("The server is at its connection limit. Please try again.", OVERLOADED_RETRY_MS);
        request.error_response(HttpError::from(refusal)).map_into_right_body()
    };
    if !response.status().is_informational() {
        response.response_mut().head_mut().set_connection_type(ConnectionType::Close);
    }
    Ok(response)
}
