//! A histogram of durations that is cheap enough for every token: no lock, no lookup, no clock.
//!
//! Each thread writes to one of a few shards, because threads that write to the same cache line would slow each other down.
//! A reader adds the shards up.

use std::{
    array,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    time::Duration,
};

/// Number of shards, a power of two. With more threads, some share a shard.
const SHARDS: usize = 16;
/// Most buckets, including the one without a bound.
const MAX_BUCKETS: usize = 20;
const NANOS_PER_SECOND: u64 = 1_000_000_000;

const _: () = assert!(SHARDS.is_power_of_two());

/// A histogram of durations.
#[derive(Debug)]
pub struct Histogram {
    /// Inclusive upper bound of each bucket in nanoseconds; one more bucket without a bound follows.
    bounds: &'static [u64],
    shards: Box<[Shard; SHARDS]>,
}

/// Padded to a cache line, or to two where the processor fetches them in pairs.
#[derive(Debug)]
#[repr(align(128))]
struct Shard {
    buckets: [AtomicU64; MAX_BUCKETS],
    sum_nanos: AtomicU64,
}

/// The values of a histogram at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct HistogramSnapshot {
    /// Upper bound in seconds and cumulative count of each bucket. The last bound is infinite.
    pub buckets: Vec<(f64, u64)>,
    /// Sum of the observations, in seconds.
    pub sum: f64,
}

impl HistogramSnapshot {
    /// Number of observations.
    pub fn count(&self) -> u64 {
        self.buckets.last().map_or(0, |(_, count)| *count)
    }
}

impl Histogram {
    /// Checks upper bounds in nanoseconds at compile time: ascending, and no more than fit.
    pub const fn check(bounds: &[u64]) {
        assert!(bounds.len() < MAX_BUCKETS, "more buckets than there is room for");
        let mut index = 1;
        while index < bounds.len() {
            assert!(bounds[index - 1] < bounds[index], "bounds rise");
            index += 1;
        }
    }

    /// Creates a histogram with upper bounds in nanoseconds that passed [`Histogram::check`].
    pub fn new(bounds: &'static [u64]) -> Self {
        Self { bounds, shards: Box::new(array::from_fn(|_| Shard::default())) }
    }

    pub fn record(&self, took: Duration) {
        let nanos = took.as_secs().saturating_mul(NANOS_PER_SECOND).saturating_add(u64::from(took.subsec_nanos()));
        // Branchless: the bucket is unpredictable, and there are few.
        let bucket: usize = self.bounds.iter().map(|bound| usize::from(nanos > *bound)).sum();
        let shard = &self.shards[this_shard()];
        shard.buckets[bucket].fetch_add(1, Relaxed);
        shard.sum_nanos.fetch_add(nanos, Relaxed);
    }

    pub fn snapshot(&self) -> HistogramSnapshot {
        let infinite = [f64::INFINITY];
        let bounds = self.bounds.iter().map(|nanos| seconds(*nanos)).chain(infinite);
        let mut count = 0;
        let buckets = bounds.enumerate().map(|(index, bound)| {
            count += self.shards.iter().map(|shard| shard.buckets[index].load(Relaxed)).sum::<u64>();
            (bound, count)
        });
        let buckets = buckets.collect();
        let sum = self.shards.iter().map(|shard| shard.sum_nanos.load(Relaxed)).fold(0_u64, u64::saturating_add);
        HistogramSnapshot { buckets, sum: seconds(sum) }
    }

    /// Number of observations.
    pub fn count(&self) -> u64 {
        self.shards.iter().flat_map(|shard| &shard.buckets).map(|bucket| bucket.load(Relaxed)).sum()
    }
}

impl Default for Shard {
    fn default() -> Self {
        Self { buckets: array::from_fn(|_| AtomicU64::new(0)), sum_nanos: AtomicU64::new(0) }
    }
}

fn seconds(nanos: u64) -> f64 {
    nanos as f64 / NANOS_PER_SECOND as f64
}

/// Index of this thread's shard.
fn this_shard() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static SHARD: usize = NEXT.fetch_add(1, Relaxed) % SHARDS;
    }
    SHARD.with(|shard| *shard) % SHARDS
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: &[u64] = &[1_000_000, 2_500_000, 1_000_000_000];
    const _: () = Histogram::check(BOUNDS);

    #[test]
    fn upper_bounds_are_inclusive() {
        let histogram = Histogram::new(BOUNDS);
        for micros in [0, 1_000, 1_001, 2_500, 999_999, 1_000_001, 3_000_000] {
            histogram.record(Duration::from_micros(micros));
        }
        histogram.record(Duration::MAX);
        let HistogramSnapshot { buckets, .. } = histogram.snapshot();
        assert_eq!(buckets, [(0.001, 2), (0.0025, 4), (1.0, 5), (f64::INFINITY, 8)]);
        assert_eq!((histogram.count(), histogram.snapshot().count()), (8, 8));
    }

    #[test]
    fn shards_of_all_threads_are_added_up() {
        let histogram = Histogram::new(BOUNDS);
        std::thread::scope(|scope| {
            for _ in 0..2 * SHARDS {
                scope.spawn(|| (0..1_000).for_each(|_| histogram.record(Duration::from_millis(2))));
            }
        });
        let snapshot = histogram.snapshot();
        assert_eq!(snapshot.count(), 2_000 * SHARDS as u64);
        assert!((snapshot.sum - 4.0 * SHARDS as f64).abs() < 1e-9, "{snapshot:?}");
    }
}
