//! Rate limit of requests per address; [`super::identity`] enforces the one per user.

use super::client_address;
use super::error::HttpError;
use crate::limiter::Limiter;
use actix_web::{
    Error,
    body::{EitherBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    middleware::Next,
    web,
};

/// Routes and folders exempt from the limits: health checks, metrics, pages and their files, and WebSockets, which have limits of
/// their own. Compared with the raw path, so an escaped form (`/%68ealth`) is not exempt.
const UNCOUNTED_ROUTES: [&str; 7] = ["/", "/health", "/health/ready", "/metrics", "/ops", "/ops/", "/api/openapi.json"];
const UNCOUNTED_FOLDERS: [&str; 3] = ["/ws/", "/api/docs", "/static/"];

/// Whether requests to this path count against the request limits.
pub(super) fn is_counted(path: &str) -> bool {
    !UNCOUNTED_ROUTES.contains(&path) && !UNCOUNTED_FOLDERS.iter().any(|folder| path.starts_with(folder))
}

/// Middleware that refuses requests over `limits.requests_per_s_per_address`. Runs inside the CORS middleware, so that cross-origin
/// pages can read the error and preflights do not count.
pub async fn limit_requests<B: MessageBody + 'static>(
    limiter: web::Data<Limiter>,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_and_probes_are_not_counted() {
        for path in [
            "/",
            "/health",
            "/health/ready",
            "/metrics",
            "/ops",
            "/ws/chat",
            "/ws/test",
            "/api/docs/",
            "/api/docs",
            "/static/pages/ops/page.js",
        ] {
            assert!(!is_counted(path), "{path}");
        }
        for path in
            ["/api/v1/chat", "/%61pi/v1/chat", "//health", "/health/", "/healthy", "/api/v1/documents", "/nothing"]
        {
            assert!(is_counted(path), "{path}");
        }
    }
}
