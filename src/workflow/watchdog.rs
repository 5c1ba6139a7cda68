//! Early stop of a turn: the signal that stops it, and the watchdog that enforces its time limits.

use crate::{
    config::{Abandoned, WorkflowConfig},
    pause,
    turn::TurnLog,
};
use futures_util::task::AtomicWaker;
use std::{
    cell::Cell,
    future::{Future, poll_fn},
    pin::Pin,
    rc::Rc,
    sync::{Arc, OnceLock},
    task::Poll,
    time::{Duration, Instant},
};

/// The reason why a turn stops early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// The user cancelled it.
    Cancelled,
    /// It had no subscriber for `workflow.abandon_after_s`.
    Abandoned,
    /// It made no progress for `workflow.stall_timeout_s`, or exceeded `workflow.turn_timeout_s`.
    TimedOut,
    /// The server is stopping.
    ServerStopping,
}

/// Stops a turn from any thread. Clones refer to the same turn.
#[derive(Clone, Default)]
pub struct StopSignal(Arc<Signal>);

/// The turn's task checks this for each token, so it takes no lock. A single waker suffices: only that task waits.
#[derive(Default)]
struct Signal {
    reason: OnceLock<StopReason>,
    task: AtomicWaker,
}

impl StopSignal {
    /// Requests a stop. The first reason is kept.
    pub fn request(&self, reason: StopReason) {
        let _ = self.0.reason.set(reason);
        self.0.task.wake();
    }

    pub fn reason(&self) -> Option<StopReason> {
        self.0.reason.get().copied()
    }

    /// Runs `work`; returns `None` if the turn has to stop first. Only the turn's task may call this, once at a time.
    pub fn unless_stopped<T>(&self, mut work: Pin<&mut impl Future<Output = T>>) -> impl Future<Output = Option<T>> {
        poll_fn(move |cx| {
            if self.reason().is_some() {
                return Poll::Ready(None);
            }
            if let Poll::Ready(done) = work.as_mut().poll(cx) {
                return Poll::Ready(Some(done));
            }
            self.0.task.register(cx.waker());
            // A request before the waker was registered did not wake this task.
            if self.reason().is_some() { Poll::Ready(None) } else { Poll::Pending }
        })
    }
}

/// Enforces the time limits of one turn. It sets no timer per token: it wakes when the earliest limit could be exceeded, and
/// compares it with the progress since.
pub struct Watchdog {
    started_at: Instant,
    last_progress_at: Cell<Instant>,
    /// Time for which the process was paused since the turn started; it counts towards no limit.
    paused: Cell<Duration>,
    stall_timeout: Duration,
    turn_timeout: Duration,
    /// `None` if a turn without subscribers goes on.
    abandon_after: Option<Duration>,
}

impl Watchdog {
    pub fn new(config: &WorkflowConfig, started_at: Instant) -> Self {
        Self {
            started_at,
            last_progress_at: Cell::new(started_at),
            paused: Cell::default(),
            stall_timeout: Duration::from_secs(config.stall_timeout_s),
            turn_timeout: Duration::from_secs(config.turn_timeout_s),
            abandon_after: match config.abandoned {
                Abandoned::Continue => None,
                Abandoned::Stop => Some(Duration::from_secs(config.abandon_after_s)),
            },
        }
    }

    /// Records output of the model; returns the time of the previous output, or of the turn's start.
    pub fn on_progress(&self, now: Instant) -> Instant {
        self.last_progress_at.replace(now)
    }

    /// Returns the time until a limit can be exceeded, or the reason to stop if one is. `abandoned_for` is the time without
    /// subscribers.
    fn check(&self, now: Instant, abandoned_for: Option<Duration>) -> Result<Duration, StopReason> {
        let stall = self.stall_timeout.checked_sub(now.saturating_duration_since(self.last_progress_at.get()));
        let turn = self.turn_timeout.checked_sub(now.saturating_duration_since(self.started_at + self.paused.get()));
        let (Some(stall), Some(turn)) = (stall.filter(|left| !left.is_zero()), turn.filter(|left| !left.is_zero()))
        else {
            return Err(StopReason::TimedOut);
        };
        let abandoned = match (self.abandon_after, abandoned_for) {
            (None, _) => Duration::MAX,
            (Some(limit), Some(time)) if time >= limit => return Err(StopReason::Abandoned),
            (Some(limit), Some(time)) => limit - time,
            // Even if the last subscriber leaves now, the limit is not exceeded earlier.
            (Some(limit), None) => limit,
        };
        Ok(stall.min(turn).min(abandoned))
    }

    /// Excludes a pause of the process, during which neither model nor subscribers could be heard, from the limits.
    fn skip_pause(&self, paused: Duration) {
        self.paused.set(self.paused.get() + paused);
        self.last_progress_at.set((self.last_progress_at.get() + paused).min(Instant::now()));
    }

