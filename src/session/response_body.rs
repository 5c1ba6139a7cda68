//! The way out of a session: the body of its response, as the connection asks for it.
//!
//! The connection asks only when nothing waits to be sent. So a session that hands over a bounded amount each time it is
//! asked holds a bounded amount, however slowly its peer reads.

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

/// The connection has taken everything so far and asks for more.
#[derive(actix::Message)]
#[rtype(result = "()")]
pub(super) struct SendMore;

/// What a session and its outlet tell each other.
#[derive(Default)]
pub struct Flow {
    asked: Cell<bool>,
    session: RefCell<Option<Recipient<SendMore>>>,
}

impl Flow {
    /// Where the session is told that it may send more.
    pub fn connect(&self, session: Recipient<SendMore>) {
        *self.session.borrow_mut() = Some(session);
    }

    /// Whether the connection has asked since this was called last.
    pub fn take_asked(&self) -> bool {
        self.asked.take()
    }
}

/// The frames of a session.
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
        self.flow.asked.set(true);
        self.stats.asked_for_more();
        if self.stats.waits_for_credit()
            && let Some(session) = self.flow.session.borrow().as_ref()
        {
            session.do_send(SendMore);
        }
        Pin::new(&mut self.frames).poll_next(cx)
    }
}
