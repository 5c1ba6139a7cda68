//! Which web pages may talk to the server: a browser names the page's origin, and nobody else does.

/// The list of `server.allowed_origins`.
#[derive(Clone, Debug)]
pub struct Origins {
    allowed: Vec<String>,
}

impl Origins {
    /// `*` allows every page.
    pub fn new(allowed: &[String]) -> Self {
        Self { allowed: allowed.iter().map(|origin| origin.trim_end_matches('/').to_ascii_lowercase()).collect() }
    }

    /// `origin` and `host` are the headers of a request. A page of this server is always allowed; behind a proxy that is
    /// one with the host that the proxy passes on.
    pub fn allows(&self, origin: &str, host: Option<&str>) -> bool {
        let origin = origin.to_ascii_lowercase();
        self.allowed.iter().any(|allowed| *allowed == "*" || *allowed == origin)
            || host.is_some_and(|host| is_of_host(&origin, &host.to_ascii_lowercase()))
    }
}

/// The scheme is not compared but for its port: whether there is TLS in front is not known here.
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
        assert!(Origins::new(&["*".to_owned()]).allows("http://evil.example", Some("chat.example.org")));
        assert!(Origins::new(&["null".to_owned()]).allows("null", Some("chat.example.org")));
    }
}
