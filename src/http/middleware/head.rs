//! Support for HEAD on every GET route; monitors and container health checks use it.

use actix_web::{
    Error,
    body::{BodySize, EitherBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{
        Method, StatusCode,
        header::{ALLOW, CONTENT_LENGTH, HeaderMap, HeaderValue, UPGRADE},
    },
    middleware::Next,
    web::Bytes,
};
use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

/// Middleware that answers HEAD like GET, without the body.
pub async fn answer_head<B: MessageBody>(
    mut request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B, OmittedBody>>, Error> {
    let is_head = request.method() == Method::HEAD;
    if is_head {
        let head = request.head_mut();
        head.method = Method::GET;
        // A WebSocket handshake is a GET (RFC 6455, 4.1); HEAD must not open one.
        head.headers_mut().remove(UPGRADE);
    }
    let mut response = next.call(request).await?;
    if response.status() == StatusCode::METHOD_NOT_ALLOWED {
        allow_head(response.headers_mut());
    }
    Ok(if is_head { without_body(response) } else { response.map_into_left_body() })
}

/// Empty body of a response to HEAD. `Content-Length` keeps the length of the omitted body.
///
/// actix-http omits bodies itself, but checks the method of the request it read last, which differs when requests are pipelined.
pub struct OmittedBody;

impl MessageBody for OmittedBody {
    type Error = Infallible;

    /// A sized body would have to be written.
    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Poll::Ready(None)
    }
}

fn without_body<B: MessageBody>(response: ServiceResponse<B>) -> ServiceResponse<EitherBody<B, OmittedBody>> {
    response.map_body(|head, body| {
        match body.size() {
            BodySize::Sized(bytes) => {
                head.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(bytes));
            }
            BodySize::None | BodySize::Stream => {}
        }
        head.no_chunking(true);
        EitherBody::right(OmittedBody)
    })
}

/// Adds HEAD to an `Allow` header that contains GET.
fn allow_head(headers: &mut HeaderMap) {
    let Some(allowed) = headers.get(ALLOW).and_then(|value| value.to_str().ok()) else { return };
    let has = |wanted: &str| allowed.split(',').any(|method| method.trim() == wanted);
    if has("GET")
        && !has("HEAD")
        && let Ok(value) = HeaderValue::from_str(&format!("{allowed}, HEAD"))
    {
        headers.insert(ALLOW, value);
    }
}
