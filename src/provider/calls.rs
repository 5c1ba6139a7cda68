//! Record of the requests to providers that one turn or task made.

use super::{estimate_tokens, prices::PriceTable, usage::CallUsage};
use crate::domain::{ModelTask, ProviderErrorKind, Usage};
use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::time::Instant;

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

/// A request that has been sent and not ended.
#[derive(Debug)]
pub(super) struct SentCall {
    pub task: ModelTask,
    pub provider: Arc<str>,
    pub model: Arc<str>,
    /// Whether its tokens are those of a model.
    pub has_model: bool,
    pub began: Instant,
    /// Length of the texts sent and received, for an estimate if the request does not end by itself.
    pub prompt_bytes: usize,
    pub output_bytes: AtomicUsize,
}

impl SentCall {
    pub fn estimated_usage(&self) -> CallUsage {
        let tokens = Usage {
            prompt_tokens: estimate_tokens(self.prompt_bytes),
            completion_tokens: estimate_tokens(self.output_bytes.load(Ordering::Relaxed)),
        };
        CallUsage { tokens, is_estimated: true, ..CallUsage::default() }
    }
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
    sent: Vec<Arc<SentCall>>,
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

    /// Returns the requests that have ended, and those that have not as if they were cancelled now.
    pub fn so_far(&self) -> Vec<Call> {
        let recorded = self.lock();
        let cancelled = recorded.sent.iter().map(|sent| self.ended_call(sent, CallOutcome::Cancelled, None));
        recorded.ended.iter().cloned().chain(cancelled).collect()
    }

    /// Returns the model that writes or wrote the answer; `None` before the first request.
    pub fn answering(&self) -> Option<Arc<str>> {
        self.lock().answering.clone()
    }

    pub(super) fn begin(&self, call: &Arc<SentCall>) {
        let mut recorded = self.lock();
        if call.task == ModelTask::Generate {
            recorded.answering = Some(Arc::clone(&call.model));
        }
        recorded.sent.push(Arc::clone(call));
    }

    /// Records the end of a request. Without `usage`, a cancelled one has the usage that its texts suggest.
    pub(super) fn end(&self, sent: &Arc<SentCall>, outcome: CallOutcome, usage: Option<CallUsage>) {
        let call = self.ended_call(sent, outcome, usage);
        let mut recorded = self.lock();
        recorded.sent.retain(|other| !Arc::ptr_eq(other, sent));
        recorded.ended.push(call);
    }

    /// Forgets a request that was not sent anywhere.
    pub(super) fn discard(&self, sent: &Arc<SentCall>) {
        self.lock().sent.retain(|other| !Arc::ptr_eq(other, sent));
    }

    fn ended_call(&self, sent: &SentCall, outcome: CallOutcome, usage: Option<CallUsage>) -> Call {
        // The model server may have begun to work, and charges for that.
        let estimate = || (outcome == CallOutcome::Cancelled).then(|| sent.estimated_usage());
        let usage = usage.or_else(estimate).filter(|_| sent.has_model);
        Call {
            task: sent.task,
            provider: Arc::clone(&sent.provider),
            model: Arc::clone(&sent.model),
            outcome,
            took: sent.began.elapsed(),
            usage,
            cost: usage.and_then(|usage| self.prices.cost(&sent.provider, &sent.model, &usage)),
        }
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

    #[test]
    fn a_request_that_has_not_ended_counts_as_cancelled_so_far() {
        let calls = Calls::default();
        let sent = Arc::new(SentCall {
            task: ModelTask::Generate,
            provider: "p".into(),
            model: "m".into(),
            has_model: true,
            began: Instant::now(),
            prompt_bytes: 40,
            output_bytes: AtomicUsize::new(0),
        });
        calls.begin(&sent);
        sent.output_bytes.store(8, Ordering::Relaxed);
        let [so_far] = <[Call; 1]>::try_from(calls.so_far()).unwrap();
        assert_eq!(so_far.outcome, CallOutcome::Cancelled);
        let Usage { prompt_tokens, completion_tokens } = so_far.usage.unwrap().tokens;
        assert_eq!((prompt_tokens, completion_tokens), (10, 2));
        assert!(calls.ended().is_empty());

        let usage = CallUsage::from(Usage { prompt_tokens: 9, completion_tokens: 3 });
        calls.end(&sent, CallOutcome::Answered, Some(usage));
        assert_eq!(calls.so_far(), calls.ended());
        assert_eq!(calls.ended()[0].usage, Some(usage));
        calls.begin(&sent);
        calls.discard(&sent);
        assert_eq!(calls.so_far().len(), 1);
    }
}
