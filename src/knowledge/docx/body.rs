//! Text of a part: state machine over its XML elements. Nested cells, text boxes and notes are a stack of [`Container`]s.

use super::{
    super::{extract_error::ExtractError, extract_limits::Limits},
    container::{Container, Field, Holder, Paragraph, Table},
    styles::Styles,
    symbols,
    xml::{Element, Node, Nodes, Space},
};
use std::collections::HashMap;

/// Number of nodes between two checks of the deadline.
const CLOCK_INTERVAL: usize = 1_024;

/// Footnotes and endnotes by element name and id.
#[derive(Default)]
pub(super) struct Notes {
    texts: HashMap<(String, String), String>,
    used: usize,
}

/// State of an `mc:AlternateContent` element. Only the first alternative with text is read.
struct Alternatives {
    is_taken: bool,
    /// Value of [`Walker::written`] at the start of the current alternative.
    written: usize,
}

/// State machine that reads the text of a part.
pub(super) struct Walker<'a> {
    styles: &'a Styles,
    limits: &'a Limits,
    notes: Notes,
    drawings: HashMap<String, String>,
    /// Open containers. The first is the part itself, so this is never empty.
    containers: Vec<Container>,
    alternatives: Vec<Alternatives>,
    /// Depth of open elements inside a skipped subtree; 0 outside.
    skipped: usize,
    is_in_text: bool,
    /// Size of the text so far, in bytes.
    written: usize,
}

impl<'a> Walker<'a> {
    pub(super) fn new(styles: &'a Styles, limits: &'a Limits) -> Self {
        Self {
            styles,
            limits,
            notes: Notes::default(),
            drawings: HashMap::new(),
            containers: vec![Container::new(Holder::Part)],
            alternatives: Vec::new(),
            skipped: 0,
            is_in_text: false,
            written: 0,
        }
    }

    /// Sets the notes and drawings that the part refers to.
    pub(super) fn with(self, notes: Notes, drawings: HashMap<String, String>) -> Self {
        Self { notes, drawings, ..self }
    }

    /// Converts a part to Markdown.
    pub(super) fn document(mut self, xml: &str) -> Result<String, ExtractError> {
        self.walk(xml, "")?;
        let styles = self.styles;
        let mut part = self.containers.swap_remove(0);
        part.end_paragraph(styles);
        Ok(part.blocks.into_text())
    }

    /// Reads the notes of a part, which are elements with the name `element`, into `notes`.
    pub(super) fn notes(mut self, xml: &str, element: &str, notes: &mut Notes) -> Result<(), ExtractError> {
        std::mem::swap(&mut self.notes, notes);
        self.walk(xml, element)?;
        std::mem::swap(&mut self.notes, notes);
        Ok(())
    }

    fn walk(&mut self, xml: &str, note: &str) -> Result<(), ExtractError> {
        let mut nodes = Nodes::new(xml);
        let mut count = 0_usize;
        while let Some(node) = nodes.next()? {
            count += 1;
            if count.is_multiple_of(CLOCK_INTERVAL) {
                self.limits.check_time()?;
            }
            match node {
                Node::Open(_) if self.skipped > 0 => self.skipped += 1,
                Node::Close(..) if self.skipped > 0 => self.skipped -= 1,
                Node::Open(element) => self.open(&element, note),
                Node::Close(space, name) => self.close(space, &name, note),
                Node::Text(text) if self.is_in_text && self.skipped == 0 => self.push(&text),
                Node::Text(_) => {}
            }
            if self.written > self.limits.max_text_bytes {
                return Err(self.limits.too_much_text());
            }
        }
        Ok(())
    }

    fn container(&mut self) -> &mut Container {
        let last = self.containers.len() - 1;
        &mut self.containers[last]
    }

    fn paragraph(&mut self) -> &mut Paragraph {
        self.container().paragraph.get_or_insert_default()
    }

    fn is_in_run(&self) -> bool {
        let paragraph = self.containers.last().and_then(|container| container.paragraph.as_ref());
        paragraph.is_some_and(|paragraph| !paragraph.runs.is_empty())
    }

    /// Whether text at this point is invisible: in a hidden run, or in a field inside another field's instruction.
    fn is_hidden(&self) -> bool {
        self.containers.iter().any(|container| {
            let is_run_hidden = container
                .paragraph
                .as_ref()
                .is_some_and(|paragraph| paragraph.runs.last().copied().unwrap_or(paragraph.is_style_hidden));
            let outer = container.fields.len().saturating_sub(1);
            is_run_hidden || container.fields[..outer].iter().any(|field| !field.is_result)
        })
    }

