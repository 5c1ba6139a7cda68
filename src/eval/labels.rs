//! Labels against the knowledge base and the specialists: a label that names something unknown is an error, not a miss.

use super::question::{InvalidQuestions, Problem, QuestionSet, RelevantSection};
use std::collections::{BTreeMap, BTreeSet};

/// The separator of headings in the title of a passage.
const HEADING_SEPARATOR: &str = " › ";

/// Documents of the knowledge base and the headings in each.
#[derive(Clone, Debug, Default)]
pub struct Sections(BTreeMap<String, BTreeSet<String>>);

impl Sections {
    /// Adds the section of a passage and the sections around it.
    pub fn add(&mut self, document: &str, title: &str) {
        let headings = self.0.entry(document.to_owned()).or_default();
        headings.extend(title.split(HEADING_SEPARATOR).map(str::to_owned));
    }

    fn problem(&self, section: &RelevantSection) -> Option<String> {
        let RelevantSection { document, heading, .. } = section;
        match self.0.get(document) {
            None => {
                let known: Vec<_> = self.0.keys().map(String::as_str).collect();
                Some(format!("`document`: there is no document {document:?}; there are {}", known.join(", ")))
            }
            Some(headings) if !headings.contains(heading) => {
                Some(format!("`heading`: {document:?} has no section {heading:?}"))
            }
            Some(_) => None,
        }
    }
}

impl RelevantSection {
    /// Whether a passage with this title was cut from the section or from one inside it.
    pub fn contains(&self, document: &str, title: &str) -> bool {
        self.document == document && title.split(HEADING_SEPARATOR).any(|heading| heading == self.heading)
    }
}

/// Checks that the labels name existing sections and specialists.
///
/// # Errors
/// All labels that do not.
pub fn check_labels(
    questions: &QuestionSet,
    sections: &Sections,
    specialists: &[&str],
) -> Result<(), InvalidQuestions> {
    let mut problems = Vec::new();
    for (place, question) in questions.iter() {
        for (index, section) in question.relevant.iter().flatten().enumerate() {
            if let Some(reason) = sections.problem(section) {
                problems.push(Problem { place: place.to_owned(), reason: format!("`relevant[{index}]`: {reason}") });
            }
        }
        let names = question.specialist.iter().chain(&question.specialist_also);
        for unknown in names.filter(|name| !specialists.contains(&name.as_str())) {
            let reason = format!("`specialist`: {unknown:?} does not exist; there are {}", specialists.join(", "));
            problems.push(Problem { place: place.to_owned(), reason });
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(InvalidQuestions(problems)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(labels: &str) -> Result<(), InvalidQuestions> {
        let line = format!(r#"{{"id": "a", "kind": "own", "lang": "en", "question": "q", {labels}}}"#);
        let questions = QuestionSet::parse([("q.jsonl", line.as_str())]).unwrap();
        let mut sections = Sections::default();
        sections.add("a.md", "A › Wheels › Bolts");
        check_labels(&questions, &sections, &["specs"])
    }

    #[test]
    fn unknown_documents_headings_and_specialists_are_named() {
        let section = |document: &str, heading: &str| {
            format!(r#""relevant": [{{"document": "{document}", "heading": "{heading}"}}]"#)
        };
        checked(&section("a.md", "Bolts")).unwrap();
        checked(&section("a.md", "Wheels")).unwrap();
        checked(r#""specialist": "specs""#).unwrap();
        for (labels, wanted) in [
            (
                section("b.md", "Bolts"),
                r#"q.jsonl:1: `relevant[0]`: `document`: there is no document "b.md"; there are a.md"#,
            ),
            (section("a.md", "bolts"), r#"`relevant[0]`: `heading`: "a.md" has no section "bolts""#),
            (r#""specialist": "x""#.to_owned(), r#"`specialist`: "x" does not exist; there are specs"#),
            (r#""specialist": "specs", "specialist_also": ["y"]"#.to_owned(), r#""y" does not exist"#),
        ] {
            let error = checked(&labels).unwrap_err().to_string();
            assert!(error.contains(wanted), "{error}");
        }
    }

    #[test]
    fn a_section_contains_the_passages_of_the_sections_inside_it() {
        let section = RelevantSection { document: "a.md".to_owned(), heading: "Wheels".to_owned(), part: 1 };
        assert!(section.contains("a.md", "A › Wheels") && section.contains("a.md", "A › Wheels › Bolts"));
        assert!(!section.contains("b.md", "A › Wheels") && !section.contains("a.md", "A › Steering Wheels"));
    }
}
