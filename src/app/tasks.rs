//! Periodic tasks of a running server.

use crate::{
    auth::Accounts,
    limits::{CLOCK_INTERVAL, REVOCATIONS_INTERVAL},
    registry::{ConnectionManager, ConnectionRegistry},
    steering::DrainControl,
    store::{ClockStore, ServingClock},
};
use actix::Addr;
use std::sync::Arc;

/// Polls the store for tokens that other processes have revoked, such as `switchboard user set-password`, and ends the
/// sessions that use them.
pub(super) async fn learn_revocations(
    accounts: Arc<Accounts>,
    registry: Addr<ConnectionManager>,
    drain: Arc<DrainControl>,
) {
    let mut ticks = tokio::time::interval(REVOCATIONS_INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = drain.stopped() => return,
            _ = ticks.tick() => {}
        }
        // The error has been logged; the next poll starts at the same position.
        let Ok(revocations) = accounts.learn_revocations().await else { continue };
        if !revocations.is_empty() {
            registry.revoke(revocations);
        }
    }
}

/// Stores the serving time periodically, and deletes what has expired by it.
pub(super) async fn keep_time(
    clock: ServingClock,
    store: Arc<dyn ClockStore>,
    accounts: Arc<Accounts>,
    drain: Arc<DrainControl>,
) {
    let mut ticks = tokio::time::interval(CLOCK_INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = drain.stopped() => return,
            _ = ticks.tick() => {}
        }
        store_time(&clock, &*store).await;
        // The error has been logged; the next tick tries again.
        let _ = accounts.forget_expired().await;
    }
}

/// Stores the total time that servers have run on this database.
pub(super) async fn store_time(clock: &ServingClock, store: &dyn ClockStore) {
    if let Err(error) = store.keep_served_time(clock.advance()).await {
        log::error!("could not store the serving time: {error}");
    }
}
