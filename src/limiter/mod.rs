//! Limits on connections, requests, sign-ins, registrations and frames, and counts of their refusals.
//!
//! Memory is bounded. The module knows addresses and users, never connections or requests. The limits of turns are in
//! [`crate::workflow::Turns`], which counts its refusals here.

mod client_address;
mod connections;
mod error;
mod frames;
mod host;
mod keyed;
mod origin;

pub use client_address::ClientAddresses;
pub use connections::{AddressPermit, UserPermit};
pub use error::LimitError;
pub use frames::{FrameBudget, FrameVerdict};
pub use host::{AllowedHosts, RefusedHost};
pub use origin::Origins;

use crate::{
    config::{LimitsConfig, ServerConfig, parse_network},
    domain::{Email, UserId},
    limits::{MIN_TCP_CONNECTIONS_PER_ADDRESS, REQUEST_BURST, TCP_CONNECTIONS_PER_CONNECTION},
};
use connections::Permits;
use ipnet::IpNet;
use keyed::KeyedLimiter;
use serde::Serialize;
use std::{
    hash::{BuildHasher, RandomState},
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

macro_rules! limits {
    ($($variant:ident = $field:ident, $what:literal;)*) => {
        /// A limit.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Limit {
            $(#[doc = $what] $variant,)*
        }

        /// Number of refusals of each limit since the start of the server.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
        pub struct LimitHits {
            $(#[doc = $what] pub $field: u64,)*
        }

        impl LimitHits {
            /// The name and the number of refusals of each limit.
            pub fn each(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($field), self.$field)),*].into_iter()
            }
        }

        #[derive(Default)]
        struct Counters {
            $($field: AtomicU64,)*
        }

        impl LimitHits {
            /// The refusals of all limits.
            pub const fn total(&self) -> u64 {
                0 $(+ self.$field)*
            }
        }

        impl Counters {
            fn of(&self, limit: Limit) -> &AtomicU64 {
                match limit { $(Limit::$variant => &self.$field),* }
            }

            fn read(&self) -> LimitHits {
                LimitHits { $($field: self.$field.load(Relaxed)),* }
            }
        }
    };
}

limits! {
    Frames = frames, "Frames over `limits.frames_per_s` and `limits.frame_burst`.";
    Violations = violations, "WebSockets closed with 4429.";
    MessageSize = message_size, "Messages, frames and bodies that were too large.";
    JsonDepth = json_depth, "JSON over `limits.json_depth`.";
    ConnectionsPerAddress = connections_per_address, "WebSockets and streams over `limits.connections_per_address`.";
    TcpConnectionsPerAddress = tcp_connections_per_address, "TCP connections of one address over twice `limits.connections_per_address`.";
    Connections = connections, "Requests on connections over `server.max_connections`.";
    ConnectionsPerUser = connections_per_user, "Connections over `limits.connections_per_user`.";
    LoginsPerAddress = logins_per_address, "Sign-ins over `limits.logins_per_minute_per_address`.";
    LoginsPerAccount = logins_per_account, "Sign-ins over `limits.logins_per_minute_per_account`.";
    Registrations = registrations_per_address, "Registrations over `limits.registrations_per_minute_per_address`.";
    RequestsPerAddress = requests_per_address, "Requests over `limits.requests_per_s_per_address`.";
    RequestsPerUser = requests_per_user, "Requests over `limits.requests_per_s_per_user`.";
    PasswordHashes = password_hashes, "Passwords refused because `auth.hash_queue` was full.";
    TurnsPerConnection = turns_per_session, "Questions over `session.max_running_turns`.";
    TurnsPerUser = turns_per_user, "Questions over `workflow.max_running_turns_per_user`.";
    Turns = turns, "Questions that got no permit within `workflow.admission_wait_ms`.";
    WaitingTurns = waiting_turns, "Questions beyond `workflow.max_waiting_turns`.";
    Origins = origins, "Upgrades from a page of another origin.";
    Hosts = hosts, "Requests for a host that is not in `server.allowed_hosts`.";
    RequestBodyTime = request_body_time, "Bodies that took longer than `server.request_body_timeout_ms`.";
}

