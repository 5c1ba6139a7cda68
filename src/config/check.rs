//! What a configuration must fulfil as a whole: the range of each setting, and settings that contradict each other.
//! Pure: whether a file or a server exists is found out by who uses it.

use super::{
    Config, Environment, Problem, ProviderKind, SETTINGS,
    peer::{HostPattern, is_origin, parse_network},
};
use crate::limits::{MAX_JSON_BYTES_PER_CHAR, MESSAGE_OVERHEAD_BYTES};
use figment::value::Value;
use secrecy::ExposeSecret;
use std::net::IpAddr;

/// The shortest secret that may sign tokens, in bytes: as long as the hash of HS256 (RFC 7518, 3.2).
pub const JWT_SECRET_MIN_BYTES: usize = 32;
/// The longest filter of the log, in characters.
const MAX_LOG_LEVEL_CHARS: usize = 500;
/// The shortest token that lets somebody read the metrics, in bytes.
const METRICS_TOKEN_MIN_BYTES: usize = 16;

impl Config {
    /// Checks ranges and contradictions.
    ///
    /// # Errors
    /// All problems there are, each with its key; where a value came from is for the loader to add.
    pub fn check(&self) -> Result<(), Vec<Problem>> {
        let mut found =
            Found { config: Value::serialize(self).unwrap_or_else(|_| Value::from("")), problems: Vec::new() };
        found.ranges();
        self.check_server(&mut found);
        self.check_auth(&mut found);
        self.check_limits(&mut found);
        self.check_provider(&mut found);
        if found.problems.is_empty() { Ok(()) } else { Err(found.problems) }
    }

    fn check_server(&self, found: &mut Found) {
        found.require(is_host(&self.server.host), "server.host", || {
            "must be an IP address or a host name, without a port".to_owned()
        });
        for (key, networks) in [
            ("server.trusted_proxies", &self.server.trusted_proxies),
            ("limits.exempt_addresses", &self.limits.exempt_addresses),
            ("metrics.allowed_addresses", &self.metrics.allowed_addresses),
        ] {
            found.require(networks.iter().all(|network| parse_network(network).is_some()), key, || {
                "must be networks or addresses, such as [\"10.0.0.0/8\", \"::1\"]".to_owned()
            });
        }
        found.require(
            self.server.allowed_origins.iter().all(|origin| is_origin(origin)),
            "server.allowed_origins",
            || "must be origins without a path, such as [\"https://app.example.org\"], or [\"*\"]".to_owned(),
        );
        found.require(
            self.server.allowed_hosts.iter().all(|host| HostPattern::parse(host).is_some()),
            "server.allowed_hosts",
            || {
                "must be host names or addresses without scheme and port, such as [\"chat.example.org\", \"*.example.org\"], \
                 or [\"*\"]"
                    .to_owned()
            },
        );
        let path = self.database.url.strip_prefix("sqlite://");
        found.require(path.is_some_and(|path| !path.is_empty()), "database.url", || {
            "must be sqlite://path, such as sqlite://data/switchboard.db".to_owned()
        });
        found.require(!path.is_some_and(|path| path.contains(":memory:")), "database.url", || {
            "must be a file: a database in memory would be another one for each connection".to_owned()
        });
        found.require(!path.is_some_and(|path| path.contains('?')), "database.url", || {
            "must be a path alone: parameters after a question mark are not supported".to_owned()
        });
        found.require(
            path.is_none_or(|path| path.trim() == path && !path.contains(char::is_control)),
            "database.url",
            || "must not begin or end with a space, nor have control characters".to_owned(),
        );
        if let Err(problem) = check_log_level(&self.log.level) {
            found.add(
                "log.level",
                format!("must be a level or a list such as info,switchboard::workflow=debug: {problem}"),
            );
        }
    }

    fn check_auth(&self, found: &mut Found) {
        let auth = &self.auth;
        match &auth.jwt_secret {
            Some(secret) => {
                found.require(secret.expose_secret().len() >= JWT_SECRET_MIN_BYTES, "auth.jwt_secret", || {
                    format!("must have {JWT_SECRET_MIN_BYTES} bytes or more, and has {}", secret.expose_secret().len())
                })
            }
            None => found.require(self.env == Environment::Development, "auth.jwt_secret", || {
                format!("must be set in production, to {JWT_SECRET_MIN_BYTES} bytes or more that nobody can guess")
            }),
        }
        let token = self.metrics.token.as_ref().map(ExposeSecret::expose_secret);
        found.require(token.is_none_or(|token| token.len() >= METRICS_TOKEN_MIN_BYTES), "metrics.token", || {
            format!("must have {METRICS_TOKEN_MIN_BYTES} bytes or more that nobody can guess")
        });
        found.require(token.is_none_or(is_sendable), "metrics.token", || {
            "must be printable ASCII without spaces, as it comes in a header".to_owned()
        });
        found.require(auth.refresh_token_ttl_s > auth.access_token_ttl_s, "auth.refresh_token_ttl_s", || {
            format!("must be more than auth.access_token_ttl_s, which is {}", auth.access_token_ttl_s)
        });
    }

