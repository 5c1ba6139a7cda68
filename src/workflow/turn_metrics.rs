//! Metrics of a turn's end: each turn is counted exactly once, however it ends.

use crate::{
    domain::FinishReason,
    metrics::{Metrics, Surface},
    turn::{FailureMapping, TurnEnd, TurnFailure},
};
use std::time::Instant;

/// Counts the end of a turn, also when its task is dropped.
pub(super) struct TurnMetrics<'a> {
    metrics: &'a Metrics,
    failures: FailureMapping,
    asked_at: Instant,
    is_counted: bool,
}

impl<'a> TurnMetrics<'a> {
    pub fn new(metrics: &'a Metrics, failures: FailureMapping, asked_at: Instant) -> Self {
        Self { metrics, failures, asked_at, is_counted: false }
    }

    pub fn count_end(&mut self, specialist: &str, end: &TurnEnd) {
        let reason = match end {
            TurnEnd::Complete { finish_reason, .. } => *finish_reason,
            TurnEnd::Failed(failure) => {
                self.metrics.errors.increment(Surface::Turn, (self.failures)(failure).code);
                FinishReason::Error
            }
        };
        self.metrics.turn_ended(specialist, reason, self.asked_at.elapsed());
        self.is_counted = true;
    }
}

impl Drop for TurnMetrics<'_> {
    fn drop(&mut self) {
        if !self.is_counted {
            self.count_end("", &TurnEnd::Failed(TurnFailure::TaskLost));
        }
    }
}
