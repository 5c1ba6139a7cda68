//! Invalid fields of an account.

use crate::domain::InvalidUserField;
use switchboard_protocol::ApiError;

impl From<InvalidUserField> for ApiError {
    fn from(invalid: InvalidUserField) -> Self {
        Self::invalid_field(invalid.field, invalid.reason)
    }
}
