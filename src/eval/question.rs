//! Labelled questions: one JSON object per line. `tests/fixtures/questions/README.md` describes the fields.

use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// The kind whose questions must not be answered as known.
pub(super) const OFF_TOPIC: &str = "off-topic";
/// The kind that looks like danger and must not be preceded by the safety warning.
pub(super) const HARMLESS: &str = "harmless";
/// Problems that an error lists; it counts the others.
const MAX_LISTED_PROBLEMS: usize = 20;

/// A labelled question.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    pub id: String,
    /// The kind, by which the report has rows.
    pub kind: String,
    /// Language of the question, such as `en`.
    pub lang: String,
    pub question: String,
    /// Earlier messages of the user, oldest first.
    #[serde(default)]
    pub history: Vec<String>,
    /// Sections that answer the question; empty: no section does. Absent: not labelled, so retrieval is not measured.
    pub relevant: Option<Vec<RelevantSection>>,
    /// Specialist that should answer; absent: any.
    pub specialist: Option<String>,
    /// Specialists that are as good.
    #[serde(default)]
    pub specialist_also: Vec<String>,
    /// Group within the kind, by which the report has rows.
    pub group: Option<String>,
    /// Requirements for the text of the answer.
    pub expect: Option<Expectation>,
}

/// Section of a document that answers a question, or one part of it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RelevantSection {
    /// Name of the document.
    pub document: String,
    /// Heading of the section.
    pub heading: String,
    /// In a message with several questions: the number of the question, from 1.
    #[serde(default = "first_part")]
    pub part: u32,
}

fn first_part() -> u32 {
    1
}

/// Requirements for the text of an answer. Texts are compared without regard to case.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expectation {
    /// Nature of the answer.
    #[serde(default, rename = "type")]
    pub expected: Expected,
    /// Texts of which the answer contains at least one.
    #[serde(default)]
    pub contains_any: Vec<String>,
    /// Texts that the answer contains.
    #[serde(default)]
    pub contains_all: Vec<String>,
}

/// Nature of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Expected {
    /// An answer from the documents.
    #[default]
    Answer,
    /// The safety warning, then an answer.
    Warning,
    /// The admission that the documents do not cover the question.
    Refusal,
    /// A list of topics to ask about.
    Help,
    Greeting,
    Thanks,
    #[serde(rename = "goodbye")]
    Farewell,
    /// The assistant's introduction as one.
    Identity,
}

/// Questions of one or several files.
#[derive(Clone, Debug, Default)]
pub struct QuestionSet {
    /// Each with its place, as `file:line`.
    questions: Vec<(String, Question)>,
    /// Hash of each line.
    lines: BTreeSet<[u8; 32]>,
}

/// Fault in a line of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// `file:line`.
    pub place: String,
    /// Field and reason.
    pub reason: String,
}

/// The reason why questions are refused. Holds at least one problem.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct InvalidQuestions(pub Vec<Problem>);

impl fmt::Display for InvalidQuestions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let listed = self.0.iter().take(MAX_LISTED_PROBLEMS);
        let lines: Vec<_> = listed.map(|problem| format!("{}: {}", problem.place, problem.reason)).collect();
        write!(f, "{}", lines.join("\n  "))?;
        match self.0.len().saturating_sub(MAX_LISTED_PROBLEMS) {
            0 => Ok(()),
            more => write!(f, "\n  … and {more} more"),
        }
    }
}

