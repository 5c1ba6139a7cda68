//! Whether a session's peer has stopped reading, as seen from outside: the session itself stands still then.

use std::time::{Duration, Instant};

/// How long a connection may ask for nothing.
#[derive(Clone, Copy, Debug)]
pub struct StallLimits {
    /// While something waits for it.
    pub lagging: Duration,
    /// While nothing does. It has to ask at each heartbeat at least.
    pub idle: Duration,
}

/// What was seen of a session's connection so far.
#[derive(Clone, Copy, Debug)]
pub struct Stall {
    asks: u64,
    /// Since when it has not asked.
    still_since: Instant,
    /// Since when it has not asked though something waited.
    lagging_since: Option<Instant>,
}

impl Stall {
    pub fn new(now: Instant) -> Self {
        Self { asks: 0, still_since: now, lagging_since: None }
    }

    /// For how long something has waited that the peer does not read.
    pub fn lagging_for(&self, now: Instant) -> Option<Duration> {
        self.lagging_since.map(|since| now.saturating_duration_since(since))
    }

    /// The process was paused, and nobody was asked for anything: that time does not count.
    pub fn skip_pause(&mut self, paused: Duration) {
        self.still_since += paused;
        self.lagging_since = self.lagging_since.map(|since| since + paused);
    }

    /// Takes what is seen now; whether it has stood still for too long.
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

    /// When, in seconds, what is seen in each of them leads to giving up.
    fn given_up_at(seen: impl Fn(u64) -> (u64, bool)) -> Option<u64> {
        let began = Instant::now();
        let mut stall = Stall::new(began);
        (0..200).find(|second| {
            let (asks, is_lagging) = seen(*second);
            stall.is_over(began + Duration::from_secs(*second), asks, is_lagging, LIMITS)
        })
    }

    #[test]
    fn who_asks_stays_however_much_waits() {
        assert_eq!(given_up_at(|second| (second, true)), None);
        assert_eq!(given_up_at(|second| (second / 19, true)), None);
    }

    #[test]
    fn who_asks_for_nothing_of_what_waits_is_given_up() {
        assert_eq!(given_up_at(|second| (5, second >= 10)), Some(30));
        assert_eq!(given_up_at(|second| (second.min(7), true)), Some(27));
    }

    #[test]
    fn an_idle_session_that_suddenly_has_much_to_write_has_its_time() {
        assert_eq!(given_up_at(|second| (second / 50, second % 50 == 49)), None);
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
    fn who_is_not_even_asked_at_the_heartbeat_is_given_up() {
        assert_eq!(given_up_at(|_| (1, false)), Some(60));
    }
}
