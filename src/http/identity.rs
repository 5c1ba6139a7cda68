//! The signed-in caller of a handler, from `Authorization: Bearer`.

use super::error::HttpError;
use super::{client_address, request_rate::is_counted};
use crate::api_error::InternalError;
use crate::{
    auth::{Identity, Tokens},
    domain::Role,
    limiter::Limiter,
};
use actix_web::{FromRequest, HttpRequest, dev::Payload, http::header::AUTHORIZATION, web};
use std::future::{Ready, ready};
use switchboard_protocol::{ApiError, ErrorCode};

/// `AUTH_REQUIRED` without the header; otherwise what [`Tokens::verify_access`] says. Needs `web::Data<Tokens>`.
impl FromRequest for Identity {
    type Error = HttpError;
    type Future = Ready<Result<Self, HttpError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(identify(request).map_err(HttpError::from))
    }
}

/// Identifies the caller and counts the request against the user's limit.
fn identify(request: &HttpRequest) -> Result<Identity, ApiError> {
    let identity = verify(request)?;
    if is_counted(request.path())
        && let Some(limiter) = request.app_data::<web::Data<Limiter>>()
    {
        limiter.request_of(identity.user_id, client_address(request))?;
    }
    Ok(identity)
}

/// Whether the caller brings the token of an operator.
pub(super) fn is_operator(request: &HttpRequest) -> bool {
    verify(request).is_ok_and(|identity| require_operator(&identity).is_ok())
}

fn verify(request: &HttpRequest) -> Result<Identity, ApiError> {
    let Some(header) = request.headers().get(AUTHORIZATION) else {
        return Err(ApiError::new(ErrorCode::AuthRequired, "Please sign in: `Authorization: Bearer` is missing."));
    };
    let tokens =
        request.app_data::<web::Data<Tokens>>().ok_or_else(|| ApiError::internal(&"no `Tokens` in the app's data"))?;
    // A header that is not text holds no token; the empty one is refused like any other.
    Ok(tokens.verify_access(header.to_str().unwrap_or_default())?)
}

/// An operator who is signed in; who is none is refused before anything else of the request is read.
pub struct Operator(pub Identity);

/// As [`Identity`], and `FORBIDDEN` for everybody who is no operator.
impl FromRequest for Operator {
    type Error = HttpError;
    type Future = Ready<Result<Self, HttpError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let operator = identify(request).and_then(|identity| require_operator(&identity).map(|()| Self(identity)));
        ready(operator.map_err(HttpError::from))
    }
}

/// For handlers that only operators may call.
///
/// # Errors
/// `FORBIDDEN` for everybody else.
pub fn require_operator(identity: &Identity) -> Result<(), ApiError> {
    match identity.role {
        Role::Operator => Ok(()),
        Role::User | Role::Agent => Err(ApiError::new(ErrorCode::Forbidden, "Only operators may do this.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::test_support::{access_token, tokens, user};
    use actix_web::test::TestRequest;

    fn identified(header: Option<&str>) -> Result<Identity, ErrorCode> {
        let mut request = TestRequest::default().app_data(web::Data::new(tokens()));
        if let Some(value) = header {
            request = request.insert_header((AUTHORIZATION, value));
        }
        identify(&request.to_http_request()).map_err(|error| error.code)
    }

    #[test]
    fn a_bearer_token_says_who_is_calling() {
        let ada = user("ada@example.org", Role::Agent);
        let token = access_token(&ada);
        let identity = identified(Some(&format!("Bearer {token}"))).unwrap();
        assert_eq!((identity.user_id, identity.role), (ada.id, Role::Agent));
    }

    #[test]
    fn without_a_good_token_nobody_is_calling() {
        assert_eq!(identified(None), Err(ErrorCode::AuthRequired));
        for header in ["", "Bearer", "Bearer ", "Bearer x.y.z", "Basic YTpi"] {
            assert_eq!(identified(Some(header)), Err(ErrorCode::InvalidToken), "{header:?}");
        }
    }

    #[test]
    fn only_operators_pass() {
        for role in Role::ALL {
            let token = access_token(&user("ada@example.org", role));
            let allowed = require_operator(&identified(Some(&token)).unwrap());
            assert_eq!(allowed.is_ok(), role == Role::Operator, "{role}");
        }
    }
}
