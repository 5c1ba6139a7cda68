//! A rate limit for each key, with a bounded number of keys in memory.

use governor::{
    Quota, RateLimiter,
    clock::{Clock, MonotonicClock},
    middleware::NoOpMiddleware,
    state::keyed::HashMapStateStore,
};
use std::{
    hash::Hash,
    num::NonZeroU32,
    sync::{Mutex, PoisonError, RwLock, RwLockReadGuard},
    time::{Duration, Instant},
};

/// Keys in memory, about 100 bytes each. Further keys share one budget.
const MAX_KEYS: usize = 100_000;
/// Interval at which a full limiter removes keys with a full budget.
const FORGET_INTERVAL: Duration = Duration::from_secs(1);

type Limiter<K, C> = RateLimiter<Key<K>, HashMapStateStore<Key<K>>, C, NoOpMiddleware<<C as Clock>::Instant>>;

#[derive(Clone, PartialEq, Eq, Hash)]
enum Key<K> {
    One(K),
    /// The shared budget of keys beyond the maximum.
    Surplus,
}

pub(super) struct KeyedLimiter<K: Clone + Eq + Hash, C: Clock = MonotonicClock> {
    /// `None`: no limit.
    limiter: RwLock<Option<Limiter<K, C>>>,
    interval: Duration,
    /// The current limit.
    max: Mutex<u32>,
    clock: C,
    max_keys: usize,
    forgot_at: Mutex<Option<Instant>>,
}

impl<K: Clone + Eq + Hash> KeyedLimiter<K> {
    /// Allows `max` within `interval`, also as a burst. 0: no limit.
    pub(super) fn new(max: u32, interval: Duration) -> Self {
        Self::with_clock(max, interval, MAX_KEYS, MonotonicClock)
    }
}

impl<K: Clone + Eq + Hash, C: Clock + Clone> KeyedLimiter<K, C> {
    fn with_clock(max: u32, interval: Duration, max_keys: usize, clock: C) -> Self {
        let limiter = RwLock::new(limiter(max, interval, &clock));
        Self { limiter, interval, max: Mutex::new(max), clock, max_keys, forgot_at: Mutex::default() }
    }

    /// Changes the limit, which resets all budgets. The same limit changes nothing.
    pub(super) fn set_max(&self, max: u32) {
        let mut known = self.max.lock().unwrap_or_else(PoisonError::into_inner);
        if *known != max {
            *known = max;
            *self.limiter.write().unwrap_or_else(PoisonError::into_inner) = limiter(max, self.interval, &self.clock);
        }
    }

    /// Ignores poisoning: the limiter is replaced as a whole.
    fn limiter(&self) -> RwLockReadGuard<'_, Option<Limiter<K, C>>> {
        self.limiter.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one use of a key.
    ///
    /// # Errors
    /// The time to wait.
    pub(super) fn check(&self, key: &K) -> Result<(), Duration> {
        let limiter = self.limiter();
        let Some(limiter) = &*limiter else { return Ok(()) };
        let key = if self.fits(limiter) { Key::One(key.clone()) } else { Key::Surplus };
        limiter.check_key(&key).map_err(|refusal| refusal.wait_time_from(self.clock.now()))
    }

    fn fits(&self, limiter: &Limiter<K, C>) -> bool {
        if limiter.len() < self.max_keys {
            return true;
        }
        let mut forgot_at = self.forgot_at.lock().unwrap_or_else(PoisonError::into_inner);
        if forgot_at.is_none_or(|at| at.elapsed() >= FORGET_INTERVAL) {
            *forgot_at = Some(Instant::now());
            limiter.retain_recent();
        }
        limiter.len() < self.max_keys
    }

    /// Removes keys with a full budget.
    pub(super) fn forget_idle(&self) {
        if let Some(limiter) = &*self.limiter() {
            limiter.retain_recent();
            limiter.shrink_to_fit();
        }
    }
}

fn limiter<K: Clone + Eq + Hash, C: Clock + Clone>(max: u32, interval: Duration, clock: &C) -> Option<Limiter<K, C>> {
    let quota = NonZeroU32::new(max)
        .and_then(|max| Some(Quota::with_period(interval.checked_div(max.get())?)?.allow_burst(max)));
    quota.map(|quota| RateLimiter::hashmap_with_clock(quota, clock.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use governor::clock::FakeRelativeClock;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn each_key_has_a_budget_that_refills() {
        let clock = FakeRelativeClock::default();
        let limiter = KeyedLimiter::with_clock(3, MINUTE, 10, clock.clone());
        assert!((0..3).all(|_| limiter.check(&1).is_ok()));
        assert_eq!(limiter.check(&1), Err(Duration::from_secs(20)));
        assert_eq!(limiter.check(&2), Ok(()));
        clock.advance(Duration::from_secs(20));
        assert_eq!(limiter.check(&1), Ok(()));
        assert!(limiter.check(&1).is_err());
    }

    #[test]
    fn a_new_limit_applies_at_once() {
        let limiter = KeyedLimiter::with_clock(1, MINUTE, 10, FakeRelativeClock::default());
        assert!(limiter.check(&1).is_ok() && limiter.check(&1).is_err());
        limiter.set_max(1);
        assert!(limiter.check(&1).is_err(), "the same limit gives nothing back");
        limiter.set_max(2);
        assert!(limiter.check(&1).is_ok() && limiter.check(&1).is_ok() && limiter.check(&1).is_err());
        limiter.set_max(0);
        assert!((0..100).all(|_| limiter.check(&1).is_ok()));
        limiter.set_max(3);
        assert_eq!((0..100).filter(|_| limiter.check(&1).is_ok()).count(), 3);
    }

    #[test]
    fn memory_is_bounded() {
        let clock = FakeRelativeClock::default();
        let limiter = KeyedLimiter::with_clock(3, MINUTE, 10, clock.clone());
        let len = || limiter.limiter().as_ref().unwrap().len();
        let allowed = (0..1_000).filter(|key| limiter.check(key).is_ok()).count();
        // Ten keys with budgets of their own, and the shared budget of three.
        assert_eq!((allowed, len()), (13, 11));
        clock.advance(2 * MINUTE);
        limiter.forget_idle();
        assert_eq!(len(), 0);
        assert_eq!(limiter.check(&5_000), Ok(()));
    }
}
