//! Clock for retention periods. It advances only while a server runs and never jumps.
//!
//! The wall clock may be wrong temporarily, for example on a machine that resumes or has no battery-backed clock. If retention
//! depended on it, a minute with a wrong date would delete data that must be kept for days, including revocations of tokens that
//! are valid again once the date is corrected. Time is therefore measured by the monotonic clock of each run, and the sum is
//! stored.

use super::{Grace, StoreError};
use crate::domain::UnixMillis;
use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

/// Length of a confirmation period, in milliseconds of running time. A wall clock that is ahead for less than this does not
/// cause deletions.
const CONFIRMATION_MS: i64 = 24 * 3_600 * 1_000;

/// State stored between two runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServedTime {
    /// Total time for which servers have run on this store, in milliseconds.
    pub running_ms: i64,
    /// Running time at the start of the current confirmation period.
    pub period_began_ms: i64,
    /// Smallest difference between wall clock and running time in the current period.
    pub lowest_offset_ms: Option<i64>,
    /// Smallest difference in the previous period. Initially derived from the newest timestamp in the store; `None` trusts the
    /// wall clock.
    pub previous_offset_ms: Option<i64>,
}

#[async_trait::async_trait]
pub trait ClockStore: Send + Sync {
    /// # Errors
    /// When the database is unavailable.
    async fn served_time(&self) -> Result<ServedTime, StoreError>;

    /// # Errors
    /// When the database is unavailable.
    async fn keep_served_time(&self, time: ServedTime) -> Result<(), StoreError>;
}

/// Simultaneous reading of both clocks.
#[derive(Clone, Copy, Debug)]
pub struct ClockReading {
    pub steady: Instant,
    pub wall: UnixMillis,
}

type Source = Arc<dyn Fn() -> ClockReading + Send + Sync>;

/// Clock of one run of the server. Clones share its state.
#[derive(Clone)]
pub struct ServingClock {
    source: Source,
    began: Instant,
    began_at_ms: i64,
    served: Arc<Mutex<ServedTime>>,
}

impl ServingClock {
    /// Continues from the stored state.
    pub fn resume(stored: ServedTime) -> Self {
        Self::with_source(stored, Arc::new(|| ClockReading { steady: Instant::now(), wall: UnixMillis::now() }))
    }

    pub(crate) fn with_source(stored: ServedTime, source: Source) -> Self {
        let began = source().steady;
        Self { source, began, began_at_ms: stored.running_ms, served: Arc::new(Mutex::new(stored)) }
    }

    /// Returns the total time for which servers have run on this store, in milliseconds.
    pub fn running_ms(&self) -> i64 {
        self.running_ms_at((self.source)())
    }

    /// Returns the time of the wall clock.
    pub fn wall(&self) -> UnixMillis {
        (self.source)().wall
    }

    /// Returns the current grace period of refresh tokens.
    pub fn grace(&self) -> Grace {
        let reading = (self.source)();
        let running_ms = self.running_ms_at(reading);
        Grace { wall: reading.wall, running_ms, began_at_ms: self.began_at_ms }
    }

    /// Reads the clocks and returns the state to store. Call it every few minutes.
    pub fn advance(&self) -> ServedTime {
        let reading = (self.source)();
        let running_ms = self.running_ms_at(reading);
        let offset_ms = reading.wall.0.saturating_sub(running_ms);
        let mut served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        served.running_ms = running_ms;
        if running_ms - served.period_began_ms >= CONFIRMATION_MS {
            served.previous_offset_ms = served.lowest_offset_ms;
            served.lowest_offset_ms = None;
            served.period_began_ms = running_ms;
        }
        served.lowest_offset_ms = Some(served.lowest_offset_ms.map_or(offset_ms, |lowest| lowest.min(offset_ms)));
        *served
    }

    /// Returns the confirmed date, by which retention periods are evaluated. It is never ahead of the wall clock. After the wall
    /// clock has moved ahead or no server has run for a while, it is behind for up to two confirmation periods.
    pub fn confirmed_now(&self) -> UnixMillis {
        let ServedTime { running_ms, lowest_offset_ms, previous_offset_ms, .. } = self.advance();
        let offsets = [lowest_offset_ms, previous_offset_ms];
        UnixMillis(running_ms.saturating_add(offsets.into_iter().flatten().min().unwrap_or(0)))
    }

    fn running_ms_at(&self, reading: ClockReading) -> i64 {
        let elapsed_ms = reading.steady.saturating_duration_since(self.began).as_millis();
        self.began_at_ms.saturating_add(i64::try_from(elapsed_ms).unwrap_or(i64::MAX))
    }
}