    fn check_limits(&self, found: &mut Found) {
        let (session, workflow, knowledge) = (&self.session, &self.workflow, &self.knowledge);
        found.require(
            session.heartbeat_timeout_s > session.heartbeat_interval_s,
            "session.heartbeat_timeout_s",
            || format!("must be more than session.heartbeat_interval_s, which is {}", session.heartbeat_interval_s),
        );
        let needed_bytes = session.max_message_chars.saturating_mul(MAX_JSON_BYTES_PER_CHAR) + MESSAGE_OVERHEAD_BYTES;
        found.require(needed_bytes <= session.max_message_bytes, "session.max_message_chars", || {
            let longest = session.max_message_bytes.saturating_sub(MESSAGE_OVERHEAD_BYTES) / MAX_JSON_BYTES_PER_CHAR;
            format!(
                "must not be more than {longest}, or session.max_message_bytes not less than {needed_bytes}: a character may \
                 take {MAX_JSON_BYTES_PER_CHAR} bytes of JSON, and the rest of a message {MESSAGE_OVERHEAD_BYTES}"
            )
        });
        found.require(session.max_running_turns <= workflow.max_running_turns, "session.max_running_turns", || {
            format!("must not be more than workflow.max_running_turns, which is {}", workflow.max_running_turns)
        });
        found.require(workflow.turn_timeout_s >= workflow.stall_timeout_s, "workflow.turn_timeout_s", || {
            format!("must not be less than workflow.stall_timeout_s, which is {}", workflow.stall_timeout_s)
        });
        found.require(knowledge.chunk_chars <= knowledge.max_text_bytes, "knowledge.chunk_chars", || {
            format!("must not be more than knowledge.max_text_bytes, which is {}", knowledge.max_text_bytes)
        });
        if let Some(program) = &knowledge.extract_program {
            found.require(program.is_file(), "knowledge.extract_program", || {
                format!("must be the path of a program, and there is no file {}", program.display())
            });
        }
    }

    fn check_provider(&self, found: &mut Found) {
        let provider = &self.provider;
        for (key, timeout_ms) in [
            ("provider.connect_timeout_ms", provider.connect_timeout_ms),
            ("provider.first_token_timeout_ms", provider.first_token_timeout_ms),
            ("provider.idle_timeout_ms", provider.idle_timeout_ms),
        ] {
            found.require(timeout_ms <= provider.total_timeout_ms, key, || {
                format!("must not be more than provider.total_timeout_ms, which is {}", provider.total_timeout_ms)
            });
        }
        if provider.kind == ProviderKind::Openai {
            if let Err(reason) = check_base_url(&provider.base_url) {
                found.add("provider.base_url", reason.to_owned());
            }
            let key = provider.api_key.as_ref().map(ExposeSecret::expose_secret);
            found.require(key.is_none_or(is_sendable), "provider.api_key", || {
                "must be printable ASCII without spaces, as it goes into a header".to_owned()
            });
        }
    }
}

/// Collects what is wrong.
struct Found {
    /// The configuration by key.
    config: Value,
    problems: Vec<Problem>,
}

impl Found {
    /// Every setting against its row of the table.
    fn ranges(&mut self) {
        for setting in SETTINGS {
            if !self.config.find_ref(setting.key).is_some_and(|value| setting.allows(value)) {
                self.add(setting.key, format!("must be {}", setting.kind));
            }
        }
    }

    fn require(&mut self, fulfilled: bool, key: &'static str, allowed: impl FnOnce() -> String) {
        if !fulfilled {
            self.add(key, allowed());
        }
    }

    /// Only the first problem of a key is kept: the rest follow from it.
    fn add(&mut self, key: &'static str, allowed: String) {
        if self.problems.iter().any(|problem| problem.key == key) {
            return;
        }
        let value = super::Setting::find(key).zip(self.config.find_ref(key));
        let value = value.and_then(|(setting, value)| setting.shown(value));
        self.problems.push(Problem { key: key.to_owned(), value, origin: None, allowed });
    }
}

