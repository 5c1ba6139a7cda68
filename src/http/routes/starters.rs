//! `/api/v1/starters`: a greeting, topics and questions for an empty chat.

use crate::{
    http::{error::ErrorBody, extract::Query, state::State},
    workflow::guide::{Guide, Suggestions},
};
use actix_web::{HttpRequest, HttpResponse, http::header::ACCEPT_LANGUAGE, web};
use serde::{Deserialize, Serialize};

pub fn routes(cfg: &mut web::ServiceConfig) {
    cfg.service(web::resource("/api/v1/starters").route(web::get().to(starters)));
}

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct StartersQuery {
    /// Language tag, such as `de` or `de-AT`; without it, the first language of `Accept-Language`. An unknown language counts as
    /// the server's default.
    lang: Option<String>,
}

#[derive(Serialize, utoipa::ToSchema)]
pub struct Starters {
    /// A greeting that names the topics.
    greeting: String,
    /// Subjects that the documents cover.
    topics: Vec<String>,
    /// Up to three questions that the documents answer.
    starters: Vec<String>,
    /// Code of the language of these texts.
    language: String,
}

/// Returns a greeting, topics and questions to start a conversation with.
#[utoipa::path(
    get, path = "/api/v1/starters", tag = "chat", operation_id = "starters", params(StartersQuery),
    responses(
        (status = 200, description = "The suggestions.", body = Starters),
        (status = 422, description = "`INVALID_FIELD`", body = ErrorBody),
    ),
)]
async fn starters(request: HttpRequest, Query(query): Query<StartersQuery>, guide: State<Guide>) -> HttpResponse {
    let accepted = request.headers().get(ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
    let first = accepted.and_then(|tags| tags.split([',', ';']).next()).map(str::trim);
    let tag = query.lang.as_deref().or(first).unwrap_or_default();
    let suggestions = guide.suggestions(tag).await;
    let Suggestions { language, greeting, topics, starters } = (*suggestions).clone();
    let body = Starters { greeting, topics, starters, language };
    HttpResponse::Ok().json(body)
}
