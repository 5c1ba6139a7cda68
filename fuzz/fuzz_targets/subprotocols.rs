//! Any header as an offer of subprotocols: what is echoed was offered.

#![no_main]

use libfuzzer_sys::fuzz_target;
use switchboard_protocol::Offer;

fuzz_target!(|header: &str| {
    if let Some(echo) = Offer::parse([header]).and_then(|offer| offer.echo) {
        assert!(header.split(',').any(|entry| entry.trim() == echo));
    }
});
