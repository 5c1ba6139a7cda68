//! Why a configuration is refused, in words that say what to do. No secret's value is ever in them.

use std::{fmt, path::PathBuf};

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The setting, such as `server.port`.
    pub key: String,
    /// Its value as it may be shown; absent for secrets, unknown keys and what is not set.
    pub value: Option<String>,
    /// Where it was set: a file, a variable, a flag, or the compiled defaults.
    pub origin: Option<String>,
    /// What is allowed there, as a clause that follows the key.
    pub allowed: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.key)?;
        if let Some(value) = &self.value {
            write!(f, " = {value}")?;
        }
        if let Some(origin) = &self.origin {
            write!(f, " (from {origin})")?;
        }
        write!(f, ": {}", self.allowed)
    }
}

/// Why there is no configuration to start with.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("the configuration folder {} does not exist", .0.display())]
    NoFolder(PathBuf),
    #[error("the configuration file {} cannot be read: {reason}", .path.display())]
    Unreadable { path: PathBuf, reason: std::io::Error },
    /// Not TOML. The line itself is not quoted: it may hold a secret.
    #[error("the configuration file {}, line {line}, is not TOML: {reason}", .path.display())]
    Syntax { path: PathBuf, line: usize, reason: String },
    #[error("the configuration is refused:{}", .0.iter().map(|problem| format!("\n  {problem}")).collect::<String>())]
    Invalid(Vec<Problem>),
    /// The layers do not make a `Config`, although the table of settings found nothing wrong.
    #[error("the configuration cannot be read: {0}")]
    Unusable(#[from] Box<figment::Error>),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_has_a_line_for_each_problem() {
        let port = Problem {
            key: "server.port".to_owned(),
            value: Some("70000".to_owned()),
            origin: Some("--port".to_owned()),
            allowed: "must be a whole number from 0 to 65535".to_owned(),
        };
        let secret = Problem {
            key: "auth.jwt_secret".to_owned(),
            value: None,
            origin: None,
            allowed: "must be set in production".to_owned(),
        };
        assert_eq!(
            ConfigError::Invalid(vec![port, secret]).to_string(),
            "the configuration is refused:\
             \n  server.port = 70000 (from --port): must be a whole number from 0 to 65535\
             \n  auth.jwt_secret: must be set in production"
        );
    }
}
