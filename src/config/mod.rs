//! The settings: what there is, in which unit, and what it is when nobody sets it.
//!
//! Layers, later ones win: the defaults here, `config/default.toml`, `config/<env>.toml`, `SWITCHBOARD__SECTION__KEY`
//! from the environment, flags. `docs/CONFIGURATION.md` is the published form.
//!
//! A new setting is a field with its default here, a row of [`SETTINGS`], a line of `config/default.toml` and a row of
//! `docs/CONFIGURATION.md`; tests name what is missing.

mod check;
mod development_secret;
mod error;
mod inspect;
mod load;
mod peer;
#[cfg(test)]
mod published;
mod setting;

pub use check::JWT_SECRET_MIN_BYTES;
pub use development_secret::development_secret;
pub use error::{ConfigError, Problem};
pub use load::{ENV_PREFIX, Flags, Sources};
pub use peer::{HostPattern, parse_network};
pub use setting::{Kind, SETTINGS, Setting};

use secrecy::SecretString;
use serde::{Deserialize, Serialize, Serializer};
use std::path::PathBuf;

/// All settings. Every value has passed [`Config::check`] when it comes from the loader.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// `development` or `production`; production refuses what is only fit for development.
    pub env: Environment,
    /// Where the server keeps what it makes itself: the development secret, and the database unless `database.url` says
    /// otherwise.
    pub data_dir: PathBuf,
    pub server: ServerConfig,
    pub log: LogConfig,
    pub database: DatabaseConfig,
    pub auth: AuthConfig,
    pub limits: LimitsConfig,
    pub session: SessionConfig,
    pub workflow: WorkflowConfig,
    pub knowledge: KnowledgeConfig,
    pub provider: ProviderConfig,
    pub metrics: MetricsConfig,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Environment {
    #[default]
    Development,
    Production,
}

impl Environment {
    pub const ALL: [Self; 2] = [Self::Development, Self::Production];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Development => "development",
            Self::Production => "production",
        }
    }
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServerConfig {
    pub host: String,
    /// 0 takes any free port.
    pub port: u16,
    /// Worker threads; 0 is one per core.
    pub workers: usize,
    /// How long running turns may go on once the server was asked to stop, in seconds.
    pub drain_timeout_s: u64,
    /// Web pages that may talk to the server beside its own, such as `https://app.example.org`; `*` is every page.
    pub allowed_origins: Vec<String>,
    /// Host names that requests may be addressed to, beside loopback ones, such as `chat.example.org`; `*` is every name. Empty:
    /// only loopback names when bound to loopback, otherwise every name.
    pub allowed_hosts: Vec<String>,
    /// Proxies in front, as networks; what they say in `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<String>,
    /// TCP connections at once. On a few more, only health checks and operators are served.
    pub max_connections: usize,
    /// The head of a request must have come within so long, in milliseconds.
    pub request_head_timeout_ms: u64,
    /// The JSON body of a request must have come within so long, in milliseconds.
    pub request_body_timeout_ms: u64,
}

