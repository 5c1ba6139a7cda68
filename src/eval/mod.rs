//! Evaluation of answers on labelled questions: the format of the questions, the measures, and the report.
//!
//! Everything here is pure. `cli::eval` asks the questions through [`crate::app::Pipeline`] and passes each [`Answered`] to
//! [`judge`]; [`Report`] sums up, and [`regressions`] compares two reports. `docs/QUALITY.md` defines the measures.

mod answered;
mod baseline;
mod figures;
mod judge;
mod labels;
mod measure;
mod measures;
mod question;
mod report;

pub use answered::{Answered, Basis, Cost, RankedPassage};
pub use baseline::{Regression, regressions};
pub use judge::{Outcome, Verdict, judge};
pub use labels::{Sections, check_labels};
pub use measure::{Interval, hits_within, ndcg, percentile, reciprocal_rank, wilson};
pub use measures::{Better, Measure};
pub use question::{Expectation, Expected, InvalidQuestions, Problem, Question, QuestionSet, RelevantSection};
pub use report::{Percentiles, Report, Row, RowBy, Totals, Value};
