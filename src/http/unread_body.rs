//! A request whose body did not come whole ends its connection with the answer.
//!
//! Of a body in chunks that was dropped, the dispatcher of actix-http waits for the rest, for as long as the peer likes: no
//! timer runs then. While somebody still holds the body when the answer ends, it closes, as it does for a body whose length
//! was announced.

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

/// An answer that holds the body of its request.
struct Holding {
    answer: BoxBody,
    _body: Rc<RefCell<Payload>>,
}

impl MessageBody for Holding {
    type Error = Box<dyn StdError>;

    fn size(&self) -> BodySize {
        self.answer.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.answer).poll_next(cx)
    }
}

/// Middleware that holds bodies in chunks; outside of all that answers.
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
    Ok(response.map_body(|_, answer| Holding { answer, _body: body }.boxed()))
}
