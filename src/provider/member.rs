//! One provider of the server, with its circuit and the counts of its requests. All lists that name it share it.

use super::{
    breaker::{Breaker, BreakerPolicy, Circuit, Permission, Verdict},
    calls::{CallOutcome, Calls, SentCall},
    usage::CallUsage,
};
use crate::{
    config::{ProviderConfig, ProviderKind},
    domain::{ModelTask, ProviderErrorKind, UnixMillis},
};
use serde::Serialize;
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::time::Instant;

/// A provider by its name.
#[derive(Debug)]
pub(super) struct Member {
    name: Arc<str>,
    /// Whether its tokens are those of a model.
    has_model: bool,
    breaker: Mutex<Breaker>,
    /// Kind of the latest failure that counted against the provider.
    last_failure: Mutex<Option<ProviderErrorKind>>,
    outcomes: [AtomicU64; CallOutcome::COUNT],
}

/// State of a provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct ProviderStatus {
    /// Name of the provider, as in `workflow.providers`.
    pub name: String,
    pub circuit: Circuit,
    /// Failed requests within the last minute; unless the circuit is closed, those that opened it, and of probes since.
    pub failures: u32,
    /// Kind of the latest failure that counted against the provider.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<&'static str>,
    /// Time at which an open circuit lets a probe through.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open_until_ms: Option<UnixMillis>,
    /// Requests since the start of the server, by outcome: `ok`, `cancelled`, `circuit_open`, or the kind of the failure.
    pub requests: BTreeMap<&'static str, u64>,
}

