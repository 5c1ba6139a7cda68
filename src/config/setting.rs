//! The table of settings: each key once, with what may stand there. The loader, the check of ranges, the environment and
//! the published documentation all read it; tests hold it against the fields of [`super::Config`].

use crate::limits::MAX_ACCESS_TOKEN_LIFE_S;
use figment::value::{Num, Value};
use std::fmt;

/// One setting, such as `server.port`.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    pub key: &'static str,
    pub kind: Kind,
    /// May be absent; an empty environment variable then means absent.
    pub optional: bool,
}

/// What a value must be. Its `Display` says it in words.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Any text but the empty one.
    Text,
    /// A text that must never be shown.
    Secret,
    Bool,
    /// A whole number within both bounds, bounds included.
    Whole {
        min: u64,
        max: u64,
    },
    /// A number within both bounds, bounds included.
    Number {
        min: f64,
        max: f64,
    },
    OneOf(&'static [&'static str]),
    /// Texts, none of them empty; in a variable they have commas between them.
    List,
}

const HOUR_S: u64 = 3_600;
const DAY_S: u64 = 24 * HOUR_S;
const HOUR_MS: u64 = HOUR_S * 1_000;
const MIB: u64 = 1024 * 1024;

pub const SETTINGS: &[Setting] = &[
    one_of("env", &["development", "production"]),
    text("data_dir"),
    text("server.host"),
    whole("server.port", 0, 65_535),
    whole("server.workers", 0, 1_024),
    whole("server.drain_timeout_s", 0, HOUR_S),
    list("server.allowed_origins"),
    list("server.allowed_hosts"),
    list("server.trusted_proxies"),
    whole("server.max_connections", 1, 10_000_000),
    whole("server.request_head_timeout_ms", 1, HOUR_MS),
    whole("server.request_body_timeout_ms", 1, HOUR_MS),
    one_of("log.format", &["human", "json"]),
    text("log.level"),
    text("database.url"),
    whole("database.readers", 1, 256),
    whole("database.busy_timeout_ms", 0, 600_000),
    whole("database.audit_retention_days", 0, 36_500),
    optional("auth.jwt_secret", Kind::Secret),
    text("auth.issuer"),
    text("auth.audience"),
    whole("auth.access_token_ttl_s", 1, MAX_ACCESS_TOKEN_LIFE_S.unsigned_abs()),
    whole("auth.refresh_token_ttl_s", 1, 366 * DAY_S),
    whole("auth.ws_ticket_ttl_s", 1, 600),
    whole("auth.min_password_score", 0, 4),
    whole("auth.hash_threads", 0, 256),
    whole("auth.hash_queue", 1, 65_536),
    whole("limits.connections_per_address", 0, 10_000_000),
    whole("limits.connections_per_user", 0, 10_000_000),
    whole("limits.requests_per_s_per_user", 0, 1_000_000),
    whole("limits.requests_per_s_per_address", 0, 1_000_000),
    whole("limits.logins_per_minute_per_address", 0, 1_000_000),
    whole("limits.logins_per_minute_per_account", 0, 1_000_000),
    whole("limits.registrations_per_minute_per_address", 0, 1_000_000),
    whole("limits.frames_per_s", 0, 1_000_000),
    whole("limits.frame_burst", 1, 1_000_000),
    whole("limits.violations_per_minute", 0, 1_000_000),
    whole("limits.json_depth", 1, 100),
    list("limits.exempt_addresses"),
    whole("session.auth_deadline_s", 1, HOUR_S),
    whole("session.heartbeat_interval_s", 1, HOUR_S),
    whole("session.heartbeat_timeout_s", 1, DAY_S),
    whole("session.max_message_bytes", 256, 16 * MIB),
    whole("session.max_message_chars", 1, 16 * MIB),
    whole("session.max_running_turns", 1, 10_000),
    whole("session.write_stall_timeout_s", 1, HOUR_S),
    whole("session.coalesce_ms", 0, 10_000),
    optional("workflow.agents_file", Kind::Text),
    whole("workflow.max_running_turns", 1, 10_000_000),
    whole("workflow.max_running_turns_per_user", 0, 10_000_000),
    whole("workflow.max_waiting_turns", 0, 10_000_000),
    whole("workflow.admission_wait_ms", 0, 600_000),
    number("workflow.confidence_threshold", 0.0, 1.0),
    whole("workflow.context_token_budget", 0, 10_000_000),
    whole("workflow.turn_retention_s", 0, 7 * DAY_S),
    whole("workflow.stall_timeout_s", 1, HOUR_S),
    whole("workflow.turn_timeout_s", 1, DAY_S),
    whole("workflow.abandon_after_s", 1, DAY_S),
    one_of("workflow.abandoned", &["continue", "stop"]),
    boolean("knowledge.seed"),
    whole("knowledge.max_passages", 1, 100),
    whole("knowledge.chunk_chars", 100, 100_000),
    whole("knowledge.max_document_bytes", 1, 1_024 * MIB),
    whole("knowledge.max_text_bytes", 1, 1_024 * MIB),
    whole("knowledge.extract_timeout_s", 1, HOUR_S),
    whole("knowledge.extract_memory_bytes", 64 * MIB, 64 * 1_024 * MIB),
    optional("knowledge.extract_program", Kind::Text),
    whole("knowledge.upload_timeout_s", 1, HOUR_S),
    one_of("provider.kind", &["extractive", "openai", "scripted"]),
    text("provider.base_url"),
    optional("provider.api_key", Kind::Secret),
    text("provider.model"),
    whole("provider.max_answer_tokens", 0, 10_000_000),
    number("provider.temperature", 0.0, 2.0),
    whole("provider.connect_timeout_ms", 1, HOUR_MS),
    whole("provider.first_token_timeout_ms", 1, HOUR_MS),
    whole("provider.idle_timeout_ms", 1, HOUR_MS),
    whole("provider.total_timeout_ms", 1, 24 * HOUR_MS),
    whole("provider.extractive.interval_ms", 0, 1_000),
    whole("provider.scripted.tokens", 0, 100_000),
    whole("provider.scripted.interval_ms", 0, 60_000),
    whole("provider.scripted.token_bytes", 1, 1_024),
    optional("provider.scripted.fail_after", Kind::Whole { min: 0, max: 100_000 }),
    list("metrics.allowed_addresses"),
    optional("metrics.token", Kind::Secret),
];

