//! Everything that a start refuses beyond the settings themselves: the files and the address that they name.
//!
//! `switchboard config check` and the start of the server both ask here, so that they agree. Nothing is changed, created or
//! sent; the database is looked at by the start alone.

use crate::{
    config::{Config, ConfigError, Problem},
    provider::{self, ModelProvider},
    workflow::specialists::{Specialists, SpecialistsError},
};
use std::{net::TcpListener, sync::Arc};

/// Parts of the server that were built while checking.
pub struct Preflight {
    pub agents: Arc<Specialists>,
    pub provider: Arc<dyn ModelProvider>,
}

impl Preflight {
    /// Looks at everything.
    ///
    /// # Errors
    /// All problems there are, each with the key of the setting that leads there.
    pub fn run(config: &Config) -> Result<Self, ConfigError> {
        let mut problems = Vec::new();
        let agents = Specialists::load(config.workflow.agents_file.as_deref());
        let topics = agents.as_ref().map(Specialists::topics).unwrap_or_default();
        let agents = agents.map_err(|error| problems.extend(of_specialists(config, &error)));
        let provider = provider::build(&config.provider, topics)
            .map_err(|error| problems.push(problem("provider", None, error.to_string())));
        if let Err(error) = config.check_kept_secret() {
            let place = Some(config.data_dir.display().to_string());
            problems.push(problem("data_dir", place, error.to_string()));
        }
        // Port 0: the configured one may be taken by the very server whose configuration is checked.
        if let Err(error) = TcpListener::bind((config.server.host.as_str(), 0)) {
            let host = config.server.host.clone();
            problems.push(problem("server.host", Some(host), format!("is no address of this machine: {error}")));
        }
        match (agents, provider) {
            (Ok(agents), Ok(provider)) if problems.is_empty() => Ok(Self { agents: Arc::new(agents), provider }),
            _ => Err(ConfigError::Invalid(problems)),
        }
    }
}

fn problem(key: &str, value: Option<String>, allowed: String) -> Problem {
    Problem { key: key.to_owned(), value: value.map(|value| format!("{value:?}")), origin: None, allowed }
}

/// A problem for each fault of the file.
fn of_specialists(config: &Config, error: &SpecialistsError) -> Vec<Problem> {
    let path = config.workflow.agents_file.as_ref().map(|path| path.display().to_string());
    let of = |what: String| problem("workflow.agents_file", path.clone(), what);
    match error {
        SpecialistsError::Unreadable { cause, .. } => vec![of(format!("cannot be read: {cause}"))],
        SpecialistsError::Invalid { faults, .. } => faults.iter().map(|fault| of(fault.to_string())).collect(),
    }
}
