//! Validation of the `Host` header.
//!
//! A web page can make its own name resolve to this server's address (DNS rebinding). The browser then treats its requests as
//! same-origin, and only the name in `Host` distinguishes them from those of the server's own pages.

use crate::config::HostPattern;
use std::net::IpAddr;

/// The longest name in the DNS, in characters.
const MAX_NAME_CHARS: usize = 253;

/// The hosts of `server.allowed_hosts`. Loopback names and addresses are always allowed.
#[derive(Clone, Debug)]
pub struct AllowedHosts {
    patterns: Vec<HostPattern>,
}

/// The reason why a request is refused, for logs and errors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RefusedHost {
    /// No `Host`, or more than one: it is unknown which one an intermediary used.
    NotOne,
    /// Not a host with an optional port.
    Malformed,
    /// A name or an address that is not allowed.
    NotAllowed(String),
}

impl AllowedHosts {
    /// `allowed` is `server.allowed_hosts`. If it is empty, a server that is bound to loopback allows loopback names and `own`
    /// (`server.host`), and any other server allows every name.
    pub fn new(allowed: &[String], own: &str, bound: &[IpAddr]) -> Self {
        let patterns: Vec<HostPattern> = allowed.iter().filter_map(|text| HostPattern::parse(text)).collect();
        if !patterns.is_empty() {
            return Self { patterns };
        }
        if bound.iter().any(|address| !address.to_canonical().is_loopback()) {
            return Self { patterns: vec![HostPattern::Any] };
        }
        Self { patterns: HostPattern::parse(own).into_iter().collect() }
    }

    /// Whether every name is allowed.
    pub fn is_any(&self) -> bool {
        self.patterns.contains(&HostPattern::Any)
    }

    /// Checks the values of `Host`, and the authority of a request target in absolute form, which counts instead of `Host`
    /// (RFC 9112, 3.2.2): both must be allowed.
    ///
    /// # Errors
    /// The reason. If every name is allowed, `Host` may be absent, as in HTTP/1.0.
    pub fn check<'a>(
        &self,
        mut hosts: impl Iterator<Item = &'a [u8]>,
        target: Option<&'a str>,
    ) -> Result<(), RefusedHost> {
        let host = hosts.next();
        if hosts.next().is_some() || (host.is_none() && !self.is_any()) {
            return Err(RefusedHost::NotOne);
        }
        for named in [host, target.map(str::as_bytes)].into_iter().flatten() {
            let host = Host::parse(named).ok_or(RefusedHost::Malformed)?;
            if !self.allows(&host) {
                return Err(RefusedHost::NotAllowed(host.to_string()));
            }
        }
        Ok(())
    }

    fn allows(&self, host: &Host) -> bool {
        host.is_loopback()
            || self.patterns.iter().any(|pattern| match (pattern, host) {
                (HostPattern::Any, _) => true,
                (HostPattern::Address(allowed), Host::Address(address)) => allowed == address,
                (HostPattern::Name(allowed), Host::Name(name)) => allowed == name,
                (HostPattern::Subdomains(parent), Host::Name(name)) => {
                    name.strip_suffix(parent.as_str()).is_some_and(|label| label.len() > 1 && label.ends_with('.'))
                }
                _ => false,
            })
    }
}

/// The host of a request, without its port.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    /// In lower case, without a trailing dot.
    Name(String),
    Address(IpAddr),
}

impl Host {
    /// Returns `None` for anything but a host with an optional port, such as one with user information.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (address, rest) = rest.split_once(']')?;
                let port = rest.is_empty().then_some("").or_else(|| rest.strip_prefix(':'))?;
                let address: std::net::Ipv6Addr = address.parse().ok()?;
                (Self::Address(IpAddr::V6(address).to_canonical()), port)
            }
            None => {
                let (name, port) = text.split_once(':').unwrap_or((text, ""));
                (Self::parse_name(name)?, port)
            }
        };
        let is_port =
            port.is_empty() || (port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok());
        is_port.then_some(host)
    }

    fn parse_name(text: &str) -> Option<Self> {
        let name = text.strip_suffix('.').unwrap_or(text);
        if let Ok(address) = name.parse::<std::net::Ipv4Addr>() {
            return Some(Self::Address(address.into()));
        }
        let is_label = |label: &str| {
            !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        };
        let is_name = name.len() <= MAX_NAME_CHARS && name.split('.').all(is_label);
        is_name.then(|| Self::Name(name.to_ascii_lowercase()))
    }

    fn is_loopback(&self) -> bool {
        match self {
            Self::Address(address) => address.is_loopback(),
            Self::Name(name) => name == "localhost" || name.ends_with(".localhost"),
        }
    }
}

