//! Sound tokens, and every way to pass off something else for one.

use super::*;
use crate::auth::test_support::{SECRET, tokens, user};
use serde_json::{Value, json};

const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

fn ada() -> User {
    user("ada@example.org", Role::Operator)
}

fn grant() -> RefreshGrant {
    RefreshGrant { user_id: UserId::new(), family_id: Uuid::new_v4(), jti: Uuid::new_v4() }
}

/// The claims of a sound access token; the tests spoil them.
fn claims() -> Value {
    json!({
        "iss": "switchboard", "aud": "switchboard", "sub": UserId::new(), "jti": Uuid::new_v4(),
        "iat": NOW.seconds(), "exp": NOW.seconds() + 900, "type": "access",
        "email": "ada@example.org", "name": "Ada", "role": "user",
    })
}

fn with(change: Value) -> Value {
    let mut claims = claims();
    for (name, value) in change.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims
}

fn sign(algorithm: Algorithm, claims: &Value, key: &str) -> String {
    jsonwebtoken::encode(&Header::new(algorithm), claims, &EncodingKey::from_secret(key.as_bytes())).unwrap()
}

/// A token whose header says what it likes over a signature that is right for it.
fn sign_with_header(header: &Value, claims: &Value) -> String {
    let message = format!("{}.{}", segment(header), segment(claims));
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256).unwrap();
    format!("{message}.{signature}")
}

/// As it stands in a token: the middle of one that has it for its claims.
fn segment(json: &Value) -> String {
    sign(Algorithm::HS256, json, SECRET).split('.').nth(1).unwrap().to_owned()
}

fn verify(token: &str) -> Result<Identity, ErrorCode> {
    tokens().verify_access_at(token, NOW).map_err(|error| error.code)
}

fn verify_claims(claims: &Value) -> Result<Identity, ErrorCode> {
    verify(&sign(Algorithm::HS256, claims, SECRET))
}

#[test]
fn an_access_token_carries_the_user() {
    let ada = ada();
    let family_id = Uuid::new_v4();
    let issued = tokens().issue_access(&ada, family_id, NOW).unwrap();
    assert_eq!(issued.expires_at, NOW.seconds() + 900);
    let identity = verify(&issued.token).unwrap();
    let expected = Identity {
        user_id: ada.id,
        email: ada.email,
        name: ada.name,
        role: ada.role,
        family_id: Some(family_id),
        issued_at_ms: NOW.0,
        expires_at: issued.expires_at,
    };
    assert_eq!(identity, expected);
}

#[test]
fn the_claims_of_both_kinds_are_those_of_the_docs() {
    let access = tokens().issue_access(&ada(), Uuid::new_v4(), NOW).unwrap().token;
    let refresh = tokens().issue_refresh(grant(), NOW).unwrap().token;
    for (token, kind) in [(access, "access"), (refresh, "refresh")] {
        let claims: Value = jsonwebtoken::dangerous::insecure_decode(&token).unwrap().claims;
        assert_eq!(claims["type"], kind);
        for name in ["iss", "aud", "sub", "jti", "iat", "exp"] {
            assert!(!claims[name].is_null(), "{kind} has no {name}");
        }
    }
}

#[test]
fn a_bearer_scheme_in_front_is_tolerated() {
    let token = tokens().issue_access(&ada(), Uuid::new_v4(), NOW).unwrap().token;
    for text in [format!("Bearer {token}"), format!("bEARER   {token} "), format!(" {token}\n")] {
        assert!(verify(&text).is_ok(), "{text:?}");
    }
    assert_eq!(verify(&format!("Basic {token}")), Err(ErrorCode::InvalidToken));
}

#[test]
fn the_claims_that_the_other_tests_spoil_are_sound() {
    assert!(verify_claims(&claims()).is_ok());
    assert!(verify(&sign_with_header(&json!({"alg": "HS256"}), &claims())).is_ok());
}

#[test]
fn a_token_is_over_in_the_second_of_its_exp() {
    assert!(verify_claims(&with(json!({"exp": NOW.seconds() + 1}))).is_ok());
    assert_eq!(verify_claims(&with(json!({"exp": NOW.seconds()}))), Err(ErrorCode::ExpiredToken));
    let refresh = tokens().issue_refresh(grant(), NOW).unwrap();
    let error = tokens().verify_refresh(&refresh.token, UnixMillis(refresh.expires_at * 1_000)).unwrap_err();
    assert_eq!(error.code, ErrorCode::ExpiredToken);
}

