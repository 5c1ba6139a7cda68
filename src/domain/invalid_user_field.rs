//! The refusal of a field of an account, which every field shares.

/// The reason why a field of an account was refused; `field` is its name on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{field}` {reason}")]
pub struct InvalidUserField {
    pub field: &'static str,
    pub reason: &'static str,
}
