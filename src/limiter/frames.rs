//! The rate limit of incoming frames of a connection, and the number of violations after which it is closed.

use crate::config::LimitsConfig;
use governor::{
    Quota, RateLimiter,
    clock::{Clock, MonotonicClock},
    middleware::NoOpMiddleware,
    state::{InMemoryState, NotKeyed},
};
use std::{num::NonZeroU32, time::Duration};

type Bucket<C> = RateLimiter<NotKeyed, InMemoryState, C, NoOpMiddleware<<C as Clock>::Instant>>;

/// The frame budget of a connection.
pub struct FrameBudget<C: Clock = MonotonicClock> {
    /// `None`: no limit.
    frames: Option<Bucket<C>>,
    /// Frames over the limit that are refused without closing the connection. `None`: no limit.
    violations: Option<Bucket<C>>,
    clock: C,
}

/// Whether a frame may be processed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameVerdict {
    Allowed,
    /// Over the limit. Holds the wait until the next frame is allowed.
    Refused(Duration),
    /// Too many refused frames: the connection has to be closed.
    Close,
}

impl FrameBudget {
    pub fn new(config: &LimitsConfig) -> Self {
        Self::with_clock(config, MonotonicClock)
    }
}

impl<C: Clock + Clone> FrameBudget<C> {
    fn with_clock(config: &LimitsConfig, clock: C) -> Self {
        let frames = NonZeroU32::new(config.frames_per_s)
            .zip(NonZeroU32::new(config.frame_burst))
            .map(|(rate, burst)| Quota::per_second(rate).allow_burst(burst));
        let violations = NonZeroU32::new(config.violations_per_minute).map(Quota::per_minute);
        let bucket = |quota| RateLimiter::direct_with_clock(quota, clock.clone());
        Self { frames: frames.map(bucket), violations: violations.map(bucket), clock }
    }

    /// Counts a frame of any kind.
    pub fn charge(&self) -> FrameVerdict {
        let Some(frames) = &self.frames else { return FrameVerdict::Allowed };
        match frames.check() {
            Ok(()) => FrameVerdict::Allowed,
            Err(_) if self.violations.as_ref().is_some_and(|violations| violations.check().is_err()) => {
                FrameVerdict::Close
            }
            Err(refusal) => FrameVerdict::Refused(refusal.wait_time_from(self.clock.now())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use governor::clock::FakeRelativeClock;

    fn budget(frames_per_s: u32, violations_per_minute: u32) -> (FrameBudget<FakeRelativeClock>, FakeRelativeClock) {
        let clock = FakeRelativeClock::default();
        let config = LimitsConfig { frames_per_s, frame_burst: 4, violations_per_minute, ..LimitsConfig::default() };
        (FrameBudget::with_clock(&config, clock.clone()), clock)
    }

    #[test]
    fn a_burst_then_a_rate_is_allowed_and_violations_close() {
        let (budget, clock) = budget(2, 3);
        assert!((0..4).all(|_| budget.charge() == FrameVerdict::Allowed));
        let wait = Duration::from_millis(500);
        assert_eq!(budget.charge(), FrameVerdict::Refused(wait));
        clock.advance(wait);
        assert_eq!(budget.charge(), FrameVerdict::Allowed);
        assert_eq!(budget.charge(), FrameVerdict::Refused(wait));
        assert_eq!(budget.charge(), FrameVerdict::Refused(wait));
        assert_eq!(budget.charge(), FrameVerdict::Close);
    }

    #[test]
    fn waiting_as_told_never_closes() {
        let (budget, clock) = budget(10, 5);
        for _ in 0..1_000 {
            match budget.charge() {
                FrameVerdict::Refused(wait) => clock.advance(wait.max(Duration::from_millis(100))),
                verdict => assert_eq!(verdict, FrameVerdict::Allowed),
            }
            clock.advance(Duration::from_millis(99));
        }
    }

    #[test]
    fn zero_is_no_limit() {
        let (budget, _) = budget(0, 1);
        assert!((0..10_000).all(|_| budget.charge() == FrameVerdict::Allowed));
    }
}
