//! Where a request comes from, behind proxies: `X-Forwarded-For` is believed only as far as those who wrote it are
//! trusted.

use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};

/// Finds the address of a client.
pub struct ClientAddresses {
    trusted_proxies: Vec<IpNet>,
}

impl ClientAddresses {
    pub fn new(trusted_proxies: Vec<IpNet>) -> Self {
        Self { trusted_proxies }
    }

    /// `peer` is who opened the connection; `forwarded` the values of `X-Forwarded-For`, in the order of the headers.
    ///
    /// Each proxy writes the address it was called from behind what was there. So the list is read from the right, one
    /// trusted proxy at a time; the first address that is no trusted proxy is the client, and what stands left of it is
    /// anybody's word. An entry that is no address ends the reading at the proxy that wrote it.
    pub fn client<'a>(&self, peer: IpAddr, forwarded: impl DoubleEndedIterator<Item = &'a str>) -> IpAddr {
        let mut client = peer.to_canonical();
        for entry in forwarded.rev().flat_map(|header| header.rsplit(',')) {
            if !self.is_trusted(client) {
                break;
            }
            let Some(address) = parse_entry(entry.trim()) else { break };
            client = address.to_canonical();
        }
        client
    }

    fn is_trusted(&self, address: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|network| network.contains(&address))
    }
}

/// An address, with or without a port, as proxies write it.
fn parse_entry(entry: &str) -> Option<IpAddr> {
    let bare = entry.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(entry);
    bare.parse().ok().or_else(|| entry.parse::<SocketAddr>().ok().map(|socket| socket.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(trusted: &[&str], peer: &str, forwarded: &[&str]) -> String {
        let trusted = trusted.iter().map(|text| crate::config::parse_network(text).unwrap()).collect();
        ClientAddresses::new(trusted).client(peer.parse().unwrap(), forwarded.iter().copied()).to_string()
    }

    #[test]
    fn nobodys_word_is_taken_without_a_trusted_proxy() {
        assert_eq!(client(&[], "198.51.100.7", &["203.0.113.9"]), "198.51.100.7");
        assert_eq!(client(&["10.0.0.0/8"], "198.51.100.7", &["203.0.113.9"]), "198.51.100.7");
    }

    #[test]
    fn the_list_is_read_from_the_right_through_trusted_proxies_only() {
        let trusted = ["10.0.0.0/8", "2001:db8::5"];
        for (peer, forwarded, wanted) in [
            ("10.0.0.1", &[] as &[&str], "10.0.0.1"),
            ("10.0.0.1", &["203.0.113.9"], "203.0.113.9"),
            // What the client made up itself stands left of what the proxy saw.
            ("10.0.0.1", &["1.1.1.1, 203.0.113.9"], "203.0.113.9"),
            ("10.0.0.1", &["1.1.1.1", "203.0.113.9"], "203.0.113.9"),
            ("10.0.0.1", &["203.0.113.9, 10.0.0.2"], "203.0.113.9"),
            ("10.0.0.1", &["203.0.113.9", "2001:db8::5 , 10.0.0.2"], "203.0.113.9"),
            ("10.0.0.1", &["1.1.1.1, 10.9.9.9, 203.0.113.9, 10.0.0.2"], "203.0.113.9"),
            ("::ffff:10.0.0.1", &["203.0.113.9:5123"], "203.0.113.9"),
            ("10.0.0.1", &["[2001:db8::9]:443"], "2001:db8::9"),
            ("10.0.0.1", &["[2001:db8::9]"], "2001:db8::9"),
            ("10.0.0.1", &["1.1.1.1, unknown"], "10.0.0.1"),
            ("10.0.0.1", &["1.1.1.1, "], "10.0.0.1"),
            ("10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ] {
            assert_eq!(client(&trusted, peer, forwarded), wanted, "{peer} {forwarded:?}");
        }
    }
}
