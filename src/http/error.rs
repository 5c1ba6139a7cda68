//! Error responses: the JSON body for an [`ApiError`] (`{"error","code","retryable","correlation_id",…}`) and, in the same form,
//! errors that the framework answers itself (path, query, method, unknown route).

use crate::{
    api_error::InternalError,
    http::state::State,
    limiter::{Limit, Limiter},
    metrics::{Metrics, Surface},
};
use actix_web::{
    HttpResponse, ResponseError,
    body::{BoxBody, MessageBody},
    dev::ServiceResponse,
    error::QueryPayloadError,
    http::{
        StatusCode,
        header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, SEC_WEBSOCKET_VERSION, UPGRADE, WWW_AUTHENTICATE},
    },
    middleware::{ErrorHandlerResponse, ErrorHandlers},
    web::{self, PathConfig, QueryConfig},
};
use serde::Serialize;
use switchboard_protocol::{ApiError, ErrorCode};
use uuid::Uuid;

/// The body of every error response.
#[derive(Serialize, utoipa::ToSchema)]
pub struct ErrorBody {
    /// Message for people. Its wording may change.
    pub error: String,
    /// Stable code for programs.
    pub code: ErrorCode,
    /// Whether repeating the request may succeed.
    pub retryable: bool,
    /// Delay before repeating the request, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// Moment at which a used-up budget is renewed, in milliseconds since 1970; only with `BUDGET_EXCEEDED`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resets_at_ms: Option<i64>,
    /// Identifies the request in the server's log.
    pub correlation_id: Uuid,
}

impl From<&ApiError> for ErrorBody {
    fn from(error: &ApiError) -> Self {
        Self {
            error: error.message.to_string(),
            code: error.code,
            retryable: error.code.is_retryable(),
            retry_after_ms: error.retry_after_ms,
            resets_at_ms: error.resets_at_ms,
            correlation_id: error.correlation_id.unwrap_or_else(Uuid::now_v7),
        }
    }
}

/// An [`ApiError`] as the response of a handler or an extractor.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct HttpError(ApiError);

impl<E: Into<ApiError>> From<E> for HttpError {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl ResponseError for HttpError {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.0.code.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status_code());
        if let Some(wait_ms) = self.0.retry_after_ms {
            response.insert_header((RETRY_AFTER, wait_ms.div_ceil(1000).to_string()));
        }
        if self.status_code() == StatusCode::UNAUTHORIZED {
            response.insert_header((WWW_AUTHENTICATE, "Bearer"));
        }
        if self.status_code() == StatusCode::UPGRADE_REQUIRED {
            // Not `upgrade()`: actix-http would end the connection after the response without announcing it.
            response.force_close().insert_header((UPGRADE, "websocket")).insert_header((SEC_WEBSOCKET_VERSION, "13"));
        }
        response.json(ErrorBody::from(&self.0))
    }
}

/// Configures [`ErrorBody`] responses for invalid paths and queries and for unknown routes. For the whole application, together with
/// [`error_bodies`].
pub fn configure(cfg: &mut web::ServiceConfig) {
    cfg.app_data(
        // A malformed id names nothing, so it is answered like an unknown one.
        PathConfig::default().error_handler(|_, _| HttpError(no_such_route()).into()),
    )
    .app_data(QueryConfig::default().error_handler(|error, _| HttpError(invalid_query(&error)).into()))
    .default_service(web::to(|| async { Err::<HttpResponse, _>(HttpError(no_such_route())) }));
}

pub(super) fn no_such_route() -> ApiError {
    ApiError::new(ErrorCode::NotFound, "There is nothing at this address; /api/docs/ lists the routes.")
}

fn invalid_query(error: &QueryPayloadError) -> ApiError {
    match error {
        QueryPayloadError::Deserialize(cause) => {
            ApiError::new(ErrorCode::InvalidField, format!("The query is not valid: {cause}."))
        }
        _ => ApiError::new(
            ErrorCode::InvalidField,
            "The query of this address is not valid; /api/docs/ shows the parameters.",
        ),
    }
}

/// Middleware that adds an [`ErrorBody`] to errors that the framework answers itself, such as 405, 413 or a failed upgrade. It keeps
/// their status and headers, and leaves JSON, pages and event streams unchanged.
pub fn error_bodies<B: MessageBody + 'static>() -> ErrorHandlers<B> {
    ErrorHandlers::new().default_handler(|response: ServiceResponse<B>| {
        if response.status() == StatusCode::PAYLOAD_TOO_LARGE {
            State::<Limiter>::of(response.request()).hit(Limit::MessageSize);
        }
        let own = response.response().error().and_then(|error| error.as_error::<HttpError>());
        if let Some(HttpError(ApiError { code, .. })) = own {
            count(&response, *code);
        }
        if has_own_body(&response) {
            return Ok(ErrorHandlerResponse::Response(response.map_into_left_body()));
        }
        let error = error_of_status(response.status());
        count(&response, error.code);
        let body = serde_json::to_vec(&ErrorBody::from(&error))?;
        let (request, response) = response.into_parts();
        let mut response = response.set_body(BoxBody::new(body));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Ok(ErrorHandlerResponse::Response(ServiceResponse::new(request, response).map_into_right_body()))
    })
}

