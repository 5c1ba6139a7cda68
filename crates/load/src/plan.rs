//! The parameters of a load and their limits. Pure.

use serde::Serialize;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use switchboard_protocol::Dialect;

const MAX_CONNECTIONS: u32 = 200_000;
const MAX_DURATION_S: u64 = 3_600;
/// Connections per second.
const MIN_RATE: f64 = 0.001;
const MAX_RATE: f64 = 1_000_000.0;
/// Maximum pause between two tokens and between two questions: an hour.
const MAX_PAUSE_MS: u64 = 3_600_000;
const MAX_USERS: u32 = 1_000;
/// Maximum number of turns per connection.
const MAX_TURNS: u32 = 1_000_000;
/// Open files besides the sockets.
const OTHER_FILES: u64 = 64;

/// Parameters of a load.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// Server address, such as `ws://127.0.0.1:8000`.
    pub url: String,
    pub dialect: Dialect,
    pub connections: u32,
    /// Connections opened, and first questions asked, per second.
    pub rate: f64,
    /// Turns per connection; `None` allows as many as fit into the duration.
    pub turns: Option<u32>,
    /// Tokens per answer.
    pub tokens: u32,
    /// Interval between two tokens, in milliseconds.
    pub interval_ms: u64,
    pub token_bytes: u32,
    /// Number of tokens after which each answer fails.
    pub fail_after: Option<u32>,
    /// Time after the first turn until which turns are started, in seconds.
    pub duration_s: Option<u64>,
    /// Pause between an answer and the next question, in milliseconds.
    pub think_ms: u64,
    /// Number of connections that read in bursts.
    pub slow_readers: u32,
    /// Average number of connection losses per turn.
    pub reconnects: f64,
    /// Seed of the random choices.
    pub seed: u64,
    /// Accounts to register; connections share them.
    pub users: u32,
    /// Percentage of connections, and of turns, that may fail before the load counts as failed.
    pub max_failures: f64,
    pub allow_remote: bool,
}

/// An invalid plan.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PlanError {
    #[error("--{0} must be {1}")]
    OutOfRange(&'static str, String),
    #[error("{0} is not this machine; use --allow-remote to load another one whose owner has agreed")]
    Remote(IpAddr),
    #[error(
        "{connections} connections need {needed} open files, and {limit} are allowed: raise it with `ulimit -n {needed}`, \
         for the server too"
    )]
    Files { connections: u32, needed: u64, limit: u64 },
}

impl Plan {
    /// Checks that every value is within its limits.
    ///
    /// # Errors
    /// The first value that is out of range.
    pub fn check(&self) -> Result<(), PlanError> {
        let out_of_range = |name, range: String| Err(PlanError::OutOfRange(name, range));
        if !(1..=MAX_CONNECTIONS).contains(&self.connections) {
            return out_of_range("connections", format!("from 1 to {MAX_CONNECTIONS}"));
        }
        if !(MIN_RATE..=MAX_RATE).contains(&self.rate) {
            return out_of_range("rate", format!("from {MIN_RATE} to {MAX_RATE} per second"));
        }
        for (name, ms) in [("interval-ms", self.interval_ms), ("think-ms", self.think_ms)] {
            if ms > MAX_PAUSE_MS {
                return out_of_range(name, format!("from 0 to {MAX_PAUSE_MS} milliseconds"));
            }
        }
        if !self.reconnects.is_finite() || !(0.0..=100.0).contains(&self.reconnects) {
            return out_of_range("reconnects", "from 0 to 100".to_owned());
        }
        if self.duration_s.is_some_and(|duration| !(1..=MAX_DURATION_S).contains(&duration)) {
            return out_of_range("duration", format!("from 1 to {MAX_DURATION_S} seconds"));
        }
        if self.turns.is_some_and(|turns| turns > MAX_TURNS) {
            return out_of_range("turns", format!("from 0 to {MAX_TURNS}"));
        }
        if !(1..=MAX_USERS).contains(&self.users) {
            return out_of_range("users", format!("from 1 to {MAX_USERS}"));
        }
        if self.slow_readers > self.connections {
            return out_of_range("slow-readers", format!("from 0 to --connections, which is {}", self.connections));
        }
        if !(0.0..=100.0).contains(&self.max_failures) {
            return out_of_range("max-failures", "from 0 to 100 percent".to_owned());
        }
        Ok(())
    }

    /// Time during which turns are started, in seconds.
    pub fn longest_s(&self) -> u64 {
        match (self.turns, self.duration_s) {
            (_, Some(duration)) => duration,
            // Idle connections without a duration: long enough to measure.
            (Some(0), None) => 10,
            (_, None) => MAX_DURATION_S,
        }
    }

    /// Maximum number of turns per connection, if the time allows.
    pub fn max_turns(&self) -> u32 {
        self.turns.unwrap_or(if self.duration_s.is_some() { u32::MAX } else { 1 })
    }

