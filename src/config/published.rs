//! Holds what is published about the settings, `config/*.toml` and `docs/CONFIGURATION.md`, against the code.

use super::{Config, Environment, Flags, Kind, LogFormat, SETTINGS, Setting, Sources};
use figment::value::{Dict, Value};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

const DEFAULT_TOML: &str = include_str!("../../config/default.toml");
const CONFIGURATION_MD: &str = include_str!("../../docs/CONFIGURATION.md");

fn parse(text: &str) -> Value {
    Value::serialize(toml::from_str::<toml::Table>(text).unwrap()).unwrap()
}

/// The keys of all values within `dict`.
fn keys(path: &str, dict: &Dict) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (name, value) in dict {
        let key = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        match value {
            Value::Dict(_, dict) => found.extend(keys(&key, dict)),
            _ => {
                found.insert(key);
            }
        }
    }
    found
}

fn default_of(setting: &Setting) -> Option<Value> {
    let defaults = Value::serialize(Config::default()).unwrap();
    defaults.find(setting.key).filter(|value| !matches!(value, Value::Empty(..)))
}

#[test]
fn the_default_file_has_exactly_the_compiled_defaults() {
    let file = parse(DEFAULT_TOML);
    for setting in SETTINGS {
        let (in_file, compiled) = (file.find_ref(setting.key), default_of(setting));
        let shown = |value: &Value| setting.shown(value);
        assert_eq!(in_file.and_then(shown), compiled.as_ref().and_then(shown), "{}", setting.key);
        assert_eq!(in_file.is_some(), compiled.is_some(), "{}", setting.key);
    }
}

#[test]
fn the_default_file_has_every_setting_and_a_comment_for_each() {
    let with_absent: String = DEFAULT_TOML
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(rest) if rest.starts_with(|c: char| c.is_ascii_lowercase()) => format!("{rest}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    let Value::Dict(_, dict) = parse(&with_absent) else { panic!("not a table") };
    assert_eq!(keys("", &dict), SETTINGS.iter().map(|setting| setting.key.to_owned()).collect());

    let lines: Vec<&str> = with_absent.lines().collect();
    for pair in lines.windows(2) {
        let is_setting = pair[1].contains(" = ") && !pair[1].starts_with('#');
        assert!(!is_setting || pair[0].starts_with("# "), "no comment stands above: {}", pair[1]);
    }
}

#[test]
fn the_shipped_files_make_a_configuration() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let load = |env| {
        Config::load(&Sources {
            config_dir: Some(folder.clone()),
            variables: BTreeMap::from([("SWITCHBOARD__AUTH__JWT_SECRET".to_owned(), "x".repeat(32))]),
            flags: Flags { env: Some(env), ..Flags::default() },
        })
        .unwrap()
    };
    assert_eq!(load(Environment::Development).log.format, LogFormat::Human);
    let production = load(Environment::Production);
    assert_eq!((production.server.host.as_str(), production.log.format), ("0.0.0.0", LogFormat::Json));
}

/// The beginning of the line that the documentation must have for a setting.
fn row(setting: &Setting) -> String {
    let default = match default_of(setting) {
        Some(value) => format!("`{}`", setting.shown(&value).expect("no secret has a default")),
        None => "absent".to_owned(),
    };
    let allowed = match setting.kind {
        Kind::OneOf(choices) => choices.iter().map(|choice| format!("`{choice}`")).collect::<Vec<_>>().join(", "),
        Kind::Whole { min, max } => format!("{min} to {max}"),
        Kind::Number { min, max } => format!("{min} to {max}, may have a fraction"),
        Kind::List => "list of texts".to_owned(),
        Kind::Bool => "`true`, `false`".to_owned(),
        Kind::Text => "text".to_owned(),
        Kind::Secret => "secret text".to_owned(),
    };
    format!("| `{}` | {default} | {allowed} | ", setting.key)
}

#[test]
fn the_documentation_has_a_row_for_each_setting_and_no_other() {
    let rows: Vec<&str> = CONFIGURATION_MD.lines().filter(|line| line.starts_with("| `")).collect();
    let missing: Vec<String> = SETTINGS
        .iter()
        .map(row)
        .filter(|expected| !rows.iter().any(|row| row.strip_prefix(expected).is_some_and(|rest| rest.len() > 5)))
        .collect();
    assert!(missing.is_empty(), "docs/CONFIGURATION.md lacks lines that begin so:\n{}", missing.join("\n"));
    assert_eq!(rows.len(), SETTINGS.len(), "docs/CONFIGURATION.md has rows for settings that are not there");
}

#[test]
fn the_examples_of_the_documentation_load() {
    let mut examples = 0;
    for block in CONFIGURATION_MD.split("```toml\n").skip(1) {
        let (example, _) = block.split_once("```").expect("a block of TOML has no end");
        let folder = tempfile::TempDir::new().unwrap();
        std::fs::write(folder.path().join("default.toml"), example).unwrap();
        let sources = Sources { config_dir: Some(folder.path().to_owned()), ..Sources::default() };
        Config::load(&sources).unwrap_or_else(|error| panic!("{error}\n{example}"));
        examples += 1;
    }
    assert!(examples > 0, "the documentation has no example");
    for name in CONFIGURATION_MD.split(|c: char| !(c.is_ascii_uppercase() || c == '_')) {
        if let Some(path) = name.strip_prefix(super::ENV_PREFIX).filter(|path| !matches!(*path, "SECTION__KEY" | "")) {
            let key = path.to_lowercase().replace("__", ".");
            assert!(Setting::find(&key).is_some(), "{name} is not a setting");
        }
    }
}
