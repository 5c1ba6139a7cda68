//! Markdown output of paragraphs and tables.

use std::fmt::Write as _;

/// Kind of a paragraph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    /// Heading of a level from 1 to 6.
    Heading(usize),
    /// List item of a level from 0.
    Item(usize),
}

/// Writer of Markdown blocks, or of a single line of text, as in a table cell.
pub(super) struct Blocks {
    text: String,
    is_line: bool,
    ends_with_item: bool,
}

impl Blocks {
    pub(super) const fn markdown() -> Self {
        Self { text: String::new(), is_line: false, ends_with_item: false }
    }

    pub(super) const fn line() -> Self {
        Self { text: String::new(), is_line: true, ends_with_item: false }
    }

    pub(super) fn into_text(self) -> String {
        self.text
    }

    /// Writes the separator between the last block and the next.
    fn separate(&mut self, is_item: bool) {
        if !self.text.is_empty() {
            self.text.push_str(if self.is_line {
                " "
            } else if is_item && self.ends_with_item {
                "\n"
            } else {
                "\n\n"
            });
        }
        self.ends_with_item = is_item;
    }

    pub(super) fn paragraph(&mut self, text: &str, kind: Kind) {
        let text = text.trim();
        if text.is_empty() {
            return;
        }
        let one_line = || text.split_whitespace().collect::<Vec<_>>().join(" ");
        self.separate(!self.is_line && matches!(kind, Kind::Item(_)));
        let _ = match kind {
            _ if self.is_line => write!(self.text, "{}", one_line()),
            Kind::Heading(level) => write!(self.text, "{} {}", "#".repeat(level), one_line()),
            Kind::Item(level) => write!(self.text, "{}- {}", "  ".repeat(level.min(8)), one_line()),
            Kind::Text => write!(self.text, "{}", escape(text)),
        };
    }

    /// Adds finished Markdown.
    pub(super) fn block(&mut self, markdown: &str) {
        if self.is_line {
            self.paragraph(markdown, Kind::Text);
        } else if !markdown.is_empty() {
            self.separate(false);
            self.text.push_str(markdown);
        }
    }

    /// Adds a table with the first row as header.
    pub(super) fn table(&mut self, rows: &[Vec<String>]) {
        let rows: Vec<_> = rows.iter().filter(|row| row.iter().any(|cell| !cell.is_empty())).collect();
        if self.is_line {
            rows.into_iter().for_each(|row| self.paragraph(&row.join(" "), Kind::Text));
            return;
        }
        for (index, row) in rows.into_iter().enumerate() {
            if index == 0 {
                self.separate(false);
            } else {
                self.text.push('\n');
            }
            let cells: Vec<_> = row.iter().map(|cell| cell.replace('|', "\\|")).collect();
            let _ = write!(self.text, "| {} |", cells.join(" | "));
            if index == 0 {
                let _ = write!(self.text, "\n|{}", " --- |".repeat(row.len()));
            }
        }
    }
}

/// Escapes lines that Markdown would interpret as heading, rule, code or HTML.
fn escape(text: &str) -> String {
    let lines = text.lines().map(|line| {
        let line = line.trim();
        let heading = line.trim_start_matches('#');
        let is_heading = heading.len() < line.len() && (heading.is_empty() || heading.starts_with(' '));
        let is_rule = !line.is_empty() && line.chars().all(|c| matches!(c, '-' | '=' | '_' | '*' | ' '));
        let is_fence = line.starts_with("```") || line.starts_with("~~~");
        let is_html = line.strip_prefix('<').is_some_and(|rest| {
            rest.starts_with(['!', '?', '/']) || rest.starts_with(|c: char| c.is_ascii_alphabetic())
        });
        if is_heading || is_rule || is_fence || is_html { format!("\\{line}") } else { line.to_owned() }
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_separated_by_blank_lines_and_items_are_not() {
        let mut blocks = Blocks::markdown();
        blocks.paragraph("Roof\nbox", Kind::Heading(2));
        blocks.paragraph(" Text. ", Kind::Text);
        blocks.paragraph(" ", Kind::Text);
        blocks.paragraph("One", Kind::Item(0));
        blocks.paragraph("Two", Kind::Item(1));
        blocks.table(&[
            vec!["a".to_owned(), "b|c".to_owned()],
            vec![String::new()],
            vec!["1".to_owned(), "2".to_owned()],
        ]);
        let expected = "## Roof box\n\nText.\n\n- One\n  - Two\n\n| a | b\\|c |\n| --- | --- |\n| 1 | 2 |";
        assert_eq!(blocks.into_text(), expected);
    }

    #[test]
    fn a_line_contains_only_text() {
        let mut blocks = Blocks::line();
        blocks.paragraph("Head", Kind::Heading(1));
        blocks.paragraph("Item", Kind::Item(0));
        blocks.table(&[vec!["a".to_owned(), "b".to_owned()], vec!["c".to_owned()]]);
        blocks.block("text\n\nbox");
        assert_eq!(blocks.into_text(), "Head Item a b c text box");
    }

    #[test]
    fn text_that_resembles_markdown_is_escaped() {
        for (text, expected) in [
            ("# 1 bolt", "\\# 1 bolt"),
            ("#1 bolt", "#1 bolt"),
            ("line\n---", "line\n\\---"),
            ("```sh", "\\```sh"),
            ("<!-- x", "\\<!-- x"),
            ("<5 mm", "<5 mm"),
            ("- 5 °C", "- 5 °C"),
        ] {
            assert_eq!(escape(text), expected);
        }
    }
}
