//! Rated answers as evaluation cases: from the export to the report.

use super::{eval, switchboard};
use crate::harness::TestApp;
use reqwest::Method;
use serde_json::{Value, json};
use std::fs;
use switchboard::config::ProviderKind;
use tempfile::TempDir;

#[actix_web::rt::test(system = "crate::harness::System")]
async fn exported_feedback_is_evaluated() {
    let app = TestApp::with(|config| {
        config.knowledge.seed = true;
        config.provider.kind = ProviderKind::Extractive;
    })
    .await;
    let user = app.user().await;
    for (question, rating) in [("Which oil does the diesel take?", "up"), ("Welches Öl braucht der Diesel?", "down")] {
        let (status, answer) = app.post("/api/v1/chat", Some(&user), &json!({"message": question})).await;
        assert_eq!(status, 200, "{answer}");
        let path = format!("{}/api/v1/messages/{}/feedback", app.url, answer["message_id"].as_str().unwrap());
        let request = app.http.request(Method::PUT, path).bearer_auth(&user.access_token);
        assert_eq!(request.json(&json!({"rating": rating})).send().await.unwrap().status(), 200);
    }

    let folder = TempDir::new().unwrap();
    let mut export = switchboard(folder.path());
    let export = export.args(["feedback", "--database-url", app.database_url()]).output().unwrap();
    assert!(export.status.success(), "{}", String::from_utf8_lossy(&export.stderr));
    let cases = String::from_utf8(export.stdout).unwrap();
    let [up, down] =
        <[Value; 2]>::try_from(cases.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>())
            .unwrap();
    assert_eq!((&up["lang"], &down["lang"]), (&json!("en"), &json!("de")));
    assert!(up["relevant"][0]["heading"].is_string() && down.get("relevant").is_none(), "{cases}");

    fs::write(folder.path().join("rated.jsonl"), &cases).unwrap();
    let report = eval(folder.path()).args(["rated.jsonl", "--json", "report.json"]).output().unwrap();
    assert!(report.status.success(), "{}", String::from_utf8_lossy(&report.stderr));
    let report: Value = serde_json::from_slice(&fs::read(folder.path().join("report.json")).unwrap()).unwrap();
    let rows: Vec<_> = report["rows"].as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap()).collect();
    assert_eq!(rows, ["all", "feedback", "de", "en", "down", "up"]);
    let values = &report["rows"][0]["values"];
    assert_eq!((&values["hit_at_4"]["n"], &values["routing"]["n"]), (&json!(1), &json!(1)), "{values}");

    // The documents or the specialists have changed since the answer.
    for (old, new, wanted) in [
        (&up["relevant"][0]["heading"], "Gone", "changed.jsonl:1: `relevant[0]`: `heading`:"),
        (&up["specialist"], "sales", "changed.jsonl:1: `specialist`: \"sales\" does not exist"),
    ] {
        fs::write(folder.path().join("changed.jsonl"), cases.replace(&old.to_string(), &json!(new).to_string()))
            .unwrap();
        let refused = eval(folder.path()).arg("changed.jsonl").output().unwrap();
        let errors = String::from_utf8(refused.stderr).unwrap();
        assert!(refused.status.code() == Some(2) && errors.contains(wanted), "{errors}");
    }
}
