//! That each turn is counted once, however it ends.

use crate::{
    domain::FinishReason,
    metrics::{Metrics, Surface},
    turn::{FailureMapping, TurnEnd, TurnFailure},
};
use std::time::Instant;

/// Counts the end of a turn, also of one whose task vanishes.
pub(super) struct Counting<'a> {
    metrics: &'a Metrics,
    failures: FailureMapping,
    began: Instant,
    counted: bool,
}

impl<'a> Counting<'a> {
    /// `began`: when the question came.
    pub fn begin(metrics: &'a Metrics, failures: FailureMapping, began: Instant) -> Self {
        Self { metrics, failures, began, counted: false }
    }

    pub fn ended(&mut self, specialist: &str, end: &TurnEnd) {
        let reason = match end {
            TurnEnd::Complete { finish_reason, .. } => *finish_reason,
            TurnEnd::Failed(failure) => {
                self.metrics.errors.increment(Surface::Turn, (self.failures)(failure).code);
                FinishReason::Error
            }
        };
        self.metrics.turn_ended(specialist, reason, self.began.elapsed());
        self.counted = true;
    }
}

impl Drop for Counting<'_> {
    fn drop(&mut self) {
        if !self.counted {
            self.ended("", &TurnEnd::Failed(TurnFailure::TaskLost));
        }
    }
}
