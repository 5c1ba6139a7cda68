//! That each turn is counted once, however it ends.

use super::recorder::interrupted;
use crate::{
    domain::FinishReason,
    metrics::{Metrics, Surface},
    turn::TurnEnd,
};
use std::time::Instant;

/// Counts the end of a turn, also of one whose task vanishes.
pub(super) struct Counting<'a> {
    metrics: &'a Metrics,
    began: Instant,
    counted: bool,
}

impl<'a> Counting<'a> {
    /// `began`: when the question came.
    pub fn begin(metrics: &'a Metrics, began: Instant) -> Self {
        Self { metrics, began, counted: false }
    }

    pub fn ended(&mut self, specialist: &str, end: &TurnEnd) {
        let reason = match end {
            TurnEnd::Complete { finish_reason, .. } => *finish_reason,
            TurnEnd::Failed(error) => {
                self.metrics.errors.increment(Surface::Turn, error.code);
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
            self.ended("", &TurnEnd::Failed(interrupted()));
        }
    }
}
