//! Record of the requests to providers that one turn or task made.

use super::{prices::PriceTable, usage::CallUsage};
use crate::domain::{ModelTask, ProviderErrorKind};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// End of a request to a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallOutcome {
    Answered,
    Failed(ProviderErrorKind),
    /// The turn was stopped.
    Cancelled,
    /// The provider's circuit was open, so no request was sent.
    CircuitOpen,
}

impl CallOutcome {
    /// Number of values that [`Self::index`] returns.
    pub(super) const COUNT: usize = 3 + ProviderErrorKind::ALL.len();

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "ok",
            Self::Failed(kind) => kind.as_str(),
            Self::Cancelled => "cancelled",
            Self::CircuitOpen => "circuit_open",
        }
    }

    pub(super) const fn index(self) -> usize {
        match self {
            Self::Answered => 0,
            Self::Cancelled => 1,
            Self::CircuitOpen => 2,
            Self::Failed(kind) => 3 + kind as usize,
        }
    }

    /// All outcomes, in the order of their indices.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        let failed = ProviderErrorKind::ALL.iter().map(|kind| Self::Failed(*kind));
        [Self::Answered, Self::Cancelled, Self::CircuitOpen].into_iter().chain(failed)
    }
}

/// A request to a provider that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    pub task: ModelTask,
    /// Name of the provider.
    pub provider: Arc<str>,
    pub model: Arc<str>,
    pub outcome: CallOutcome,
    pub took: Duration,
    /// Absent if no model took the request, or it failed before any output.
    pub usage: Option<CallUsage>,
    /// Cost in trillionths of the currency; absent if there is no usage or the price is unknown.
    pub cost: Option<u64>,
}

/// Requests of one turn or task, in the order of their ends.
#[derive(Debug, Default)]
pub struct Calls {
    prices: Arc<PriceTable>,
    recorded: Mutex<Recorded>,
}

#[derive(Debug, Default)]
struct Recorded {
    ended: Vec<Call>,
    /// Model of the latest request for an answer.
    answering: Option<Arc<str>>,
}

impl Calls {
    pub fn new(prices: Arc<PriceTable>) -> Self {
        Self { prices, recorded: Mutex::default() }
    }

    /// Returns the requests that have ended.
    pub fn ended(&self) -> Vec<Call> {
        self.lock().ended.clone()
    }

    /// Returns the model that writes or wrote the answer; `None` before the first request.
    pub fn answering(&self) -> Option<Arc<str>> {
        self.lock().answering.clone()
    }

    pub(super) fn begin(&self, task: ModelTask, model: &Arc<str>) {
        if task == ModelTask::Generate {
            self.lock().answering = Some(Arc::clone(model));
        }
    }

    /// Records the end of a request, and computes its cost.
    pub(super) fn end(&self, mut call: Call) {
        call.cost = call.usage.and_then(|usage| self.prices.cost(&call.provider, &call.model, &usage));
        self.lock().ended.push(call);
    }

    /// Ignores poisoning: the record is consistent between any two statements that could panic.
    fn lock(&self) -> MutexGuard<'_, Recorded> {
        self.recorded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_have_distinct_names_in_the_order_of_their_indices() {
        let names: std::collections::HashSet<_> = CallOutcome::all().map(CallOutcome::as_str).collect();
        assert_eq!(names.len(), CallOutcome::COUNT);
        assert!(CallOutcome::all().enumerate().all(|(index, outcome)| outcome.index() == index));
    }
}
