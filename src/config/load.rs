//! Merges the layers: compiled defaults, built-in settings of the environment, `default.toml`, `<env>.toml`, environment
//! variables, flags; later ones win.
//!
//! Each layer is validated before the merge, so that an error names the file, variable or flag of a wrong key or value. The
//! environment of the process is an argument: nothing here reads it.

use super::{
    Config, ConfigError, Environment, Problem, Setting,
    inspect::{inspect, unknown},
};
use figment::{
    Error, Figment, Metadata, Profile, Provider,
    value::{Dict, Map, Value},
};
use serde::Serialize;
use std::{
    collections::BTreeMap,
    fmt, io,
    path::{Path, PathBuf},
};

/// Prefix of the environment variables that are settings.
pub const ENV_PREFIX: &str = "SWITCHBOARD__";

/// Default configuration folder, relative to the working directory.
const CONFIG_DIR: &str = "config";

/// Sources of settings.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// `--config-dir`; when absent, `config`, which need not exist.
    pub config_dir: Option<PathBuf>,
    /// Environment variables. Variables without [`ENV_PREFIX`] are ignored.
    pub variables: BTreeMap<String, String>,
    pub flags: Flags,
}

/// The files of a configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigFiles {
    /// The folder that was searched.
    pub folder: PathBuf,
    /// The files that exist there and were read, lowest layer first.
    pub read: Vec<PathBuf>,
}

impl fmt::Display for ConfigFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.read.is_empty() {
            let folder = std::path::absolute(&self.folder).unwrap_or_else(|_| self.folder.clone());
            return write!(f, "none in {}", folder.display());
        }
        let names: Vec<_> = self.read.iter().map(|file| file.display().to_string()).collect();
        f.write_str(&names.join(", "))
    }
}

/// Settings given by flags.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    pub env: Option<Environment>,
    pub host: Option<String>,
    pub port: Option<u16>,
    pub database_url: Option<String>,
}

impl Config {
    /// Reads all layers and checks the result.
    ///
    /// # Errors
    /// When a file cannot be read, a key is unknown, a value is not allowed, or settings contradict each other. The error
    /// lists all problems with the settings at once.
    pub fn load(sources: &Sources) -> Result<Self, ConfigError> {
        let mut problems = Vec::new();
        let mut figment = Figment::new();
        let mut files = ConfigFiles { folder: folder_of(sources), read: Vec::new() };
        for layer in layers(sources, &mut problems)? {
            inspect(&layer.origin, "", &layer.values, &mut problems);
            files.read.extend(layer.file.clone());
            figment = figment.merge(layer);
        }
        match figment.extract::<Self>() {
            Ok(mut config) => {
                config.files = files;
                config.database.url_origin =
                    figment.find_metadata("database.url").map(|metadata| metadata.name.to_string());
                let mut found = config.check().err().unwrap_or_default();
                found.retain(|new| problems.iter().all(|known| known.key != new.key));
                problems.extend(found.into_iter().map(|problem| Problem {
                    origin: figment.find_metadata(&problem.key).map(|metadata| metadata.name.to_string()),
                    ..problem
                }));
                if problems.is_empty() { Ok(config) } else { Err(ConfigError::Invalid(problems)) }
            }
            Err(error) if problems.is_empty() => Err(ConfigError::Unusable(Box::new(error))),
            Err(_) => Err(ConfigError::Invalid(problems)),
        }
    }
}

/// Settings from one origin.
#[derive(Debug)]
struct Layer {
    /// The file, variable or flag, as messages name it.
    origin: String,
    /// The file that it was read from.
    file: Option<PathBuf>,
    values: Dict,
}

impl Layer {
    fn of(origin: impl Into<String>, key: &str, value: Value) -> Self {
        Self { origin: origin.into(), file: None, values: nested(key, value) }
    }
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.origin.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        Ok(Profile::Default.collect(self.values.clone()))
    }
}

fn folder_of(sources: &Sources) -> PathBuf {
    sources.config_dir.clone().unwrap_or_else(|| PathBuf::from(CONFIG_DIR))
}

