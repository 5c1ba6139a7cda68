//! Composition of an answer: framing sentences, quotations of passages, and replies to small talk, as Markdown.

use super::quote::{Question, Scope, escape};
use crate::{
    domain::{MessageRole, Passage, RetrievalBasis},
    language::{Language, Languages, SmallTalk},
    provider::{GenerateRequest, QuestionPart},
};
use std::{collections::HashSet, fmt::Write as _};

/// Maximum number of passages to quote.
const MAX_QUOTED: usize = 3;
/// Minimum score of further passages, relative to the best one.
const FURTHER_SHARE: f64 = 0.8;
/// Minimum score, relative to the best passage, from which a further passage is quoted as fully as the best one.
const EQUAL_SHARE: f64 = 0.9;
/// Number of earlier answers whose paragraphs a follow-up does not repeat.
const ANSWERS_NOT_REPEATED: usize = 2;

/// Writes the answer. It cites passages by their numbers in the request, which are those of the turn's sources.
pub(super) fn write(request: &GenerateRequest, languages: &Languages) -> String {
    let language = languages.get(&request.guidance.language).unwrap_or_else(|| languages.default_language());
    let answerer = Answerer { request, languages, language, said: said(request) };
    if let Some(kind) = request.guidance.small_talk {
        return answerer.small_talk(kind);
    }
    let mut answer = answerer.questions();
    answer.truncate(answer.trim_end().len());
    answer
}

/// Returns the latest answers, if the message is a follow-up.
fn said(request: &GenerateRequest) -> String {
    if request.guidance.query == request.question {
        return String::new();
    }
    let answers = request.history.iter().rev().filter(|message| message.role == MessageRole::Assistant);
    answers.take(ANSWERS_NOT_REPEATED).map(|message| message.content.as_str()).collect::<Vec<_>>().join("\n")
}

struct Answerer<'a> {
    request: &'a GenerateRequest,
    languages: &'a Languages,
    language: &'a Language,
    /// Text that a follow-up does not repeat.
    said: String,
}

/// Answer to one question.
#[derive(Default)]
struct Answered {
    text: String,
    /// Note after the text.
    note: String,
    /// Whether it should say what else the documents can help with.
    needs_help: bool,
}

/// A passage and its number among the sources.
type Numbered<'a> = (usize, &'a Passage);

