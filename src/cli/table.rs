//! Tables for people. The texts come from clients, so control characters are escaped: nothing in them may act on the
//! terminal.

use crate::logging::breaks_a_line;
use std::io;
use unicode_width::UnicodeWidthStr;

/// The gap between two columns.
const GAP: &str = "  ";

/// Writes rows under their headings, without trailing spaces. Nothing is truncated: on a terminal that is too narrow for the
/// table, each row becomes a list of headings and values.
pub(super) fn write_table(headings: &[&str], rows: &[Vec<String>], out: &mut dyn io::Write) -> io::Result<()> {
    write_table_for(terminal_columns(), headings, rows, out)
}

/// Returns the width of the terminal that stdout is connected to; `None` when it is a file or a pipe.
fn terminal_columns() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

fn write_table_for(
    columns: Option<usize>,
    headings: &[&str],
    rows: &[Vec<String>],
    out: &mut dyn io::Write,
) -> io::Result<()> {
    let headings: Vec<String> = headings.iter().map(|heading| (*heading).to_owned()).collect();
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|cell| harmless(cell)).collect()).collect();
    let width = |column: usize| {
        let cells = std::iter::once(&headings).chain(&rows).filter_map(|row| row.get(column));
        cells.map(|cell| cell.width()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..headings.len()).map(width).collect();
    let whole = widths.iter().sum::<usize>() + GAP.len() * widths.len().saturating_sub(1);
    if columns.is_some_and(|columns| whole > columns) {
        return write_records(&headings, &rows, out);
    }
    for row in std::iter::once(&headings).chain(&rows) {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(&padded(cell, *width));
            line.push_str(GAP);
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// Writes a paragraph for each row, with a line for each cell.
fn write_records(headings: &[String], rows: &[Vec<String>], out: &mut dyn io::Write) -> io::Result<()> {
    let width = headings.iter().map(|heading| heading.width()).max().unwrap_or_default();
    for (at, row) in rows.iter().enumerate() {
        if at > 0 {
            writeln!(out)?;
        }
        for (heading, cell) in headings.iter().zip(row) {
            writeln!(out, "{}", format!("{}{GAP}{cell}", padded(heading, width)).trim_end())?;
        }
    }
    Ok(())
}

/// Pads a cell to a number of columns. East Asian characters take two.
fn padded(cell: &str, width: usize) -> String {
    format!("{cell}{}", " ".repeat(width.saturating_sub(cell.width())))
}

/// Escapes line breaks and control characters.
pub(super) fn harmless(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if breaks_a_line(c) { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    shown
}

/// Escapes control characters in one line of JSON without changing its meaning: they can only occur inside strings.
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
    fn columns_are_aligned_and_control_characters_escaped() {
        let rows = [["ä", "1"], ["longer\u{1b}[31m\n", ""]].map(|row| row.map(str::to_owned).to_vec());
        let mut out = Vec::new();
        write_table(&["NAME", "N"], &rows, &mut out).unwrap();
        let harmless = r"longer\u{1b}[31m\n";
        let wanted = format!("{:20}N\n{:20}1\n{harmless}\n", "NAME", "ä");
        assert_eq!(String::from_utf8(out).unwrap(), wanted);
    }

    #[test]
    fn wide_characters_take_two_columns() {
        let rows = [["日本", "1"], ["Ada", "2"], ["e\u{301}", "3"]].map(|row| row.map(str::to_owned).to_vec());
        let mut out = Vec::new();
        write_table_for(Some(80), &["N", "X"], &rows, &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "N     X\n日本  1\nAda   2\ne\u{301}     3\n");
    }

    #[test]
    fn a_table_that_does_not_fit_becomes_a_list_and_loses_nothing() {
        let rows = [["ada@example.org", "a long reason"], ["bob", ""]].map(|row| row.map(str::to_owned).to_vec());
        let written = |columns: Option<usize>| {
            let mut out = Vec::new();
            write_table_for(columns, &["USER", "REASON"], &rows, &mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        let table = "USER             REASON\nada@example.org  a long reason\nbob\n";
        assert_eq!(written(None), table);
        assert_eq!(written(Some(30)), table);
        let list = "USER    ada@example.org\nREASON  a long reason\n\nUSER    bob\nREASON\n";
        assert_eq!(written(Some(29)), list);
        assert_eq!(written(Some(1)), list);
    }
}
