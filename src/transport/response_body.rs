//! Outbound flow control: the response body of a WebSocket, which signals the session when the connection polls it.
//!
//! The connection polls only when everything before was sent. A session that hands over a bounded amount per poll therefore
//! buffers a bounded amount, however slowly its client reads.

use crate::registry::ConnectionStats;
use actix::Recipient;
use actix_web::{Error, web::Bytes};
use futures_util::Stream;
use std::{
    cell::{Cell, RefCell},
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
};

/// Tells a session that the connection has sent everything and polls for more.
#[derive(actix::Message)]
#[rtype(result = "()")]
pub struct SendMore;

/// The state shared by a session and its response body.
#[derive(Default)]
pub struct Flow {
    has_demand: Cell<bool>,
    session: RefCell<Option<Recipient<SendMore>>>,
}

impl Flow {
    /// Sets the session that receives [`SendMore`].
    pub fn connect(&self, session: Recipient<SendMore>) {
        *self.session.borrow_mut() = Some(session);
    }

    /// Whether the connection has polled since the last call.
    pub fn take_demand(&self) -> bool {
        self.has_demand.take()
    }
}

/// The frames of a session as a response body.
pub struct ResponseBody<S> {
    frames: S,
    flow: Rc<Flow>,
    stats: Arc<ConnectionStats>,
}

impl<S> ResponseBody<S> {
    pub fn new(frames: S, flow: Rc<Flow>, stats: Arc<ConnectionStats>) -> Self {
        Self { frames, flow, stats }
    }
}

impl<S: Stream<Item = Result<Bytes, Error>> + Unpin> Stream for ResponseBody<S> {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.flow.has_demand.set(true);
        self.stats.asked_for_more();
        if self.stats.waits_for_credit()
            && let Some(session) = self.flow.session.borrow().as_ref()
        {
            session.do_send(SendMore);
        }
        Pin::new(&mut self.frames).poll_next(cx)
    }
}
