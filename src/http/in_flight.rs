//! Requests that are being answered: a server that stops waits for them.

use actix_web::{
    Error,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    middleware::Next,
    web::Data,
};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

/// How many there are. A body that streams on (a WebSocket, events of a turn) does not count.
#[derive(Default)]
pub struct InFlight(AtomicUsize);

impl InFlight {
    pub fn count(&self) -> usize {
        self.0.load(SeqCst)
    }
}

struct Counted(Data<InFlight>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, SeqCst);
    }
}

/// Middleware that counts.
pub async fn count_requests<B: MessageBody>(
    in_flight: Data<InFlight>,
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    in_flight.0.fetch_add(1, SeqCst);
    let _counted = Counted(in_flight);
    next.call(request).await
}
