//! Pages of lists. Rows are read one by one, so that only the rows of the page are in memory.

use crate::{
    limits::MAX_PAGE_BYTES,
    store::{Listed, StoreError},
};
use diesel::QueryResult;

/// Collects the first `limit` rows, or fewer if their size exceeds [`MAX_PAGE_BYTES`]. The query must return up to one more row,
/// which shows whether the list continues.
pub(super) fn listed<R, T>(
    rows: impl Iterator<Item = QueryResult<R>>,
    limit: i64,
    bytes: impl Fn(&R) -> usize,
    mut item: impl FnMut(R) -> Result<T, StoreError>,
) -> Result<Listed<T>, StoreError> {
    let limit = usize::try_from(limit).unwrap_or_default();
    let (mut items, mut total_bytes) = (Vec::new(), 0_usize);
    for row in rows {
        let row = row?;
        total_bytes = total_bytes.saturating_add(bytes(&row));
        let is_first = items.is_empty();
        if items.len() == limit || (total_bytes > MAX_PAGE_BYTES && !is_first) {
            return Ok(Listed { items, has_more: true });
        }
        items.push(item(row)?);
    }
    Ok(Listed { items, has_more: false })
}

/// Rowid of the row with an id. For a row deleted since the list was read, the rowid after the latest row with a smaller id,
/// which is its former position unless the clock was set back.
macro_rules! rowid_of {
    ($table:ident, $connection:expr, $id:expr) => {{
        let (connection, id): (&mut SqliteConnection, String) = ($connection, $id.to_string());
        let rowid = $table::table.find(&id).select($table::rowid).first::<i64>(connection).optional()?;
        let earlier = $table::table.filter($table::id.lt(&id)).select(diesel::dsl::max($table::rowid));
        match rowid {
            Some(rowid) => rowid,
            None => earlier.first::<Option<i64>>(connection)?.unwrap_or_default().saturating_add(1),
        }
    }};
}
pub(super) use rowid_of;

/// Returns the length of a text as a JSON string without its quotes.
pub(super) fn json_bytes(text: &str) -> usize {
    let escaped = |byte: u8| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => 2,
        0..0x20 => 6,
        _ => 1,
    };
    text.bytes().map(escaped).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(sizes: &[usize], limit: i64) -> (Vec<usize>, bool) {
        let Listed { items, has_more } = listed(sizes.iter().map(|size| Ok(*size)), limit, |size| *size, Ok).unwrap();
        (items, has_more)
    }

    #[test]
    fn a_page_is_bounded_in_entries_and_in_bytes() {
        assert_eq!(page(&[1, 2, 3], 3), (vec![1, 2, 3], false));
        assert_eq!(page(&[1, 2, 3], 2), (vec![1, 2], true));
        assert_eq!(page(&[1], 0), (vec![], true));
        assert_eq!(page(&[], 5), (vec![], false));
        let half = MAX_PAGE_BYTES / 2;
        assert_eq!(page(&[half, half, 1], 5), (vec![half, half], true));
        assert_eq!(page(&[half, half], 5), (vec![half, half], false));
    }

    #[test]
    fn a_large_entry_is_a_page_of_its_own() {
        let large = MAX_PAGE_BYTES + 1;
        assert_eq!(page(&[large], 5), (vec![large], false));
        assert_eq!(page(&[large, 1], 5), (vec![large], true));
        assert_eq!(page(&[1, large], 5), (vec![1], true));
    }

    #[test]
    fn the_length_matches_the_serialized_json() {
        for text in ["", "plain", "\"quoted\" \\", "\n\t\r\u{8}\u{c}", "\0\u{1f}\u{7f}", "Grüße 😀 \u{2028}"] {
            assert_eq!(json_bytes(text) + 2, serde_json::to_string(text).unwrap().len(), "{text:?}");
        }
    }
}