/// The limits of the server.
pub struct Limiter {
    counters: Counters,
    config: RwLock<Arc<LimitsConfig>>,
    exempt: Vec<IpNet>,
    connections_per_address: Arc<Permits<IpAddr>>,
    tcp_connections_per_address: Arc<Permits<IpAddr>>,
    connections_per_user: Arc<Permits<UserId>>,
    logins_per_address: KeyedLimiter<IpAddr>,
    /// By a hash of the address with a key of this process, so that no e-mail address is kept.
    logins_per_account: KeyedLimiter<u64>,
    registrations: KeyedLimiter<IpAddr>,
    requests_per_address: KeyedLimiter<IpAddr>,
    requests_per_user: KeyedLimiter<UserId>,
    account_hash: RandomState,
}

impl Limiter {
    pub fn new(config: &LimitsConfig) -> Self {
        let minute = Duration::from_secs(60);
        Self {
            counters: Counters::default(),
            config: RwLock::new(Arc::new(config.clone())),
            exempt: networks(&config.exempt_addresses),
            connections_per_address: Permits::new(config.connections_per_address),
            tcp_connections_per_address: Permits::new(tcp_connections(config.connections_per_address)),
            connections_per_user: Permits::new(config.connections_per_user),
            logins_per_address: KeyedLimiter::new(config.logins_per_minute_per_address, minute),
            logins_per_account: KeyedLimiter::new(config.logins_per_minute_per_account, minute),
            registrations: KeyedLimiter::new(config.registrations_per_minute_per_address, minute),
            requests_per_address: KeyedLimiter::new(in_burst(config.requests_per_s_per_address), REQUEST_BURST),
            requests_per_user: KeyedLimiter::new(in_burst(config.requests_per_s_per_user), REQUEST_BURST),
            account_hash: RandomState::new(),
        }
    }

    /// The current limits.
    pub fn limits(&self) -> Arc<LimitsConfig> {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the limits. Granted permits stay valid; a changed rate resets its budgets. Exempt addresses and the depth of JSON
    /// do not change.
    pub fn change(&self, config: &LimitsConfig) {
        self.connections_per_address.set_max(config.connections_per_address);
        self.tcp_connections_per_address.set_max(tcp_connections(config.connections_per_address));
        self.connections_per_user.set_max(config.connections_per_user);
        self.logins_per_address.set_max(config.logins_per_minute_per_address);
        self.logins_per_account.set_max(config.logins_per_minute_per_account);
        self.registrations.set_max(config.registrations_per_minute_per_address);
        self.requests_per_address.set_max(in_burst(config.requests_per_s_per_address));
        self.requests_per_user.set_max(in_burst(config.requests_per_s_per_user));
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config.clone());
    }

    /// Counts a refusal of a limit.
    pub fn hit(&self, limit: Limit) {
        self.counters.of(limit).fetch_add(1, Relaxed);
    }

    pub fn hits(&self) -> LimitHits {
        self.counters.read()
    }

    /// Grants a permit for a TCP connection from this address; `None` when it has too many.
    pub fn accept(&self, address: IpAddr) -> Option<AddressPermit> {
        if self.is_exempt(address) {
            return Some(AddressPermit::unlimited());
        }
        let permit = self.tcp_connections_per_address.acquire(network_of(address)).map(AddressPermit::from);
        if permit.is_none() {
            self.hit(Limit::TcpConnectionsPerAddress);
        }
        permit
    }

    /// Grants the permits of a streaming HTTP response, which counts like a WebSocket.
    ///
    /// # Errors
    /// `ConnectionsPerAddress` or `ConnectionsPerUser`.
    pub fn open_stream(&self, user: UserId, address: IpAddr) -> Result<(AddressPermit, UserPermit), LimitError> {
        Ok((self.connect(address)?, self.sign_in_socket(user, address)?))
    }

