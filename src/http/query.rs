//! The query of a request, for every handler.
//!
//! Unlike `web::Query`, what is wrong is answered with the name of the field.

use crate::protocol::{ApiError, wrong_field};
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
    serde_path_to_error::deserialize(fields)
        .map_err(|error| wrong_field(&error.path().to_string(), &error.inner().to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::ErrorCode;
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
        for (query, message) in [
            ("limit=many", "`limit` must be a whole number"),
            ("limit=99999999999999999999", "`limit` is too large"),
            ("limit=", "`limit` must be a whole number"),
            ("limit=5&before=x", "`before` must be a UUID"),
            ("", "`limit` is missing"),
            ("limit=1&limit=2", "`limit` is there twice"),
        ] {
            let error = parse::<Page>(query).unwrap_err();
            assert_eq!((error.code, &*error.message), (ErrorCode::InvalidField, message), "{query}");
        }
    }
}
