//! `switchboard feedback`: prints rated answers as evaluation cases.

use super::CliError;
use crate::{
    config::Config,
    domain::Rating,
    language::Languages,
    preflight,
    store::{FeedbackStore, RatedAnswer, sqlite::SqliteStore},
};
use clap::{
    Args,
    builder::{PossibleValuesParser, TypedValueParser},
};
use serde::Serialize;
use std::{collections::BTreeSet, io};

/// Rated answers read per query.
const PAGE: i64 = 200;
/// Separator of the headings in the title of a source.
const HEADING_SEPARATOR: &str = " › ";
/// Language of a question whose language is not clear (BCP 47).
const UNDETERMINED: &str = "und";

#[derive(Clone, Debug, Args)]
pub(super) struct Command {
    /// Only answers with this rating
    #[arg(long, value_parser = rating())]
    rating: Option<Rating>,
}

fn rating() -> impl TypedValueParser<Value = Rating> {
    let parser = PossibleValuesParser::new(Rating::ALL.map(Rating::as_str));
    parser.map(|name| name.parse().expect("clap passes the values listed above"))
}

impl Command {
    pub(super) async fn run(self, config: &Config, out: &mut dyn io::Write) -> Result<(), CliError> {
        let languages = preflight::languages(config)?;
        let store = SqliteStore::open_existing(&config.database)?;
        let mut after = 0;
        loop {
            let page = store.rated_answers(after, PAGE).await?;
            for rated in &page.items {
                if self.rating.is_none_or(|rating| rating == rated.feedback.rating) {
                    serde_json::to_writer(&mut *out, &Case::of(rated, &languages)).map_err(io::Error::from)?;
                    writeln!(out)?;
                }
            }
            match page.items.last() {
                Some(last) if page.has_more => after = last.position,
                _ => break,
            }
        }
        store.close().await;
        Ok(())
    }
}

/// Evaluation case, in the format of `switchboard eval`. An answer that was rated down says nothing about the right passages and the
/// right specialist, so its case has none.
#[derive(Debug, Serialize)]
struct Case<'a> {
    id: String,
    kind: &'static str,
    group: &'static str,
    lang: &'a str,
    question: &'a str,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    history: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    relevant: Option<Vec<Section<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    specialist: Option<&'a str>,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Section<'a> {
    document: &'a str,
    heading: &'a str,
}

impl<'a> Case<'a> {
    fn of(rated: &'a RatedAnswer, languages: &'a Languages) -> Self {
        let is_right = rated.feedback.rating == Rating::Up;
        let specialist = rated.metadata.specialist.as_str();
        Self {
            id: format!("feedback-{}", rated.message_id),
            kind: "feedback",
            group: rated.feedback.rating.as_str(),
            lang: language(rated, languages),
            question: &rated.question,
            history: &rated.earlier,
            relevant: is_right.then(|| cited_sections(rated)).filter(|sections| !sections.is_empty()),
            specialist: Some(specialist).filter(|name| is_right && !name.is_empty()),
        }
    }
}

/// Detects the language of a question, else of the latest earlier one whose language is clear.
fn language<'a>(rated: &RatedAnswer, languages: &'a Languages) -> &'a str {
    let mut texts = [&rated.question].into_iter().chain(rated.earlier.iter().rev());
    texts.find_map(|text| languages.detect(text)).map_or(UNDETERMINED, |language| language.code.as_str())
}

/// Returns the sections that an answer cites as `[n]`; those of all sources if it cites none.
fn cited_sections(rated: &RatedAnswer) -> Vec<Section<'_>> {
    let sources = &rated.metadata.sources;
    let is_cited = |index: usize| rated.answer.contains(&format!("[{}]", index + 1));
    let cites = (0..sources.len()).any(is_cited);
    let cited = sources.iter().enumerate().filter(|(index, _)| !cites || is_cited(*index));
    let sections = cited.map(|(_, source)| Section {
        document: &source.source,
        heading: source.title.rsplit(HEADING_SEPARATOR).next().unwrap_or_default(),
    });
    sections.collect::<BTreeSet<_>>().into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{AnswerMetadata, Feedback, MessageId, Source};
    use serde_json::{Value, json};

    fn rated(rating: Rating, answer: &str) -> RatedAnswer {
        let source = |title: &str| -> Source {
            serde_json::from_value(json!({"title": title, "source": "a.md", "score": 1.0})).unwrap()
        };
        RatedAnswer {
            position: 1,
            message_id: MessageId::new(),
            feedback: Feedback { rating, reasons: Vec::new(), comment: Some("a secret".to_owned()) },
            question: "How wide?".to_owned(),
            earlier: vec!["How long?".to_owned()],
            answer: answer.to_owned(),
            metadata: AnswerMetadata {
                specialist: "specs".to_owned(),
                sources: [source("Car › Width"), source("Car › Length"), source("Car › Width")].into(),
                ..AnswerMetadata::default()
            },
        }
    }

    fn case(rating: Rating, answer: &str) -> Value {
        let (rated, languages) = (rated(rating, answer), Languages::built_in());
        let mut case = serde_json::to_value(Case::of(&rated, &languages)).unwrap();
        let id = case.as_object_mut().unwrap().remove("id").unwrap();
        assert_eq!(id, format!("feedback-{}", rated.message_id));
        case
    }

    #[test]
    fn an_answer_rated_up_labels_what_it_cites() {
        let section = |heading: &str| json!({"document": "a.md", "heading": heading});
        let mut expected = json!({
            "kind": "feedback", "group": "up", "lang": "en", "question": "How wide?", "history": ["How long?"],
            "relevant": [section("Length")], "specialist": "specs",
        });
        assert_eq!(case(Rating::Up, "4 m [2]."), expected);
        expected["relevant"] = json!([section("Length"), section("Width")]);
        assert_eq!(case(Rating::Up, "4 m."), expected);
    }

    #[test]
    fn an_answer_rated_down_labels_nothing() {
        let expected = json!({
            "kind": "feedback", "group": "down", "lang": "en", "question": "How wide?", "history": ["How long?"],
        });
        assert_eq!(case(Rating::Down, "4 m [2]."), expected);
    }

    #[test]
    fn the_language_is_that_of_the_latest_question_with_a_clear_one() {
        let languages = Languages::built_in();
        let of = |earlier: &[&str], question: &str| {
            let earlier = earlier.iter().map(|text| (*text).to_owned()).collect();
            let rated = RatedAnswer { earlier, question: question.to_owned(), ..rated(Rating::Up, "4 m.") };
            language(&rated, &languages).to_owned()
        };
        assert_eq!(of(&["How long is the car?"], "Wie breit ist das Auto?"), "de");
        assert_eq!(of(&["How long is the car?", "Wie breit ist es?"], "2.0T?"), "de");
        assert_eq!(of(&[], "2.0T?"), "und");
    }
}
