//! Cross-origin requests: CORS headers for HTTP, and the same check of `Origin` for WebSockets.
//!
//! Origins in `server.allowed_origins` may use the whole API, others nothing. Only browsers send `Origin` and enforce CORS, so the
//! check protects their users, not the server; errors name the setting for the developer who reads them. Browsers do not apply
//! CORS to WebSockets, so the server checks their origin itself.

use crate::{
    http::{error::HttpError, state::State},
    limiter::Origins,
};
use actix_cors::Cors;
use actix_web::{
    Error, HttpRequest, HttpResponse,
    body::{EitherBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{
        Method,
        header::{
            ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, HOST, HeaderMap,
            HeaderName, HeaderValue, ORIGIN, VARY,
        },
    },
    middleware::Next,
};
use std::sync::Arc;
use switchboard_protocol::{ApiError, ErrorCode};

/// Lifetime of a preflight response in the browser's cache, in seconds.
const MAX_AGE_S: usize = 600;
/// Longest part of a refused origin that an error shows, in characters.
const MAX_SHOWN_CHARS: usize = 100;
/// Response headers exposed to pages, in addition to those that browsers always expose.
const EXPOSED: &str = "Retry-After, WWW-Authenticate";
const METHODS: [Method; 6] = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];

/// Middleware for the whole application that adds CORS headers. All request headers are allowed; credentials are not, because the
/// API uses no cookies.
pub fn cors(origins: Arc<Origins>) -> Cors {
    Cors::default()
        .allowed_origin_fn(move |origin, request| {
            origin.to_str().is_ok_and(|origin| origins.allows(origin, text(request.headers(), &HOST)))
        })
        .allowed_methods(METHODS)
        .allow_any_header()
        .max_age(MAX_AGE_S)
}

/// Middleware that refuses preflights from origins that are not allowed.
///
/// Other requests are served without CORS headers, and browsers hide the responses. Refusing them would break the server's own
/// pages behind a proxy that changes `Host`, where their origin looks foreign.
///
/// # Errors
/// Those of the wrapped service.
pub async fn refuse_preflights<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    let is_preflight =
        request.method() == Method::OPTIONS && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    match check_origin(request.request()) {
        Err(refusal) if is_preflight => {
            let mut response = HttpResponse::from_error(HttpError::from(refusal));
            response.headers_mut().insert(VARY, HeaderValue::from_static("Origin"));
            Ok(request.into_response(response).map_into_right_body())
        }
        _ => {
            let mut response = next.call(request).await?;
            // actix-cors would send this header to every origin.
            if !is_preflight && response.headers().contains_key(ACCESS_CONTROL_ALLOW_ORIGIN) {
                response.headers_mut().insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
            }
            Ok(response.map_into_left_body())
        }
    }
}

/// Refuses a WebSocket upgrade from an origin that is not allowed. Browsers open WebSockets for any page without a preflight,
/// from inside the visitor's network. A client without `Origin` is not a browser and passes.
///
/// # Errors
/// `FORBIDDEN` with the origin and the setting that allows it.
pub fn check_origin(request: &HttpRequest) -> Result<(), ApiError> {
    let Some(origin) = request.headers().get(ORIGIN) else { return Ok(()) };
    let origins = State::<Origins>::of(request);
    // An origin that is not text matches none that is allowed.
    let origin = origin.to_str().unwrap_or("?");
    if origins.allows(origin, text(request.headers(), &HOST)) {
        return Ok(());
    }
    let shown: String = origin.chars().take(MAX_SHOWN_CHARS).collect();
    if origins.is_new(&shown) {
        log::warn!(origin = shown; "refused a cross-origin request; server.allowed_origins lists the allowed origins");
    }
    let reason = format!(
        "The origin {shown:?} is not allowed to use this server. Its operator can add it to `server.allowed_origins`."
    );
    Err(ApiError::new(ErrorCode::Forbidden, reason))
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}
