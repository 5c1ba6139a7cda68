//! Composition of an answer: selects the sentences, items and table rows to quote and formats them as Markdown.

use super::blocks::{Block, blocks};
use crate::{
    domain::Passage,
    knowledge::{GOOD_SCORE, retrieval_query},
    provider::GenerateRequest,
    terms,
};
use std::{
    collections::{HashMap, HashSet},
    fmt::Write as _,
};

/// Maximum number of passages to quote.
const MAX_QUOTED: usize = 3;
/// Minimum score of further passages, relative to the best one.
const FURTHER_SHARE: f64 = 0.8;
/// Minimum weight of a quoted unit, relative to the best unit of its passage.
const UNIT_SHARE: f64 = 0.6;
/// Minimum weight of the title, relative to the whole passage, for the passage to be about the question and quoted as a whole.
const TITLE_SHARE: f64 = 0.6;
/// Minimum weight of the heading of further passages, relative to the question; excludes chance mentions.
const FURTHER_HEADING_SHARE: f64 = 0.5;
/// Minimum score, relative to the best passage, from which a further passage is quoted as fully as the best one.
const EQUAL_SHARE: f64 = 0.9;
/// Maximum length of a passage's paragraphs, in characters, to quote them completely rather than by sentence.
const WHOLE_PARAGRAPHS_CHARS: usize = 600;
/// Weight of a follow-up question's own words relative to those of the question before it.
const OWN_WORDS_BOOST: f64 = 3.0;
/// Maximum number of table rows or list items per block.
const MAX_LINES: usize = 12;

/// Writes the answer in Markdown. It cites passages by their numbers in the request, which are those of the turn's sources.
pub(super) fn write(request: &GenerateRequest, topics: &[String]) -> String {
    let query = retrieval_query(&request.question, &request.history);
    let Some(best) = request.passages.first() else { return no_passages(topics) };
    if best.score < GOOD_SCORE {
        return weak_passages(&request.passages, topics);
    }
    let question = Question::new(&request.question, &query, &request.passages);
    let mut answer = String::new();
    let mut quoted = HashSet::new();
    for (number, passage) in (1..).zip(&request.passages).take(MAX_QUOTED) {
        if passage.score < GOOD_SCORE.max(best.score * FURTHER_SHARE) {
            break;
        }
        if !answer.is_empty() && !question.matches_heading(passage) {
            continue;
        }
        let quote = question.quote(passage, passage.score >= best.score * EQUAL_SHARE, &mut quoted);
        if quote.is_empty() {
            continue;
        }
        let title = escape(&passage.title);
        let _ = match answer.is_empty() {
            true => write!(answer, "According to **{title}** [{number}]:\n\n{quote}\n\n"),
            false => write!(answer, "**{title}** adds [{number}]:\n\n{quote}\n\n"),
        };
    }
    if answer.is_empty() {
        return weak_passages(&request.passages, topics);
    }
    answer.truncate(answer.trim_end().len());
    answer
}

fn no_passages(topics: &[String]) -> String {
    format!("I found nothing about this in the knowledge base, so I cannot answer it. {}", suggestion(topics))
}

/// Lists passages that match the question too weakly to be quoted as an answer.
fn weak_passages(passages: &[Passage], topics: &[String]) -> String {
    let mut answer = "I found no clear answer to this in the knowledge base. The closest matches:\n\n".to_owned();
    for passage in passages.iter().take(MAX_QUOTED) {
        let _ = writeln!(answer, "- **{}** ({})", escape(&passage.title), escape(&passage.source));
    }
    let _ = write!(answer, "\n{}", suggestion(topics));
    answer
}

fn suggestion(topics: &[String]) -> String {
    match topics.split_last() {
        None => "I answer from its documents only; rephrasing the question may help.".to_owned(),
        Some((only, [])) => format!("I answer from its documents only: ask me about {only}."),
        Some((last, others)) => {
            format!("I answer from its documents only: ask me about {} or {last}.", others.join(", "))
        }
    }
}

/// Stems of the question, weighted by their rarity in the passages.
struct Question {
    weights: HashMap<String, f64>,
}

impl Question {
    /// `query` is the retrieval query: the question itself, `own`, and for a follow-up also the question before it.
    fn new(own: &str, query: &str, passages: &[Passage]) -> Self {
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
        let weights = terms::stems(query)
            .into_iter()
            .map(|term| {
                let matching = units.iter().filter(|unit| unit.contains(&term)).count() as f64;
                let weight = (1.0 + (units.len() as f64 + 1.0) / (matching + 0.5)).ln();
                let weight = if own.contains(&term) { weight * OWN_WORDS_BOOST } else { weight };
                (term, weight)
            })
            .collect();
        Self { weights }
    }

    /// Weight of a text: the sum of the weights of the question's stems that it contains.
    fn weight(&self, text: &str) -> f64 {
        let stems: HashSet<_> = terms::stems(text).into_iter().collect();
        // Sorted, since a floating-point sum in the random order of the set would not be deterministic.
        let mut weights: Vec<f64> = stems.iter().filter_map(|stem| self.weights.get(stem)).copied().collect();
        weights.sort_by(f64::total_cmp);
        weights.iter().sum()
    }

    /// Whether the innermost heading of a passage contains enough of the question.
    fn matches_heading(&self, passage: &Passage) -> bool {
        let heading = passage.title.rsplit(" › ").next().unwrap_or_default();
        let mut all: Vec<f64> = self.weights.values().copied().collect();
        all.sort_by(f64::total_cmp);
        self.weight(heading) >= all.iter().sum::<f64>() * FURTHER_HEADING_SHARE
    }

    /// Quotes the units of a passage that match the question, in Markdown, except those in `quoted`, and adds them to it.
    /// `fully`: include complete lists and paragraphs where they belong to the match.
    fn quote(&self, passage: &Passage, fully: bool, quoted: &mut HashSet<String>) -> String {
        let blocks = blocks(&passage.text);
        let title_weight = self.weight(&passage.title);
        let passage_weight = self.weight(&format!("{} {}", passage.title, passage.text));
        let is_on_topic = fully && passage_weight > 0.0 && title_weight >= passage_weight * TITLE_SHARE;
        let best = blocks.iter().flat_map(units).map(|unit| self.weight(&unit)).fold(0.0, f64::max);
        let keep = |text: &str| best == 0.0 || self.weight(text) >= best * UNIT_SHARE;
        let whole_paragraphs = is_on_topic && paragraph_chars(&blocks) <= WHOLE_PARAGRAPHS_CHARS;
        let mut quotes: Vec<String> = Vec::new();
        let mut lead_in = None;
        for block in &blocks {
            let quote = match block {
                Block::Paragraph(sentences) => {
                    let chosen: Vec<_> = sentences
                        .iter()
                        .filter(|unit| (whole_paragraphs || keep(unit)) && quoted.insert((*unit).clone()))
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
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '\\' | '`' | '*' | '[' | ']' | '<' | '>' | '|') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

#[cfg(test)]
mod tests;
