//! Pages of other origins: which of them browsers let use this server.
//!
//! A page of `server.allowed_origins` may do everything, any other nothing. Only browsers send an `Origin` and keep to the answer,
//! so a refusal protects people, not the server; it names the setting, because a developer reads it. WebSockets are held to the
//! same rule, since browsers ask nobody before they open one.

use super::error::HttpError;
use crate::limiter::Origins;
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
    web,
};
use switchboard_protocol::{ApiError, ErrorCode};

/// How long a browser may remember what it was allowed, in seconds.
const MAX_AGE_S: usize = 600;
/// Longest part of a refused origin that an error repeats, in characters.
const MAX_SHOWN_CHARS: usize = 100;
/// Response headers exposed to pages, in addition to those that browsers always expose.
const EXPOSED: &str = "Retry-After, WWW-Authenticate";
const METHODS: [Method; 6] = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];

/// The headers that allow a page to use an answer. For the whole app. There are no cookies, so that none are allowed to come
/// along, and a page may send whatever other header it likes.
pub fn cors(origins: Origins) -> Cors {
    Cors::default()
        .allowed_origin_fn(move |origin, request| {
            origin.to_str().is_ok_and(|origin| origins.allows(origin, text(request.headers(), &HOST)))
        })
        .allowed_methods(METHODS)
        .allow_any_header()
        .max_age(MAX_AGE_S)
}

/// Middleware that answers the preflights of pages whose origin is not allowed. Their other requests are answered as those of
/// anybody, and browsers hide the answers: behind a proxy that changes `Host`, the server's own pages look like others.
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
            // The middleware of the library would tell pages of every origin.
            if !is_preflight && response.headers().contains_key(ACCESS_CONTROL_ALLOW_ORIGIN) {
                response.headers_mut().insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
            }
            Ok(response.map_into_left_body())
        }
    }
}

/// Refuses pages of other origins. For WebSockets, which browsers would open for them without asking, with whatever the visitor's
/// network allows. A client that sends no `Origin` is no browser.
///
/// # Errors
/// `FORBIDDEN` with the origin and the setting that allows it.
pub fn check_origin(request: &HttpRequest) -> Result<(), ApiError> {
    let (Some(origins), Some(origin)) = (request.app_data::<web::Data<Origins>>(), request.headers().get(ORIGIN))
    else {
        return Ok(());
    };
    // A header that is no text is no origin that could be allowed.
    let origin = origin.to_str().unwrap_or("?");
    if origins.allows(origin, text(request.headers(), &HOST)) {
        return Ok(());
    }
    let shown: String = origin.chars().take(MAX_SHOWN_CHARS).collect();
    if origins.is_new(&shown) {
        log::warn!(origin = shown; "refused a page of another origin; server.allowed_origins names those that may connect");
    }
    let reason = format!(
        "Pages of the origin {shown:?} may not use this server. Its operator can allow them with `server.allowed_origins`."
    );
    Err(ApiError::new(ErrorCode::Forbidden, reason))
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}
