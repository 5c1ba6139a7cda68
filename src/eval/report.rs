//! The report: the values of each measure, overall and by kind, language and group.

use super::{
    answered::Answered,
    judge::Outcome,
    measure::{percentile, wilson},
    measures::Measure,
    question::Question,
};
use serde::{Deserialize, Serialize, Serializer, ser::SerializeStruct};
use std::collections::BTreeMap;

/// Report of an evaluation. Its JSON holds counts and scores, and nothing of the questions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Models that answered, with the number of their answers.
    #[serde(default)]
    pub models: BTreeMap<String, usize>,
    /// Number of questions.
    pub questions: usize,
    /// Hash of the questions; see [`super::QuestionSet::sha256`].
    pub sha256: String,
    pub rows: Vec<Row>,
    #[serde(default)]
    pub latency_ms: Percentiles,
    #[serde(default)]
    pub usage: Totals,
}

/// Percentiles of the time from question to end of answer, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Percentiles {
    pub p50: f64,
    pub p95: f64,
}

/// Tokens and cost of all answers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    pub prompt_tokens: u64,
    pub completion_tokens: u64,
    /// Cost by currency, in trillionths (10⁻¹²), of the answers whose price is known.
    #[serde(default)]
    pub cost_trillionths: BTreeMap<String, u64>,
    /// Answers whose price is unknown. They are not part of the cost.
    #[serde(default)]
    pub answers_without_price: usize,
}

impl Totals {
    /// Adds an answer.
    pub fn add(&mut self, answered: &Answered) {
        self.prompt_tokens += answered.prompt_tokens;
        self.completion_tokens += answered.completion_tokens;
        match &answered.cost {
            Some(cost) => *self.cost_trillionths.entry(cost.currency.clone()).or_default() += cost.trillionths,
            None => self.answers_without_price += 1,
        }
    }
}

/// Questions that are summed up together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    pub by: RowBy,
    /// The kind, language or group.
    pub name: String,
    pub questions: usize,
    /// Measures of at least one question.
    pub values: BTreeMap<Measure, Value>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RowBy {
    All,
    Kind,
    Language,
    Group,
}

impl RowBy {
    pub const fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Kind => "kind",
            Self::Language => "language",
            Self::Group => "group",
        }
    }
}

/// Sum of the values of `n` questions. For a proportion, JSON also has its Wilson interval.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub struct Value {
    pub n: usize,
    pub sum: f64,
    #[serde(skip)]
    pub is_proportion: bool,
}

impl Value {
    pub fn mean(&self) -> f64 {
        if self.n == 0 { 0.0 } else { self.sum / self.n as f64 }
    }

    /// The count of a proportion.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a sum of zeros and ones")]
    pub fn count(&self) -> usize {
        self.sum.round() as usize
    }
}

/// Rounds to four decimals, so that reports can be compared by people.
fn rounded(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut value = serializer.serialize_struct("Value", 5)?;
        value.serialize_field("n", &self.n)?;
        value.serialize_field("sum", &rounded(self.sum))?;
        value.serialize_field("mean", &rounded(self.mean()))?;
        if self.is_proportion {
            let interval = wilson(self.count(), self.n);
            value.serialize_field("low", &rounded(interval.low))?;
            value.serialize_field("high", &rounded(interval.high))?;
        }
        value.end()
    }
}

impl Report {
    /// Sums up outcomes.
    pub fn new<'a>(
        sha256: String,
        outcomes: impl IntoIterator<Item = (&'a Question, &'a Outcome, &'a str)>,
        latencies_ms: &[f64],
        usage: Totals,
    ) -> Self {
        let mut rows: BTreeMap<(RowBy, &str), Row> = BTreeMap::new();
        let (mut questions, mut models) = (0, BTreeMap::new());
        for (question, outcome, model) in outcomes {
            questions += 1;
            *models.entry(model.to_owned()).or_default() += 1;
            let of = [
                Some((RowBy::All, "all")),
                Some((RowBy::Kind, question.kind.as_str())),
                Some((RowBy::Language, question.lang.as_str())),
                question.group.as_deref().map(|group| (RowBy::Group, group)),
            ];
            for (by, name) in of.into_iter().flatten() {
                rows.entry((by, name)).or_insert_with(|| Row::new(by, name)).add(outcome);
            }
        }
        let of_latency = |percent| rounded(percentile(latencies_ms, percent).unwrap_or_default());
        Self {
            models,
            questions,
            sha256,
            rows: rows.into_values().collect(),
            latency_ms: Percentiles { p50: of_latency(50), p95: of_latency(95) },
            usage,
        }
    }
}

