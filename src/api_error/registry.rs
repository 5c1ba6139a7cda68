//! Invalid parameters of the connection list.

use crate::registry::InvalidQuery;
use switchboard_protocol::{ApiError, ErrorCode};

impl From<InvalidQuery> for ApiError {
    fn from(invalid: InvalidQuery) -> Self {
        Self::new(ErrorCode::InvalidField, invalid.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{MAX_PAGE_ENTRIES, MAX_QUERY_CHARS};

    #[test]
    fn the_message_names_the_parameter_and_its_allowed_values() {
        for (invalid, message) in [
            (InvalidQuery::Limit, format!("`limit` must be 1 to {MAX_PAGE_ENTRIES}")),
            (InvalidQuery::Text, format!("`q` must be at most {MAX_QUERY_CHARS} characters")),
        ] {
            assert_eq!(ApiError::from(invalid), ApiError::new(ErrorCode::InvalidField, message));
        }
    }
}
