//! Circuit breaker of one provider, pure: the time is an argument.
//!
//! A closed circuit counts the requests of the last [`WINDOW`] and opens when enough of them failed, in number and share. An
//! open one refuses requests for the cooldown, or for as long as the model server asked with `Retry-After`. After that it is
//! half-open: one request at a time probes the provider, and its outcome closes the circuit or opens it again.

use crate::domain::ProviderErrorKind;
use serde::Serialize;
use std::{collections::VecDeque, time::Duration};
use tokio::time::Instant;

/// Period whose requests are counted.
const WINDOW: Duration = Duration::from_secs(60);
/// Part of the window that is forgotten at once.
const SLICE: Duration = Duration::from_secs(10);
/// Longest `Retry-After` that is obeyed; after a longer one the provider is probed earlier.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(10 * 60);
/// Wait that is suggested to a request refused because of a probe.
const PROBE_WAIT: Duration = Duration::from_secs(1);

/// State of a circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Circuit {
    /// Requests are sent.
    Closed,
    /// No request is sent.
    Open,
    /// One request at a time is sent, as a probe.
    HalfOpen,
}

impl Circuit {
    pub const ALL: [Self; 3] = [Self::Closed, Self::Open, Self::HalfOpen];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

/// Conditions under which a circuit opens, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct BreakerPolicy {
    /// Failures within the window; 0 never opens the circuit.
    pub failures: u32,
    /// Share of the requests within the window that failed, from 0 to 1.
    pub share: f64,
    pub cooldown: Duration,
}

/// Outcome of a request, as far as it says something about the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Healthy,
    Failed {
        retry_after: Option<Duration>,
    },
    /// The request was cancelled, or failed for a reason of its own.
    Unknown,
}

impl Verdict {
    /// Judges a provider by a failed request. A request that the model server refuses for its content, its length or its model
    /// does not mean that other requests fail.
    pub fn of(kind: ProviderErrorKind, retry_after_ms: Option<u64>) -> Self {
        use ProviderErrorKind as Kind;
        match kind {
            Kind::Unavailable
            | Kind::Timeout
            | Kind::RateLimited
            | Kind::Unauthorized
            | Kind::OutOfCredit
            | Kind::Broken => Self::Failed { retry_after: retry_after_ms.map(Duration::from_millis) },
            Kind::UnknownModel | Kind::ContextTooLong | Kind::Rejected => Self::Unknown,
        }
    }
}

/// Permission to send a request. Its outcome is reported with it. The default is that of a request which is no probe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Permission {
    is_probe: bool,
}

#[derive(Debug)]
enum State {
    Closed { window: VecDeque<Slice> },
    Open { until: Instant },
    HalfOpen { is_probed: bool },
}

/// Requests of a part of the window.
#[derive(Debug)]
struct Slice {
    began: Instant,
    requests: u32,
    failures: u32,
}

/// Circuit breaker.
#[derive(Debug)]
pub struct Breaker {
    policy: BreakerPolicy,
    state: State,
    /// Failures that opened the circuit, and of probes since.
    failures_while_open: u32,
}

impl Breaker {
    pub fn new(policy: BreakerPolicy) -> Self {
        Self { policy, state: State::Closed { window: VecDeque::new() }, failures_while_open: 0 }
    }

    /// Returns the failures of the last minute; unless the circuit is closed, those that opened it, and of probes since.
    pub fn failures(&self, now: Instant) -> u32 {
        match &self.state {
            State::Closed { window } => {
                let recent = window.iter().filter(|slice| now < slice.began + WINDOW);
                recent.fold(0, |sum, slice| sum.saturating_add(slice.failures))
            }
            State::Open { .. } | State::HalfOpen { .. } => self.failures_while_open,
        }
    }

