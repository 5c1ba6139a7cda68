//! The files in `config/prometheus` and `config/grafana`, with a real Prometheus that scrapes a real server.

use crate::harness::{Program, ReservedPort, TestApp, eventually, holds, installed};
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};
use tempfile::TempDir;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// One of the programs that `make tools` fetches.
fn program(name: &str) -> Command {
    let folder = std::env::var_os("PROMETHEUS_BIN").map(PathBuf::from);
    Command::new(installed(folder.unwrap_or_else(|| "target/tools/prometheus/usr/bin".into()).join(name)))
}

/// A folder with the shipped configuration, where `change` may have changed the scrape's.
fn configuration(change: impl FnOnce(String) -> String) -> TempDir {
    let folder = TempDir::new().unwrap();
    let shipped = root().join("config/prometheus");
    let scrape = fs::read_to_string(shipped.join("prometheus.yml")).unwrap();
    fs::write(folder.path().join("prometheus.yml"), change(scrape)).unwrap();
    fs::copy(shipped.join("alerts.yml"), folder.path().join("alerts.yml")).unwrap();
    folder
}

#[track_caller]
fn assert_passed(output: &Output) {
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}{}", said(&output.stdout), said(&output.stderr));
}

/// A running Prometheus. Dropping it kills it.
struct Prometheus {
    url: String,
    child: Child,
    _port: ReservedPort,
    _folder: TempDir,
}

impl Prometheus {
    /// Scrapes the server at `target` four times a second, with the shipped configuration otherwise.
    async fn scraping(target: &str) -> Self {
        let folder = configuration(|scrape| {
            let changed = scrape.replace("127.0.0.1:8000", target).replace("15s", "250ms");
            assert!(changed.contains(target) && changed.contains("scrape_interval: 250ms"), "{changed}");
            changed
        });
        // Prometheus does not accept port 0.
        let port = ReservedPort::new();
        let mut command = program("prometheus");
        command
            .current_dir(folder.path())
            .args(["--config.file=prometheus.yml", "--storage.tsdb.path=data", "--log.level=error"])
            .arg(format!("--web.listen-address=127.0.0.1:{port}"));
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let prometheus = Self { url: format!("http://127.0.0.1:{port}"), child, _port: port, _folder: folder };
        let ready = format!("{}/-/ready", prometheus.url);
        eventually(async || {
            let is_ready = reqwest::get(&ready).await.is_ok_and(|answer| answer.status() == 200);
            holds(is_ready, "Prometheus does not start")
        })
        .await;
        prometheus
    }

    async fn ask(&self, path: &str, query: &[(&str, &str)]) -> Value {
        let mut url = reqwest::Url::parse(&format!("{}{path}", self.url)).unwrap();
        url.query_pairs_mut().extend_pairs(query);
        let answer: Value = reqwest::get(url).await.unwrap().json().await.unwrap();
        assert_eq!(answer["status"], "success", "{query:?}: {answer}");
        answer["data"].clone()
    }

    /// The series that an expression has now, each with its value.
    async fn series(&self, expression: &str) -> Vec<(Value, f64)> {
        let data = self.ask("/api/v1/query", &[("query", expression)]).await;
        let value = |series: &Value| series["value"][1].as_str().unwrap().parse().unwrap();
        data["result"].as_array().unwrap().iter().map(|series| (series["metric"].clone(), value(series))).collect()
    }

