//! The pages for people: the test page and the operators' page.

use actix_web::{
    HttpResponse,
    error::ErrorInternalServerError,
    http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, LOCATION},
    web,
};
use askama::Template;
use uuid::Uuid;

pub fn routes(cfg: &mut web::ServiceConfig) {
    cfg.service(web::resource("/").route(web::get().to(|| redirect("/ws/test"))))
        .service(web::resource("/ws/test").route(web::get().to(test_page)))
        .service(web::resource("/ws/test/").route(web::get().to(|| redirect("/ws/test"))))
        .service(web::resource("/ops").route(web::get().to(ops_page)))
        .service(web::resource("/ops/").route(web::get().to(|| redirect("/ops"))));
}

/// Substitutes for what browsers offer on https and localhost only.
const BROWSER: &str = include_str!("../../templates/shared/browser.js");
/// The sign-in that the tabs of a page share.
const ACCOUNT: &str = include_str!("../../templates/shared/account.js");

/// The test page. Everything is inline, and a policy lets nothing else run.
#[derive(Template)]
#[template(path = "test_page.html")]
struct TestPage {
    /// A new value for each response; only scripts and styles that carry it run.
    nonce: String,
    browser: &'static str,
    account: &'static str,
    markdown: &'static str,
    queue: &'static str,
}

#[derive(Template)]
#[template(path = "ops/page.html")]
struct OpsPage {
    /// As on the test page.
    nonce: String,
    browser: &'static str,
    account: &'static str,
    chart_style: &'static str,
    chart_script: &'static str,
    style: &'static str,
    breakdown: &'static str,
    script: &'static str,
    users: &'static str,
}

/// Leads to another page of this server.
pub(super) async fn redirect(to: &'static str) -> HttpResponse {
    HttpResponse::TemporaryRedirect().insert_header((LOCATION, to)).finish()
}

async fn test_page() -> Result<HttpResponse, actix_web::Error> {
    page(|nonce| TestPage {
        nonce,
        browser: BROWSER,
        account: ACCOUNT,
        markdown: include_str!("../../templates/chat/markdown.js"),
        queue: include_str!("../../templates/chat/queue.js"),
    })
}

async fn ops_page() -> Result<HttpResponse, actix_web::Error> {
    page(|nonce| OpsPage {
        nonce,
        browser: BROWSER,
        account: ACCOUNT,
        chart_style: include_str!("../../templates/vendor/uplot-1.6.32.min.css"),
        chart_script: include_str!("../../templates/vendor/uplot-1.6.32.min.js"),
        style: include_str!("../../templates/ops/page.css"),
        breakdown: include_str!("../../templates/ops/breakdown.js"),
        script: include_str!("../../templates/ops/page.js"),
        users: include_str!("../../templates/ops/users.js"),
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
