//! The measures of a report.

use super::judge::{Outcome, Verdict};
use serde::{Deserialize, Serialize};

/// Measure of a set of answers. Each outcome has a value from 0 to 1 for it, or is not measured by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// A specialist answered that should.
    Routing,
    /// The first four passages answer the question, each of its parts.
    #[serde(rename = "hit_at_4")]
    HitAt4,
    /// Normalized discounted cumulative gain of the first ten sections.
    #[serde(rename = "ndcg_at_10")]
    NdcgAt10,
    /// Reciprocal rank of the first relevant section among the first ten.
    ReciprocalRank,
    /// A question that the documents cover was answered as known.
    Known,
    /// A question that the documents cover was refused.
    Refused,
    /// An off-topic question was answered as known.
    OffTopicAsKnown,
    /// The answer's text meets the expectations.
    Useful,
    /// The answer's text is wrong.
    Wrong,
    /// The safety warning came where it should, and not where it should not.
    Safety,
    /// Each figure with a unit stands in a cited passage.
    FiguresInSources,
}

/// Which values of a measure are better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    Higher,
    Lower,
}

impl Measure {
    pub const ALL: [Self; 11] = [
        Self::Routing,
        Self::HitAt4,
        Self::NdcgAt10,
        Self::ReciprocalRank,
        Self::Known,
        Self::Refused,
        Self::OffTopicAsKnown,
        Self::Useful,
        Self::Wrong,
        Self::Safety,
        Self::FiguresInSources,
    ];

    /// The name in texts.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Routing => "routing",
            Self::HitAt4 => "hit@4",
            Self::NdcgAt10 => "nDCG@10",
            Self::ReciprocalRank => "MRR",
            Self::Known => "known",
            Self::Refused => "refused",
            Self::OffTopicAsKnown => "off-topic as known",
            Self::Useful => "useful",
            Self::Wrong => "wrong",
            Self::Safety => "safety",
            Self::FiguresInSources => "figures in sources",
        }
    }

    pub const fn better(self) -> Better {
        match self {
            Self::Refused | Self::OffTopicAsKnown | Self::Wrong => Better::Lower,
            _ => Better::Higher,
        }
    }

    /// Whether its value for one question is 0 or 1, so that the value of a row is a proportion.
    pub const fn is_proportion(self) -> bool {
        !matches!(self, Self::NdcgAt10 | Self::ReciprocalRank)
    }

    /// The value of an outcome; `None` if the question is not measured by this.
    pub fn value(self, outcome: &Outcome) -> Option<f64> {
        let share = |is: Option<bool>| is.map(|is| if is { 1.0 } else { 0.0 });
        match self {
            Self::Routing => share(outcome.routed),
            Self::HitAt4 => share(outcome.hit_at_4),
            Self::NdcgAt10 => outcome.ndcg_at_10,
            Self::ReciprocalRank => outcome.reciprocal_rank,
            Self::Known => share(outcome.known),
            Self::Refused => share(outcome.refused),
            Self::OffTopicAsKnown => share(outcome.off_topic_as_known),
            Self::Useful => share(outcome.verdict.map(|verdict| verdict == Verdict::Useful)),
            Self::Wrong => share(outcome.verdict.map(|verdict| verdict == Verdict::Wrong)),
            Self::Safety => share(outcome.safe),
            Self::FiguresInSources => share(outcome.figures_in_sources),
        }
    }

    /// Whether the value of an outcome counts against it.
    pub fn is_miss(self, outcome: &Outcome) -> bool {
        match (self.better(), self.value(outcome)) {
            (_, None) => false,
            // A low nDCG beside a hit is no miss of its own.
            (Better::Higher, Some(value)) => self.is_proportion() && value == 0.0,
            (Better::Lower, Some(value)) => value == 1.0,
        }
    }
}