/// How much one client may do. 0 is no limit.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// WebSockets and streams at once from one address; an IPv6 /64 counts as one. TCP connections may be twice as many.
    pub connections_per_address: usize,
    /// WebSockets and streams at once of one user.
    pub connections_per_user: usize,
    /// Requests other than those for health, metrics and pages, and twice as many at once after a pause.
    pub requests_per_s_per_user: u32,
    /// Requests other than those for health, metrics and pages, and twice as many at once after a pause.
    pub requests_per_s_per_address: u32,
    /// Tries to sign in, also failed ones.
    pub logins_per_minute_per_address: u32,
    /// Tries to sign in, also failed ones.
    pub logins_per_minute_per_account: u32,
    /// Tries to make an account, also failed ones.
    pub registrations_per_minute_per_address: u32,
    /// Frames of every kind that one socket may send; more are answered `RATE_LIMITED`.
    pub frames_per_s: u32,
    /// Frames that one socket may send at once after a pause.
    pub frame_burst: u32,
    /// Refused frames after which a socket is closed with 4429; 0 never closes.
    pub violations_per_minute: u32,
    /// How deep JSON may be nested.
    pub json_depth: usize,
    /// Networks to which no limit per address or per user applies, nor `workflow.max_running_turns_per_user`.
    pub exempt_addresses: Vec<String>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    pub format: LogFormat,
    /// An env_logger filter: `info`, or `info,switchboard::workflow=debug`.
    pub level: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    #[default]
    Human,
    Json,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct DatabaseConfig {
    /// `sqlite://path`, relative to the working directory.
    pub url: String,
    /// The file, variable or flag that set `url`, for errors; absent when no loader did.
    #[serde(skip)]
    pub url_origin: Option<String>,
    /// Connections that read at once.
    pub readers: u32,
    /// How long a statement waits for a lock that another process holds, in milliseconds.
    pub busy_timeout_ms: u32,
    /// How long entries of the operators' audit are kept, in days; 0: for ever.
    pub audit_retention_days: u32,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuthConfig {
    /// Signs the access and refresh tokens: 32 bytes or more. In development it is made at first start and kept in
    /// `data_dir`.
    #[serde(serialize_with = "redacted")]
    pub jwt_secret: Option<SecretString>,
    pub issuer: String,
    pub audience: String,
    /// Life of an access token, in seconds.
    pub access_token_ttl_s: u64,
    /// Life of a refresh token, in seconds.
    pub refresh_token_ttl_s: u64,
    /// Life of a one-time WebSocket ticket, in seconds.
    pub ws_ticket_ttl_s: u64,
    /// The lowest zxcvbn score of a new password, from 0 (anything) to 4 (very hard to guess).
    pub min_password_score: u8,
    /// Password hashes at once, each of 19 MiB; 0 is one per core.
    pub hash_threads: usize,
    /// Password hashes that may wait for a free place; one more is answered `OVERLOADED`.
    pub hash_queue: usize,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct SessionConfig {
    /// How long a socket may stay without authentication, in seconds.
    pub auth_deadline_s: u64,
    /// Between two WebSocket pings, in seconds.
    pub heartbeat_interval_s: u64,
    /// A socket that sent nothing, not even a pong, for so long is closed with 4408; in seconds.
    pub heartbeat_timeout_s: u64,
    /// The largest message a client may send, its fragments together, in bytes.
    pub max_message_bytes: usize,
    /// The longest text of a `message`, in characters.
    pub max_message_chars: usize,
    /// Turns that one socket may have running or starting at once.
    pub max_running_turns: usize,
    /// A socket that takes nothing of what waits for it for so long is given up; in seconds.
    pub write_stall_timeout_s: u64,
    /// In `chat.v2`: tokens that come within so many milliseconds share a frame. 0: none do.
    pub coalesce_ms: u64,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct WorkflowConfig {
    /// The specialists. Empty: those that are built in.
    pub agents_file: Option<PathBuf>,
    /// Turns running at once in the whole server; one more is answered `OVERLOADED`.
    pub max_running_turns: usize,
    /// Of these, turns of one user; one more is answered `OVERLOADED`. 0 is no limit.
    pub max_running_turns_per_user: usize,
    /// Turns that may wait for a free place, in the order in which they came.
    pub max_waiting_turns: usize,
    /// How long a turn waits for a free place, in milliseconds; then it is answered `OVERLOADED`.
    pub admission_wait_ms: u64,
    /// Below this confidence (0 to 1) the default specialist answers.
    pub confidence_threshold: f64,
    /// Earlier messages go to the model up to so many tokens (four bytes are counted as one).
    pub context_token_budget: usize,
    /// How long a finished turn can be resumed, in seconds.
    pub turn_retention_s: u64,
    /// A turn of which nothing came for so long ends with `UPSTREAM_TIMEOUT`; in seconds.
    pub stall_timeout_s: u64,
    /// A turn that is not over by then ends with `UPSTREAM_TIMEOUT`; in seconds.
    pub turn_timeout_s: u64,
    /// A running turn that nobody follows for so long is abandoned; in seconds.
    pub abandon_after_s: u64,
    /// What becomes of an abandoned turn.
    pub abandoned: Abandoned,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Abandoned {
    /// It goes on to its end and is stored.
    #[default]
    Continue,
    /// It ends as if the user had cancelled it.
    Stop,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct KnowledgeConfig {
    /// Load the built-in documents into an empty knowledge base.
    pub seed: bool,
    /// Passages that go to the model.
    pub max_passages: usize,
    /// The longest chunk, in characters.
    pub chunk_chars: usize,
    /// The largest document, in bytes.
    pub max_document_bytes: usize,
    /// The most text that may come out of one document, in bytes.
    pub max_text_bytes: usize,
    /// The most time that reading one document may take, in seconds.
    pub extract_timeout_s: u64,
    /// The most memory that reading one document may take, in bytes.
    pub extract_memory_bytes: u64,
    /// Program that reads documents, called as `PROGRAM extract …`. Absent: this program.
    pub extract_program: Option<PathBuf>,
    /// The most time that the upload of one document may take, in seconds.
    pub upload_timeout_s: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ProviderKind {
    /// Answers from the best passages; needs no model.
    #[default]
    Extractive,
    /// Any server with an OpenAI-compatible `/chat/completions`.
    Openai,
    /// Deterministic text, for tests and load.
    Scripted,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProviderConfig {
    pub kind: ProviderKind,
    /// Of `openai`: up to and without `/chat/completions`.
    pub base_url: String,
    #[serde(serialize_with = "redacted")]
    pub api_key: Option<SecretString>,
    /// Of `openai`: the model's name at that server.
    pub model: String,
    /// The longest answer, in tokens; 0 leaves it to the server.
    pub max_answer_tokens: u32,
    /// 0 is the most predictable.
    pub temperature: f64,
    pub connect_timeout_ms: u64,
    /// From the request to the first token, in milliseconds.
    pub first_token_timeout_ms: u64,
    /// Between two tokens, in milliseconds.
    pub idle_timeout_ms: u64,
    /// A whole answer, in milliseconds.
    pub total_timeout_ms: u64,
    pub extractive: ExtractiveConfig,
    pub scripted: ScriptedConfig,
}

/// How `extractive` answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ExtractiveConfig {
    /// Between two words, in milliseconds: a pace to read at. 0 does not wait.
    pub interval_ms: u64,
}

/// What `scripted` says. A message may change it for its own turn with `metadata.script`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScriptedConfig {
    /// Tokens of an answer.
    pub tokens: u32,
    /// Between two tokens, in milliseconds; 0 does not wait.
    pub interval_ms: u64,
    /// Size of a token, in bytes.
    pub token_bytes: u32,
    /// Break after so many tokens; 0 fails before the first. Absent: never.
    pub fail_after: Option<u32>,
}

/// Who may read `/metrics`; operators always may.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct MetricsConfig {
    /// Networks that need no token.
    pub allowed_addresses: Vec<String>,
    /// Whoever brings it as `Authorization: Bearer` may, too.
    #[serde(serialize_with = "redacted")]
    pub token: Option<SecretString>,
}

/// Writes that a secret is set, never what it is.
fn redacted<S: Serializer>(secret: &Option<SecretString>, serializer: S) -> Result<S::Ok, S::Error> {
    secret.as_ref().map(|_| "[redacted]").serialize(serializer)
}

impl Default for Config {
    fn default() -> Self {
        Self {
            env: Environment::default(),
            data_dir: PathBuf::from("data"),
            server: ServerConfig::default(),
            log: LogConfig::default(),
            database: DatabaseConfig::default(),
            auth: AuthConfig::default(),
            limits: LimitsConfig::default(),
            session: SessionConfig::default(),
            workflow: WorkflowConfig::default(),
            knowledge: KnowledgeConfig::default(),
            provider: ProviderConfig::default(),
            metrics: MetricsConfig::default(),
        }
    }
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            host: "127.0.0.1".to_owned(),
            port: 8000,
            workers: 0,
            drain_timeout_s: 30,
            allowed_origins: Vec::new(),
            allowed_hosts: Vec::new(),
            trusted_proxies: Vec::new(),
            max_connections: 100_000,
            request_head_timeout_ms: 5_000,
            request_body_timeout_ms: 10_000,
        }
    }
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            connections_per_address: 1_000,
            connections_per_user: 100,
            requests_per_s_per_user: 50,
            requests_per_s_per_address: 200,
            logins_per_minute_per_address: 60,
            logins_per_minute_per_account: 10,
            registrations_per_minute_per_address: 60,
            frames_per_s: 20,
            frame_burst: 100,
            violations_per_minute: 60,
            json_depth: 32,
            exempt_addresses: Vec::new(),
        }
    }
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { format: LogFormat::default(), level: "info".to_owned() }
    }
}

