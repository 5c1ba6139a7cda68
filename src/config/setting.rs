//! Descriptions of settings: key, allowed values, text for people. The loader, the check of ranges, error messages, the
//! environment and the published documentation all read them. The sections beside this file declare them.

use super::{Config, named::NAMED_PROVIDERS};
use figment::value::{Num, Value};
use secrecy::SecretString;
use std::{fmt, ops::RangeInclusive, path::PathBuf, sync::LazyLock};

pub(super) const HOUR_S: u64 = 3_600;
pub(super) const DAY_S: u64 = 24 * HOUR_S;
pub(super) const HOUR_MS: u64 = HOUR_S * 1_000;
pub(super) const MIB: u64 = 1024 * 1024;

/// One setting, such as `server.port`.
#[derive(Debug)]
pub struct Setting {
    /// The section and the name, such as `server.port`.
    pub key: &'static str,
    pub kind: Kind,
    /// Whether the setting may be absent; an empty environment variable then means absent.
    pub optional: bool,
    /// The lines of the description.
    pub about: &'static [&'static str],
    /// An example in TOML of a setting that has no default.
    pub example: Option<&'static str>,
    /// Effect of a change, for a setting that operators can change while the server runs.
    pub live: Option<&'static str>,
}

/// A table of settings, such as `server`.
#[derive(Debug)]
pub struct Section {
    /// The names down to this section, such as `provider.scripted`; empty for the whole configuration.
    pub path: &'static str,
    /// The lines of the description.
    pub about: &'static [&'static str],
    pub settings: &'static [Setting],
    pub sections: &'static [&'static Self],
}

/// Allowed values of a setting. The `Display` form describes them in words.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Any text but the empty one.
    Text,
    /// A text that must never be shown.
    Secret,
    Bool,
    /// A whole number within both bounds, inclusive.
    Whole {
        min: u64,
        max: u64,
    },
    /// A number within both bounds, inclusive.
    Number {
        min: f64,
        max: f64,
    },
    OneOf(&'static [Choice]),
    /// Texts, none of them empty; separated by commas in an environment variable.
    List,
}

/// One of the names that a setting may have as its value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice {
    pub name: &'static str,
    /// The lines of the description.
    pub about: &'static [&'static str],
}

impl Kind {
    pub(super) const fn whole(range: RangeInclusive<u64>) -> Self {
        Self::Whole { min: *range.start(), max: *range.end() }
    }

    pub(super) const fn number(range: RangeInclusive<f64>) -> Self {
        Self::Number { min: *range.start(), max: *range.end() }
    }
}

/// A type whose values need no range.
pub(super) trait Plain {
    const KIND: Kind;
}

impl Plain for String {
    const KIND: Kind = Kind::Text;
}

impl Plain for PathBuf {
    const KIND: Kind = Kind::Text;
}

impl Plain for SecretString {
    const KIND: Kind = Kind::Secret;
}

impl Plain for bool {
    const KIND: Kind = Kind::Bool;
}

impl Plain for Vec<String> {
    const KIND: Kind = Kind::List;
}

impl<T: Plain> Plain for Option<T> {
    const KIND: Kind = T::KIND;
}

/// All settings, in the order of their declarations.
pub static SETTINGS: LazyLock<Vec<&'static Setting>> = LazyLock::new(|| {
    fn collect(section: &'static Section, settings: &mut Vec<&'static Setting>) {
        settings.extend(section.settings);
        section.sections.iter().for_each(|nested| collect(nested, settings));
    }

    let mut settings = Vec::new();
    collect(&Config::SECTION, &mut settings);
    settings
});

impl Section {
    /// The section at `path`, such as `provider.scripted` or `providers.backup`; the empty path is the whole configuration.
    pub(super) fn find(path: &str) -> Option<&'static Self> {
        fn within(section: &'static Section, path: &str) -> Option<&'static Section> {
            if section.path == path {
                return Some(section);
            }
            section.sections.iter().find_map(|nested| within(nested, path))
        }

        within(&Config::SECTION, &NAMED_PROVIDERS.declared(path))
    }

    /// The settings and sections directly in this section.
    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> {
        let keys = self.settings.iter().map(|setting| setting.key);
        keys.chain(self.sections.iter().map(|section| section.path)).map(last_name)
    }
}

