//! Count of running handlers, which a stopping server waits for.

use crate::{http::state::State, transport::InFlight};
use actix_web::{
    Error,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    middleware::Next,
};

/// Middleware that counts running handlers.
pub async fn count_requests<B: MessageBody>(
    in_flight: State<InFlight>,
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let _running = in_flight.into_inner().begin_request();
    next.call(request).await
}