impl Row {
    fn new(by: RowBy, name: &str) -> Self {
        Self { by, name: name.to_owned(), questions: 0, values: BTreeMap::new() }
    }

    fn add(&mut self, outcome: &Outcome) {
        self.questions += 1;
        for measure in Measure::ALL {
            if let Some(value) = measure.value(outcome) {
                let is_proportion = measure.is_proportion();
                let sums = self.values.entry(measure).or_insert(Value { n: 0, sum: 0.0, is_proportion });
                sums.n += 1;
                sums.sum += value;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::{Basis, Cost, QuestionSet};
    use std::time::Duration;

    fn report() -> Report {
        let lines = [
            r#"{"id": "1", "kind": "own", "lang": "en", "question": "q"}"#,
            r#"{"id": "2", "kind": "off-topic", "lang": "de", "group": "near", "question": "q"}"#,
        ];
        let set = QuestionSet::parse([("q", lines.join("\n").as_str())]).unwrap();
        let outcomes = [
            Outcome { hit_at_4: Some(true), ndcg_at_10: Some(0.5), ..Outcome::default() },
            Outcome { off_topic_as_known: Some(true), ..Outcome::default() },
        ];
        let judged = set.iter().zip(&outcomes).map(|((_, question), outcome)| (question, outcome, "m"));
        Report::new(set.sha256(), judged, &[1.0, 3.0], Totals::default())
    }

    #[test]
    fn rows_are_overall_and_by_kind_language_and_group() {
        let report = report();
        let rows: Vec<_> = report.rows.iter().map(|row| (row.by.name(), row.name.as_str(), row.questions)).collect();
        assert_eq!(
            rows,
            [
                ("all", "all", 2),
                ("kind", "off-topic", 1),
                ("kind", "own", 1),
                ("language", "de", 1),
                ("language", "en", 1),
                ("group", "near", 1)
            ]
        );
        assert_eq!(report.rows[0].values.len(), 3);
        assert_eq!(report.latency_ms, Percentiles { p50: 1.0, p95: 3.0 });
    }

    #[test]
    fn json_has_intervals_and_nothing_of_the_questions_and_can_be_read_again() {
        let report = report();
        let json = serde_json::to_string(&report).unwrap();
        assert!(json.contains(r#""hit_at_4":{"n":1,"sum":1.0,"mean":1.0,"low":0.2065,"high":1.0}"#), "{json}");
        assert!(json.contains(r#""ndcg_at_10":{"n":1,"sum":0.5,"mean":0.5}"#), "{json}");
        let read: Report = serde_json::from_str(&json).unwrap();
        assert_eq!(read.rows[0].values[&Measure::HitAt4].sum, 1.0);
        assert_eq!((read.questions, read.sha256), (report.questions, report.sha256));
    }

    #[test]
    fn costs_are_summed_by_currency_and_unknown_ones_are_counted() {
        let answered = |trillionths: Option<u64>| Answered {
            text: String::new(),
            has_warning: false,
            specialist: String::new(),
            basis: Basis::Nothing,
            sources: 0,
            ranking: Vec::new(),
            latency: Duration::ZERO,
            model: String::new(),
            cost: trillionths.map(|trillionths| Cost { currency: "USD".to_owned(), trillionths }),
            prompt_tokens: 10,
            completion_tokens: 1,
        };
        let mut totals = Totals::default();
        [Some(5), None, Some(7)].map(answered).iter().for_each(|answered| totals.add(answered));
        assert_eq!((totals.prompt_tokens, totals.completion_tokens, totals.answers_without_price), (30, 3, 1));
        assert_eq!(totals.cost_trillionths, BTreeMap::from([("USD".to_owned(), 12)]));
    }
}
