//! `GET /metrics`: the Prometheus endpoint and its access rules.

use crate::{
    api_error::InternalError,
    auth::Identity,
    config::{MetricsConfig, parse_network},
    http::{
        error::{ErrorBody, HttpError},
        extract::{client_address, require_operator},
    },
    limiter::Limiter,
    logging,
    metrics::{ConnectionCount, Format, LimitCount, Live, Metrics},
    process::Process,
    registry::{ConnectionManager, GetStats, RegistryStats},
    workflow::{Recorder, Turns},
};
use actix::Addr;
use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{ACCEPT, AUTHORIZATION, CACHE_CONTROL, FORWARDED},
    web,
};
use ipnet::IpNet;
use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};
use switchboard_protocol::{ApiError, ErrorCode};

pub fn routes(cfg: &mut web::ServiceConfig) {
    cfg.service(web::resource("/metrics").route(web::get().to(metrics)));
}

/// Access rules of the metrics endpoint.
pub struct ScrapeRules {
    allowed_addresses: Vec<IpNet>,
    /// Compared by hash, so that timing reveals nothing about the token.
    token_hash: Option<[u8; 32]>,
}

impl ScrapeRules {
    pub fn new(config: &MetricsConfig) -> Self {
        Self {
            allowed_addresses: config.allowed_addresses.iter().filter_map(|text| parse_network(text)).collect(),
            token_hash: config.token.as_ref().map(|token| hash(token.expose_secret())),
        }
    }

    /// # Errors
    /// `FORBIDDEN` if no rule allows the request.
    fn check(&self, request: &HttpRequest, identity: Option<&Identity>) -> Result<(), ApiError> {
        let is_allowed = self.is_allowed_address(request)
            || self.has_token(request)
            || identity.is_some_and(|identity| require_operator(identity).is_ok());
        if is_allowed {
            return Ok(());
        }
        let reason = "Metrics require an address in `metrics.allowed_addresses`, the token `metrics.token`, or an operator's token.";
        Err(ApiError::new(ErrorCode::Forbidden, reason))
    }

    /// A request forwarded by a proxy that is not trusted matches no address: the proxy's own address is often allowed.
    fn is_allowed_address(&self, request: &HttpRequest) -> bool {
        let client = client_address(request).to_canonical();
        let is_forwarded = ["x-forwarded-for", "x-real-ip", FORWARDED.as_str()]
            .iter()
            .any(|header| request.headers().contains_key(*header));
        let is_proxy = request.peer_addr().is_none_or(|peer| peer.ip().to_canonical() == client);
        !(is_forwarded && is_proxy) && self.allowed_addresses.iter().any(|network| network.contains(&client))
    }

    fn has_token(&self, request: &HttpRequest) -> bool {
        let header = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = header.and_then(|value| value.strip_prefix("Bearer "));
        self.token_hash.zip(token).is_some_and(|(known, token)| known == hash(token.trim()))
    }
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}

/// Returns the server's metrics for Prometheus.
///
/// The format is OpenMetrics, or the older text format for clients that accept only `text/plain`. Addresses in
/// `metrics.allowed_addresses` need no token; others need `metrics.token` or an operator's access token.
#[utoipa::path(
    get, path = "/metrics", tag = "health",
    responses(
        (status = 200, description = "The metrics.", content(
            (String = "application/openmetrics-text"), (String = "text/plain"),
        )),
        (status = 403, description = "`FORBIDDEN`", body = ErrorBody),
    ),
    security((), ("bearer" = [])),
)]
#[expect(clippy::too_many_arguments, reason = "one parameter per source of metrics")]
async fn metrics(
    request: HttpRequest,
    identity: Result<Identity, HttpError>,
    rules: web::Data<ScrapeRules>,
    metrics: web::Data<Metrics>,
    registry: web::Data<Addr<ConnectionManager>>,
    turns: web::Data<Turns>,
    limiter: web::Data<Limiter>,
    recorder: web::Data<Recorder>,
) -> Result<HttpResponse, HttpError> {
    rules.check(&request, identity.as_ref().ok())?;
    let stats = registry.send(GetStats).await.map_err(|error| ApiError::internal(&error))?;
    let live = live(&stats, &turns, &limiter, &recorder);
    let accept = request.headers().get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (format, metrics) = (Format::accepted(accept), metrics.into_inner());
    // Reading /proc and encoding the page would delay tokens on this thread.
    let page = web::block(move || metrics.expose(live, Process::statistics_of_this().ok(), format));
    let page = page.await.map_err(|error| ApiError::internal(&error))?.map_err(|error| ApiError::internal(&error))?;
    Ok(HttpResponse::Ok().content_type(format.content_type()).insert_header((CACHE_CONTROL, "no-store")).body(page))
}

