//! The subprotocols.

use crate::harness::TestApp;

#[actix_web::rt::test(system = "crate::harness::System")]
async fn first_known_subprotocol_is_selected() {
    let app = TestApp::scripted(3, 1).await;
    let user = app.user().await;
    for (offer, echo, is_classic) in [
        (None, None, true),
        (Some("chat.v1"), Some("chat.v1"), true),
        (Some("chat.v2"), Some("chat.v2"), false),
        (Some("chat.v2, chat.v1"), Some("chat.v2"), false),
        (Some("chat.v1, chat.v2"), Some("chat.v1"), true),
        (Some("soap, chat.v2, chat.v1"), Some("chat.v2"), false),
    ] {
        let builder = offer.into_iter().fold(app.socket(), |builder, offer| builder.subprotocols(offer));
        let mut socket = builder.signed_in(&user).await;
        assert_eq!(socket.subprotocol.as_deref(), echo, "{offer:?}");
        let turn = socket.ask("Hi").await;
        assert_eq!(turn.text, "w0000 w0001 w0002 ");
        for token in &turn.tokens {
            assert_eq!(token.get("partial_response").is_some(), is_classic, "{offer:?}: {token}");
        }
        socket.close().await;
    }
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn unknown_subprotocols_are_refused() {
    let app = TestApp::start().await;
    let user = app.user().await;
    for offer in ["soap", "chat.v3, mqtt", "CHAT.V1", &format!("bearer.{}", user.access_token)] {
        let (status, body) = app.socket().subprotocols(offer).try_connect().await.map(|_| ()).unwrap_err();
        assert_eq!((status, body["code"].as_str()), (400, Some("UNKNOWN_SUBPROTOCOL")), "{offer}: {body}");
        assert!(body["error"].is_string() && body["correlation_id"].is_string(), "{body}");
    }
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn request_without_an_upgrade_is_refused() {
    let app = TestApp::start().await;
    let (status, body) = app.get("/ws/chat", None).await;
    assert_eq!((status, &body["code"]), (426, &"UPGRADE_REQUIRED".into()), "{body}");
}
