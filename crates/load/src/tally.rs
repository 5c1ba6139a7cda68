//! Counters and latency histograms of all clients.

use hdrhistogram::Histogram;
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};
use switchboard_client::ClientError;

/// Upper bound of the histograms, in microseconds: an hour.
const LONGEST_US: u64 = 3_600_000_000;

/// Histogram of one kind of latency, in microseconds.
pub struct Times(Histogram<u64>);

/// Counters that are updated while the load runs.
#[derive(Default)]
pub struct Tally {
    /// Time from when a connection was due to its upgrade.
    pub connect: Times,
    /// Time from when a connection was due to `auth_success`.
    pub authenticated: Times,
    /// Time from when a question was due to its first token.
    pub first_token: Times,
    /// Time from one token to the next; zero for those that share a frame.
    pub between_tokens: Times,
    /// Time from when a token was due, counted from the first of its turn, to its arrival.
    pub behind_schedule: Times,
    /// Time from when a question was due to the end of the answer.
    pub turn: Times,
    /// Time from a lost connection to `resumed`.
    pub resume: Times,
    pub tries: u64,
    pub opened: u64,
    /// Open connections.
    pub open: u64,
    /// Connections that were not closed by the client but ended while idle.
    pub lost: u64,
    pub turns_started: u64,
    pub turns_complete: u64,
    pub turns_failed: u64,
    /// Failed turns whose script asked for the failure.
    pub failed_as_planned: u64,
    /// Complete answers with another number of tokens than the script asked for.
    pub off_script: u64,
    pub tokens: u64,
    pub token_frames: u64,
    /// Total size of all text frames.
    pub bytes: u64,
    pub resumes: u64,
    pub verified: u64,
    pub unverified: u64,
    pub errors: BTreeMap<String, u64>,
    /// For each kind of error, the text of the first one.
    pub error_texts: BTreeMap<String, String>,
    pub close_codes: BTreeMap<u16, u64>,
    /// Connections that have asked all their questions.
    pub done: u64,
    pub first_turn_ended_at: Option<Instant>,
    pub last_turn_ended_at: Option<Instant>,
}

impl Default for Times {
    fn default() -> Self {
        Self(Histogram::new_with_bounds(1, LONGEST_US, 3).expect("the bounds are valid"))
    }
}

impl Times {
    pub fn add(&mut self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(LONGEST_US);
        self.0.saturating_record(micros);
    }

    /// Adds the same time `count` times.
    pub fn add_many(&mut self, time: Duration, count: u64) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(LONGEST_US);
        self.0.saturating_record_n(micros, count);
    }

    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// Returns a percentile in milliseconds; `percent` is from 0 to 100.
    pub fn percentile_ms(&self, percent: f64) -> f64 {
        if self.0.is_empty() { 0.0 } else { ms(self.0.value_at_quantile(percent / 100.0)) }
    }

    pub fn mean_ms(&self) -> f64 {
        self.0.mean() / 1_000.0
    }

    pub fn max_ms(&self) -> f64 {
        ms(self.0.max())
    }
}

#[expect(clippy::cast_precision_loss, reason = "microseconds of an hour fit")]
fn ms(micros: u64) -> f64 {
    micros as f64 / 1_000.0
}

impl Tally {
    pub fn error(&mut self, error: &ClientError) {
        let label = error.label();
        self.error_texts.entry(label.clone()).or_insert_with(|| one_line(&error.to_string()));
        *self.errors.entry(label).or_default() += 1;
    }

    pub fn closed(&mut self, code: u16) {
        *self.close_codes.entry(code).or_default() += 1;
    }

    pub fn turn_ended(&mut self, at: Instant) {
        self.first_turn_ended_at.get_or_insert(at);
        self.last_turn_ended_at = Some(at);
    }
}

/// Replaces characters of a server's text that would break a line or control the terminal.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if breaks_a_line(c) { ' ' } else { c }).collect()
}

/// Whether a character breaks the line or controls the terminal: control characters, Unicode's line separators, and those that
/// change the writing direction.
fn breaks_a_line(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_match_the_added_times() {
        let mut times = Times::default();
        for ms in 1..=100 {
            times.add(Duration::from_millis(ms));
        }
        assert_eq!(times.count(), 100);
        assert!((times.percentile_ms(50.0) - 50.0).abs() < 0.1, "{}", times.percentile_ms(50.0));
        assert!((times.max_ms() - 100.0).abs() < 0.2);
        times.add_many(Duration::ZERO, 100);
        assert_eq!(times.count(), 200);
        times.add(Duration::from_secs(10_000));
        assert!(times.max_ms() >= 3_599_000.0);
    }
}
