//! Why a turn stops before its model has said all, and the watch over a turn that goes on for too long.

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
    sync::{Arc, OnceLock},
    task::Poll,
    time::{Duration, Instant},
};

/// Why a turn stops early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// The user said so.
    Cancelled,
    /// Nobody followed it any more.
    Abandoned,
    /// Nothing came for too long, or it took too long in all.
    TimedOut,
    /// The server stops.
    ServerStops,
}

/// Stops a turn, from any thread. Clones stop the same turn.
#[derive(Clone, Default)]
pub struct Stop(Arc<Signal>);

/// The task of a turn looks here for each token: no lock, and no list of those who wait, since only that task does.
#[derive(Default)]
struct Signal {
    reason: OnceLock<StopReason>,
    task: AtomicWaker,
}

impl Stop {
    /// Only the first reason counts.
    pub fn because(&self, reason: StopReason) {
        let _ = self.0.reason.set(reason);
        self.0.task.wake();
    }

    pub fn reason(&self) -> Option<StopReason> {
        self.0.reason.get().copied()
    }

    /// Does `work`; `None` when the turn has to stop first. Only the turn's task waits here, for one work at a time.
    pub fn unless_stopped<T>(&self, mut work: Pin<&mut impl Future<Output = T>>) -> impl Future<Output = Option<T>> {
        poll_fn(move |cx| {
            if self.reason().is_some() {
                return Poll::Ready(None);
            }
            if let Poll::Ready(done) = work.as_mut().poll(cx) {
                return Poll::Ready(Some(done));
            }
            self.0.task.register(cx.waker());
            // A reason that was given before that woke nobody.
            if self.reason().is_some() { Poll::Ready(None) } else { Poll::Pending }
        })
    }
}

/// Looks after one turn. It needs no timer for each token: it wakes when the earliest limit would be over, and looks what
/// has happened since.
pub struct Watch {
    began: Instant,
    /// When something came last.
    last_news: Cell<Instant>,
    /// Time for which the process was paused since the turn began; it counts for no limit.
    paused: Cell<Duration>,
    stall_timeout: Duration,
    turn_timeout: Duration,
    /// Absent when a turn goes on with nobody there.
    abandon_after: Option<Duration>,
}

impl Watch {
    pub fn new(config: &WorkflowConfig, began: Instant) -> Self {
        Self {
            began,
            last_news: Cell::new(began),
            paused: Cell::default(),
            stall_timeout: Duration::from_secs(config.stall_timeout_s),
            turn_timeout: Duration::from_secs(config.turn_timeout_s),
            abandon_after: match config.abandoned {
                Abandoned::Continue => None,
                Abandoned::Stop => Some(Duration::from_secs(config.abandon_after_s)),
            },
        }
    }

    /// Something came from the model right `now`; returns when something came before that, or when the turn began.
    pub fn news(&self, now: Instant) -> Instant {
        self.last_news.replace(now)
    }

    /// Whether the turn has to stop, or else how long nothing can be over. `alone_for`: how long nobody has followed it.
    fn look(&self, now: Instant, alone_for: Option<Duration>) -> Result<Duration, StopReason> {
        let stall = self.stall_timeout.checked_sub(now.saturating_duration_since(self.last_news.get()));
        let turn = self.turn_timeout.checked_sub(now.saturating_duration_since(self.began + self.paused.get()));
        let (Some(stall), Some(turn)) = (stall.filter(|left| !left.is_zero()), turn.filter(|left| !left.is_zero()))
        else {
            return Err(StopReason::TimedOut);
        };
        let alone = match (self.abandon_after, alone_for) {
            (None, _) => Duration::MAX,
            (Some(limit), Some(alone)) if alone >= limit => return Err(StopReason::Abandoned),
            (Some(limit), Some(alone)) => limit - alone,
            // Who leaves now is missed after the whole time, no sooner.
            (Some(limit), None) => limit,
        };
        Ok(stall.min(turn).min(alone))
    }

    /// The process was paused: neither the model nor readers could be heard meanwhile.
    fn skip_pause(&self, paused: Duration) {
        self.paused.set(self.paused.get() + paused);
        self.last_news.set((self.last_news.get() + paused).min(Instant::now()));
    }

