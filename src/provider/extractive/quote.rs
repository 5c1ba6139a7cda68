//! Quotation of a passage: selects the sentences, items and table rows that match a question, as Markdown.

use super::blocks::{Block, blocks};
use crate::{domain::Passage, terms};
use std::collections::{HashMap, HashSet};

/// Minimum weight of a quoted unit, relative to the best unit of its passage.
const UNIT_SHARE: f64 = 0.6;
/// Minimum weight of the title, relative to the whole passage, for the passage to be about the question and quoted as a whole.
const TITLE_SHARE: f64 = 0.6;
/// Minimum weight of the heading of further passages, relative to the question; excludes chance mentions.
const FURTHER_HEADING_SHARE: f64 = 0.5;
/// Minimum weight of the title and the best unit together, relative to the question. With less, such as for a question in another
/// language than the document, no unit stands out, and the section is quoted.
const FIT_SHARE: f64 = 0.35;
/// Minimum weight of the best unit, relative to the question, for a passage whose headings have nothing of the question. With less, it
/// shares a word with the question by chance.
const UNIT_ALONE_SHARE: f64 = 0.7;
/// Minimum score of a passage that has, with its keywords, practically all words of the question, which is no chance.
const CERTAIN_SCORE: f64 = 0.95;
/// Maximum length of a passage's paragraphs, in characters, to quote them completely rather than by sentence.
const WHOLE_PARAGRAPHS_CHARS: usize = 600;
/// Length in characters after which a quoted section ends, at the end of a block.
const SECTION_CHARS: usize = 900;
/// Weight of a follow-up question's own words relative to those of the question before it.
const OWN_WORDS_BOOST: f64 = 3.0;
/// Maximum number of table rows or list items per block.
const MAX_LINES: usize = 12;

/// Extent of a quotation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// Only the units that match the question.
    Match,
    /// Complete lists and paragraphs where they belong to the match.
    Full,
    /// The passage, from its beginning.
    Section,
}

/// Stems of the question, weighted by their rarity in the passages.
pub(super) struct Question {
    weights: HashMap<String, f64>,
    /// Sum of all weights.
    total: f64,
}

impl Question {
    /// `query` is the retrieval query: the question itself, `own`, and for a follow-up also the question before it.
    pub(super) fn new(own: &str, query: &str, passages: &[&Passage]) -> Self {
        let own = if own == query { HashSet::new() } else { terms::stems(own).into_iter().collect() };
        let units: Vec<HashSet<String>> = passages
            .iter()
            .flat_map(|passage| blocks(&passage.text))
            .flat_map(|block| match block {
                Block::Paragraph(units) | Block::List { items: units, .. } => units,
                Block::Table { rows, .. } => rows.iter().map(|row| row.join(" ")).collect(),
            })
            .map(|unit| terms::stems(&unit).into_iter().collect())
            .collect();
        let weights: HashMap<String, f64> = terms::stems(query)
            .into_iter()
            .map(|term| {
                let matching = units.iter().filter(|unit| unit.contains(&term)).count() as f64;
                let weight = (1.0 + (units.len() as f64 + 1.0) / (matching + 0.5)).ln();
                let weight = if own.contains(&term) { weight * OWN_WORDS_BOOST } else { weight };
                (term, weight)
            })
            .collect();
        // Sorted, since a floating-point sum in the random order of the map would not be deterministic.
        let mut all: Vec<f64> = weights.values().copied().collect();
        all.sort_by(f64::total_cmp);
        Self { weights, total: all.iter().sum() }
    }

    /// Weight of a text: the sum of the weights of the question's stems that it contains.
    fn weight(&self, text: &str) -> f64 {
        let stems: HashSet<_> = terms::stems(text).into_iter().collect();
        // Sorted, since a floating-point sum in the random order of the set would not be deterministic.
        let mut weights: Vec<f64> = stems.iter().filter_map(|stem| self.weights.get(stem)).copied().collect();
        weights.sort_by(f64::total_cmp);
        weights.iter().sum()
    }

    /// Whether the question has all words of the innermost heading of a passage, of which there are several.
    fn names_heading(&self, passage: &Passage) -> bool {
        let stems = terms::stems(heading(passage));
        stems.len() > 1 && stems.iter().all(|stem| self.weights.contains_key(stem))
    }

    /// Whether the innermost heading of a passage contains enough of the question.
    pub(super) fn matches_heading(&self, passage: &Passage) -> bool {
        let heading = heading(passage);
        self.total > 0.0 && self.weight(heading) >= self.total * FURTHER_HEADING_SHARE
    }

