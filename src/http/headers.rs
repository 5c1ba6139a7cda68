//! Headers that every answer carries, unless it has its own.

use actix_web::{
    http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS},
    middleware::DefaultHeaders,
};

/// Nothing is sniffed, framed, or told where a visitor came from; an answer that is no page of ours may load nothing; and
/// nothing is kept by browsers and proxies, since most answers hold personal data. [`static_file`](super::static_file)
/// says otherwise.
pub fn default_headers() -> DefaultHeaders {
    DefaultHeaders::new()
        .add((CACHE_CONTROL, "no-store"))
        .add((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .add((X_FRAME_OPTIONS, "DENY"))
        // An access token may stand in the URL of `/ws/chat`: no URL of ours goes to others.
        .add((REFERRER_POLICY, "no-referrer"))
        .add(("Cross-Origin-Opener-Policy", "same-origin"))
        .add((CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"))
}