    /// Counts a request from this address.
    ///
    /// # Errors
    /// The limit, and the time until the next request is allowed.
    pub fn request_from(&self, address: IpAddr) -> Result<(), LimitError> {
        if self.is_exempt(address) {
            return Ok(());
        }
        let checked = self.requests_per_address.check(&network_of(address));
        self.check(checked, |retry_after| LimitError::RequestsPerAddress { retry_after })
    }

    /// Counts a request of this user.
    ///
    /// # Errors
    /// The limit, and the time until the next request is allowed.
    pub fn request_of(&self, user: UserId, address: IpAddr) -> Result<(), LimitError> {
        if self.is_exempt(address) {
            return Ok(());
        }
        self.check(self.requests_per_user.check(&user), |retry_after| LimitError::RequestsPerUser { retry_after })
    }

    /// Grants a permit for a connection from this address.
    ///
    /// # Errors
    /// `ConnectionsPerAddress`.
    pub fn connect(&self, address: IpAddr) -> Result<AddressPermit, LimitError> {
        if self.is_exempt(address) {
            return Ok(AddressPermit::unlimited());
        }
        self.connections_per_address
            .acquire(network_of(address))
            .map(AddressPermit::from)
            .ok_or_else(|| self.refuse(LimitError::ConnectionsPerAddress))
    }

    /// Grants a permit for a connection of this user.
    ///
    /// # Errors
    /// `ConnectionsPerUser`.
    pub fn sign_in_socket(&self, user: UserId, address: IpAddr) -> Result<UserPermit, LimitError> {
        if self.is_exempt(address) {
            return Ok(UserPermit::unlimited());
        }
        self.connections_per_user
            .acquire(user)
            .map(UserPermit::from)
            .ok_or_else(|| self.refuse(LimitError::ConnectionsPerUser))
    }

    /// Counts a sign-in.
    ///
    /// # Errors
    /// The limit, and the time until the next sign-in is allowed.
    pub fn login(&self, address: IpAddr, email: &Email) -> Result<(), LimitError> {
        if !self.is_exempt(address) {
            let checked = self.logins_per_address.check(&network_of(address));
            self.check(checked, |retry_after| LimitError::LoginsPerAddress { retry_after })?;
        }
        let checked = self.logins_per_account.check(&self.account_hash.hash_one(email.as_str()));
        self.check(checked, |retry_after| LimitError::LoginsPerAccount { retry_after })
    }

    /// Counts a registration.
    ///
    /// # Errors
    /// The limit, and the time until the next registration is allowed.
    pub fn register(&self, address: IpAddr) -> Result<(), LimitError> {
        if self.is_exempt(address) {
            return Ok(());
        }
        let checked = self.registrations.check(&network_of(address));
        self.check(checked, |retry_after| LimitError::Registrations { retry_after })
    }

    /// Removes idle addresses and accounts.
    pub fn sweep(&self) {
        self.logins_per_address.forget_idle();
        self.logins_per_account.forget_idle();
        self.registrations.forget_idle();
        self.requests_per_address.forget_idle();
        self.requests_per_user.forget_idle();
    }

    fn check(&self, checked: Result<(), Duration>, error: fn(Duration) -> LimitError) -> Result<(), LimitError> {
        checked.map_err(|retry_after| self.refuse(error(retry_after)))
    }

    /// Counts a refusal.
    fn refuse(&self, error: LimitError) -> LimitError {
        self.hit(error.limit());
        error
    }

    /// Whether clients at this address are exempt from the limits of addresses and users.
    pub fn is_exempt(&self, address: IpAddr) -> bool {
        self.exempt.iter().any(|network| network.contains(&address))
    }
}

