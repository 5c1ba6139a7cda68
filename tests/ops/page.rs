//! The page `/ops`, as the server sends it; `tests/browser` looks at it in a browser.

use crate::harness::TestApp;

#[actix_web::rt::test(system = "crate::harness::System")]
async fn operators_page_loads_nothing_from_other_origins() {
    let app = TestApp::start().await;
    let answer = app.http.get(format!("{}/ops", app.url)).send().await.unwrap();
    let policy = answer.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert_eq!(answer.headers()["content-type"], "text/html; charset=utf-8");
    assert!(policy.starts_with("default-src 'none'; script-src 'self'") && !policy.contains("unsafe"), "{policy}");
    let page = answer.text().await.unwrap();
    let links: Vec<_> =
        page.split([' ', '>']).filter_map(|part| part.strip_prefix("src=").or(part.strip_prefix("href="))).collect();
    assert!(links.len() >= 5, "{links:?}");
    for link in links.iter().map(|link| link.trim_matches('"')).filter(|link| !link.starts_with(['#', 'd'])) {
        assert!(link.starts_with("/static/"), "{link}");
        assert_eq!(app.http.get(format!("{}{link}", app.url)).send().await.unwrap().status(), 200, "{link}");
    }
}
