//! The phases of a load: registers accounts, opens connections, asks questions, closes connections. Takes a sample every second.

use super::{
    Plan, PlanError, Report,
    process::{Process, ephemeral_ports, raise_file_limit},
    report::Observed,
    tally::Tally,
    worker::{Phase, Worker},
};
use serde::Serialize;
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use switchboard_client::{Account, ClientError, Connector};
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval, sleep},
};
use tokio_util::sync::CancellationToken;

const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);
/// Pause between the last connection and the first question, for memory to settle.
const SETTLE: Duration = Duration::from_millis(1_500);
/// Additional time for connections to open after their schedule, and for answers to end after the last question.
const GRACE: Duration = Duration::from_secs(120);
/// Reconnection attempts after a lost connection: few, so that a stopped server does not delay the report.
const MAX_RECONNECTS: u32 = 4;
/// Time limit for closing all connections.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// A failure that leaves nothing to report.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("no connection opened: {0}; check that the server runs and accepts this many connections")]
    NothingOpened(String),
    /// Stopped before any connection opened.
    #[error("interrupted before the first connection")]
    Interrupted,
}

/// Counters and resource usage at one moment.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Sample {
    /// Seconds since the first connection was due.
    pub at_s: f64,
    pub connections: u64,
    pub turns: u64,
    pub tokens: u64,
    pub errors: u64,
    /// CPU time used so far, in seconds.
    pub server_cpu_s: Option<f64>,
    pub client_cpu_s: f64,
    /// Resident memory, in bytes.
    pub server_resident: Option<u64>,
    pub client_resident: u64,
}

/// Moments of a load, in seconds since the first connection was due.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Moments {
    pub asking_from_s: f64,
    /// When every connection has asked its first question.
    pub all_asked_s: f64,
    pub first_turn_ended_s: Option<f64>,
    pub last_turn_ended_s: Option<f64>,
}

/// Resident memory of the server before and after the connections opened, in bytes.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Memory {
    pub before: u64,
    /// With all connections open and idle.
    pub idle: u64,
}

/// Takes the samples of a running load.
struct Watch {
    started: Instant,
    server: Option<Process>,
    generator: Process,
    tally: Arc<Mutex<Tally>>,
    samples: Vec<Sample>,
    /// Cancelled to end the load early.
    stop: CancellationToken,
}

