//! The command line: arguments and exit codes. Each command has a file of its own.
//!
//! Results go to stdout, messages and the log to stderr. Exit code 0: success; 1: failure; 2: wrong arguments or a refused
//! configuration; 3: the provider failed (`eval`); 130: interrupted by Ctrl-C.

mod backup;
mod completions;
mod config;
mod eval;
mod extract;
mod feedback;
mod ingest;
mod load;
mod man;
mod migrate;
mod ops;
mod password;
mod serve;
mod signals;
mod table;
mod user;

use crate::{
    auth::AuthError,
    build_info,
    config::{Config, ConfigError, ENV_PREFIX, Environment, Flags, Sources},
    logging,
    store::StoreError,
};
use clap::{
    Arg, Args, Parser, Subcommand,
    builder::{PossibleValuesParser, TypedValueParser},
};
use std::{collections::BTreeMap, error::Error, ffi::OsString, io, path::PathBuf, process::ExitCode};
use switchboard_protocol::ApiError;

/// The exit code that shells use for a program ended by SIGINT.
const INTERRUPTED: u8 = 130;
/// The exit code of an evaluation that the provider could not answer.
const PROVIDER_FAILED: u8 = 3;

/// The command line of the program.
#[derive(Debug, Parser)]
#[command(name = "switchboard", version = build_info::FULL_VERSION, about = "An actor-based connection server for real-time AI chat")]
pub struct Cli {
    #[command(flatten)]
    flags: GlobalFlags,
    #[command(subcommand)]
    command: Option<Command>,
}

/// Settings for commands that work on this machine. They override files and environment variables.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Settings")]
struct GlobalFlags {
    /// Folder with default.toml and <env>.toml [default: config]
    #[arg(long, global = true, value_name = "PATH")]
    config_dir: Option<PathBuf>,
    /// Environment, which selects the configuration file
    #[arg(long, global = true, value_name = "NAME", value_parser = environment())]
    env: Option<Environment>,
    /// Address or host name to listen on
    #[arg(long, global = true)]
    host: Option<String>,
    /// TCP port; 0 chooses a free one
    #[arg(long, global = true)]
    port: Option<u16>,
    /// Database URL, such as sqlite://data/switchboard.db
    #[arg(long, global = true, value_name = "URL")]
    database_url: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server (the default)
    Serve,
    /// Migrate the database to the current schema; creates it if it does not exist
    Migrate,
    /// Copy the database to a new file, also while the server runs
    Backup(backup::Command),
    /// Add documents to the knowledge base
    Ingest(ingest::Command),
    /// Read one document, in a process of its own
    #[command(hide = true)]
    Extract(extract::Command),
    /// Print the answers that users rated as evaluation cases, one JSON object per line
    Feedback(feedback::Command),
    /// Manage accounts
    #[command(subcommand)]
    User(user::Command),
    /// Check or print the configuration
    #[command(subcommand)]
    Config(config::Command),
    /// Ask labelled questions and report how well they are answered; exit code 1 on a regression, 3 when the provider fails
    Eval(eval::Command),
    /// Inspect and control a running server, as an operator
    #[command(args = hidden_settings())]
    Ops(Box<ops::Command>),
    /// Put load on a running server and measure it
    #[command(args = hidden_settings())]
    Load(Box<load::Command>),
    /// Print a script that completes commands and options in a shell
    #[command(args = hidden_settings())]
    Completions(completions::Command),
    /// Print the manual page, or write a page for each command
    #[command(args = hidden_settings())]
    Man(man::Command),
}

