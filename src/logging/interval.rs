//! Rate limit for log lines that a client can cause.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Allows one log line per interval, and counts the others.
#[derive(Debug)]
pub struct LogInterval {
    interval: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    logged_at: Option<Instant>,
    suppressed: u64,
}

impl LogInterval {
    pub const fn new(interval: Duration) -> Self {
        Self { interval, state: Mutex::new(State { logged_at: None, suppressed: 0 }) }
    }

    /// Returns the number of lines that were suppressed since the last one if another is due, and counts this one as suppressed
    /// otherwise.
    pub fn due(&self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.logged_at.is_some_and(|at| now.saturating_duration_since(at) < self.interval) {
            state.suppressed += 1;
            return None;
        }
        state.logged_at = Some(now);
        Some(std::mem::take(&mut state.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_per_interval_with_the_number_of_others() {
        let interval = LogInterval::new(Duration::from_secs(10));
        let now = Instant::now();
        assert_eq!(interval.due(now), Some(0));
        assert_eq!([1, 2, 9].map(|s| interval.due(now + Duration::from_secs(s))), [None; 3]);
        assert_eq!(interval.due(now + Duration::from_secs(10)), Some(3));
        assert_eq!(interval.due(now + Duration::from_secs(20)), Some(0));
    }
}
