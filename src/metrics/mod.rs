//! Counters and histograms, and their Prometheus exposition.
//!
//! Each part that counts something holds an `Arc<Metrics>`. Values that another part knows anyway (open connections, running
//! turns, refusals by limits) are not counted twice: the caller passes them as [`Live`] with each scrape. This module knows
//! neither sessions nor actors nor HTTP.

mod counter;
mod exposition;
mod feedback;
mod histogram;
mod label;
mod live;

pub use counter::{Counter, CounterPairs, Counters};
pub use exposition::Format;
pub use histogram::{Histogram, HistogramSnapshot};
pub use label::{
    AuthResult, AuthWay, ClientClose, Label, Resumption, SearchOutcome, SearchTask, StoreOperation, Surface, TokenKind,
    TurnStep,
};
pub use live::{ConnectionCount, EmbeddedPassages, KindCount, LimitCount, Live, ProviderState};

use crate::domain::{FinishReason, ModelTask, ProviderErrorKind, Rating};
use feedback::RatingCounts;
use serde::Serialize;
use std::{collections::BTreeMap, time::Duration};
use switchboard_protocol::{CloseReason, ErrorCode, TurnState};

const US: u64 = 1_000;
const MS: u64 = 1_000 * US;
const S: u64 = 1_000 * MS;

/// Bounds for the time that a client waits for something.
const WAIT_BOUNDS: &[u64] = &[
    500 * US,
    MS,
    2_500 * US,
    5 * MS,
    10 * MS,
    25 * MS,
    50 * MS,
    100 * MS,
    250 * MS,
    500 * MS,
    S,
    2_500 * MS,
    5 * S,
    10 * S,
    30 * S,
    60 * S,
];
/// Bounds for the time between two tokens: models generate ten to two hundred per second.
const TOKEN_INTERVAL_BOUNDS: &[u64] = &[
    100 * US,
    MS,
    2_500 * US,
    5 * MS,
    10 * MS,
    20 * MS,
    30 * MS,
    50 * MS,
    75 * MS,
    100 * MS,
    150 * MS,
    250 * MS,
    500 * MS,
    S,
    2_500 * MS,
    10 * S,
];
/// Bounds for the time of a whole turn.
const TURN_BOUNDS: &[u64] = &[
    5 * MS,
    25 * MS,
    100 * MS,
    250 * MS,
    500 * MS,
    S,
    2_500 * MS,
    5 * S,
    10 * S,
    20 * S,
    30 * S,
    60 * S,
    120 * S,
    300 * S,
    600 * S,
];
/// Bounds for the time of one piece of work within the server.
const WORK_BOUNDS: &[u64] = &[
    100 * US,
    250 * US,
    500 * US,
    MS,
    2_500 * US,
    5 * MS,
    10 * MS,
    25 * MS,
    50 * MS,
    100 * MS,
    250 * MS,
    500 * MS,
    S,
    2_500 * MS,
    5 * S,
    10 * S,
];

const _: () = {
    Histogram::check(WAIT_BOUNDS);
    Histogram::check(TOKEN_INTERVAL_BOUNDS);
    Histogram::check(TURN_BOUNDS);
    Histogram::check(WORK_BOUNDS);
};

/// The specialist of a turn that ended before one was chosen.
const NO_SPECIALIST: &str = "none";

/// The counters and histograms of one server.
#[derive(Debug)]
pub struct Metrics {
    /// Finish reasons by specialist: those of the configuration, and [`NO_SPECIALIST`] as the last.
    specialists: Vec<(String, Counters<FinishReason>)>,
    ratings: RatingCounts,
    /// Ratings that are no longer in force, because they were withdrawn or changed.
    withdrawn_ratings: RatingCounts,
    pub auth: CounterPairs<AuthWay, AuthResult>,
    /// Connections that the server closed.
    pub closed: Counters<CloseReason>,
    /// Connections that the client closed.
    pub left: Counters<ClientClose>,
    pub errors: CounterPairs<Surface, ErrorCode>,
    pub provider_errors: CounterPairs<ModelTask, ProviderErrorKind>,
    /// Tokens of requests to models.
    pub model_tokens: CounterPairs<ModelTask, TokenKind>,
    /// Known costs of requests to models, in trillionths of the currency.
    pub model_cost: Counters<ModelTask>,
    /// Requests to models with an unknown price.
    pub unpriced_calls: Counters<ModelTask>,
    /// Requests to the models of a search.
    pub search_requests: CounterPairs<SearchTask, SearchOutcome>,
    pub resumes: Counters<Resumption>,
    /// Events that did not fit into a subscriber's mailbox, so that it began to lag.
    pub mailbox_full: Counter,
    pub store_errors: Counters<StoreOperation>,
    /// Committed changes; most transactions hold several.
    pub store_changes: Counter,
    /// From the upgrade to the first successful authentication.
    pub connection_auth: Histogram,
    /// From the arrival of a question at the workflow to its first token.
    pub first_token: Histogram,
    pub token_interval: Histogram,
    pub turn: Histogram,
    /// In the order of [`TurnStep::ALL`].
    steps: Vec<Histogram>,
    /// Requests to the models of a search, in the order of [`SearchTask::ALL`].
    search_request_times: Vec<Histogram>,
    pub password_hash: Histogram,
    pub store_commit: Histogram,
}

