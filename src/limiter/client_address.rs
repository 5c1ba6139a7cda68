//! The client address of a request behind proxies: `X-Forwarded-For` counts as far as trusted proxies wrote it.

use ipnet::IpNet;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// Determines the address of a client.
pub struct ClientAddresses {
    trusted_proxies: Vec<IpNet>,
}

impl ClientAddresses {
    pub fn new(trusted_proxies: Vec<IpNet>) -> Self {
        Self { trusted_proxies }
    }

    /// `peer` is the other end of the connection, `forwarded` the values of `X-Forwarded-For` in the order of the headers. They
    /// are bytes, because clients may send anything and proxies append to it.
    ///
    /// Each proxy appends the address of its own peer. The list is therefore read from the right, one trusted proxy at a time;
    /// the first address that is not a trusted proxy is the client, and everything to the left of it was chosen by the client.
    /// If an element is not an address, the client is the proxy that appended it.
    pub fn client<'a>(&self, peer: IpAddr, forwarded: impl DoubleEndedIterator<Item = &'a [u8]>) -> IpAddr {
        let mut client = peer.to_canonical();
        for element in forwarded.rev().flat_map(|header| header.rsplit(|byte| *byte == b',')) {
            if !self.is_trusted(client) {
                break;
            }
            let Some(address) = parse_element(element) else { break };
            client = address;
        }
        client
    }

    /// Whether this is the address of a trusted proxy, which represents many clients.
    pub fn is_trusted(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.trusted_proxies.iter().any(|network| network.contains(&address))
    }
}

