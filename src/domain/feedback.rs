//! Feedback of users on answers.

use crate::limits::{MAX_FEEDBACK_COMMENT_CHARS, MAX_FEEDBACK_REASON_CHARS, MAX_FEEDBACK_REASONS};
use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// Rating of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Rating {
    Up,
    Down,
}

impl Rating {
    pub const ALL: [Self; 2] = [Self::Up, Self::Down];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

impl FromStr for Rating {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|rating| rating.as_str() == text).ok_or("not a rating")
    }
}

/// Feedback of a user on an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feedback {
    pub rating: Rating,
    pub reasons: Vec<String>,
    pub comment: Option<String>,
}

/// Invalid field of a feedback. `field` is its name on the wire; `reason` completes the sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{field}` {reason}")]
pub struct InvalidFeedback {
    pub field: String,
    pub reason: String,
}

impl Feedback {
    /// Trims the texts, and drops repeated reasons and an empty comment.
    ///
    /// # Errors
    /// The field that is too long, or a reason without text.
    pub fn new(rating: Rating, reasons: Vec<String>, comment: Option<String>) -> Result<Self, InvalidFeedback> {
        let invalid = |field: &str, reason: String| InvalidFeedback { field: field.to_owned(), reason };
        if reasons.len() > MAX_FEEDBACK_REASONS {
            return Err(invalid("reasons", format!("must be at most {MAX_FEEDBACK_REASONS} texts")));
        }
        let mut kept: Vec<String> = Vec::with_capacity(reasons.len());
        for (index, reason) in reasons.iter().map(|reason| reason.trim()).enumerate() {
            if !(1..=MAX_FEEDBACK_REASON_CHARS).contains(&reason.chars().count()) {
                let must_be = format!("must be 1 to {MAX_FEEDBACK_REASON_CHARS} characters");
                return Err(invalid(&format!("reasons[{index}]"), must_be));
            }
            if !kept.iter().any(|known| known == reason) {
                kept.push(reason.to_owned());
            }
        }
        let comment = comment.map(|comment| comment.trim().to_owned()).filter(|comment| !comment.is_empty());
        if comment.as_ref().is_some_and(|comment| comment.chars().count() > MAX_FEEDBACK_COMMENT_CHARS) {
            return Err(invalid("comment", format!("must be at most {MAX_FEEDBACK_COMMENT_CHARS} characters")));
        }
        Ok(Self { rating, reasons: kept, comment })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(reasons: &[&str], comment: Option<&str>) -> Result<Feedback, String> {
        let reasons = reasons.iter().map(|reason| (*reason).to_owned()).collect();
        Feedback::new(Rating::Down, reasons, comment.map(str::to_owned)).map_err(|error| error.to_string())
    }

    #[test]
    fn texts_are_trimmed_and_not_repeated() {
        let feedback = new(&[" wrong", "wrong ", "too long"], Some(" No.\n")).unwrap();
        assert_eq!(
            (feedback.reasons.as_slice(), feedback.comment.as_deref()),
            (&["wrong", "too long"].map(str::to_owned)[..], Some("No."))
        );
        assert_eq!(new(&[], Some(" ")).unwrap().comment, None);
    }

    #[test]
    fn a_field_out_of_range_is_named() {
        let longest = "ä".repeat(MAX_FEEDBACK_COMMENT_CHARS);
        assert_eq!(new(&[], Some(&longest)).unwrap().comment, Some(longest.clone()));
        assert_eq!(new(&[], Some(&format!("{longest}x"))), Err("`comment` must be at most 1000 characters".to_owned()));
        let reason = "x".repeat(MAX_FEEDBACK_REASON_CHARS + 1);
        assert_eq!(new(&["a", &reason], None), Err("`reasons[1]` must be 1 to 64 characters".to_owned()));
        assert_eq!(new(&[" "], None), Err("`reasons[0]` must be 1 to 64 characters".to_owned()));
        assert_eq!(new(&["x"; MAX_FEEDBACK_REASONS + 1], None), Err("`reasons` must be at most 10 texts".to_owned()));
    }
}