impl Member {
    pub fn new(name: &str, config: &ProviderConfig) -> Self {
        let failures = match config.kind {
            ProviderKind::Openai => config.breaker_failures,
            // They send no requests.
            ProviderKind::Extractive | ProviderKind::Scripted => 0,
        };
        let cooldown = Duration::from_secs(config.breaker_cooldown_s);
        let policy = BreakerPolicy { failures, share: config.breaker_share, cooldown };
        Self {
            name: name.into(),
            has_model: config.kind != ProviderKind::Extractive,
            breaker: Mutex::new(Breaker::new(policy)),
            last_failure: Mutex::default(),
            outcomes: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    pub fn has_model(&self) -> bool {
        self.has_model
    }

    /// Kind of failure of a request that is not sent because the circuit is open: a permanent one stays what it is.
    pub fn failure_while_open(&self) -> ProviderErrorKind {
        self.last_failure().filter(|kind| kind.is_permanent()).unwrap_or(ProviderErrorKind::Unavailable)
    }

    fn last_failure(&self) -> Option<ProviderErrorKind> {
        *self.last_failure.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn status(&self) -> ProviderStatus {
        let counts = CallOutcome::all().zip(&self.outcomes);
        let counts = counts.map(|(outcome, count)| (outcome.as_str(), count.load(Ordering::Relaxed)));
        let (now, wall_clock) = (Instant::now(), UnixMillis::now());
        let breaker = self.breaker();
        let open_for = breaker.open_for(now).map(|wait| i64::try_from(wait.as_millis()).unwrap_or(i64::MAX));
        ProviderStatus {
            name: self.name.as_ref().to_owned(),
            circuit: breaker.circuit(now),
            failures: breaker.failures(now),
            last_failure: self.last_failure().map(ProviderErrorKind::as_str),
            open_until_ms: open_for.map(|wait| UnixMillis(wall_clock.0.saturating_add(wait))),
            requests: counts.collect(),
        }
    }

    fn report(&self, permission: Permission, verdict: Verdict) {
        let now = Instant::now();
        let mut breaker = self.breaker();
        let before = breaker.circuit(now);
        breaker.report(permission, verdict, now);
        let after = breaker.circuit(now);
        drop(breaker);
        match (before, after) {
            (Circuit::Closed | Circuit::HalfOpen, Circuit::Open) => {
                log::warn!(provider:% = self.name; "circuit opened; no requests are sent to this provider for a while");
            }
            (Circuit::HalfOpen | Circuit::Open, Circuit::Closed) => {
                log::info!(provider:% = self.name; "circuit closed; the provider has recovered");
            }
            _ => {}
        }
    }

    /// Ignores poisoning: the breaker is consistent between any two statements that could panic.
    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request that has been permitted and not ended. Dropping it ends it as cancelled.
#[derive(Debug)]
pub(super) struct OpenCall {
    member: Arc<Member>,
    calls: Arc<Calls>,
    sent: Arc<SentCall>,
    /// Absent once the provider has been judged.
    permission: Option<Permission>,
    has_ended: bool,
}

impl OpenCall {
    /// Asks the provider's circuit for permission.
    ///
    /// # Errors
    /// The time after which asking again makes sense.
    pub fn begin(
        member: &Arc<Member>,
        model: &Arc<str>,
        task: ModelTask,
        calls: &Arc<Calls>,
        prompt_bytes: usize,
    ) -> Result<Self, Duration> {
        let began = Instant::now();
        let permission = member.breaker().admit(began);
        let sent = Arc::new(SentCall {
            task,
            provider: Arc::clone(&member.name),
            model: Arc::clone(model),
            has_model: member.has_model,
            began,
            prompt_bytes,
            output_bytes: AtomicUsize::new(0),
        });
        let call = Self {
            member: Arc::clone(member),
            calls: Arc::clone(calls),
            sent,
            permission: permission.ok(),
            has_ended: false,
        };
        match permission {
            Ok(_) => {
                calls.begin(&call.sent);
                Ok(call)
            }
            Err(wait) => {
                call.end(CallOutcome::CircuitOpen, None);
                Err(wait)
            }
        }
    }

    /// Notes that the provider works: it has produced output of this length.
    pub fn on_output(&mut self, bytes: usize) {
        self.sent.output_bytes.fetch_add(bytes, Ordering::Relaxed);
        if let Some(permission) = self.permission.take() {
            self.member.report(permission, Verdict::Healthy);
        }
    }

    /// Ends the request successfully.
    pub fn succeed(mut self, usage: Option<CallUsage>) {
        self.on_output(0);
        self.end(CallOutcome::Answered, usage);
    }

    /// Ends the request with the failure, which counts against the provider even after it has produced output.
    /// `usage` is known consumption, without which it is estimated.
    pub fn fail(self, error: &super::ProviderError, usage: Option<CallUsage>) {
        self.fail_with(error, Verdict::of(error.kind, error.retry_after_ms), usage);
    }

    /// Ends the request with the failure of a deadline that is shorter than the provider's own, and no reason to judge it.
    pub fn give_up(self, error: &super::ProviderError, usage: Option<CallUsage>) {
        self.fail_with(error, Verdict::Unknown, usage);
    }

    fn fail_with(mut self, error: &super::ProviderError, verdict: Verdict, usage: Option<CallUsage>) {
        if verdict != Verdict::Unknown {
            *self.member.last_failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.kind);
        }
        self.member.report(self.permission.take().unwrap_or_default(), verdict);
        // A request that failed before any output is not charged.
        let has_output = self.sent.output_bytes.load(Ordering::Relaxed) > 0;
        let usage = usage.or_else(|| has_output.then(|| self.sent.estimated_usage()));
        self.end(CallOutcome::Failed(error.kind), usage);
    }

    /// Ends a request that the provider has no use for: it was not sent anywhere.
    pub fn discard(mut self) {
        self.has_ended = true;
        self.calls.discard(&self.sent);
    }

    fn end(mut self, outcome: CallOutcome, usage: Option<CallUsage>) {
        self.record(outcome, usage);
    }

    fn record(&mut self, outcome: CallOutcome, usage: Option<CallUsage>) {
        self.has_ended = true;
        self.member.outcomes[outcome.index()].fetch_add(1, Ordering::Relaxed);
        self.calls.end(&self.sent, outcome, usage);
    }
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        if !self.has_ended {
            self.record(CallOutcome::Cancelled, None);
        }
        // A probe without a verdict must not keep others from probing.
        if let Some(permission) = self.permission.take() {
            self.member.report(permission, Verdict::Unknown);
        }
    }
}
