//! Parsing of a passage into quotable units: sentences of paragraphs, items of lists, rows of tables. Inline markup is dropped.

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};
use unicode_segmentation::UnicodeSegmentation;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Block {
    /// Sentences.
    Paragraph(Vec<String>),
    List {
        ordered: bool,
        items: Vec<String>,
    },
    Table {
        header: Vec<String>,
        rows: Vec<Vec<String>>,
    },
}

/// Parses Markdown into blocks, in order.
pub(super) fn blocks(markdown: &str) -> Vec<Block> {
    let mut reader = Reader::default();
    for event in Parser::new_ext(markdown, Options::ENABLE_TABLES) {
        reader.read(event);
    }
    reader.end_paragraph();
    reader.blocks
}

#[derive(Default)]
struct Reader {
    blocks: Vec<Block>,
    /// Text of the current paragraph, item or cell.
    text: String,
    /// Number of open lists. Items of nested lists are added to the outermost one.
    list_depth: usize,
    ordered: bool,
    items: Vec<String>,
    header: Vec<String>,
    rows: Vec<Vec<String>>,
    cells: Vec<String>,
}

impl Reader {
    fn read(&mut self, event: Event) {
        match event {
            Event::Text(text) | Event::Code(text) => self.text.push_str(&text),
            Event::SoftBreak | Event::HardBreak => self.text.push(' '),
            Event::Start(Tag::List(start)) => {
                if self.list_depth == 0 {
                    self.end_paragraph();
                    self.ordered = start.is_some();
                } else {
                    self.end_item();
                }
                self.list_depth += 1;
            }
            Event::End(TagEnd::List(_)) => {
                self.list_depth = self.list_depth.saturating_sub(1);
                if self.list_depth == 0 && !self.items.is_empty() {
                    let items = std::mem::take(&mut self.items);
                    self.blocks.push(Block::List { ordered: self.ordered, items });
                }
            }
            Event::End(TagEnd::Item) => self.end_item(),
            Event::End(TagEnd::TableCell) => self.cells.push(collapse_white_space(&std::mem::take(&mut self.text))),
            Event::End(TagEnd::TableHead) => self.header = std::mem::take(&mut self.cells),
            Event::End(TagEnd::TableRow) => self.rows.push(std::mem::take(&mut self.cells)),
            Event::End(TagEnd::Table) => {
                let (header, rows) = (std::mem::take(&mut self.header), std::mem::take(&mut self.rows));
                self.blocks.push(Block::Table { header, rows });
            }
            Event::End(TagEnd::Paragraph | TagEnd::Heading(_) | TagEnd::CodeBlock) => {
                if self.list_depth == 0 {
                    self.end_paragraph();
                } else {
                    self.text.push(' ');
                }
            }
            _ => {}
        }
    }

    fn end_paragraph(&mut self) {
        let text = collapse_white_space(&std::mem::take(&mut self.text));
        if !text.is_empty() {
            self.blocks.push(Block::Paragraph(sentences(&text)));
        }
    }

    fn end_item(&mut self) {
        let text = collapse_white_space(&std::mem::take(&mut self.text));
        if !text.is_empty() {
            self.items.push(text);
        }
    }
}

fn collapse_white_space(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn sentences(text: &str) -> Vec<String> {
    text.unicode_sentences()
        .map(|sentence| sentence.trim().to_owned())
        .filter(|sentence| !sentence.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|&text| text.to_owned()).collect()
    }

    #[test]
    fn a_paragraph_is_split_into_sentences() {
        assert_eq!(
            blocks("It holds 5.2 l of\n**oil**. Check it [often](x)!"),
            [Block::Paragraph(owned(&["It holds 5.2 l of oil.", "Check it often!"]))]
        );
    }

    #[test]
    fn lists_keep_their_kind_and_nested_items() {
        assert_eq!(
            blocks("Do this:\n\n1. Stop.\n2. Look.\n   - Left\n   - Right\n"),
            [
                Block::Paragraph(owned(&["Do this:"])),
                Block::List { ordered: true, items: owned(&["Stop.", "Look.", "Left", "Right"]) }
            ]
        );
        assert_eq!(blocks("- a\n- b"), [Block::List { ordered: false, items: owned(&["a", "b"]) }]);
    }

    #[test]
    fn tables_are_split_into_rows() {
        assert_eq!(
            blocks("| A | B |\n|---|---|\n| `1` | 2 |\n| 3 | |\n"),
            [Block::Table { header: owned(&["A", "B"]), rows: vec![owned(&["1", "2"]), owned(&["3", ""])] }]
        );
    }
}
