//! Valid tokens, and attempts to forge them.

use super::*;
use crate::{
    auth::test_support::{SECRET, code, tokens, user},
    store::{Revocation, Revoked, ServedTime, TurnedClock},
};
use serde_json::{Value, json};
use std::time::Duration;
use switchboard_protocol::{ApiError, ErrorCode};

const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

fn ada() -> User {
    user("ada@example.org", Role::Operator)
}

/// An issue of tokens at [`NOW`].
fn issue() -> TokenIssue {
    TokenIssue {
        jti: Uuid::new_v4(),
        issued_at: NOW,
        running_ms: 0,
        expires_at: UnixMillis(NOW.0 + 30 * 24 * 3_600_000),
    }
}

fn access(user: &User) -> IssuedToken {
    tokens().issue_access(user, 0, Uuid::new_v4(), &issue()).unwrap()
}

fn refresh() -> IssuedToken {
    tokens().issue_refresh(UserId::new(), Uuid::new_v4(), &issue()).unwrap()
}

/// The claims of a valid access token, which tests modify.
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

/// A token with an arbitrary header and a matching signature.
fn sign_with_header(header: &Value, claims: &Value) -> String {
    let message = format!("{}.{}", segment(header), segment(claims));
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256).unwrap();
    format!("{message}.{signature}")
}

/// JSON encoded as a segment of a token.
fn segment(json: &Value) -> String {
    sign(Algorithm::HS256, json, SECRET).split('.').nth(1).unwrap().to_owned()
}

fn verify(token: &str) -> Result<Identity, ErrorCode> {
    tokens().verify_access_at(token, NOW).map_err(|error| ApiError::from(error).code)
}

fn verify_claims(claims: &Value) -> Result<Identity, ErrorCode> {
    verify(&sign(Algorithm::HS256, claims, SECRET))
}

#[test]
fn an_access_token_carries_the_user() {
    let ada = ada();
    let family_id = Uuid::new_v4();
    let issued = tokens().issue_access(&ada, 3, family_id, &issue()).unwrap();
    assert_eq!(issued.expires_at, NOW.seconds() + 900);
    let identity = verify(&issued.token).unwrap();
    let expected = Identity {
        user_id: ada.id,
        email: ada.email,
        name: ada.name,
        role: ada.role,
        family_id: Some(family_id),
        generation: 3,
        issued_at_ms: NOW.0,
        expires_at: issued.expires_at,
    };
    assert_eq!(identity, expected);
}

#[test]
fn the_claims_of_both_kinds_are_documented() {
    for (token, kind) in [(access(&ada()).token, "access"), (refresh().token, "refresh")] {
        let claims: Value = jsonwebtoken::dangerous::insecure_decode(&token).unwrap().claims;
        assert_eq!(claims["type"], kind);
        for name in ["iss", "aud", "sub", "jti", "iat", "exp"] {
            assert!(!claims[name].is_null(), "{kind} has no {name}");
        }
    }
}

#[test]
fn tokens_depend_only_on_their_issue() {
    let (ada, user_id, family_id, issue) = (ada(), UserId::new(), Uuid::new_v4(), issue());
    let pair = |issue: &TokenIssue| {
        let access = tokens().issue_access(&ada, 0, family_id, issue).unwrap().token;
        (access, tokens().issue_refresh(user_id, family_id, issue).unwrap().token)
    };
    assert_eq!(pair(&issue), pair(&issue));
    let other = pair(&TokenIssue { jti: Uuid::new_v4(), ..issue });
    assert!(other.0 != pair(&issue).0 && other.1 != pair(&issue).1);
    let jti = |token: &str| jsonwebtoken::dangerous::insecure_decode::<Value>(token).unwrap().claims["jti"].clone();
    assert_ne!(jti(&other.0), jti(&other.1), "the two tokens of a pair");
}

