//! Rate limit of requests per address; the extractor of the caller enforces the one per user.

use crate::{
    http::{error::HttpError, exempt::is_counted, extract::client_address, state::State},
    limiter::Limiter,
};
use actix_web::{
    Error,
    body::{EitherBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    middleware::Next,
};

/// Middleware that refuses requests over `limits.requests_per_s_per_address`. Runs inside the CORS middleware, so that cross-origin
/// pages can read the error and preflights do not count.
pub async fn limit_requests<B: MessageBody + 'static>(
    limiter: State<Limiter>,
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    if is_counted(request.path())
        && let Err(refusal) = limiter.request_from(client_address(request.request()))
    {
        return Ok(request.error_response(HttpError::from(refusal)).map_into_right_body());
    }
    Ok(next.call(request).await?.map_into_left_body())
}