    /// Waits until an expression has a value above this one.
    async fn above(&self, expression: &str, least: f64) {
        eventually(async || {
            let series = self.series(expression).await;
            holds(series.iter().any(|(_, value)| *value > least), (expression, series))
        })
        .await;
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Turns of which one fails, on two sockets.
async fn some_work(program: &Program) {
    let user = program.user().await;
    let mut socket = program.socket().subprotocols("chat.v2").signed_in(&user).await;
    for script in [json!({"tokens": 30, "interval_ms": 2}), json!({"tokens": 5, "fail_after": 2})] {
        socket.turn(json!({"type": "message", "message": "Hi", "metadata": {"script": script}})).await;
    }
    let mut other = program.socket().connect().await;
    other.send(json!({"type": "auth", "token": "wrong"})).await;
    other.expect("auth_error").await;
    other.close_with(1000).await;
    socket.close().await;
}

/// Each panel of the dashboard with its expressions, as Grafana would send them.
fn panels() -> Vec<(String, Vec<String>)> {
    let text = fs::read_to_string(root().join("config/grafana/switchboard.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter().filter(|panel| panel["type"] != "row");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let expressions = |panel: &Value| {
        let targets = panel["targets"].as_array().unwrap().iter();
        targets
            .map(|target| {
                text(&target["expr"])
                    .replace("$__rate_interval", "30s")
                    .replace("$instance", ".*")
                    .replace("$job", ".*")
            })
            .collect()
    };
    panels.map(|panel| (text(&panel["title"]), expressions(panel))).collect()
}

#[test]
fn promtool_accepts_the_shipped_configuration() {
    let folder = configuration(|scrape| scrape);
    let check = |arguments: &[&str]| program("promtool").current_dir(folder.path()).args(arguments).output().unwrap();
    assert_passed(&check(&["check", "config", "prometheus.yml"]));
    fs::copy(root().join("tests/metrics/alerts_test.yml"), folder.path().join("alerts_test.yml")).unwrap();
    assert_passed(&check(&["test", "rules", "alerts_test.yml"]));
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn promtool_accepts_the_metrics_page() {
    let app = TestApp::start().await;
    let request = app.http.get(format!("{}/metrics", app.url)).header("accept", "text/plain");
    let folder = TempDir::new().unwrap();
    let page = folder.path().join("page");
    fs::write(&page, request.send().await.unwrap().text().await.unwrap()).unwrap();
    let checked = program("promtool").args(["check", "metrics"]).stdin(fs::File::open(page).unwrap()).output().unwrap();
    assert_passed(&checked);
}

#[test]
fn the_dashboard_is_what_grafana_imports() {
    let text = fs::read_to_string(root().join("config/grafana/switchboard.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    assert!(dashboard["id"].is_null() && dashboard["schemaVersion"].as_u64().unwrap() >= 36, "{dashboard}");
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    assert_eq!((&variables[0]["name"], &variables[0]["type"]), (&json!("datasource"), &json!("datasource")));
    let mut ids = std::collections::HashSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "an id is there twice: {panel}");
        let place = &panel["gridPos"];
        assert!(place["x"].as_u64().unwrap() + place["w"].as_u64().unwrap() <= 24, "{panel}");
        for target in panel["targets"].as_array().into_iter().flatten() {
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{target}");
        }
    }
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn every_panel_and_every_alert_reads_a_running_server() {
    let program = Program::start(&[]);
    let prometheus = Prometheus::scraping(program.url.trim_start_matches("http://")).await;
    // Rates need a scrape from before, and one from after.
    prometheus.above("count(up{job=\"switchboard\"} == 1)", 0.0).await;
    some_work(&program).await;
    prometheus.above("switchboard_turn_seconds_count", 1.0).await;
    prometheus.above("sum(switchboard_connections_closed_total)", 1.0).await;
    prometheus.above("sum(rate(switchboard_tokens_total[30s]))", 0.0).await;

    let panels = panels();
    assert!(panels.len() > 25, "{panels:?}");
    // Nothing of these happened; a quantile or a ratio of nothing is no number, but it is there.
    let quiet = ["Refusals by limit"];
    for (title, expressions) in &panels {
        for expression in expressions {
            let series = prometheus.series(expression).await;
            assert!(!series.is_empty() || quiet.contains(&title.as_str()), "{title}: nothing for {expression}");
        }
    }
    let of = |title: &str| panels.iter().find(|(have, _)| have == title).unwrap().1[0].clone();
    for (title, least) in
        [("Tokens per second", 0.0), ("First token, p99", 0.0), ("Failed turns", 0.4), ("Memory", 1e6)]
    {
        let series = prometheus.series(&of(title)).await;
        assert!(series.len() == 1 && series[0].1 > least, "{title}: {series:?}");
    }

    let groups = prometheus.ask("/api/v1/rules", &[]).await;
    let rules = groups["groups"][0]["rules"].as_array().unwrap().clone();
    let shipped = fs::read_to_string(root().join("config/prometheus/alerts.yml")).unwrap();
    assert_eq!(rules.len(), shipped.matches("- alert: ").count());
    prometheus.above("ALERTS{alertname=\"SwitchboardTurnsFail\"}", 0.0).await;
    let groups = prometheus.ask("/api/v1/rules", &[]).await;
    for rule in groups["groups"][0]["rules"].as_array().unwrap() {
        assert_eq!((&rule["health"], rule["lastError"].as_str()), (&json!("ok"), None), "{rule}");
        prometheus.series(rule["query"].as_str().unwrap()).await;
    }
    // Each name that an expression uses is exported: a typing error would be an alert that never comes.
    let names = prometheus.ask("/api/v1/label/__name__/values", &[]).await;
    let names: Vec<_> = names.as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    let expressions = panels.iter().flat_map(|(_, expressions)| expressions.clone());
    let expressions = expressions.chain(rules.iter().map(|rule| rule["query"].as_str().unwrap().to_owned()));
    for expression in expressions {
        let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        for name in words.filter(|word| word.starts_with("switchboard_") || word.starts_with("process_")) {
            assert!(names.contains(&name), "{name} in {expression} is not exported");
        }
    }
}
