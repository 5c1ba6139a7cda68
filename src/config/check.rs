//! Checks of a whole configuration: the range of each setting, and rules that involve several settings.
//!
//! Pure, except that `knowledge.extract_program` must be a file; [`crate::preflight`] checks files and addresses.

use super::{
    Config, DEFAULT_PROVIDER, EXTRACTIVE_PROVIDER, EmbeddingsConfig, Environment, Problem, ProviderConfig,
    ProviderKind, RerankConfig, SETTINGS, Setting,
    address::{HostPattern, is_origin, parse_network},
    named::NAMED_PROVIDERS,
};
use crate::limits::{MAX_JSON_BYTES_PER_CHAR, MESSAGE_OVERHEAD_BYTES};
use figment::value::Value;
use secrecy::{ExposeSecret, SecretString};
use std::{collections::BTreeMap, net::IpAddr};

/// Shortest key that may sign tokens, in bytes: the length of an HS256 hash (RFC 7518, section 3.2).
pub const JWT_SECRET_MIN_BYTES: usize = 32;
/// Longest log filter, in characters.
const MAX_LOG_LEVEL_CHARS: usize = 500;
/// Shortest `metrics.token`, in bytes.
const METRICS_TOKEN_MIN_BYTES: usize = 16;

impl Config {
    /// Checks the range of each setting and the rules that involve several settings.
    ///
    /// # Errors
    /// All problems, each with its key; the loader adds the origin of the value.
    pub fn check(&self) -> Result<(), Vec<Problem>> {
        let mut found =
            Found { config: Value::serialize(self).unwrap_or_else(|_| Value::from("")), problems: Vec::new() };
        found.ranges(&self.providers);
        self.check_server(&mut found);
        self.check_auth(&mut found);
        self.check_limits(&mut found);
        check_provider("provider", &self.provider, &mut found);
        for (name, provider) in &self.providers {
            check_provider(&format!("{}.{name}", NAMED_PROVIDERS.path), provider, &mut found);
        }
        self.check_provider_list(&mut found);
        let EmbeddingsConfig { base_url, model, api_key, .. } = &self.embeddings;
        let settings = (base_url.as_ref(), model.as_ref(), api_key.as_ref());
        check_search_model("embeddings", "/embeddings", settings, &mut found);
        let RerankConfig { base_url, model, api_key, .. } = &self.rerank;
        let settings = (base_url.as_ref(), model.as_ref(), api_key.as_ref());
        check_search_model("rerank", "/rerank", settings, &mut found);
        let task_provider = self.workflow.task_provider.as_deref();
        let is_model = |name| self.provider_kind(name) == Some(ProviderKind::Openai);
        found.require(task_provider.is_none_or(is_model), "workflow.task_provider", || {
            "must be the name of a provider whose kind is \"openai\"".to_owned()
        });
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
                "must be networks or IP addresses, such as [\"10.0.0.0/8\", \"::1\"]".to_owned()
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
                "must be host names or IP addresses without scheme and port, such as [\"chat.example.org\", \"*.example.org\"], \
                 or [\"*\"]"
                    .to_owned()
            },
        );
        if let Some(Err(reason)) = self.server.public_url.as_deref().map(check_public_url) {
            found.add("server.public_url", reason.to_owned());
        }
        let path = self.database.url.strip_prefix("sqlite://");
        found.require(path.is_some_and(|path| !path.is_empty()), "database.url", || {
            "must be sqlite://path, such as sqlite://data/switchboard.db".to_owned()
        });
        found.require(!path.is_some_and(|path| path.contains(":memory:")), "database.url", || {
            "must be a file: each connection would get its own in-memory database".to_owned()
        });
        found.require(!path.is_some_and(|path| path.contains('?')), "database.url", || {
            "must be a path without parameters: `?…` is not supported".to_owned()
        });
        found.require(
            path.is_none_or(|path| path.trim() == path && !path.contains(char::is_control)),
            "database.url",
            || "must not start or end with whitespace or contain control characters".to_owned(),
        );
        if let Err(problem) = check_log_level(&self.log.level) {
            found.add(
                "log.level",
                format!("must be a level or a list such as info,switchboard::workflow=debug; {problem}"),
            );
        }
    }

    fn check_auth(&self, found: &mut Found) {
        let auth = &self.auth;
        match &auth.jwt_secret {
            Some(secret) => {
                found.require(secret.expose_secret().len() >= JWT_SECRET_MIN_BYTES, "auth.jwt_secret", || {
                    format!("must have at least {JWT_SECRET_MIN_BYTES} bytes; it has {}", secret.expose_secret().len())
                })
            }
            None => found.require(self.env == Environment::Development, "auth.jwt_secret", || {
                format!("must be set in production, to at least {JWT_SECRET_MIN_BYTES} random bytes")
            }),
        }
        let token = self.metrics.token.as_ref().map(ExposeSecret::expose_secret);
        found.require(token.is_none_or(|token| token.len() >= METRICS_TOKEN_MIN_BYTES), "metrics.token", || {
            format!("must have at least {METRICS_TOKEN_MIN_BYTES} random bytes")
        });
        found.require(token.is_none_or(is_sendable), "metrics.token", || {
            "must be printable ASCII without spaces, because it is sent in a header".to_owned()
        });
        found.require(auth.refresh_token_ttl_s > auth.access_token_ttl_s, "auth.refresh_token_ttl_s", || {
            format!("must be greater than auth.access_token_ttl_s, which is {}", auth.access_token_ttl_s)
        });
    }

    fn check_limits(&self, found: &mut Found) {
        let (session, workflow, knowledge) = (&self.session, &self.workflow, &self.knowledge);
        found.require(
            session.heartbeat_timeout_s > session.heartbeat_interval_s,
            "session.heartbeat_timeout_s",
            || format!("must be greater than session.heartbeat_interval_s, which is {}", session.heartbeat_interval_s),
        );
        let needed_bytes = session.max_message_chars.saturating_mul(MAX_JSON_BYTES_PER_CHAR) + MESSAGE_OVERHEAD_BYTES;
        found.require(needed_bytes <= session.max_message_bytes, "session.max_message_chars", || {
            let longest = session.max_message_bytes.saturating_sub(MESSAGE_OVERHEAD_BYTES) / MAX_JSON_BYTES_PER_CHAR;
            format!(
                "must be at most {longest}, or session.max_message_bytes at least {needed_bytes}: a character may take \
                 {MAX_JSON_BYTES_PER_CHAR} bytes of JSON, and the rest of a message {MESSAGE_OVERHEAD_BYTES}"
            )
        });
        found.require(session.max_running_turns <= workflow.max_running_turns, "session.max_running_turns", || {
            format!("must be at most workflow.max_running_turns, which is {}", workflow.max_running_turns)
        });
        found.require(workflow.turn_timeout_s >= workflow.stall_timeout_s, "workflow.turn_timeout_s", || {
            format!("must be at least workflow.stall_timeout_s, which is {}", workflow.stall_timeout_s)
        });
        found.require(knowledge.chunk_chars <= knowledge.max_text_bytes, "knowledge.chunk_chars", || {
            format!("must be at most knowledge.max_text_bytes, which is {}", knowledge.max_text_bytes)
        });
        if let Some(program) = &knowledge.extract_program {
            found.require(program.is_file(), "knowledge.extract_program", || {
                format!("must be the path of a program; {} is not a file", program.display())
            });
        }
    }

    /// The kind of the provider that a list calls `name`; `None` if there is none.
    pub fn provider_kind(&self, name: &str) -> Option<ProviderKind> {
        match name {
            DEFAULT_PROVIDER => Some(self.provider.kind),
            EXTRACTIVE_PROVIDER => Some(ProviderKind::Extractive),
            name => self.providers.get(name).map(|provider| provider.kind),
        }
    }

    /// Checks an ordered list of providers.
    ///
    /// # Errors
    /// The problem, as a clause that follows the key.
    pub fn check_provider_names(&self, names: &[String]) -> Result<(), String> {
        let Some(last) = names.len().checked_sub(1) else {
            return Err("must name a provider".to_owned());
        };
        for (index, name) in names.iter().enumerate() {
            match self.provider_kind(name) {
                None => {
                    let known: Vec<_> = self.providers.keys().map(String::as_str).collect();
                    let known = [&[DEFAULT_PROVIDER][..], &known, &[EXTRACTIVE_PROVIDER]].concat().join(", ");
                    return Err(format!("names the unknown provider {name:?}; expected one of {known}"));
                }
                Some(ProviderKind::Extractive) if index < last => {
                    return Err(format!(
                        "must have {name:?} last: it never fails, so those after it would never answer"
                    ));
                }
                Some(_) if names[..index].contains(name) => return Err(format!("names {name:?} twice")),
                Some(_) => {}
            }
        }
        Ok(())
    }

    fn check_provider_list(&self, found: &mut Found) {
        if let Err(problem) = self.check_provider_names(&self.workflow.providers) {
            found.add("workflow.providers", problem);
        }
    }
}

