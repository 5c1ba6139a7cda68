//! Access rules of the metrics endpoint.

use crate::config::{MetricsConfig, parse_network};
use actix_web::{
    HttpRequest,
    http::header::{AUTHORIZATION, FORWARDED},
};
use ipnet::IpNet;
use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};
use std::net::IpAddr;
use switchboard_protocol::{ApiError, ErrorCode};

/// The addresses and the token that may read the metrics.
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

    /// Checks a request of `client`.
    ///
    /// # Errors
    /// `FORBIDDEN` if no rule allows the request.
    pub fn check(&self, request: &HttpRequest, client: IpAddr, is_operator: bool) -> Result<(), ApiError> {
        if is_operator || self.is_allowed_address(request, client.to_canonical()) || self.has_token(request) {
            return Ok(());
        }
        let reason = "Metrics require an address in `metrics.allowed_addresses`, the token `metrics.token`, or an operator's token.";
        Err(ApiError::new(ErrorCode::Forbidden, reason))
    }

    /// A request forwarded by a proxy that is not trusted matches no address: the proxy's own address is often allowed.
    fn is_allowed_address(&self, request: &HttpRequest, client: IpAddr) -> bool {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        auth::test_support::{access_token, tokens, user},
        config::ServerConfig,
        domain::Role,
        http::extract::require_operator,
        limiter::client_addresses,
    };
    use actix_web::test::TestRequest;
    use std::net::Ipv4Addr;

    const TOKEN: &str = "a-token-of-the-tests";

    fn is_allowed(
        peer: &str,
        headers: &[(&'static str, &str)],
        trusted_proxies: &[&str],
        rules: &MetricsConfig,
    ) -> bool {
        let trusted_proxies = trusted_proxies.iter().map(|text| (*text).to_owned()).collect();
        let addresses = client_addresses(&ServerConfig { trusted_proxies, ..ServerConfig::default() });
        let peer = peer.parse().unwrap();
        let mut request = TestRequest::default().peer_addr((peer, 1).into());
        for header in headers {
            request = request.insert_header(*header);
        }
        let forwarded = headers.iter().filter(|(name, _)| *name == "x-forwarded-for");
        let client = addresses.client(peer, forwarded.map(|(_, value)| value.as_bytes()));
        ScrapeRules::new(rules).check(&request.to_http_request(), client, false).is_ok()
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
            assert_eq!(
                rules.check(&request, Ipv4Addr::LOCALHOST.into(), require_operator(&identity).is_ok()).is_ok(),
                role == Role::Operator,
                "{role}"
            );
        }
    }
}
