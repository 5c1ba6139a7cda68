//! Numbers about the server as a whole: read once a second for all operators' connections, and kept for some minutes, so that
//! a page has charts as soon as it opens.

use super::{
    frames::{HistoryFrame, OpsServerFrame, StatsFrame, Totals},
    history::{History, Reading},
};
use crate::{
    domain::UnixMillis,
    limiter::Limiter,
    limits::MAX_OPS_CONNECTIONS,
    metrics::{Bucket, Metrics},
    process::Process,
    provider::Providers,
    registry::{ConnectionManager, ConnectionRegistry},
    workflow::{
        Turns,
        budgets::{BudgetUse, Budgets},
    },
};
use actix::Addr;
use bytestring::ByteString;
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};
use switchboard_protocol::{ApiError, Dialect, ErrorCode};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::MissedTickBehavior,
};

/// Interval at which the use of the daily budgets is read.
const BUDGET_INTERVAL: Duration = Duration::from_secs(10);

/// Sources of the numbers.
pub struct FeedSources {
    pub registry: Addr<ConnectionManager>,
    pub turns: Arc<Turns>,
    pub limiter: Arc<Limiter>,
    pub metrics: Arc<Metrics>,
    pub providers: Arc<Providers>,
    pub budgets: Arc<Budgets>,
}

pub struct Feed {
    sources: FeedSources,
    process: Process,
    started_at: UnixMillis,
    permits: Arc<Semaphore>,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    history: History,
    budget: BudgetReading,
    /// The latest `stats` frame, encoded once for all connections.
    stats: Option<Stats>,
}

/// The use of the budgets, which is read from the store.
#[derive(Default)]
struct BudgetReading {
    read_at: Option<Instant>,
    latest: Option<BudgetUse>,
}

/// An encoded `stats` frame.
#[derive(Clone, Debug)]
pub struct Stats {
    pub at: UnixMillis,
    pub frame: ByteString,
}

impl Feed {
    pub fn new(sources: FeedSources) -> Arc<Self> {
        Arc::new(Self {
            sources,
            process: Process::this(),
            started_at: UnixMillis::now(),
            permits: Arc::new(Semaphore::new(MAX_OPS_CONNECTIONS)),
            kept: Mutex::default(),
        })
    }

    /// Reads once a second until the feed is dropped.
    pub async fn run(feed: Weak<Self>) {
        let mut ticks = tokio::time::interval(Duration::from_secs(1));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let Some(feed) = feed.upgrade() else { return };
            feed.read().await;
        }
    }

    async fn read(&self) {
        let FeedSources { registry, turns: all_turns, limiter, metrics, providers, .. } = &self.sources;
        // The registry is gone: the server stops.
        let Ok(connections) = registry.stats().await else { return };
        let budget = self.budget_use().await;
        let (turns, counted, limits) = (all_turns.stats(), metrics.snapshot(), limiter.hits());
        let of_dialect = |dialect| {
            let found = connections.by_dialect.iter().find(|counted| counted.dialect == dialect);
            found.map_or(0, |counted| counted.connections)
        };
        let (connections_v1, connections_v2) = (of_dialect(Dialect::V1), of_dialect(Dialect::V2));
        let totals = Totals {
            started_at_ms: self.started_at,
            draining: all_turns.check_open().is_err(),
            operators: connections.operators(),
            connections_v1,
            connections_v2,
            sessions_v1: connections_v1,
            sessions_v2: connections_v2,
            stalled: connections.stalled,
            opened: connections.opened,
            turns: turns.started_turns,
            tokens: connections.tokens_sent,
            errors: counted.errors,
            refused: limits.total(),
            errors_by_code: metrics.errors_by_code(),
            refused_by_limit: limits.each().filter(|(_, count)| *count > 0).collect(),
            providers: providers.status(),
            budget,
        };
        let usage = self.process.usage().unwrap_or_default();
        let bucket = |bucket: Bucket| (bucket.up_to_s.map_or(f64::INFINITY, |bound| bound * 1_000.0), bucket.count);
        let reading = Reading {
            at_ms: UnixMillis::now(),
            connections: connections.connections,
            authenticated: connections.authenticated,
            users: connections.users,
            lagging: connections.lagging,
            running_turns: turns.running_turns,
            waiting_turns: turns.waiting_turns,
            opened: connections.opened,
            closed: connections.closed,
            turns: turns.started_turns,
            tokens: connections.tokens_sent,
            errors: counted.errors,
            first_tokens: counted.first_token.into_iter().map(bucket).collect(),
            cpu_ms: u64::try_from(usage.cpu.as_millis()).unwrap_or(u64::MAX),
            memory_bytes: usage.resident,
        };
        let mut kept = self.lock();
        let sample = kept.history.push(reading);
        let (at, frame) = (sample.at_ms, OpsServerFrame::Stats(StatsFrame { sample, totals: &totals }).encode());
        kept.stats = Some(Stats { at, frame });
    }

    /// Returns the use of the daily budgets, as of [`BUDGET_INTERVAL`] ago at most. Without an operator's connection, the store is not
    /// asked.
    async fn budget_use(&self) -> Option<BudgetUse> {
        let is_due = |read_at: Option<Instant>| read_at.is_none_or(|read_at| read_at.elapsed() >= BUDGET_INTERVAL);
        let has_operators = self.permits.available_permits() < MAX_OPS_CONNECTIONS;
        if !has_operators || !is_due(self.lock().budget.read_at) {
            return self.lock().budget.latest;
        }
        let latest = self.sources.budgets.use_today().await;
        self.lock().budget = BudgetReading { read_at: Some(Instant::now()), latest };
        latest
    }

    /// The latest `stats` frame; `None` during the first second.
    pub fn stats(&self) -> Option<Stats> {
        self.lock().stats.clone()
    }

    /// The `history` frame.
    pub fn history(&self) -> ByteString {
        let samples = self.lock().history.columns();
        OpsServerFrame::History(HistoryFrame { samples: &samples }).encode()
    }

    /// Acquires the permit for one more operator's connection.
    ///
    /// # Errors
    /// `TOO_MANY_CONNECTIONS`.
    pub fn admit(&self) -> Result<OwnedSemaphorePermit, ApiError> {
        Arc::clone(&self.permits).try_acquire_owned().map_err(|_| {
            let reason = "Too many operators' pages are open. Close one, and reload this page.";
            ApiError::new(ErrorCode::TooManyConnections, reason)
        })
    }

    /// The readings are consistent between any two statements, so a poisoned lock is usable.
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