/// Checks the section of a provider.
fn check_provider(section: &str, provider: &ProviderConfig, found: &mut Found) {
    let key = |name: &str| format!("{section}.{name}");
    for (name, timeout_ms) in [
        ("connect_timeout_ms", provider.connect_timeout_ms),
        ("first_token_timeout_ms", provider.first_token_timeout_ms),
        ("idle_timeout_ms", provider.idle_timeout_ms),
    ] {
        found.require(timeout_ms <= provider.total_timeout_ms, &key(name), || {
            format!("must be at most {section}.total_timeout_ms, which is {}", provider.total_timeout_ms)
        });
    }
    if provider.kind == ProviderKind::Openai {
        check_server("provider", section, "/chat/completions", &provider.base_url, provider.api_key.as_ref(), found);
    }
}

/// Checks the section of a model of the search, which is off unless both its URL and its model are set.
fn check_search_model(
    section: &str,
    path: &str,
    (base_url, model, api_key): (Option<&String>, Option<&String>, Option<&SecretString>),
    found: &mut Found,
) {
    if base_url.is_some() || model.is_some() || api_key.is_some() {
        for (key, value) in [("base_url", base_url), ("model", model)] {
            found.require(value.is_some(), &format!("{section}.{key}"), || {
                format!("must be set, because other settings of {section} are")
            });
        }
    }
    if let Some(base_url) = base_url {
        check_server(section, section, path, base_url, api_key, found);
    }
}