const fn setting(key: &'static str, kind: Kind) -> Setting {
    Setting { key, kind, optional: false }
}

const fn optional(key: &'static str, kind: Kind) -> Setting {
    Setting { key, kind, optional: true }
}

const fn text(key: &'static str) -> Setting {
    setting(key, Kind::Text)
}

const fn boolean(key: &'static str) -> Setting {
    setting(key, Kind::Bool)
}

const fn whole(key: &'static str, min: u64, max: u64) -> Setting {
    setting(key, Kind::Whole { min, max })
}

const fn number(key: &'static str, min: f64, max: f64) -> Setting {
    setting(key, Kind::Number { min, max })
}

const fn list(key: &'static str) -> Setting {
    setting(key, Kind::List)
}

const fn one_of(key: &'static str, choices: &'static [&'static str]) -> Setting {
    setting(key, Kind::OneOf(choices))
}

impl Setting {
    pub fn find(key: &str) -> Option<&'static Self> {
        SETTINGS.iter().find(|setting| setting.key == key)
    }

    /// Whether `value` may stand here.
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
            (Kind::OneOf(choices), Value::String(_, text)) => choices.contains(&text.as_str()),
            (Kind::List, Value::Array(_, values)) => {
                values.iter().all(|value| matches!(value, Value::String(_, text) if !text.trim().is_empty()))
            }
            _ => false,
        }
    }

    /// What an environment variable with this text stands for. A text stays a text, however much it looks like a number;
    /// what is not of this kind stays a text too, and is refused by [`Self::allows`].
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

    /// How a message shows `value`: never a secret, and no password within an address.
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

/// `text` without what stands between `://` and `@`.
fn without_password(text: &str) -> String {
    match (text.split_once("://"), text.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, rest))) => format!("{scheme}://[redacted]@{rest}"),
        _ => text.to_owned(),
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text | Self::Secret => f.write_str("a text that is not empty"),
            Self::List => f.write_str("a list of texts that are not empty"),
            Self::Bool => f.write_str("true or false"),
            Self::Whole { min, max } => write!(f, "a whole number from {min} to {max}"),
            Self::Number { min, max } => write!(f, "a number from {min} to {max}"),
            Self::OneOf(choices) => write!(f, "one of {}", choices.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use figment::{Figment, error::Kind as ErrorKind};
    use std::collections::BTreeSet;

    fn setting(key: &str) -> &'static Setting {
        Setting::find(key).expect(key)
    }

    /// The fields of the section at `path` as serde knows them; `None` when `path` is not a section. A field that nobody
    /// has makes serde list those there are.
    fn fields(path: &str) -> Option<&'static [&'static str]> {
        let probe = if path.is_empty() { "?".to_owned() } else { format!("{path}.?") };
        let error = Figment::new().merge((probe.as_str(), 0)).extract::<Config>().expect_err("the probe was taken");
        match error.kind {
            ErrorKind::UnknownField(_, fields) => Some(fields),
            _ => None,
        }
    }

    fn collect(path: &str, keys: &mut BTreeSet<String>) {
        match fields(path) {
            None => {
                keys.insert(path.to_owned());
            }
            Some(fields) => {
                for field in fields {
                    collect(&if path.is_empty() { (*field).to_owned() } else { format!("{path}.{field}") }, keys);
                }
            }
        }
    }

    #[test]
    fn the_table_has_every_field_of_the_config_and_nothing_else() {
        let mut fields = BTreeSet::new();
        collect("", &mut fields);
        let table: BTreeSet<String> = SETTINGS.iter().map(|setting| setting.key.to_owned()).collect();
        assert_eq!(table, fields);
        assert_eq!(SETTINGS.len(), table.len(), "a key stands in the table twice");
    }

    #[test]
    fn optional_is_what_the_config_leaves_empty() {
        let defaults = Value::serialize(Config::default()).unwrap();
        for setting in SETTINGS {
            let value = defaults.find_ref(setting.key).expect(setting.key);
            assert_eq!(matches!(value, Value::Empty(..)), setting.optional, "{}", setting.key);
        }
    }

    #[test]
    fn bounds_belong_to_the_range() {
        let port = setting("server.port");
        assert!(port.allows(&Value::from(0_u16)) && port.allows(&Value::from(65_535_u32)));
        assert!(!port.allows(&Value::from(65_536_u32)) && !port.allows(&Value::from(-1_i32)));
        assert!(!port.allows(&Value::from(80.5)) && !port.allows(&Value::from("80")));
    }

    #[test]
    fn a_number_may_be_written_without_a_point_but_not_as_nan() {
        let temperature = setting("provider.temperature");
        assert!(temperature.allows(&Value::from(1_i64)) && temperature.allows(&Value::from(0.5)));
        assert!(!temperature.allows(&Value::from(f64::NAN)) && !temperature.allows(&Value::from(3_i64)));
    }

    #[test]
    fn a_variable_becomes_what_its_setting_is() {
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
    fn an_empty_variable_is_an_absent_setting_where_it_may_be_absent() {
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