    /// Returns the time for which the circuit stays open; `None` if it is not open.
    pub fn open_for(&self, now: Instant) -> Option<Duration> {
        match self.state {
            State::Open { until } => until.checked_duration_since(now).filter(|wait| !wait.is_zero()),
            State::Closed { .. } | State::HalfOpen { .. } => None,
        }
    }

    pub fn circuit(&self, now: Instant) -> Circuit {
        match self.state {
            State::Closed { .. } => Circuit::Closed,
            State::Open { until } if now < until => Circuit::Open,
            State::Open { .. } | State::HalfOpen { .. } => Circuit::HalfOpen,
        }
    }

    /// Asks for permission to send a request.
    ///
    /// # Errors
    /// The time after which asking again makes sense.
    pub fn admit(&mut self, now: Instant) -> Result<Permission, Duration> {
        match &mut self.state {
            State::Closed { .. } => Ok(Permission { is_probe: false }),
            State::Open { until } if now < *until => Err(*until - now),
            State::HalfOpen { is_probed: true } => Err(PROBE_WAIT),
            state @ (State::Open { .. } | State::HalfOpen { .. }) => {
                *state = State::HalfOpen { is_probed: true };
                Ok(Permission { is_probe: true })
            }
        }
    }

    /// Takes the outcome of a permitted request into account. A request that began before the circuit opened changes nothing
    /// afterwards, except that a longer `Retry-After` is obeyed.
    pub fn report(&mut self, permission: Permission, verdict: Verdict, now: Instant) {
        let retry_after = match verdict {
            Verdict::Failed { retry_after } => retry_after.map(|wait| wait.min(MAX_RETRY_AFTER)),
            Verdict::Healthy | Verdict::Unknown => None,
        };
        let BreakerPolicy { failures, cooldown, .. } = self.policy;
        match (&mut self.state, verdict) {
            _ if failures == 0 => {}
            (State::HalfOpen { is_probed }, verdict) if permission.is_probe => match verdict {
                Verdict::Healthy => self.state = State::Closed { window: VecDeque::new() },
                Verdict::Failed { .. } => {
                    let failures = self.failures_while_open.saturating_add(1);
                    self.open(now + retry_after.unwrap_or_default().max(cooldown), failures);
                }
                Verdict::Unknown => *is_probed = false,
            },
            (State::Open { until }, Verdict::Failed { .. }) => {
                *until = (*until).max(now + retry_after.unwrap_or_default());
            }
            (State::Closed { window }, Verdict::Healthy) => count(window, now, 0),
            (State::Closed { window }, Verdict::Failed { .. }) => {
                count(window, now, 1);
                let failures = self.failures(now);
                match retry_after.filter(|wait| !wait.is_zero()) {
                    _ if self.has_failed_enough() => {
                        self.open(now + retry_after.unwrap_or_default().max(cooldown), failures);
                    }
                    Some(wait) => self.open(now + wait, failures),
                    None => {}
                }
            }
            _ => {}
        }
    }

    fn open(&mut self, until: Instant, failures: u32) {
        self.state = State::Open { until };
        self.failures_while_open = failures;
    }

    fn has_failed_enough(&self) -> bool {
        let State::Closed { window } = &self.state else { return false };
        let (requests, failures) = window.iter().fold((0_u32, 0_u32), |(requests, failures), slice| {
            (requests.saturating_add(slice.requests), failures.saturating_add(slice.failures))
        });
        failures >= self.policy.failures && f64::from(failures) >= self.policy.share * f64::from(requests)
    }
}