    fn push(&mut self, text: &str) {
        if !self.is_hidden() {
            self.written += text.len();
            self.paragraph().text.push_str(text);
        }
    }

    /// Adds the text of an element such as `w:tab`, which stands for text only inside a run.
    fn push_in_run(&mut self, text: &str) {
        if self.is_in_run() {
            self.push(text);
        }
    }

    fn anchor(&mut self, block: String) {
        if !block.is_empty() && !self.is_hidden() {
            self.written += block.len();
            self.container().anchor(block);
        }
    }

    fn open(&mut self, element: &Element, note: &str) {
        match element.space {
            Space::Word => self.open_word(element, note),
            Space::Math => self.open_math(element),
            Space::Compatibility => self.open_alternative(element.name()),
            Space::Vml if element.name() == "textpath" => self.anchor(element.attribute("string").unwrap_or_default()),
            Space::Drawing if matches!(element.name(), "relIds" | "chart") => {
                let id = element.attribute("dm").or_else(|| element.attribute("id")).unwrap_or_default();
                if let Some(text) = self.drawings.remove(&id) {
                    self.anchor(text);
                }
            }
            _ => {}
        }
    }

    fn open_word(&mut self, element: &Element, note: &str) {
        let styles = self.styles;
        match element.name() {
            "p" => {
                self.container().end_paragraph(styles);
                self.paragraph();
            }
            "r" => {
                let is_hidden = self.paragraph().runs.last().copied().unwrap_or(self.paragraph().is_style_hidden);
                self.paragraph().runs.push(is_hidden);
            }
            "t" => self.is_in_text = true,
            "tab" | "ptab" => self.push_in_run(" "),
            "br" | "cr" => self.push_in_run("\n"),
            "noBreakHyphen" => self.push_in_run("-"),
            "sym" => {
                let (font, code) = (element.attribute("font"), element.attribute("char"));
                let symbol = symbols::character(&font.unwrap_or_default(), &code.unwrap_or_default());
                self.push_in_run(symbol.map(String::from).as_deref().unwrap_or_default());
            }
            "fldChar" => self.field(&element.attribute("fldCharType").unwrap_or_default()),
            "footnoteReference" => self.refer_to("footnote", element.attribute("id").unwrap_or_default()),
            "endnoteReference" => self.refer_to("endnote", element.attribute("id").unwrap_or_default()),
            "tbl" => {
                self.container().end_paragraph(styles);
                self.container().tables.push(Table::default());
            }
            "tr" => self.with_table(|table| {
                table.rows.push(Vec::new());
                table.is_row_deleted = false;
            }),
            "trPr" => self.with_table(|table| table.is_in_row_properties = true),
            "tc" => self.containers.push(Container::new(Holder::Cell { is_deleted: false })),
            "cellDel" => {
                if let Holder::Cell { is_deleted } = &mut self.container().holder {
                    *is_deleted = true;
                }
            }
            "txbxContent" => self.containers.push(Container::new(Holder::TextBox)),
            "del" | "moveFrom" | "rt" => {
                self.with_table(|table| table.is_row_deleted |= table.is_in_row_properties);
                self.skipped = 1;
            }
            name if name.ends_with("Change") => self.skipped = 1,
            // Separator lines are notes with a `type`.
            name if name == note && element.attribute("type").is_none_or(|kind| kind == "normal") => {
                let id = element.attribute("id").unwrap_or_default();
                self.containers.push(Container::new(Holder::Note { id }));
            }
            name if name == note => self.skipped = 1,
            _ => self.property(element),
        }
    }

    /// Reads a property of the current paragraph or run.
    fn property(&mut self, element: &Element) {
        let styles = self.styles;
        if self.is_in_run() {
            let is_hidden = match element.name() {
                "vanish" => Some(element.is_on()),
                "rStyle" => element.val().map(|style| styles.is_hidden(&style)).filter(|is_hidden| *is_hidden),
                _ => None,
            };
            if let (Some(is_hidden), Some(run)) = (is_hidden, self.paragraph().runs.last_mut()) {
                *run = is_hidden;
            }
            return;
        }
        let number = || element.val().and_then(|value| value.parse().ok());
        let Some(paragraph) = &mut self.container().paragraph else { return };
        match element.name() {
            "pStyle" => {
                paragraph.style = element.val();
                paragraph.is_style_hidden = paragraph.style.as_deref().is_some_and(|style| styles.is_hidden(style));
            }
            "outlineLvl" => paragraph.outline_level = number(),
            "ilvl" => paragraph.list_level = number(),
            "numId" => paragraph.is_item = Some(element.val().is_some_and(|id| id != "0")),
            _ => {}
        }
    }

