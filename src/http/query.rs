//! The query of a request, for every handler.
//!
//! Unlike `web::Query`, what is wrong is answered with the name of the field.

use crate::protocol::{ApiError, ErrorCode};
use actix_web::{FromRequest, HttpRequest, dev::Payload};
use serde::de::DeserializeOwned;
use std::future::{Ready, ready};

/// The fields of the query.
pub struct Query<T>(pub T);

impl<T: DeserializeOwned> FromRequest for Query<T> {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(parse(request.query_string()).map(Self))
    }
}

/// # Errors
/// `INVALID_FIELD` with the field's name.
fn parse<T: DeserializeOwned>(query: &str) -> Result<T, ApiError> {
    let fields = serde_urlencoded::Deserializer::new(form_urlencoded::parse(query.as_bytes()));
    serde_path_to_error::deserialize(fields).map_err(|error| match error.path().to_string() {
        // A field that is missing, or there twice, is named by the error itself.
        path if path == "." => {
            ApiError::new(ErrorCode::InvalidField, format!("The query is wrong: {}.", error.inner()))
        }
        path => ApiError::invalid_field(&path, format_args!("is wrong: {}", error.inner())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Page {
        before: Option<uuid::Uuid>,
        limit: i64,
    }

    #[test]
    fn fields_are_read() {
        assert_eq!(parse::<Page>("limit=5&other=%20").unwrap(), Page { before: None, limit: 5 });
    }

    #[test]
    fn a_wrong_field_is_named() {
        for (query, name) in [
            ("limit=many", "`limit`"),
            ("limit=99999999999999999999", "`limit`"),
            ("limit=", "`limit`"),
            ("limit=5&before=x", "`before`"),
            ("", "`limit`"),
            ("limit=1&limit=2", "`limit`"),
        ] {
            let error = parse::<Page>(query).unwrap_err();
            assert_eq!(error.code, ErrorCode::InvalidField, "{query}");
            assert!(error.message.contains(name), "{query}: {}", error.message);
        }
    }
}