/// Checks the address and the key of a model server. `like` is the section whose documentation describes them.
fn check_server(
    like: &str,
    section: &str,
    path: &str,
    base_url: &str,
    api_key: Option<&SecretString>,
    found: &mut Found,
) {
    if let Err(reason) = check_base_url(base_url, path, like) {
        found.add(&format!("{section}.base_url"), reason);
    }
    let api_key = api_key.map(ExposeSecret::expose_secret);
    found.require(api_key.is_none_or(is_sendable), &format!("{section}.api_key"), || {
        "must be printable ASCII without spaces, because it is sent in a header".to_owned()
    });
}

/// Collected problems.
struct Found {
    /// The configuration by key.
    config: Value,
    problems: Vec<Problem>,
}

impl Found {
    /// Checks the range of every setting.
    fn ranges(&mut self, providers: &BTreeMap<String, ProviderConfig>) {
        let declared = SETTINGS.iter().map(|setting| (setting.key.to_owned(), *setting));
        let named = providers.keys().flat_map(|name| {
            let of_provider = move |setting: &&'static Setting| {
                let rest = setting.key.strip_prefix(NAMED_PROVIDERS.like)?.strip_prefix('.')?;
                Some((format!("{}.{name}.{rest}", NAMED_PROVIDERS.path), *setting))
            };
            SETTINGS.iter().filter_map(of_provider)
        });
        for (key, setting) in declared.chain(named) {
            if !self.config.find_ref(&key).is_some_and(|value| setting.allows(value)) {
                self.add(&key, setting.requirement());
            }
        }
    }

    fn require(&mut self, fulfilled: bool, key: &str, allowed: impl FnOnce() -> String) {
        if !fulfilled {
            self.add(key, allowed());
        }
    }

    /// Keeps only the first problem of a key, since the others follow from it.
    fn add(&mut self, key: &str, allowed: String) {
        if self.problems.iter().any(|problem| problem.key == key) {
            return;
        }
        let value = super::Setting::find(key).zip(self.config.find_ref(key));
        let value = value.and_then(|(setting, value)| setting.shown(value));
        self.problems.push(Problem { key: key.to_owned(), value, origin: None, allowed });
    }
}

/// Whether a secret can be sent in a header.
fn is_sendable(secret: &str) -> bool {
    secret.bytes().all(|byte| byte.is_ascii_graphic())
}

