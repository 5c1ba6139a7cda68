//! Comparison of a report with an earlier one.

use super::{
    measures::{Better, Measure},
    report::{Report, Row, Value},
};
use std::fmt;

/// Questions that a row may lose. With one, a single question at the edge of a threshold does not block a change.
const TOLERATED_LOSS: f64 = 1.0;
/// Sums are stored with four decimals.
const ROUNDING: f64 = 1e-3;

/// Measure of a row that lost more than one question.
#[derive(Clone, Debug, PartialEq)]
pub struct Regression {
    /// Such as `kind own`.
    pub row: String,
    pub measure: Measure,
    pub before: Value,
    pub after: Value,
}

impl fmt::Display for Regression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { row, measure, before, after } = self;
        let shown = |value: &Value| {
            if measure.is_proportion() {
                format!("{} of {}", value.count(), value.n)
            } else {
                format!("{:.3} (n = {})", value.mean(), value.n)
            }
        };
        write!(f, "{row}: {} went from {} to {}", measure.name(), shown(before), shown(after))
    }
}

/// Compares two reports on the same questions: a row may lose one question in each measure.
///
/// # Errors
/// When the reports are not on the same questions.
pub fn regressions(before: &Report, after: &Report) -> Result<Vec<Regression>, String> {
    if before.sha256 != after.sha256 {
        let (before, after) = (before.questions, after.questions);
        return Err(format!(
            "the baseline is of other questions ({before}, now {after}) or of other labels; write a new one with --json"
        ));
    }
    let mut found = Vec::new();
    for row in &before.rows {
        let now = after.rows.iter().find(|now| (now.by, &now.name) == (row.by, &row.name));
        for (measure, value) in &row.values {
            let none = Value { n: 0, sum: 0.0, is_proportion: measure.is_proportion() };
            let after = now.and_then(|now| now.values.get(measure)).copied().unwrap_or(none);
            if losses(*measure, &after) - losses(*measure, value) > TOLERATED_LOSS + ROUNDING {
                found.push(Regression { row: name(row), measure: *measure, before: *value, after });
            }
        }
    }
    Ok(found)
}

fn name(row: &Row) -> String {
    if row.by.name() == row.name { row.name.clone() } else { format!("{} {}", row.by.name(), row.name) }
}

/// Questions that a value misses.
fn losses(measure: Measure, value: &Value) -> f64 {
    match measure.better() {
        Better::Higher => value.n as f64 - value.sum,
        Better::Lower => value.sum,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::report::{Percentiles, RowBy, Totals};
    use std::collections::BTreeMap;

    fn report(measure: Measure, n: usize, sum: f64) -> Report {
        let values = BTreeMap::from([(measure, Value { n, sum, is_proportion: measure.is_proportion() })]);
        Report {
            models: BTreeMap::new(),
            questions: n,
            sha256: "s".to_owned(),
            rows: vec![Row { by: RowBy::Kind, name: "own".to_owned(), questions: n, values }],
            latency_ms: Percentiles::default(),
            usage: Totals::default(),
        }
    }

    fn lines(measure: Measure, before: (usize, f64), after: (usize, f64)) -> Vec<String> {
        let found = regressions(&report(measure, before.0, before.1), &report(measure, after.0, after.1)).unwrap();
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_row_may_lose_one_question_and_not_two() {
        let none: [String; 0] = [];
        assert_eq!(lines(Measure::HitAt4, (57, 50.0), (57, 49.0)), none);
        assert_eq!(lines(Measure::HitAt4, (57, 50.0), (57, 48.0)), ["kind own: hit@4 went from 50 of 57 to 48 of 57"]);
        assert_eq!(lines(Measure::NdcgAt10, (57, 40.0), (57, 39.01)), none);
        assert_eq!(
            lines(Measure::NdcgAt10, (57, 40.0), (57, 38.9)),
            ["kind own: nDCG@10 went from 0.702 (n = 57) to 0.682 (n = 57)"]
        );
    }

    #[test]
    fn more_of_what_should_be_rare_is_a_loss() {
        let none: [String; 0] = [];
        assert_eq!(lines(Measure::Wrong, (50, 2.0), (50, 0.0)), none);
        assert_eq!(lines(Measure::Wrong, (50, 2.0), (50, 3.0)), none);
        assert_eq!(lines(Measure::Wrong, (50, 2.0), (50, 4.0)), ["kind own: wrong went from 2 of 50 to 4 of 50"]);
        // More answers with figures, and as many without support.
        assert_eq!(lines(Measure::FiguresInSources, (50, 49.0), (60, 59.0)), none);
        assert_eq!(lines(Measure::FiguresInSources, (50, 49.0), (60, 57.0)).len(), 1);
    }

    #[test]
    fn reports_on_other_questions_are_not_compared() {
        let other = Report { sha256: "t".to_owned(), ..report(Measure::HitAt4, 3, 1.0) };
        assert!(regressions(&other, &report(Measure::HitAt4, 57, 50.0)).unwrap_err().contains("(3, now 57)"));
    }
}
