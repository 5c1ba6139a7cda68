//! The samples of the last minutes, one per second: counters become rates, buckets become percentiles. Pure.

use crate::{domain::UnixMillis, limits::OPS_HISTORY_SAMPLES};
use serde::Serialize;
use std::collections::VecDeque;

/// Number of seconds over which percentiles are computed: a single second may have no first token.
const PERCENTILE_WINDOW: usize = 10;

/// The values that are read once a second. Counters count from the start of the server.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    pub at_ms: UnixMillis,
    pub connections: usize,
    pub authenticated: usize,
    pub users: usize,
    pub lagging: usize,
    pub running_turns: usize,
    pub waiting_turns: usize,
    pub opened: u64,
    pub closed: u64,
    pub turns: u64,
    pub tokens: u64,
    pub errors: u64,
    /// Cumulative buckets of the time to the first token: upper bound in milliseconds and count, as in a Prometheus histogram.
    pub first_tokens: Vec<(f64, u64)>,
    /// User and system CPU time of the process, in milliseconds.
    pub cpu_ms: u64,
    /// Resident memory, in bytes.
    pub memory_bytes: u64,
}

macro_rules! samples {
    ($($(#[$doc:meta])* $field:ident: $kind:ty,)*) => {
        /// One point of the charts.
        #[derive(Clone, Debug, Default, PartialEq, Serialize)]
        pub struct Sample {
            $($(#[$doc])* pub $field: $kind,)*
        }

        /// Samples by column, oldest first.
        #[derive(Clone, Debug, Default, PartialEq, Serialize)]
        pub struct Columns {
            $(pub $field: Vec<$kind>,)*
        }

        impl Columns {
            fn push(&mut self, sample: &Sample) {
                $(self.$field.push(sample.$field.clone());)*
            }
        }
    };
}

samples! {
    at_ms: UnixMillis,
    connections: usize,
    /// An older name of `connections`, until 1.0.
    sessions: usize,
    authenticated: usize,
    users: usize,
    lagging: usize,
    /// An older name of `lagging`, until 1.0.
    behind: usize,
    running_turns: usize,
    waiting_turns: usize,
    opened_per_s: f64,
    closed_per_s: f64,
    turns_per_s: f64,
    tokens_per_s: f64,
    errors_per_s: f64,
    /// Time from a message to its first token over the last ten seconds; `null` without one.
    first_token_p50_ms: Option<f64>,
    first_token_p95_ms: Option<f64>,
    first_token_p99_ms: Option<f64>,
    /// CPU cores in use.
    cpu: f64,
    memory_bytes: u64,
}

#[derive(Default)]
pub struct History {
    samples: VecDeque<Sample>,
    last: Option<Reading>,
    /// Buckets of the last seconds, oldest first.
    first_tokens: VecDeque<Vec<(f64, u64)>>,
}

impl History {
    /// Adds a reading. The first one has no rates.
    pub fn push(&mut self, reading: Reading) -> &Sample {
        let sample = self.sample(&reading);
        if self.first_tokens.len() == PERCENTILE_WINDOW {
            self.first_tokens.pop_front();
        }
        self.first_tokens.push_back(reading.first_tokens.clone());
        self.last = Some(reading);
        if self.samples.len() == OPS_HISTORY_SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
        &self.samples[self.samples.len() - 1]
    }

    pub fn columns(&self) -> Columns {
        let mut columns = Columns::default();
        for sample in &self.samples {
            columns.push(sample);
        }
        columns
    }

    fn sample(&self, now: &Reading) -> Sample {
        let before = self.last.as_ref().unwrap_or(now);
        let seconds = (now.at_ms.0 - before.at_ms.0).max(0) as f64 / 1_000.0;
        let rate = |now: u64, before: u64| match seconds {
            0.0 => 0.0,
            _ => round(now.saturating_sub(before) as f64 / seconds),
        };
        let since = self.first_tokens.front().map_or(&[] as &[_], Vec::as_slice);
        let percentile = |share| percentile(&now.first_tokens, since, share).map(round);
        Sample {
            at_ms: now.at_ms,
            connections: now.connections,
            sessions: now.connections,
            authenticated: now.authenticated,
            users: now.users,
            lagging: now.lagging,
            behind: now.lagging,
            running_turns: now.running_turns,
            waiting_turns: now.waiting_turns,
            opened_per_s: rate(now.opened, before.opened),
            closed_per_s: rate(now.closed, before.closed),
            turns_per_s: rate(now.turns, before.turns),
            tokens_per_s: rate(now.tokens, before.tokens),
            errors_per_s: rate(now.errors, before.errors),
            first_token_p50_ms: percentile(0.50),
            first_token_p95_ms: percentile(0.95),
            first_token_p99_ms: percentile(0.99),
            cpu: round(rate(now.cpu_ms, before.cpu_ms) / 1_000.0),
            memory_bytes: now.memory_bytes,
        }
    }
}

/// Rounds to three decimal places, which are enough for a chart.
fn round(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}

/// Returns the quantile `share` of the observations since `before`, interpolated linearly within its bucket like Prometheus'
/// `histogram_quantile`.
fn percentile(now: &[(f64, u64)], before: &[(f64, u64)], share: f64) -> Option<f64> {
    let count = |index: usize| {
        let (_, now) = now[index];
        now.saturating_sub(before.get(index).map_or(0, |(_, before)| *before)) as f64
    };
    let total = count(now.len().checked_sub(1)?);
    if total <= 0.0 {
        return None;
    }
    let rank = total * share;
    let index = (0..now.len()).find(|index| count(*index) >= rank)?;
    let (lower, below) = index.checked_sub(1).map_or((0.0, 0.0), |index| (now[index].0, count(index)));
    let (upper, _) = now[index];
    // Observations past the last bound are only known to exceed it.
    if !upper.is_finite() {
        return Some(lower);
    }
    let within = count(index) - below;
    Some(if within > 0.0 { lower + (upper - lower) * (rank - below) / within } else { upper })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(second: i64, tokens: u64) -> Reading {
        Reading { at_ms: UnixMillis(second * 1_000), tokens, ..Reading::default() }
    }

    #[test]
    fn counters_become_rates() {
        let mut history = History::default();
        assert_eq!(history.push(reading(100, 5_000)).tokens_per_s, 0.0);
        assert_eq!(history.push(reading(101, 5_030)).tokens_per_s, 30.0);
        assert_eq!(history.push(reading(103, 5_090)).tokens_per_s, 30.0);
        // A clock that was set back, or stands still.
        assert_eq!(history.push(reading(103, 5_100)).tokens_per_s, 0.0);
        assert_eq!(history.push(reading(90, 5_200)).tokens_per_s, 0.0);
        assert_eq!(history.push(Reading { cpu_ms: 500, ..reading(91, 5_200) }).cpu, 0.5);
    }

    #[test]
    fn the_history_is_bounded() {
        let mut history = History::default();
        for second in 0..OPS_HISTORY_SAMPLES + 7 {
            history.push(reading(i64::try_from(second).unwrap(), 0));
        }
        let columns = history.columns();
        assert_eq!((columns.at_ms.len(), columns.tokens_per_s.len()), (OPS_HISTORY_SAMPLES, OPS_HISTORY_SAMPLES));
        assert_eq!(columns.at_ms[0], UnixMillis(7_000));
    }

    #[test]
    fn percentiles_cover_new_observations_only() {
        let buckets = |counts: [u64; 3]| vec![(10.0, counts[0]), (20.0, counts[1]), (f64::INFINITY, counts[2])];
        let old = buckets([1_000, 1_000, 1_000]);
        let now = buckets([1_050, 1_100, 1_100]);
        assert_eq!(percentile(&now, &old, 0.5), Some(10.0));
        assert_eq!(percentile(&now, &old, 0.75), Some(15.0));
        assert_eq!(percentile(&old, &[], 0.5), Some(5.0));
        assert_eq!(percentile(&old, &old, 0.5), None);
        assert_eq!(percentile(&[], &[], 0.5), None);
        assert_eq!(percentile(&buckets([0, 0, 4]), &[], 0.5), Some(20.0));
    }

    #[test]
    fn percentiles_cover_a_window_of_seconds() {
        let mut history = History::default();
        let with =
            |second, count| Reading { first_tokens: vec![(10.0, count), (f64::INFINITY, count)], ..reading(second, 0) };
        assert_eq!(history.push(with(0, 4)).first_token_p50_ms, Some(5.0));
        history.push(with(1, 8));
        for second in 2..=10 {
            assert_eq!(history.push(with(second, 8)).first_token_p50_ms, Some(5.0), "{second}");
        }
        assert_eq!(history.push(with(11, 8)).first_token_p50_ms, None);
    }
}