    /// Ready when the turn has to stop.
    pub async fn over(&self, log: &TurnLog) -> StopReason {
        // Of the time that nobody has followed the turn.
        let mut paused_alone = Duration::ZERO;
        loop {
            let now = Instant::now();
            let alone_for = log.without_subscribers_for().map(|alone| alone.saturating_sub(paused_alone));
            if alone_for.is_none() {
                paused_alone = Duration::ZERO;
            }
            let quiet = match self.look(now, alone_for) {
                Ok(quiet) => quiet,
                Err(reason) => return reason,
            };
            tokio::time::sleep(quiet).await;
            if let Some(late) = pause::lateness(now + quiet, Instant::now()) {
                // When the pause began is not known: all that passed since the last look is left out.
                self.skip_pause(quiet + late);
                paused_alone += quiet + late;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use std::{future::pending, pin::pin};

    fn watch(abandoned: Abandoned) -> Watch {
        let config = WorkflowConfig {
            stall_timeout_s: 10,
            turn_timeout_s: 25,
            abandon_after_s: 5,
            abandoned,
            ..WorkflowConfig::default()
        };
        Watch::new(&config, Instant::now())
    }

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn silence_ends_a_turn_and_news_does_not() {
        let watch = watch(Abandoned::Continue);
        assert_eq!(watch.look(watch.began + s(4), None), Ok(s(6)));
        assert_eq!(watch.look(watch.began + s(10), None), Err(StopReason::TimedOut));
        watch.last_news.set(watch.began + s(9));
        assert_eq!(watch.look(watch.began + s(10), None), Ok(s(9)));
    }

    #[test]
    fn a_turn_that_never_ends_is_ended() {
        let watch = watch(Abandoned::Continue);
        watch.last_news.set(watch.began + s(24));
        assert_eq!(watch.look(watch.began + s(24), None), Ok(s(1)));
        assert_eq!(watch.look(watch.began + s(25), None), Err(StopReason::TimedOut));
    }

    #[test]
    fn a_pause_of_the_process_counts_for_no_limit() {
        let watch = watch(Abandoned::Continue);
        watch.last_news.set(watch.began);
        watch.skip_pause(s(100));
        assert_eq!(watch.paused.get(), s(100));
        assert!(watch.last_news.get() <= Instant::now(), "news of the future");
        assert!(watch.look(watch.began + s(104), None).is_err(), "its news is older than the pause");
        watch.last_news.set(watch.began + s(103));
        assert_eq!(watch.look(watch.began + s(104), None), Ok(s(9)));
        assert_eq!(watch.look(watch.began + s(112), None), Ok(s(1)));
    }

    #[test]
    fn nobody_there_matters_only_by_choice() {
        let alone = Some(s(5));
        let (patient, strict) = (watch(Abandoned::Continue), watch(Abandoned::Stop));
        assert_eq!(patient.look(patient.began, alone), Ok(s(10)));
        assert_eq!(strict.look(strict.began, alone), Err(StopReason::Abandoned));
        assert_eq!(strict.look(strict.began, Some(s(2))), Ok(s(3)));
        assert_eq!(strict.look(strict.began, None), Ok(s(5)));
    }

    #[test]
    fn the_first_reason_counts() {
        let stop = Stop::default();
        stop.because(StopReason::TimedOut);
        stop.clone().because(StopReason::Cancelled);
        assert_eq!(stop.reason(), Some(StopReason::TimedOut));
    }

    #[tokio::test]
    async fn work_goes_on_until_there_is_a_reason() {
        let stop = Stop::default();
        assert_eq!(stop.unless_stopped(pin!(async { 1 })).await, Some(1));
        let stopping = stop.clone();
        let work = tokio::spawn(async move { stop.unless_stopped(pin!(pending::<()>())).await });
        // It waits now.
        tokio::task::yield_now().await;
        stopping.because(StopReason::Cancelled);
        assert_eq!(work.await.unwrap(), None);
        assert_eq!(stopping.unless_stopped(pin!(async { 1 })).await, None, "what stopped begins nothing");
    }

    #[test]
    fn a_reason_that_comes_while_work_is_looked_at_is_seen() {
        let stop = Stop::default();
        let work = poll_fn(|_| {
            stop.because(StopReason::Cancelled);
            Poll::<()>::Pending
        });
        assert_eq!(stop.unless_stopped(pin!(work)).now_or_never(), Some(None));
    }
}
