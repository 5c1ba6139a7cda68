//! Names by which clients may address the server.

use crate::{
    config::ServerConfig,
    limiter::{AllowedHosts, RefusedHost},
    limits::REFUSED_REQUEST_LOG_INTERVAL,
    logging::LogInterval,
};
use actix_web::{dev::ServiceRequest, http::header::HOST};
use std::{io, net::TcpListener, time::Instant};
use switchboard_protocol::{ApiError, ErrorCode};

/// The check, shared by the whole server.
pub struct HostCheck {
    allowed: AllowedHosts,
    refusals: LogInterval,
}

impl HostCheck {
    /// Logs a warning if every name is allowed because none is configured.
    ///
    /// # Errors
    /// When the address of a listener cannot be read.
    pub fn new(config: &ServerConfig, listeners: &[TcpListener]) -> io::Result<Self> {
        let bound = listeners.iter().map(|listener| Ok(listener.local_addr()?.ip())).collect::<io::Result<Vec<_>>>()?;
        let allowed = AllowedHosts::new(&config.allowed_hosts, &config.host, &bound);
        if config.allowed_hosts.is_empty() && allowed.is_any() {
            log::warn!(
                "the server accepts every host name, which allows DNS rebinding: set server.allowed_hosts to its own names, such \
                 as [\"chat.example.org\"]"
            );
        }
        Ok(Self { allowed, refusals: LogInterval::new(REFUSED_REQUEST_LOG_INTERVAL) })
    }

    /// # Errors
    /// `HOST_NOT_ALLOWED` if `Host` is missing, repeated, malformed, or no name of this server.
    pub fn check(&self, request: &ServiceRequest) -> Result<(), ApiError> {
        let hosts = request.headers().get_all(HOST).map(|value| value.as_bytes());
        let target = request.uri().authority().map(|authority| authority.as_str());
        self.allowed.check(hosts, target).map_err(|refused| {
            self.log(&refused);
            let message = match refused {
                RefusedHost::NotOne => "A request must have exactly one `Host` header; see `server.allowed_hosts`.".to_owned(),
                RefusedHost::Malformed => "`Host` must be a host name or IP address with an optional port; see `server.allowed_hosts`.".to_owned(),
                RefusedHost::NotAllowed(host) => format!(
                    "This server does not accept requests for the host `{host}`. Its operator can add the name to `server.allowed_hosts`."
                ),
            };
            ApiError::new(ErrorCode::HostNotAllowed, message)
        })
    }

    /// Logs a refusal, rate-limited so that a client cannot flood the log.
    fn log(&self, refused: &RefusedHost) {
        let Some(suppressed) = self.refusals.due(Instant::now()) else { return };
        match refused {
            RefusedHost::NotAllowed(host) => log::warn!(
                host, suppressed;
                "refused a request for an unknown host; if it is a name of this server or of a proxy in front of it, add it to \
                 server.allowed_hosts"
            ),
            RefusedHost::NotOne | RefusedHost::Malformed => {
                log::warn!(suppressed; "refused a request whose Host header is missing, repeated or malformed");
            }
        }
    }
}
