//! Parts of an answer that are not text.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A typed part of an answer, such as a citation. Clients ignore kinds that they do not know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub kind: String,
    /// Fields that depend on the kind.
    pub fields: Map<String, Value>,
}

/// Entries of a turn that are not text of its answer, as the store keeps them: `[tokens_before, count]` for entries of which only the
/// number is kept, an object for a part.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
pub enum StoredItem {
    Skipped(u32, u32),
    Part { tokens_before: u32, kind: String, fields: Map<String, Value> },
}

impl Part {
    /// Returns the parts among the stored entries of a turn, which are a JSON list of [`StoredItem`]s; none if it is damaged.
    pub fn of_stored_items(json: &str) -> Vec<Self> {
        let items: Vec<StoredItem> = serde_json::from_str(json).unwrap_or_default();
        let parts = items.into_iter().filter_map(|item| match item {
            StoredItem::Part { kind, fields, .. } => Some(Self { kind, fields }),
            StoredItem::Skipped(..) => None,
        });
        parts.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_found_among_stored_items() {
        let json = r#"[[0,2],{"tokens_before":1,"kind":"a","fields":{"x":1}},[1,1],{"tokens_before":1,"kind":"b","fields":{}}]"#;
        let parts = Part::of_stored_items(json);
        assert_eq!(parts.iter().map(|part| part.kind.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(parts[0].fields["x"], 1);
        assert!(Part::of_stored_items("[[0,4]]").is_empty() && Part::of_stored_items("{").is_empty());
    }
}
