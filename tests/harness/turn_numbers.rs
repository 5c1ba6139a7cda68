//! The numbers by which `chat.v2` names the turns of a connection.

use serde_json::{Map, Value};
use std::collections::HashMap;

/// The turns that the frames of a connection have announced.
#[derive(Default)]
pub struct TurnNumbers {
    /// Ids of the turn and its conversation.
    announced: HashMap<u64, (Value, Value)>,
}

impl TurnNumbers {
    /// Adds the ids of its turn to a frame that only names the number, as clients do. Checks which fields a frame has, and that
    /// a number is never given away twice.
    pub fn resolve(&mut self, frame: &mut Value) {
        let Some(fields) = frame.as_object_mut() else { return };
        check_fields(fields);
        let Some(number) = fields.get("turn").and_then(Value::as_u64) else { return };
        assert!(number > 0, "numbers begin with 1: {fields:?}");
        if let Some(turn_id) = fields.get("turn_id") {
            let ids = (turn_id.clone(), fields["conversation_id"].clone());
            let is_new = !self.announced.contains_key(&number);
            assert!(is_new || fields["type"] != "resumed", "a turn that is resumed gets a new number: {fields:?}");
            let known = self.announced.entry(number).or_insert_with(|| ids.clone());
            assert_eq!(*known, ids, "the number belongs to another turn: {fields:?}");
            return;
        }
        let ids = self.announced.get(&number).unwrap_or_else(|| panic!("the turn was not announced: {fields:?}"));
        fields.insert("turn_id".to_owned(), ids.0.clone());
        fields.insert("conversation_id".to_owned(), ids.1.clone());
    }
}

/// Checks the fields by which the frames of a turn name it: ids in `chat.v1`, a number in `chat.v2`.
fn check_fields(fields: &Map<String, Value>) {
    let has = |name: &str| fields.contains_key(name);
    let allowed: &[&str] = match fields["type"].as_str() {
        Some("token") if has("partial_response") => {
            &["type", "token", "partial_response", "turn_id", "session_id", "seq", "first_seq"]
        }
        Some("token") => &["type", "token", "turn", "seq", "first_seq"],
        Some("reasoning") => &["type", "turn", "index", "delta"],
        // Other fields depend on the kind.
        Some("part") => {
            assert!(["turn", "index", "kind"].into_iter().all(has) && !has("turn_id"), "{fields:?}");
            return;
        }
        Some("progress" | "complete") => {
            let is_v2 = has("conversation_id");
            assert!(has("turn") == is_v2 && has("index") == is_v2 && has("turn_id"), "{fields:?}");
            return;
        }
        // Only the end of a turn has a place in it.
        Some("error") => {
            assert!(has("turn") == has("index") && (has("turn_id") || !has("turn")), "{fields:?}");
            return;
        }
        _ => return,
    };
    assert!(fields.keys().all(|name| allowed.contains(&name.as_str())), "{fields:?}");
}
