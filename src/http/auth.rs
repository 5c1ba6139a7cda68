//! The REST routes of accounts: register, sign in, renew, sign out, who am I, and a ticket for a WebSocket.

use super::error::HttpError;
use super::{ErrorBody, Json, client_address};
use crate::{
    auth::{Accounts, AuthError, Identity, SignIn, Tickets},
    domain::{DisplayName, Email, Role, User, UserId},
    limiter::{Limit, Limiter},
    metrics::{AuthWay, Metrics},
    registry::{ConnectionManager, TokensRevoked},
};
use actix::Addr;
use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        StatusCode,
        header::{CACHE_CONTROL, HeaderValue},
    },
    web,
};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use switchboard_protocol::ApiError;

/// Mounts the routes. They need `web::Data` of [`Accounts`], [`Tickets`], [`crate::auth::Tokens`] and the registry's address.
pub fn routes(cfg: &mut web::ServiceConfig) {
    cfg.service(web::resource("/api/v1/auth/register").route(web::post().to(register)))
        .service(web::resource("/api/v1/auth/login").route(web::post().to(login)))
        .service(web::resource("/api/v1/auth/refresh").route(web::post().to(refresh)))
        .service(web::resource("/api/v1/auth/logout").route(web::post().to(logout)))
        .service(web::resource("/api/v1/auth/ws-ticket").route(web::post().to(ws_ticket)))
        .service(web::resource("/api/v1/auth/me").route(web::get().to(me)));
}

#[derive(Deserialize, utoipa::ToSchema)]
pub struct RegisterRequest {
    #[schema(example = "ada@example.org")]
    email: String,
    /// 8 characters or more, at most 128 bytes, and as hard to guess as `auth.min_password_score` requires.
    #[schema(value_type = String, format = Password, min_length = 8, max_length = 128)]
    password: SecretString,
    /// 1 to 100 characters that can be seen. Absent: the part of the address before the `@`.
    #[schema(example = "Ada")]
    name: Option<String>,
}

#[derive(Deserialize, utoipa::ToSchema)]
pub struct LoginRequest {
    #[schema(example = "ada@example.org")]
    email: String,
    #[schema(value_type = String, format = Password)]
    password: SecretString,
}

#[derive(Deserialize, utoipa::ToSchema)]
pub struct RefreshRequest {
    #[schema(value_type = String)]
    refresh_token: SecretString,
}

/// The answer to signing in and to renewing that.
#[derive(Serialize, utoipa::ToSchema)]
pub struct TokenAnswer {
    /// For `Authorization: Bearer`, and to authenticate a WebSocket.
    access_token: String,
    /// For `refresh`, which exchanges it, or `logout`.
    refresh_token: String,
    #[schema(example = "bearer")]
    token_type: &'static str,
    /// How long the access token is good, in seconds.
    expires_in: i64,
    user: UserBody,
}

#[derive(Serialize, utoipa::ToSchema)]
pub struct UserBody {
    id: UserId,
    #[schema(value_type = String)]
    email: Email,
    #[schema(value_type = String)]
    name: DisplayName,
    role: Role,
}

#[derive(Serialize, utoipa::ToSchema)]
pub struct TicketAnswer {
    /// For `?ticket=` in the URL of a WebSocket. Good once.
    ticket: String,
    /// How long the ticket is good, in seconds.
    expires_in: u64,
}

impl From<User> for UserBody {
    fn from(user: User) -> Self {
        Self { id: user.id, email: user.email, name: user.name, role: user.role }
    }
}

impl From<SignIn> for TokenAnswer {
    fn from(sign_in: SignIn) -> Self {
        Self {
            expires_in: (sign_in.access.expires_at - sign_in.at.seconds()).max(0),
            access_token: sign_in.access.token,
            refresh_token: sign_in.refresh.token,
            token_type: "bearer",
            user: sign_in.user.into(),
        }
    }
}

