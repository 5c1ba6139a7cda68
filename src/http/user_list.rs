//! `GET /api/v1/users`: every account, as operators see it.

use super::error::HttpError;
use super::{ErrorBody, Operator, PageQuery, Query};
use crate::api_error::InternalError;
use crate::{
    auth::Tokens,
    domain::{DisplayName, Email, Role, UnixMillis, UserId},
    limits::MAX_QUERY_CHARS,
    registry::{ConnectionManager, CountConnections},
    store::{Listed, ListedUser, UserList, UserQuery},
    workflow::Turns,
};
use actix::Addr;
use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};
use switchboard_protocol::ApiError;

pub fn routes(cfg: &mut web::ServiceConfig) {
    cfg.service(web::resource("/api/v1/users").route(web::get().to(list)));
}

/// Which accounts.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct UsersQuery {
    /// Only accounts with this text in their id, e-mail or name, whatever the case; at most 200 characters.
    q: Option<String>,
    /// Only accounts with this role.
    role: Option<Role>,
    /// Only accounts that are locked, or only those that are not.
    locked: Option<bool>,
    /// Only accounts after this one in the list: the `next` of the page before.
    before: Option<UserId>,
    /// 1 to 200; 50 when absent.
    limit: Option<i64>,
}

#[derive(Serialize, utoipa::ToSchema)]
pub struct UsersPage {
    /// Those who registered last come first.
    users: Vec<ListedUserView>,
    /// Pass it as `before` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<UserId>,
}

/// An account, and what its user is doing.
#[derive(Serialize, utoipa::ToSchema)]
pub struct ListedUserView {
    id: UserId,
    #[schema(value_type = String)]
    email: Email,
    #[schema(value_type = String)]
    name: DisplayName,
    role: Role,
    /// Whether nobody may sign in to it.
    locked: bool,
    created_at_ms: UnixMillis,
    /// When the user last signed in or renewed a sign-in. Absent when no sign-in is left: never signed in, signed out, or all
    /// have ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_seen_at_ms: Option<UnixMillis>,
    /// Sign-ins that can still be renewed.
    sign_ins: u32,
    /// Live connections; operators' sockets are not among them.
    connections: usize,
    /// Turns that run or wait for a place.
    running_turns: usize,
}

/// The accounts that match, and what each user is doing.
#[utoipa::path(
    get, path = "/api/v1/users", tag = "operators", operation_id = "list_users", params(UsersQuery),
    responses(
        (status = 200, description = "A page of accounts.", body = UsersPage),
        (status = "4XX", description = "The request was refused; see `code`.", body = ErrorBody),
        (status = 503, description = "`OVERLOADED`: the store is unavailable.", body = ErrorBody),
    ),
    security(("bearer" = [])),
)]
async fn list(
    _: Operator,
    Query(UsersQuery { q, role, locked, before, limit }): Query<UsersQuery>,
    users: web::Data<dyn UserList>,
    tokens: web::Data<Tokens>,
    registry: web::Data<Addr<ConnectionManager>>,
    turns: web::Data<Turns>,
) -> Result<HttpResponse, HttpError> {
    if q.as_ref().is_some_and(|text| text.chars().count() > MAX_QUERY_CHARS) {
        return Err(ApiError::invalid_field("q", format_args!("must be at most {MAX_QUERY_CHARS} characters")).into());
    }
    let text = q.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    let page = PageQuery::of(before, limit).page()?;
    let now = UnixMillis::now();
    let query = UserQuery { text, role, is_locked: locked, page };
    let Listed { items: found, has_more } = users.list_users(query, now).await?;
    let next = found.last().filter(|_| has_more).map(|listed| listed.user.id);
    let ids: Vec<_> = found.iter().map(|listed| listed.user.id).collect();
    let running = turns.count_of(&ids);
    let connections = registry.send(CountConnections(ids)).await.map_err(|error| ApiError::internal(&error))?;
    let views = found.into_iter().zip(connections).zip(running).map(|((listed, connections), running_turns)| {
        let ListedUser { user, sign_ins, signed_in_until } = listed;
        ListedUserView {
            id: user.id,
            email: user.email,
            name: user.name,
            role: user.role,
            locked: user.is_locked,
            created_at_ms: user.created_at,
            last_seen_at_ms: signed_in_until.map(|until| tokens.issued_at_of_refresh(until)),
            sign_ins,
            connections,
            running_turns,
        }
    });
    Ok(HttpResponse::Ok().json(UsersPage { users: views.collect(), next }))
}
