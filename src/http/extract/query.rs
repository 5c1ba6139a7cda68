//! Extractor of query parameters. Unlike those of `web::Query`, its errors name the invalid parameter.

use crate::http::error::HttpError;
use actix_web::{FromRequest, HttpRequest, dev::Payload};
use serde::de::DeserializeOwned;
use std::{
    borrow::Cow,
    future::{Ready, ready},
};
use switchboard_protocol::{ApiError, invalid_field};

/// The parsed query parameters.
pub struct Query<T>(pub T);

impl<T: DeserializeOwned> FromRequest for Query<T> {
    type Error = HttpError;
    type Future = Ready<Result<Self, HttpError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(parse(request.query_string()).map(Self).map_err(HttpError::from))
    }
}

/// Parses a query. Empty values and `null`, which scripts send for a missing value, count as absent unless they are valid for the
/// parameter.
///
/// # Errors
/// `INVALID_FIELD` with the parameter's name.
fn parse<T: DeserializeOwned>(query: &str) -> Result<T, ApiError> {
    let mut absent: Vec<String> = Vec::new();
    loop {
        let present =
            form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| !absent.iter().any(|known| *known == **name));
        let fields = form_urlencoded::Serializer::new(String::new()).extend_pairs(present).finish();
        let fields = serde_urlencoded::Deserializer::new(form_urlencoded::parse(fields.as_bytes()));
        let error = match serde_path_to_error::deserialize(fields) {
            Ok(fields) => return Ok(fields),
            Err(error) => error,
        };
        let name = error.path().to_string();
        let is_placeholder =
            |(key, value): (Cow<'_, str>, Cow<'_, str>)| *key == name && matches!(&*value, "" | "null");
        if absent.contains(&name) || !form_urlencoded::parse(query.as_bytes()).any(is_placeholder) {
            return Err(invalid_field(&name, &error.inner().to_string()));
        }
        absent.push(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use switchboard_protocol::ErrorCode;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Page {
        before: Option<uuid::Uuid>,
        limit: i64,
    }

    #[test]
    fn parameters_are_parsed() {
        assert_eq!(parse::<Page>("limit=5&other=%20").unwrap(), Page { before: None, limit: 5 });
    }

    #[test]
    fn empty_values_and_null_count_as_absent() {
        #[derive(Debug, PartialEq, Deserialize)]
        struct Search {
            q: Option<String>,
            before: Option<uuid::Uuid>,
            #[serde(default)]
            limit: u8,
        }
        let read = |query: &str| parse::<Search>(query).unwrap();
        assert_eq!(read("before=null&limit="), Search { q: None, before: None, limit: 0 });
        // `null` is a valid string.
        assert_eq!(read("q=null&limit=5&before="), Search { q: Some("null".to_owned()), before: None, limit: 5 });
    }

    #[test]
    fn an_invalid_parameter_is_named() {
        for (query, message) in [
            ("limit=many", "`limit` must be a whole number"),
            ("limit=99999999999999999999", "`limit` is too large"),
            ("limit=", "`limit` is missing"),
            ("limit=null", "`limit` is missing"),
            ("limit=5&before=x", "`before` must be a UUID"),
            ("", "`limit` is missing"),
            ("limit=1&limit=2", "`limit` is duplicated"),
        ] {
            let error = parse::<Page>(query).unwrap_err();
            assert_eq!((error.code, &*error.message), (ErrorCode::InvalidField, message), "{query}");
        }
    }
}