    /// Checks that the server is on this machine, unless others are allowed.
    ///
    /// # Errors
    /// The first address of another machine.
    pub fn check_addresses(&self, addresses: &[SocketAddr]) -> Result<(), PlanError> {
        match addresses.iter().find(|address| !address.ip().is_loopback()) {
            Some(other) if !self.allow_remote => Err(PlanError::Remote(other.ip())),
            _ => Ok(()),
        }
    }

    /// Checks the limit of open files.
    ///
    /// # Errors
    /// When `limit` is too low.
    pub fn check_files(&self, limit: u64) -> Result<(), PlanError> {
        let needed = u64::from(self.connections) + OTHER_FILES;
        if needed > limit {
            return Err(PlanError::Files { connections: self.connections, needed, limit });
        }
        Ok(())
    }

    /// Number of open files that the load needs.
    pub fn files(&self) -> u64 {
        u64::from(self.connections) + OTHER_FILES
    }

    /// Source address of connection `index` if one address, with `ports` ports, has too few for all connections.
    pub fn source_of(&self, index: u32, ports: u32, server: &SocketAddr) -> Option<IpAddr> {
        // Some ports are in use or in TIME_WAIT.
        let usable = ports / 10 * 9;
        let needs_many = usable > 0 && self.connections > usable;
        let is_loopback = matches!(server.ip(), IpAddr::V4(ip) if ip.is_loopback());
        (needs_many && is_loopback).then(|| {
            let number = index / usable + 1;
            let [_, _, high, low] = number.to_be_bytes();
            IpAddr::V4(Ipv4Addr::new(127, 0, high, low))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(connections: u32) -> Plan {
        Plan {
            url: "ws://127.0.0.1:8000".to_owned(),
            dialect: Dialect::V2,
            connections,
            rate: 100.0,
            turns: None,
            tokens: 20,
            interval_ms: 0,
            token_bytes: 6,
            fail_after: None,
            duration_s: None,
            think_ms: 0,
            slow_readers: 0,
            reconnects: 0.0,
            seed: 1,
            users: 4,
            max_failures: 0.0,
            allow_remote: false,
        }
    }

    #[test]
    fn every_value_has_limits() {
        assert_eq!(plan(1).check(), Ok(()));
        assert!(plan(0).check().is_err() && plan(MAX_CONNECTIONS + 1).check().is_err());
        for rate in [0.0, -1.0, 1e-300, f64::NAN, f64::INFINITY] {
            assert!(Plan { rate, ..plan(1) }.check().is_err(), "{rate}");
        }
        assert!(Plan { think_ms: u64::MAX, ..plan(1) }.check().is_err());
        assert!(Plan { interval_ms: u64::MAX, ..plan(1) }.check().is_err());
        assert!(Plan { slow_readers: 2, ..plan(1) }.check().is_err());
        assert!(Plan { turns: Some(u32::MAX), ..plan(1) }.check().is_err());
        for percent in [-1.0, 100.1, f64::NAN, f64::INFINITY] {
            assert!(Plan { max_failures: percent, ..plan(1) }.check().is_err(), "{percent}");
        }
        assert!(Plan { duration_s: Some(MAX_DURATION_S + 1), ..plan(1) }.check().is_err());
        assert_eq!(plan(1).max_turns(), 1);
        assert_eq!(Plan { duration_s: Some(5), ..plan(1) }.max_turns(), u32::MAX);
        assert_eq!(Plan { turns: Some(0), ..plan(1) }.longest_s(), 10);
    }

    #[test]
    fn other_machines_need_permission() {
        let (here, there) = ("127.0.0.9:80".parse().unwrap(), "192.0.2.1:80".parse().unwrap());
        assert_eq!(plan(1).check_addresses(&[here]), Ok(()));
        assert!(plan(1).check_addresses(&[here, there]).is_err());
        assert_eq!(Plan { allow_remote: true, ..plan(1) }.check_addresses(&[there]), Ok(()));
    }

    #[test]
    fn too_few_open_files_are_reported() {
        assert_eq!(plan(936).check_files(1_000), Ok(()));
        assert!(plan(937).check_files(1_000).unwrap_err().to_string().contains("ulimit -n 1001"));
    }

    #[test]
    fn more_connections_than_ports_come_from_more_addresses() {
        let server = "127.0.0.1:8000".parse().unwrap();
        assert_eq!(plan(15_000).source_of(14_999, 28_232, &server), None);
        let sources: Vec<_> = [0, 25_406, 25_407, 39_999].map(|n| plan(40_000).source_of(n, 28_232, &server)).into();
        let address = |low| Some(IpAddr::V4(Ipv4Addr::new(127, 0, 0, low)));
        assert_eq!(sources, [address(1), address(1), address(2), address(2)]);
    }
}