/// All layers, lowest first.
fn layers(sources: &Sources, problems: &mut Vec<Problem>) -> Result<Vec<Layer>, ConfigError> {
    let folder = folder_of(sources);
    if sources.config_dir.is_some() && !folder.is_dir() {
        return Err(ConfigError::NoFolder(folder));
    }
    let defaults = Config::default();
    let default_file = file(&folder.join("default.toml"))?;
    let variables = variables(&sources.variables, problems);
    let flags = flags(&sources.flags);

    // The name of the next file is a setting itself: the topmost layer that has it decides.
    let env = default_file.iter().chain(&variables).chain(&flags).rev().find_map(|layer| layer.values.get("env"));
    // An invalid value is rejected with its layer; it does not matter then which file is read.
    let env: Environment = env.and_then(|value| value.deserialize().ok()).unwrap_or(defaults.env);
    let env_file = file(&folder.join(format!("{}.toml", env.as_str())))?;
    if let Some(layer) = &env_file {
        check_environment(layer, env, problems);
    }

    let mut layers = vec![
        Layer { origin: "the compiled defaults".to_owned(), file: None, values: dict_of(&defaults)? },
        built_in(env)?,
    ];
    layers.extend(default_file);
    layers.extend(env_file);
    layers.extend(variables);
    layers.extend(flags);
    Ok(layers)
}

/// The settings of an environment that are part of the program, so that they apply wherever it is started. They lie below all
/// files: what a file sets is never overridden by them.
fn built_in(env: Environment) -> Result<Layer, ConfigError> {
    let text = match env {
        Environment::Development => "",
        Environment::Production => include_str!("../../config/production.toml"),
    };
    let origin = format!("the built-in settings of {}", env.as_str());
    let table = parse(Path::new(&origin), text)?;
    Ok(Layer { origin, file: None, values: dict_of(&table)? })
}

/// Checks that `<env>.toml` does not select another environment.
fn check_environment(layer: &Layer, env: Environment, problems: &mut Vec<Problem>) {
    if let Some(value) = layer.values.get("env").filter(|value| value.as_str() != Some(env.as_str())) {
        problems.push(Problem {
            key: "env".to_owned(),
            value: Setting::find("env").and_then(|setting| setting.shown(value)),
            origin: Some(layer.origin.clone()),
            allowed: format!(
                "must be {:?} in this file, or absent; select another environment with --env",
                env.as_str()
            ),
        });
    }
}

fn dict_of<T: Serialize>(value: &T) -> Result<Dict, ConfigError> {
    Ok(Value::serialize(value).map_err(Box::new)?.into_dict().unwrap_or_default())
}

/// The layer of a file; `None` when the file does not exist.
fn file(path: &Path) -> Result<Option<Layer>, ConfigError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(reason) => return Err(ConfigError::Unreadable { path: path.to_owned(), reason }),
    };
    let values = dict_of(&parse(path, &text)?)?;
    Ok(Some(Layer { origin: path.display().to_string(), file: Some(path.to_owned()), values }))
}

fn parse(path: &Path, text: &str) -> Result<toml::Table, ConfigError> {
    toml::from_str(text).map_err(|error| ConfigError::Syntax {
        path: path.to_owned(),
        line: 1 + error.span().and_then(|span| text.get(..span.start)).map_or(0, |before| before.matches('\n').count()),
        reason: error.message().to_owned(),
    })
}

/// A layer for each environment variable that is a setting; others with the prefix are problems.
fn variables(variables: &BTreeMap<String, String>, problems: &mut Vec<Problem>) -> Vec<Layer> {
    let mut layers = Vec::new();
    for (name, text) in variables {
        let Some(path) = name.strip_prefix(ENV_PREFIX) else { continue };
        let key = path.to_lowercase().replace("__", ".");
        match Setting::find(&key).filter(|_| path == path.to_uppercase()) {
            Some(setting) => layers.push(Layer::of(name, &key, setting.parse(text))),
            None => problems.push(unknown(name, &key)),
        }
    }
    layers
}

/// A layer for each given flag.
fn flags(flags: &Flags) -> Vec<Layer> {
    let given = [
        ("--env", "env", flags.env.map(|env| Value::from(env.as_str()))),
        ("--host", "server.host", flags.host.as_deref().map(Value::from)),
        ("--port", "server.port", flags.port.map(Value::from)),
        ("--database-url", "database.url", flags.database_url.as_deref().map(Value::from)),
    ];
    given.into_iter().filter_map(|(flag, key, value)| Some(Layer::of(flag, key, value?))).collect()
}

