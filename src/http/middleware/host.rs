//! Check of `Host` against the server's own names, on all routes except `/health*`. Protects against DNS rebinding.

use crate::{
    http::{error::HttpError, rules::HostCheck, state::State},
    limiter::{Limit, Limiter},
};
use actix_web::{
    Error,
    body::{EitherBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    middleware::Next,
};

/// Middleware that refuses requests for unknown hosts. `/health` and `/health/ready` are exempt: containers and load balancers probe
/// them by IP address, and they expose only the server's health.
pub async fn check_host<B: MessageBody + 'static>(
    check: State<HostCheck>,
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    if matches!(request.path(), "/health" | "/health/ready") {
        return Ok(next.call(request).await?.map_into_left_body());
    }
    match check.check(&request) {
        Ok(()) => Ok(next.call(request).await?.map_into_left_body()),
        Err(refusal) => {
            State::<Limiter>::of(request.request()).hit(Limit::Hosts);
            Ok(request.error_response(HttpError::from(refusal)).map_into_right_body())
        }
    }
}
