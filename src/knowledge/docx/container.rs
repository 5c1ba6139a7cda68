//! Open elements while a part is read: containers, each with a paragraph, tables and fields.

use super::{
    blocks::{Blocks, Kind},
    styles::{Styles, level_from_outline},
};

/// Open paragraph.
#[derive(Default)]
pub(super) struct Paragraph {
    pub(super) text: String,
    pub(super) style: Option<String>,
    pub(super) outline_level: Option<usize>,
    pub(super) list_level: Option<usize>,
    /// Whether the paragraph's own properties make it a list item; `None`: the style decides.
    pub(super) is_item: Option<bool>,
    pub(super) is_style_hidden: bool,
    /// Open runs, each with whether it is hidden. Runs nest in ruby text.
    pub(super) runs: Vec<bool>,
    /// Blocks anchored in the paragraph: text boxes, notes, diagrams.
    pub(super) anchored: Vec<String>,
}

/// Open field.
pub(super) struct Field {
    /// Whether the current position is in the field's result rather than its instruction.
    pub(super) is_result: bool,
}

#[derive(Default)]
pub(super) struct Table {
    pub(super) rows: Vec<Vec<String>>,
    pub(super) is_row_deleted: bool,
    pub(super) is_in_row_properties: bool,
}

/// Kind of a container.
pub(super) enum Holder {
    Part,
    Cell { is_deleted: bool },
    TextBox,
    Note { id: String },
}

pub(super) struct Container {
    pub(super) holder: Holder,
    pub(super) blocks: Blocks,
    pub(super) paragraph: Option<Paragraph>,
    pub(super) tables: Vec<Table>,
    pub(super) fields: Vec<Field>,
}

impl Container {
    pub(super) fn new(holder: Holder) -> Self {
        let blocks = match holder {
            Holder::Part | Holder::TextBox => Blocks::markdown(),
            Holder::Cell { .. } | Holder::Note { .. } => Blocks::line(),
        };
        Self { holder, blocks, paragraph: None, tables: Vec::new(), fields: Vec::new() }
    }

    pub(super) fn end_paragraph(&mut self, styles: &Styles) {
        let Some(paragraph) = self.paragraph.take() else { return };
        // An unterminated instruction must not hide the rest of the document.
        self.fields.retain(|field| field.is_result);
        let style = paragraph.style.as_deref();
        let heading = paragraph.outline_level.and_then(level_from_outline);
        let list = match paragraph.is_item {
            Some(is_item) => is_item.then_some(paragraph.list_level.unwrap_or_default()),
            None => style.and_then(|style| styles.list_level(style)),
        };
        let kind = match (heading.or_else(|| style.and_then(|style| styles.heading_level(style))), list) {
            (Some(level), _) => Kind::Heading(level),
            (None, Some(level)) => Kind::Item(level),
            (None, None) => Kind::Text,
        };
        self.blocks.paragraph(&paragraph.text, kind);
        paragraph.anchored.iter().for_each(|block| self.blocks.block(block));
    }

    /// Adds a block after the open paragraph, or immediately if there is none.
    pub(super) fn anchor(&mut self, block: String) {
        match &mut self.paragraph {
            Some(paragraph) => paragraph.anchored.push(block),
            None => self.blocks.block(&block),
        }
    }
}
