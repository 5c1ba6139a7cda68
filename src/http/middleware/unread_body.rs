//! Closes a connection after the response if the request's body was not read to its end.
//!
//! If a chunked body is dropped unread, actix-http's dispatcher waits for its rest without a timeout, so a client could hold the
//! connection open. If the body is still alive when the response ends, the dispatcher closes the connection, as it does for an
//! unread body with `Content-Length`.

use actix_web::{
    Error, HttpMessage,
    body::{BodySize, BoxBody, MessageBody},
    dev::{Payload, ServiceRequest, ServiceResponse},
    http::header::TRANSFER_ENCODING,
    middleware::Next,
    web::Bytes,
};
use futures_util::{Stream, stream::poll_fn};
use std::{
    cell::RefCell,
    error::Error as StdError,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

/// A response body that keeps the body of its request alive.
struct HoldsRequestBody {
    response: BoxBody,
    _body: Rc<RefCell<Payload>>,
}

impl MessageBody for HoldsRequestBody {
    type Error = Box<dyn StdError>;

    fn size(&self) -> BodySize {
        self.response.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.response).poll_next(cx)
    }
}

/// Middleware that keeps chunked bodies alive until the response ends. Must be outside of all middleware that responds itself.
pub async fn hold_bodies<B: MessageBody + 'static>(
    mut request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    if !request.headers().contains_key(TRANSFER_ENCODING) {
        return next.call(request).await.map(ServiceResponse::map_into_boxed_body);
    }
    let body = Rc::new(RefCell::new(request.take_payload()));
    let read = Rc::clone(&body);
    let reading = poll_fn(move |cx| Pin::new(&mut *read.borrow_mut()).poll_next(cx));
    request.set_payload(Payload::Stream { payload: Box::pin(reading) });
    let response = next.call(request).await?.map_into_boxed_body();
    Ok(response.map_body(|_, response| HoldsRequestBody { response, _body: body }.boxed()))
}