    /// Whether a passage shares a word or two with the question by chance. A passage without any of its words was found by other
    /// spellings or by its meaning, which is no chance.
    pub(super) fn is_by_chance(&self, passage: &Passage) -> bool {
        if self.weight(&passage.title) > 0.0 || passage.score >= CERTAIN_SCORE {
            return false;
        }
        let weight = |block: &Block| match block {
            Block::Paragraph(units) | Block::List { items: units, .. } => {
                units.iter().map(|unit| self.weight(unit)).fold(0.0, f64::max)
            }
            Block::Table { header, rows } => {
                let row = |row: &Vec<String>| self.weight(&format!("{} {}", header.join(" "), row.join(" ")));
                rows.iter().map(row).fold(0.0, f64::max)
            }
        };
        let best = blocks(&passage.text).iter().map(weight).fold(0.0, f64::max);
        best > 0.0 && best < self.total * UNIT_ALONE_SHARE
    }

    /// Quotes a passage in Markdown, without the units in `quoted`, which it extends, and without the sentences in `said`.
    pub(super) fn quote(&self, passage: &Passage, scope: Scope, quoted: &mut HashSet<String>, said: &str) -> String {
        let blocks = blocks(&passage.text);
        let title_weight = self.weight(&passage.title);
        let best = blocks.iter().flat_map(units).map(|unit| self.weight(&unit)).fold(0.0, f64::max);
        let fits = title_weight + best >= self.total * FIT_SHARE && best + title_weight > 0.0;
        if scope == Scope::Section || !fits {
            return self.section(&passage.title, &blocks, quoted, said);
        }
        let fully = scope == Scope::Full;
        let passage_weight = self.weight(&format!("{} {}", passage.title, passage.text));
        let is_titled = title_weight >= passage_weight * TITLE_SHARE || self.names_heading(passage);
        let is_on_topic = fully && passage_weight > 0.0 && is_titled;
        let keep = |text: &str| best == 0.0 || self.weight(text) >= best * UNIT_SHARE;
        let whole_paragraphs = is_on_topic && paragraph_chars(&blocks) <= WHOLE_PARAGRAPHS_CHARS;
        let mut quotes: Vec<String> = Vec::new();
        let mut lead_in = None;
        for block in &blocks {
            let quote = match block {
                Block::Paragraph(sentences) => {
                    let chosen: Vec<_> = sentences
                        .iter()
                        .filter(|unit| (whole_paragraphs || keep(unit)) && !is_said(unit, said))
                        .filter(|unit| quoted.insert((*unit).clone()))
                        .collect();
                    let text = chosen.iter().map(|sentence| escape(sentence)).collect::<Vec<_>>().join(" ");
                    let last = sentences.last().filter(|last| last.ends_with(':'));
                    lead_in = last.filter(|last| !chosen.contains(last)).map(|last| escape(last));
                    text
                }
                Block::List { ordered, items } => {
                    // A single step of a procedure is useless, so ordered lists are quoted as a whole.
                    let whole = is_on_topic || (*ordered && (fully || items.iter().any(|item| keep(item))));
                    let chosen: Vec<_> = items
                        .iter()
                        .filter(|item| (whole || keep(item)) && quoted.insert((*item).clone()))
                        .take(MAX_LINES)
                        .map(|item| escape(item))
                        .collect();
                    list(&chosen, *ordered)
                }
                Block::Table { header, rows } => {
                    let chosen: Vec<_> = self
                        .rows(&passage.title, header, rows, is_on_topic || keep(&header.join(" ")), best)
                        .into_iter()
                        .filter(|row| quoted.insert(row.clone()))
                        .take(MAX_LINES)
                        .collect();
                    list(&chosen, false)
                }
            };
            if quote.is_empty() {
                continue;
            }
            if !matches!(block, Block::Paragraph(_)) {
                quotes.extend(lead_in.take());
            }
            quotes.push(quote);
        }
        quotes.join("\n\n")
    }