/// Counts a request, and forgets those that are too old.
fn count(window: &mut VecDeque<Slice>, now: Instant, failures: u32) {
    while window.front().is_some_and(|slice| slice.began + WINDOW <= now) {
        window.pop_front();
    }
    match window.back_mut().filter(|slice| now < slice.began + SLICE) {
        Some(slice) => {
            slice.requests = slice.requests.saturating_add(1);
            slice.failures = slice.failures.saturating_add(failures);
        }
        None => window.push_back(Slice { began: now, requests: 1, failures }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const COOLDOWN: Duration = s(30);
    const FAILED: Verdict = Verdict::Failed { retry_after: None };

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn breaker(failures: u32, share: f64) -> Breaker {
        Breaker::new(BreakerPolicy { failures, share, cooldown: COOLDOWN })
    }

    /// Sends a request that ends at once; returns whether it was permitted.
    fn send(breaker: &mut Breaker, verdict: Verdict, now: Instant) -> bool {
        let permission = breaker.admit(now);
        permission.map(|permission| breaker.report(permission, verdict, now)).is_ok()
    }

    /// A breaker that has just opened.
    fn opened(now: Instant) -> Breaker {
        let mut breaker = breaker(3, 0.5);
        assert!((0..3).all(|_| send(&mut breaker, FAILED, now)));
        assert_eq!(breaker.circuit(now), Circuit::Open);
        breaker
    }

    #[test]
    fn number_and_share_of_failures_open_the_circuit() {
        let now = Instant::now();
        let mut breaker = breaker(3, 0.5);
        assert!((0..5).all(|_| send(&mut breaker, Verdict::Healthy, now)));
        for failures in 1..5 {
            assert!(send(&mut breaker, FAILED, now));
            assert_eq!(breaker.circuit(now), Circuit::Closed, "{failures} of {}", 5 + failures);
        }
        assert!(send(&mut breaker, FAILED, now));
        assert_eq!(breaker.circuit(now), Circuit::Open, "5 of 10");
        assert_eq!(breaker.admit(now + s(10)), Err(s(20)));
    }

    #[test]
    fn old_requests_are_forgotten() {
        let now = Instant::now();
        let mut breaker = breaker(3, 0.5);
        assert!(send(&mut breaker, FAILED, now) && send(&mut breaker, FAILED, now + s(5)));
        assert!(send(&mut breaker, FAILED, now + s(61)));
        assert_eq!(breaker.circuit(now + s(61)), Circuit::Closed);
    }

    #[test]
    fn one_probe_at_a_time_closes_the_circuit_or_opens_it_again() {
        let now = Instant::now();
        let mut breaker = opened(now);
        let after = now + COOLDOWN;
        assert_eq!(breaker.circuit(after), Circuit::HalfOpen);
        let probe = breaker.admit(after).unwrap();
        assert_eq!(breaker.admit(after + s(5)), Err(PROBE_WAIT), "a second one at the same time");
        breaker.report(probe, FAILED, after);
        assert_eq!(breaker.admit(after), Err(COOLDOWN));

        let probe = breaker.admit(after + COOLDOWN).unwrap();
        breaker.report(probe, Verdict::Unknown, after + COOLDOWN);
        assert_eq!(breaker.circuit(after + COOLDOWN), Circuit::HalfOpen, "a cancelled probe decides nothing");
        let probe = breaker.admit(after + COOLDOWN).unwrap();
        breaker.report(probe, Verdict::Healthy, after + COOLDOWN);
        assert_eq!(breaker.circuit(after + COOLDOWN), Circuit::Closed);
        assert!(send(&mut breaker, FAILED, after + COOLDOWN), "failures before the recovery no longer count");
        assert_eq!(breaker.circuit(after + COOLDOWN), Circuit::Closed);
    }

    #[test]
    fn requests_from_before_do_not_close_an_open_circuit() {
        let now = Instant::now();
        let mut breaker = breaker(1, 0.5);
        let earlier = [breaker.admit(now).unwrap(), breaker.admit(now).unwrap()];
        assert!(send(&mut breaker, FAILED, now));
        breaker.report(earlier[0], Verdict::Healthy, now + s(1));
        assert_eq!(breaker.circuit(now + s(1)), Circuit::Open);
        let probe = breaker.admit(now + COOLDOWN).unwrap();
        breaker.report(earlier[1], FAILED, now + COOLDOWN);
        assert_eq!(breaker.circuit(now + COOLDOWN), Circuit::HalfOpen);
        breaker.report(probe, Verdict::Healthy, now + COOLDOWN);
        assert_eq!(breaker.circuit(now + COOLDOWN), Circuit::Closed);
    }

    #[test]
    fn failures_are_counted_until_the_circuit_closes() {
        let now = Instant::now();
        let mut closed = breaker(3, 0.5);
        assert!(send(&mut closed, FAILED, now));
        assert_eq!((closed.failures(now), closed.open_for(now)), (1, None));
        assert_eq!(closed.failures(now + WINDOW), 0);
        let mut breaker = opened(now);
        assert_eq!((breaker.failures(now), breaker.open_for(now)), (3, Some(COOLDOWN)));
        let later = now + COOLDOWN;
        assert_eq!((breaker.failures(later), breaker.open_for(later)), (3, None));
        assert!(send(&mut breaker, FAILED, later));
        assert_eq!((breaker.failures(later), breaker.open_for(later)), (4, Some(COOLDOWN)));
        assert!(send(&mut breaker, Verdict::Healthy, later + COOLDOWN));
        assert_eq!(breaker.failures(later + COOLDOWN), 0);
    }

    #[test]
    fn retry_after_is_obeyed() {
        let wait = |seconds| Verdict::Failed { retry_after: Some(s(seconds)) };
        let now = Instant::now();
        let mut once = breaker(3, 0.5);
        assert!(send(&mut once, wait(7), now));
        assert_eq!(once.admit(now), Err(s(7)), "a single refusal that names a delay suffices");

        let mut longer = breaker(1, 0.5);
        assert!(send(&mut longer, wait(90), now));
        assert_eq!(longer.admit(now), Err(s(90)), "longer than the cooldown");
        let mut excessive = breaker(1, 0.5);
        assert!(send(&mut excessive, wait(86_400), now));
        assert_eq!(excessive.admit(now), Err(MAX_RETRY_AFTER));
    }

    #[test]
    fn zero_failures_never_open_the_circuit() {
        let now = Instant::now();
        let mut breaker = breaker(0, 0.0);
        let retry = Verdict::Failed { retry_after: Some(s(60)) };
        assert!((0..100).all(|_| send(&mut breaker, retry, now)));
    }

    #[test]
    fn requests_that_are_refused_themselves_say_nothing_about_the_provider() {
        for kind in ProviderErrorKind::ALL {
            let is_own = matches!(
                kind,
                ProviderErrorKind::UnknownModel | ProviderErrorKind::ContextTooLong | ProviderErrorKind::Rejected
            );
            assert_eq!(Verdict::of(*kind, None) == Verdict::Unknown, is_own, "{kind:?}");
        }
    }

    proptest! {
        #[test]
        fn an_open_circuit_always_recovers(
            steps in prop::collection::vec((0_u8..4, 0_u64..40), 0..60),
        ) {
            let mut breaker = breaker(2, 0.3);
            let mut now = Instant::now();
            let mut pending = Vec::new();
            for (step, seconds) in steps {
                now += s(seconds);
                if let Ok(permission) = breaker.admit(now) {
                    pending.push(permission);
                }
                let verdict = [Verdict::Healthy, FAILED, Verdict::Unknown][usize::from(step.min(2))];
                if step < 3 && let Some(permission) = pending.pop() {
                    breaker.report(permission, verdict, now);
                }
                prop_assert!(pending.iter().filter(|permission| permission.is_probe).count() <= 1);
            }
            for permission in pending {
                breaker.report(permission, Verdict::Unknown, now);
            }
            now += MAX_RETRY_AFTER;
            prop_assert!(send(&mut breaker, Verdict::Healthy, now));
            prop_assert_eq!(breaker.circuit(now), Circuit::Closed);
        }
    }
}
