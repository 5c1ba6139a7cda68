//! Feedback on answers.

use super::{get, send};
use crate::harness::{TestApp, TestUser};
use reqwest::Method;
use serde_json::{Value, json};

async fn put(app: &TestApp, user: &TestUser, message: &Value, body: &Value) -> (u16, Value) {
    let path = format!("/api/v1/messages/{}/feedback", message.as_str().unwrap());
    let answer = send(app, Method::PUT, &path, Some(user), Some(body)).await;
    (answer.status, answer.body)
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn feedback_is_given_changed_shown_and_withdrawn() {
    let app = TestApp::start().await;
    let user = app.user().await;
    let asked = app.post("/api/v1/chat", Some(&user), &json!({"message": "How many horsepower?"})).await.1;
    let message = &asked["message_id"];
    let shown = async || {
        let conversation = asked["conversation_id"].as_str().unwrap();
        let [question, answer] = <[Value; 2]>::try_from(app.history(&user, conversation).await).unwrap();
        assert_eq!(question.get("feedback"), None);
        answer.get("feedback").cloned()
    };
    assert_eq!(shown().await, None);
    let down = json!({"rating": "down", "reasons": ["incorrect"], "comment": " It has more. "});
    let stored = json!({"rating": "down", "reasons": ["incorrect"], "comment": "It has more."});
    assert_eq!(put(&app, &user, message, &down).await, (200, stored.clone()));
    assert_eq!(shown().await, Some(stored));
    let up = json!({"rating": "up", "reasons": []});
    for _ in 0..2 {
        assert_eq!(put(&app, &user, message, &json!({"rating": "up", "comment": null})).await, (200, up.clone()));
    }
    assert_eq!(shown().await, Some(up));
    let path = format!("/api/v1/messages/{}/feedback", message.as_str().unwrap());
    for _ in 0..2 {
        assert_eq!(app.delete(&path, Some(&user)).await.0, 204);
    }
    assert_eq!(shown().await, None);

    // One of each rating, and both are withdrawn: a repeated one does not count.
    let (specialist, model) = (asked["metadata"]["specialist"].as_str().unwrap(), &asked["metadata"]["model"]);
    let page = get(&app, "/metrics", None).await.body;
    for rating in ["up", "down"] {
        let model = model.as_str().unwrap();
        for name in ["switchboard_answers_rated_total", "switchboard_ratings_withdrawn_total"] {
            let line = format!("{name}{{specialist=\"{specialist}\",model=\"{model}\",rating=\"{rating}\"}} 1\n");
            assert!(page.as_str().unwrap().contains(&line), "{line}");
        }
    }
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn invalid_feedback_and_answers_of_others_are_refused() {
    let app = TestApp::start().await;
    let (user, stranger) = (app.user().await, app.user().await);
    let asked = app.post("/api/v1/chat", Some(&user), &json!({"message": "How many horsepower?"})).await.1;
    let message = &asked["message_id"];
    let up = json!({"rating": "up"});
    assert_eq!(put(&app, &stranger, message, &up).await.1["code"], "FORBIDDEN");
    for missing in [json!("01890a5d-ac96-774b-bcce-b302099a8057"), asked["turn_id"].clone()] {
        assert_eq!(put(&app, &user, &missing, &up).await.1["code"], "NOT_FOUND");
    }
    for (body, field) in [
        (json!({}), "`rating`"),
        (json!({"rating": "great"}), "`rating`"),
        (json!({"rating": "up", "reasons": "good"}), "`reasons`"),
        (json!({"rating": "up", "reasons": ["good", " "]}), "`reasons[1]`"),
        (json!({"rating": "up", "comment": "x".repeat(1_001)}), "`comment`"),
    ] {
        let (status, error) = put(&app, &user, message, &body).await;
        assert_eq!((status, &error["code"]), (422, &json!("INVALID_FIELD")), "{body}");
        assert!(error["error"].as_str().unwrap().contains(field), "{error}");
    }
    let path = format!("/api/v1/messages/{}/feedback", message.as_str().unwrap());
    assert_eq!(get(&app, &path, Some(&user)).await.status, 405);
    assert_eq!(app.delete(&path, None).await.1["code"], "AUTH_REQUIRED");
    assert_eq!(app.delete(&path, Some(&stranger)).await.1["code"], "FORBIDDEN");
}
