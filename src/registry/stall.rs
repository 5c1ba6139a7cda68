//! Detection of clients that stop reading. It works from outside the session actor, which is not polled while its client
//! does not read.

use std::time::{Duration, Instant};

/// Time that a connection may go without polling its response body for more frames.
#[derive(Clone, Copy, Debug)]
pub struct StallLimits {
    /// While there is a backlog.
    pub lagging: Duration,
    /// Without a backlog: the connection polls at least once per heartbeat.
    pub idle: Duration,
}

/// Observations of one connection.
#[derive(Clone, Copy, Debug)]
pub struct Stall {
    asks: u64,
    /// Time of the last change of `asks`.
    still_since: Instant,
    /// Start of the current backlog that the client does not read.
    lagging_since: Option<Instant>,
}

impl Stall {
    pub fn new(now: Instant) -> Self {
        Self { asks: 0, still_since: now, lagging_since: None }
    }

    /// Time for which the client has not read its backlog.
    pub fn lagging_for(&self, now: Instant) -> Option<Duration> {
        self.lagging_since.map(|since| now.saturating_duration_since(since))
    }

    /// Excludes a pause of the process, during which no connection was polled.
    pub fn skip_pause(&mut self, paused: Duration) {
        self.still_since += paused;
        self.lagging_since = self.lagging_since.map(|since| since + paused);
    }

    /// Records an observation. Returns whether the connection has exceeded a limit.
    pub fn is_over(&mut self, now: Instant, asks: u64, is_lagging: bool, limits: StallLimits) -> bool {
        if asks != self.asks {
            *self = Self { asks, ..Self::new(now) };
        }
        self.lagging_since = is_lagging.then(|| self.lagging_since.unwrap_or(now));
        let lasts = |since: Instant, limit| now.saturating_duration_since(since) >= limit;
        self.lagging_since.is_some_and(|since| lasts(since, limits.lagging)) || lasts(self.still_since, limits.idle)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: StallLimits = StallLimits { lagging: Duration::from_secs(20), idle: Duration::from_secs(60) };

    /// The second in which the connection exceeds a limit, when `seen` returns the observation of each second.
    fn stalled_at(seen: impl Fn(u64) -> (u64, bool)) -> Option<u64> {
        let began = Instant::now();
        let mut stall = Stall::new(began);
        (0..200).find(|second| {
            let (asks, is_lagging) = seen(*second);
            stall.is_over(began + Duration::from_secs(*second), asks, is_lagging, LIMITS)
        })
    }

    #[test]
    fn a_client_that_reads_is_kept_whatever_its_backlog() {
        assert_eq!(stalled_at(|second| (second, true)), None);
        assert_eq!(stalled_at(|second| (second / 19, true)), None);
    }

    #[test]
    fn a_client_that_does_not_read_its_backlog_is_stalled() {
        assert_eq!(stalled_at(|second| (5, second >= 10)), Some(30));
        assert_eq!(stalled_at(|second| (second.min(7), true)), Some(27));
    }

    #[test]
    fn a_new_backlog_starts_its_own_time() {
        assert_eq!(stalled_at(|second| (second / 50, second % 50 == 49)), None);
    }

    #[test]
    fn a_pause_of_the_process_does_not_count() {
        let (began, paused) = (Instant::now(), Duration::from_secs(600));
        let mut stall = Stall::new(began);
        let mut look = |second: u64, after_pause: bool| {
            if after_pause {
                stall.skip_pause(paused);
            }
            stall.is_over(began + Duration::from_secs(second), 1, true, LIMITS)
        };
        assert!(!look(0, false) && !look(10, false));
        assert!(!look(611, true) && !look(619, false));
        assert!(look(620, false), "ten seconds before the pause and ten after it");
    }

    #[test]
    fn a_connection_that_misses_its_heartbeats_is_stalled() {
        assert_eq!(stalled_at(|_| (1, false)), Some(60));
    }
}
