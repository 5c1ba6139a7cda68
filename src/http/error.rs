//! [`ApiError`] as an HTTP answer: `{"error","code","retryable","correlation_id",…}`.

use crate::protocol::{ApiError, ErrorCode};
use actix_web::{
    HttpResponse, ResponseError,
    http::{
        StatusCode,
        header::{RETRY_AFTER, WWW_AUTHENTICATE},
    },
};
use serde::Serialize;
use uuid::Uuid;

/// The body of every answer that is an error.
#[derive(Serialize, utoipa::ToSchema)]
pub struct ErrorBody {
    /// What went wrong, for people.
    pub error: String,
    pub code: ErrorCode,
    /// Whether the same request may succeed later.
    pub retryable: bool,
    /// How long to wait before, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// Finds the request in the server's log.
    pub correlation_id: Uuid,
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.code.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status_code());
        if let Some(wait_ms) = self.retry_after_ms {
            response.insert_header((RETRY_AFTER, wait_ms.div_ceil(1000).to_string()));
        }
        if self.status_code() == StatusCode::UNAUTHORIZED {
            response.insert_header((WWW_AUTHENTICATE, "Bearer"));
        }
        response.json(ErrorBody {
            error: self.message.to_string(),
            code: self.code,
            retryable: self.code.is_retryable(),
            retry_after_ms: self.retry_after_ms,
            correlation_id: self.correlation_id.unwrap_or_else(Uuid::now_v7),
        })
    }
}
