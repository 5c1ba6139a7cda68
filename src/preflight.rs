//! Checks before a start that go beyond the settings themselves: the files and the address that they name.
//!
//! `switchboard config check` and the start of the server share them, so that they agree. They create, change and send
//! nothing. Only the start checks the database.

use crate::{
    config::{Config, ConfigError, Problem},
    language::{Languages, LanguagesError},
    provider::{PriceTable, Providers},
    workflow::specialists::{Specialists, SpecialistsError},
};
use std::{net::TcpListener, sync::Arc};

/// Parts of the server that the checks had to build.
pub struct Preflight {
    pub specialists: Arc<Specialists>,
    pub languages: Arc<Languages>,
    pub providers: Arc<Providers>,
}

impl Preflight {
    /// Runs all checks.
    ///
    /// # Errors
    /// All problems, each with the key of the setting involved.
    pub fn run(config: &Config) -> Result<Self, ConfigError> {
        let mut problems = Vec::new();
        let specialists = Specialists::load(config.workflow.agents_file.as_deref());
        let specialists = specialists.map_err(|error| problems.extend(of_specialists(config, &error)));
        let languages = Languages::load(config.workflow.languages_dir.as_deref()).map(Arc::new);
        let languages = languages.map_err(|error| problems.extend(of_languages(config, &error)));
        let spoken = languages.as_ref().map_or_else(|()| Arc::new(Languages::built_in()), Arc::clone);
        if let Ok(specialists) = &specialists {
            let faults = specialists.check_providers(|names| config.check_provider_names(names));
            let path = config.workflow.agents_file.as_ref().map(|path| path.display().to_string());
            problems.extend(
                faults.into_iter().map(|fault| problem("workflow.agents_file", path.clone(), fault.to_string())),
            );
        }
        let choices = specialists.as_ref().map(Specialists::model_choices).unwrap_or_default();
        let prices = config.budgets.prices_file.as_deref().map(PriceTable::load).transpose().unwrap_or_else(|error| {
            let path = config.budgets.prices_file.as_ref().map(|path| path.display().to_string());
            problems.push(problem("budgets.prices_file", path, error.to_string()));
            None
        });
        let providers = match problems.is_empty() {
            true => Providers::build(config, &spoken, prices.unwrap_or_default(), choices)
                .map_err(|error| problems.push(problem("provider", None, error.to_string()))),
            // The lists may name unknown providers.
            false => Err(()),
        };
        if let Err(error) = config.check_kept_secret() {
            let folder = Some(config.data_dir.display().to_string());
            problems.push(problem("data_dir", folder, error.to_string()));
        }
        // Port 0: the server whose configuration is checked may already use the configured port.
        if let Err(error) = TcpListener::bind((config.server.host.as_str(), 0)) {
            let host = config.server.host.clone();
            problems.push(problem(
                "server.host",
                Some(host),
                format!(
                    "is not an address of this machine: {error}; name one that `ip address` lists, or 0.0.0.0 for all"
                ),
            ));
        }
        match (specialists, languages, providers) {
            (Ok(specialists), Ok(languages), Ok(providers)) if problems.is_empty() => {
                Ok(Self { specialists: Arc::new(specialists), languages, providers: Arc::new(providers) })
            }
            _ => Err(ConfigError::Invalid(problems)),
        }
    }
}

/// Loads the language files alone, for a command that needs no more.
///
/// # Errors
/// All faults of the files.
pub fn languages(config: &Config) -> Result<Languages, ConfigError> {
    let languages = Languages::load(config.workflow.languages_dir.as_deref());
    languages.map_err(|error| ConfigError::Invalid(of_languages(config, &error)))
}

fn problem(key: &str, value: Option<String>, allowed: String) -> Problem {
    Problem { key: key.to_owned(), value: value.map(|value| format!("{value:?}")), origin: None, allowed }
}

/// One problem for each fault in the file.
fn of_specialists(config: &Config, error: &SpecialistsError) -> Vec<Problem> {
    let path = config.workflow.agents_file.as_ref().map(|path| path.display().to_string());
    let in_file = |reason: String| problem("workflow.agents_file", path.clone(), reason);
    match error {
        SpecialistsError::Unreadable { cause, .. } => vec![in_file(format!("cannot be read: {cause}"))],
        SpecialistsError::Invalid { faults, .. } => faults.iter().map(|fault| in_file(fault.to_string())).collect(),
    }
}

/// One problem for each fault in a language file.
fn of_languages(config: &Config, error: &LanguagesError) -> Vec<Problem> {
    let folder = config.workflow.languages_dir.as_ref().map(|path| path.display().to_string());
    let in_folder = |reason: String| problem("workflow.languages_dir", folder.clone(), reason);
    match error {
        LanguagesError::Unreadable { path, cause } => {
            vec![in_folder(format!("cannot be used: {}: {cause}", path.display()))]
        }
        LanguagesError::Invalid { path, faults } => {
            faults.iter().map(|fault| in_folder(format!("{}, {fault}", path.display()))).collect()
        }
    }
}