#[test]
fn a_leading_bearer_scheme_is_accepted() {
    let token = access(&ada()).token;
    for text in [format!("Bearer {token}"), format!("bEARER   {token} "), format!(" {token}\n")] {
        assert!(verify(&text).is_ok(), "{text:?}");
    }
    assert_eq!(verify(&format!("Basic {token}")), Err(ErrorCode::InvalidToken));
}

#[test]
fn the_unmodified_claims_are_valid() {
    assert!(verify_claims(&claims()).is_ok());
    assert!(verify(&sign_with_header(&json!({"alg": "HS256"}), &claims())).is_ok());
}

#[test]
fn a_token_is_invalid_from_the_second_of_its_exp_on() {
    assert!(verify_claims(&with(json!({"exp": NOW.seconds() + 1}))).is_ok());
    assert_eq!(verify_claims(&with(json!({"exp": NOW.seconds()}))), Err(ErrorCode::ExpiredToken));
    let refresh = refresh();
    let over = tokens().verify_refresh_at(&refresh.token, UnixMillis(refresh.expires_at * 1_000));
    assert_eq!(over, Err(AuthError::ExpiredToken));
}

#[test]
fn only_expired_tokens_of_this_server_are_called_expired() {
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
fn every_claim_is_required_and_checked() {
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
        json!({"iat": NOW.seconds() + TOKEN_CLOCK_LEEWAY_S + 1}),
    ] {
        assert!(verify_claims(&with(wrong.clone())).is_err(), "{wrong} was taken");
    }
    assert!(verify_claims(&with(json!({"iat": NOW.seconds() + TOKEN_CLOCK_LEEWAY_S}))).is_ok());
}

#[test]
fn access_and_refresh_tokens_are_not_interchangeable() {
    let (user_id, family_id, issue) = (UserId::new(), Uuid::new_v4(), issue());
    let refresh = tokens().issue_refresh(user_id, family_id, &issue).unwrap().token;
    let grant = RefreshGrant { user_id, family_id, jti: issue.jti };
    assert_eq!(tokens().verify_refresh_at(&refresh, NOW), Ok(grant));
    assert_eq!(verify(&refresh), Err(ErrorCode::InvalidToken));
    let access = access(&ada()).token;
    assert_eq!(code(tokens().verify_refresh_at(&access, NOW)), ErrorCode::InvalidToken);

    // The `type` decides, not the claims that are present.
    let both = with(json!({"type": "refresh", "family": Uuid::new_v4()}));
    assert_eq!(verify_claims(&both), Err(ErrorCode::InvalidToken));
    let both = sign(Algorithm::HS256, &with(json!({"family": Uuid::new_v4()})), SECRET);
    assert!(verify(&both).is_ok());
    assert_eq!(code(tokens().verify_refresh_at(&both, NOW)), ErrorCode::InvalidToken);
}

