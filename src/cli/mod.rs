//! The command line: what can be asked for, and how it ends. A file for each command.
//!
//! Results go to stdout, messages and the log to stderr. Exit code 0: done; 1: it failed; 2: it was asked for wrongly, or
//! the configuration is refused; 130: it was interrupted by Ctrl-C before it was done.

mod backup;
mod config;
mod extract;
mod ingest;
mod load;
mod migrate;
mod ops;
mod password;
mod serve;
mod signals;
mod table;
mod user;

use crate::{
    config::{Config, ConfigError, ENV_PREFIX, Environment, Flags, Sources},
    logging,
    protocol::ApiError,
    store::StoreError,
};
use clap::{
    Arg, Args, Parser, Subcommand,
    builder::{PossibleValuesParser, TypedValueParser},
};
use std::{collections::BTreeMap, ffi::OsString, io, path::PathBuf, process::ExitCode};

/// The exit code of shells for a program that SIGINT ended.
const INTERRUPTED: u8 = 130;

/// The server of the chat, and the tools around it.
#[derive(Debug, Parser)]
#[command(name = "switchboard", version, about = "An actor-based connection server for real-time AI chat")]
pub struct Cli {
    #[command(flatten)]
    flags: GlobalFlags,
    #[command(subcommand)]
    command: Option<Command>,
}

/// The settings that every command takes which works on this machine; they win over files and environment.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Settings")]
struct GlobalFlags {
    /// Folder of default.toml and <env>.toml [default: config]
    #[arg(long, global = true, value_name = "PATH")]
    config_dir: Option<PathBuf>,
    /// Environment whose file is read
    #[arg(long, global = true, value_name = "NAME", value_parser = environment())]
    env: Option<Environment>,
    /// Address or host name to listen at
    #[arg(long, global = true)]
    host: Option<String>,
    /// TCP port; 0 takes any free one
    #[arg(long, global = true)]
    port: Option<u16>,
    /// Database, as sqlite://path
    #[arg(long, global = true, value_name = "URL")]
    database_url: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server (the default)
    Serve,
    /// Bring the database to the current schema; makes it when there is none
    Migrate,
    /// Copy the database to a new file, also while the server runs
    Backup(backup::Command),
    /// Take documents into the knowledge base
    Ingest(ingest::Command),
    /// Read one document, in a process of its own
    #[command(hide = true)]
    Extract(extract::Command),
    /// Make and change accounts
    #[command(subcommand)]
    User(user::Command),
    /// Look at the configuration
    #[command(subcommand)]
    Config(config::Command),
    /// See and steer a running server, as an operator
    #[command(args = hidden_settings())]
    Ops(Box<ops::Command>),
    /// Put load on a running server, and measure what comes of it
    #[command(args = hidden_settings())]
    Load(Box<load::Command>),
}