fn count<B>(response: &ServiceResponse<B>, code: ErrorCode) {
    State::<Metrics>::of(response.request()).errors.increment(Surface::Http, code);
}

fn has_own_body<B>(response: &ServiceResponse<B>) -> bool {
    response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).is_some_and(|content_type| {
        content_type.starts_with("application/json")
            || content_type.starts_with("text/html")
            || content_type.starts_with("text/event-stream")
    })
}

fn error_of_status(status: StatusCode) -> ApiError {
    match status {
        StatusCode::UNAUTHORIZED => ApiError::new(ErrorCode::AuthRequired, "Please sign in."),
        StatusCode::FORBIDDEN => ApiError::new(ErrorCode::Forbidden, "You are not allowed to do this."),
        StatusCode::NOT_FOUND => no_such_route(),
        StatusCode::METHOD_NOT_ALLOWED => ApiError::new(
            ErrorCode::MethodNotAllowed,
            "This address does not support this method; the header `Allow` lists those it does.",
        ),
        StatusCode::PAYLOAD_TOO_LARGE => ApiError::new(ErrorCode::MessageTooLong, "The request is too large."),
        status if status.is_client_error() => ApiError::new(ErrorCode::InvalidField, "The request is malformed."),
        status => ApiError::internal(&format_args!("the framework answered {status}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::state::test_support::state;
    use actix_web::{
        App,
        http::{Method, header::ALLOW},
        test::{TestRequest, call_service, init_service, read_body_json},
    };
    use serde_json::Value;

    #[derive(serde::Deserialize)]
    struct Page {
        limit: u8,
    }

    async fn ask(method: Method, uri: &str) -> (StatusCode, Option<HeaderValue>, Value) {
        let (state, _folder) = state(|_, _| ());
        let app =
            init_service(
                App::new()
                    .wrap(error_bodies())
                    .app_data(state)
                    .configure(configure)
                    .service(
                        web::resource("/things/{id}")
                            .route(web::get().to(|id: web::Path<Uuid>| async move { id.to_string() })),
                    )
                    .service(
                        web::resource("/things")
                            .route(web::get().to(|page: web::Query<Page>| async move { page.limit.to_string() })),
                    )
                    .service(
                        web::resource("/large")
                            .to(|| async { Err::<HttpResponse, _>(actix_web::error::PayloadError::Overflow) }),
                    )
                    .service(web::resource("/unconfigured").to(|_: web::Data<Page>| async { "never" }))
                    .service(web::resource("/ours").to(|| async {
                        Err::<HttpResponse, _>(HttpError(ApiError::overloaded("Later, please.", 1_001)))
                    })),
            )
            .await;
        let response = call_service(&app, TestRequest::with_uri(uri).method(method).to_request()).await;
        let allow = response.headers().get(ALLOW).cloned();
        (response.status(), allow, read_body_json(response).await)
    }

    #[actix_web::test]
    async fn errors_of_the_framework_have_an_error_body() {
        for (method, uri, status, code) in [
            (Method::GET, "/nowhere", 404, "NOT_FOUND"),
            (Method::GET, "/things/not-an-id", 404, "NOT_FOUND"),
            (Method::GET, "/things?limit=999", 422, "INVALID_FIELD"),
            (Method::GET, "/things", 422, "INVALID_FIELD"),
            (Method::DELETE, "/things", 405, "METHOD_NOT_ALLOWED"),
            (Method::GET, "/large", 413, "MESSAGE_TOO_LONG"),
            (Method::GET, "/unconfigured", 500, "PROCESSING_ERROR"),
            (Method::GET, "/ours", 503, "OVERLOADED"),
        ] {
            let (answered, _, body) = ask(method, uri).await;
            assert_eq!((answered.as_u16(), &body["code"]), (status, &code.into()), "{uri}: {body}");
            assert!(body["error"].is_string() && body["correlation_id"].is_string(), "{uri}: {body}");
        }
    }

    #[actix_web::test]
    async fn headers_and_retry_delays_are_kept_and_internals_are_not_shown() {
        let (_, allow, _) = ask(Method::DELETE, "/things").await;
        assert!(allow.is_some_and(|methods| methods == "GET"));
        let (_, _, body) = ask(Method::GET, "/ours").await;
        assert_eq!(body["retry_after_ms"], 1_001);
        let (_, _, body) = ask(Method::GET, "/unconfigured").await;
        assert!(!body.to_string().contains("data"), "internals in {body}");
    }
}
