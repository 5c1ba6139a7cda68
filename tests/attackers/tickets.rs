//! One ticket, many hands.

use crate::harness::TestApp;
use futures_util::future::join_all;
use serde_json::json;

#[actix_web::rt::test(system = "crate::harness::System")]
async fn concurrent_uses_of_one_ticket_admit_one_connection() {
    let app = TestApp::with(|config| config.server.workers = 4).await;
    let user = app.user().await;
    for _ in 0..10 {
        let (status, issued) = app.post("/api/v1/auth/ws-ticket", Some(&user), &json!({})).await;
        assert_eq!(status, 200);
        let query = format!("ticket={}", issued["ticket"].as_str().unwrap());
        let sockets = join_all((0..12).map(|_| app.socket().query(&query).connect())).await;
        let mut winners = 0;
        for mut socket in sockets {
            let frame = socket.next().await;
            match frame["type"].as_str() {
                Some("auth_success") => winners += 1,
                _ => assert_eq!((&frame["type"], &frame["code"]), (&json!("auth_error"), &json!("INVALID_TOKEN"))),
            }
            socket.close().await;
        }
        assert_eq!(winners, 1);
    }
}
