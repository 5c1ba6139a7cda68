//! Users and their roles and names.

use super::{Email, InvalidUserField, UnixMillis, UserId, is_blank, is_misleading};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// Role of a user. Each role includes the rights of those before it: an `operator` manages connections, users and the
/// knowledge base.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    User,
    Agent,
    Operator,
}

impl Role {
    pub const ALL: [Self; 3] = [Self::User, Self::Agent, Self::Operator];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Agent => "agent",
            Self::Operator => "operator",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = InvalidUserField;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or(InvalidUserField { field: "role", reason: "must be one of user, agent, operator" })
    }
}

/// Display name of a user: 1 to 100 printable characters, none of them misleading (see [`is_misleading`]).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct DisplayName(String);

impl DisplayName {
    pub const MAX_CHARS: usize = 100;

    /// Parses a name and trims it.
    ///
    /// # Errors
    /// When the name is blank, too long, or contains control characters or misleading ones.
    pub fn parse(text: &str) -> Result<Self, InvalidUserField> {
        let invalid = |reason| Err(InvalidUserField { field: "name", reason });
        let name = text.trim();
        if name.chars().any(is_misleading) {
            return invalid("must not contain characters that are invisible or change the text direction");
        }
        if is_blank(name) || name.chars().count() > Self::MAX_CHARS || name.chars().any(char::is_control) {
            return invalid("must be 1 to 100 printable characters");
        }
        Ok(Self(name.to_owned()))
    }

    /// Parses a name that is stored or derived, removing misleading characters instead of rejecting them.
    ///
    /// # Errors
    /// As [`DisplayName::parse`], but not for misleading characters.
    pub fn cleaned(text: &str) -> Result<Self, InvalidUserField> {
        let name: String = text.chars().filter(|c| !is_misleading(*c)).collect();
        let is_hidden = is_blank(&name) && !text.trim().is_empty();
        Self::parse(if is_hidden { "?" } else { &name })
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Account of a user, without its password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub id: UserId,
    pub email: Email,
    pub name: DisplayName,
    pub role: Role,
    /// Whether signing in is blocked.
    pub is_locked: bool,
    pub created_at: UnixMillis,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_trimmed_and_bounded() {
        assert_eq!(DisplayName::parse("  Ada ").map(|name| name.0), Ok("Ada".to_owned()));
        assert!(DisplayName::parse(" \t ").is_err());
        assert!(DisplayName::parse("Ada\u{0}").is_err());
        assert!(DisplayName::parse(&"x".repeat(101)).is_err());
    }

    #[test]
    fn misleading_characters_are_rejected_or_removed() {
        for text in ["Ada\u{202e}", "\u{200b}Ada", "Ad\u{2066}a", "\u{3164}"] {
            let refused = DisplayName::parse(text).unwrap_err();
            assert!(refused.field == "name" && refused.reason.contains("direction"), "{text:?}: {refused}");
        }
        assert!(DisplayName::parse("\u{200d}\u{200d}").is_err(), "blank");
        let cleaned = |text: &str| DisplayName::cleaned(text).map(|name| name.0);
        assert_eq!(cleaned("Ada\u{202e} Lovelace"), Ok("Ada Lovelace".to_owned()));
        assert_eq!(cleaned("\u{202e}\u{200b}"), Ok("?".to_owned()));
        assert_eq!(cleaned("\u{200d}"), Ok("?".to_owned()));
        assert!(cleaned("Ada\u{0}").is_err() && cleaned(" ").is_err());
    }
}