/// Nests `value` under `key`: `server.port` becomes `{server: {port: …}}`.
fn nested(key: &str, value: Value) -> Dict {
    match key.split_once('.') {
        Some((section, rest)) => Dict::from([(section.to_owned(), Value::from(nested(rest, value)))]),
        None => Dict::from([(key.to_owned(), value)]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::LogFormat;
    use secrecy::ExposeSecret;
    use tempfile::TempDir;

    const SECRET: &str = "12345678901234567890123456789012";

    fn folder(files: &[(&str, &str)]) -> TempDir {
        let folder = TempDir::new().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    fn sources(folder: &TempDir, variables: &[(&str, &str)]) -> Sources {
        Sources {
            config_dir: Some(folder.path().to_owned()),
            variables: variables.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect(),
            flags: Flags::default(),
        }
    }

    fn load(files: &[(&str, &str)], variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
        Config::load(&sources(&folder(files), variables))
    }

    fn problems(result: Result<Config, ConfigError>) -> Vec<Problem> {
        match result {
            Err(ConfigError::Invalid(problems)) => problems,
            other => panic!("not rejected for its settings: {other:?}"),
        }
    }

    #[test]
    fn without_files_the_defaults_apply() {
        let config = load(&[], &[("PATH", "/bin"), ("SWITCHBOARD_PORT", "tcp://10.0.0.1:80")]).unwrap();
        assert_eq!(dict_of(&config).unwrap(), dict_of(&Config::default()).unwrap());
    }

    #[test]
    fn later_layers_win() {
        let files = [
            ("default.toml", "[server]\nhost = \"10.0.0.1\"\nport = 1\nworkers = 1\n[log]\nlevel = \"warn\""),
            ("development.toml", "[server]\nhost = \"10.0.0.2\"\nport = 2\nworkers = 2"),
            ("production.toml", "[server]\nhost = \"10.0.0.3\""),
        ];
        let folder = folder(&files);
        let mut sources =
            sources(&folder, &[("SWITCHBOARD__SERVER__PORT", "3"), ("SWITCHBOARD__SERVER__HOST", "10.0.0.4")]);
        sources.flags.host = Some("10.0.0.5".to_owned());
        let config = Config::load(&sources).unwrap();
        assert_eq!((config.server.host.as_str(), config.server.port, config.server.workers), ("10.0.0.5", 3, 2));
        assert_eq!(config.log.level, "warn");
    }

    #[test]
    fn providers_are_declared_in_files_and_variables() {
        let files = [("default.toml", "[providers.backup]\nkind = \"openai\"\nmodel = \"in the file\"")];
        let variables = [
            ("SWITCHBOARD__PROVIDERS__BACKUP__API_KEY", "4711"),
            ("SWITCHBOARD__PROVIDERS__IN_HOUSE__KIND", "openai"),
            ("SWITCHBOARD__WORKFLOW__PROVIDERS", "in_house,backup,extractive"),
        ];
        let config = load(&files, &variables).unwrap();
        let backup = &config.providers["backup"];
        assert_eq!((backup.model.as_str(), backup.temperature), ("in the file", 0.2));
        assert_eq!(backup.api_key.as_ref().map(ExposeSecret::expose_secret), Some("4711"));
        assert_eq!(config.workflow.providers, ["in_house", "backup", "extractive"]);
        let wrong = load(&files, &[("SWITCHBOARD__PROVIDERS__BACKUP__BASE_URL", "localhost")]).unwrap_err().to_string();
        assert!(wrong.contains("providers.backup.base_url = \"localhost\" (from SWITCHBOARD__PROVIDERS__"), "{wrong}");
    }

    #[test]
    fn the_environment_selects_its_file() {
        let files = [("default.toml", ""), ("production.toml", "[log]\nformat = \"json\"")];
        let secret = ("SWITCHBOARD__AUTH__JWT_SECRET", SECRET);
        let by_variable = load(&files, &[("SWITCHBOARD__ENV", "production"), secret]).unwrap();
        assert_eq!((by_variable.env, by_variable.log.format), (Environment::Production, LogFormat::Json));

        let by_default_file = load(&[("default.toml", "env = \"production\""), files[1]], &[secret]).unwrap();
        assert_eq!((by_default_file.env, by_default_file.log.format), (Environment::Production, LogFormat::Json));

        let folder = folder(&files);
        let mut flag = sources(&folder, &[("SWITCHBOARD__ENV", "production")]);
        flag.flags.env = Some(Environment::Development);
        assert_eq!(Config::load(&flag).unwrap().log.format, LogFormat::Human);
    }

    #[test]
    fn the_settings_of_an_environment_are_built_in() {
        let shipped: toml::Table = toml::from_str(include_str!("../../config/production.toml")).unwrap();
        for env in Environment::ALL {
            let folder = folder(&[]);
            let variables = [("SWITCHBOARD__ENV", env.as_str()), ("SWITCHBOARD__AUTH__JWT_SECRET", SECRET)];
            let config = Config::load(&sources(&folder, &variables)).unwrap();
            assert_eq!(config.files.to_string(), format!("none in {}", folder.path().display()));
            let expected = match env {
                Environment::Development => ("127.0.0.1", 1, LogFormat::Human),
                Environment::Production => ("0.0.0.0", 3, LogFormat::Json),
            };
            let found = (config.server.host.as_str(), config.auth.min_password_score, config.log.format);
            assert_eq!(found, expected, "{}", env.as_str());
            // A file in the folder wins, whatever it is called.
            for name in ["default.toml".to_owned(), format!("{}.toml", env.as_str())] {
                let file = folder.path().join(&name);
                std::fs::write(&file, "[server]\nhost = \"10.0.0.1\"").unwrap();
                let config = Config::load(&sources(&folder, &variables)).unwrap();
                assert_eq!(config.server.host, "10.0.0.1");
                assert_eq!(config.files.to_string(), file.display().to_string());
                assert_eq!(config.auth.min_password_score, expected.1);
                std::fs::remove_file(file).unwrap();
            }
        }
        assert_eq!(shipped["auth"]["min_password_score"].as_integer(), Some(3), "the test expects the shipped file");
    }

    #[test]
    fn the_file_of_an_environment_cannot_select_another() {
        let found = problems(load(
            &[("production.toml", "env = \"development\"")],
            &[("SWITCHBOARD__ENV", "production"), ("SWITCHBOARD__AUTH__JWT_SECRET", SECRET)],
        ));
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].key.as_str(), found[0].value.as_deref()), ("env", Some("\"development\"")));
    }

    #[test]
    fn digits_in_a_variable_stay_text_for_text_settings() {
        let config = load(
            &[],
            &[
                ("SWITCHBOARD__AUTH__JWT_SECRET", SECRET),
                ("SWITCHBOARD__PROVIDER__API_KEY", "4711"),
                ("SWITCHBOARD__PROVIDER__MODEL", "4711"),
                ("SWITCHBOARD__PROVIDER__TEMPERATURE", "1"),
                ("SWITCHBOARD__PROVIDER__SCRIPTED__FAIL_AFTER", "0"),
            ],
        )
        .unwrap();
        assert_eq!(config.auth.jwt_secret.unwrap().expose_secret(), SECRET);
        assert_eq!(config.provider.api_key.unwrap().expose_secret(), "4711");
        assert_eq!(config.provider.model, "4711");
        assert!((config.provider.temperature - 1.0).abs() < f64::EPSILON);
        assert_eq!(config.provider.scripted.fail_after, Some(0));
    }

    #[test]
    fn an_empty_variable_removes_an_optional_setting() {
        let files = [("default.toml", "[workflow]\nagents_file = \"agents.toml\"")];
        assert!(load(&files, &[]).unwrap().workflow.agents_file.is_some());
        assert!(load(&files, &[("SWITCHBOARD__WORKFLOW__AGENTS_FILE", "")]).unwrap().workflow.agents_file.is_none());
    }

    #[test]
    fn an_error_names_a_mistyped_key_but_not_its_value() {
        let folder = folder(&[("default.toml", "[auth]\njwt_sceret = \"hunter2\"")]);
        let error = Config::load(&sources(&folder, &[])).unwrap_err().to_string();
        let origin = folder.path().join("default.toml");
        assert!(error.contains(&format!("auth.jwt_sceret (from {}): unknown setting", origin.display())), "{error}");
        assert!(error.contains("expected one of jwt_secret, issuer"), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }

    #[test]
    fn an_error_names_a_mistyped_variable() {
        for name in [
            "SWITCHBOARD__SERVER__PROT",
            "SWITCHBOARD__SERVER_PORT",
            "SWITCHBOARD__SERVER",
            "SWITCHBOARD__server__port",
        ] {
            let found = problems(load(&[], &[(name, "1")]));
            assert_eq!(found.len(), 1, "{name}");
            assert_eq!(found[0].origin.as_deref(), Some(name));
        }
    }

    #[test]
    fn sections_and_values_are_not_interchangeable() {
        let found = problems(load(&[("default.toml", "server = 3\nlog.level.x = 1")], &[]));
        let keys: Vec<&str> = found.iter().map(|problem| problem.key.as_str()).collect();
        assert_eq!(keys, ["log.level", "server"]);
        assert!(
            found[1].allowed.starts_with("is a section, not a setting; it contains host, port"),
            "{}",
            found[1].allowed
        );
    }

    #[test]
    fn all_problems_are_reported_at_once_with_their_origins() {
        let folder = folder(&[("default.toml", "[server]\nport = 70000\n[session]\nheartbeat_timeout_s = 5")]);
        let found = problems(Config::load(&sources(
            &folder,
            &[("SWITCHBOARD__AUTH__HASH_QUEUE", "0"), ("SWITCHBOARD__LOG__FORMAT", "xml"), ("SWITCHBOARD__OOPS", "1")],
        )));
        let said: Vec<String> = found.iter().map(ToString::to_string).collect();
        let file = folder.path().join("default.toml").display().to_string();
        for expected in [
            format!("server.port = 70000 (from {file}): must be a whole number from 0 to 65535"),
            "auth.hash_queue = 0 (from SWITCHBOARD__AUTH__HASH_QUEUE): must be a whole number from 1 to 65536"
                .to_owned(),
            "log.format = \"xml\" (from SWITCHBOARD__LOG__FORMAT): must be one of human, json".to_owned(),
        ] {
            assert!(said.contains(&expected), "{expected} is not in {said:#?}");
        }
        assert!(found.iter().any(|problem| problem.key == "oops"), "{said:#?}");
    }

    #[test]
    fn a_contradiction_names_the_origin_of_the_value() {
        let folder = folder(&[("default.toml", "[session]\nheartbeat_timeout_s = 20")]);
        let found = problems(Config::load(&sources(&folder, &[("SWITCHBOARD__SESSION__HEARTBEAT_INTERVAL_S", "30")])));
        assert_eq!(
            found.iter().map(ToString::to_string).collect::<Vec<_>>(),
            [format!(
                "session.heartbeat_timeout_s = 20 (from {}): must be greater than session.heartbeat_interval_s, which is 30",
                folder.path().join("default.toml").display()
            )]
        );
    }

    #[test]
    fn a_wrong_secret_is_not_shown() {
        let number = load(&[("default.toml", "[auth]\njwt_secret = 4711471147114711")], &[]).unwrap_err().to_string();
        assert!(number.contains("auth.jwt_secret") && !number.contains("4711"), "{number}");
        let short = load(&[], &[("SWITCHBOARD__AUTH__JWT_SECRET", "hunter2")]).unwrap_err().to_string();
        assert!(short.contains("SWITCHBOARD__AUTH__JWT_SECRET") && !short.contains("hunter2"), "{short}");
    }

    #[test]
    fn a_syntax_error_names_the_line_but_does_not_quote_it() {
        let error = load(&[("default.toml", "[auth]\njwt_secret = hunter2\n")], &[]).unwrap_err();
        assert!(matches!(error, ConfigError::Syntax { line: 2, .. }), "{error:?}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }

    #[test]
    fn a_named_folder_must_exist() {
        let sources = Sources { config_dir: Some(PathBuf::from("/nonexistent/config")), ..Sources::default() };
        assert!(matches!(Config::load(&sources), Err(ConfigError::NoFolder(_))));
    }
}
