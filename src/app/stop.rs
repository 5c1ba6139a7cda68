//! The end of a server: emptied, then stopped, or stopped at once.

use crate::{
    http::InFlight,
    limits::{DRAIN_CLOSE_TIMEOUT, DRAIN_FLUSH, DRAIN_TICK},
    ops::OpsSockets,
    registry::{ConnectionManager, ContinueDrain, EndDrain},
    steering::{DrainControl, DrainPhase},
    workflow::Turns,
};
use actix::Addr;
use actix_web::dev::ServerHandle;
use std::{sync::Arc, time::Duration};

/// Stops a server, and looks at it from outside.
#[derive(Clone)]
pub struct ApplicationHandle {
    pub(super) server: ServerHandle,
    pub registry: Addr<ConnectionManager>,
    pub turns: Arc<Turns>,
    pub(super) requests: Arc<InFlight>,
    pub(super) operators: Arc<OpsSockets>,
    pub(super) drain: Arc<DrainControl>,
    pub(super) drain_timeout: Duration,
}

impl ApplicationHandle {
    /// Empties the server, then stops it; ready when it has stopped. Nobody can take this back.
    pub async fn stop(&self) {
        self.drain.stop();
        self.drain.stopped().await;
    }

    /// Empties the server whenever somebody asks for it, until it is to stop then, and stops it.
    pub(super) async fn stop_when_asked(&self) {
        loop {
            self.drain.started().await;
            self.empty().await;
            match self.drain.finish() {
                DrainPhase::Stopping => break,
                DrainPhase::Drained => log::warn!("the server is empty, and stays so until the drain is undone"),
                DrainPhase::Open | DrainPhase::Draining => {}
            }
        }
        self.operators.close(|| getrandom::u32().unwrap_or_default());
        let rest_ends = async {
            while self.requests.requests() + self.requests.unsent() + self.operators.count() > 0 {
                tokio::time::sleep(DRAIN_TICK).await;
            }
        };
        if tokio::time::timeout(DRAIN_CLOSE_TIMEOUT, rest_ends).await.is_err() {
            let (requests, unsent_answers) = (self.requests.requests(), self.requests.unsent());
            let operators = self.operators.count();
            log::warn!(requests, unsent_answers, operators; "cutting requests, answers and operators' sockets that have not ended");
        }
        tokio::time::sleep(DRAIN_FLUSH).await;
        // A graceful stop of actix-web would wait for connections that merely stay open.
        self.server.stop(false).await;
    }

    /// No new sockets and turns; sessions are told to go, those with a running turn when it has ended; after
    /// `server.drain_timeout_s` what still runs is interrupted. An idle server is empty right away. Ends early when the
    /// drain is undone.
    async fn empty(&self) {
        log::info!(running_turns = self.turns.stats().running_turns; "emptying the server");
        loop {
            let running_turns = self.turns.stats().running_turns;
            let unsent_answers = self.requests.unsent();
            let step = ContinueDrain { running_turns, unsent_answers, timeout: self.drain_timeout };
            let Ok(orders) = self.registry.send(step).await else { return };
            if self.drain.phase() == DrainPhase::Open {
                // It may have been undone before this step was taken.
                return self.registry.do_send(EndDrain);
            }
            if orders.interrupt_turns {
                let turns = self.turns.interrupt_all();
                log::warn!(turns; "the time is over: turns that still run are interrupted");
            }
            if orders.done {
                return;
            }
            tokio::time::sleep(DRAIN_TICK).await;
        }
    }

    /// Stops at once.
    pub async fn abort(&self) {
        self.server.stop(false).await;
    }
}
