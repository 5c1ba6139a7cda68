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
    /// Adds the ids of its turn to a frame that only names the number, as clients do. Checks that such a frame has no other
    /// fields, and that a number is never given to another turn.
    pub fn resolve(&mut self, frame: &mut Value) {
        let Some(fields) = frame.as_object_mut() else { return };
        let Some(number) = fields.get("turn").and_then(Value::as_u64) else { return };
        assert!(number > 0, "numbers begin with 1: {fields:?}");
        if let Some(turn_id) = fields.get("turn_id") {
            let ids = (turn_id.clone(), fields["conversation_id"].clone());
            let known = self.announced.entry(number).or_insert_with(|| ids.clone());
            assert_eq!(*known, ids, "the number belongs to another turn: {fields:?}");
            return;
        }
        check_fields(fields);
        let ids = self.announced.get(&number).unwrap_or_else(|| panic!("the turn was not announced: {fields:?}"));
        fields.insert("turn_id".to_owned(), ids.0.clone());
        fields.insert("conversation_id".to_owned(), ids.1.clone());
    }
}

fn check_fields(fields: &Map<String, Value>) {
    let allowed: &[&str] = match fields["type"].as_str() {
        Some("token") => &["type", "token", "turn", "seq", "first_seq"],
        Some("reasoning") => &["type", "turn", "index", "delta"],
        Some("part") => return,
        _ => panic!("no ids: {fields:?}"),
    };
    assert!(fields.keys().all(|name| allowed.contains(&name.as_str())), "{fields:?}");
}
