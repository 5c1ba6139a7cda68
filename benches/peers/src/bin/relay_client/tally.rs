//! Counts of all connections, and the report.

use crate::samples::Samples;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use tokio::time::Instant;

/// The tokens whose bytes on the wire are counted, if each has a frame of its own.
const WIRE_SEQS: std::ops::RangeInclusive<usize> = 100..=999;

pub struct Tally {
    pub began: Instant,
    pub connected: u32,
    pub tokens: u64,
    wire_tokens: u64,
    wire_bytes: u64,
    complete: u32,
    wrong: u32,
    errors: BTreeMap<String, u32>,
    first_asked: Option<Instant>,
    last_asked: Option<Instant>,
    first_ended: Option<Instant>,
    last_ended: Option<Instant>,
    first_token_ms: Vec<f64>,
    late_ms: Vec<f64>,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            connected: 0,
            tokens: 0,
            wire_tokens: 0,
            wire_bytes: 0,
            complete: 0,
            wrong: 0,
            errors: BTreeMap::new(),
            first_asked: None,
            last_asked: None,
            first_ended: None,
            last_ended: None,
            first_token_ms: Vec::new(),
            late_ms: Vec::new(),
        }
    }
}

impl Tally {
    pub fn asked(&mut self, now: Instant) {
        self.first_asked.get_or_insert(now);
        self.last_asked = Some(now);
    }

    /// Counts a frame with one or more tokens, of which the last has this number.
    pub fn token(&mut self, tokens: u64, last_seq: usize, wire_bytes: usize) {
        self.tokens += tokens;
        if tokens == 1 && WIRE_SEQS.contains(&last_seq) {
            self.wire_tokens += 1;
            self.wire_bytes += wire_bytes as u64;
        }
    }

    pub fn ended(&mut self, now: Instant, is_right: bool, first_token_ms: f64, late_ms: f64) {
        self.first_ended.get_or_insert(now);
        self.last_ended = Some(now);
        if !is_right {
            self.wrong += 1;
            return;
        }
        self.complete += 1;
        self.first_token_ms.push(first_token_ms);
        self.late_ms.push(late_ms);
    }

    pub fn fail(&mut self, error: &str) {
        *self.errors.entry(error.chars().take(100).collect()).or_default() += 1;
    }

    pub fn report(&self, samples: &Samples, connections: u32) -> Value {
        let seconds = |at: Option<Instant>| at.map(|at| at.duration_since(self.began).as_secs_f64());
        let named: Map<String, Value> =
            samples.named.iter().map(|(name, sample)| ((*name).to_owned(), json!(sample))).collect();
        json!({
            "connections": connections,
            "connected": self.connected,
            "complete": self.complete,
            "wrong": self.wrong,
            "errors": self.errors,
            "tokens": self.tokens,
            "wire": { "tokens": self.wire_tokens, "bytes": self.wire_bytes },
            "moments": {
                "first_asked_s": seconds(self.first_asked),
                "last_asked_s": seconds(self.last_asked),
                "first_ended_s": seconds(self.first_ended),
                "last_ended_s": seconds(self.last_ended),
            },
            "first_token_ms": percentiles(&self.first_token_ms),
            "late_ms": percentiles(&self.late_ms),
            "named": named,
            "samples": samples.all(),
        })
    }
}

fn percentiles(values: &[f64]) -> Value {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |per_cent: usize| sorted.get((sorted.len() * per_cent / 100).min(sorted.len().saturating_sub(1)));
    json!({ "p50": at(50), "p99": at(99) })
}