    /// Formats the rows of a table that match the question. If the table is on topic: the rows whose first cell the question
    /// names, or all if it names none. Otherwise the rows that match as a whole. Columns: those that the question names, or all.
    fn rows(&self, title: &str, header: &[String], rows: &[Vec<String>], is_on_topic: bool, best: f64) -> Vec<String> {
        let table: HashSet<_> = terms::stems(&format!("{title} {}", header.join(" "))).into_iter().collect();
        let name_weights: Vec<f64> = rows
            .iter()
            .map(|row| terms::stems(row.first().map_or("", String::as_str)))
            .map(|name| {
                name.iter().filter(|stem| !table.contains(*stem)).filter_map(|stem| self.weights.get(stem)).sum()
            })
            .collect();
        let best_name = name_weights.iter().copied().fold(0.0, f64::max);
        let column_weights: Vec<f64> = header.iter().skip(1).map(|cell| self.weight(cell)).collect();
        let heaviest = column_weights.iter().copied().fold(0.0, f64::max);
        let columns: Vec<usize> = (1..)
            .zip(column_weights)
            .filter(|(_, weight)| *weight >= heaviest * UNIT_SHARE)
            .map(|(column, _)| column)
            .collect();
        rows.iter()
            .zip(name_weights)
            .filter(|(row, name_weight)| {
                if best_name > 0.0 && is_on_topic {
                    *name_weight >= best_name * UNIT_SHARE
                } else {
                    is_on_topic || self.weight(&row.join(" ")) >= best * UNIT_SHARE
                }
            })
            .map(|(row, _)| row_text(header, row, &columns))
            .collect()
    }

    /// Quotes the blocks of a passage from its beginning. Of a table, the rows that the question names, or all if it names none.
    fn section(&self, title: &str, blocks: &[Block], quoted: &mut HashSet<String>, said: &str) -> String {
        let mut quotes: Vec<String> = Vec::new();
        let mut chars = 0;
        for block in blocks {
            let quote = match block {
                Block::Paragraph(sentences) => {
                    let new = sentences.iter().filter(|unit| !is_said(unit, said) && quoted.insert((*unit).clone()));
                    new.map(|unit| escape(unit)).collect::<Vec<_>>().join(" ")
                }
                Block::List { ordered, items } => {
                    let new = items.iter().filter(|item| quoted.insert((*item).clone())).take(MAX_LINES);
                    list(&new.map(|item| escape(item)).collect::<Vec<_>>(), *ordered)
                }
                Block::Table { header, rows } => {
                    let rows = self.rows(title, header, rows, true, 0.0).into_iter().take(MAX_LINES);
                    list(&rows.filter(|row| quoted.insert(row.clone())).collect::<Vec<_>>(), false)
                }
            };
            if quote.is_empty() {
                continue;
            }
            chars += quote.chars().count();
            quotes.push(quote);
            if chars >= SECTION_CHARS {
                break;
            }
        }
        quotes.join("\n\n")
    }
}

/// Returns the innermost heading of a passage.
fn heading(passage: &Passage) -> &str {
    passage.title.rsplit(" › ").next().unwrap_or_default()
}

/// Whether a sentence is in the answers before.
fn is_said(sentence: &str, said: &str) -> bool {
    !said.is_empty() && said.contains(&escape(sentence))
}

fn paragraph_chars(blocks: &[Block]) -> usize {
    let sentences = blocks.iter().filter_map(|block| match block {
        Block::Paragraph(sentences) => Some(sentences),
        Block::List { .. } | Block::Table { .. } => None,
    });
    sentences.flatten().map(|sentence| sentence.chars().count()).sum()
}

/// Splits a block into units that can be quoted alone.
fn units(block: &Block) -> Vec<String> {
    match block {
        Block::Paragraph(units) | Block::List { items: units, .. } => units.clone(),
        Block::Table { header, rows } => [header].into_iter().chain(rows).map(|row| row.join(" ")).collect(),
    }
}

fn row_text(header: &[String], row: &[String], columns: &[usize]) -> String {
    let name = row.first().map_or("", String::as_str);
    let cells: Vec<_> = columns
        .iter()
        .filter_map(|&column| Some((header.get(column)?, row.get(column)?)))
        .filter(|(_, cell)| !cell.is_empty())
        .map(|(head, cell)| match columns.len() {
            1 if header.len() == 2 => escape(cell),
            _ => format!("{} {}", escape(head), escape(cell)),
        })
        .collect();
    format!("**{}**: {}", escape(name), cells.join("; "))
}

fn list(items: &[String], ordered: bool) -> String {
    let lines: Vec<_> = (1..)
        .zip(items)
        .map(|(number, item)| if ordered { format!("{number}. {item}") } else { format!("- {item}") })
        .collect();
    lines.join("\n")
}

/// Escapes Markdown, so that text of a document cannot become a link, an image or HTML.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '\\' | '`' | '*' | '[' | ']' | '<' | '>' | '|') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}
