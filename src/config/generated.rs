//! The files that are generated from the declarations of settings: `config/default.toml` and the end of
//! `docs/CONFIGURATION.md`. `UPDATE_DOCS=1 cargo test --lib config::generated` writes them.

use super::{
    Config, Environment, Flags, Kind, LogFormat, SETTINGS, Section, Setting, Sources,
    named::{NAMED_PROVIDERS, NamedSections},
};
use figment::value::{Dict, Value};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::PathBuf,
};

const DEFAULT_TOML: &str = "config/default.toml";
const CONFIGURATION_MD: &str = "docs/CONFIGURATION.md";

/// The last hand-written line of `docs/CONFIGURATION.md`.
const MARKER: &str =
    "<!-- Generated from src/config; UPDATE_DOCS=1 cargo test --lib config::generated writes it. -->\n";

const TOML_HEADER: &str = "\
# All settings with their defaults. Later layers win: this file, <env>.toml beside it, SWITCHBOARD__SECTION__KEY from the
# environment, flags. A line that starts with `#key =` is a setting that is absent by default. Bounds are inclusive. `Live`
# settings can be changed while the server runs. See docs/CONFIGURATION.md; `switchboard config check` reports mistakes.
#
# Generated from src/config; UPDATE_DOCS=1 cargo test --lib config::generated writes it.
";

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Compares a committed file with its generated text, or writes it when `UPDATE_DOCS` is set.
fn check(name: &str, generated: &str) {
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(path(name), generated).unwrap();
    }
    let is_current = read(name) == generated;
    assert!(is_current, "{name} is out of date: run UPDATE_DOCS=1 cargo test --lib config::generated");
}

/// The default of a setting as TOML; `None` for one that is absent by default.
fn default_of(setting: &Setting) -> Option<String> {
    let defaults = Value::serialize(Config::default()).unwrap();
    defaults.find_ref(setting.key).and_then(|value| setting.shown(value))
}

/// A doc comment as one line of text.
fn joined(about: &[&str]) -> String {
    about.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
}

fn comment(text: &mut String, about: &[&str]) {
    about.iter().for_each(|line| writeln!(text, "# {}", line.trim()).unwrap());
}

/// The bounds of a number, with its unit.
fn range(setting: &Setting) -> Option<String> {
    let unit = setting.unit().map(|unit| format!(" {unit}")).unwrap_or_default();
    match setting.kind {
        Kind::Whole { min, max } => Some(format!("{min} to {max}{unit}")),
        Kind::Number { min, max } => Some(format!("{min} to {max}, fractions allowed")),
        Kind::Text | Kind::Secret | Kind::Bool | Kind::List | Kind::OneOf(_) => None,
    }
}

fn setting_as_toml(text: &mut String, setting: &Setting) {
    comment(text, setting.about);
    if let Kind::OneOf(choices) = setting.kind {
        for choice in choices {
            writeln!(text, "#   {}: {}", choice.name, joined(choice.about)).unwrap();
        }
    }
    if let Some(live) = setting.live {
        writeln!(text, "# {live}").unwrap();
    }
    let value = match (default_of(setting), setting.example) {
        (Some(default), _) => format!("{} = {default}", setting.name()),
        (None, Some(example)) => format!("#{} = {example}", setting.name()),
        (None, None) => panic!("{} has neither a default nor an example", setting.key),
    };
    let range = range(setting).map(|range| format!(" # {range}")).unwrap_or_default();
    writeln!(text, "{value}{range}").unwrap();
}

fn section_as_toml(text: &mut String, section: &Section) {
    if section.path.is_empty() {
        text.push_str(TOML_HEADER);
        text.push('\n');
    } else {
        text.push('\n');
        comment(text, section.about);
        writeln!(text, "[{}]", section.path).unwrap();
    }
    section.settings.iter().for_each(|setting| setting_as_toml(text, setting));
    section.sections.iter().for_each(|nested| section_as_toml(text, nested));
}

fn setting_as_row(text: &mut String, setting: &Setting) {
    let default = default_of(setting).map_or_else(|| "absent".to_owned(), |default| format!("`{default}`"));
    let (allowed, choices) = match setting.kind {
        Kind::OneOf(choices) => {
            let names: Vec<String> = choices.iter().map(|choice| format!("`{}`", choice.name)).collect();
            let about = choices.iter().map(|choice| format!("`{}`: {}", choice.name, joined(choice.about)));
            (names.join(", "), format!(" {}.", about.collect::<Vec<_>>().join("; ")))
        }
        Kind::List => ("list of texts".to_owned(), String::new()),
        Kind::Bool => ("`true`, `false`".to_owned(), String::new()),
        Kind::Text => ("text".to_owned(), String::new()),
        Kind::Secret => ("secret text".to_owned(), String::new()),
        Kind::Whole { .. } | Kind::Number { .. } => (range(setting).unwrap_or_default(), String::new()),
    };
    let live = setting.live.map(|live| format!(" {live}")).unwrap_or_default();
    let about = joined(setting.about);
    assert!(!about.is_empty() && !about.contains('|'), "{} has no description for a table", setting.key);
    writeln!(text, "| `{}` | {default} | {allowed} | {about}{choices}{live} |", setting.key).unwrap();
}

