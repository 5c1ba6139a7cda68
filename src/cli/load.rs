//! `switchboard load`: puts load on a server and reports what it measured.

use super::{CliError, table::harmless};
use clap::{Args, ValueEnum};
use std::{
    fs::{self, File},
    io::{self, IsTerminal},
    path::{Path, PathBuf},
};
use switchboard_client::ClientError;
use switchboard_load::{LoadError, Plan, Report, Sample};
use switchboard_protocol::Dialect;
use tokio_util::sync::CancellationToken;

/// Interval between two lines of progress when stderr is not a terminal, in seconds.
const QUIET_INTERVAL_S: f64 = 5.0;

#[derive(Clone, Debug, Args)]
pub(super) struct Command {
    /// Address of the server
    #[arg(long, default_value = "ws://127.0.0.1:8000")]
    url: String,
    /// Connections open at the same time
    #[arg(long, short, default_value_t = 100, value_name = "N")]
    connections: u32,
    /// Connections to open per second; then first questions to ask per second
    #[arg(long, default_value_t = 500.0, value_name = "N")]
    rate: f64,
    /// Turns of each connection, one after the other; 0 only keeps it open [default: 1, or as many as --duration allows]
    #[arg(long, value_name = "N")]
    turns: Option<u32>,
    /// Tokens of each answer (requires provider.kind = scripted on the server)
    #[arg(long, default_value_t = 20, value_name = "N")]
    tokens: u32,
    /// Pause between two tokens, in milliseconds
    #[arg(long, default_value_t = 50, value_name = "MS")]
    interval_ms: u64,
    /// Size of each token, in bytes
    #[arg(long, default_value_t = 6, value_name = "BYTES")]
    token_bytes: u32,
    /// Let each answer fail after this many tokens
    #[arg(long, value_name = "N")]
    fail_after: Option<u32>,
    /// Stop asking new questions after this many seconds
    #[arg(long, value_name = "SECONDS")]
    duration: Option<u64>,
    /// Pause between the end of an answer and the next question, in milliseconds
    #[arg(long, default_value_t = 0, value_name = "MS")]
    think_ms: u64,
    /// Dialect to speak
    #[arg(long, value_enum, default_value_t = DialectName::V2)]
    dialect: DialectName,
    /// Connections that read with long pauses
    #[arg(long, default_value_t = 0, value_name = "N")]
    slow_readers: u32,
    /// Average number of times that each turn is disconnected and resumed
    #[arg(long, default_value_t = 0.0, value_name = "N")]
    reconnects: f64,
    /// Seed of the random choices
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Number of accounts to register
    #[arg(long, default_value_t = 4, value_name = "N")]
    users: u32,
    /// Percentage of connections, and of turns, that may fail before the run counts as failed
    #[arg(long, default_value_t = 0.0, value_name = "PERCENT")]
    max_failures: f64,
    /// Access token to use instead of registering accounts
    #[arg(long, env = "SWITCHBOARD_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Also write the report as JSON to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Also write the report as an HTML page with plots to this file
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Allow a server on another machine
    #[arg(long)]
    allow_remote: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum DialectName {
    #[value(name = "chat.v1")]
    V1,
    #[value(name = "chat.v2")]
    V2,
}

impl Command {
    pub(super) async fn run(self, out: &mut dyn io::Write) -> Result<(), CliError> {
        let plan = self.plan();
        // Opened first: after a long run, a report that cannot be written would be lost.
        let json = self.json.as_deref().map(open).transpose()?;
        let html = self.html.as_deref().map(open).transpose()?;
        let mut progress = Progress::default();
        let stop = CancellationToken::new();
        let interrupt = stop_at_interrupt(stop.clone());
        let load = switchboard_load::run(plan, self.token, stop, |sample| progress.show(sample));
        let report = tokio::select! {
            report = load => report.map_err(refused)?,
            interrupted = interrupt => return Err(interrupted),
        };
        switchboard_load::write_text(&report, out)?;
        if let Some(mut file) = json {
            empty(&file)?;
            serde_json::to_writer_pretty(&mut file, &report).map_err(io::Error::from)?;
        }
        if let Some(mut file) = html {
            empty(&file)?;
            switchboard_load::write_html(&report, &mut file)?;
        }
        verdict(&report)
    }