/// Why a command did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// It was asked for wrongly.
    #[error("{0}")]
    Usage(String),
    /// A service refused it; the message is the one a client would get.
    #[error("{}", .0.message)]
    Refused(#[from] ApiError),
    #[error("{0}")]
    Failed(String),
    /// By Ctrl-C.
    #[error("{0}")]
    Interrupted(String),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl CliError {
    /// Whether who reads our output has seen enough, such as `head`: nothing that they need to be told.
    pub fn is_closed_output(&self) -> bool {
        matches!(self, Self::Io(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Config(_) | Self::Usage(_) => ExitCode::from(2),
            Self::Interrupted(_) => ExitCode::from(INTERRUPTED),
            Self::Refused(_) | Self::Failed(_) | Self::Store(_) | Self::Io(_) => ExitCode::FAILURE,
        }
    }
}

impl Cli {
    /// Reads the settings and does what was asked for.
    ///
    /// # Errors
    /// When the configuration is refused, or the command fails.
    pub fn run(
        self,
        variables: impl Iterator<Item = (OsString, OsString)>,
        out: &mut dyn io::Write,
    ) -> Result<(), CliError> {
        if let Some(Command::Extract(command)) = self.command {
            return command.run(out);
        }
        if matches!(self.command, Some(Command::Ops(_) | Command::Load(_))) {
            self.flags.refuse()?;
        }
        let serving = match self.command {
            None | Some(Command::Serve) => Some(serve::Serving::prepare()?),
            _ => None,
        };
        let (variables, rust_log) = variables_of_ours(variables)?;
        let config = Config::load(&self.flags.sources(variables))?;
        if !matches!(self.command, Some(Command::Config(_))) {
            logging::init(&config.log, rust_log.as_deref()).map_err(|error| CliError::Usage(error.to_string()))?;
        }
        let done = match self.command {
            None | Some(Command::Serve) => serving.map_or(Ok(()), |serving| serving.run(config)),
            Some(Command::Migrate) => block_on(migrate::run(&config, out)),
            Some(Command::Backup(command)) => command.run(&config, out),
            Some(Command::Ingest(command)) => block_on(command.run(&config, out)),
            // Needs no settings: see above.
            Some(Command::Extract(command)) => command.run(out),
            Some(Command::User(command)) => block_on(command.run(&config, out)),
            Some(Command::Config(command)) => command.run(&config, out),
            Some(Command::Ops(command)) => block_on(command.run(out)),
            Some(Command::Load(command)) => block_on(command.run(out)),
        };
        logging::flush();
        done
    }
}

/// Runs what one command does; the server has a runtime of its own.
fn block_on<T>(work: impl Future<Output = Result<T, CliError>>) -> Result<T, CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome = runtime.block_on(work);
    // What was given up, such as a document that takes too long to read, must not keep the program from ending.
    runtime.shutdown_background();
    outcome
}

/// The settings for commands that talk to a running server: still understood, to be refused in clear words, but not offered.
fn hidden_settings() -> Vec<Arg> {
    let settings = GlobalFlags::augment_args(clap::Command::new("settings"));
    settings.get_arguments().map(|flag| flag.clone().hide(true)).collect()
}

impl GlobalFlags {
    /// For commands that take the address of a running server, where these would change nothing.
    fn refuse(&self) -> Result<(), CliError> {
        let given = [
            ("--config-dir", self.config_dir.is_some()),
            ("--env", self.env.is_some()),
            ("--host", self.host.is_some()),
            ("--port", self.port.is_some()),
            ("--database-url", self.database_url.is_some()),
        ];
        match given.into_iter().find(|(_, is_given)| *is_given) {
            Some((flag, _)) => Err(CliError::Usage(format!("{flag} has no effect here: say which server with --url"))),
            None => Ok(()),
        }
    }

    fn sources(self, variables: BTreeMap<String, String>) -> Sources {
        let flags = Flags { env: self.env, host: self.host, port: self.port, database_url: self.database_url };
        Sources { config_dir: self.config_dir, variables, flags }
    }
}

fn environment() -> impl TypedValueParser<Value = Environment> {
    PossibleValuesParser::new(Environment::ALL.iter().map(|env| env.as_str())).map(|name| {
        Environment::ALL
            .iter()
            .copied()
            .find(|env| env.as_str() == name)
            .expect("only names of environments are possible")
    })
}

/// Of the whole environment, the settings and `RUST_LOG`.
fn variables_of_ours(
    variables: impl Iterator<Item = (OsString, OsString)>,
) -> Result<(BTreeMap<String, String>, Option<String>), CliError> {
    let mut ours = BTreeMap::new();
    for (name, value) in variables {
        // Others' variables need not be Unicode.
        let Ok(name) = name.into_string() else { continue };
        if name != "RUST_LOG" && !name.starts_with(ENV_PREFIX) {
            continue;
        }
        let value = value.into_string().map_err(|_| CliError::Usage(format!("the value of {name} is not UTF-8")))?;
        ours.insert(name, value);
    }
    let rust_log = ours.remove("RUST_LOG");
    Ok((ours, rust_log))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Result<String, CliError> {
        let folder = tempfile::TempDir::new().unwrap();
        let folder = folder.path().display().to_string();
        let arguments = ["switchboard", "--config-dir", &folder].into_iter().chain(arguments.iter().copied());
        let cli = Cli::try_parse_from(arguments).map_err(|error| CliError::Usage(error.to_string()))?;
        let mut out = Vec::new();
        let variables = variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
        cli.run(variables, &mut out).map(|()| String::from_utf8(out).unwrap())
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_win_over_variables_wherever_they_stand() {
        let variables = [("SWITCHBOARD__SERVER__PORT", "1"), ("SWITCHBOARD__SERVER__HOST", "10.0.0.1")];
        let before = run(&["--port", "2", "config", "print"], &variables).unwrap();
        let behind = run(&["config", "print", "--port", "2"], &variables).unwrap();
        assert_eq!(before, behind);
        assert!(before.contains("port = 2\n") && before.contains("host = \"10.0.0.1\""), "{before}");
    }

    #[test]
    fn every_flag_reaches_its_setting() {
        let secret = ("SWITCHBOARD__AUTH__JWT_SECRET", "12345678901234567890123456789012");
        let arguments = [
            "config",
            "print",
            "--env",
            "production",
            "--host",
            "::1",
            "--port",
            "3",
            "--database-url",
            "sqlite://x.db",
        ];
        let printed = run(&arguments, &[secret]).unwrap();
        for line in ["env = \"production\"", "host = \"::1\"", "port = 3", "url = \"sqlite://x.db\""] {
            assert!(printed.lines().any(|printed| printed == line), "{line} is not in\n{printed}");
        }
    }

    #[test]
    fn an_environment_that_does_not_exist_is_refused_with_those_that_do() {
        let error = run(&["--env", "staging", "config", "check"], &[]).unwrap_err().to_string();
        assert!(error.contains("development, production"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn only_our_variables_need_to_be_text() {
        use std::os::unix::ffi::OsStringExt;
        let garbage = || OsString::from_vec(vec![0xff]);
        assert!(variables_of_ours([(garbage(), garbage()), ("PATH".into(), garbage())].into_iter()).is_ok());
        let error = variables_of_ours([("SWITCHBOARD__LOG__LEVEL".into(), garbage())].into_iter()).unwrap_err();
        assert!(error.to_string().contains("SWITCHBOARD__LOG__LEVEL"), "{error}");
    }
}
