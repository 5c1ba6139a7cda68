//! Titles of conversations: the start of the question, a model's after the turn, the user's.

use super::{
    openai::says,
    task_model::{self, requests, title},
    upstream::{Step, Upstream, answers},
};
use crate::harness::{TestApp, TestUser};
use serde_json::{Value, json};

const QUESTION: &str = "How often do I have to change the oil of the diesel engine when I tow a caravan?";
const START: &str = "How often do I have to change the oil of the diesel engine…";

/// A server with a task model, which answers requests for titles like this.
async fn app(title: impl Fn() -> Vec<Step> + Send + Sync + 'static) -> (TestApp, Upstream) {
    task_model::app(move |_| title(), |_| {}).await
}

async fn ask(app: &TestApp, user: &TestUser, conversation_id: Option<&Value>) -> Value {
    task_model::ask(app, user, QUESTION, conversation_id).await
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn the_task_model_writes_a_title_once() {
    let (app, upstream) = app(|| says("# \"Oil change of the **diesel**\"\n")).await;
    let user = app.user().await;
    let conversation = ask(&app, &user, None).await;
    app.get_when("/api/v1/conversations", &user, |list| title(list) == "Oil change of the diesel").await;
    ask(&app, &user, Some(&conversation)).await;
    assert_eq!(requests(&upstream).len(), 1, "only after the first turn");
    let messages = requests(&upstream)[0]["messages"].as_array().unwrap().clone();
    assert!(!messages[0]["content"].as_str().unwrap().contains("diesel"), "the instructions contain the question");
    assert!(messages[1]["content"].as_str().unwrap().contains("Every 15,000 km."));
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn a_task_model_that_fails_or_stalls_changes_nothing() {
    for script in [|| answers("500 Internal Server Error", "", "down"), || vec![Step::Stall], || says("**\n")] {
        let (app, upstream) = app(script).await;
        let user = app.user().await;
        // The answer does not wait for the title.
        let conversation = ask(&app, &user, None).await;
        crate::harness::eventually(async || crate::harness::holds(!requests(&upstream).is_empty(), "no request")).await;
        ask(&app, &user, Some(&conversation)).await;
        assert_eq!(title(&app.get("/api/v1/conversations", Some(&user)).await.1), START);
        assert_eq!(requests(&upstream).len(), 1, "a second attempt");
    }
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn the_title_of_a_user_is_never_replaced() {
    let (app, _upstream) =
        app(|| [vec![Step::Wait(std::time::Duration::from_millis(300))], says("Oil")].concat()).await;
    let user = app.user().await;
    let id = ask(&app, &user, None).await;
    let path = format!("/api/v1/conversations/{}", id.as_str().unwrap());
    let (status, renamed) = app.patch(&path, Some(&user), &json!({"title": " My\n oil "})).await;
    assert_eq!((status, &renamed["title"], &renamed["conversation_id"]), (200, &json!("My oil"), &id));
    // A later conversation has its title by the time that the first one's would have arrived.
    let second = ask(&app, &user, None).await;
    let has_title = |list: &Value| title(list) == "Oil" && list["conversations"][0]["conversation_id"] == second;
    let list = app.get_when("/api/v1/conversations", &user, has_title).await;
    assert_eq!(list["conversations"][1]["title"], "My oil");
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn only_the_owner_renames_a_conversation() {
    let app = TestApp::scripted(2, 0).await;
    let (user, stranger) = (app.user().await, app.user().await);
    let asked = app.post("/api/v1/chat", Some(&user), &json!({"message": QUESTION})).await.1;
    let list = app.get("/api/v1/conversations", Some(&user)).await.1;
    assert_eq!(title(&list), START);
    let path = format!("/api/v1/conversations/{}", asked["conversation_id"].as_str().unwrap());
    for body in [json!({"title": " "}), json!({"title": "x".repeat(101)}), json!({}), json!({"title": 1})] {
        let (status, error) = app.patch(&path, Some(&user), &body).await;
        assert_eq!((status, &error["code"]), (422, &json!("INVALID_FIELD")), "{body}");
        assert!(error["error"].as_str().unwrap().contains("`title`"), "{error}");
    }
    let named = json!({"title": "Mine"});
    assert_eq!(app.patch(&path, Some(&stranger), &named).await.1["code"], "FORBIDDEN");
    let missing = "/api/v1/conversations/01890a5d-ac96-774b-bcce-b302099a8057";
    assert_eq!(app.patch(missing, Some(&user), &named).await.1["code"], "NOT_FOUND");
    assert_eq!(app.patch(&path, Some(&user), &named).await.1["title"], "Mine");
    assert_eq!(title(&app.get("/api/v1/conversations", Some(&user)).await.1), "Mine");
}
