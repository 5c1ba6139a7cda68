//! Refuses requests that are addressed to a host name which is not the server's, on every route but `/health*`.

use super::error::HttpError;
use crate::{
    config::ServerConfig,
    limiter::{AllowedHosts, Limit, Limiter, RefusedHost},
    limits::REFUSED_HOST_LOG_INTERVAL,
};
use actix_web::{
    Error,
    body::{EitherBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::header::HOST,
    middleware::Next,
    web,
};
use std::{
    io,
    net::TcpListener,
    sync::{Mutex, PoisonError},
    time::Instant,
};
use switchboard_protocol::{ApiError, ErrorCode};

/// The check, one for the whole server.
pub struct HostCheck {
    allowed: AllowedHosts,
    logged_at: Mutex<Option<Instant>>,
}

impl HostCheck {
    /// Warns when every name is allowed only because none is configured.
    ///
    /// # Errors
    /// When a listener does not know its address.
    pub fn new(config: &ServerConfig, listeners: &[TcpListener]) -> io::Result<Self> {
        let bound = listeners.iter().map(|listener| Ok(listener.local_addr()?.ip())).collect::<io::Result<Vec<_>>>()?;
        let allowed = AllowedHosts::new(&config.allowed_hosts, &config.host, &bound);
        if config.allowed_hosts.is_empty() && allowed.is_any() {
            log::warn!(
                "the server answers to every host name: set server.allowed_hosts to its own names, such as \
                 [\"chat.example.org\"], so that no web page can reach it under a name of its own (DNS rebinding)"
            );
        }
        Ok(Self { allowed, logged_at: Mutex::default() })
    }

    fn check(&self, request: &ServiceRequest) -> Result<(), ApiError> {
        let hosts = request.headers().get_all(HOST).map(|value| value.as_bytes());
        let target = request.uri().authority().map(|authority| authority.as_str());
        self.allowed.check(hosts, target).map_err(|refused| {
            self.log(&refused);
            let message = match refused {
                RefusedHost::NotOne => "A request must name the host that it is for once, in `Host`; see `server.allowed_hosts`.".to_owned(),
                RefusedHost::Malformed => "`Host` must be a name or an address, with an optional port; see `server.allowed_hosts`.".to_owned(),
                RefusedHost::NotAllowed(host) => format!(
                    "This server does not answer to the host `{host}`. If it should, its operator must add the name to `server.allowed_hosts`."
                ),
            };
            ApiError::new(ErrorCode::HostNotAllowed, message)
        })
    }

    /// Tells the operator, now and then: whoever sends such requests must not fill the log.
    fn log(&self, refused: &RefusedHost) {
        let mut logged_at = self.logged_at.lock().unwrap_or_else(PoisonError::into_inner);
        if logged_at.is_some_and(|at| at.elapsed() < REFUSED_HOST_LOG_INTERVAL) {
            return;
        }
        *logged_at = Some(Instant::now());
        match refused {
            RefusedHost::NotAllowed(host) => log::warn!(
                host;
                "refused a request for another host; if it is one of this server's names, for example that of a proxy in \
                 front, add it to server.allowed_hosts"
            ),
            RefusedHost::NotOne | RefusedHost::Malformed => {
                log::warn!("refused a request whose Host header is missing, repeated or malformed");
            }
        }
    }
}

/// Middleware. `/health` and `/health/ready` are exempt: probes of containers and load balancers address them by IP, and they
/// tell nothing but whether the server is well.
pub async fn check_host<B: MessageBody + 'static>(
    check: web::Data<HostCheck>,
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    if matches!(request.path(), "/health" | "/health/ready") {
        return Ok(next.call(request).await?.map_into_left_body());
    }
    match check.check(&request) {
        Ok(()) => Ok(next.call(request).await?.map_into_left_body()),
        Err(refusal) => {
            if let Some(limiter) = request.app_data::<web::Data<Limiter>>() {
                limiter.hit(Limit::Hosts);
            }
            Ok(request.error_response(HttpError::from(refusal)).map_into_right_body())
        }
    }
}
