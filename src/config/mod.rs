//! Configuration: the settings, their defaults, and the layers they are read from.
//!
//! Later layers win: the defaults here, the built-in settings of the environment, `config/default.toml`, `config/<env>.toml`,
//! `SWITCHBOARD__SECTION__KEY` from the environment, flags.
//!
//! A setting is declared once, in the file of its section, with [`settings!`](declare): name, type, default, range and
//! description. Rules that involve several settings are code in [`check`]. `config/default.toml` and the tables of
//! `docs/CONFIGURATION.md` are generated from the declarations; a test fails when they are out of date, and
//!
//! ```sh
//! UPDATE_DOCS=1 cargo test --lib config::generated
//! ```
//!
//! writes them.

mod address;
mod check;
mod declare;
mod development_secret;
mod error;
#[cfg(test)]
mod generated;
mod inspect;
mod load;
mod setting;

mod auth;
mod budgets;
mod database;
mod embeddings;
mod knowledge;
mod limits;
mod log;
mod metrics;
mod named;
mod provider;
mod rerank;
mod server;
mod session;
mod workflow;

pub use address::{HostPattern, parse_network};
pub use auth::AuthConfig;
pub use budgets::BudgetsConfig;
pub use check::JWT_SECRET_MIN_BYTES;
pub use database::DatabaseConfig;
pub use development_secret::development_secret;
pub use embeddings::EmbeddingsConfig;
pub use error::{ConfigError, Problem};
pub use knowledge::KnowledgeConfig;
pub use limits::{LimitsChange, LimitsConfig, LimitsInForce};
pub use load::{ConfigFiles, ENV_PREFIX, Flags, Sources};
pub use log::{LogConfig, LogFormat};
pub use metrics::MetricsConfig;
pub use named::{DEFAULT_PROVIDER, EXTRACTIVE_PROVIDER};
pub use provider::{ExtractiveConfig, ProviderConfig, ProviderKind, ScriptedConfig};
pub use rerank::RerankConfig;
pub use server::ServerConfig;
pub use session::SessionConfig;
pub use setting::{Choice, Kind, SETTINGS, Section, Setting};
pub use workflow::{Abandoned, Reasoning, Routing, WorkflowChange, WorkflowConfig, WorkflowInForce};

use declare::{choices, settings};
use secrecy::SecretString;
use serde::{Serialize, Serializer};
use std::path::PathBuf;

settings! {
    /// All settings. [`Config::load`] returns only values that pass [`Config::check`].
    Config [] {
        /// Environment; selects `<env>.toml`. Production refuses settings that are only fit for development.
        env: Environment = Environment::Development;
        /// Folder for files that the server creates, such as the development secret; relative to the working directory. The
        /// database is where `database.url` says.
        data_dir: PathBuf = PathBuf::from("data");
    }
    sections {
        server: ServerConfig,
        log: LogConfig,
        database: DatabaseConfig,
        auth: AuthConfig,
        limits: LimitsConfig,
        session: SessionConfig,
        workflow: WorkflowConfig,
        knowledge: KnowledgeConfig,
        embeddings: EmbeddingsConfig,
        rerank: RerankConfig,
        provider: ProviderConfig,
        budgets: BudgetsConfig,
        metrics: MetricsConfig
    }
    named {
        /// Providers beside `provider`, by name.
        providers: ProviderConfig
    }
    internal {
        /// The files that it was read from.
        files: ConfigFiles
    }
}

choices! {
    /// Environment that the server runs in.
    Environment {
        /// for a developer's machine
        Development = "development",
        /// for a server that others can reach
        Production = "production",
    }
}

/// Serializes whether a secret is set, never the secret.
fn redacted<S: Serializer>(secret: &Option<SecretString>, serializer: S) -> Result<S::Ok, S::Error> {
    secret.as_ref().map(|_| "[redacted]").serialize(serializer)
}
