//! An answer put together from passages: which sentences, items and rows of them, and how they read.

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

/// Passages that one answer quotes.
const MAX_QUOTED: usize = 3;
/// A further passage is quoted when it fits at least so well, as a share of the best one's score.
const FURTHER_SHARE: f64 = 0.8;
/// A unit of text is quoted when it says at least so much on the question, as a share of the best unit of its passage.
const UNIT_SHARE: f64 = 0.6;
/// A heading that holds so much of what the passage holds of the question makes the section the answer.
const HEADING_SHARE: f64 = 0.6;
/// A further passage is quoted only when its own heading holds so much of the question: a chance mention does not.
const FURTHER_HEADING_SHARE: f64 = 0.5;
/// A passage that fits about as well as the best is quoted as fully, from this share of its score on.
const EQUAL_SHARE: f64 = 0.9;
/// The paragraphs of a section that is the answer are quoted whole up to this, in characters; sentence by sentence above.
const WHOLE_PARAGRAPHS_CHARS: usize = 600;
/// In a follow-up the words of the question before count too; its own count so many times more.
const OWN_WORDS: f64 = 3.0;
/// Rows of a table, and items of a list, in one answer.
const MAX_LINES: usize = 12;

/// Writes the answer in Markdown.
pub(super) fn write(request: &GenerateRequest, topics: &[String]) -> String {
    let query = retrieval_query(&request.question, &request.history);
    let Some(best) = request.passages.first() else { return nothing(topics) };
    if best.score < GOOD_SCORE {
        return nothing_good(&request.passages, topics);
    }
    let question = Question::new(&request.question, &query, &request.passages);
    let mut answer = String::new();
    let mut sources: Vec<&Passage> = Vec::new();
    let mut said = HashSet::new();
    for passage in request.passages.iter().take(MAX_QUOTED) {
        if passage.score < GOOD_SCORE.max(best.score * FURTHER_SHARE) {
            break;
        }
        if !sources.is_empty() && !question.is_named_by(passage) {
            continue;
        }
        let quote = question.quote(passage, passage.score >= best.score * EQUAL_SHARE, &mut said);
        if quote.is_empty() {
            continue;
        }
        sources.push(passage);
        let (title, number) = (escape(&passage.title), sources.len());
        let _ = match number {
            1 => write!(answer, "According to **{title}** [{number}]:\n\n{quote}\n\n"),
            _ => write!(answer, "**{title}** adds [{number}]:\n\n{quote}\n\n"),
        };
    }
    if sources.is_empty() {
        return nothing_good(&request.passages, topics);
    }
    answer.push_str("Sources:\n\n");
    for (number, passage) in (1..).zip(sources) {
        let _ = writeln!(answer, "{number}. {} ({})", escape(&passage.title), escape(&passage.source));
    }
    answer.truncate(answer.trim_end().len());
    answer
}

fn nothing(topics: &[String]) -> String {
    format!("I found nothing about this in the knowledge base, so I cannot answer it. {}", offer(topics))
}

/// The passages share a word or two with the question: named, but not taken for an answer.
fn nothing_good(passages: &[Passage], topics: &[String]) -> String {
    let mut answer = "I found no clear answer to this in the knowledge base. What comes closest:\n\n".to_owned();
    for passage in passages.iter().take(MAX_QUOTED) {
        let _ = writeln!(answer, "- **{}** ({})", escape(&passage.title), escape(&passage.source));
    }
    let _ = write!(answer, "\n{}", offer(topics));
    answer
}

fn offer(topics: &[String]) -> String {
    match topics.split_last() {
        None => "I answer from its documents only; other words for the same thing may help.".to_owned(),
        Some((only, [])) => format!("I answer from its documents only: ask me about {only}."),
        Some((last, others)) => {
            format!("I answer from its documents only: ask me about {} or {last}.", others.join(", "))
        }
    }
}

/// The question's words, each with how telling it is among the passages.
struct Question {
    weights: HashMap<String, f64>,
}

