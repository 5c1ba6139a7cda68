//! The state of an operator's connection, tested without a socket.

use super::*;
use crate::{
    domain::{DisplayName, Email, UserId},
    limits::MAX_AUTH_FAILURES,
};
use serde_json::{Value, json};
use std::cell::Cell;
use tokio::sync::Semaphore;

/// Accepts operators by the text of their token.
struct ConnectionAuthenticator {
    is_admitted: Cell<bool>,
    now: Now,
    user_id: UserId,
}

impl OpsAuthenticator for ConnectionAuthenticator {
    fn verify(&self, token: &str) -> Result<Identity, ApiError> {
        let (role, seconds) = match token.split_once(' ') {
            Some(("operator", seconds)) => (Role::Operator, seconds),
            Some(("user", seconds)) => (Role::User, seconds),
            _ => return Err(ApiError::new(ErrorCode::InvalidToken, "no")),
        };
        Ok(Identity {
            user_id: self.user_id,
            email: Email::parse("ada@example.org").unwrap(),
            name: DisplayName::parse("Ada").unwrap(),
            role,
            family_id: None,
            generation: 0,
            issued_at_ms: self.now.unix.0,
            expires_at: self.now.unix.seconds() + seconds.parse::<i64>().unwrap(),
        })
    }

    fn admit(&self) -> Result<OwnedSemaphorePermit, ApiError> {
        let permits = Arc::new(Semaphore::new(self.is_admitted.get().into()));
        permits.try_acquire_owned().map_err(|_| ApiError::new(ErrorCode::TooManyConnections, "too many"))
    }
}

struct Socket {
    state: OpsState,
    authenticator: ConnectionAuthenticator,
    now: Now,
}

/// Summarises effects: the types of frames, and the other effects by name.
fn told(effects: &[OpsEffect]) -> Vec<String> {
    let told = effects.iter().map(|effect| match effect {
        OpsEffect::Send(frame) => {
            let frame: Value = serde_json::from_str(frame).unwrap();
            match frame["code"].as_str() {
                Some(code) => format!("{} {code}", frame["type"].as_str().unwrap()),
                None => frame["type"].as_str().unwrap().to_owned(),
            }
        }
        OpsEffect::AskForRows(view) => format!("rows {}", view.id),
        other => {
            format!("{other:?}").split('(').next().unwrap().to_owned()
                + &match other {
                    OpsEffect::Close(reason) => format!(" {}", reason.code()),
                    _ => String::new(),
                }
        }
    });
    told.collect()
}

impl Socket {
    fn new() -> Self {
        let now = Now::read();
        let limits = LimitsConfig { frames_per_s: 20, frame_burst: 20, ..LimitsConfig::default() };
        let state = OpsState::new(&limits, Duration::from_secs(30), now);
        let authenticator = ConnectionAuthenticator { is_admitted: Cell::new(true), now, user_id: UserId::new() };
        Self { state, authenticator, now }
    }

    fn signed_in(seconds: u32) -> Self {
        let mut socket = Self::new();
        let wanted = ["auth_success", "Authenticated", "SendHistory", "SendStats"];
        assert_eq!(socket.send(json!({"type": "auth", "token": format!("operator {seconds}")})), wanted);
        socket
    }

    fn send(&mut self, frame: Value) -> Vec<String> {
        let mut effects = Vec::new();
        self.state.on_text(&frame.to_string(), self.now, &self.authenticator, &mut effects);
        told(&effects)
    }

    /// Advances the clock by `wait` and ticks.
    fn tick_after(&mut self, wait: Duration) -> Vec<String> {
        self.now.instant += wait;
        self.now.unix.0 += i64::try_from(wait.as_millis()).unwrap();
        let mut effects = Vec::new();
        self.state.on_tick(self.now, &mut effects);
        told(&effects)
    }

    fn rows_arrive(&mut self, id: u32) -> Vec<String> {
        let mut effects = Vec::new();
        self.state.on_rows(id, &ConnectionsPage { connections: Vec::new(), total: 0, offset: 0 }, &mut effects);
        told(&effects)
    }
}

#[test]
fn only_operators_are_authenticated() {
    let mut socket = Socket::new();
    for frame in [json!({"type": "view", "limit": 10}), json!({"type": "watch", "connection_id": null})] {
        assert_eq!(socket.send(frame), ["error AUTH_REQUIRED"]);
    }
    assert_eq!(socket.send(json!({"type": "auth", "token": "user 900"})), ["auth_error FORBIDDEN"]);
    assert_eq!(socket.send(json!({"type": "auth", "token": "x"})), ["auth_error INVALID_TOKEN"]);
    assert!(socket.tick_after(Duration::from_secs(29)).is_empty());
    assert_eq!(socket.tick_after(Duration::from_secs(1)), ["Close 4401"]);
}

#[test]
fn repeated_authentication_failures_close_the_connection() {
    let mut socket = Socket::new();
    for _ in 1..MAX_AUTH_FAILURES {
        assert_eq!(socket.send(json!({"type": "auth", "token": "x"})), ["auth_error INVALID_TOKEN"]);
    }
    let wanted = ["auth_error INVALID_TOKEN", "Close 4401"];
    assert_eq!(socket.send(json!({"type": "auth", "token": "x"})), wanted);
}

