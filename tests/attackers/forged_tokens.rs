//! Tokens that somebody else made, on every way in.

use crate::harness::{JWT_SECRET, TestApp, TestUser, token};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

/// A token signed with our key under another header.
fn with_header(user: &TestUser, change: impl FnOnce(&mut Header)) -> String {
    let mut header = Header::new(Algorithm::HS256);
    change(&mut header);
    let now = token::unix_now();
    let claims = json!({
        "iss": "switchboard", "aud": "switchboard", "sub": user.id, "jti": NIL, "iat": now, "exp": now + 60,
        "type": "access", "email": user.email, "name": "Ada", "role": "operator",
    });
    jsonwebtoken::encode(&header, &claims, &EncodingKey::from_secret(JWT_SECRET.as_bytes())).unwrap()
}

const NIL: &str = "00000000-0000-0000-0000-000000000000";

/// The header of a sound token replaced by this JSON; the signature no longer fits.
fn under(header: &str, sound: &str) -> String {
    let (_, rest) = sound.split_once('.').unwrap();
    format!("{}.{rest}", base64url(header.as_bytes()))
}

fn base64url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().fold(0_u32, |group, byte| group << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for index in 0..=chunk.len() {
            text.push(char::from(ALPHABET[(group >> (18 - 6 * index) & 63) as usize]));
        }
    }
    text
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn token_of_another_signer_is_refused_on_every_route() {
    let app = TestApp::start().await;
    let user = app.user().await;
    let sound = token::access_token(&user, 60, |_| {});
    let change = |change: fn(&mut Value)| token::access_token(&user, 60, change);
    let (signed, signature) = sound.rsplit_once('.').unwrap();
    let forged = [
        ("no signature wanted", token::unsigned_token(&user)),
        ("`none` in capitals", under(r#"{"typ":"JWT","alg":"NONE"}"#, &sound)),
        ("`none` with a signature", under(r#"{"typ":"JWT","alg":"none"}"#, &sound)),
        ("an algorithm of key pairs", under(r#"{"typ":"JWT","alg":"RS256"}"#, &sound)),
        ("a key of its own", under(r#"{"typ":"JWT","alg":"HS256","jwk":{"kty":"oct","k":"AAAA"}}"#, &sound)),
        ("another algorithm", token::token_of_another_algorithm(&user)),
        ("another key", token::token_of_another_key(&user)),
        ("no signature", format!("{signed}.")),
        ("half a signature", format!("{signed}.{}", &signature[..20])),
        ("another's signature", format!("{signed}.{}", token::token_of_another_key(&user).rsplit('.').next().unwrap())),
        ("for others", change(|claims| claims["aud"] = json!("elsewhere"))),
        ("for nobody", change(|claims| drop(claims.as_object_mut().unwrap().remove("aud")))),
        ("by others", change(|claims| claims["iss"] = json!("elsewhere"))),
        ("of tomorrow", change(|claims| claims["iat"] = json!(token::unix_now() + 86_400))),
        ("without an end", change(|claims| drop(claims.as_object_mut().unwrap().remove("exp")))),
        ("an end that is text", change(|claims| claims["exp"] = json!("9999999999"))),
        ("to renew with", change(|claims| claims["type"] = json!("refresh"))),
        ("a real one to renew with", user.refresh_token.clone()),
        ("of nobody", change(|claims| drop(claims.as_object_mut().unwrap().remove("sub")))),
        ("of no id", change(|claims| claims["sub"] = json!("' OR 1=1 --"))),
        ("of no role", change(|claims| claims["role"] = json!("root"))),
    ];
    for (what, forged) in &forged {
        let thief = TestUser { access_token: forged.clone(), ..user.clone() };
        let (status, answer) = app.get("/api/v1/auth/me", Some(&thief)).await;
        assert_eq!((status, &answer["code"]), (401, &json!("INVALID_TOKEN")), "{what}");
        let refresh = json!({"refresh_token": forged});
        if *what != "a real one to renew with" {
            assert_eq!(app.post("/api/v1/auth/refresh", None, &refresh).await.0, 401, "{what}");
        }
        for way in 0..4 {
            let socket = app.socket();
            let mut socket = match way {
                0 => socket.query(&format!("token={forged}")).connect().await,
                1 => socket.header("authorization", &format!("Bearer {forged}")).connect().await,
                2 => socket.subprotocols(&format!("chat.v1, bearer.{forged}")).connect().await,
                _ => {
                    let mut socket = socket.connect().await;
                    socket.send(json!({"type": "auth", "token": forged})).await;
                    socket
                }
            };
            assert_eq!(socket.expect("auth_error").await["code"], "INVALID_TOKEN", "{what}, way {way}");
            socket.send(json!({"type": "message", "message": "Hi"})).await;
            socket.expect_error("AUTH_REQUIRED").await;
            socket.close().await;
        }
    }
    // What the header says of keys and places of keys is not looked at: our key alone decides.
    let header = with_header(&user, |header| {
        header.kid = Some("../../../../dev/null".to_owned());
        header.jku = Some("https://evil.example/keys".to_owned());
    });
    let named = TestUser { access_token: header, ..user.clone() };
    assert_eq!(app.get("/api/v1/auth/me", Some(&named)).await.0, 200);
}
