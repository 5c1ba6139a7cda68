//! Items of a log as the store keeps them: parts in full, and of everything else only how many there were.
//!
//! A replay from the store therefore skips steps and reasoning, but every entry has the index that it had. The JSON is a list of
//! [`StoredItem`]s in the order of the log.

use super::{Item, entry::PlacedItem};
use crate::domain::{Part, StoredItem};

/// Largest number of items that are restored; more are a sign of a damaged row.
const MAX_ITEMS: usize = 1 << 22;

pub(super) fn to_json(items: &[PlacedItem]) -> String {
    let mut stored: Vec<StoredItem> = Vec::new();
    for PlacedItem { tokens_before, item } in items {
        let tokens_before = *tokens_before;
        match item {
            Item::Part(part) => {
                let Part { kind, fields } = (**part).clone();
                stored.push(StoredItem::Part { tokens_before, kind, fields });
            }
            Item::Progress(_) | Item::Reasoning(_) | Item::Skipped => match stored.last_mut() {
                Some(StoredItem::Skipped(position, count)) if *position == tokens_before => *count += 1,
                _ => stored.push(StoredItem::Skipped(tokens_before, 1)),
            },
        }
    }
    serde_json::to_string(&stored).expect("all keys are strings")
}

/// Restores the items; `None` if the JSON is not of this form or does not fit an answer of `tokens` tokens.
pub(super) fn from_json(json: &str, tokens: u32) -> Option<Vec<PlacedItem>> {
    let mut items: Vec<PlacedItem> = Vec::new();
    for stored in serde_json::from_str::<Vec<StoredItem>>(json).ok()? {
        let (tokens_before, item, count) = match stored {
            StoredItem::Skipped(tokens_before, count) => (tokens_before, Item::Skipped, count),
            StoredItem::Part { tokens_before, kind, fields } => {
                (tokens_before, Item::Part(Box::new(Part { kind, fields })), 1)
            }
        };
        let is_ordered = items.last().is_none_or(|last| last.tokens_before <= tokens_before);
        if !is_ordered || tokens_before > tokens || items.len() + count as usize > MAX_ITEMS {
            return None;
        }
        items.extend(std::iter::repeat_n(PlacedItem { tokens_before, item }, count as usize));
    }
    Some(items)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn part() -> Item {
        let fields = json!({"url": "https://example.com/"}).as_object().cloned().unwrap();
        Item::Part(Box::new(Part { kind: "url_citation".to_owned(), fields }))
    }

    #[test]
    fn parts_and_positions_survive() {
        let reasoning = || Item::Reasoning("Hm.".into());
        let positions = [(0, reasoning()), (0, reasoning()), (2, part()), (2, reasoning()), (5, part())];
        let items = positions.clone().map(|(tokens_before, item)| PlacedItem { tokens_before, item });
        let json = to_json(&items);
        assert!(json.starts_with("[[0,2],{"), "{json}");
        let restored = from_json(&json, 5).unwrap();
        let wanted = positions.map(|(tokens_before, item)| PlacedItem {
            tokens_before,
            item: if matches!(item, Item::Part(_)) { item } else { Item::Skipped },
        });
        assert_eq!(restored, wanted);
        assert_eq!(to_json(&restored), json);
    }

    #[test]
    fn damaged_lists_are_refused() {
        for json in ["", "{}", "[[1]]", "[[2,1],[1,1]]", "[[6,1]]", "[[0,4294967295]]", r#"[{"kind":"x"}]"#] {
            assert_eq!(from_json(json, 5), None, "{json}");
        }
    }
}
