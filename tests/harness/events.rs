//! A client of the event stream of `POST /api/v1/chat`.

use super::{TestApp, TestUser};
use serde_json::Value;
use std::time::Duration;

/// Time limit for an event.
const PATIENCE: Duration = Duration::from_secs(20);

/// An open stream; dropping it cuts the connection.
pub struct EventStream {
    response: reqwest::Response,
    unread: Vec<u8>,
    last_id: String,
}

#[derive(Clone, Debug)]
pub struct Event {
    /// Id of the last event that has one, as browsers understand it: an error that is not the end of the turn has none.
    pub id: String,
    pub frame: Value,
}

impl TestApp {
    /// Asks, and reads the answer as events; or goes on behind the event `last_event_id`.
    ///
    /// # Errors
    /// The status and the body of a refusal.
    pub async fn events(
        &self,
        user: &TestUser,
        body: &Value,
        last_event_id: Option<&str>,
    ) -> Result<EventStream, (u16, Value)> {
        let request = self.http.post(format!("{}/api/v1/chat", self.url)).bearer_auth(&user.access_token).json(body);
        let mut request = request.header("accept", "text/event-stream");
        if let Some(id) = last_event_id {
            request = request.header("last-event-id", id);
        }
        let response = request.send().await.unwrap();
        if response.status() != 200 {
            return Err((response.status().as_u16(), response.json().await.unwrap()));
        }
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["cache-control"], "no-store");
        Ok(EventStream { response, unread: Vec::new(), last_id: String::new() })
    }
}

impl EventStream {
    /// The next event; none when the server ended the stream.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(end) = self.unread.windows(2).position(|bytes| bytes == b"\n\n") {
                let block: Vec<u8> = self.unread.drain(..end + 2).collect();
                let Some((id, frame)) = parse(std::str::from_utf8(&block).unwrap()) else { continue };
                match id {
                    Some(id) => self.last_id = id,
                    None => assert!(frame["type"] == "error" && frame.get("index").is_none(), "no id: {frame}"),
                }
                return Some(Event { id: self.last_id.clone(), frame });
            }
            let chunk = tokio::time::timeout(PATIENCE, self.response.chunk()).await.expect("no event came in time");
            match chunk.unwrap() {
                Some(bytes) => self.unread.extend_from_slice(&bytes),
                None => {
                    assert!(self.unread.is_empty(), "the stream ended within an event");
                    return None;
                }
            }
        }
    }

    /// All that follow.
    pub async fn rest(mut self) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            events.push(event);
        }
        events
    }
}

/// The id and the frame of an event; none for a comment.
fn parse(block: &str) -> Option<(Option<String>, Value)> {
    let field = |name: &str| {
        let lines: Vec<_> = block.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).collect();
        assert!(lines.len() <= 1, "{name} is there twice in {block:?}");
        lines.first().copied()
    };
    let data = field("data")?;
    Some((field("id").map(str::to_owned), serde_json::from_str(data).unwrap()))
}
