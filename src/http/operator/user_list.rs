//! `GET /api/v1/users`: the list of accounts, for operators.

use crate::{
    api_error::InternalError,
    auth::Tokens,
    domain::{DisplayName, Email, Role, UnixMillis, UserId},
    http::{
        error::{ErrorBody, HttpError},
        extract::{Operator, PageQuery, Query},
        state::State,
    },
    limits::MAX_QUERY_CHARS,
    registry::{ConnectionManager, ConnectionRegistry},
    store::{Consumption, ConversationStore, Listed, ListedUser, UserList, UserQuery},
    workflow::Turns,
};
use actix::Addr;
use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};
use switchboard_protocol::ApiError;

pub fn routes(cfg: &mut web::ServiceConfig) {
    cfg.service(web::resource("/api/v1/users").route(web::get().to(list)));
}

/// Filters and cursor of the account list.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct UsersQuery {
    /// Only accounts whose id, e-mail address or name contains this text, ignoring case; at most 200 characters.
    q: Option<String>,
    /// Only accounts with this role.
    role: Option<Role>,
    /// Only locked (`true`) or unlocked (`false`) accounts.
    locked: Option<bool>,
    /// Cursor: the `next` of the previous page.
    before: Option<UserId>,
    /// Maximum number of accounts: 1 to 200, default 50.
    limit: Option<i64>,
}

#[derive(Serialize, utoipa::ToSchema)]
pub struct UsersPage {
    /// Most recently registered first.
    users: Vec<ListedUserView>,
    /// Cursor of the next page, to pass as `before`. Absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<UserId>,
}

/// An account and its user's activity.
#[derive(Serialize, utoipa::ToSchema)]
pub struct ListedUserView {
    id: UserId,
    #[schema(value_type = String)]
    email: Email,
    #[schema(value_type = String)]
    name: DisplayName,
    role: Role,
    /// Whether the account is locked against sign-in.
    locked: bool,
    created_at_ms: UnixMillis,
    /// Time of the user's last sign-in or token refresh. Absent if no sign-in is active.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_seen_at_ms: Option<UnixMillis>,
    /// Number of active sign-ins, whose refresh tokens are still valid.
    sign_ins: u32,
    /// Number of live connections, except operators' connections to `/ws/ops`.
    connections: usize,
    /// Number of turns that are running or waiting for a permit.
    running_turns: usize,
    /// Consumption of the user's turns since 00:00 UTC, towards the daily budget. Absent if nothing, or if there is no budget.
    #[serde(skip_serializing_if = "Option::is_none")]
    used_today: Option<UsedToday>,
}

/// Consumption of a user on one day.
#[derive(Serialize, utoipa::ToSchema)]
pub struct UsedToday {
    tokens: u64,
    /// Known costs, in trillionths (10⁻¹²) of `budgets.currency`.
    cost_trillionths: u64,
}

/// Lists accounts.
///
/// Returns the accounts that match the query, with the activity of each user.
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
    users: State<dyn UserList>,
    tokens: State<Tokens>,
    registry: State<Addr<ConnectionManager>>,
    turns: State<Turns>,
    conversations: State<dyn ConversationStore>,
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
    let mut used = conversations.usage_on(now.day(), ids.clone()).await?;
    let connections = registry.count_of(ids).await.map_err(|error| ApiError::internal(&error))?;
    let views = found.into_iter().zip(connections).zip(running).map(|((listed, connections), running_turns)| {
        let ListedUser { user, sign_ins, signed_in_until } = listed;
        let used_today = used.remove(&user.id);
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
            used_today: used_today.map(|Consumption { tokens, cost }| UsedToday { tokens, cost_trillionths: cost }),
        }
    });
    Ok(HttpResponse::Ok().json(UsersPage { users: views.collect(), next }))
}
