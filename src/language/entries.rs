//! Phrases in an operator's TOML file, read with the position of each fault.

use super::{
    danger::{DangerRules, Pair},
    phrases::Phrases,
    words::words,
};
use crate::toml_file::Faults;
use serde::Deserialize;
use toml::Spanned;

/// A list of phrases.
pub(crate) type Entries = Vec<Spanned<String>>;

/// Rules for danger, as a part of a table.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct DangerTable {
    pub phrases: Entries,
    pub pairs: Vec<PairTable>,
    pub subjects: Entries,
    pub enquiries: Entries,
    pub symptoms: Entries,
    pub exceptions: Entries,
    pub exception_pairs: Vec<PairTable>,
    pub negations: Entries,
    pub over: Vec<PairTable>,
    pub resumed: Entries,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PairTable {
    first: Entries,
    second: Entries,
}

/// Reader of lists of phrases.
pub(crate) struct EntryReader<'a> {
    pub faults: Faults<'a>,
    /// Words of all phrases without `*`, in their own spelling.
    pub(super) listed: Vec<String>,
}

impl<'a> EntryReader<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { faults: Faults::new(text), listed: Vec::new() }
    }

    pub(crate) fn phrases(&mut self, table: &str, key: &str, entries: &Entries) -> Phrases {
        let mut phrases = Phrases::default();
        for (index, entry) in entries.iter().enumerate() {
            let phrase = entry.get_ref();
            if !phrases.add(phrase) {
                let problem = format!("is {phrase:?}, which has no word");
                self.faults.add(entry.span(), format!("{table}.{key}[{index}]"), problem);
            }
            if !phrase.contains('*') {
                self.listed.extend(words(phrase).into_iter().map(|word| phrase[word.at].to_owned()));
            }
        }
        phrases
    }

    /// Reads the rules in the table of this name.
    pub(crate) fn danger(&mut self, table: &str, rules: &DangerTable) -> DangerRules {
        DangerRules {
            phrases: self.phrases(table, "phrases", &rules.phrases),
            pairs: self.pairs(table, "pairs", &rules.pairs),
            subjects: self.phrases(table, "subjects", &rules.subjects),
            enquiries: self.phrases(table, "enquiries", &rules.enquiries),
            symptoms: self.phrases(table, "symptoms", &rules.symptoms),
            exceptions: self.phrases(table, "exceptions", &rules.exceptions),
            exception_pairs: self.pairs(table, "exception_pairs", &rules.exception_pairs),
            negations: self.phrases(table, "negations", &rules.negations),
            over: self.pairs(table, "over", &rules.over),
            resumed: self.phrases(table, "resumed", &rules.resumed),
        }
    }

    fn pairs(&mut self, table: &str, key: &str, pairs: &[PairTable]) -> Vec<Pair> {
        let mut read = Vec::with_capacity(pairs.len());
        for (index, pair) in pairs.iter().enumerate() {
            let table = format!("{table}.{key}[{index}]");
            let first = self.phrases(&table, "first", &pair.first);
            let second = self.phrases(&table, "second", &pair.second);
            read.push(Pair { first, second });
        }
        read
    }
}
