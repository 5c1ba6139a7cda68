//! Extractors of request bodies, with limits of size, depth and time.
//!
//! Unlike `web::Json`, errors name the invalid field or the position of the syntax error.

use crate::{
    http::{error::HttpError, rules::JsonLimit, state::State},
    limiter::{Limit, Limiter},
    pause,
};
use actix_web::{
    FromRequest, HttpMessage, HttpRequest,
    dev::Payload,
    web::{BufMut, BytesMut},
};
use futures_util::{StreamExt, future::LocalBoxFuture};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::{future::Future, sync::Arc};
use switchboard_protocol::{
    ApiError, ErrorCode, check_json_depth, invalid_field, invalid_json, parse_fields, remove_null,
    replace_lone_surrogates,
};

/// A required body: one JSON object within [`JsonLimit`].
pub struct Json<T>(pub T);

/// An optional body. Defaults to `T::default()` if it is empty or `null`.
pub struct OptionalJson<T>(pub T);

/// The raw body of a request, within [`JsonLimit::max_bytes`].
pub struct Body(pub BytesMut);

/// The raw body of a request with a user's message, within [`JsonLimit::max_message_bytes`].
pub struct LongBody(pub BytesMut);

impl FromRequest for Body {
    type Error = HttpError;
    type Future = LocalBoxFuture<'static, Result<Self, HttpError>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let read = read_within(request, payload, |limit| limit.max_bytes);
        Box::pin(async move { Ok(Self(read.await?)) })
    }
}

impl FromRequest for LongBody {
    type Error = HttpError;
    type Future = LocalBoxFuture<'static, Result<Self, HttpError>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let read = read_within(request, payload, |limit| limit.max_message_bytes);
        Box::pin(async move { Ok(Self(read.await?)) })
    }
}

fn read_within(
    request: &HttpRequest,
    payload: &mut Payload,
    max_bytes: fn(&JsonLimit) -> usize,
) -> impl Future<Output = Result<BytesMut, ApiError>> + use<> {
    let limit = **State::<JsonLimit>::of(request);
    let max_bytes = max_bytes(&limit);
    let limiter = Arc::clone(State::<Limiter>::of(request));
    let payload = payload.take();
    async move {
        let Ok(body) = pause::timeout(limit.timeout, read(payload, max_bytes)).await else {
            limiter.hit(Limit::RequestBodyTime);
            return Err(ApiError::new(
                ErrorCode::RequestTimeout,
                "The request body took too long to arrive. Please send the request again.",
            ));
        };
        let body = body?;
        check_json_depth(&body, limit.max_depth).inspect_err(|_| limiter.hit(Limit::JsonDepth))?;
        Ok(body)
    }
}

impl<T: DeserializeOwned + 'static> FromRequest for Json<T> {
    type Error = HttpError;
    type Future = LocalBoxFuture<'static, Result<Self, HttpError>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let checked = check_content_type(request);
        let body = Body::from_request(request, payload);
        Box::pin(async move {
            checked?;
            let Body(body) = body.await?;
            Ok(Self(parse(&body)?))
        })
    }
}

impl<T: DeserializeOwned + Default + 'static> FromRequest for OptionalJson<T> {
    type Error = HttpError;
    type Future = LocalBoxFuture<'static, Result<Self, HttpError>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let checked = check_content_type(request);
        let body = Body::from_request(request, payload);
        Box::pin(async move {
            let Body(body) = body.await?;
            if matches!(body.trim_ascii(), b"" | b"null") {
                return Ok(Self(T::default()));
            }
            checked?;
            Ok(Self(parse(&body)?))
        })
    }
}

/// Accepts `application/json`, types with the suffix `+json`, and requests without a type.
///
/// # Errors
/// `INVALID_JSON` for any other type.
pub fn check_content_type(request: &HttpRequest) -> Result<(), ApiError> {
    let is_json = match request.mime_type() {
        Ok(Some(mime)) => mime.subtype() == "json" || mime.suffix().is_some_and(|suffix| suffix == "json"),
        Ok(None) => true,
        Err(_) => false,
    };
    if is_json {
        Ok(())
    } else {
        Err(ApiError::new(ErrorCode::InvalidJson, "The body must be JSON, sent with `Content-Type: application/json`."))
    }
}