fn live(stats: &RegistryStats, turns: &Turns, limiter: &Limiter, recorder: &Recorder) -> Live {
    let connections = stats.by_state.iter().map(|alike| ConnectionCount {
        state: alike.state.as_str(),
        dialect: alike.dialect,
        connections: alike.connections,
    });
    let of_turns = turns.stats();
    Live {
        accepting: turns.check_open().is_ok(),
        connections: connections.collect(),
        users: stats.users,
        connections_opened: stats.opened,
        connections_stalled: stats.stalled,
        tokens_sent: stats.tokens_sent,
        bytes_waiting: stats.bytes_waiting,
        turns_running: of_turns.running_turns,
        max_running_turns: of_turns.max_running_turns,
        turns_waiting: of_turns.waiting_turns,
        turns_retained: of_turns.retained_turns,
        turns_started: of_turns.started_turns,
        answers_unstored: recorder.unstored(),
        log_lines_lost: logging::lost_lines(),
        limits: limiter.hits().each().map(|(limit, hits)| LimitCount { limit, hits }).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        auth::test_support::{access_token, tokens, user},
        config::ServerConfig,
        domain::Role,
        limiter::client_addresses,
    };
    use actix_web::test::TestRequest;

    const TOKEN: &str = "a-token-of-the-tests";

    fn is_allowed(
        peer: &str,
        headers: &[(&'static str, &str)],
        trusted_proxies: &[&str],
        rules: &MetricsConfig,
    ) -> bool {
        let trusted_proxies = trusted_proxies.iter().map(|text| (*text).to_owned()).collect();
        let addresses = client_addresses(&ServerConfig { trusted_proxies, ..ServerConfig::default() });
        let mut request = TestRequest::default()
            .peer_addr((peer.parse::<std::net::IpAddr>().unwrap(), 1).into())
            .app_data(web::Data::new(addresses));
        for header in headers {
            request = request.insert_header(*header);
        }
        ScrapeRules::new(rules).check(&request.to_http_request(), None).is_ok()
    }

    #[test]
    fn by_default_only_loopback_is_allowed() {
        let rules = MetricsConfig::default();
        for peer in ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"] {
            assert!(is_allowed(peer, &[], &[], &rules), "{peer}");
        }
        for peer in ["10.0.0.1", "2001:db8::1", "::ffff:10.0.0.1"] {
            assert!(!is_allowed(peer, &[], &[], &rules), "{peer}");
        }
    }

    #[test]
    fn requests_through_a_proxy_on_this_host_are_refused() {
        let rules = MetricsConfig::default();
        for header in ["x-forwarded-for", "x-real-ip", "forwarded"] {
            assert!(!is_allowed("127.0.0.1", &[(header, "203.0.113.9")], &[], &rules), "{header}");
            assert!(!is_allowed("127.0.0.1", &[(header, "127.0.0.1")], &[], &rules), "{header}");
        }
        let through = |client| is_allowed("10.0.0.2", &[("x-forwarded-for", client)], &["10.0.0.2"], &rules);
        assert!(through("127.0.0.1") && !through("203.0.113.9") && !through("unknown"));
    }

    #[test]
    fn the_token_is_accepted_from_any_address() {
        let rules = MetricsConfig { allowed_addresses: Vec::new(), token: Some(TOKEN.into()) };
        let with = |header: &str| is_allowed("203.0.113.9", &[("authorization", header)], &[], &rules);
        assert!(with(&format!("Bearer {TOKEN}")));
        for wrong in ["", "Bearer", "Bearer ", TOKEN, "Bearer a-token-of-the-test", "Basic a-token-of-the-tests"] {
            assert!(!with(wrong), "{wrong:?}");
        }
        assert!(!is_allowed("127.0.0.1", &[], &[], &rules), "no address is allowed");
        let without = MetricsConfig { token: None, ..rules };
        assert!(!is_allowed("203.0.113.9", &[("authorization", "Bearer ")], &[], &without));
    }

    #[test]
    fn only_operators_among_signed_in_users_are_allowed() {
        let rules = ScrapeRules::new(&MetricsConfig { allowed_addresses: Vec::new(), token: None });
        let request = TestRequest::default().to_http_request();
        for role in Role::ALL {
            let token = access_token(&user("ada@example.org", role));
            let identity = tokens().verify_access(&token).unwrap();
            assert_eq!(rules.check(&request, Some(&identity)).is_ok(), role == Role::Operator, "{role}");
        }
    }
}