#[test]
fn only_our_own_expired_tokens_are_called_expired() {
    for spoiled in [json!({"exp": 1, "iss": "else"}), json!({"exp": 1, "type": "refresh"})] {
        assert_eq!(verify_claims(&with(spoiled)), Err(ErrorCode::InvalidToken));
    }
    assert_eq!(
        verify(&sign(Algorithm::HS256, &with(json!({"exp": 1})), "another key, of 32 bytes or more")),
        Err(ErrorCode::InvalidToken)
    );
}

#[test]
fn other_algorithms_are_refused_even_with_a_good_signature() {
    for algorithm in ["none", "None", "RS256", "ES256", "HS384", "HS512", "hs256", ""] {
        let token = sign_with_header(&json!({"alg": algorithm, "typ": "JWT"}), &claims());
        assert_eq!(verify(&token), Err(ErrorCode::InvalidToken), "{algorithm:?}");
    }
    for algorithm in [Algorithm::HS384, Algorithm::HS512] {
        assert_eq!(verify(&sign(algorithm, &claims(), SECRET)), Err(ErrorCode::InvalidToken), "{algorithm:?}");
    }
}

#[test]
fn other_keys_and_changed_tokens_are_refused() {
    assert_eq!(
        verify(&sign(Algorithm::HS256, &claims(), "another key, of 32 bytes or more")),
        Err(ErrorCode::InvalidToken)
    );
    let token = sign(Algorithm::HS256, &claims(), SECRET);
    let (header, rest) = token.split_once('.').unwrap();
    let (body, signature) = rest.split_once('.').unwrap();
    let promoted = segment(&with(json!({"role": "operator"})));
    for changed in [
        format!("{header}.{promoted}.{signature}"),
        format!("{header}.{body}."),
        format!("{header}.{body}"),
        format!("{token}.{signature}"),
        format!("{}.{body}.", segment(&json!({"alg": "none"}))),
        String::new(),
        "..".to_owned(),
        "é".repeat(20),
        "x".repeat(10 * MAX_TOKEN_BYTES),
    ] {
        assert_eq!(verify(&changed), Err(ErrorCode::InvalidToken), "{changed:?}");
    }
}

#[test]
fn every_claim_is_needed_and_must_be_sound() {
    for name in claims().as_object().unwrap().keys() {
        let mut without = claims();
        without.as_object_mut().unwrap().remove(name);
        assert_eq!(verify_claims(&without), Err(ErrorCode::InvalidToken), "without {name}");
        assert_eq!(verify_claims(&with(json!({ name: null }))), Err(ErrorCode::InvalidToken), "{name} is null");
    }
    for wrong in [
        json!({"iss": "else"}),
        json!({"iss": ["switchboard"]}),
        json!({"aud": "else"}),
        json!({"aud": ["else", "switchboard"]}),
        json!({"sub": "ada"}),
        json!({"type": "ticket"}),
        json!({"role": "root"}),
        json!({"email": "ada"}),
        json!({"name": ""}),
        json!({"exp": "never"}),
        json!({"exp": -1}),
        json!({"iat": NOW.seconds() + CLOCK_SKEW_S + 1}),
    ] {
        assert!(verify_claims(&with(wrong.clone())).is_err(), "{wrong} was taken");
    }
    assert!(verify_claims(&with(json!({"iat": NOW.seconds() + CLOCK_SKEW_S}))).is_ok());
}

#[test]
fn one_kind_does_not_pass_for_the_other() {
    let grant = grant();
    let refresh = tokens().issue_refresh(grant, NOW).unwrap().token;
    assert_eq!(tokens().verify_refresh(&refresh, NOW), Ok(grant));
    assert_eq!(verify(&refresh), Err(ErrorCode::InvalidToken));
    let access = tokens().issue_access(&ada(), Uuid::new_v4(), NOW).unwrap().token;
    assert_eq!(tokens().verify_refresh(&access, NOW).unwrap_err().code, ErrorCode::InvalidToken);

    // The type decides, not which claims happen to be there.
    let both = with(json!({"type": "refresh", "family": Uuid::new_v4()}));
    assert_eq!(verify_claims(&both), Err(ErrorCode::InvalidToken));
    let both = sign(Algorithm::HS256, &with(json!({"family": Uuid::new_v4()})), SECRET);
    assert!(verify(&both).is_ok());
    assert_eq!(tokens().verify_refresh(&both, NOW).unwrap_err().code, ErrorCode::InvalidToken);
}
