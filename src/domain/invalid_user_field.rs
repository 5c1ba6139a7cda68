//! Validation error of a user's fields.

/// Invalid field of a user. `field` is its name on the wire; `reason` completes the sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{field}` {reason}")]
pub struct InvalidUserField {
    pub field: &'static str,
    pub reason: &'static str,
}
