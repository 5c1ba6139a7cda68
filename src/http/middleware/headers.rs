//! Default headers of every response.

use actix_web::{
    http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS},
    middleware::DefaultHeaders,
};

/// Middleware that adds security headers that a response does not set itself: no caching, since most responses hold personal data;
/// no MIME sniffing, framing or referrer; and a content security policy that loads nothing. Pages and static files override them.
pub fn default_headers() -> DefaultHeaders {
    DefaultHeaders::new()
        .add((CACHE_CONTROL, "no-store"))
        .add((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .add((X_FRAME_OPTIONS, "DENY"))
        // The URL of `/ws/chat` may contain an access token.
        .add((REFERRER_POLICY, "no-referrer"))
        .add(("Cross-Origin-Opener-Policy", "same-origin"))
        .add((CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"))
}