    /// Waits until the turn exceeds a limit.
    pub async fn expired(&self, log: &TurnLog) -> StopReason {
        // The share of pauses in the time without subscribers.
        let mut paused_abandoned = Duration::ZERO;
        loop {
            let now = Instant::now();
            let abandoned_for = log.without_subscribers_for().map(|time| time.saturating_sub(paused_abandoned));
            if abandoned_for.is_none() {
                paused_abandoned = Duration::ZERO;
            }
            let remaining = match self.check(now, abandoned_for) {
                Ok(remaining) => remaining,
                Err(reason) => return reason,
            };
            tokio::time::sleep(remaining).await;
            if let Some(late) = pause::lateness(now + remaining, Instant::now()) {
                // The start of the pause is unknown, so all the time since the last check is excluded.
                self.skip_pause(remaining + late);
                paused_abandoned += remaining + late;
            }
        }
    }
}

/// Stops a turn that exceeds a time limit or is abandoned.
pub async fn stop_when_expired(watchdog: Rc<Watchdog>, log: Arc<TurnLog>, stop: StopSignal) {
    let reason = watchdog.expired(&log).await;
    log::warn!(turn_id:% = log.subject.turn_id, reason:? = reason; "turn stopped by its watchdog");
    stop.request(reason);
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use std::{future::pending, pin::pin};

    fn watchdog(abandoned: Abandoned) -> Watchdog {
        let config = WorkflowConfig {
            stall_timeout_s: 10,
            turn_timeout_s: 25,
            abandon_after_s: 5,
            abandoned,
            ..WorkflowConfig::default()
        };
        Watchdog::new(&config, Instant::now())
    }

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn turn_without_progress_times_out() {
        let watchdog = watchdog(Abandoned::Continue);
        assert_eq!(watchdog.check(watchdog.started_at + s(4), None), Ok(s(6)));
        assert_eq!(watchdog.check(watchdog.started_at + s(10), None), Err(StopReason::TimedOut));
        watchdog.last_progress_at.set(watchdog.started_at + s(9));
        assert_eq!(watchdog.check(watchdog.started_at + s(10), None), Ok(s(9)));
    }

    #[test]
    fn turn_exceeding_the_total_time_is_stopped() {
        let watchdog = watchdog(Abandoned::Continue);
        watchdog.last_progress_at.set(watchdog.started_at + s(24));
        assert_eq!(watchdog.check(watchdog.started_at + s(24), None), Ok(s(1)));
        assert_eq!(watchdog.check(watchdog.started_at + s(25), None), Err(StopReason::TimedOut));
    }

    #[test]
    fn pause_of_the_process_counts_towards_no_limit() {
        let watchdog = watchdog(Abandoned::Continue);
        watchdog.last_progress_at.set(watchdog.started_at);
        watchdog.skip_pause(s(100));
        assert_eq!(watchdog.paused.get(), s(100));
        assert!(watchdog.last_progress_at.get() <= Instant::now(), "progress in the future");
        assert!(
            watchdog.check(watchdog.started_at + s(104), None).is_err(),
            "the last progress is older than the pause"
        );
        watchdog.last_progress_at.set(watchdog.started_at + s(103));
        assert_eq!(watchdog.check(watchdog.started_at + s(104), None), Ok(s(9)));
        assert_eq!(watchdog.check(watchdog.started_at + s(112), None), Ok(s(1)));
    }

    #[test]
    fn abandoned_turn_is_stopped_only_if_configured() {
        let abandoned = Some(s(5));
        let (patient, strict) = (watchdog(Abandoned::Continue), watchdog(Abandoned::Stop));
        assert_eq!(patient.check(patient.started_at, abandoned), Ok(s(10)));
        assert_eq!(strict.check(strict.started_at, abandoned), Err(StopReason::Abandoned));
        assert_eq!(strict.check(strict.started_at, Some(s(2))), Ok(s(3)));
        assert_eq!(strict.check(strict.started_at, None), Ok(s(5)));
    }

    #[test]
    fn first_reason_is_kept() {
        let stop = StopSignal::default();
        stop.request(StopReason::TimedOut);
        stop.clone().request(StopReason::Cancelled);
        assert_eq!(stop.reason(), Some(StopReason::TimedOut));
    }

    #[tokio::test]
    async fn work_runs_until_a_stop_is_requested() {
        let stop = StopSignal::default();
        assert_eq!(stop.unless_stopped(pin!(async { 1 })).await, Some(1));
        let stopping = stop.clone();
        let work = tokio::spawn(async move { stop.unless_stopped(pin!(pending::<()>())).await });
        // Lets the task start waiting.
        tokio::task::yield_now().await;
        stopping.request(StopReason::Cancelled);
        assert_eq!(work.await.unwrap(), None);
        assert_eq!(stopping.unless_stopped(pin!(async { 1 })).await, None, "a stopped turn starts no work");
    }

    #[test]
    fn stop_requested_while_work_is_polled_is_noticed() {
        let stop = StopSignal::default();
        let work = poll_fn(|_| {
            stop.request(StopReason::Cancelled);
            Poll::<()>::Pending
        });
        assert_eq!(stop.unless_stopped(pin!(work)).now_or_never(), Some(None));
    }
}