async fn read(mut payload: Payload, limit: usize) -> Result<BytesMut, ApiError> {
    let mut body = BytesMut::new();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|_| {
            ApiError::new(
                ErrorCode::InvalidJson,
                "The body ended before it was complete. Please send the request again.",
            )
        })?;
        if body.len() + chunk.len() > limit {
            return Err(ApiError::new(
                ErrorCode::MessageTooLong,
                format!("The body is over the limit of {limit} bytes."),
            ));
        }
        body.put(chunk);
    }
    Ok(body)
}

/// Parses one JSON object. Optional fields may be `null`, and an unpaired surrogate becomes U+FFFD.
///
/// # Errors
/// `INVALID_JSON` with the position if the body is not a JSON object; `INVALID_FIELD` with the field's name if a field is missing
/// or has the wrong type.
pub fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    // serde would accept an array of the field values for a struct.
    if body.iter().find(|byte| !byte.is_ascii_whitespace()).is_some_and(|byte| *byte != b'{') {
        return Err(ApiError::new(ErrorCode::InvalidJson, "The body must be one JSON object."));
    }
    let body = &*replace_lone_surrogates(body);
    let mut json = serde_json::Deserializer::from_slice(body);
    let value = match serde_path_to_error::deserialize(&mut json) {
        Ok(value) => value,
        Err(error) => return without_nulls(body, &error).unwrap_or_else(|| Err(refusal::<T>(body, &error))),
    };
    json.end().map_err(|error| invalid_json("The body", &error))?;
    Ok(value)
}

/// Parses again without `null` fields, if one of them caused the error.
fn without_nulls<T: DeserializeOwned>(
    body: &[u8],
    error: &serde_path_to_error::Error<serde_json::Error>,
) -> Option<Result<T, ApiError>> {
    let mut value: Value = serde_json::from_slice(body).ok().filter(|_| error.inner().is_data())?;
    remove_null(&mut value, error.path()).then(|| parse_fields(value))
}