/// The number of requests within [`REQUEST_BURST`] at this rate; 0: no limit.
fn in_burst(per_s: u32) -> u32 {
    per_s.saturating_mul(u32::try_from(REQUEST_BURST.as_secs()).unwrap_or(u32::MAX))
}

/// The limit of TCP connections of one address, given `limits.connections_per_address`; 0: no limit.
fn tcp_connections(connections: usize) -> usize {
    match connections {
        0 => 0,
        connections => connections.saturating_mul(TCP_CONNECTIONS_PER_CONNECTION).max(MIN_TCP_CONNECTIONS_PER_ADDRESS),
    }
}

/// The unit that counts as one address: an IPv4 address, or an IPv6 /64, which providers assign to one customer.
fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64))),
        v4 => v4,
    }
}

/// Parses networks in CIDR notation or single addresses, which [`crate::config::Config::check`] has validated.
fn networks(texts: &[String]) -> Vec<IpNet> {
    texts.iter().filter_map(|text| parse_network(text)).collect()
}

/// The trusted proxies of a configuration.
pub fn client_addresses(config: &ServerConfig) -> ClientAddresses {
    ClientAddresses::new(networks(&config.trusted_proxies))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limiter(change: impl FnOnce(&mut LimitsConfig)) -> Limiter {
        let mut config = LimitsConfig::default();
        change(&mut config);
        Limiter::new(&config)
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn permits_are_returned() {
        let limiter = limiter(|config| config.connections_per_address = 2);
        let address = ip("192.0.2.1");
        let first = limiter.connect(address).unwrap();
        let _second = limiter.connect(address).unwrap();
        assert_eq!(limiter.connect(address).err(), Some(LimitError::ConnectionsPerAddress));
        assert!(limiter.connect(ip("192.0.2.2")).is_ok());
        drop(first);
        assert!(limiter.connect(address).is_ok());
        assert_eq!(limiter.hits().connections_per_address, 1);
    }

    #[test]
    fn the_ipv6_addresses_of_a_customer_count_as_one() {
        let limiter = limiter(|config| config.connections_per_address = 1);
        let _permit = limiter.connect(ip("2001:db8::1")).unwrap();
        assert!(limiter.connect(ip("2001:db8::ffff:1")).is_err());
        assert!(limiter.connect(ip("2001:db8:0:1::1")).is_ok());
        let _permit = limiter.connect(ip("192.0.2.1")).unwrap();
        assert!(limiter.connect(ip("::ffff:192.0.2.1")).is_err());
    }

    #[test]
    fn an_exempt_address_is_not_limited_but_its_accounts_are_protected() {
        let limiter = limiter(|config| {
            config.connections_per_address = 1;
            config.connections_per_user = 1;
            config.registrations_per_minute_per_address = 1;
            config.logins_per_minute_per_address = 1;
            config.logins_per_minute_per_account = 2;
            config.exempt_addresses = vec!["192.0.2.0/24".to_owned()];
        });
        let (address, user) = (ip("192.0.2.9"), UserId::new());
        let permits: Vec<_> =
            (0..3).map(|_| (limiter.connect(address), limiter.sign_in_socket(user, address))).collect();
        assert!(permits.iter().all(|(address, user)| address.is_ok() && user.is_ok()));
        assert!((0..3).all(|_| limiter.register(address).is_ok()));
        let ada = Email::parse("ada@example.org").unwrap();
        assert!(limiter.login(address, &ada).is_ok() && limiter.login(address, &ada).is_ok());
        assert!(matches!(limiter.login(address, &ada), Err(LimitError::LoginsPerAccount { .. })));
        assert_eq!(limiter.hits().logins_per_account, 1);
    }

    #[test]
    fn requests_are_counted_by_address_and_by_user() {
        let limiter = limiter(|config| {
            config.requests_per_s_per_address = 3;
            config.requests_per_s_per_user = 2;
            config.exempt_addresses = vec!["198.51.100.0/24".to_owned()];
        });
        let (address, user) = (ip("192.0.2.1"), UserId::new());
        assert!((0..6).all(|_| limiter.request_from(address).is_ok()), "those of two seconds at once");
        let refused = limiter.request_from(ip("::ffff:192.0.2.1")).unwrap_err();
        let LimitError::RequestsPerAddress { retry_after } = refused else { panic!("{refused:?}") };
        assert!(retry_after <= Duration::from_secs(1), "{retry_after:?}");
        assert!(limiter.request_from(ip("192.0.2.2")).is_ok());
        assert!((0..4).all(|_| limiter.request_of(user, address).is_ok()));
        assert!(matches!(limiter.request_of(user, ip("192.0.2.2")), Err(LimitError::RequestsPerUser { .. })));
        assert!(limiter.request_of(UserId::new(), address).is_ok());
        let exempt = ip("198.51.100.7");
        assert!((0..9).all(|_| limiter.request_from(exempt).is_ok() && limiter.request_of(user, exempt).is_ok()));
        assert_eq!((limiter.hits().requests_per_address, limiter.hits().requests_per_user), (1, 1));
        limiter.change(&LimitsConfig { requests_per_s_per_address: 0, ..LimitsConfig::default() });
        assert!((0..9).all(|_| limiter.request_from(address).is_ok()));
    }

    #[test]
    fn tcp_connections_of_an_address_are_limited() {
        let limiter = limiter(|config| {
            config.connections_per_address = 50;
            config.exempt_addresses = vec!["198.51.100.0/24".to_owned()];
        });
        let address = ip("192.0.2.1");
        let mut held: Vec<_> = (0..100).map(|_| limiter.accept(address).unwrap()).collect();
        assert!(limiter.accept(address).is_none() && limiter.accept(ip("192.0.2.2")).is_some());
        assert!(limiter.connect(address).is_ok(), "WebSockets have a limit of their own");
        held.pop();
        let _permit = limiter.accept(address).unwrap();
        assert_eq!(limiter.hits().tcp_connections_per_address, 1);
        let exempt: Vec<_> = (0..200).map(|_| limiter.accept(ip("198.51.100.7")).unwrap()).collect();
        assert_eq!((exempt.len(), tcp_connections(0), tcp_connections(1)), (200, 0, MIN_TCP_CONNECTIONS_PER_ADDRESS));
    }

    #[test]
    fn changed_limits_apply_to_new_connections() {
        let limiter = limiter(|config| config.connections_per_address = 2);
        let address = ip("192.0.2.1");
        let held = [limiter.connect(address).unwrap(), limiter.connect(address).unwrap()];
        let mut config = LimitsConfig { connections_per_address: 1, ..LimitsConfig::default() };
        limiter.change(&config);
        let [first, second] = held;
        drop(first);
        assert!(limiter.connect(address).is_err(), "one is one already");
        drop(second);
        let _permit = limiter.connect(address).unwrap();
        config.connections_per_address = 0;
        config.logins_per_minute_per_account = 1;
        limiter.change(&config);
        assert!((0..10).all(|_| limiter.connect(address).is_ok()));
        let ada = Email::parse("ada@example.org").unwrap();
        assert!(limiter.login(address, &ada).is_ok() && limiter.login(address, &ada).is_err());
        assert_eq!(limiter.limits().logins_per_minute_per_account, 1);
    }

    #[test]
    fn zero_is_no_limit() {
        let limiter = limiter(|config| {
            config.connections_per_address = 0;
            config.logins_per_minute_per_address = 0;
            config.logins_per_minute_per_account = 0;
        });
        let (address, ada) = (ip("192.0.2.1"), Email::parse("ada@example.org").unwrap());
        let permits: Vec<_> = (0..5_000).map(|_| limiter.connect(address).unwrap()).collect();
        assert_eq!(permits.len(), 5_000);
        assert!((0..5_000).all(|_| limiter.login(address, &ada).is_ok()));
        assert_eq!(limiter.hits(), LimitHits::default());
    }
}