impl Answerer<'_> {
    fn small_talk(&self, kind: SmallTalk) -> String {
        let replies = &self.language.replies;
        let guidance = &self.request.guidance;
        let sentence = match kind {
            SmallTalk::Complaint => &replies.complaint,
            SmallTalk::Human => &replies.human,
            SmallTalk::Identity => &replies.identity,
            SmallTalk::Capability => &replies.capability,
            SmallTalk::Farewell => &replies.farewell,
            SmallTalk::Thanks => &replies.thanks,
            SmallTalk::Greeting => &replies.greeting,
            SmallTalk::Acknowledgement => &replies.acknowledgement,
        };
        let mut answer = replies.with_topics(sentence, &guidance.topics);
        let suggests = !matches!(kind, SmallTalk::Farewell | SmallTalk::Thanks);
        if suggests && !guidance.starters.is_empty() {
            let _ = write!(answer, "\n\n{}\n", replies.starters);
            for starter in &guidance.starters {
                let _ = write!(answer, "\n- {}", escape(starter));
            }
        }
        answer
    }

    /// Answers the questions of the message one by one.
    fn questions(&self) -> String {
        let GenerateRequest { passages, guidance, .. } = self.request;
        let numbered = |part: &QuestionPart| -> Vec<Numbered> {
            part.passages.iter().filter_map(|index| Some((index + 1, passages.get(*index)?))).collect()
        };
        let answer = match guidance.parts.as_slice() {
            [] => {
                let numbered: Vec<Numbered> = (1..).zip(passages).collect();
                self.question(&self.request.question, &guidance.query, self.request.basis, &numbered)
            }
            [part] => self.question(&part.question, &part.query, part.basis, &numbered(part)),
            parts => {
                // A statement beside the questions needs no answer.
                let parts = parts.iter().filter(|part| part.asks || is_known(part.basis));
                let answers =
                    parts.map(|part| (part, self.question(&part.question, &part.query, part.basis, &numbered(part))));
                self.one_by_one(&answers.collect::<Vec<_>>())
            }
        };
        let help = if answer.needs_help { self.closest_help() } else { String::new() };
        format!("{}\n\n{}{help}", answer.text.trim_end(), answer.note)
    }

    /// Joins the answers to several questions. A note that several need is added once, after all.
    fn one_by_one(&self, answers: &[(&QuestionPart, Answered)]) -> Answered {
        let mut all = Answered::default();
        for (part, Answered { text, note, needs_help }) in answers {
            let _ = write!(all.text, "**{}**\n\n{}\n\n", escape(&part.question), text.trim_end());
            if !all.note.contains(note.as_str()) {
                all.note.push_str(note);
            }
            all.needs_help |= needs_help;
        }
        all
    }

    fn question(&self, own: &str, query: &str, basis: RetrievalBasis, passages: &[Numbered]) -> Answered {
        let Some((_, best)) = passages.first() else { return self.nothing() };
        let texts: Vec<&Passage> = passages.iter().map(|(_, passage)| *passage).collect();
        let question = Question::new(own, query, &texts);
        let answer = match basis {
            RetrievalBasis::Covered if !self.request.guidance.is_danger && question.is_by_chance(best) => String::new(),
            RetrievalBasis::Covered | RetrievalBasis::Similar => self.quotations(&question, passages),
            RetrievalBasis::Closest | RetrievalBasis::Nothing => String::new(),
        };
        if !answer.is_empty() {
            return Answered { text: answer, note: self.language_note(best), needs_help: false };
        }
        if let Some(kind) = self.request.guidance.aside {
            return Answered { text: self.small_talk(kind), ..Answered::default() };
        }
        if basis == RetrievalBasis::Nothing {
            return self.nothing();
        }
        self.closest(&question, passages[0])
    }

    fn nothing(&self) -> Answered {
        let replies = &self.language.replies;
        let text = match self.request.guidance.aside {
            Some(kind) => self.small_talk(kind),
            None => replies.with_topics(&replies.nothing, &self.request.guidance.topics),
        };
        Answered { text, ..Answered::default() }
    }

    fn closest_help(&self) -> String {
        let replies = &self.language.replies;
        replies.with_topics(&replies.closest_help, &self.request.guidance.topics)
    }

    /// Quotes the passages that answer the question.
    fn quotations(&self, question: &Question, passages: &[Numbered]) -> String {
        let best = passages[0].1;
        let replies = &self.language.replies;
        let mut answer = String::new();
        let mut quoted = HashSet::new();
        for &(number, passage) in passages.iter().take(MAX_QUOTED) {
            if passage.score < best.score * FURTHER_SHARE {
                break;
            }
            let is_first = answer.is_empty();
            if !is_first && (self.request.guidance.is_danger || !question.matches_heading(passage)) {
                continue;
            }
            let scope = if self.request.guidance.is_danger {
                Scope::Section
            } else if passage.score >= best.score * EQUAL_SHARE {
                Scope::Full
            } else {
                Scope::Match
            };
            let mut quote = question.quote(passage, scope, &mut quoted, &self.said);
            let mut frame = if is_first { &replies.quote } else { &replies.further_quote };
            if quote.is_empty() && is_first {
                // Everything is in the answers before. It is better repeated than withheld.
                quote = question.quote(passage, scope, &mut HashSet::new(), "");
                frame = &replies.repeated;
            }
            if !quote.is_empty() {
                let _ = write!(answer, "{}\n\n{quote}\n\n", framed(frame, passage, number));
            }
        }
        answer
    }

    /// Offers the section that is closest to the question.
    fn closest(&self, question: &Question, (number, passage): Numbered) -> Answered {
        let quote = question.quote(passage, Scope::Section, &mut HashSet::new(), "");
        let frame = framed(&self.language.replies.closest, passage, number);
        Answered { text: format!("{frame}\n\n{quote}"), note: self.language_note(passage), needs_help: true }
    }

    /// Says so if a quoted document is in another language than the answer.
    fn language_note(&self, passage: &Passage) -> String {
        let replies = &self.language.replies;
        match self.languages.detect(&passage.text) {
            Some(other) if other.code != self.language.code => {
                let name = replies.languages.get(&other.code).unwrap_or(&other.name);
                format!("{}\n\n", replies.other_language.replace("{language}", name))
            }
            _ => String::new(),
        }
    }
}

const fn is_known(basis: RetrievalBasis) -> bool {
    matches!(basis, RetrievalBasis::Covered | RetrievalBasis::Similar)
}

/// Fills the title and the number of a passage into a sentence.
fn framed(sentence: &str, passage: &Passage, number: usize) -> String {
    // The number first, since a title may contain the placeholder.
    sentence.replace("{number}", &number.to_string()).replace("{title}", &escape(&passage.title))
}

#[cfg(test)]
mod tests;