impl Question {
    /// `query` is what was searched for: the question as it was asked, `own`, and what it goes on from.
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
                let holding = units.iter().filter(|unit| unit.contains(&term)).count() as f64;
                let weight = (1.0 + (units.len() as f64 + 1.0) / (holding + 0.5)).ln();
                let weight = if own.contains(&term) { weight * OWN_WORDS } else { weight };
                (term, weight)
            })
            .collect();
        Self { weights }
    }

    /// How much a text says on the question: the weight of the question's words in it.
    fn weight(&self, text: &str) -> f64 {
        let stems: HashSet<_> = terms::stems(text).into_iter().collect();
        // In the order of the text's own words the sum would depend on the hash; sorted, it does not.
        let mut held: Vec<f64> = stems.iter().filter_map(|stem| self.weights.get(stem)).copied().collect();
        held.sort_by(f64::total_cmp);
        held.iter().sum()
    }

    /// Whether the heading right above a passage holds a good part of the question.
    fn is_named_by(&self, passage: &Passage) -> bool {
        let heading = passage.title.rsplit(" › ").next().unwrap_or_default();
        let mut all: Vec<f64> = self.weights.values().copied().collect();
        all.sort_by(f64::total_cmp);
        self.weight(heading) >= all.iter().sum::<f64>() * FURTHER_HEADING_SHARE
    }

    /// What a passage says on the question, in Markdown; empty when that has been said. `fully`: with the steps, lists
    /// and neighbouring sentences that belong to what it says.
    fn quote(&self, passage: &Passage, fully: bool, said: &mut HashSet<String>) -> String {
        let blocks = blocks(&passage.text);
        let in_heading = self.weight(&passage.title);
        let in_all = self.weight(&format!("{} {}", passage.title, passage.text));
        let about_it = fully && in_all > 0.0 && in_heading >= in_all * HEADING_SHARE;
        let best = blocks.iter().flat_map(units).map(|unit| self.weight(&unit)).fold(0.0, f64::max);
        let keep = |text: &str| best == 0.0 || self.weight(text) >= best * UNIT_SHARE;
        let whole_paragraphs = about_it && paragraph_chars(&blocks) <= WHOLE_PARAGRAPHS_CHARS;
        let mut quotes: Vec<String> = Vec::new();
        let mut lead_in = None;
        for block in &blocks {
            let quote = match block {
                Block::Paragraph(sentences) => {
                    let chosen: Vec<_> = sentences
                        .iter()
                        .filter(|unit| (whole_paragraphs || keep(unit)) && said.insert((*unit).clone()))
                        .collect();
                    let text = chosen.iter().map(|sentence| escape(sentence)).collect::<Vec<_>>().join(" ");
                    let last = sentences.last().filter(|last| last.ends_with(':'));
                    lead_in = last.filter(|last| !chosen.contains(last)).map(|last| escape(last));
                    text
                }
                Block::List { ordered, items } => {
                    // One step out of the middle helps nobody.
                    let whole = about_it || (*ordered && (fully || items.iter().any(|item| keep(item))));
                    let chosen: Vec<_> = items
                        .iter()
                        .filter(|item| (whole || keep(item)) && said.insert((*item).clone()))
                        .take(MAX_LINES)
                        .map(|item| escape(item))
                        .collect();
                    list(&chosen, *ordered)
                }
                Block::Table { header, rows } => {
                    let chosen: Vec<_> = self
                        .rows(&passage.title, header, rows, about_it || keep(&header.join(" ")), best)
                        .into_iter()
                        .filter(|row| said.insert(row.clone()))
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

    /// The rows of a table that say something on the question, written out. When the question names some of the rows
    /// by what only their first cell says, they are those; when it names the table, they are all. Of the columns they
    /// are those that the question names, or all.
    fn rows(&self, title: &str, header: &[String], rows: &[Vec<String>], about_it: bool, best: f64) -> Vec<String> {
        let table: HashSet<_> = terms::stems(&format!("{title} {}", header.join(" "))).into_iter().collect();
        let names: Vec<f64> = rows
            .iter()
            .map(|row| terms::stems(row.first().map_or("", String::as_str)))
            .map(|name| {
                name.iter().filter(|stem| !table.contains(*stem)).filter_map(|stem| self.weights.get(stem)).sum()
            })
            .collect();
        let named = names.iter().copied().fold(0.0, f64::max);
        let heads: Vec<f64> = header.iter().skip(1).map(|head| self.weight(head)).collect();
        let most = heads.iter().copied().fold(0.0, f64::max);
        let columns: Vec<usize> =
            (1..).zip(heads).filter(|(_, weight)| *weight >= most * UNIT_SHARE).map(|(column, _)| column).collect();
        rows.iter()
            .zip(names)
            .filter(|(row, name)| {
                if named > 0.0 && about_it {
                    *name >= named * UNIT_SHARE
                } else {
                    about_it || self.weight(&row.join(" ")) >= best * UNIT_SHARE
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

/// The parts of a block that say something alone.
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

/// A document's text as text: nothing in it becomes a link, an image or HTML where the answer is shown.
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
