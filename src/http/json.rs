//! The body of a request as JSON, for every handler.
//!
//! Unlike `web::Json`, what is wrong is answered in our own error body, with the name of the field or the place.

use super::error::HttpError;
use crate::{
    limiter::{Limit, Limiter},
    limits::MAX_JSON_BODY_BYTES,
    pause,
};
use actix_web::{
    FromRequest, HttpMessage, HttpRequest,
    dev::Payload,
    web::{self, BufMut, BytesMut},
};
use futures_util::{StreamExt, future::LocalBoxFuture};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::{future::Future, time::Duration};
use switchboard_protocol::{
    ApiError, ErrorCode, check_json_depth, fields_of, mend_surrogates, not_json, remove_null, wrong_field,
};

/// The body of a request, which must be one JSON object of at most [`JsonLimit`] bytes.
pub struct Json<T>(pub T);

/// The body of a request that may be left out, or be `null`: then it is the default.
pub struct OptionalJson<T>(pub T);

/// The body of a request as it is, within [`JsonLimit::max_bytes`].
pub struct Body(pub BytesMut);

/// The body of a request that holds a user's message, within [`JsonLimit::max_message_bytes`].
pub struct LongBody(pub BytesMut);

/// What a JSON body may be. As `app_data` of the app, a resource or a scope it holds there; without, the default does.
#[derive(Clone, Copy, Debug)]
pub struct JsonLimit {
    pub max_bytes: usize,
    /// The same where the body holds a user's message.
    pub max_message_bytes: usize,
    /// How deep it may be nested.
    pub max_depth: usize,
    /// How long it may take to come.
    pub timeout: Duration,
}

impl Default for JsonLimit {
    fn default() -> Self {
        Self {
            max_bytes: MAX_JSON_BODY_BYTES,
            max_message_bytes: MAX_JSON_BODY_BYTES,
            max_depth: 32,
            timeout: Duration::from_secs(10),
        }
    }
}

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
    let limit = request.app_data::<JsonLimit>().copied().unwrap_or_default();
    let max_bytes = max_bytes(&limit);
    let limiter = request.app_data::<web::Data<Limiter>>().cloned();
    let payload = payload.take();
    async move {
        let hit = |limit| limiter.iter().for_each(|limiter| limiter.hit(limit));
        let Ok(body) = pause::timeout(limit.timeout, read(payload, max_bytes)).await else {
            hit(Limit::RequestBodyTime);
            return Err(ApiError::new(ErrorCode::RequestTimeout, "The body did not come in time."));
        };
        let body = body?;
        check_json_depth(&body, limit.max_depth).inspect_err(|_| hit(Limit::JsonDepth))?;
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

/// Takes `application/json`, or anything that ends in `+json`; a request that names no type is taken at its word.
///
/// # Errors
/// `INVALID_JSON` for every other type.
pub fn check_content_type(request: &HttpRequest) -> Result<(), ApiError> {
    let is_json = match request.mime_type() {
        Ok(Some(mime)) => mime.subtype() == "json" || mime.suffix().is_some_and(|suffix| suffix == "json"),
        Ok(None) => true,
        Err(_) => false,
    };
    if is_json { Ok(()) } else { Err(ApiError::new(ErrorCode::InvalidJson, "The body must be application/json.")) }
}

async fn read(mut payload: Payload, limit: usize) -> Result<BytesMut, ApiError> {
    let mut body = BytesMut::new();
    while let Some(chunk) = payload.next().await {
        let chunk =
            chunk.map_err(|_| ApiError::new(ErrorCode::InvalidJson, "The body ended before it was complete."))?;
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

/// Reads one JSON object. A field that may be absent may be `null`, and half a surrogate pair becomes U+FFFD.
///
/// # Errors
/// `INVALID_JSON` with the place when it is not JSON or not an object, `INVALID_FIELD` with the field's name when a field
/// is missing or not of its type.
pub fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    // serde takes an array for a struct, field by field; this protocol does not.
    if body.iter().find(|byte| !byte.is_ascii_whitespace()).is_some_and(|byte| *byte != b'{') {
        return Err(ApiError::new(ErrorCode::InvalidJson, "The body must be one JSON object."));
    }
    let body = &*mend_surrogates(body);
    let mut json = serde_json::Deserializer::from_slice(body);
    let value = match serde_path_to_error::deserialize(&mut json) {
        Ok(value) => value,
        Err(error) => return without_nulls(body, &error).unwrap_or_else(|| Err(refusal::<T>(body, &error))),
    };
    json.end().map_err(|error| not_json("The body", &error))?;
    Ok(value)
}

/// The same without the fields that are `null`, when one of them is what is wrong.
fn without_nulls<T: DeserializeOwned>(
    body: &[u8],
    error: &serde_path_to_error::Error<serde_json::Error>,
) -> Option<Result<T, ApiError>> {
    let mut value: Value = serde_json::from_slice(body).ok().filter(|_| error.inner().is_data())?;
    remove_null(&mut value, error.path()).then(|| fields_of(value))
}

fn refusal<T: DeserializeOwned>(body: &[u8], error: &serde_path_to_error::Error<serde_json::Error>) -> ApiError {
    let wrong = |error: &serde_path_to_error::Error<serde_json::Error>| {
        wrong_field(&error.path().to_string(), &error.inner().to_string())
    };
    if error.inner().is_data() {
        return wrong(error);
    }
    // For a name out of a few, serde_json calls a number bad syntax. As a value it is read by its type.
    match serde_json::from_slice::<Value>(body).map(serde_path_to_error::deserialize::<_, T>) {
        Ok(Err(error)) => wrong(&error),
        _ => not_json("The body", error.inner()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
    fn an_object_is_read() {
        let outer: Outer = parse(br#" {"name":"x","inner":{"count":3,"colour":"red"},"unknown":[]} "#).unwrap();
        let inner = outer.inner.unwrap();
        assert_eq!((outer.name.as_str(), inner.count, inner.colour), ("x", 3, Some(Colour::Red)));
    }

    #[test]
    fn null_and_half_a_character_are_taken() {
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
        assert_eq!(read(r#"{"name":"x","name":null}"#).unwrap_err().message, "`name` is there twice");
        assert_eq!(
            read(r#"{"name":"x","count":"1"}"#).unwrap_err().message,
            "`count` must be a whole number from 0 to 255"
        );
    }

    #[test]
    fn what_is_not_one_json_object_is_invalid_json() {
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
        let app =
            init_service(App::new().service(
                web::resource("/").app_data(JsonLimit { max_bytes: 32, ..JsonLimit::default() }).route(
                    web::post().to(|Json(outer): Json<Outer>| async move { HttpResponse::Ok().json(outer.name) }),
                ),
            ))
            .await;
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
    async fn only_json_types_are_read() {
        for content_type in [None, Some("application/json; charset=utf-8"), Some("application/problem+json")] {
            assert_eq!(post(content_type, "{\"name\":\"x\"}".to_owned()).await.0, StatusCode::OK, "{content_type:?}");
        }
        let (status, body) = post(Some("text/plain"), "{\"name\":\"x\"}".to_owned()).await;
        assert_eq!((status, &body["code"]), (StatusCode::BAD_REQUEST, &"INVALID_JSON".into()));
    }
}