impl Default for Metrics {
    /// Metrics without specialists.
    fn default() -> Self {
        Self::new(&[])
    }
}

impl Metrics {
    pub fn new(specialists: &[String]) -> Self {
        let names = specialists.iter().map(String::as_str).chain([NO_SPECIALIST]);
        Self {
            specialists: names.map(|name| (name.to_owned(), Counters::default())).collect(),
            ratings: RatingCounts::new(specialists.len() + 1),
            withdrawn_ratings: RatingCounts::new(specialists.len() + 1),
            auth: CounterPairs::default(),
            closed: Counters::default(),
            left: Counters::default(),
            errors: CounterPairs::default(),
            provider_errors: CounterPairs::default(),
            model_tokens: CounterPairs::default(),
            model_cost: Counters::default(),
            unpriced_calls: Counters::default(),
            search_requests: CounterPairs::default(),
            resumes: Counters::default(),
            mailbox_full: Counter::default(),
            store_errors: Counters::default(),
            store_changes: Counter::default(),
            connection_auth: Histogram::new(WAIT_BOUNDS),
            first_token: Histogram::new(WAIT_BOUNDS),
            token_interval: Histogram::new(TOKEN_INTERVAL_BOUNDS),
            turn: Histogram::new(TURN_BOUNDS),
            steps: TurnStep::ALL.iter().map(|_| Histogram::new(WORK_BOUNDS)).collect(),
            search_request_times: SearchTask::ALL.iter().map(|_| Histogram::new(WORK_BOUNDS)).collect(),
            password_hash: Histogram::new(WORK_BOUNDS),
            store_commit: Histogram::new(WORK_BOUNDS),
        }
    }

    /// Counts an attempt to authenticate.
    pub fn authenticated(&self, way: AuthWay, outcome: Result<(), ErrorCode>) {
        self.auth.increment(way, AuthResult::of(outcome));
    }

    /// Counts a request to resume a turn; `outcome` is the state of the turn, or the error.
    pub fn resumed(&self, outcome: Result<TurnState, ErrorCode>) {
        self.resumes.increment(match outcome {
            Ok(TurnState::Streaming) => Resumption::Live,
            Ok(TurnState::Complete | TurnState::Interrupted) => Resumption::Replayed,
            Ok(TurnState::Idle) => Resumption::Idle,
            Err(ErrorCode::ResumeUnavailable) => Resumption::Unavailable,
            Err(_) => Resumption::Refused,
        });
    }

    /// Counts a request to resume a conversation by position; `outcome` is whether it starts near the latest event, or the error.
    pub fn resumed_events(&self, outcome: Result<bool, ErrorCode>) {
        self.resumes.increment(match outcome {
            Ok(false) => Resumption::Events,
            Ok(true) => Resumption::Snapshot,
            Err(_) => Resumption::Refused,
        });
    }

    /// Counts the end of a turn that took `took`. A `specialist` that is not in the configuration counts as none.
    pub fn turn_ended(&self, specialist: &str, reason: FinishReason, took: Duration) {
        if let Some((_, ended)) = self.specialists.get(self.specialist_index(specialist)) {
            ended.increment(reason);
        }
        self.turn.record(took);
    }

    /// Counts a change of a user's rating of an answer, which may be none before or after. A `specialist` that is not in the
    /// configuration counts as none.
    pub fn rating_changed(&self, specialist: &str, model: &str, before: Option<Rating>, after: Option<Rating>) {
        if before == after {
            return;
        }
        let specialist = self.specialist_index(specialist);
        for (counts, rating) in [(&self.withdrawn_ratings, before), (&self.ratings, after)] {
            if let Some(rating) = rating {
                counts.increment(specialist, model, rating);
            }
        }
    }

    fn specialist_index(&self, specialist: &str) -> usize {
        let index = self.specialists.iter().position(|(name, _)| name == specialist);
        index.unwrap_or(self.specialists.len() - 1)
    }

    pub fn step(&self, step: TurnStep, took: Duration) {
        self.steps[step.index()].record(took);
    }

    /// Counts a request to a model of the search that took `took`.
    pub fn search_request(&self, task: SearchTask, is_ok: bool, took: Duration) {
        self.search_requests.increment(task, if is_ok { SearchOutcome::Ok } else { SearchOutcome::Failed });
        self.search_request_times[task.index()].record(took);
    }

