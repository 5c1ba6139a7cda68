//! Answer to a question, as far as it is judged.

use std::time::Duration;

/// Basis of an answer: how well the knowledge base covers the question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// Answered from the documents, as fact.
    Known,
    /// Something was found, and is offered as the closest section.
    Closest,
    /// Nothing was found.
    Nothing,
}

/// Amount of money.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cost {
    pub currency: String,
    /// Amount in trillionths (10⁻¹²) of the currency.
    pub trillionths: u64,
}

/// Passage of a ranking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RankedPassage {
    /// Name of the document.
    pub document: String,
    /// Headings of its section, outermost first, joined by ` › `.
    pub title: String,
    pub text: String,
}

/// Answer of the pipeline to a question.
#[derive(Clone, Debug)]
pub struct Answered {
    /// Text of the answer, without the safety warning.
    pub text: String,
    /// Whether the safety warning precedes it.
    pub has_warning: bool,
    pub specialist: String,
    pub basis: Basis,
    /// Number of sources of the answer; they are the first passages of the ranking.
    pub sources: usize,
    /// Passages that the search found, best first.
    pub ranking: Vec<RankedPassage>,
    /// Time from the question to the end of the answer.
    pub latency: Duration,
    /// Model that answered.
    pub model: String,
    /// Cost of all requests to models; absent if the price of one is unknown.
    pub cost: Option<Cost>,
    pub prompt_tokens: u64,
    pub completion_tokens: u64,
}

impl Answered {
    /// The sources whose number the text cites as `[n]`, or all sources if it cites none.
    pub fn cited(&self) -> Vec<&RankedPassage> {
        let sources = &self.ranking[..self.sources.min(self.ranking.len())];
        let cited: Vec<_> = (1..)
            .zip(sources)
            .filter(|(number, _): &(usize, _)| self.text.contains(&format!("[{number}]")))
            .map(|(_, source)| source)
            .collect();
        if cited.is_empty() { sources.iter().collect() } else { cited }
    }
}
