//! Access to the metrics, their formats, and their documentation.

use crate::{harness::TestApp, metrics::page::Page};
use reqwest::Response;
use serde_json::Value;

async fn scrape(app: &TestApp, bearer: Option<&str>, accept: &str) -> Response {
    let mut request = app.http.get(format!("{}/metrics", app.url)).header("accept", accept);
    if let Some(token) = bearer {
        request = request.bearer_auth(token);
    }
    request.send().await.unwrap()
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn local_host_reads_metrics_in_the_requested_format() {
    let app = TestApp::start().await;
    let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1";
    for (accept, content_type) in [
        (prometheus, "application/openmetrics-text; version=1.0.0; charset=utf-8"),
        ("*/*", "application/openmetrics-text; version=1.0.0; charset=utf-8"),
        ("text/plain", "text/plain; version=0.0.4; charset=utf-8"),
    ] {
        let response = scrape(&app, None, accept).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], content_type, "{accept}");
        assert_eq!(response.headers()["cache-control"], "no-store");
        let page = response.text().await.unwrap();
        assert_eq!(page.ends_with("# EOF\n"), accept != "text/plain", "{page}");
    }
    let (status, answer) = app.post("/metrics", None, &Value::Null).await;
    assert_eq!((status, &answer["code"]), (405, &"METHOD_NOT_ALLOWED".into()));
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn other_hosts_need_the_token_or_the_operator_role() {
    const TOKEN: &str = "for-the-scraper-alone";
    let app = TestApp::with(|config| {
        config.metrics.allowed_addresses = vec!["192.0.2.0/24".to_owned()];
        config.metrics.token = Some(TOKEN.into());
    })
    .await;
    let (user, operator) = (app.user().await, app.operator().await);
    for (who, bearer, status) in [
        ("nobody", None, 403),
        ("a user", Some(user.access_token.as_str()), 403),
        ("a guess", Some("for-the-scraper-alonE"), 403),
        ("nothing", Some(""), 403),
        ("the scraper", Some(TOKEN), 200),
        ("an operator", Some(operator.access_token.as_str()), 200),
    ] {
        let response = scrape(&app, bearer, "*/*").await;
        assert_eq!(response.status(), status, "{who}");
        let text = response.text().await.unwrap();
        assert!(!text.contains(TOKEN));
        if status == 403 {
            let answer: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(answer["code"], "FORBIDDEN");
        }
    }
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn forwarded_request_counts_as_the_client_of_a_trusted_proxy() {
    for (is_trusted, client, status) in [
        (true, "203.0.113.9", 200),
        (true, "198.51.100.1", 403),
        (false, "203.0.113.9", 403),
        (false, "127.0.0.1", 403),
    ] {
        let app = TestApp::with(|config| {
            config.metrics.allowed_addresses = vec!["127.0.0.1".to_owned(), "203.0.113.0/24".to_owned()];
            config.server.trusted_proxies = is_trusted.then(|| "127.0.0.1".to_owned()).into_iter().collect();
        })
        .await;
        let request = app.http.get(format!("{}/metrics", app.url)).header("x-forwarded-for", client);
        assert_eq!(request.send().await.unwrap().status(), status, "{is_trusted} {client}");
    }
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn the_documentation_lists_what_is_there() {
    let app = TestApp::start().await;
    let page: Page = app.metrics().await;
    let docs = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/OPERATIONS.md")).unwrap();
    let section = docs.split("\n## ").find(|section| section.starts_with("Metrics\n")).expect("a section on metrics");
    let rows: Vec<_> = section.lines().filter(|line| line.starts_with("| `")).collect();
    let wanted = page.families.iter().map(|(name, family)| {
        let name = match family.kind.as_str() {
            "counter" => format!("{name}_total"),
            "info" => format!("{name}_info"),
            _ => name.clone(),
        };
        let labels: Vec<_> = family.labels.iter().map(|label| format!("`{label}`")).collect();
        format!("| `{name}` | {} | {} | {} |", family.kind, labels.join(", "), family.help)
    });
    let wanted: Vec<_> = wanted.collect();
    let missing: Vec<_> = wanted.iter().filter(|row| !rows.contains(&row.as_str())).cloned().collect();
    assert!(missing.is_empty(), "docs/OPERATIONS.md lacks these rows:\n{}", missing.join("\n"));
    let unknown: Vec<_> = rows.iter().filter(|row| !wanted.iter().any(|known| known == *row)).collect();
    assert!(unknown.is_empty(), "docs/OPERATIONS.md has rows of metrics that are not there: {unknown:#?}");
}