impl Default for DatabaseConfig {
    fn default() -> Self {
        Self {
            url: "sqlite://data/switchboard.db".to_owned(),
            url_origin: None,
            readers: 4,
            busy_timeout_ms: 5_000,
            audit_retention_days: 400,
        }
    }
}

impl Default for AuthConfig {
    fn default() -> Self {
        Self {
            jwt_secret: None,
            issuer: "switchboard".to_owned(),
            audience: "switchboard".to_owned(),
            access_token_ttl_s: 900,
            refresh_token_ttl_s: 30 * 24 * 3600,
            ws_ticket_ttl_s: 30,
            min_password_score: 1,
            hash_threads: 0,
            hash_queue: 256,
        }
    }
}

impl Default for SessionConfig {
    fn default() -> Self {
        Self {
            auth_deadline_s: 30,
            heartbeat_interval_s: 20,
            heartbeat_timeout_s: 60,
            max_message_bytes: 128 * 1024,
            max_message_chars: 8_000,
            max_running_turns: 16,
            write_stall_timeout_s: 20,
            coalesce_ms: 0,
        }
    }
}

impl Default for WorkflowConfig {
    fn default() -> Self {
        Self {
            agents_file: None,
            max_running_turns: 20_000,
            max_running_turns_per_user: 100,
            max_waiting_turns: 1_000,
            admission_wait_ms: 2_000,
            confidence_threshold: 0.2,
            context_token_budget: 2_000,
            turn_retention_s: 300,
            stall_timeout_s: 120,
            turn_timeout_s: 600,
            abandon_after_s: 60,
            abandoned: Abandoned::default(),
        }
    }
}

