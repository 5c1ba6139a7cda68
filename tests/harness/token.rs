//! Tokens as this server issues them, and as an attacker would forge them.

use super::{JWT_SECRET, TestUser};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

/// Unix time in seconds.
pub fn unix_now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().cast_signed()
}

/// A sound access token of a user that ends in `seconds`, with `change` applied to its claims.
pub fn access_token(user: &TestUser, seconds: i64, change: impl FnOnce(&mut Value)) -> String {
    let claims = claims(user, seconds, change);
    sign(&claims, Algorithm::HS256, JWT_SECRET)
}

/// An access token that another key signed.
pub fn token_of_another_key(user: &TestUser) -> String {
    sign(&claims(user, 60, |_| {}), Algorithm::HS256, "some other secret, 32 bytes or more")
}

/// An access token signed with our key by another algorithm.
pub fn token_of_another_algorithm(user: &TestUser) -> String {
    sign(&claims(user, 60, |_| {}), Algorithm::HS512, JWT_SECRET)
}

/// An access token that says it needs no signature.
pub fn unsigned_token(user: &TestUser) -> String {
    let sound = access_token(user, 60, |_| {});
    let claims = sound.split('.').nth(1).unwrap();
    // {"typ":"JWT","alg":"none"}
    format!("eyJ0eXAiOiJKV1QiLCJhbGciOiJub25lIn0.{claims}.")
}

/// A refresh token with these `sub`, `family` and `jti`, as a server with this secret issues it; good for an hour.
pub fn refresh_token(identity: &Value, secret: &str) -> String {
    let now = unix_now();
    let mut claims =
        json!({"iss": "switchboard", "aud": "switchboard", "iat": now, "exp": now + 3600, "type": "refresh"});
    for name in ["sub", "family", "jti"] {
        claims[name] = identity[name].clone();
    }
    sign(&claims, Algorithm::HS256, secret)
}

fn claims(user: &TestUser, seconds: i64, change: impl FnOnce(&mut Value)) -> Value {
    let now = unix_now();
    let mut claims = json!({
        "iss": "switchboard", "aud": "switchboard", "sub": user.id, "jti": uuid::Uuid::new_v4(),
        "iat": now, "exp": now + seconds, "type": "access",
        "email": user.email, "name": "Ada", "role": "user",
    });
    change(&mut claims);
    claims
}

fn sign(claims: &Value, algorithm: Algorithm, secret: &str) -> String {
    let key = EncodingKey::from_secret(secret.as_bytes());
    jsonwebtoken::encode(&Header::new(algorithm), claims, &key).unwrap()
}