/// An error of a command.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The arguments are wrong.
    #[error("{0}")]
    Usage(String),
    /// A service refused the request, with the message that a client would get.
    #[error("{}", .0.message)]
    Refused(#[from] ApiError),
    #[error("{0}")]
    Failed(String),
    /// The provider of the model failed.
    #[error("{0}")]
    Provider(String),
    /// Interrupted by Ctrl-C.
    #[error("{0}")]
    Interrupted(String),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<AuthError> for CliError {
    fn from(error: AuthError) -> Self {
        Self::Refused(error.into())
    }
}

impl CliError {
    /// Whether the reader of stdout has closed it, such as `head`. This is not reported as an error.
    pub fn is_closed_output(&self) -> bool {
        matches!(self, Self::Io(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Config(_) | Self::Usage(_) => ExitCode::from(2),
            Self::Provider(_) => ExitCode::from(PROVIDER_FAILED),
            Self::Interrupted(_) => ExitCode::from(INTERRUPTED),
            Self::Refused(_) | Self::Failed(_) | Self::Store(_) | Self::Io(_) => ExitCode::FAILURE,
        }
    }
}

impl Cli {
    /// Loads the settings that the command needs, and runs it.
    ///
    /// # Errors
    /// When the configuration is refused, or the command fails.
    pub fn run(
        self,
        variables: impl Iterator<Item = (OsString, OsString)>,
        out: &mut dyn io::Write,
    ) -> Result<(), CliError> {
        let Self { flags, command } = self;
        let done = match command.unwrap_or(Command::Serve) {
            Command::Serve => {
                let serving = serve::Serving::prepare()?;
                serving.run(flags.start(variables)?)
            }
            Command::Migrate => migrate::run(&flags.start(variables)?, out),
            Command::Backup(command) => command.run(&flags.start(variables)?, out),
            Command::Ingest(command) => block_on(command.run(&flags.start(variables)?, out)),
            Command::Feedback(command) => block_on(command.run(&flags.start(variables)?, out)),
            Command::User(command) => block_on(command.run(&flags.start(variables)?, out)),
            Command::Config(command) => command.run(&flags.load(variables)?.config, out),
            Command::Eval(command) => command.run(flags.start_quietly(variables)?, out),
            Command::Ops(command) => {
                flags.refuse()?;
                flags.start(variables)?;
                block_on(command.run(out))
            }
            Command::Load(command) => {
                flags.refuse()?;
                flags.start(variables)?;
                block_on(command.run(out))
            }
            // The others read no settings: a wrong one must not stop them.
            Command::Extract(command) => command.run(out),
            Command::Completions(command) => command.run(out),
            Command::Man(command) => command.run(out),
        };
        logging::flush();
        done
    }
}

/// Converts an error of a start or its check, keeping refused configurations apart for the exit code.
fn start_error(error: Box<dyn Error>) -> CliError {
    match error.downcast::<ConfigError>() {
        Ok(error) => CliError::Config(*error),
        Err(other) => CliError::Failed(other.to_string()),
    }
}

/// Runs a command on a new runtime. The server creates its own.
fn block_on<T>(work: impl Future<Output = Result<T, CliError>>) -> Result<T, CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome = runtime.block_on(work);
    // Abandoned work, such as a document that takes too long to read, must not delay the exit.
    runtime.shutdown_background();
    outcome
}

/// The settings for commands that ignore them: hidden from the help, but parsed so that they can be refused clearly.
fn hidden_settings() -> Vec<Arg> {
    let settings = GlobalFlags::augment_args(clap::Command::new("settings"));
    settings.get_arguments().map(|flag| flag.clone().hide(true)).collect()
}

/// The settings in effect, and the log filter that overrides `log.level`.
struct Loaded {
    config: Config,
    rust_log: Option<String>,
}

impl GlobalFlags {
    /// Loads the settings without starting the log.
    fn load(self, variables: impl Iterator<Item = (OsString, OsString)>) -> Result<Loaded, CliError> {
        let (variables, rust_log) = variables_of_ours(variables)?;
        if let Some(filter) = &rust_log {
            logging::check_filter(filter).map_err(|error| CliError::Usage(error.to_string()))?;
        }
        Ok(Loaded { config: Config::load(&self.sources(variables))?, rust_log })
    }

    /// Loads the settings and starts the log.
    fn start(self, variables: impl Iterator<Item = (OsString, OsString)>) -> Result<Config, CliError> {
        let Loaded { config, rust_log } = self.load(variables)?;
        logging::init(&config.log, rust_log.as_deref()).map_err(|error| CliError::Usage(error.to_string()))?;
        Ok(config)
    }

    /// Loads the settings, and logs only warnings and errors unless `RUST_LOG` says otherwise.
    fn start_quietly(self, variables: impl Iterator<Item = (OsString, OsString)>) -> Result<Config, CliError> {
        let Loaded { config, rust_log } = self.load(variables)?;
        let filter = rust_log.as_deref().unwrap_or("warn");
        logging::init(&config.log, Some(filter)).map_err(|error| CliError::Usage(error.to_string()))?;
        Ok(config)
    }

    /// Refuses all settings, for commands that take the address of a running server.
    fn refuse(&self) -> Result<(), CliError> {
        let given = [
            ("--config-dir", self.config_dir.is_some()),
            ("--env", self.env.is_some()),
            ("--host", self.host.is_some()),
            ("--port", self.port.is_some()),
            ("--database-url", self.database_url.is_some()),
        ];
        match given.into_iter().find(|(_, is_given)| *is_given) {
            Some((flag, _)) => Err(CliError::Usage(format!("{flag} has no effect here; name the server with --url"))),
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

/// Selects the settings and `RUST_LOG` from the environment.
fn variables_of_ours(
    variables: impl Iterator<Item = (OsString, OsString)>,
) -> Result<(BTreeMap<String, String>, Option<String>), CliError> {
    let mut ours = BTreeMap::new();
    for (name, value) in variables {
        // Variables of other programs need not be Unicode.
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
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_override_variables_before_and_after_the_command() {
        let variables = [("SWITCHBOARD__SERVER__PORT", "1"), ("SWITCHBOARD__SERVER__HOST", "10.0.0.1")];
        let before = run(&["--port", "2", "config", "print"], &variables).unwrap();
        let after = run(&["config", "print", "--port", "2"], &variables).unwrap();
        assert_eq!(before, after);
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
    fn an_unknown_environment_is_refused_with_the_known_ones() {
        let error = run(&["--env", "staging", "config", "check"], &[]).unwrap_err().to_string();
        assert!(error.contains("development, production"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn only_our_variables_must_be_unicode() {
        use std::os::unix::ffi::OsStringExt;
        let garbage = || OsString::from_vec(vec![0xff]);
        assert!(variables_of_ours([(garbage(), garbage()), ("PATH".into(), garbage())].into_iter()).is_ok());
        let error = variables_of_ours([("SWITCHBOARD__LOG__LEVEL".into(), garbage())].into_iter()).unwrap_err();
        assert!(error.to_string().contains("SWITCHBOARD__LOG__LEVEL"), "{error}");
    }
}
