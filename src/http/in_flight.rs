//! Requests that are being answered: a server that stops waits for them.

use actix_web::{
    Error,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    middleware::Next,
    web::Data,
};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

/// Counts requests in flight. WebSockets do not count: the registry knows them.
#[derive(Debug, Default)]
pub struct InFlight {
    /// Handlers that run.
    requests: AtomicUsize,
    /// Bodies that are written as they come into being, such as the events of a turn.
    streams: AtomicUsize,
    /// Connections whose peer has yet to take something before more can be written.
    stuck: AtomicUsize,
}

impl InFlight {
    /// Requests whose answer is not there yet.
    pub fn requests(&self) -> usize {
        self.requests.load(SeqCst)
    }

    /// Answers of which something was not handed to the kernel yet. One may count twice.
    pub fn unsent(&self) -> usize {
        self.streams.load(SeqCst) + self.stuck.load(SeqCst)
    }

    pub(super) fn set_stuck(&self, is_stuck: bool) {
        if is_stuck {
            self.stuck.fetch_add(1, SeqCst);
        } else {
            self.stuck.fetch_sub(1, SeqCst);
        }
    }

    /// Counts a stream until the guard is dropped.
    pub(super) fn open_stream(self: &Arc<Self>) -> OpenStream {
        self.streams.fetch_add(1, SeqCst);
        OpenStream(Arc::clone(self))
    }
}

/// A stream that has not ended.
pub(super) struct OpenStream(Arc<InFlight>);

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, SeqCst);
    }
}

struct Counted(Data<InFlight>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.requests.fetch_sub(1, SeqCst);
    }
}

/// Middleware that counts.
pub async fn count_requests<B: MessageBody>(
    in_flight: Data<InFlight>,
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    in_flight.requests.fetch_add(1, SeqCst);
    let _counted = Counted(in_flight);
    next.call(request).await
}