/// Tokens with a clock that the test sets.
fn tokens_at(wall: UnixMillis) -> (Tokens, TurnedClock) {
    let turned = TurnedClock::at(wall);
    (Tokens::new(&AuthConfig::default(), &SECRET.into(), turned.serve(ServedTime::default())), turned)
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn a_new_token_stays_valid_when_the_clock_is_set_back_by_a_minute() {
    for (step_s, is_good) in [(-1, true), (-30, true), (-60, true), (-61, false), (-3_600, false), (-90_000, false)] {
        let (tokens, turned) = tokens_at(NOW);
        let issue = tokens.new_issue();
        let access = tokens.issue_access(&ada(), 0, Uuid::new_v4(), &issue).unwrap().token;
        let refresh = tokens.issue_refresh(UserId::new(), Uuid::new_v4(), &issue).unwrap().token;
        turned.set_by(step_s * 1_000);
        assert_eq!(tokens.verify_access(&access).is_ok(), is_good, "{step_s} s");
        // A renewed token is valid, however far the clock was ahead.
        if !is_good {
            assert_eq!(code(tokens.verify_access(&access)), ErrorCode::InvalidToken, "{step_s} s");
        }
        assert!(tokens.verify_refresh(&refresh).is_ok(), "{step_s} s");
        let renewed = tokens.issue_access(&ada(), 0, Uuid::new_v4(), &tokens.new_issue()).unwrap().token;
        assert!(tokens.verify_access(&renewed).is_ok());
    }
}

#[test]
fn setting_the_clock_back_does_not_extend_the_life_of_a_token() {
    // The last two steps exceed the age of the token, which then seems to come from the future.
    for (step_s, expected) in [
        (-30, ErrorCode::ExpiredToken),
        (-60, ErrorCode::ExpiredToken),
        (-850, ErrorCode::ExpiredToken),
        (-3_600, ErrorCode::InvalidToken),
        (-1_000_000, ErrorCode::InvalidToken),
    ] {
        let (tokens, turned) = tokens_at(NOW);
        let token = tokens.issue_access(&ada(), 0, Uuid::new_v4(), &tokens.new_issue()).unwrap().token;
        turned.pass(seconds(899));
        assert!(tokens.verify_access(&token).is_ok());
        turned.set_by(step_s * 1_000);
        turned.pass(seconds(62));
        assert_eq!(code(tokens.verify_access(&token)), expected, "{step_s} s");
    }
}

#[test]
fn a_token_has_no_leeway_at_its_end() {
    let (tokens, turned) = tokens_at(NOW);
    let token = tokens.issue_access(&ada(), 0, Uuid::new_v4(), &tokens.new_issue()).unwrap().token;
    turned.pass(seconds(899));
    assert!(tokens.verify_access(&token).is_ok());
    turned.pass(seconds(1));
    assert_eq!(code(tokens.verify_access(&token)), ErrorCode::ExpiredToken);
}

#[test]
fn revocation_does_not_depend_on_the_clock() {
    let (tokens, turned) = tokens_at(NOW);
    let ada = ada();
    let (first, second) = (Uuid::new_v4(), Uuid::new_v4());
    let issue = |generation, family| tokens.issue_access(&ada, generation, family, &tokens.new_issue()).unwrap().token;
    let (signed_out, of_before) = (issue(0, first), issue(0, second));
    tokens.revocations().add(Revocation { number: 1, revoked: Revoked::Family(first) });
    assert!(tokens.verify_access(&of_before).is_ok());
    // The clock is ahead during the revocation; tokens issued then and later are valid.
    turned.set_by(3_600_000);
    tokens.revocations().add(Revocation { number: 2, revoked: Revoked::User { user_id: ada.id, generation: 1 } });
    assert!(tokens.verify_access(&issue(1, second)).is_ok());
    turned.set_by(-3_600_000);
    assert!(tokens.verify_access(&issue(1, second)).is_ok());
    for token in [&signed_out, &of_before] {
        assert_eq!(code(tokens.verify_access(token)), ErrorCode::ExpiredToken);
    }
}

#[test]
fn tokens_of_version_0_1_0_are_valid_until_they_expire_or_are_revoked() {
    let claims = with(json!({"iat_ms": NOW.0, "family": Uuid::new_v4()}));
    let token = sign(Algorithm::HS256, &claims, SECRET);
    let Identity { user_id, generation, .. } = tokens().verify_access_at(&token, NOW).unwrap();
    assert_eq!(generation, 0);
    for (revoked, is_good) in [
        // It was issued after that.
        (Revoked::Untagged { user_id, until: UnixMillis(NOW.0 - 1) }, true),
        (Revoked::Untagged { user_id, until: NOW }, false),
        (Revoked::User { user_id, generation: 1 }, false),
    ] {
        let tokens = tokens();
        tokens.revocations().add(Revocation { number: 1, revoked });
        assert_eq!(tokens.verify_access_at(&token, NOW).is_ok(), is_good, "{revoked:?}");
    }
}