impl QuestionSet {
    /// Parses files, each given by its name and content.
    ///
    /// # Errors
    /// All lines that are not valid questions, ids that occur twice, and files without questions.
    pub fn parse<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, InvalidQuestions> {
        let mut set = Self::default();
        let mut problems = Vec::new();
        let mut first_uses: BTreeMap<String, String> = BTreeMap::new();
        for (name, text) in files {
            let mut is_empty = true;
            for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
                is_empty = false;
                let place = format!("{name}:{number}");
                let question = match parse_line(line) {
                    Ok(question) => question,
                    Err(reason) => {
                        problems.push(Problem { place, reason });
                        continue;
                    }
                };
                if let Some(first) = first_uses.insert(question.id.clone(), place.clone()) {
                    let reason = format!("`id`: {:?} is also the id of {first}; ids must be unique", question.id);
                    problems.push(Problem { place: place.clone(), reason });
                }
                set.lines.insert(Sha256::digest(line.trim()).into());
                set.questions.push((place, question));
            }
            if is_empty {
                problems.push(Problem { place: name.to_owned(), reason: "has no questions".to_owned() });
            }
        }
        if problems.is_empty() { Ok(set) } else { Err(InvalidQuestions(problems)) }
    }

    /// The questions, each with its place as `file:line`.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Question)> {
        self.questions.iter().map(|(place, question)| (place.as_str(), question))
    }

    /// Keeps the questions of these kinds.
    ///
    /// # Errors
    /// A kind that no question has, with those that there are.
    pub fn retain_kinds(&mut self, kinds: &[String]) -> Result<(), String> {
        let present: BTreeSet<&str> = self.iter().map(|(_, question)| question.kind.as_str()).collect();
        if let Some(unknown) = kinds.iter().find(|kind| !present.contains(kind.as_str())) {
            let present: Vec<_> = present.into_iter().collect();
            return Err(format!("no question is of the kind {unknown:?}; there are {}", present.join(", ")));
        }
        self.questions.retain(|(_, question)| kinds.contains(&question.kind));
        Ok(())
    }

    pub fn len(&self) -> usize {
        self.questions.len()
    }

    pub fn is_empty(&self) -> bool {
        self.questions.is_empty()
    }

    /// SHA-256 of all lines in any order, in hexadecimal. Two reports are comparable if theirs are equal.
    pub fn sha256(&self) -> String {
        let mut hash = Sha256::new();
        self.lines.iter().for_each(|line| hash.update(line));
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Parses a line; the error names the field.
fn parse_line(line: &str) -> Result<Question, String> {
    let mut json = serde_json::Deserializer::from_str(line);
    let question: Question = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        // The line of the error is always 1: each line is parsed on its own.
        let inner = error.into_inner().to_string();
        let reason = inner.split(" at line ").next().unwrap_or_default().to_owned();
        if [".", "?"].contains(&path.as_str()) { reason } else { format!("`{path}`: {reason}") }
    })?;
    json.end().map_err(|_| "more than one JSON object in the line".to_owned())?;
    let texts =
        [("id", &question.id), ("kind", &question.kind), ("lang", &question.lang), ("question", &question.question)];
    if let Some((field, _)) = texts.iter().find(|(_, text)| text.trim().is_empty()) {
        return Err(format!("`{field}`: must not be empty"));
    }
    if let Some(index) = question.history.iter().position(|message| message.trim().is_empty()) {
        return Err(format!("`history[{index}]`: must not be empty"));
    }
    if let Some(expect) = &question.expect {
        let texts = [("contains_any", &expect.contains_any), ("contains_all", &expect.contains_all)];
        if let Some((field, _)) = texts.iter().find(|(_, texts)| texts.iter().any(|text| text.trim().is_empty())) {
            return Err(format!("`expect.{field}`: must not contain an empty text"));
        }
    }
    let relevant = question.relevant.as_deref().unwrap_or_default();
    let parts: BTreeSet<u32> = relevant.iter().map(|section| section.part).collect();
    if !parts.iter().copied().eq(1..=u32::try_from(parts.len()).unwrap_or(u32::MAX)) {
        return Err("`relevant[].part`: parts are numbered from 1 without gaps".to_owned());
    }
    if question.specialist.is_none() && !question.specialist_also.is_empty() {
        return Err("`specialist_also`: needs `specialist`".to_owned());
    }
    Ok(question)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"id": "a-1", "kind": "own", "lang": "en", "question": "How wide?"}"#;

    fn problems(text: &str) -> String {
        QuestionSet::parse([("q.jsonl", text)]).unwrap_err().to_string()
    }

    #[test]
    fn a_line_needs_no_more_than_id_kind_language_and_question() {
        let set = QuestionSet::parse([("q.jsonl", format!("\n{LINE}\n\n").as_str())]).unwrap();
        let (place, question) = set.iter().next().unwrap();
        assert_eq!((place, question.id.as_str(), &question.relevant), ("q.jsonl:2", "a-1", &None));
    }

    #[test]
    fn a_bad_line_is_named_with_its_field() {
        let part = r#"{"id": "a", "kind": "k", "lang": "en", "question": "q", "#;
        for (line, wanted) in [
            ("{", "q.jsonl:1: EOF"),
            (r#"{"id": "a"}"#, "q.jsonl:1: missing field `kind`"),
            (r#"{"id": 1}"#, "q.jsonl:1: `id`: invalid type"),
            (&format!("{part}\"colour\": 1}}"), "`colour`: unknown field `colour`"),
            (&format!("{part}\"relevant\": [{{\"document\": \"d\"}}]}}"), "`relevant[0]`: missing field `heading`"),
            (
                &format!("{part}\"expect\": {{\"type\": \"joke\"}}}}"),
                "`expect.type`: unknown variant `joke`, expected one of",
            ),
            (&format!("{part}\"expect\": {{\"contains_any\": [\" \"]}}}}"), "`expect.contains_any`: must not"),
            (&format!("{part}\"history\": [\"a\", \"\"]}}"), "`history[1]`: must not be empty"),
            (&format!("{part}\"specialist_also\": [\"a\"]}}"), "`specialist_also`: needs `specialist`"),
            (
                &format!("{part}\"relevant\": [{{\"document\": \"d\", \"heading\": \"h\", \"part\": 2}}]}}"),
                "`relevant[].part`",
            ),
            (r#"{"id": " ", "kind": "k", "lang": "en", "question": "q"}"#, "`id`: must not be empty"),
            (&format!("{LINE} {LINE}"), "more than one JSON object"),
        ] {
            let problems = problems(line);
            assert!(problems.contains(wanted), "{line}: {problems}");
        }
    }

    #[test]
    fn all_problems_are_listed_and_ids_are_unique_across_files() {
        let error = QuestionSet::parse([("a.jsonl", LINE), ("b.jsonl", &format!("{{\n{LINE}")), ("c.jsonl", "\n")]);
        let InvalidQuestions(problems) = error.unwrap_err();
        let named: Vec<_> = problems.iter().map(|problem| problem.place.as_str()).collect();
        assert_eq!(named, ["b.jsonl:1", "b.jsonl:2", "c.jsonl"]);
        assert!(problems[1].reason.contains("a.jsonl:1"), "{problems:?}");
        let many = "{\n".repeat(25);
        assert!(self::problems(&many).ends_with("… and 5 more"));
    }

    #[test]
    fn the_hash_depends_on_the_lines_and_not_on_their_order() {
        let other = LINE.replace("a-1", "a-2");
        let hash = |lines: &[&str]| QuestionSet::parse([("q.jsonl", lines.join("\n").as_str())]).unwrap().sha256();
        assert_eq!(hash(&[LINE, &other]), hash(&[&other, LINE]));
        assert_ne!(hash(&[LINE, &other]), hash(&[LINE]));
    }

    #[test]
    fn a_kind_that_does_not_exist_is_refused_with_those_that_do() {
        let mut set = QuestionSet::parse([("q.jsonl", LINE)]).unwrap();
        let error = set.retain_kinds(&["german".to_owned()]).unwrap_err();
        assert!(error.contains("there are own"), "{error}");
        set.retain_kinds(&["own".to_owned()]).unwrap();
        assert_eq!(set.len(), 1);
    }
}
