//! The pages for people: the test page, and that of the operators.

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
        .service(web::resource("/ws/test").route(web::get().to(test_page)))
        .service(web::resource("/ops").route(web::get().to(ops_page)));
}

/// Everything is inside the page, and a policy lets only that run.
#[derive(Template)]
#[template(path = "test_page.html")]
struct TestPage {
    /// Made anew for each answer; only a script and a style that carry it are run.
    nonce: String,
}

#[derive(Template)]
#[template(path = "ops/page.html")]
struct OpsPage {
    /// As that of the test page.
    nonce: String,
    chart_style: &'static str,
    chart_script: &'static str,
    style: &'static str,
    script: &'static str,
}

async fn home() -> HttpResponse {
    HttpResponse::TemporaryRedirect().insert_header((LOCATION, "/ws/test")).finish()
}

async fn test_page() -> Result<HttpResponse, actix_web::Error> {
    page(|nonce| TestPage { nonce })
}

async fn ops_page() -> Result<HttpResponse, actix_web::Error> {
    page(|nonce| OpsPage {
        nonce,
        chart_style: include_str!("../../templates/vendor/uplot-1.6.32.min.css"),
        chart_script: include_str!("../../templates/vendor/uplot-1.6.32.min.js"),
        style: include_str!("../../templates/ops/page.css"),
        script: include_str!("../../templates/ops/page.js"),
    })
}

fn page<T: Template>(with_nonce: impl FnOnce(String) -> T) -> Result<HttpResponse, actix_web::Error> {
    let nonce = Uuid::new_v4().simple().to_string();
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; \
         img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let page = with_nonce(nonce).render().map_err(ErrorInternalServerError)?;
    Ok(HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .insert_header((CONTENT_SECURITY_POLICY, policy))
        .insert_header((CACHE_CONTROL, "no-store"))
        .body(page))
}
