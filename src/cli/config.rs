//! `switchboard config`: prints the settings in effect, and checks whether the server could start with them.

use super::{CliError, block_on, start_error};
use crate::{
    app::Application,
    config::Config,
    process,
    provider::{self, Providers, SetupProblem, UNKNOWN_PRICE},
};
use clap::Subcommand;
use std::io;

#[derive(Clone, Copy, Debug, Subcommand)]
pub(super) enum Command {
    /// Check everything that a start would refuse; exit code 2 when a setting is wrong, 1 when this machine is the cause
    Check,
    /// Show the settings in effect as TOML, without secrets
    Print,
}

impl Command {
    /// Runs the command. The values in `config` are valid: loading it has checked them.
    pub(super) fn run(self, config: &Config, out: &mut dyn io::Write) -> Result<(), CliError> {
        match self {
            Self::Check => {
                process::raise_file_limit_to_maximum();
                let providers = Application::check(config).map_err(start_error)?;
                writeln!(out, "The configuration is fine (env = {:?}).", config.env.as_str())?;
                writeln!(out, "Files read: {}.", config.files)?;
                if config.budgets.cost_per_user_per_day > 0.0 {
                    for (provider, model) in providers.models_without_price() {
                        writeln!(out, "Warning: provider {provider}, model {model}: {UNKNOWN_PRICE}.")?;
                    }
                }
                for SetupProblem { provider, model, error } in block_on(model_server_problems(&providers))? {
                    let problem = provider::setup_problem(error.kind);
                    writeln!(out, "Warning: provider {provider}, model {model}: {problem} ({}).", error.detail)?;
                }
            }
            Self::Print => out.write_all(toml::to_string(config).map_err(io::Error::other)?.as_bytes())?,
        }
        Ok(())
    }
}

/// Finds problems with the model servers. They are no errors: a model server may start later.
async fn model_server_problems(providers: &Providers) -> Result<Vec<SetupProblem>, CliError> {
    Ok(providers.check().await)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{EmbeddingsConfig, RerankConfig, SETTINGS, Sources};
    use secrecy::SecretString;

    fn printed(config: &Config) -> String {
        let mut out = Vec::new();
        Command::Print.run(config, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn printed_settings_can_be_loaded_again() {
        let mut config = Config::default();
        config.server.port = 4711;
        config.provider.scripted.fail_after = Some(3);
        let first = printed(&config);
        let folder = tempfile::TempDir::new().unwrap();
        std::fs::write(folder.path().join("default.toml"), &first).unwrap();
        let sources = Sources { config_dir: Some(folder.path().to_owned()), ..Sources::default() };
        assert_eq!(printed(&Config::load(&sources).unwrap()), first);
        assert!(first.contains("port = 4711") && first.contains("fail_after = 3"), "{first}");
    }

    #[test]
    fn every_setting_is_printed_and_secrets_are_redacted() {
        let mut config = Config::default();
        config.auth.jwt_secret = Some(SecretString::from("hunter2"));
        config.provider.api_key = Some(SecretString::from("hunter2"));
        config.metrics.token = Some(SecretString::from("hunter2"));
        config.workflow.agents_file = Some("agents.toml".into());
        config.workflow.task_provider = Some("default".to_owned());
        config.workflow.languages_dir = Some("languages".into());
        config.knowledge.extract_program = Some("sandbox".into());
        config.server.public_url = Some("https://chat.example.org".to_owned());
        config.provider.scripted.fail_after = Some(0);
        config.embeddings = EmbeddingsConfig {
            base_url: Some("http://127.0.0.1:8090/v1".to_owned()),
            api_key: Some(SecretString::from("hunter2")),
            model: Some("e5".to_owned()),
            dimensions: Some(384),
            query_prefix: Some("query: ".to_owned()),
            passage_prefix: Some("passage: ".to_owned()),
            query_input_type: Some("query".to_owned()),
            passage_input_type: Some("passage".to_owned()),
            ..EmbeddingsConfig::default()
        };
        config.rerank = RerankConfig {
            base_url: Some("http://127.0.0.1:8012/v1".to_owned()),
            api_key: Some(SecretString::from("hunter2")),
            model: Some("bge".to_owned()),
            ..RerankConfig::default()
        };
        config.budgets.prices_file = Some("prices.toml".into());
        let printed = printed(&config);
        assert!(!printed.contains("hunter2"), "{printed}");
        assert!(printed.contains("jwt_secret = \"[redacted]\"") && printed.contains("api_key = \"[redacted]\""));
        let table: toml::Table = toml::from_str(&printed).unwrap();
        let values = figment::value::Value::serialize(table).unwrap();
        for setting in SETTINGS.iter() {
            assert!(values.find_ref(setting.key).is_some(), "{} is not printed", setting.key);
        }
    }
}
