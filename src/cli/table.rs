//! What a command prints for people: columns that stand under each other. Texts come from clients; nothing in them may act on
//! the terminal.

use crate::logging::breaks_a_line;
use std::io;

/// Between two columns.
const GAP: &str = "  ";

/// Writes rows under their headings. The last column is not filled up.
pub(super) fn write_table(headings: &[&str], rows: &[Vec<String>], out: &mut dyn io::Write) -> io::Result<()> {
    let headings: Vec<String> = headings.iter().map(|heading| (*heading).to_owned()).collect();
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|cell| harmless(cell)).collect()).collect();
    let width = |column: usize| {
        let cells = std::iter::once(&headings).chain(&rows).filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..headings.len()).map(width).collect();
    for row in std::iter::once(&headings).chain(&rows) {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', width - cell.chars().count()));
            line.push_str(GAP);
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// A text on one line, without what a terminal would obey.
pub(super) fn harmless(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if breaks_a_line(c) { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    shown
}

/// The same for JSON on one line, which stays JSON and means the same: such characters can only be within its strings.
pub(super) fn harmless_json(json: &str) -> String {
    let mut shown = String::with_capacity(json.len());
    for c in json.chars() {
        if breaks_a_line(c) { shown.push_str(&format!("\\u{:04x}", u32::from(c))) } else { shown.push(c) }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_under_each_other_and_obey_nobody() {
        let rows = [["ä", "1"], ["longer\u{1b}[31m\n", ""]].map(|row| row.map(str::to_owned).to_vec());
        let mut out = Vec::new();
        write_table(&["NAME", "N"], &rows, &mut out).unwrap();
        let harmless = r"longer\u{1b}[31m\n";
        let wanted = format!("{:20}N\n{:20}1\n{harmless}\n", "NAME", "ä");
        assert_eq!(String::from_utf8(out).unwrap(), wanted);
    }
}
