//! Shutdown: draining a server and stopping it, or stopping it at once.

use crate::{
    limits::{DRAIN_CLOSE_TIMEOUT, DRAIN_FLUSH, DRAIN_TICK},
    registry::{CloseOperators, ConnectionKind, ConnectionManager, ConnectionRegistry, ContinueDrain, EndDrain},
    steering::{DrainControl, DrainPhase},
    transport::InFlight,
    workflow::Turns,
};
use actix::Addr;
use actix_web::dev::ServerHandle;
use std::{sync::Arc, time::Duration};

/// Handle to a running application: stops it, and gives access to its registry and turns.
#[derive(Clone)]
pub struct ApplicationHandle {
    pub(super) server: ServerHandle,
    pub registry: Addr<ConnectionManager>,
    pub turns: Arc<Turns>,
    pub(super) requests: Arc<InFlight>,
    pub(super) drain: Arc<DrainControl>,
    pub(super) drain_timeout: Duration,
}

impl ApplicationHandle {
    /// Drains the server and stops it; returns when it has stopped. This drain cannot be cancelled.
    pub async fn stop(&self) {
        self.drain.stop();
        self.drain.stopped().await;
    }

    /// Drains the server whenever a drain is requested, until one is to end with a stop; then stops the server.
    pub(super) async fn stop_when_asked(&self) {
        loop {
            self.drain.started().await;
            self.drain_connections().await;
            match self.drain.finish() {
                DrainPhase::Stopping => break,
                DrainPhase::Drained => {
                    log::warn!("server drained; it accepts no connections until the drain is cancelled")
                }
                DrainPhase::Open | DrainPhase::Draining => {}
            }
        }
        self.registry.do_send(CloseOperators);
        let rest_ends = async {
            while self.requests.requests() + self.requests.unsent() + self.operators().await > 0 {
                tokio::time::sleep(DRAIN_TICK).await;
            }
        };
        if tokio::time::timeout(DRAIN_CLOSE_TIMEOUT, rest_ends).await.is_err() {
            let (requests, unsent_answers) = (self.requests.requests(), self.requests.unsent());
            let operators = self.operators().await;
            log::warn!(requests, unsent_answers, operators; "drain ended; cutting unfinished requests, unsent responses and operators' connections");
        }
        tokio::time::sleep(DRAIN_FLUSH).await;
        // A graceful stop of actix-web would wait for idle keep-alive connections.
        self.server.stop(false).await;
    }

    /// Number of operators' connections.
    async fn operators(&self) -> usize {
        let stats = self.registry.stats().await.unwrap_or_default();
        stats.of_kind(ConnectionKind::Operator).map_or(0, |counted| counted.connections)
    }

    /// Refuses new connections and turns, and asks sessions to close, those with a running turn once it has ended. After
    /// `server.drain_timeout_s`, turns that still run are interrupted. Returns at once on an idle server, and early when the
    /// drain is cancelled.
    async fn drain_connections(&self) {
        log::info!(running_turns = self.turns.stats().running_turns; "drain started");
        loop {
            let running_turns = self.turns.stats().running_turns;
            let unsent_answers = self.requests.unsent();
            let step = ContinueDrain { running_turns, unsent_answers, timeout: self.drain_timeout };
            let Ok(orders) = self.registry.send(step).await else { return };
            if self.drain.phase() == DrainPhase::Open {
                // The drain may have been cancelled before this step.
                return self.registry.do_send(EndDrain);
            }
            if orders.interrupt_turns {
                let turns = self.turns.interrupt_all();
                log::warn!(turns; "drain timed out; interrupting running turns");
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