/// `port` of `server.port`.
fn last_name(path: &'static str) -> &'static str {
    path.rsplit_once('.').map_or(path, |(_, name)| name)
}

impl Setting {
    pub fn find(key: &str) -> Option<&'static Self> {
        let key = NAMED_PROVIDERS.declared(key);
        SETTINGS.iter().copied().find(|setting| setting.key == key)
    }

    /// The key without its section.
    pub fn name(&self) -> &'static str {
        last_name(self.key)
    }

    /// The unit of a number, as the end of its name says.
    pub fn unit(&self) -> Option<&'static str> {
        const UNITS: &[(&str, &str)] = &[
            ("_s", "seconds"),
            ("_ms", "milliseconds"),
            ("_days", "days"),
            ("_bytes", "bytes"),
            ("_chars", "characters"),
        ];
        let is_rate = self.key.ends_with("_per_s");
        UNITS.iter().find(|(ending, _)| !is_rate && self.key.ends_with(ending)).map(|(_, unit)| *unit)
    }

    /// The allowed values as a clause that follows the key in an error message.
    pub fn requirement(&self) -> String {
        match (self.kind, self.unit()) {
            (Kind::Whole { min, max }, Some(unit)) => format!("must be a whole number of {unit} from {min} to {max}"),
            (kind, _) => format!("must be {kind}"),
        }
    }

    /// Whether `value` is allowed.
    pub fn allows(&self, value: &Value) -> bool {
        match (self.kind, value) {
            (_, Value::Empty(..)) => self.optional,
            (Kind::Text | Kind::Secret, Value::String(_, text)) => !text.trim().is_empty(),
            (Kind::Bool, Value::Bool(..)) => true,
            (Kind::Whole { min, max }, Value::Num(_, num)) => {
                whole_of(*num).is_some_and(|whole| (min.into()..=max.into()).contains(&whole))
            }
            (Kind::Number { min, max }, Value::Num(_, num)) => {
                number_of(*num).is_some_and(|number| (min..=max).contains(&number))
            }
            (Kind::OneOf(choices), Value::String(_, text)) => choices.iter().any(|choice| choice.name == text),
            (Kind::List, Value::Array(_, values)) => {
                values.iter().all(|value| matches!(value, Value::String(_, text) if !text.trim().is_empty()))
            }
            _ => false,
        }
    }

    /// Parses the value of an environment variable. A text stays a text even if it looks like a number. Whatever is not of
    /// this kind stays a text too, and [`Self::allows`] rejects it.
    pub fn parse(&self, text: &str) -> Value {
        if self.optional && text.is_empty() {
            return Value::Empty(figment::value::Tag::Default, figment::value::Empty::None);
        }
        let parsed = match self.kind {
            Kind::Text | Kind::Secret | Kind::OneOf(_) => None,
            // As in a file: ["a", "b"].
            Kind::List if text.trim_start().starts_with('[') => {
                serde_json::from_str::<Vec<String>>(text).ok().map(Value::from)
            }
            // The empty variable is the empty list.
            Kind::List => {
                let texts = text.split(',').map(str::trim).filter(|text| !text.is_empty());
                Some(Value::from(texts.collect::<Vec<_>>()))
            }
            Kind::Bool => text.parse::<bool>().ok().map(Value::from),
            Kind::Whole { .. } => text.parse::<u64>().ok().map(Value::from),
            Kind::Number { .. } => text.parse::<f64>().ok().map(Value::from),
        };
        parsed.unwrap_or_else(|| Value::from(text))
    }

    /// Formats `value` for a message: no secrets, and no password in a URL.
    pub fn shown(&self, value: &Value) -> Option<String> {
        match (self.kind, value) {
            (Kind::Secret, _) => None,
            (_, Value::String(_, text)) => Some(format!("{:?}", without_password(text))),
            (_, Value::Array(_, values)) => {
                let shown: Vec<_> = values.iter().filter_map(|value| self.shown(value)).collect();
                Some(format!("[{}]", shown.join(", ")))
            }
            (_, Value::Bool(_, bool)) => Some(bool.to_string()),
            (_, Value::Num(_, num)) => match whole_of(*num) {
                Some(whole) => Some(whole.to_string()),
                None => number_of(*num).map(|number| number.to_string()),
            },
            _ => None,
        }
    }
}

fn whole_of(num: Num) -> Option<i128> {
    num.to_i128().or_else(|| num.to_u128().and_then(|whole| whole.try_into().ok()))
}

fn number_of(num: Num) -> Option<f64> {
    num.to_f64().or_else(|| whole_of(num).map(|whole| whole as f64))
}