/// Parses an address with or without a port, as proxies write it: `192.0.2.1`, `192.0.2.1:5123`, `2001:db8::1`, `[2001:db8::1]` or
/// `[2001:db8::1]:5123`.
fn parse_element(element: &[u8]) -> Option<IpAddr> {
    let element = std::str::from_utf8(element).ok()?.trim_matches([' ', '\t']);
    let in_brackets = || element.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    let with_port = || element.parse::<SocketAddr>().ok().map(|socket| socket.ip());
    let address = element.parse::<IpAddr>().ok().or_else(in_brackets).or_else(with_port)?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn addresses(trusted: &[&str]) -> ClientAddresses {
        ClientAddresses::new(trusted.iter().map(|text| crate::config::parse_network(text).unwrap()).collect())
    }

    fn client(trusted: &[&str], peer: &str, forwarded: &[&[u8]]) -> String {
        addresses(trusted).client(peer.parse().unwrap(), forwarded.iter().copied()).to_string()
    }

    #[test]
    fn the_header_is_ignored_without_a_trusted_proxy() {
        assert_eq!(client(&[], "198.51.100.7", &[b"203.0.113.9"]), "198.51.100.7");
        assert_eq!(client(&["10.0.0.0/8"], "198.51.100.7", &[b"203.0.113.9"]), "198.51.100.7");
    }

    #[test]
    fn the_list_is_read_from_the_right_through_trusted_proxies_only() {
        let trusted = ["10.0.0.0/8", "2001:db8::5"];
        for (peer, forwarded, wanted) in [
            ("10.0.0.1", &[] as &[&[u8]], "10.0.0.1"),
            ("10.0.0.1", &[b"203.0.113.9"], "203.0.113.9"),
            // Forged by the client, to the left of the element of the proxy.
            ("10.0.0.1", &[b"1.1.1.1, 203.0.113.9"], "203.0.113.9"),
            ("10.0.0.1", &[b"1.1.1.1", b"203.0.113.9"], "203.0.113.9"),
            ("10.0.0.1", &[b"1.1.1.1\xff, 203.0.113.9"], "203.0.113.9"),
            ("10.0.0.1", &[b"\xff\xfe", b"203.0.113.9"], "203.0.113.9"),
            ("10.0.0.1", &[b"\xc3, 203.0.113.9\t"], "203.0.113.9"),
            ("10.0.0.1", &[b"127.0.0.1, , \", 203.0.113.9"], "203.0.113.9"),
            ("10.0.0.1", &[b"203.0.113.9, 10.0.0.2"], "203.0.113.9"),
            ("10.0.0.1", &[b"203.0.113.9", b"2001:db8::5 , 10.0.0.2"], "203.0.113.9"),
            ("10.0.0.1", &[b"1.1.1.1, 10.9.9.9, 203.0.113.9, 10.0.0.2"], "203.0.113.9"),
            ("::ffff:10.0.0.1", &[b"203.0.113.9:5123"], "203.0.113.9"),
            ("10.0.0.1", &[b"::ffff:203.0.113.9"], "203.0.113.9"),
            ("10.0.0.1", &[b"1.1.1.1, [::ffff:10.0.0.7]:80"], "1.1.1.1"),
            ("10.0.0.1", &[b"[2001:db8::9]:443"], "2001:db8::9"),
            ("10.0.0.1", &[b"[2001:db8::9]"], "2001:db8::9"),
            ("10.0.0.1", &[b"10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ] {
            assert_eq!(client(&trusted, peer, forwarded), wanted, "{peer} {forwarded:?}");
        }
    }

    #[test]
    fn an_element_that_is_not_an_address_yields_the_proxy_that_wrote_it() {
        for element in [
            "",
            "unknown",
            "_hidden",
            "1.1.1.1 1.1.1.2",
            "1.1.1",
            "1.1.1.1:",
            "1.1.1.1:x",
            "1.1.1.1:99999",
            "[1.1.1.1]",
            "\"1.1.1.1\"",
            "for=1.1.1.1",
            "2001:db8::9%eth0",
            "[2001:db8::9",
            "2001:db8::9]",
            "1.1.1.1\u{a0}",
        ] {
            let list = format!("1.1.1.1, {element}");
            assert_eq!(client(&["10.0.0.0/8"], "10.0.0.1", &[list.as_bytes()]), "10.0.0.1", "{element:?}");
            let list = format!("1.1.1.1, {element}, 10.0.0.2");
            assert_eq!(client(&["10.0.0.0/8"], "10.0.0.1", &[list.as_bytes()]), "10.0.0.2", "{element:?}");
        }
    }

    /// Header values that a client may send: any bytes that are valid in a header.
    fn lines() -> impl Strategy<Value = Vec<Vec<u8>>> {
        let junk = prop::collection::vec(prop_oneof![Just(b','), Just(b' '), 0x21..=0x7e_u8, 0x80..=0xff_u8], 0..40);
        let forged = prop::sample::select(vec![
            &b"127.0.0.1"[..],
            b"10.0.0.1",
            b"10.0.0.1, 10.0.0.1",
            b"[::1]:80",
            b"::ffff:127.0.0.1",
            b"for=127.0.0.1",
        ]);
        prop::collection::vec(prop_oneof![junk, forged.prop_map(<[u8]>::to_vec)], 0..6)
    }

    fn joined(lines: &[Vec<u8>]) -> impl DoubleEndedIterator<Item = &[u8]> {
        lines.iter().map(Vec::as_slice)
    }

    proptest! {
        #[test]
        fn forged_elements_do_not_change_the_result_of_a_trusted_proxy(
            mut sent in lines(),
            seen in any::<[u8; 4]>().prop_map(|bytes| IpAddr::from([203, bytes[1], bytes[2], bytes[3]])),
            form in 0..4_u8,
            is_appended in any::<bool>(),
            hops in 0..3_usize,
        ) {
            let written = match (form, seen) {
                (0, _) => seen.to_string(),
                (1, _) => format!("{seen}:443"),
                (2, IpAddr::V4(v4)) => v4.to_ipv6_mapped().to_string(),
                (_, IpAddr::V4(v4)) => format!("[{}]:443", v4.to_ipv6_mapped()),
                (_, IpAddr::V6(v6)) => v6.to_string(),
            };
            let mut tail = written.into_bytes();
            for hop in 0..hops {
                tail.extend_from_slice(format!(", 10.1.1.{hop}").as_bytes());
            }
            match sent.last_mut().filter(|_| is_appended) {
                Some(last) => {
                    last.extend_from_slice(b", ");
                    last.extend_from_slice(&tail);
                }
                None => sent.push(tail),
            }
            prop_assert_eq!(addresses(&["10.0.0.0/8"]).client([10, 0, 0, 1].into(), joined(&sent)), seen);
        }

        #[test]
        fn the_header_of_an_untrusted_peer_is_ignored(sent in lines(), peer in any::<[u8; 16]>()) {
            let peer = IpAddr::from(peer);
            prop_assume!(!addresses(&["10.0.0.0/8"]).is_trusted(peer));
            prop_assert_eq!(addresses(&["10.0.0.0/8"]).client(peer, joined(&sent)), peer.to_canonical());
        }
    }
}
