//! The live feed for operators, `/ws/ops`.

mod access;
mod doc;
mod feed;
mod going;
mod page;
mod watch;

use crate::harness::{TestApp, TestSocket, TestUser};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// An operator's socket, signed in; what comes first is read.
async fn ops(app: &TestApp, operator: &TestUser) -> TestSocket {
    let mut socket = app.ops_socket().signed_in(operator).await;
    socket.expect("history").await;
    socket
}

/// The next frame of this type; others are passed over.
async fn next_of(socket: &mut TestSocket, frame_type: &str) -> Value {
    loop {
        let frame = socket.next().await;
        if frame["type"] == frame_type {
            return frame;
        }
        assert_ne!(frame["type"], "error", "{frame}");
    }
}

/// All frames of the next seconds.
async fn frames_of(socket: &mut TestSocket, seconds: f64) -> Vec<Value> {
    let end = Instant::now() + Duration::from_secs_f64(seconds);
    let mut frames = Vec::new();
    while let Some(frame) = socket.next_before(end).await {
        frames.push(frame);
    }
    frames
}

fn count(frames: &[Value], frame_type: &str) -> usize {
    frames.iter().filter(|frame| frame["type"] == frame_type).count()
}

/// Asks for rows, the newest connection first, with other fields besides.
fn view(id: u32, offset: usize, limit: usize, more: &Value) -> Value {
    let mut frame = json!({
        "type": "view", "id": id, "sort": "opened_at_ms", "order": "desc", "offset": offset, "limit": limit,
    });
    frame.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    frame
}