    /// Counts a request to a model of the search that was not sent, since the server had failed before.
    pub fn search_request_skipped(&self, task: SearchTask) {
        self.search_requests.increment(task, SearchOutcome::Skipped);
    }

    /// Number of tokens of all answers: first tokens plus intervals between tokens.
    pub fn tokens(&self) -> u64 {
        self.first_token.count() + self.token_interval.count()
    }

    /// Number of responses with each error code, without codes that never occurred.
    pub fn errors_by_code(&self) -> BTreeMap<&'static str, u64> {
        let mut counts = BTreeMap::new();
        for (_, code, count) in self.errors.each().filter(|(_, _, count)| *count > 0) {
            *counts.entry(code.as_str()).or_default() += count;
        }
        counts
    }

    /// The numbers that the operators' page plots.
    pub fn snapshot(&self) -> MetricsSnapshot {
        let ended = |reason| self.specialists.iter().map(|(_, ended)| ended.get(reason)).sum();
        MetricsSnapshot {
            tokens: self.tokens(),
            turns_ended: FinishReason::ALL.map(|reason| TurnsEnded { reason, turns: ended(reason) }).to_vec(),
            errors: self.errors.each().map(|(_, _, count)| count).sum(),
            first_token: self.first_token.snapshot().into(),
        }
    }
}

/// A few totals since the start of the server. The difference of two snapshots gives the rates between them.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct MetricsSnapshot {
    /// Number of tokens of all answers.
    pub tokens: u64,
    pub turns_ended: Vec<TurnsEnded>,
    /// Number of error responses, over all codes.
    pub errors: u64,
    /// Time from a question to its first token.
    pub first_token: Vec<Bucket>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct TurnsEnded {
    pub reason: FinishReason,
    pub turns: u64,
}

/// One bucket of a histogram.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Bucket {
    /// Upper bound in seconds; absent for the last bucket, which has none.
    pub up_to_s: Option<f64>,
    /// Number of observations up to the bound: buckets are cumulative.
    pub count: u64,
}

impl From<HistogramSnapshot> for Vec<Bucket> {
    fn from(snapshot: HistogramSnapshot) -> Self {
        let bucket = |(bound, count): (f64, u64)| Bucket { up_to_s: bound.is_finite().then_some(bound), count };
        snapshot.buckets.into_iter().map(bucket).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snapshots_contain_the_totals() {
        let metrics = Metrics::new(&["specs".to_owned()]);
        metrics.first_token.record(Duration::from_millis(3));
        metrics.token_interval.record(Duration::from_millis(20));
        metrics.token_interval.record(Duration::from_millis(20));
        metrics.turn_ended("specs", FinishReason::Stop, Duration::from_secs(1));
        metrics.turn_ended("", FinishReason::Cancelled, Duration::from_secs(1));
        metrics.turn_ended("an unknown specialist", FinishReason::Cancelled, Duration::from_secs(1));
        metrics.errors.increment(Surface::Http, ErrorCode::NotFound);
        metrics.errors.increment(Surface::Turn, ErrorCode::UpstreamTimeout);
        let snapshot = metrics.snapshot();
        assert_eq!((snapshot.tokens, snapshot.errors), (3, 2));
        metrics.errors.increment(Surface::Socket, ErrorCode::NotFound);
        assert_eq!(metrics.errors_by_code(), BTreeMap::from([("NOT_FOUND", 2), ("UPSTREAM_TIMEOUT", 1)]));
        assert_eq!(snapshot.turns_ended.iter().map(|ended| ended.turns).collect::<Vec<_>>(), [1, 0, 2, 0]);
        let within_5_ms = Bucket { up_to_s: Some(0.005), count: 1 };
        assert!(snapshot.first_token.contains(&within_5_ms), "{snapshot:?}");
        assert_eq!(snapshot.first_token.last(), Some(&Bucket { up_to_s: None, count: 1 }));
    }

    #[test]
    fn a_request_to_resume_has_one_outcome() {
        let metrics = Metrics::default();
        metrics.resumed(Ok(TurnState::Streaming));
        metrics.resumed(Ok(TurnState::Interrupted));
        metrics.resumed(Ok(TurnState::Idle));
        metrics.resumed(Err(ErrorCode::ResumeUnavailable));
        metrics.resumed(Err(ErrorCode::Forbidden));
        metrics.resumed_events(Ok(false));
        metrics.resumed_events(Ok(true));
        assert!(metrics.resumes.each().all(|(_, count)| count == 1));
        metrics.resumed_events(Err(ErrorCode::NotFound));
        let refused = metrics.resumes.each().find(|(outcome, _)| *outcome == Resumption::Refused);
        assert_eq!(refused.map(|(_, count)| count), Some(2));
    }
}
