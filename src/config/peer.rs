//! How a setting names others: networks and the origins of web pages.

use ipnet::IpNet;
use std::net::IpAddr;

/// A network such as `10.0.0.0/8`, or a single address.
pub fn parse_network(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

/// Whether a setting is an origin as browsers write it.
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
    fn a_network_may_be_one_address() {
        assert_eq!(parse_network("192.0.2.1").unwrap().to_string(), "192.0.2.1/32");
        assert_eq!(parse_network("2001:db8::/32").unwrap().to_string(), "2001:db8::/32");
        assert!(
            ["", "10.0.0.0/33", "proxy.example.org", "10.0.0"].into_iter().all(|text| parse_network(text).is_none())
        );
    }
}
