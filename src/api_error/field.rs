//! Invalid fields.

use crate::domain::{InvalidFeedback, InvalidUserField};
use switchboard_protocol::ApiError;

impl From<InvalidUserField> for ApiError {
    fn from(invalid: InvalidUserField) -> Self {
        Self::invalid_field(invalid.field, invalid.reason)
    }
}

impl From<InvalidFeedback> for ApiError {
    fn from(invalid: InvalidFeedback) -> Self {
        Self::invalid_field(&invalid.field, invalid.reason)
    }
}
