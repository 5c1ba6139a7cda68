//! Whether the server is being emptied, for what, and who may take that back.
//!
//! Who decides is here; the emptying itself is done by [`crate::app`], session by session.

use crate::{limits::DRAIN_RETRY_MS, protocol::ApiError, workflow::Turns};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tokio::sync::watch;

/// What follows when the server is empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Then {
    /// The process ends.
    #[default]
    Stop,
    /// It runs on, empty and not ready, until the drain is undone.
    Stay,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DrainPhase {
    /// The server takes new work.
    #[default]
    Open,
    /// Sessions are told to go, running turns may end.
    Draining,
    /// It is empty, and stays so until the drain is undone.
    Drained,
    /// It is empty, and ends.
    Stopping,
}

#[derive(Clone, Copy, Debug, Default)]
struct Wish {
    phase: DrainPhase,
    then: Then,
    /// The process was told to end; whoever did that counts on it.
    is_final: bool,
}

pub struct DrainControl {
    wish: watch::Sender<Wish>,
    stopped: watch::Sender<bool>,
    /// Closed and opened together with every change of the wish.
    turns: Arc<Turns>,
}

impl DrainControl {
    pub fn new(turns: Arc<Turns>) -> Arc<Self> {
        Arc::new(Self { wish: watch::Sender::default(), stopped: watch::Sender::default(), turns })
    }

    pub fn phase(&self) -> DrainPhase {
        self.wish.borrow().phase
    }

    /// What follows a drain that goes on.
    pub fn then(&self) -> Option<Then> {
        let wish = *self.wish.borrow();
        (wish.phase != DrainPhase::Open).then_some(wish.then)
    }

    /// An operator wants the server empty. Takes no new work from now on.
    pub fn ask(&self, then: Then) {
        self.wish.send_modify(|wish| {
            self.turns.drain();
            let goes_on = wish.phase == DrainPhase::Drained && then == Then::Stay;
            if wish.phase == DrainPhase::Stopping || wish.is_final || goes_on {
                return;
            }
            *wish = Wish { phase: DrainPhase::Draining, then, is_final: false };
        });
    }

    /// The process is to end, whatever operators say.
    pub fn stop(&self) {
        self.wish.send_modify(|wish| {
            self.turns.drain();
            if wish.phase != DrainPhase::Stopping {
                wish.phase = DrainPhase::Draining;
            }
            (wish.then, wish.is_final) = (Then::Stop, true);
        });
    }

    /// Takes new work again. Of a server that is not being emptied nothing changes.
    ///
    /// # Errors
    /// `OVERLOADED` when it is too late: the server ends, or the process was told to.
    pub fn undo(&self) -> Result<(), ApiError> {
        let mut undone = Ok(());
        self.wish.send_modify(|wish| {
            if wish.is_final || wish.phase == DrainPhase::Stopping {
                undone = Err(ApiError::overloaded("The server ends; this cannot be undone.", DRAIN_RETRY_MS));
                return;
            }
            *wish = Wish::default();
            self.turns.reopen();
        });
        undone
    }

    /// Ready when there is something to empty.
    pub async fn wanted(&self) {
        // The sender is `self`: it lives.
        let _ = self.wish.subscribe().wait_for(|wish| wish.phase == DrainPhase::Draining).await;
    }

    /// The server is empty; tells what follows, which is `Open` when the drain was undone meanwhile.
    pub fn emptied(&self) -> DrainPhase {
        let mut phase = DrainPhase::Open;
        self.wish.send_modify(|wish| {
            wish.phase = match (wish.phase, wish.then) {
                (DrainPhase::Draining, Then::Stop) => DrainPhase::Stopping,
                (DrainPhase::Draining, Then::Stay) => DrainPhase::Drained,
                (phase, _) => phase,
            };
            phase = wish.phase;
        });
        phase
    }

    /// The server has ended.
    pub fn set_stopped(&self) {
        self.stopped.send_replace(true);
    }

    /// Ready when the server has ended.
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
        protocol::ErrorCode,
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
    fn a_server_that_stays_is_empty_until_it_is_undone() {
        let control = control();
        assert!(control.wanted().now_or_never().is_none() && is_open(&control));
        control.ask(Then::Stay);
        assert!(control.wanted().now_or_never().is_some() && !is_open(&control));
        assert_eq!((control.emptied(), control.then()), (DrainPhase::Drained, Some(Then::Stay)));
        assert!(control.wanted().now_or_never().is_none());
        control.ask(Then::Stay);
        assert_eq!(control.phase(), DrainPhase::Drained);
        control.undo().unwrap();
        assert_eq!((control.phase(), control.then()), (DrainPhase::Open, None));
        assert!(is_open(&control));
        assert_eq!(control.emptied(), DrainPhase::Open, "nothing follows");
    }

    #[test]
    fn a_stop_can_be_undone_until_it_has_come_to_its_end() {
        let control = control();
        control.ask(Then::Stop);
        control.undo().unwrap();
        assert!(is_open(&control));
        control.ask(Then::Stop);
        assert_eq!(control.emptied(), DrainPhase::Stopping);
        assert_eq!(control.undo().unwrap_err().code, ErrorCode::Overloaded);
        control.ask(Then::Stay);
        assert_eq!((control.phase(), is_open(&control)), (DrainPhase::Stopping, false));
    }

    #[test]
    fn the_word_of_who_runs_the_process_is_final() {
        let control = control();
        control.ask(Then::Stay);
        control.emptied();
        control.stop();
        assert!(control.wanted().now_or_never().is_some(), "it goes on from where it stayed");
        control.ask(Then::Stay);
        assert_eq!(control.undo().unwrap_err().code, ErrorCode::Overloaded);
        assert_eq!(control.emptied(), DrainPhase::Stopping);
        assert!(control.stopped().now_or_never().is_none());
        control.set_stopped();
        assert!(control.stopped().now_or_never().is_some());
    }

    #[test]
    fn an_operator_may_change_what_follows() {
        let control = control();
        control.ask(Then::Stay);
        control.ask(Then::Stop);
        assert_eq!(control.then(), Some(Then::Stop));
        control.ask(Then::Stay);
        assert_eq!(control.emptied(), DrainPhase::Drained);
    }
}