impl Default for KnowledgeConfig {
    fn default() -> Self {
        Self {
            seed: true,
            max_passages: 4,
            chunk_chars: 1_200,
            max_document_bytes: 10 * 1024 * 1024,
            max_text_bytes: 10 * 1024 * 1024,
            extract_timeout_s: 20,
            extract_memory_bytes: 512 * 1024 * 1024,
            extract_program: None,
            upload_timeout_s: 300,
        }
    }
}

impl Default for ProviderConfig {
    fn default() -> Self {
        Self {
            kind: ProviderKind::default(),
            base_url: "http://127.0.0.1:8080/v1".to_owned(),
            api_key: None,
            model: "default".to_owned(),
            max_answer_tokens: 1_024,
            temperature: 0.2,
            connect_timeout_ms: 5_000,
            first_token_timeout_ms: 30_000,
            idle_timeout_ms: 15_000,
            total_timeout_ms: 300_000,
            extractive: ExtractiveConfig::default(),
            scripted: ScriptedConfig::default(),
        }
    }
}

impl Default for MetricsConfig {
    fn default() -> Self {
        Self { allowed_addresses: vec!["127.0.0.0/8".to_owned(), "::1".to_owned()], token: None }
    }
}

impl Default for ExtractiveConfig {
    fn default() -> Self {
        Self { interval_ms: 15 }
    }
}

impl Default for ScriptedConfig {
    fn default() -> Self {
        Self { tokens: 20, interval_ms: 20, token_bytes: 6, fail_after: None }
    }
}
