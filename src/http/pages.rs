//! The pages for people: the test page.

use actix_web::{
    HttpResponse,
    error::ErrorInternalServerError,
    http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, LOCATION},
    web,
};
use askama::Template;
use uuid::Uuid;

pub fn routes(cfg: &mut web::ServiceConfig) {
    cfg.service(web::resource("/").route(web::get().to(home)))
        .service(web::resource("/ws/test").route(web::get().to(test_page)));
}

/// Everything is inside the page, and a policy lets only that run.
#[derive(Template)]
#[template(path = "test_page.html")]
struct TestPage {
    /// Made anew for each answer; only a script and a style that carry it are run.
    nonce: String,
}

async fn home() -> HttpResponse {
    HttpResponse::TemporaryRedirect().insert_header((LOCATION, "/ws/test")).finish()
}

async fn test_page() -> Result<HttpResponse, actix_web::Error> {
    let nonce = Uuid::new_v4().simple().to_string();
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; \
         img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let page = TestPage { nonce }.render().map_err(ErrorInternalServerError)?;
    Ok(HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .insert_header((CONTENT_SECURITY_POLICY, policy))
        .insert_header((CACHE_CONTROL, "no-store"))
        .body(page))
}