#[test]
fn an_expired_token_closes_the_connection() {
    let mut socket = Socket::signed_in(900);
    assert_eq!(socket.tick_after(Duration::from_secs(839)), ["SendStats", "SendAudit"]);
    assert_eq!(socket.tick_after(Duration::from_secs(2)), ["auth_expiring", "SendStats", "SendAudit"]);
    assert_eq!(socket.tick_after(Duration::from_secs(2)), ["SendStats", "SendAudit"]);
    assert_eq!(socket.send(json!({"type": "auth", "token": "operator 1800"})), ["auth_success", "Authenticated"]);
    assert_eq!(socket.tick_after(Duration::from_secs(890)), ["SendStats", "SendAudit"]);
    assert_eq!(socket.tick_after(Duration::from_secs(70)), ["Close 4401"]);
}

#[test]
fn a_connection_over_the_limit_is_closed() {
    let mut socket = Socket::new();
    socket.authenticator.is_admitted.set(false);
    let wanted = ["error TOO_MANY_CONNECTIONS", "Close 1013"];
    assert_eq!(socket.send(json!({"type": "auth", "token": "operator 900"})), wanted);
}

#[test]
fn a_stopping_server_sends_going_away_and_closes() {
    for socket in [Socket::new(), Socket::signed_in(900)] {
        let mut effects = Vec::new();
        socket.state.on_going_away(700, &mut effects);
        assert_eq!(told(&effects), ["going_away", "Close 1001"]);
    }
}

#[test]
fn one_request_for_rows_is_pending_at_a_time() {
    let mut socket = Socket::signed_in(900);
    let view = |id| json!({"type": "view", "id": id, "limit": 10});
    assert_eq!(socket.send(view(1)), ["rows 1"]);
    assert!(socket.send(view(2)).is_empty());
    assert!(socket.send(view(3)).is_empty());
    assert!(socket.tick_after(TICK).is_empty());
    assert_eq!(socket.rows_arrive(1), ["connections"]);
    assert_eq!(socket.tick_after(TICK), ["rows 3"]);
    assert_eq!(socket.rows_arrive(3), ["connections"]);
    assert!(socket.tick_after(TICK).is_empty());
    assert_eq!(socket.tick_after(TICK), ["SendStats", "SendAudit", "rows 3"]);
}

#[test]
fn missed_ticks_are_not_made_up_for() {
    let mut socket = Socket::signed_in(900);
    assert_eq!(socket.send(json!({"type": "view", "id": 1, "limit": 10})), ["rows 1"]);
    socket.rows_arrive(1);
    assert_eq!(socket.tick_after(Duration::from_secs(60)), ["SendStats", "SendAudit", "rows 1"]);
    assert!(socket.tick_after(TICK).is_empty());
}

#[test]
fn a_watched_connection_is_read_every_second_and_its_frames_every_tick() {
    let mut socket = Socket::signed_in(900);
    let (watched, other) = (ConnectionId::new(), ConnectionId::new());
    let wanted = ["Unwatch", "AskForConnection"];
    assert_eq!(socket.send(json!({"type": "watch", "connection_id": watched})), wanted);
    assert_eq!(socket.tick_after(TICK), ["SendFrames"]);
    assert_eq!(socket.tick_after(SECOND), ["SendStats", "SendAudit", "AskForConnection", "SendFrames"]);
    let mut effects = Vec::new();
    socket.state.on_connection(other, None, &mut effects);
    assert!(effects.is_empty(), "a reply about another connection is ignored");
    socket.state.on_connection(watched, None, &mut effects);
    assert_eq!(told(&effects), ["connection"]);
    assert_eq!(socket.send(json!({"type": "watch", "connection_id": null})), ["Unwatch"]);
    assert!(socket.tick_after(TICK).is_empty());
}

#[test]
fn invalid_frames_are_refused_with_their_code() {
    let mut socket = Socket::signed_in(900);
    for limit in [json!(0), json!(201), json!("x"), json!(-1)] {
        assert_eq!(socket.send(json!({"type": "view", "limit": limit})), ["error INVALID_FIELD"], "{limit}");
    }
    assert_eq!(socket.send(json!({"type": "watch", "connection_id": "x"})), ["error INVALID_FIELD"]);
    assert_eq!(socket.send(json!({"type": "shout"})), ["error UNKNOWN_TYPE"]);
    assert_eq!(socket.send(json!([])), ["error INVALID_JSON"]);
    let deep: Value = serde_json::from_str(&format!("{}{}", "[".repeat(40), "]".repeat(40))).unwrap();
    assert_eq!(socket.send(deep), ["Hit", "error INVALID_JSON"]);
}

#[test]
fn frames_are_limited() {
    let mut socket = Socket::signed_in(900);
    let watch = json!({"type": "watch", "connection_id": null});
    let refused = (0..100).map(|_| socket.send(watch.clone())).find(|told| *told != ["Unwatch"]);
    assert_eq!(refused.unwrap(), ["Hit", "error RATE_LIMITED"]);
}
