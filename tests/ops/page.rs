//! The page `/ops`, as the server gives it out; `tests/browser` looks at it in a browser.

use crate::harness::TestApp;

#[actix_web::rt::test(system = "crate::harness::System")]
async fn the_page_needs_nothing_from_elsewhere() {
    let app = TestApp::start().await;
    let answer = app.http.get(format!("{}/ops", app.url)).send().await.unwrap();
    let policy = answer.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert_eq!(answer.headers()["content-type"], "text/html; charset=utf-8");
    assert_eq!(answer.headers()["cache-control"], "no-store");
    let page = answer.text().await.unwrap();
    let nonce = policy.split("script-src 'nonce-").nth(1).and_then(|rest| rest.split('\'').next()).unwrap();
    assert_eq!(nonce.len(), 32);
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    let tags = |name: &str| page.split(&format!("<{name} ")).count() - 1;
    let marked = page.matches(&format!("nonce=\"{nonce}\"")).count();
    assert_eq!(tags("script") + tags("style"), marked, "each script and style carries the nonce");
    assert_eq!(page.matches("</script>").count(), tags("script"), "no script ends early");
    assert!(!page.contains(" src=") && !page.contains("<link rel=\"stylesheet\""), "all is inside");
}