/// An answer that holds a secret, which no cache may keep.
fn secret(status: StatusCode, body: impl Serialize) -> HttpResponse {
    HttpResponse::build(status).insert_header((CACHE_CONTROL, HeaderValue::from_static("no-store"))).json(body)
}

/// Make an account and sign in with it.
#[utoipa::path(
    post, path = "/api/v1/auth/register", tag = "auth", operation_id = "register",
    request_body = RegisterRequest,
    responses(
        (status = 201, description = "The account was made.", body = TokenAnswer),
        (status = 400, description = "`INVALID_JSON`", body = ErrorBody),
        (status = 409, description = "`EMAIL_TAKEN`", body = ErrorBody),
        (status = 413, description = "`MESSAGE_TOO_LONG`", body = ErrorBody),
        (status = 422, description = "`WEAK_PASSWORD`, `INVALID_FIELD`", body = ErrorBody),
        (status = 429, description = "`RATE_LIMITED`", body = ErrorBody),
        (status = 503, description = "`OVERLOADED`", body = ErrorBody),
    ),
)]
pub async fn register(
    request: HttpRequest,
    accounts: web::Data<Accounts>,
    limiter: web::Data<Limiter>,
    metrics: web::Data<Metrics>,
    Json(body): Json<RegisterRequest>,
) -> Result<HttpResponse, HttpError> {
    let sign_in = async {
        limiter.register(client_address(&request))?;
        let email = Email::parse(&body.email)?;
        let name = body.name.as_deref().map(DisplayName::parse).transpose()?;
        let sign_in = accounts.register(email, body.password, name).await;
        Ok(sign_in.inspect_err(|error| count(error, &limiter))?)
    };
    let sign_in = counted(AuthWay::Register, &metrics, sign_in.await)?;
    Ok(secret(StatusCode::CREATED, TokenAnswer::from(sign_in)))
}

/// Sign in.
#[utoipa::path(
    post, path = "/api/v1/auth/login", tag = "auth", operation_id = "login",
    request_body = LoginRequest,
    responses(
        (status = 200, description = "Signed in.", body = TokenAnswer),
        (status = 400, description = "`INVALID_JSON`", body = ErrorBody),
        (status = 401, description = "`INVALID_CREDENTIALS`", body = ErrorBody),
        (status = 403, description = "`ACCOUNT_LOCKED`", body = ErrorBody),
        (status = 413, description = "`MESSAGE_TOO_LONG`", body = ErrorBody),
        (status = 422, description = "`INVALID_FIELD`", body = ErrorBody),
        (status = 429, description = "`RATE_LIMITED`", body = ErrorBody),
        (status = 503, description = "`OVERLOADED`", body = ErrorBody),
    ),
)]
pub async fn login(
    request: HttpRequest,
    accounts: web::Data<Accounts>,
    limiter: web::Data<Limiter>,
    metrics: web::Data<Metrics>,
    Json(body): Json<LoginRequest>,
) -> Result<HttpResponse, HttpError> {
    let sign_in = async {
        let email = Email::parse(&body.email)?;
        limiter.login(client_address(&request), &email)?;
        Ok(accounts.login(email, body.password).await.inspect_err(|error| count(error, &limiter))?)
    };
    let sign_in = counted(AuthWay::Login, &metrics, sign_in.await)?;
    Ok(secret(StatusCode::OK, TokenAnswer::from(sign_in)))
}

fn counted(way: AuthWay, metrics: &Metrics, outcome: Result<SignIn, ApiError>) -> Result<SignIn, ApiError> {
    metrics.authenticated(way, outcome.as_ref().map(|_| ()).map_err(|error| error.code));
    outcome
}

/// Counts a password that found the queue of hashes full.
fn count(error: &AuthError, limiter: &Limiter) {
    if matches!(error, AuthError::HashQueueFull { .. }) {
        limiter.hit(Limit::PasswordHashes);
    }
}