fn is_host(host: &str) -> bool {
    host.parse::<IpAddr>().is_ok()
        || host.split('.').all(|label| {
            !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        })
}

/// Checks that the path of a page can be appended.
fn check_public_url(text: &str) -> Result<(), &'static str> {
    const EXAMPLE: &str = "must be an http or https URL, such as https://chat.example.org";
    let url = http_url(text).ok_or(EXAMPLE)?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not contain a user or a password");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("must not contain a query (?) or a fragment (#)");
    }
    // It is copied into links as it is.
    if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(EXAMPLE);
    }
    Ok(())
}

fn http_url(text: &str) -> Option<reqwest::Url> {
    let url = reqwest::Url::parse(text).ok()?;
    (matches!(url.scheme(), "http" | "https") && url.host().is_some()).then_some(url)
}

/// Checks that `path` can be appended to the URL of a model server. `section` is that of its API key.
fn check_base_url(text: &str, path: &str, section: &str) -> Result<(), String> {
    const EXAMPLE: &str = "must be an http or https URL, such as http://127.0.0.1:8080/v1";
    let url = http_url(text).ok_or(EXAMPLE)?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(format!("must not contain a user or a password; set the key with {section}.api_key"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("must not contain a query (?) or a fragment (#)".to_owned());
    }
    if url.path().trim_end_matches('/').ends_with(path) {
        return Err(format!("must be the part before {path}"));
    }
    Ok(())
}

/// Checks a log filter: levels, and levels of modules. `env_filter` would take a mistyped level for the name of a module and
/// log nothing else.
fn check_log_level(text: &str) -> Result<(), String> {
    if text.chars().count() > MAX_LOG_LEVEL_CHARS {
        return Err(format!("it is longer than {MAX_LOG_LEVEL_CHARS} characters"));
    }
    for part in text.split(',').map(str::trim) {
        let (module, level) = part.split_once('=').map_or((None, part), |(module, level)| (Some(module), level));
        if level.parse::<log::LevelFilter>().is_err() {
            return Err(format!("{level:?} is not a level; expected one of error, warn, info, debug, trace, off"));
        }
        let is_path = |module: &str| {
            !module.is_empty() && module.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | ':'))
        };
        if module.is_some_and(|module| !is_path(module)) {
            return Err(format!("{:?} is not a module", module.unwrap_or_default()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The keys that are rejected after `change`.
    fn rejected(change: impl FnOnce(&mut Config)) -> Vec<String> {
        let mut config = Config::default();
        change(&mut config);
        config.check().err().unwrap_or_default().into_iter().map(|problem| problem.key).collect()
    }

    #[test]
    fn the_defaults_pass() {
        assert_eq!(Config::default().check(), Ok(()));
    }

    #[test]
    fn lists_of_providers_name_known_ones_and_end_with_the_extractive_one() {
        let listed = |names: &[&str]| {
            rejected(|config| {
                config.provider.kind = ProviderKind::Openai;
                config.providers.insert("backup".to_owned(), config.provider.clone());
                config.providers.insert("quotes".to_owned(), ProviderConfig::default());
                config.workflow.providers = names.iter().map(|name| (*name).to_owned()).collect();
            })
        };
        for names in [&["default"][..], &["backup", "default", "extractive"], &["extractive"], &["default", "quotes"]] {
            assert!(listed(names).is_empty(), "{names:?}");
        }
        for names in [&[][..], &["other"], &["backup", "backup"], &["extractive", "default"], &["quotes", "default"]] {
            assert_eq!(listed(names), ["workflow.providers"], "{names:?}");
        }
    }

    #[test]
    fn named_providers_are_checked_like_the_default_one() {
        let named = |provider: ProviderConfig| {
            rejected(|config| {
                config.providers.insert("backup".to_owned(), provider);
            })
        };
        let openai = || ProviderConfig { kind: ProviderKind::Openai, ..ProviderConfig::default() };
        assert!(named(openai()).is_empty());
        let wrong_url = ProviderConfig { base_url: "localhost".to_owned(), ..openai() };
        assert_eq!(named(wrong_url), ["providers.backup.base_url"]);
        let out_of_range = ProviderConfig { temperature: 3.0, breaker_cooldown_s: 29, ..openai() };
        assert_eq!(named(out_of_range), ["providers.backup.temperature", "providers.backup.breaker_cooldown_s"]);
        let too_long = ProviderConfig { idle_timeout_ms: 2_000, total_timeout_ms: 1_000, ..openai() };
        let too_long = named(too_long);
        assert!(too_long.contains(&"providers.backup.idle_timeout_ms".to_owned()), "{too_long:?}");
    }

    #[test]
    fn production_needs_a_key_and_every_key_needs_32_bytes() {
        let secret = |bytes: usize| Some(SecretString::from("x".repeat(bytes)));
        assert_eq!(rejected(|config| config.env = Environment::Production), ["auth.jwt_secret"]);
        assert_eq!(rejected(|config| config.auth.jwt_secret = secret(31)), ["auth.jwt_secret"]);
        assert!(
            rejected(|config| {
                config.env = Environment::Production;
                config.auth.jwt_secret = secret(32);
            })
            .is_empty()
        );
    }

    #[test]
    fn metrics_take_networks_and_a_token_of_sufficient_length() {
        let networks = |network: &str| vec!["10.0.0.0/8".to_owned(), network.to_owned()];
        assert!(rejected(|config| config.metrics.allowed_addresses = networks("::1")).is_empty());
        assert!(rejected(|config| config.metrics.allowed_addresses.clear()).is_empty());
        let not_a_network = rejected(|config| config.metrics.allowed_addresses = networks("localhost"));
        assert_eq!(not_a_network, ["metrics.allowed_addresses"]);
        assert!(rejected(|config| config.metrics.token = Some("0123456789abcdef".into())).is_empty());
        for token in ["0123456789abcde", "0123456789 abcdef", "0123456789abcdeé"] {
            assert_eq!(rejected(|config| config.metrics.token = Some(token.into())), ["metrics.token"], "{token}");
        }
    }

    #[test]
    fn contradictions_are_rejected() {
        assert_eq!(
            rejected(|config| config.session.heartbeat_timeout_s = config.session.heartbeat_interval_s),
            ["session.heartbeat_timeout_s"]
        );
        assert_eq!(
            rejected(|config| config.auth.refresh_token_ttl_s = config.auth.access_token_ttl_s),
            ["auth.refresh_token_ttl_s"]
        );
        assert_eq!(
            rejected(|config| config.session.max_message_chars = config.session.max_message_bytes + 1),
            ["session.max_message_chars"]
        );
        // With the default, at least 12 bytes for each character and 8 KiB.
        for (bytes, keys) in
            [(104_192, &[][..]), (104_191, &["session.max_message_chars"]), (256, &["session.max_message_chars"])]
        {
            assert_eq!(rejected(|config| config.session.max_message_bytes = bytes), keys, "{bytes}");
        }
        assert_eq!(
            rejected(|config| config.workflow.max_running_turns = config.session.max_running_turns - 1),
            ["session.max_running_turns"]
        );
        assert_eq!(
            rejected(|config| config.knowledge.max_text_bytes = config.knowledge.chunk_chars - 1),
            ["knowledge.chunk_chars"]
        );
        assert_eq!(
            rejected(|config| config.knowledge.extract_program = Some("/no/such/program".into())),
            ["knowledge.extract_program"]
        );
        assert_eq!(
            rejected(|config| config.workflow.turn_timeout_s = config.workflow.stall_timeout_s - 1),
            ["workflow.turn_timeout_s"]
        );
        assert_eq!(
            rejected(|config| config.provider.total_timeout_ms = 10_000),
            ["provider.first_token_timeout_ms", "provider.idle_timeout_ms"]
        );
    }

    #[test]
    fn all_ranges_are_reported_at_once() {
        let keys = rejected(|config| {
            config.auth.hash_queue = 0;
            config.workflow.confidence_threshold = 1.5;
            config.provider.temperature = f64::NAN;
        });
        assert_eq!(keys, ["auth.hash_queue", "workflow.confidence_threshold", "provider.temperature"]);
    }

    #[test]
    fn the_database_is_an_sqlite_file() {
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
            assert_eq!(rejected(|config| config.database.url = url.to_owned()), ["database.url"], "{url:?}");
        }
        assert!(rejected(|config| config.database.url = "sqlite:///var/lib/x.db".to_owned()).is_empty());
    }

    #[test]
    fn the_host_is_an_address_or_a_name() {
        for host in ["0.0.0.0", "::1", "localhost", "chat.example.org", "my_host"] {
            assert!(rejected(|config| config.server.host = host.to_owned()).is_empty(), "{host:?}");
        }
        for host in ["", "localhost:80", "http://localhost", "a b", "a..b", "[::1]"] {
            assert_eq!(rejected(|config| config.server.host = host.to_owned()), ["server.host"], "{host:?}");
        }
    }

    #[test]
    fn the_public_url_is_an_address_to_which_paths_can_be_added() {
        let with_url = |url: &'static str| rejected(move |config| config.server.public_url = Some(url.to_owned()));
        for url in ["https://chat.example.org", "http://10.0.0.4:8000/", "https://example.org/chat"] {
            assert!(with_url(url).is_empty(), "{url:?}");
        }
        for url in [
            "",
            "chat.example.org",
            "ftp://chat.example.org",
            "javascript:alert(1)",
            "https://me:hunter2@chat.example.org",
            "https://chat.example.org/?a=1",
            "https://chat.example.org/#a",
            "https://chat.example.org/a b",
            " https://chat.example.org",
            "https://chat.example.org\n",
        ] {
            assert_eq!(with_url(url), ["server.public_url"], "{url:?}");
        }
    }

    #[test]
    fn the_log_level_is_a_filter() {
        assert!(rejected(|config| config.log.level = "info,switchboard::workflow=debug".to_owned()).is_empty());
        for typo in
            ["wran", "info,switchboard=loud", "info,", "", "info,=debug", "info,a b=debug", "info\u{1b}", "info/x"]
        {
            assert_eq!(rejected(|config| config.log.level = typo.to_owned()), ["log.level"], "{typo:?}");
        }
        let long = format!("info{}", ",a=debug".repeat(100));
        assert_eq!(rejected(move |config| config.log.level = long), ["log.level"]);
    }

    #[test]
    fn openai_needs_a_model_and_a_base_url() {
        let with_url = |url: &'static str| {
            rejected(move |config| {
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
        assert_eq!(rejected(no_model), ["provider.model"]);
    }

    #[test]
    fn embeddings_need_a_base_url_and_a_model() {
        let with = |base_url: Option<&str>, model: Option<&str>| {
            rejected(|config| {
                config.embeddings.base_url = base_url.map(str::to_owned);
                config.embeddings.model = model.map(str::to_owned);
            })
        };
        assert!(with(None, None).is_empty());
        assert!(with(Some("http://127.0.0.1:8080/v1"), Some("e5")).is_empty());
        assert_eq!(with(None, Some("e5")), ["embeddings.base_url"]);
        assert_eq!(with(Some("http://127.0.0.1:8080/v1"), None), ["embeddings.model"]);
        for url in
            ["127.0.0.1:8080", "https://me:hunter2@host/v1", "https://host/v1?key=1", "https://host/v1/embeddings/"]
        {
            assert_eq!(with(Some(url), Some("e5")), ["embeddings.base_url"], "{url:?}");
        }
        let with_key = |config: &mut Config| config.embeddings.api_key = Some("a b".into());
        assert_eq!(rejected(with_key), ["embeddings.base_url", "embeddings.model"]);
        let unsendable = |config: &mut Config| {
            config.embeddings.base_url = Some("http://127.0.0.1:8080/v1".to_owned());
            config.embeddings.model = Some("e5".to_owned());
            config.embeddings.api_key = Some("a b".into());
        };
        assert_eq!(rejected(unsendable), ["embeddings.api_key"]);
    }

    #[test]
    fn reranking_needs_a_base_url_and_a_model() {
        assert_eq!(rejected(|config| config.rerank.model = Some("bge".to_owned())), ["rerank.base_url"]);
        let with_url = |url: &str| {
            rejected(|config| {
                config.rerank.model = Some("bge".to_owned());
                config.rerank.base_url = Some(url.to_owned());
            })
        };
        assert!(with_url("http://127.0.0.1:8012/v1").is_empty());
        assert_eq!(with_url("http://127.0.0.1:8012/v1/rerank"), ["rerank.base_url"]);
    }

    #[test]
    fn an_api_key_must_be_sendable_in_a_header() {
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