/// `text` with everything between `://` and `@` redacted.
fn without_password(text: &str) -> String {
    match (text.split_once("://"), text.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, rest))) => format!("{scheme}://[redacted]@{rest}"),
        _ => text.to_owned(),
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text | Self::Secret => f.write_str("a non-empty text"),
            Self::List => f.write_str("a list of non-empty texts"),
            Self::Bool => f.write_str("true or false"),
            Self::Whole { min, max } => write!(f, "a whole number from {min} to {max}"),
            Self::Number { min, max } => write!(f, "a number from {min} to {max}"),
            Self::OneOf(choices) => {
                write!(f, "one of {}", choices.iter().map(|choice| choice.name).collect::<Vec<_>>().join(", "))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use figment::{Figment, providers::Serialized};
    use std::collections::BTreeSet;

    fn setting(key: &str) -> &'static Setting {
        Setting::find(key).expect(key)
    }

    #[test]
    fn no_key_is_declared_twice() {
        let keys: BTreeSet<&str> = SETTINGS.iter().map(|setting| setting.key).collect();
        assert_eq!(keys.len(), SETTINGS.len());
    }

    /// Integers are declared with a range and a type of their own.
    #[test]
    fn both_bounds_of_a_range_fit_the_type() {
        let defaults = Figment::from(Serialized::defaults(Config::default()));
        for setting in SETTINGS.iter() {
            let bounds = match setting.kind {
                Kind::Whole { min, max } => [Value::from(min), Value::from(max)],
                Kind::Number { min, max } => [Value::from(min), Value::from(max)],
                _ => continue,
            };
            for bound in bounds {
                let config = defaults.clone().merge((setting.key, &bound)).extract::<Config>();
                assert!(config.is_ok(), "{} = {bound:?}: {config:?}", setting.key);
            }
        }
    }

    #[test]
    fn the_unit_is_the_end_of_the_name() {
        let unit = |key| setting(key).unit();
        assert_eq!(unit("server.drain_timeout_s"), Some("seconds"));
        assert_eq!(unit("session.coalesce_ms"), Some("milliseconds"));
        assert_eq!((unit("limits.frames_per_s"), unit("limits.requests_per_s_per_user")), (None, None));
        let too_long = setting("server.drain_timeout_s").requirement();
        assert_eq!(too_long, "must be a whole number of seconds from 0 to 3600");
        assert_eq!(setting("log.format").requirement(), "must be one of human, json");
    }

    #[test]
    fn both_bounds_are_allowed() {
        let port = setting("server.port");
        assert!(port.allows(&Value::from(0_u16)) && port.allows(&Value::from(65_535_u32)));
        assert!(!port.allows(&Value::from(65_536_u32)) && !port.allows(&Value::from(-1_i32)));
        assert!(!port.allows(&Value::from(80.5)) && !port.allows(&Value::from("80")));
    }

    #[test]
    fn a_number_may_be_an_integer_but_not_nan() {
        let temperature = setting("provider.temperature");
        assert!(temperature.allows(&Value::from(1_i64)) && temperature.allows(&Value::from(0.5)));
        assert!(!temperature.allows(&Value::from(f64::NAN)) && !temperature.allows(&Value::from(3_i64)));
    }

    #[test]
    fn a_variable_is_parsed_as_the_type_of_its_setting() {
        assert_eq!(setting("server.port").parse("9000"), Value::from(9_000_u64));
        assert_eq!(setting("knowledge.seed").parse("false"), Value::from(false));
        let digits = "12345678901234567890123456789012";
        for key in ["auth.jwt_secret", "provider.api_key", "provider.model"] {
            assert_eq!(setting(key).parse(digits), Value::from(digits), "{key}");
        }
        assert!(!setting("server.port").allows(&setting("server.port").parse("http")));
        let proxies = setting("server.trusted_proxies");
        assert_eq!(proxies.parse("10.0.0.0/8, ::1"), Value::from(vec!["10.0.0.0/8", "::1"]));
        assert!(proxies.allows(&proxies.parse("")) && !proxies.allows(&Value::from("10.0.0.0/8")));
    }

    #[test]
    fn an_empty_variable_makes_an_optional_setting_absent() {
        assert!(matches!(setting("auth.jwt_secret").parse(""), Value::Empty(..)));
        assert!(!setting("server.host").allows(&setting("server.host").parse("")));
    }

    #[test]
    fn secrets_are_not_shown() {
        assert_eq!(setting("auth.jwt_secret").shown(&Value::from("hunter2")), None);
        assert_eq!(
            setting("database.url").shown(&Value::from("postgres://me:hunter2@db/x")).as_deref(),
            Some("\"postgres://[redacted]@db/x\"")
        );
        assert_eq!(setting("server.port").shown(&Value::from(70_000_u32)).as_deref(), Some("70000"));
        assert_eq!(setting("server.host").shown(&Value::from("a\nb")).as_deref(), Some("\"a\\nb\""));
    }
}
