//! `/api/v1/auth/*`: registration, sign-in, token refresh, sign-out, the caller's account, and WebSocket tickets.

use crate::{
    auth::{Accounts, AuthError, Identity, SignIn, Tickets},
    domain::{DisplayName, Email, Role, User, UserId},
    http::{
        error::{ErrorBody, HttpError},
        extract::{Json, client_address},
        state::State,
    },
    limiter::{Limit, Limiter},
    metrics::{AuthWay, Metrics},
    registry::{ConnectionManager, ConnectionRegistry},
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
    /// At least 8 characters and at most 128 bytes, with the strength that `auth.min_password_score` requires.
    #[schema(value_type = String, format = Password, min_length = 8, max_length = 128)]
    password: SecretString,
    /// Display name: 1 to 100 visible characters. Defaults to the part of the e-mail address before the `@`.
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

/// Tokens issued by a sign-in or a refresh.
#[derive(Serialize, utoipa::ToSchema)]
pub struct TokenResponse {
    /// For `Authorization: Bearer` and for authenticating a WebSocket.
    access_token: String,
    /// For `/api/v1/auth/refresh`, which replaces it, and `/api/v1/auth/logout`.
    refresh_token: String,
    #[schema(example = "bearer")]
    token_type: &'static str,
    /// Remaining lifetime of the access token, in seconds.
    expires_in: i64,
    user: AccountView,
}

#[derive(Serialize, utoipa::ToSchema)]
pub struct AccountView {
    id: UserId,
    #[schema(value_type = String)]
    email: Email,
    #[schema(value_type = String)]
    name: DisplayName,
    role: Role,
}

#[derive(Serialize, utoipa::ToSchema)]
pub struct TicketResponse {
    /// For `?ticket=` in the URL of a WebSocket. Valid once.
    ticket: String,
    /// Lifetime of the ticket, in seconds.
    expires_in: u64,
}

impl From<User> for AccountView {
    fn from(user: User) -> Self {
        Self { id: user.id, email: user.email, name: user.name, role: user.role }
    }
}

impl From<SignIn> for TokenResponse {
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

/// Builds a response that contains a secret and must not be cached.
fn uncached(status: StatusCode, body: impl Serialize) -> HttpResponse {
    HttpResponse::build(status).insert_header((CACHE_CONTROL, HeaderValue::from_static("no-store"))).json(body)
}

/// Creates an account and signs in to it.
#[utoipa::path(
    post, path = "/api/v1/auth/register", tag = "auth", operation_id = "register",
    request_body = RegisterRequest,
    responses(
        (status = 201, description = "The account was created.", body = TokenResponse),
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
    accounts: State<Accounts>,
    limiter: State<Limiter>,
    metrics: State<Metrics>,
    Json(body): Json<RegisterRequest>,
) -> Result<HttpResponse, HttpError> {
    let sign_in = async {
        limiter.register(client_address(&request))?;
        let email = Email::parse(&body.email)?;
        let name = body.name.as_deref().map(DisplayName::parse).transpose()?;
        let sign_in = accounts.register(email, body.password, name).await;
        Ok(sign_in.inspect_err(|error| record_full_queue(error, &limiter))?)
    };
    let sign_in = record_outcome(AuthWay::Register, &metrics, sign_in.await)?;
    Ok(uncached(StatusCode::CREATED, TokenResponse::from(sign_in)))
}

/// Signs in with e-mail address and password.
#[utoipa::path(
    post, path = "/api/v1/auth/login", tag = "auth", operation_id = "login",
    request_body = LoginRequest,
    responses(
        (status = 200, description = "The tokens of the new sign-in.", body = TokenResponse),
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
    accounts: State<Accounts>,
    limiter: State<Limiter>,
    metrics: State<Metrics>,
    Json(body): Json<LoginRequest>,
) -> Result<HttpResponse, HttpError> {
    let sign_in = async {
        let email = Email::parse(&body.email)?;
        limiter.login(client_address(&request), &email)?;
        Ok(accounts.login(email, body.password).await.inspect_err(|error| record_full_queue(error, &limiter))?)
    };
    let sign_in = record_outcome(AuthWay::Login, &metrics, sign_in.await)?;
    Ok(uncached(StatusCode::OK, TokenResponse::from(sign_in)))
}

/// Counts the outcome of an authentication and returns it.
fn record_outcome(way: AuthWay, metrics: &Metrics, outcome: Result<SignIn, ApiError>) -> Result<SignIn, ApiError> {
    metrics.authenticated(way, outcome.as_ref().map(|_| ()).map_err(|error| error.code));
    outcome
}

/// Counts a refusal because the queue of password hashes was full.
fn record_full_queue(error: &AuthError, limiter: &Limiter) {
    if matches!(error, AuthError::HashQueueFull { .. }) {
        limiter.hit(Limit::PasswordHashes);
    }
}

/// Exchanges a refresh token for new tokens.
///
/// A repeated request within 10 seconds returns the same tokens. A later reuse is treated as theft and ends the sign-in.
#[utoipa::path(
    post, path = "/api/v1/auth/refresh", tag = "auth", operation_id = "refresh",
    request_body = RefreshRequest,
    responses(
        (status = 200, description = "New tokens; for a repeated request within 10 seconds, the same ones.", body = TokenResponse),
        (status = 400, description = "`INVALID_JSON`", body = ErrorBody),
        (status = 401, description = "`INVALID_TOKEN`, `EXPIRED_TOKEN`", body = ErrorBody),
        (status = 413, description = "`MESSAGE_TOO_LONG`", body = ErrorBody),
        (status = 422, description = "`INVALID_FIELD`", body = ErrorBody),
    ),
)]
pub async fn refresh(
    accounts: State<Accounts>,
    metrics: State<Metrics>,
    Json(body): Json<RefreshRequest>,
) -> Result<HttpResponse, HttpError> {
    let sign_in = accounts.refresh(body.refresh_token.expose_secret()).await;
    let sign_in = record_outcome(AuthWay::Refresh, &metrics, sign_in.map_err(ApiError::from))?;
    Ok(uncached(StatusCode::OK, TokenResponse::from(sign_in)))
}

