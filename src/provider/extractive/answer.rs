//! Composition of an answer: framing sentences, quotations of passages, and replies to small talk, as Markdown.

use super::quote::{Question, Scope, escape};
use crate::{
    domain::{MessageRole, Passage, RetrievalBasis},
    language::{Language, Languages, SmallTalk},
    provider::GenerateRequest,
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
        if guidance.parts.is_empty() {
            let numbered: Vec<Numbered> = (1..).zip(passages).collect();
            return self.question(&self.request.question, &guidance.query, self.request.basis, &numbered);
        }
        let mut answer = String::new();
        for part in &guidance.parts {
            let numbered = part.passages.iter().filter_map(|index| Some((index + 1, passages.get(*index)?)));
            let numbered: Vec<Numbered> = numbered.collect();
            let is_known = matches!(part.basis, RetrievalBasis::Covered | RetrievalBasis::Similar);
            // A statement beside the questions needs no answer.
            if !is_known && !part.question.ends_with('?') {
                continue;
            }
            let answered = self.question(&part.question, &part.question, part.basis, &numbered);
            let _ = write!(answer, "**{}**\n\n{}\n\n", escape(&part.question), answered.trim_end());
        }
        answer
    }

    fn question(&self, own: &str, query: &str, basis: RetrievalBasis, passages: &[Numbered]) -> String {
        let Some((_, best)) = passages.first() else { return self.nothing() };
        let texts: Vec<&Passage> = passages.iter().map(|(_, passage)| *passage).collect();
        let question = Question::new(own, query, &texts);
        let answer = match basis {
            RetrievalBasis::Covered if !self.request.guidance.is_danger && question.is_by_chance(best) => String::new(),
            RetrievalBasis::Covered | RetrievalBasis::Similar => self.quotations(&question, passages),
            RetrievalBasis::Closest | RetrievalBasis::Nothing => String::new(),
        };
        if !answer.is_empty() {
            return answer + &self.language_note(best);
        }
        if let Some(kind) = self.request.guidance.aside {
            return self.small_talk(kind);
        }
        if basis == RetrievalBasis::Nothing {
            return self.nothing();
        }
        self.closest(&question, passages[0])
    }

    fn nothing(&self) -> String {
        match self.request.guidance.aside {
            Some(kind) => self.small_talk(kind),
            None => self.language.replies.with_topics(&self.language.replies.nothing, &self.request.guidance.topics),
        }
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
    fn closest(&self, question: &Question, (number, passage): Numbered) -> String {
        let replies = &self.language.replies;
        let quote = question.quote(passage, Scope::Section, &mut HashSet::new(), "");
        let frame = framed(&replies.closest, passage, number);
        let help = replies.with_topics(&replies.closest_help, &self.request.guidance.topics);
        format!("{frame}\n\n{quote}\n\n{}{help}", self.language_note(passage))
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

/// Fills the title and the number of a passage into a sentence.
fn framed(sentence: &str, passage: &Passage, number: usize) -> String {
    // The number first, since a title may contain the placeholder.
    sentence.replace("{number}", &number.to_string()).replace("{title}", &escape(&passage.title))
}

#[cfg(test)]
mod tests;
