//! `[limits]`: limits per address, user, account and connection.

use super::declare::{live_settings, settings};

settings! {
    /// Limits per address, user, account and connection; 0 disables a limit. A request beyond a limit gets a typed error and
    /// is counted under `limits` in `GET /api/v1/connections/stats`. A load test from one machine needs only that machine's
    /// address in `limits.exempt_addresses`. Everything that comes through a proxy counts as one address unless
    /// `server.trusted_proxies` names the proxy.
    LimitsConfig [limits], live LimitsInForce LimitsChange {
        /// WebSockets and streams (`POST /api/v1/chat`) at once from one address; an IPv6 /64 counts as one address. Further
        /// ones are answered `TOO_MANY_CONNECTIONS`. TCP connections from an address may be twice as many, or 64 if that is more.
        connections_per_address: usize = 1_000, in 0..=10_000_000, live "Live: open connections stay open.";
        /// WebSockets and streams at once of one user. Further ones are answered `TOO_MANY_CONNECTIONS`.
        connections_per_user: usize = 100, in 0..=10_000_000, live "Live: open connections stay open.";
        /// Requests per second of one user, with bursts of twice as many after a pause. Further ones are answered
        /// `RATE_LIMITED`. Health checks, metrics, pages and WebSockets are not counted.
        requests_per_s_per_user: u32 = 50, in 0..=1_000_000, live "Live: applies at once; counting starts anew.";
        /// Requests per second from one address, counted in the same way.
        requests_per_s_per_address: u32 = 200, in 0..=1_000_000, live "Live: applies at once; counting starts anew.";
        /// Sign-in attempts from one address, including failed ones. Further ones are answered `RATE_LIMITED`.
        logins_per_minute_per_address: u32 = 60, in 0..=1_000_000, live "Live: applies at once; counting starts anew.";
        /// Sign-in attempts for one account from any address, including failed ones. Further ones are answered `RATE_LIMITED`.
        logins_per_minute_per_account: u32 = 10, in 0..=1_000_000, live "Live: applies at once; counting starts anew.";
        /// Registration attempts from one address, including failed ones. Further ones are answered `RATE_LIMITED`.
        registrations_per_minute_per_address: u32 = 60, in 0..=1_000_000,
            live "Live: applies at once; counting starts anew.";
        /// Frames of any kind per second on one WebSocket. Further ones are answered `RATE_LIMITED`.
        frames_per_s: u32 = 20, in 0..=1_000_000, live "Live: applies to new connections.";
        /// Frames that may come at once on one WebSocket after a pause.
        frame_burst: u32 = 100, in 1..=1_000_000, live "Live: applies to new connections.";
        /// Frames per minute that may be refused on one WebSocket before it is closed with 4429; 0 never closes it.
        violations_per_minute: u32 = 60, in 0..=1_000_000, live "Live: applies to new connections.";
        /// Nesting depth of JSON; cannot be disabled.
        json_depth: usize = 32, in 1..=100;
        /// Networks, such as `["10.0.0.0/8"]`, that are exempt from all limits per address and per user, including
        /// `workflow.max_running_turns_per_user`: for load tests. `logins_per_minute_per_account` still protects accounts.
        exempt_addresses: Vec<String> = Vec::new();
    }
}
