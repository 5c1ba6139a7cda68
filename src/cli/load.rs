//! `switchboard load`: puts load on a server, and tells what came of it.

use super::CliError;
use crate::{
    client::ClientError,
    load::{self, LoadError, Plan, Sample},
    protocol::Dialect,
};
use clap::{Args, ValueEnum};
use std::{
    fs::{self, File},
    io::{self, IsTerminal},
    path::{Path, PathBuf},
};

/// Between two lines of progress where nobody watches them come, in seconds.
const QUIET_INTERVAL_S: f64 = 5.0;

#[derive(Clone, Debug, Args)]
pub(super) struct Command {
    /// The server
    #[arg(long, default_value = "ws://127.0.0.1:8000")]
    url: String,
    /// WebSockets held at once
    #[arg(long, short, default_value_t = 100, value_name = "N")]
    connections: u32,
    /// Connections opened, then first questions asked, per second
    #[arg(long, default_value_t = 500.0, value_name = "N")]
    rate: f64,
    /// Questions of each connection, one after the other; 0 only holds them open [default: 1, or as many as --duration allows]
    #[arg(long, value_name = "N")]
    turns: Option<u32>,
    /// Tokens of an answer (the server must have provider.kind = scripted)
    #[arg(long, default_value_t = 20, value_name = "N")]
    tokens: u32,
    /// Between two tokens, in milliseconds; 0 does not wait
    #[arg(long, default_value_t = 50, value_name = "MS")]
    interval_ms: u64,
    /// Size of a token, in bytes
    #[arg(long, default_value_t = 6, value_name = "BYTES")]
    token_bytes: u32,
    /// Let every answer fail after so many tokens
    #[arg(long, value_name = "N")]
    fail_after: Option<u32>,
    /// Ask no new question after so many seconds
    #[arg(long, value_name = "SECONDS")]
    duration: Option<u64>,
    /// From the end of an answer to the next question, in milliseconds
    #[arg(long, default_value_t = 0, value_name = "MS")]
    think_ms: u64,
    #[arg(long, value_enum, default_value_t = DialectName::V2)]
    dialect: DialectName,
    /// Connections that read in fits and starts
    #[arg(long, default_value_t = 0, value_name = "N")]
    slow_readers: u32,
    /// Cuts per turn, on average; each is resumed
    #[arg(long, default_value_t = 0.0, value_name = "N")]
    reconnects: f64,
    /// Makes what is random the same again
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Accounts to register
    #[arg(long, default_value_t = 4, value_name = "N")]
    users: u32,
    /// Use this access token, and register nobody
    #[arg(long, env = "SWITCHBOARD_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Write the report as JSON, too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the report as a page with plots, too
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
        // A load takes its time: what it is for must not be lost at its end.
        let json = self.json.as_deref().map(open).transpose()?;
        let html = self.html.as_deref().map(open).transpose()?;
        let mut progress = Progress::default();
        let report = load::run(plan, self.token, |sample| progress.show(sample)).await.map_err(refused)?;
        load::write_text(&report, out)?;
        if let Some(mut file) = json {
            empty(&file)?;
            serde_json::to_writer_pretty(&mut file, &report).map_err(io::Error::from)?;
        }
        if let Some(mut file) = html {
            empty(&file)?;
            load::write_html(&report, &mut file)?;
        }
        if report.is_flawless() {
            return Ok(());
        }
        Err(CliError::Failed("not every connection opened, or an answer was wrong or never ended".to_owned()))
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
            allow_remote: self.allow_remote,
        }
    }
}

/// Opens a file to be written later; what is in it stays until then.
fn open(path: &Path) -> Result<File, CliError> {
    let opened = fs::OpenOptions::new().write(true).create(true).truncate(false).open(path);
    opened.map_err(|error| CliError::Failed(format!("{} cannot be written: {error}", path.display())))
}

/// A pipe or a terminal has nothing to lose, and cannot.
fn empty(file: &File) -> io::Result<()> {
    if file.metadata()?.is_file() { file.set_len(0) } else { Ok(()) }
}

/// Lines of progress on stderr.
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
        // Who closed stderr wants no progress.
        let _ = load::write_progress(sample, self.shown.as_ref(), &mut stderr);
        self.shown = Some(sample.clone());
    }
}

fn refused(error: LoadError) -> CliError {
    match error {
        LoadError::Plan(_) | LoadError::Client(ClientError::Address { .. }) => CliError::Usage(error.to_string()),
        LoadError::Client(_) | LoadError::NothingOpened(_) => CliError::Failed(error.to_string()),
    }
}