    /// Writes the operator that an element of a formula stands for.
    fn open_math(&mut self, element: &Element) {
        match element.name() {
            "t" => self.is_in_text = true,
            "den" => self.push("/"),
            "sup" => self.push("^"),
            "sub" => self.push("_"),
            "rad" => self.push("√"),
            "d" => self.push("("),
            "chr" => self.push(&element.val().unwrap_or_default()),
            _ => {}
        }
    }

    fn open_alternative(&mut self, name: &str) {
        let written = self.written;
        match (name, self.alternatives.last_mut()) {
            ("AlternateContent", _) => self.alternatives.push(Alternatives { is_taken: false, written }),
            ("Choice" | "Fallback", Some(Alternatives { is_taken: true, .. })) => self.skipped = 1,
            ("Choice" | "Fallback", Some(alternatives)) => alternatives.written = written,
            _ => {}
        }
    }

    fn close(&mut self, space: Space, name: &str, note: &str) {
        let (styles, written) = (self.styles, self.written);
        match (space, name) {
            (Space::Word | Space::Math, "t") => self.is_in_text = false,
            (Space::Word, "p") => self.container().end_paragraph(styles),
            (Space::Word, "r") => drop(self.paragraph().runs.pop()),
            (Space::Word, "tr") => self.with_table(|table| {
                if table.is_row_deleted {
                    table.rows.pop();
                }
            }),
            (Space::Word, "trPr") => self.with_table(|table| table.is_in_row_properties = false),
            (Space::Word, "tbl") => {
                if let Some(table) = self.container().tables.pop() {
                    self.container().blocks.table(&table.rows);
                }
            }
            (Space::Word, "tc" | "txbxContent") => self.close_container(note),
            (Space::Word, name) if !note.is_empty() && name == note => self.close_container(note),
            (Space::Math, "d") => self.push(")"),
            (Space::Compatibility, "AlternateContent") => drop(self.alternatives.pop()),
            (Space::Compatibility, "Choice") => {
                if let Some(alternatives) = self.alternatives.last_mut() {
                    alternatives.is_taken |= written > alternatives.written;
                }
            }
            _ => {}
        }
    }

    fn close_container(&mut self, note: &str) {
        if self.containers.len() < 2 {
            return;
        }
        let Some(mut inner) = self.containers.pop() else { return };
        inner.end_paragraph(self.styles);
        let text = inner.blocks.into_text();
        match inner.holder {
            Holder::Part => {}
            Holder::Cell { is_deleted } => {
                let text = if is_deleted { String::new() } else { text };
                match self.container().tables.last_mut().and_then(|table| table.rows.last_mut()) {
                    Some(row) => row.push(text),
                    None => self.container().anchor(text),
                }
            }
            // Bypasses `Self::anchor`, since these bytes have already been counted.
            Holder::TextBox => self.container().anchor(text),
            Holder::Note { id } => drop(self.notes.texts.insert((note.to_owned(), id), text)),
        }
    }

    fn with_table(&mut self, change: impl FnOnce(&mut Table)) {
        if let Some(table) = self.container().tables.last_mut() {
            change(table);
        }
    }

    fn field(&mut self, kind: &str) {
        let fields = &mut self.container().fields;
        match kind {
            "begin" => fields.push(Field { is_result: false }),
            "separate" => fields.iter_mut().rev().take(1).for_each(|field| field.is_result = true),
            "end" => drop(fields.pop()),
            _ => {}
        }
    }

    /// Writes a reference to a note, and the note after the paragraph.
    fn refer_to(&mut self, kind: &str, id: String) {
        if self.is_hidden() {
            return;
        }
        if let Some(text) = self.notes.texts.remove(&(kind.to_owned(), id)).filter(|text| !text.is_empty()) {
            self.notes.used += 1;
            let label = self.notes.used;
            self.push(&format!("[^{label}]"));
            self.anchor(format!("[^{label}]: {text}"));
        }
    }
}