    fn plan(&self) -> Plan {
        Plan {
            url: self.url.clone(),
            dialect: match self.dialect {
                DialectName::V1 => Dialect::V1,
                DialectName::V2 => Dialect::V2,
            },
            connections: self.connections,
            rate: self.rate,
            turns: self.turns,
            tokens: self.tokens,
            interval_ms: self.interval_ms,
            token_bytes: self.token_bytes,
            fail_after: self.fail_after,
            duration_s: self.duration,
            think_ms: self.think_ms,
            slow_readers: self.slow_readers,
            reconnects: self.reconnects,
            seed: self.seed,
            users: self.users,
            max_failures: self.max_failures,
            allow_remote: self.allow_remote,
        }
    }
}

/// Stops the load at the first interrupt, so that a report can be written. Returns at the second interrupt, which gives up
/// the report.
async fn stop_at_interrupt(stop: CancellationToken) -> CliError {
    for _ in 0..2 {
        if let Err(error) = tokio::signal::ctrl_c().await {
            return CliError::Io(error);
        }
        stop.cancel();
    }
    CliError::Interrupted("interrupted twice; there is no report".to_owned())
}

/// Returns an error when the load failed. It repeats the reasons for stderr, since the report may have gone to a file.
fn verdict(report: &Report) -> Result<(), CliError> {
    if report.is_success() {
        return Ok(());
    }
    let errors = report.errors.iter().map(|(code, count)| {
        let text = report.error_texts.get(code).map_or("", String::as_str);
        format!("{code} × {count}: {text}")
    });
    let advice = report.advice.iter().map(|advice| (*advice).to_owned());
    let reasons = report.problems.iter().cloned().chain(errors).chain(advice);
    let reasons: String = reasons.map(|reason| format!("\n  {reason}")).collect();
    Err(if report.is_interrupted {
        CliError::Interrupted(format!("interrupted; the report covers what happened until then{reasons}"))
    } else {
        CliError::Failed(format!("the load failed:{reasons}"))
    })
}

/// Opens a file for writing without truncating it yet.
fn open(path: &Path) -> Result<File, CliError> {
    let opened = fs::OpenOptions::new().write(true).create(true).truncate(false).open(path);
    opened.map_err(|error| CliError::Failed(format!("{} cannot be written: {error}", path.display())))
}

/// Truncates a regular file. Pipes and terminals cannot be truncated.
fn empty(file: &File) -> io::Result<()> {
    if file.metadata()?.is_file() { file.set_len(0) } else { Ok(()) }
}

/// Prints lines of progress to stderr.
#[derive(Default)]
struct Progress {
    shown: Option<Sample>,
}

impl Progress {
    fn show(&mut self, sample: &Sample) {
        let mut stderr = io::stderr();
        let since = sample.at_s - self.shown.as_ref().map_or(-QUIET_INTERVAL_S, |shown| shown.at_s);
        if !stderr.is_terminal() && since < QUIET_INTERVAL_S {
            return;
        }
        // stderr may be closed.
        let _ = switchboard_load::write_progress(sample, self.shown.as_ref(), &mut stderr);
        self.shown = Some(sample.clone());
    }
}

fn refused(error: LoadError) -> CliError {
    match error {
        LoadError::Plan(_) | LoadError::Client(ClientError::Address { .. }) => CliError::Usage(error.to_string()),
        LoadError::Client(ClientError::Connect(_)) => CliError::Failed(format!(
            "{}\n  start a server as described in docs/LOAD_TESTING.md, or name another one with --url",
            harmless(&error.to_string())
        )),
        LoadError::Client(_) | LoadError::NothingOpened(_) => CliError::Failed(harmless(&error.to_string())),
        LoadError::Interrupted => CliError::Interrupted(error.to_string()),
    }
}