fn refusal<T: DeserializeOwned>(body: &[u8], error: &serde_path_to_error::Error<serde_json::Error>) -> ApiError {
    let wrong = |error: &serde_path_to_error::Error<serde_json::Error>| {
        invalid_field(&error.path().to_string(), &error.inner().to_string())
    };
    if error.inner().is_data() {
        return wrong(error);
    }
    // serde_json reports a number in place of an enum's name as a syntax error. Parsing a `Value` first finds the wrong type.
    match serde_json::from_slice::<Value>(body).map(serde_path_to_error::deserialize::<_, T>) {
        Ok(Err(error)) => wrong(&error),
        _ => invalid_json("The body", error.inner()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::state::test_support::state;
    use actix_web::{
        App, HttpResponse,
        http::{StatusCode, header::CONTENT_TYPE},
        test::{TestRequest, call_service, init_service, read_body_json},
        web,
    };
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    struct Outer {
        name: String,
        inner: Option<Inner>,
    }

    #[derive(Debug, Deserialize)]
    struct Inner {
        count: u8,
        colour: Option<Colour>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Colour {
        Red,
    }

    fn refused(body: &str) -> ApiError {
        parse::<Outer>(body.as_bytes()).unwrap_err()
    }

    #[test]
    fn an_object_is_parsed() {
        let outer: Outer = parse(br#" {"name":"x","inner":{"count":3,"colour":"red"},"unknown":[]} "#).unwrap();
        let inner = outer.inner.unwrap();
        assert_eq!((outer.name.as_str(), inner.count, inner.colour), ("x", 3, Some(Colour::Red)));
    }

    #[test]
    fn null_and_unpaired_surrogates_are_accepted() {
        #[derive(Debug, PartialEq, Deserialize)]
        struct Lenient {
            name: String,
            #[serde(default)]
            count: u8,
        }
        let read = |body: &str| parse::<Lenient>(body.as_bytes());
        let wanted = Lenient { name: "x\u{fffd}".to_owned(), count: 0 };
        assert_eq!(read(r#"{"count":null,"name":"x\ud83d"}"#).unwrap(), wanted);
        assert_eq!(read(r#"{"name":null}"#).unwrap_err().message, "`name` is missing");
        assert_eq!(read(r#"{"name":"x","count":null} {}"#).unwrap_err().code, ErrorCode::InvalidField);
        assert_eq!(read(r#"{"name":"x","name":null}"#).unwrap_err().message, "`name` is duplicated");
        assert_eq!(
            read(r#"{"name":"x","count":"1"}"#).unwrap_err().message,
            "`count` must be a whole number from 0 to 255"
        );
    }

    #[test]
    fn anything_but_one_json_object_is_invalid_json() {
        for body in [
            "",
            "{",
            "{\"name\":}",
            "[\"x\",null]",
            "\"x\"",
            "{\"name\":\"x\"} {}",
            "{\"name\":\"\u{1}\"}",
            "{\"name\":\"x\",\"inner\":{\"count\":1,\"colour\":5}",
        ] {
            assert_eq!(refused(body).code, ErrorCode::InvalidJson, "{body:?}");
        }
        assert!(refused("{\n\"name\":}").message.contains("line 2"));
    }

    #[test]
    fn a_wrong_field_is_named_by_its_path() {
        for (body, name) in [
            ("{}", "`name`"),
            ("{\"name\":5}", "`name` must be a string"),
            ("{\"name\":\"x\",\"inner\":{\"count\":-1}}", "`inner.count`"),
            ("{\"name\":\"x\",\"inner\":{}}", "`inner.count` is missing"),
            ("{\"name\":\"x\",\"inner\":{\"count\":1,\"colour\":5}}", "`inner.colour` must be a string"),
            ("{\"name\":\"x\",\"inner\":{\"count\":1,\"colour\":\"blue\"}}", "`inner.colour`"),
        ] {
            let error = refused(body);
            assert_eq!(error.code, ErrorCode::InvalidField, "{body}");
            assert!(error.message.contains(name), "{body}: {}", error.message);
        }
    }

    async fn post(content_type: Option<&str>, body: String) -> (StatusCode, serde_json::Value) {
        let (state, _folder) = state(|app, _| {
            let limit = *app.json_limit;
            app.json_limit = Arc::new(JsonLimit { max_bytes: 32, ..limit });
        });
        let name = |Json(outer): Json<Outer>| async move { HttpResponse::Ok().json(outer.name) };
        let app = init_service(App::new().app_data(state).route("/", web::post().to(name))).await;
        let mut request = TestRequest::post().set_payload(body);
        if let Some(value) = content_type {
            request = request.insert_header((CONTENT_TYPE, value));
        }
        let response = call_service(&app, request.to_request()).await;
        (response.status(), read_body_json(response).await)
    }

    #[actix_web::test]
    async fn a_body_over_the_limit_is_refused() {
        assert_eq!(post(None, format!("{{\"name\":\"{}\"}}", "x".repeat(21))).await.0, StatusCode::OK);
        let (status, body) = post(None, format!("{{\"name\":\"{}\"}}", "x".repeat(22))).await;
        assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(body["code"], "MESSAGE_TOO_LONG");
    }

    #[actix_web::test]
    async fn only_json_content_types_are_accepted() {
        for content_type in [None, Some("application/json; charset=utf-8"), Some("application/problem+json")] {
            assert_eq!(post(content_type, "{\"name\":\"x\"}".to_owned()).await.0, StatusCode::OK, "{content_type:?}");
        }
        let (status, body) = post(Some("text/plain"), "{\"name\":\"x\"}".to_owned()).await;
        assert_eq!((status, &body["code"]), (StatusCode::BAD_REQUEST, &"INVALID_JSON".into()));
    }
}