impl std::fmt::Display for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(address) => address.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOPBACK: [IpAddr; 1] = [IpAddr::V4(std::net::Ipv4Addr::LOCALHOST)];
    const EVERYWHERE: [IpAddr; 1] = [IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED)];

    fn hosts(allowed: &[&str], bound: &[IpAddr]) -> AllowedHosts {
        let allowed: Vec<String> = allowed.iter().map(|text| (*text).to_owned()).collect();
        AllowedHosts::new(&allowed, "127.0.0.1", bound)
    }

    fn check(hosts: &AllowedHosts, host: &str) -> Result<(), RefusedHost> {
        hosts.check([host.as_bytes()].into_iter(), None)
    }

    #[test]
    fn a_server_on_loopback_allows_only_loopback_names() {
        let hosts = hosts(&[], &LOOPBACK);
        for host in [
            "localhost",
            "LOCALHOST:8000",
            "localhost.",
            "localhost:",
            "app.localhost:3000",
            "127.0.0.1",
            "127.0.0.1:8000",
            "127.8.9.10:65535",
            "[::1]",
            "[::1]:8000",
            "[::ffff:127.0.0.1]:8000",
        ] {
            assert_eq!(check(&hosts, host), Ok(()), "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:8000",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "notlocalhost",
            "192.168.1.5",
            "0.0.0.0:8000",
            "[::]",
            "[2001:db8::1]:8000",
        ] {
            assert!(matches!(check(&hosts, host), Err(RefusedHost::NotAllowed(_))), "{host}");
        }
    }

    #[test]
    fn a_host_is_a_name_and_an_optional_port() {
        let everywhere = hosts(&["*"], &EVERYWHERE);
        for host in [
            "",
            ".",
            ":8000",
            "user@localhost",
            "user:password@localhost",
            "localhost:80:80",
            "localhost:http",
            "localhost:65536",
            "localhost:+80",
            "localhost:-1",
            "local host",
            "localhost/",
            "localhost?x",
            "localhost#x",
            "local\thost",
            "localhost,evil.example",
            "a..b",
            "::1",
            "[::1",
            "[::1]x",
            "[localhost]",
            "[127.0.0.1]",
            "[fe80::1%25eth0]",
            "löcalhost",
            "%6cocalhost",
        ] {
            for hosts in [&everywhere, &hosts(&[], &LOOPBACK)] {
                assert_eq!(check(hosts, host), Err(RefusedHost::Malformed), "{host:?}");
            }
        }
        assert_eq!(everywhere.check([&b"localhost\xff"[..]].into_iter(), None), Err(RefusedHost::Malformed));
    }

    #[test]
    fn a_request_must_name_exactly_one_host() {
        let (local, any) = (hosts(&[], &LOOPBACK), hosts(&[], &EVERYWHERE));
        assert!(any.is_any() && !local.is_any());
        let two = || [&b"localhost"[..], b"localhost"].into_iter();
        assert_eq!(local.check(two(), None), Err(RefusedHost::NotOne));
        assert_eq!(any.check(two(), None), Err(RefusedHost::NotOne));
        assert_eq!(local.check([].into_iter(), None), Err(RefusedHost::NotOne));
        assert_eq!(any.check([].into_iter(), None), Ok(()));
        let one = || [&b"localhost:8000"[..]].into_iter();
        assert_eq!(local.check(one(), Some("127.0.0.1:8000")), Ok(()));
        let evil = Err(RefusedHost::NotAllowed("evil.example".to_owned()));
        assert_eq!(local.check(one(), Some("evil.example:8000")), evil);
        assert_eq!(local.check([&b"evil.example"[..]].into_iter(), Some("localhost")), evil);
        assert_eq!(local.check(one(), Some("user@localhost")), Err(RefusedHost::Malformed));
    }

    #[test]
    fn configured_hosts_replace_any_name_and_keep_loopback() {
        let listed = hosts(&["Chat.example.org", "*.apps.example.org", "192.0.2.7", "[2001:db8::7]"], &EVERYWHERE);
        for host in [
            "chat.example.org",
            "CHAT.EXAMPLE.ORG.:443",
            "a.apps.example.org",
            "a.b.apps.example.org:8443",
            "192.0.2.7:8000",
            "[2001:db8:0::7]",
            "localhost:8000",
            "127.0.0.1",
        ] {
            assert_eq!(check(&listed, host), Ok(()), "{host}");
        }
        for host in ["apps.example.org", "evilapps.example.org", ".apps.example.org", "example.org", "192.0.2.8"] {
            assert!(check(&listed, host).is_err(), "{host}");
        }
        assert_eq!(check(&hosts(&["*"], &LOOPBACK), "evil.example"), Ok(()));
        let own = AllowedHosts::new(&[], "workstation", &LOOPBACK);
        assert!(check(&own, "workstation:8000").is_ok() && check(&own, "evil.example").is_err());
    }
}
