//! Extractors of the authenticated caller from `Authorization: Bearer`.

use crate::{
    auth::{Identity, Tokens},
    domain::Role,
    http::{error::HttpError, exempt::is_counted, extract::client_address, state::State},
    limiter::Limiter,
};
use actix_web::{FromRequest, HttpRequest, dev::Payload, http::header::AUTHORIZATION};
use std::future::{Ready, ready};
use switchboard_protocol::{ApiError, ErrorCode};

/// Fails with `AUTH_REQUIRED` without the header, and with the error of [`Tokens::verify_access`] for a bad token.
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
    if is_counted(request.path()) {
        State::<Limiter>::of(request).request_of(identity.user_id, client_address(request))?;
    }
    Ok(identity)
}

/// Whether the request carries an operator's token.
pub fn is_operator(request: &HttpRequest) -> bool {
    verify(request).is_ok_and(|identity| require_operator(&identity).is_ok())
}

fn verify(request: &HttpRequest) -> Result<Identity, ApiError> {
    let Some(header) = request.headers().get(AUTHORIZATION) else {
        return Err(ApiError::new(
            ErrorCode::AuthRequired,
            "Please sign in: the header `Authorization: Bearer` is missing.",
        ));
    };
    // A header that is not text is refused like an empty token.
    Ok(State::<Tokens>::of(request).verify_access(header.to_str().unwrap_or_default())?)
}

/// A signed-in operator. Other callers are refused before the body is read.
pub struct Operator(pub Identity);

/// Fails like [`Identity`], and with `FORBIDDEN` for other roles.
impl FromRequest for Operator {
    type Error = HttpError;
    type Future = Ready<Result<Self, HttpError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let operator = identify(request).and_then(|identity| require_operator(&identity).map(|()| Self(identity)));
        ready(operator.map_err(HttpError::from))
    }
}

/// Checks that the caller is an operator.
///
/// # Errors
/// `FORBIDDEN` for other roles.
pub fn require_operator(identity: &Identity) -> Result<(), ApiError> {
    match identity.role {
        Role::Operator => Ok(()),
        Role::User | Role::Agent => Err(ApiError::new(
            ErrorCode::Forbidden,
            "Only operators may do this. The person who runs this server can change your role; then sign in again.",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        auth::test_support::{access_token, user},
        http::state::test_support::state,
    };
    use actix_web::test::TestRequest;

    fn identified(header: Option<&str>) -> Result<Identity, ErrorCode> {
        let (state, _folder) = state(|_, _| ());
        let mut request = TestRequest::default().app_data(state);
        if let Some(value) = header {
            request = request.insert_header((AUTHORIZATION, value));
        }
        identify(&request.to_http_request()).map_err(|error| error.code)
    }

    #[actix_web::test]
    async fn a_bearer_token_identifies_the_caller() {
        let ada = user("ada@example.org", Role::Agent);
        let token = access_token(&ada);
        let identity = identified(Some(&format!("Bearer {token}"))).unwrap();
        assert_eq!((identity.user_id, identity.role), (ada.id, Role::Agent));
    }

    #[actix_web::test]
    async fn a_missing_or_bad_token_is_refused() {
        assert_eq!(identified(None), Err(ErrorCode::AuthRequired));
        for header in ["", "Bearer", "Bearer ", "Bearer x.y.z", "Basic YTpi"] {
            assert_eq!(identified(Some(header)), Err(ErrorCode::InvalidToken), "{header:?}");
        }
    }

    #[actix_web::test]
    async fn only_operators_are_accepted() {
        for role in Role::ALL {
            let token = access_token(&user("ada@example.org", role));
            let allowed = require_operator(&identified(Some(&token)).unwrap());
            assert_eq!(allowed.is_ok(), role == Role::Operator, "{role}");
        }
    }
}
