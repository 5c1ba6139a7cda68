//! People with an account.

use super::{Email, InvalidUserField, UnixMillis, UserId, is_blank, is_misleading};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// What someone may do beyond talking: an `operator` sees and steers the live connections and edits the knowledge base.
/// A later one may do all that an earlier one may.
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

/// What a person wants to be called: 1 to 100 characters that can be seen, and that leave the text beside them alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct DisplayName(String);

impl DisplayName {
    pub const MAX_CHARS: usize = 100;

    /// # Errors
    /// When nothing but white space is left, or the name is too long, or holds characters that are controls, invisible or
    /// change the direction of text.
    pub fn parse(text: &str) -> Result<Self, InvalidUserField> {
        let refuse = |reason| Err(InvalidUserField { field: "name", reason });
        let name = text.trim();
        if name.chars().any(is_misleading) {
            return refuse("must not hold characters that are invisible or change the direction of text");
        }
        if is_blank(name) || name.chars().count() > Self::MAX_CHARS || name.chars().any(char::is_control) {
            return refuse("must be 1 to 100 printable characters");
        }
        Ok(Self(name.to_owned()))
    }

    /// A name that nobody chose just now: it was stored before names were refused for such characters, or is made from
    /// something else. They are left out.
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

/// An account, without its password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub id: UserId,
    pub email: Email,
    pub name: DisplayName,
    pub role: Role,
    /// Nobody may sign in to it.
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
    fn names_do_not_mislead() {
        for text in ["Ada\u{202e}", "\u{200b}Ada", "Ad\u{2066}a", "\u{3164}"] {
            let refused = DisplayName::parse(text).unwrap_err();
            assert!(refused.field == "name" && refused.reason.contains("direction"), "{text:?}: {refused}");
        }
        assert!(DisplayName::parse("\u{200d}\u{200d}").is_err(), "nothing to see");
        let cleaned = |text: &str| DisplayName::cleaned(text).map(|name| name.0);
        assert_eq!(cleaned("Ada\u{202e} Lovelace"), Ok("Ada Lovelace".to_owned()));
        assert_eq!(cleaned("\u{202e}\u{200b}"), Ok("?".to_owned()));
        assert_eq!(cleaned("\u{200d}"), Ok("?".to_owned()));
        assert!(cleaned("Ada\u{0}").is_err() && cleaned(" ").is_err());
    }
}