/// Signs out.
///
/// Revokes all access and refresh tokens of the same sign-in and closes its WebSockets with 4401.
#[utoipa::path(
    post, path = "/api/v1/auth/logout", tag = "auth", operation_id = "logout",
    request_body = RefreshRequest,
    responses(
        (status = 204, description = "Signed out, by this request or an earlier one."),
        (status = 400, description = "`INVALID_JSON`", body = ErrorBody),
        (status = 401, description = "`INVALID_TOKEN`, `EXPIRED_TOKEN`", body = ErrorBody),
        (status = 413, description = "`MESSAGE_TOO_LONG`", body = ErrorBody),
        (status = 422, description = "`INVALID_FIELD`", body = ErrorBody),
    ),
)]
pub async fn logout(
    accounts: State<Accounts>,
    registry: State<Addr<ConnectionManager>>,
    Json(body): Json<RefreshRequest>,
) -> Result<HttpResponse, HttpError> {
    // Only for a new revocation: the registry then checks every connection, and sign-outs have no rate limit.
    if let Some(revocation) = accounts.logout(body.refresh_token.expose_secret()).await? {
        registry.revoke(vec![revocation]);
    }
    Ok(HttpResponse::NoContent().finish())
}

/// Issues a ticket that authenticates one WebSocket.
///
/// For clients, such as browsers, that cannot set a header on an upgrade and should not put a token into a URL.
#[utoipa::path(
    post, path = "/api/v1/auth/ws-ticket", tag = "auth", operation_id = "ws_ticket",
    responses(
        (status = 200, description = "The ticket.", body = TicketResponse),
        (status = 401, description = "`AUTH_REQUIRED`, `INVALID_TOKEN`, `EXPIRED_TOKEN`", body = ErrorBody),
        (status = 503, description = "`OVERLOADED`", body = ErrorBody),
    ),
    security(("bearer" = [])),
)]
pub async fn ws_ticket(tickets: State<Tickets>, identity: Identity) -> Result<HttpResponse, HttpError> {
    let answer = TicketResponse { ticket: tickets.issue(identity)?, expires_in: tickets.ttl_s() };
    Ok(uncached(StatusCode::OK, answer))
}

/// Returns the caller's account.
///
/// Name and role are current; those in the access token are as of its issue.
#[utoipa::path(
    get, path = "/api/v1/auth/me", tag = "auth", operation_id = "me",
    responses(
        (status = 200, description = "The account.", body = AccountView),
        (status = 401, description = "`AUTH_REQUIRED`, `INVALID_TOKEN`, `EXPIRED_TOKEN`", body = ErrorBody),
    ),
    security(("bearer" = [])),
)]
pub async fn me(accounts: State<Accounts>, identity: Identity) -> Result<HttpResponse, HttpError> {
    let user = accounts.me(&identity).await?;
    Ok(uncached(StatusCode::OK, AccountView::from(user)))
}

#[cfg(test)]
mod tests;