/// Runs a load and calls `on_sample` every second. When `stop` is cancelled, the load ends early, and the report covers what
/// happened until then.
///
/// # Errors
/// When the plan is invalid, no account can be registered, or no connection opens.
pub async fn run(
    plan: Plan,
    token: Option<String>,
    stop: CancellationToken,
    mut on_sample: impl FnMut(&Sample),
) -> Result<Report, LoadError> {
    plan.check()?;
    let mut connector = Connector::new(&plan.url)?;
    connector.dialect = plan.dialect;
    connector.max_reconnects = MAX_RECONNECTS;
    let addresses = connector.addresses().await?;
    plan.check_addresses(&addresses)?;
    plan.check_files(raise_file_limit(plan.files()))?;
    let server = addresses.iter().find(|address| address.ip().is_loopback()).and_then(Process::listening_at);
    let resident = || server.and_then(|process| process.usage().ok()).map(|usage| usage.resident);
    let before_accounts = resident();
    let accounts = tokio::select! {
        accounts = accounts(&plan, &connector, token) => accounts?,
        () = stop.cancelled() => return Err(LoadError::Interrupted),
    };
    // Hashing passwords takes memory that the server may free only later.
    let before = before_accounts.into_iter().chain(resident()).min().unwrap_or_default();

    let plan = Arc::new(plan);
    let tally = Arc::new(Mutex::new(Tally::default()));
    let (to_phase, phase) = watch::channel(Phase::Opening);
    let started = Instant::now();
    let ports = ephemeral_ports();
    let workers: Vec<_> = (0..plan.connections)
        .map(|index| {
            let mut connector = connector.clone();
            connector.source = plan.source_of(index, ports, &addresses[0]);
            let worker = Worker {
                index,
                plan: Arc::clone(&plan),
                connector,
                account: Arc::clone(&accounts[index as usize % accounts.len()]),
                tally: Arc::clone(&tally),
                phase: phase.clone(),
                is_open: false,
            };
            tokio::spawn(worker.run(started + Duration::from_secs_f64(f64::from(index) / plan.rate)))
        })
        .collect();

    let mut watch = Watch { started, server, generator: Process::this(), tally, samples: Vec::new(), stop };
    let spread = Duration::from_secs_f64(f64::from(plan.connections) / plan.rate);
    let all = u64::from(plan.connections);
    watch.until(started + spread + GRACE, &mut on_sample, |tally| tally.tries == all).await;
    if watch.tally().opened == 0 {
        if watch.stop.is_cancelled() {
            return Err(LoadError::Interrupted);
        }
        let errors = watch.tally().error_texts.values().cloned().collect::<Vec<_>>().join("; ");
        return Err(LoadError::NothingOpened(errors));
    }
    tokio::select! {
        () = sleep(SETTLE) => {}
        () = watch.stop.cancelled() => {}
    }
    let idle = resident().unwrap_or_default();

    let from = Instant::now();
    let until = from + Duration::from_secs(plan.longest_s());
    let is_idle = plan.max_turns() == 0;
    to_phase.send_replace(Phase::Asking { from, until });
    watch
        .until(until + GRACE, &mut on_sample, |tally| {
            if is_idle { Instant::now() >= until || tally.open == 0 } else { tally.done == all }
        })
        .await;
    let ended = Instant::now();
    watch.sample(&mut on_sample);

    to_phase.send_replace(Phase::Closing);
    let is_interrupted = watch.stop.is_cancelled();
    watch.stop = CancellationToken::new();
    watch.until(Instant::now() + CLOSE_TIMEOUT, &mut on_sample, |tally| tally.open == 0).await;
    for worker in workers {
        worker.abort();
    }
    let seconds = |instant: std::time::Instant| (Instant::from_std(instant) - started).as_secs_f64();
    let memory = Memory { before, idle };
    let (moments, pid) = {
        let tally = watch.tally();
        let moments = Moments {
            asking_from_s: (from - started).as_secs_f64(),
            all_asked_s: (from - started + spread).as_secs_f64(),
            first_turn_ended_s: tally.first_turn_ended_at.map(seconds),
            last_turn_ended_s: tally.last_turn_ended_at.map(seconds),
        };
        (moments, server.map(|process| process.pid))
    };
    let samples = std::mem::take(&mut watch.samples);
    let seconds = (ended - started).as_secs_f64();
    let tally = watch.tally();
    let observed =
        Observed { plan: &plan, tally: &tally, samples, moments, memory, server_pid: pid, seconds, is_interrupted };
    Ok(Report::new(observed))
}

/// Returns the accounts of the connections: the token's, or newly registered ones.
async fn accounts(plan: &Plan, connector: &Connector, token: Option<String>) -> Result<Vec<Arc<Account>>, ClientError> {
    if let Some(token) = token {
        return Ok(vec![Arc::new(Account::from_token(connector, token))]);
    }
    let mut accounts = Vec::new();
    for _ in 0..plan.users.min(plan.connections) {
        let (name, password) = (uuid::Uuid::new_v4(), uuid::Uuid::new_v4().to_string());
        let account = Account::register(connector, "Load", &format!("load-{name}@example.org"), &password).await?;
        accounts.push(Arc::new(account));
    }
    Ok(accounts)
}

impl Watch {
    /// Takes samples until `is_done`, `limit`, or the load is stopped.
    async fn until(&mut self, limit: Instant, on_sample: &mut impl FnMut(&Sample), is_done: impl Fn(&Tally) -> bool) {
        let mut ticks = interval(Duration::from_millis(100));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let last = self.samples.last().map_or(0.0, |sample| sample.at_s);
            if self.samples.is_empty() || self.started.elapsed().as_secs_f64() - last >= SAMPLE_INTERVAL.as_secs_f64() {
                self.sample(on_sample);
            }
            if is_done(&self.tally()) || Instant::now() >= limit || self.stop.is_cancelled() {
                return;
            }
        }
    }

    fn sample(&mut self, on_sample: &mut impl FnMut(&Sample)) {
        let server = self.server.and_then(|process| process.usage().ok());
        let client = self.generator.usage().unwrap_or_default();
        let sample = {
            let tally = self.tally();
            Sample {
                at_s: self.started.elapsed().as_secs_f64(),
                connections: tally.open,
                turns: tally.turns_complete,
                tokens: tally.tokens,
                errors: tally.errors.values().sum(),
                server_cpu_s: server.map(|usage| usage.cpu.as_secs_f64()),
                client_cpu_s: client.cpu.as_secs_f64(),
                server_resident: server.map(|usage| usage.resident),
                client_resident: client.resident,
            }
        };
        on_sample(&sample);
        self.samples.push(sample);
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