fn section_as_tables(text: &mut String, section: &Section) {
    if section.path.is_empty() {
        text.push_str("\n### Top level\n");
    } else {
        writeln!(text, "\n### `[{}]`\n\n{}", section.path, joined(section.about)).unwrap();
    }
    text.push_str("\n| key | default | allowed | meaning |\n| --- | --- | --- | --- |\n");
    section.settings.iter().for_each(|setting| setting_as_row(text, setting));
    section.sections.iter().for_each(|nested| section_as_tables(text, nested));
}

/// Description of the sections that users name.
const ABOUT_PROVIDERS: &str = "declares a further provider, with the settings of [{like}] and the same defaults. NAME consists of \
a-z, 0-9 and single underscores. workflow.providers and the file of specialists say which providers answer, and in which order.";

/// Describes the sections that users name: their settings are those of another section.
fn named_as_toml(text: &mut String, named: &NamedSections) {
    let NamedSections { path, like, .. } = named;
    wrapped_comment(text, &format!("[{path}.NAME] {}", ABOUT_PROVIDERS.replace("{like}", like)));
}

/// Writes a comment of lines of at most 120 characters.
fn wrapped_comment(text: &mut String, about: &str) {
    text.push('\n');
    let mut line = String::from("#");
    for word in about.split_whitespace() {
        if line.len() + 1 + word.len() > 120 {
            writeln!(text, "{line}").unwrap();
            line = String::from("#");
        }
        write!(line, " {word}").unwrap();
    }
    writeln!(text, "{line}").unwrap();
}

fn named_as_text(text: &mut String, named: &NamedSections) {
    let NamedSections { path, like, reserved } = named;
    let about = ABOUT_PROVIDERS.replace("{like}", like);
    let reserved = reserved.join("` and `");
    writeln!(text, "\n### `[{path}.NAME]`\n\nA section `[{path}.NAME]` {about} The names `{reserved}` are taken; see [`[{like}]`](#{like}).").unwrap();
}

fn default_toml() -> String {
    let mut text = String::new();
    section_as_toml(&mut text, &Config::SECTION);
    named_as_toml(&mut text, &NAMED_PROVIDERS);
    text
}

#[test]
fn the_default_file_is_up_to_date() {
    check(DEFAULT_TOML, &default_toml());
}

#[test]
fn the_tables_of_the_documentation_are_up_to_date() {
    let committed = read(CONFIGURATION_MD);
    let (written, _) = committed.split_once(MARKER).expect("the page has no marker of its generated part");
    let mut text = format!("{written}{MARKER}");
    section_as_tables(&mut text, &Config::SECTION);
    named_as_text(&mut text, &NAMED_PROVIDERS);
    check(CONFIGURATION_MD, &text);
}

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

#[test]
fn the_default_file_has_exactly_the_compiled_defaults() {
    let file = parse(&default_toml());
    for setting in SETTINGS.iter() {
        let in_file = file.find_ref(setting.key).and_then(|value| setting.shown(value));
        assert_eq!(in_file, default_of(setting), "{}", setting.key);
    }
}

#[test]
fn the_examples_of_absent_settings_are_allowed() {
    let with_examples: String = default_toml()
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(rest) if rest.starts_with(|c: char| c.is_ascii_lowercase()) => format!("{rest}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    let values = parse(&with_examples);
    for setting in SETTINGS.iter() {
        let value = values.find_ref(setting.key).expect(setting.key);
        assert!(setting.allows(value), "{} = {value:?}: {}", setting.key, setting.requirement());
    }
    let Value::Dict(_, dict) = values else { panic!("not a table") };
    assert_eq!(keys("", &dict), SETTINGS.iter().map(|setting| setting.key.to_owned()).collect());
}

#[test]
fn the_shipped_files_make_a_configuration() {
    let folder = path("config");
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

#[test]
fn the_examples_of_the_documentation_load() {
    let page = read(CONFIGURATION_MD);
    let mut examples = 0;
    for block in page.split("```toml\n").skip(1) {
        let (example, _) = block.split_once("```").expect("a block of TOML has no end");
        let folder = tempfile::TempDir::new().unwrap();
        fs::write(folder.path().join("default.toml"), example).unwrap();
        let sources = Sources { config_dir: Some(folder.path().to_owned()), ..Sources::default() };
        Config::load(&sources).unwrap_or_else(|error| panic!("{error}\n{example}"));
        examples += 1;
    }
    assert!(examples > 0, "the documentation has no example");
    for name in page.split(|c: char| !(c.is_ascii_uppercase() || c == '_')) {
        if let Some(path) = name.strip_prefix(super::ENV_PREFIX).filter(|path| !matches!(*path, "SECTION__KEY" | "")) {
            let key = path.to_lowercase().replace("__", ".");
            assert!(Setting::find(&key).is_some(), "{name} is not a setting");
        }
    }
}
