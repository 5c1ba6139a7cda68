//! `[server]`: the listener, HTTP and shutdown.

use super::{
    declare::settings,
    setting::{HOUR_MS, HOUR_S},
};

settings! {
    /// The listener, HTTP and shutdown.
    ServerConfig [server] {
        /// IP address or host name to listen on; `0.0.0.0` listens on every address of the machine.
        host: String = "127.0.0.1".to_owned();
        /// TCP port; 0 picks a free one.
        port: u16 = 8_000, in 0..=65_535;
        /// Worker threads; 0 starts one per core.
        workers: usize = 0, in 0..=1_024;
        /// Time that running turns get to finish after a request to stop; 0 interrupts them at once.
        drain_timeout_s: u64 = 30, in 0..=HOUR_S;
        /// Origins besides the server's own whose pages may use the server, such as `["https://app.example.org"]`; `["*"]`
        /// allows all. When empty in development, pages of this machine are allowed from any port.
        allowed_origins: Vec<String> = Vec::new();
        /// Host names that requests may be addressed to, such as `["chat.example.org", "*.example.org"]`; `["*"]` allows all.
        /// Loopback names are always allowed. When empty, a server that listens on a loopback address allows only those, and
        /// any other server allows every name.
        allowed_hosts: Vec<String> = Vec::new();
        /// Address of this server as readers reach it, with the path under which a proxy offers it, if any. Links to sources
        /// begin with it; without it, they are relative and work only in pages of this server.
        public_url: Option<String>, example "\"https://chat.example.org\"";
        /// Networks of the reverse proxies in front of the server, such as `["10.0.0.0/8"]`. Their `X-Forwarded-For` headers
        /// are trusted.
        trusted_proxies: Vec<String> = Vec::new();
        /// TCP connections at once. A small reserve above this number serves health checks and operators; other requests there
        /// are answered `OVERLOADED`.
        max_connections: usize = 100_000, in 1..=10_000_000;
        /// Time in which the head of a request must arrive.
        request_head_timeout_ms: u64 = 5_000, in 1..=HOUR_MS;
        /// Time in which the JSON body of a request must arrive.
        request_body_timeout_ms: u64 = 10_000, in 1..=HOUR_MS;
    }
}
