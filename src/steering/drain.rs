//! State of a drain: whether the server drains, what follows, and whether the drain can still be undone.
//!
//! [`crate::app`] carries the drain out.

use crate::workflow::Turns;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tokio::sync::watch;

/// Action that follows a drain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Then {
    /// Stop the process.
    #[default]
    Stop,
    /// Keep running, without connections and not ready, until the drain is undone.
    Stay,
}

/// Phase of the server with regard to drains.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DrainPhase {
    /// The server accepts connections and questions.
    #[default]
    Open,
    /// Connections are being closed; running turns may finish.
    Draining,
    /// All connections are closed. The server stays like this until the drain is undone.
    Drained,
    /// All connections are closed, and the process stops.
    Stopping,
}

/// A drain that can no longer be undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the server is stopping; this cannot be undone")]
pub struct TooLate;

#[derive(Clone, Copy, Debug, Default)]
struct State {
    phase: DrainPhase,
    then: Then,
    /// The drain cannot be undone, because a signal told the process to stop.
    is_final: bool,
}

/// The state of a drain, shared by the routes that control it and the task that carries it out.
pub struct DrainControl {
    state: watch::Sender<State>,
    stopped: watch::Sender<bool>,
    /// Closed and reopened with each change of the state.
    turns: Arc<Turns>,
}

impl DrainControl {
    pub fn new(turns: Arc<Turns>) -> Arc<Self> {
        Arc::new(Self { state: watch::Sender::default(), stopped: watch::Sender::default(), turns })
    }

    pub fn phase(&self) -> DrainPhase {
        self.state.borrow().phase
    }

    /// The action that follows the current drain, if there is one.
    pub fn then(&self) -> Option<Then> {
        let state = *self.state.borrow();
        (state.phase != DrainPhase::Open).then_some(state.then)
    }

    /// Starts a drain for an operator: from now on the server refuses new connections and questions.
    pub fn start(&self, then: Then) {
        self.state.send_modify(|state| {
            self.turns.drain();
            let is_repeated = state.phase == DrainPhase::Drained && then == Then::Stay;
            if state.phase == DrainPhase::Stopping || state.is_final || is_repeated {
                return;
            }
            *state = State { phase: DrainPhase::Draining, then, is_final: false };
        });
    }

    /// Starts a drain for a signal to the process; operators cannot undo it.
    pub fn stop(&self) {
        self.state.send_modify(|state| {
            self.turns.drain();
            if state.phase != DrainPhase::Stopping {
                state.phase = DrainPhase::Draining;
            }
            (state.then, state.is_final) = (Then::Stop, true);
        });
    }

    /// Undoes the drain, if there is one: the server accepts connections and questions again.
    ///
    /// # Errors
    /// When it is too late: the server is stopping, or a signal started the drain.
    pub fn undo(&self) -> Result<(), TooLate> {
        let mut undone = Ok(());
        self.state.send_modify(|state| {
            if state.is_final || state.phase == DrainPhase::Stopping {
                undone = Err(TooLate);
                return;
            }
            *state = State::default();
            self.turns.reopen();
        });
        undone
    }

    /// Waits for the start of a drain.
    pub async fn started(&self) {
        // Cannot fail: `self` holds the sender.
        let _ = self.state.subscribe().wait_for(|state| state.phase == DrainPhase::Draining).await;
    }

    /// Records that all connections are closed. Returns the next phase, which is `Open` if the drain was undone meanwhile.
    pub fn finish(&self) -> DrainPhase {
        let mut phase = DrainPhase::Open;
        self.state.send_modify(|state| {
            state.phase = match (state.phase, state.then) {
                (DrainPhase::Draining, Then::Stop) => DrainPhase::Stopping,
                (DrainPhase::Draining, Then::Stay) => DrainPhase::Drained,
                (phase, _) => phase,
            };
            phase = state.phase;
        });
        phase
    }

    /// Records that the server has stopped.
    pub fn set_stopped(&self) {
        self.stopped.send_replace(true);
    }

    /// Waits until the server has stopped.
    pub async fn stopped(&self) {
        let _ = self.stopped.subscribe().wait_for(|stopped| *stopped).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::{LimitsConfig, WorkflowConfig},
        limiter::Limiter,
    };
    use futures_util::FutureExt;

    fn control() -> Arc<DrainControl> {
        let limiter = Arc::new(Limiter::new(&LimitsConfig::default()));
        DrainControl::new(Turns::new(&WorkflowConfig::default(), limiter))
    }

    fn is_open(control: &DrainControl) -> bool {
        control.turns.check_open().is_ok()
    }

    #[test]
    fn a_server_that_stays_is_drained_until_the_drain_is_undone() {
        let control = control();
        assert!(control.started().now_or_never().is_none() && is_open(&control));
        control.start(Then::Stay);
        assert!(control.started().now_or_never().is_some() && !is_open(&control));
        assert_eq!((control.finish(), control.then()), (DrainPhase::Drained, Some(Then::Stay)));
        assert!(control.started().now_or_never().is_none());
        control.start(Then::Stay);
        assert_eq!(control.phase(), DrainPhase::Drained);
        control.undo().unwrap();
        assert_eq!((control.phase(), control.then()), (DrainPhase::Open, None));
        assert!(is_open(&control));
        assert_eq!(control.finish(), DrainPhase::Open, "the drain was undone");
    }

    #[test]
    fn a_stop_can_be_undone_until_all_connections_are_closed() {
        let control = control();
        control.start(Then::Stop);
        control.undo().unwrap();
        assert!(is_open(&control));
        control.start(Then::Stop);
        assert_eq!(control.finish(), DrainPhase::Stopping);
        assert_eq!(control.undo(), Err(TooLate));
        control.start(Then::Stay);
        assert_eq!((control.phase(), is_open(&control)), (DrainPhase::Stopping, false));
    }

    #[test]
    fn a_drain_by_a_signal_cannot_be_undone() {
        let control = control();
        control.start(Then::Stay);
        control.finish();
        control.stop();
        assert!(control.started().now_or_never().is_some(), "a drained server that stays stops after a signal");
        control.start(Then::Stay);
        assert_eq!(control.undo(), Err(TooLate));
        assert_eq!(control.finish(), DrainPhase::Stopping);
        assert!(control.stopped().now_or_never().is_none());
        control.set_stopped();
        assert!(control.stopped().now_or_never().is_some());
    }

    #[test]
    fn an_operator_may_change_the_action_that_follows() {
        let control = control();
        control.start(Then::Stay);
        control.start(Then::Stop);
        assert_eq!(control.then(), Some(Then::Stop));
        control.start(Then::Stay);
        assert_eq!(control.finish(), DrainPhase::Drained);
    }
}
