//! Errors of a configuration. They never contain the value of a secret.

use std::{fmt, path::PathBuf};

/// A problem with one setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The setting, such as `server.port`.
    pub key: String,
    /// The value; absent for secrets, unknown keys and unset settings.
    pub value: Option<String>,
    /// The file, variable or flag that set it, or the compiled defaults.
    pub origin: Option<String>,
    /// The allowed values, as a clause that follows the key.
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

/// The reason why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("the configuration folder {} does not exist; create it or correct --config-dir", .0.display())]
    NoFolder(PathBuf),
    #[error("the configuration file {} cannot be read: {reason}; give this user read access", .path.display())]
    Unreadable { path: PathBuf, reason: std::io::Error },
    /// The file is not TOML. The line is not quoted because it may hold a secret.
    #[error("the configuration file {}, line {line}, is not TOML: {reason}", .path.display())]
    Syntax { path: PathBuf, line: usize, reason: String },
    #[error("invalid configuration:{}", .0.iter().map(|problem| format!("\n  {problem}")).collect::<String>())]
    Invalid(Vec<Problem>),
    /// The layers passed validation but do not deserialize: an error in the declaration of a setting.
    #[error("the configuration cannot be read: {0}")]
    Unusable(#[from] Box<figment::Error>),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invalid_configuration_has_a_line_for_each_problem() {
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
            "invalid configuration:\
             \n  server.port = 70000 (from --port): must be a whole number from 0 to 65535\
             \n  auth.jwt_secret: must be set in production"
        );
    }
}
