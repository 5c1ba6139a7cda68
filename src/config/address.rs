//! Syntax of hosts, networks and origins of web pages in settings.

use ipnet::IpNet;
use std::net::{IpAddr, Ipv6Addr};

/// Longest name in the DNS, in characters.
const MAX_NAME_CHARS: usize = 253;

/// An entry of `server.allowed_hosts`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostPattern {
    /// `*`: any host.
    Any,
    /// In lower case.
    Name(String),
    /// `*.example.org`: any name below this one.
    Subdomains(String),
    Address(IpAddr),
}

impl HostPattern {
    /// Parses an entry; `None` if it is not a host, for example because it has a port.
    pub fn parse(text: &str) -> Option<Self> {
        let in_brackets = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
        if text == "*" {
            Some(Self::Any)
        } else if let Some(address) = text.parse::<IpAddr>().ok().or_else(in_brackets) {
            Some(Self::Address(address.to_canonical()))
        } else if let Some(parent) = text.strip_prefix("*.") {
            is_name(parent).then(|| Self::Subdomains(parent.to_ascii_lowercase()))
        } else {
            is_name(text).then(|| Self::Name(text.to_ascii_lowercase()))
        }
    }
}

fn is_name(text: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    text.len() <= MAX_NAME_CHARS && text.split('.').all(is_label)
}

/// Parses a network such as `10.0.0.0/8`, or a single address.
pub fn parse_network(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

/// Whether `text` is an origin as browsers send it.
pub(super) fn is_origin(text: &str) -> bool {
    let Some((scheme, authority)) = text.split_once("://") else { return matches!(text, "*" | "null") };
    let is_clean = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'/' | b'?' | b'#' | b'@' | b'*' | b',');
    !scheme.is_empty()
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
        && !authority.is_empty()
        && authority.bytes().all(is_clean)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_has_no_path() {
        assert!(
            ["https://a.example", "http://localhost:3000", "capacitor://localhost", "*", "null"]
                .into_iter()
                .all(is_origin)
        );
        assert!(
            !["a.example", "https://", "https://a/b", "https://*.example", "https://u@a", ""]
                .into_iter()
                .any(is_origin)
        );
    }

    #[test]
    fn an_allowed_host_has_no_port() {
        let parse = HostPattern::parse;
        assert_eq!(parse("*"), Some(HostPattern::Any));
        assert_eq!(parse("Chat.Example.org"), Some(HostPattern::Name("chat.example.org".to_owned())));
        assert_eq!(parse("*.example.org"), Some(HostPattern::Subdomains("example.org".to_owned())));
        assert_eq!(parse("[::ffff:192.0.2.7]"), Some(HostPattern::Address([192, 0, 2, 7].into())));
        assert_eq!(parse("2001:db8::7"), parse("[2001:db8:0::7]"));
        for text in ["", "a:80", "[::1]:80", "http://a", "a/b", "*.", "*a.b", "a.*.b", ".a", "a..b", "a.", "ä.example"]
        {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_network_may_be_one_address() {
        assert_eq!(parse_network("192.0.2.1").unwrap().to_string(), "192.0.2.1/32");
        assert_eq!(parse_network("2001:db8::/32").unwrap().to_string(), "2001:db8::/32");
        assert!(
            ["", "10.0.0.0/33", "proxy.example.org", "10.0.0"].into_iter().all(|text| parse_network(text).is_none())
        );
    }
}