/// Exchange a refresh token for new tokens. For 10 seconds it returns the same tokens again; one that comes later ends the sign-in.
#[utoipa::path(
    post, path = "/api/v1/auth/refresh", tag = "auth", operation_id = "refresh",
    request_body = RefreshRequest,
    responses(
        (status = 200, description = "New tokens, or within 10 seconds the same ones again.", body = TokenAnswer),
        (status = 400, description = "`INVALID_JSON`", body = ErrorBody),
        (status = 401, description = "`INVALID_TOKEN`, `EXPIRED_TOKEN`", body = ErrorBody),
        (status = 413, description = "`MESSAGE_TOO_LONG`", body = ErrorBody),
        (status = 422, description = "`INVALID_FIELD`", body = ErrorBody),
    ),
)]
pub async fn refresh(
    accounts: web::Data<Accounts>,
    metrics: web::Data<Metrics>,
    Json(body): Json<RefreshRequest>,
) -> Result<HttpResponse, HttpError> {
    let sign_in = accounts.refresh(body.refresh_token.expose_secret()).await;
    let sign_in = counted(AuthWay::Refresh, &metrics, sign_in.map_err(ApiError::from))?;
    Ok(secret(StatusCode::OK, TokenAnswer::from(sign_in)))
}

/// Sign out: the refresh token, and all that came from the same sign-in, access tokens too, are good no more. Its WebSockets are
/// closed with 4401.
#[utoipa::path(
    post, path = "/api/v1/auth/logout", tag = "auth", operation_id = "logout",
    request_body = RefreshRequest,
    responses(
        (status = 204, description = "Signed out, now or before."),
        (status = 400, description = "`INVALID_JSON`", body = ErrorBody),
        (status = 401, description = "`INVALID_TOKEN`, `EXPIRED_TOKEN`", body = ErrorBody),
        (status = 413, description = "`MESSAGE_TOO_LONG`", body = ErrorBody),
        (status = 422, description = "`INVALID_FIELD`", body = ErrorBody),
    ),
)]
pub async fn logout(
    accounts: web::Data<Accounts>,
    registry: web::Data<Addr<ConnectionManager>>,
    Json(body): Json<RefreshRequest>,
) -> Result<HttpResponse, HttpError> {
    // Only news: all sessions are looked at, and nothing limits how often somebody signs out.
    if let Some(revocation) = accounts.logout(body.refresh_token.expose_secret()).await? {
        registry.do_send(TokensRevoked(vec![revocation]));
    }
    Ok(HttpResponse::NoContent().finish())
}

/// A ticket that opens one WebSocket, for clients that cannot set a header and should not put a token into a URL.
#[utoipa::path(
    post, path = "/api/v1/auth/ws-ticket", tag = "auth", operation_id = "ws_ticket",
    responses(
        (status = 200, description = "A ticket.", body = TicketAnswer),
        (status = 401, description = "`AUTH_REQUIRED`, `INVALID_TOKEN`, `EXPIRED_TOKEN`", body = ErrorBody),
        (status = 503, description = "`OVERLOADED`", body = ErrorBody),
    ),
    security(("bearer" = [])),
)]
pub async fn ws_ticket(tickets: web::Data<Tickets>, identity: Identity) -> Result<HttpResponse, HttpError> {
    let answer = TicketAnswer { ticket: tickets.issue(identity)?, expires_in: tickets.ttl_s() };
    Ok(secret(StatusCode::OK, answer))
}

/// The signed-in account as it is now, which may be other than its token says.
#[utoipa::path(
    get, path = "/api/v1/auth/me", tag = "auth", operation_id = "me",
    responses(
        (status = 200, description = "The account.", body = UserBody),
        (status = 401, description = "`AUTH_REQUIRED`, `INVALID_TOKEN`, `EXPIRED_TOKEN`", body = ErrorBody),
    ),
    security(("bearer" = [])),
)]
pub async fn me(accounts: web::Data<Accounts>, identity: Identity) -> Result<HttpResponse, HttpError> {
    let user = accounts.me(&identity).await?;
    Ok(secret(StatusCode::OK, UserBody::from(user)))
}

#[cfg(test)]
mod tests;