impl fmt::Debug for ServingClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServingClock").field("began_at_ms", &self.began_at_ms).finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(crate) mod test_support {
    use super::*;
    use std::time::Duration;

    /// Clocks set by a test.
    #[derive(Clone)]
    pub(crate) struct TurnedClock(Arc<Mutex<ClockReading>>);

    impl TurnedClock {
        pub(crate) fn at(wall: UnixMillis) -> Self {
            Self(Arc::new(Mutex::new(ClockReading { steady: Instant::now(), wall })))
        }

        /// Starts a server's clock from stored state.
        pub(crate) fn serve(&self, stored: ServedTime) -> ServingClock {
            let shared = Arc::clone(&self.0);
            ServingClock::with_source(stored, Arc::new(move || *shared.lock().unwrap()))
        }

        /// Advances both clocks.
        pub(crate) fn pass(&self, time: Duration) {
            let mut reading = self.0.lock().unwrap();
            reading.steady += time;
            reading.wall.0 += i64::try_from(time.as_millis()).unwrap();
        }

        /// Adjusts the wall clock only.
        pub(crate) fn set_by(&self, ms: i64) {
            self.0.lock().unwrap().wall.0 += ms;
        }

        pub(crate) fn wall(&self) -> UnixMillis {
            self.0.lock().unwrap().wall
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{test_support::TurnedClock, *};
    use std::time::Duration;

    const HOUR_MS: i64 = 3_600 * 1_000;
    const START: UnixMillis = UnixMillis(1_800_000_000_000);

    fn hours(count: u64) -> Duration {
        Duration::from_secs(3_600 * count)
    }

    /// Advances time by `count` hours and reads the clocks each hour.
    fn run(clock: &ServingClock, turned: &TurnedClock, count: u64) -> ServedTime {
        for _ in 0..count {
            turned.pass(hours(1));
            clock.advance();
        }
        clock.advance()
    }

    #[test]
    fn running_time_is_the_sum_of_all_runs_and_independent_of_the_wall_clock() {
        let turned = TurnedClock::at(START);
        let clock = turned.serve(ServedTime::default());
        turned.set_by(1_000 * HOUR_MS);
        turned.pass(hours(2));
        turned.set_by(-2_000 * HOUR_MS);
        assert_eq!(clock.running_ms(), 2 * HOUR_MS);
        let stored = clock.advance();
        turned.pass(hours(100));
        let next = turned.serve(stored);
        assert_eq!(next.running_ms(), 2 * HOUR_MS, "nothing ran meanwhile");
        turned.pass(hours(1));
        assert_eq!(next.running_ms(), 3 * HOUR_MS);
    }

    /// State of a new store.
    fn new_store() -> ServedTime {
        ServedTime { previous_offset_ms: Some(START.0), ..ServedTime::default() }
    }

    #[test]
    fn the_date_of_a_steady_wall_clock_is_confirmed() {
        let turned = TurnedClock::at(START);
        let clock = turned.serve(new_store());
        assert_eq!(clock.confirmed_now(), START);
        for _ in 0..100 {
            run(&clock, &turned, 1);
            assert_eq!(clock.confirmed_now(), turned.wall());
        }
    }

    #[test]
    fn a_date_that_is_ahead_for_less_than_a_day_has_no_effect() {
        for hours_before in [0, 1, 23, 24, 25, 50] {
            let turned = TurnedClock::at(START);
            let mut clock = turned.serve(new_store());
            run(&clock, &turned, hours_before);
            for jump in [25 * HOUR_MS, 10_000 * HOUR_MS] {
                let right = turned.wall();
                turned.set_by(jump);
                assert_eq!(clock.confirmed_now(), right, "ahead by {jump}");
                let stored = run(&clock, &turned, 12);
                // Also if a server starts with the wrong date.
                clock = turned.serve(stored);
                run(&clock, &turned, 11);
                assert_eq!(clock.confirmed_now(), UnixMillis(right.0 + 23 * HOUR_MS));
                turned.set_by(-jump);
                run(&clock, &turned, 50);
                assert_eq!(clock.confirmed_now(), turned.wall());
            }
        }
    }

    #[test]
    fn a_wrong_date_at_the_first_start_has_no_effect() {
        let turned = TurnedClock::at(UnixMillis(START.0 + 10_000 * HOUR_MS));
        // The newest timestamp in the store is earlier.
        let clock = turned.serve(new_store());
        assert_eq!(clock.confirmed_now(), START);
        turned.set_by(-10_000 * HOUR_MS);
        assert_eq!(clock.confirmed_now(), START);
        // A new store whose initial offset is ahead.
        let turned = TurnedClock::at(START);
        let ahead = ServedTime { previous_offset_ms: Some(START.0 + 10_000 * HOUR_MS), ..ServedTime::default() };
        assert_eq!(turned.serve(ahead).confirmed_now(), START);
    }

    #[test]
    fn a_date_in_the_past_delays_deletion_by_at_most_two_days() {
        let turned = TurnedClock::at(UnixMillis(0));
        let clock = turned.serve(new_store());
        clock.advance();
        turned.set_by(START.0);
        run(&clock, &turned, 25);
        assert!(clock.confirmed_now().0 < 30 * HOUR_MS, "still the date of the start");
        run(&clock, &turned, 25);
        assert_eq!(clock.confirmed_now(), turned.wall());
        // Setting the clock back has an immediate effect.
        turned.set_by(-5 * HOUR_MS);
        assert_eq!(clock.confirmed_now(), turned.wall());
    }

    #[test]
    fn time_without_a_server_is_confirmed_after_two_periods() {
        let turned = TurnedClock::at(START);
        let stored = run(&turned.serve(new_store()), &turned, 50);
        turned.pass(hours(1_000));
        let clock = turned.serve(stored);
        assert!(clock.confirmed_now() < turned.wall());
        run(&clock, &turned, 50);
        assert_eq!(clock.confirmed_now(), turned.wall());
    }
}
