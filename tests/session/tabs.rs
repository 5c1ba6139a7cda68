//! Several sockets of one user, and those of others.

use crate::harness::TestApp;
use serde_json::json;

#[actix_web::test]
async fn all_sockets_of_a_user_that_follow_a_conversation_get_every_frame() {
    let app = TestApp::scripted(20, 5).await;
    let (user, stranger) = (app.user().await, app.user().await);
    let mut one = app.socket().signed_in(&user).await;
    let mut two = app.socket().subprotocols("chat.v2").signed_in(&user).await;
    let elsewhere = app.socket().signed_in(&user).await;
    let mut other = app.socket().signed_in(&stranger).await;
    let first = one.ask("One").await;
    // The second tab opens the conversation; the stranger tries to.
    let open = json!({"type": "resume", "session_id": first.session_id, "last_seq": 19});
    two.send(open.clone()).await;
    two.expect("resumed").await;
    two.expect("complete").await;
    other.send(open).await;
    other.expect_error("FORBIDDEN").await;

    for (asking, following) in [(true, "Two"), (false, "Three")] {
        let message = json!({"type": "message", "message": following, "session_id": first.session_id});
        if asking {
            one.send(message).await
        } else {
            two.send(message).await
        }
        let (seen_by_one, seen_by_two) = (one.rest_of_turn(Vec::new()).await, two.rest_of_turn(Vec::new()).await);
        assert_eq!(seen_by_one.terminal, seen_by_two.terminal);
        assert_eq!((seen_by_one.steps.len(), &seen_by_one.steps), (4, &seen_by_two.steps));
        assert_eq!(seen_by_one.text, seen_by_two.text);
    }
    for mut socket in [one, two, elsewhere, other] {
        socket.expect_nothing().await;
        socket.close().await;
    }
    app.finish().await;
}

#[actix_web::test]
async fn a_stranger_does_not_hold_up_a_conversation() {
    let app = TestApp::scripted(30, 10).await;
    let (user, stranger) = (app.user().await, app.user().await);
    let mut socket = app.socket().signed_in(&user).await;
    let mut other = app.socket().signed_in(&stranger).await;
    let first = socket.start(json!({"type": "message", "message": "Hi"})).await;
    // Not even that it is busy is a stranger's to know.
    other.send(json!({"type": "message", "message": "Hi", "session_id": first["session_id"]})).await;
    other.expect_error("FORBIDDEN").await;
    socket.rest_of_turn(vec![first]).await;
    socket.close().await;
    other.close().await;
    app.finish().await;
}
