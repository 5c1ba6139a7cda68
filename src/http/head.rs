//! HEAD on every route that takes GET: monitors and container health checks ask that way.

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

/// Middleware that answers HEAD as GET, without the body.
pub async fn answer_head<B: MessageBody>(
    mut request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B, LeftOut>>, Error> {
    let is_head = request.method() == Method::HEAD;
    if is_head {
        let head = request.head_mut();
        head.method = Method::GET;
        // A WebSocket begins with GET (RFC 6455, 4.1): HEAD must open none.
        head.headers_mut().remove(UPGRADE);
    }
    let mut response = next.call(request).await?;
    if response.status() == StatusCode::METHOD_NOT_ALLOWED {
        allow_head(response.headers_mut());
    }
    Ok(if is_head { without_body(response) } else { response.map_into_left_body() })
}

/// The body of an answer to HEAD. Its length is in the headers.
///
/// actix-http leaves bodies out by itself, but looks at the method of the request it has read last, which is a later one
/// when a client sends several without waiting for the answers.
pub struct LeftOut;

impl MessageBody for LeftOut {
    type Error = Infallible;

    /// A body of a known size would have to be sent.
    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Poll::Ready(None)
    }
}

fn without_body<B: MessageBody>(response: ServiceResponse<B>) -> ServiceResponse<EitherBody<B, LeftOut>> {
    response.map_body(|head, body| {
        match body.size() {
            BodySize::Sized(bytes) => {
                head.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(bytes));
            }
            BodySize::None | BodySize::Stream => {}
        }
        head.no_chunking(true);
        EitherBody::right(LeftOut)
    })
}

/// Names HEAD in `Allow` wherever GET is.
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
