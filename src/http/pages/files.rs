//! The pages for people, the chat page and the operators' page, and the scripts and styles that they load.
//!
//! All files are in the program. Below `/static/` they lie as in the repository, so that the imports between them are the same for
//! browsers, editors and linters: `templates/` is `/static/pages/`, `clients/javascript/` is `/static/clients/javascript/`.

use crate::http::{
    error::{HttpError, no_such_route},
    pages::static_file::static_file,
};
use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{CONTENT_SECURITY_POLICY, HeaderValue, LOCATION},
    web,
};

pub fn routes(cfg: &mut web::ServiceConfig) {
    cfg.service(web::resource("/").route(web::get().to(|| redirect("/ws/test"))))
        .service(web::resource("/ws/test").route(web::get().to(chat_page)))
        .service(web::resource("/ws/test/").route(web::get().to(|| redirect("/ws/test"))))
        .service(web::resource("/ops").route(web::get().to(ops_page)))
        .service(web::resource("/ops/").route(web::get().to(|| redirect("/ops"))))
        .service(web::resource("/static/{file:.*}").route(web::get().to(file)));
}

/// Allows a page the files, the API and the WebSockets of this server, and nothing inline.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

macro_rules! page_files {
    ($($name:literal),* $(,)?) => {
        [$((concat!("pages/", $name), include_str!(concat!("../../../templates/", $name)))),*]
    };
}

macro_rules! client_files {
    ($($name:literal),* $(,)?) => {
        [$((concat!("clients/javascript/", $name), include_str!(concat!("../../../clients/javascript/", $name)))),*]
    };
}

/// The scripts and styles of the pages, by their path below `/static/`.
const PAGE_FILES: &[(&str, &str)] = &page_files![
    "chat/conversations.js",
    "chat/feedback.js",
    "chat/frames.js",
    "chat/history.js",
    "chat/layout.js",
    "chat/markdown.js",
    "chat/notices.js",
    "chat/page.css",
    "chat/page.js",
    "chat/queue.js",
    "chat/shown.js",
    "chat/sources.js",
    "chat/starters.js",
    "chat/thread.js",
    "chat/wire.js",
    "document/page.css",
    "ops/actions.js",
    "ops/audit.js",
    "ops/breakdown.js",
    "ops/charts.js",
    "ops/connections.js",
    "ops/detail.js",
    "ops/dialog.js",
    "ops/drain.js",
    "ops/feed.js",
    "ops/format.js",
    "ops/frames.js",
    "ops/overview.js",
    "ops/page.css",
    "ops/page.js",
    "ops/providers.js",
    "ops/settings.js",
    "ops/theme.js",
    "ops/toast.js",
    "ops/users.js",
    "shared/account.js",
    "shared/browser.js",
    "shared/dom.js",
    "vendor/uplot-1.6.32.min.css",
    "vendor/uplot-1.6.32.min.js",
];

/// The JavaScript client, which the pages connect with.
const CLIENT_FILES: &[(&str, &str)] =
    &client_files!["account.mjs", "connection.mjs", "fallbacks.mjs", "switchboard-client.mjs", "turn.mjs",];

/// Redirects to another page of this server.
pub async fn redirect(to: &'static str) -> HttpResponse {
    HttpResponse::TemporaryRedirect().insert_header((LOCATION, to)).finish()
}

async fn chat_page(request: HttpRequest) -> HttpResponse {
    page(&request, include_str!("../../../templates/chat/page.html"))
}

async fn ops_page(request: HttpRequest) -> HttpResponse {
    page(&request, include_str!("../../../templates/ops/page.html"))
}

fn page(request: &HttpRequest, html: &'static str) -> HttpResponse {
    let mut response = static_file(request, "text/html; charset=utf-8", html.into());
    // Also with 304, whose headers replace those of the copy that the browser keeps.
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, POLICY);
    response
}

/// A script or a style.
async fn file(request: HttpRequest, path: web::Path<String>) -> Result<HttpResponse, HttpError> {
    let path = path.into_inner();
    let mut files = PAGE_FILES.iter().chain(CLIENT_FILES);
    let (name, text) = files.find(|(name, _)| *name == path).ok_or_else(no_such_route)?;
    let content_type =
        if name.ends_with(".css") { "text/css; charset=utf-8" } else { "text/javascript; charset=utf-8" };
    Ok(static_file(&request, content_type, (*text).into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::{Component, Path, PathBuf};

    /// A path without its `..`.
    fn normalized(path: &Path) -> PathBuf {
        let mut parts = PathBuf::new();
        for part in path.components() {
            match part {
                Component::ParentDir => assert!(parts.pop(), "{} leaves /static/", path.display()),
                Component::CurDir => {}
                part => parts.push(part),
            }
        }
        parts
    }

    #[test]
    fn everything_that_pages_load_is_served() {
        let files: Vec<_> = PAGE_FILES.iter().chain(CLIENT_FILES).collect();
        let is_served = |path: &Path| files.iter().any(|(name, _)| Path::new(name) == path);
        let mut imports = 0;
        for (name, text) in files.iter().filter(|(name, _)| !name.starts_with("pages/vendor/")) {
            for import in text.split(" from \"").skip(1).filter_map(|rest| rest.split('"').next()) {
                let path = normalized(&Path::new(name).parent().unwrap().join(import));
                assert!(is_served(&path), "{name} imports {import}");
                imports += 1;
            }
        }
        assert!(imports > 50, "{imports}");
        for html in [
            include_str!("../../../templates/chat/page.html"),
            include_str!("../../../templates/document/head.html"),
            include_str!("../../../templates/ops/page.html"),
        ] {
            assert_eq!(html.matches("<script").count(), html.matches(" src=\"/static/").count(), "a script is inline");
            assert!(!html.contains("<style") && !html.contains(" style="), "a style is inline");
            for path in html.split("/static/").skip(1).filter_map(|rest| rest.split('"').next()) {
                assert!(is_served(Path::new(path)), "{path}");
            }
        }
    }
}