/// Whether a text can stand in a header.
fn is_sendable(secret: &str) -> bool {
    secret.bytes().all(|byte| byte.is_ascii_graphic())
}

fn is_host(host: &str) -> bool {
    host.parse::<IpAddr>().is_ok()
        || host.split('.').all(|label| {
            !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        })
}

/// Whether `/chat/completions` can be put behind it.
fn check_base_url(text: &str) -> Result<(), &'static str> {
    const EXAMPLE: &str = "must be an http or https address, such as http://127.0.0.1:8080/v1";
    let url = reqwest::Url::parse(text).map_err(|_| EXAMPLE)?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(EXAMPLE);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not hold a user or a password: the key belongs into provider.api_key");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("must end with its path: nothing behind ? or #");
    }
    if url.path().trim_end_matches('/').ends_with("/chat/completions") {
        return Err("must be the part in front of /chat/completions");
    }
    Ok(())
}

/// What a filter of the log may be: levels, and levels of modules. The library would take a level that is mistyped for a
/// module of that name, and let nothing else be logged.
fn check_log_level(text: &str) -> Result<(), String> {
    if text.chars().count() > MAX_LOG_LEVEL_CHARS {
        return Err(format!("it is longer than {MAX_LOG_LEVEL_CHARS} characters"));
    }
    for part in text.split(',').map(str::trim) {
        let (module, level) = part.split_once('=').map_or((None, part), |(module, level)| (Some(module), level));
        if level.parse::<log::LevelFilter>().is_err() {
            return Err(format!("{level:?} is no level: error, warn, info, debug, trace or off"));
        }
        let is_path = |module: &str| {
            !module.is_empty() && module.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | ':'))
        };
        if module.is_some_and(|module| !is_path(module)) {
            return Err(format!("{:?} is no module", module.unwrap_or_default()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::SecretString;

    /// The keys that are refused after `change`.
    fn refused(change: impl FnOnce(&mut Config)) -> Vec<String> {
        let mut config = Config::default();
        change(&mut config);
        config.check().err().unwrap_or_default().into_iter().map(|problem| problem.key).collect()
    }

    #[test]
    fn the_defaults_pass() {
        assert_eq!(Config::default().check(), Ok(()));
    }

    #[test]
    fn production_needs_a_secret_and_every_secret_enough_bytes() {
        let secret = |bytes: usize| Some(SecretString::from("x".repeat(bytes)));
        assert_eq!(refused(|config| config.env = Environment::Production), ["auth.jwt_secret"]);
        assert_eq!(refused(|config| config.auth.jwt_secret = secret(31)), ["auth.jwt_secret"]);
        assert!(
            refused(|config| {
                config.env = Environment::Production;
                config.auth.jwt_secret = secret(32);
            })
            .is_empty()
        );
    }

    #[test]
    fn who_may_scrape_is_named_by_networks_and_a_token_that_is_no_word() {
        let networks = |network: &str| vec!["10.0.0.0/8".to_owned(), network.to_owned()];
        assert!(refused(|config| config.metrics.allowed_addresses = networks("::1")).is_empty());
        assert!(refused(|config| config.metrics.allowed_addresses.clear()).is_empty());
        let not_a_network = refused(|config| config.metrics.allowed_addresses = networks("localhost"));
        assert_eq!(not_a_network, ["metrics.allowed_addresses"]);
        assert!(refused(|config| config.metrics.token = Some("0123456789abcdef".into())).is_empty());
        for token in ["0123456789abcde", "0123456789 abcdef", "0123456789abcdeé"] {
            assert_eq!(refused(|config| config.metrics.token = Some(token.into())), ["metrics.token"], "{token}");
        }
    }

    #[test]
    fn contradictions_are_refused() {
        assert_eq!(
            refused(|config| config.session.heartbeat_timeout_s = config.session.heartbeat_interval_s),
            ["session.heartbeat_timeout_s"]
        );
        assert_eq!(
            refused(|config| config.auth.refresh_token_ttl_s = config.auth.access_token_ttl_s),
            ["auth.refresh_token_ttl_s"]
        );
        assert_eq!(
            refused(|config| config.session.max_message_chars = config.session.max_message_bytes + 1),
            ["session.max_message_chars"]
        );
        // Of the default, 12 bytes for each character and 8 KiB are the least.
        for (bytes, keys) in
            [(104_192, &[][..]), (104_191, &["session.max_message_chars"]), (256, &["session.max_message_chars"])]
        {
            assert_eq!(refused(|config| config.session.max_message_bytes = bytes), keys, "{bytes}");
        }
        assert_eq!(
            refused(|config| config.workflow.max_running_turns = config.session.max_running_turns - 1),
            ["session.max_running_turns"]
        );
        assert_eq!(
            refused(|config| config.knowledge.max_text_bytes = config.knowledge.chunk_chars - 1),
            ["knowledge.chunk_chars"]
        );
        assert_eq!(
            refused(|config| config.knowledge.extract_program = Some("/no/such/program".into())),
            ["knowledge.extract_program"]
        );
        assert_eq!(
            refused(|config| config.workflow.turn_timeout_s = config.workflow.stall_timeout_s - 1),
            ["workflow.turn_timeout_s"]
        );
        assert_eq!(
            refused(|config| config.provider.total_timeout_ms = 10_000),
            ["provider.first_token_timeout_ms", "provider.idle_timeout_ms"]
        );
    }

    #[test]
    fn all_ranges_are_reported_at_once() {
        let keys = refused(|config| {
            config.auth.hash_queue = 0;
            config.workflow.confidence_threshold = 1.5;
            config.provider.temperature = f64::NAN;
        });
        assert_eq!(keys, ["auth.hash_queue", "workflow.confidence_threshold", "provider.temperature"]);
    }

    #[test]
    fn only_a_file_of_sqlite_is_a_database() {
        for url in [
            "data/x.db",
            "postgres://db/x",
            "sqlite://",
            "sqlite://:memory:",
            "sqlite:x.db",
            "",
            "sqlite://data/x.db?mode=ro",
            "sqlite://data/x.db?",
            "sqlite://data/x.db ",
            "sqlite:// data/x.db",
            "sqlite://data/x\n.db",
        ] {
            assert_eq!(refused(|config| config.database.url = url.to_owned()), ["database.url"], "{url:?}");
        }
        assert!(refused(|config| config.database.url = "sqlite:///var/lib/x.db".to_owned()).is_empty());
    }

    #[test]
    fn a_host_is_an_address_or_a_name() {
        for host in ["0.0.0.0", "::1", "localhost", "chat.example.org", "my_host"] {
            assert!(refused(|config| config.server.host = host.to_owned()).is_empty(), "{host:?}");
        }
        for host in ["", "localhost:80", "http://localhost", "a b", "a..b", "[::1]"] {
            assert_eq!(refused(|config| config.server.host = host.to_owned()), ["server.host"], "{host:?}");
        }
    }

    #[test]
    fn a_log_level_is_a_filter() {
        assert!(refused(|config| config.log.level = "info,switchboard::workflow=debug".to_owned()).is_empty());
        for typo in
            ["wran", "info,switchboard=loud", "info,", "", "info,=debug", "info,a b=debug", "info\u{1b}", "info/x"]
        {
            assert_eq!(refused(|config| config.log.level = typo.to_owned()), ["log.level"], "{typo:?}");
        }
        let long = format!("info{}", ",a=debug".repeat(100));
        assert_eq!(refused(move |config| config.log.level = long), ["log.level"]);
    }

    #[test]
    fn openai_needs_a_model_and_an_address_it_can_be_asked_at() {
        let with_url = |url: &'static str| {
            refused(move |config| {
                config.provider.kind = ProviderKind::Openai;
                config.provider.base_url = url.to_owned();
            })
        };
        for url in ["http://127.0.0.1:8080/v1", "https://openrouter.ai/api/v1/"] {
            assert!(with_url(url).is_empty(), "{url:?}");
        }
        for url in [
            "",
            "localhost:8080",
            "ftp://host/v1",
            "https://me:hunter2@host/v1",
            "https://host/v1?key=1",
            "https://host/v1/chat/completions",
        ] {
            assert_eq!(with_url(url), ["provider.base_url"], "{url:?}");
        }
        let no_model = |config: &mut Config| {
            config.provider.kind = ProviderKind::Openai;
            config.provider.model = String::new();
        };
        assert_eq!(refused(no_model), ["provider.model"]);
    }

    #[test]
    fn a_key_must_fit_into_a_header() {
        let problems = Config {
            provider: crate::config::ProviderConfig {
                kind: ProviderKind::Openai,
                api_key: Some(SecretString::from("hunter2\n")),
                ..Default::default()
            },
            ..Default::default()
        }
        .check()
        .unwrap_err();
        assert_eq!(problems.len(), 1);
        assert!(!problems[0].to_string().contains("hunter2"));
    }
}
