//! Validation of the `Origin` header, which browsers send with the origin of the web page.

use crate::config::Environment;
use actix_web::http::uri::Authority;
use std::{
    collections::VecDeque,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

/// Number of refused origins that are remembered, so that each is logged once.
const REFUSED_ORIGINS: usize = 32;

/// The list of `server.allowed_origins`.
#[derive(Clone, Debug)]
pub struct Origins {
    allowed: Vec<String>,
    /// Whether pages of this machine are allowed on every port, for development servers such as Vite.
    allows_local: bool,
    /// The most recently refused origins.
    refused: Arc<Mutex<VecDeque<String>>>,
}

impl Origins {
    /// `*` allows every page.
    pub fn new(allowed: &[String]) -> Self {
        let allowed = allowed.iter().map(|origin| origin.trim_end_matches('/').to_ascii_lowercase()).collect();
        Self { allowed, allows_local: false, refused: Arc::default() }
    }

    /// The origins of a configuration. In development an empty list allows the pages of this machine.
    pub fn of(env: Environment, allowed: &[String]) -> Self {
        Self { allows_local: env == Environment::Development && allowed.is_empty(), ..Self::new(allowed) }
    }

    /// Remembers a refused origin. Returns whether it is new and should be logged.
    pub fn is_new(&self, origin: &str) -> bool {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if refused.iter().any(|known| known == origin) {
            return false;
        }
        if refused.len() == REFUSED_ORIGINS {
            refused.pop_front();
        }
        refused.push_back(origin.to_owned());
        true
    }

    /// Whether a page of `origin` may use the server. `host` is the request's `Host`, which a proxy has to pass
    /// on; a page of that host is always allowed.
    pub fn allows(&self, origin: &str, host: Option<&str>) -> bool {
        let origin = origin.to_ascii_lowercase();
        self.allowed.iter().any(|allowed| *allowed == "*" || *allowed == origin)
            || (self.allows_local && is_local(&origin))
            || host.is_some_and(|host| is_of_host(&origin, &host.to_ascii_lowercase()))
    }
}

/// Whether an origin is on this machine, by the rules of browsers.
fn is_local(origin: &str) -> bool {
    let Some(authority) = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://")) else {
        return false;
    };
    let Ok(authority) = authority.parse::<Authority>() else { return false };
    let (host, port) = (authority.host(), authority.port_u16().map(|port| format!(":{port}")).unwrap_or_default());
    // The authority must be a host and a port only.
    format!("{host}{port}") == authority.as_str()
        && (host == "localhost"
            || host.ends_with(".localhost")
            || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|address| address.is_loopback()))
}

/// Compares host and port. The scheme only determines the default port, because TLS may be terminated by a proxy.
fn is_of_host(origin: &str, host: &str) -> bool {
    let Some((scheme, authority)) = origin.split_once("://") else { return false };
    let default_port = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => return false,
    };
    let without_default = |text: &'_ str| text.strip_suffix(default_port).unwrap_or(text).to_owned();
    !authority.is_empty() && without_default(authority) == without_default(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_origin_is_new_once() {
        let origins = Origins::new(&[]);
        assert!(origins.is_new("http://a.example") && !origins.clone().is_new("http://a.example"));
        assert!((0..REFUSED_ORIGINS).all(|n| origins.is_new(&format!("http://{n}.example"))));
        assert!(origins.is_new("http://a.example"));
    }

    #[test]
    fn pages_of_this_server_and_of_the_list_are_allowed() {
        let origins = Origins::new(&["https://App.example.org".to_owned(), "http://localhost:3000/".to_owned()]);
        for (origin, host, allowed) in [
            ("http://chat.example.org", Some("chat.example.org"), true),
            ("https://chat.example.org", Some("chat.example.org:443"), true),
            ("http://CHAT.example.org:8000", Some("chat.example.org:8000"), true),
            ("http://[::1]:8000", Some("[::1]:8000"), true),
            ("https://app.example.org", Some("chat.example.org"), true),
            ("http://localhost:3000", Some("localhost:8000"), true),
            ("http://localhost:3001", Some("localhost:8000"), false),
            ("http://app.example.org", Some("chat.example.org"), false),
            ("https://app.example.org.evil.example", Some("chat.example.org"), false),
            ("http://evil.example", Some("chat.example.org"), false),
            ("http://chat.example.org:81", Some("chat.example.org"), false),
            ("http://chat.example.org", None, false),
            ("null", Some("chat.example.org"), false),
            ("", Some(""), false),
            ("http://", Some(""), false),
            ("chat.example.org", Some("chat.example.org"), false),
            ("file://chat.example.org", Some("chat.example.org"), false),
        ] {
            assert_eq!(origins.allows(origin, host), allowed, "{origin:?} at {host:?}");
        }
        let development = Origins::of(Environment::Development, &[]);
        for (origin, allowed) in [
            ("http://localhost:5173", true),
            ("https://localhost", true),
            ("http://LOCALHOST:1", true),
            ("http://app.localhost:5173", true),
            ("http://127.0.0.1:5173", true),
            ("http://127.8.8.8", true),
            ("http://[::1]:5173", true),
            ("http://localhost.evil.example:5173", false),
            ("http://localhost@evil.example", false),
            ("http://evillocalhost", false),
            ("http://127.0.0.1.evil.example", false),
            ("http://192.168.1.7:5173", false),
            ("http://[::2]:5173", false),
            ("http://localhost:5173/path", false),
            ("http://localhost:", false),
            ("http://localhost:99999", false),
            ("ftp://localhost", false),
            ("http://", false),
            ("null", false),
        ] {
            assert_eq!(development.allows(origin, Some("chat.example.org")), allowed, "{origin:?}");
            for strict in [
                Origins::of(Environment::Production, &[]),
                Origins::of(Environment::Development, &["https://app.example.org".to_owned()]),
            ] {
                assert!(!strict.allows(origin, Some("chat.example.org")), "{origin:?}");
            }
        }
        assert!(Origins::new(&["*".to_owned()]).allows("http://evil.example", Some("chat.example.org")));
        assert!(Origins::new(&["null".to_owned()]).allows("null", Some("chat.example.org")));
    }
}
