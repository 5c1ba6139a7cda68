//! Sentences of the embedded answerer in one language.

use serde::Deserialize;
use std::collections::BTreeMap;

/// The sentences. `{topics}`, `{title}`, `{number}` and `{language}` are replaced.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Replies {
    pub greeting: String,
    pub thanks: String,
    pub farewell: String,
    pub identity: String,
    pub capability: String,
    /// Answer to the wish to talk to a person.
    pub human: String,
    pub complaint: String,
    pub acknowledgement: String,
    /// Line before suggested questions.
    pub starters: String,
    /// Nothing was found.
    pub nothing: String,
    /// Line before the closest section.
    pub closest: String,
    /// Line after the closest section.
    pub closest_help: String,
    /// Line before a quotation.
    pub quote: String,
    pub further_quote: String,
    /// Line before a quotation that the conversation already has.
    pub repeated: String,
    /// Note on a document in another language.
    pub other_language: String,
    /// Word before the last of several topics.
    pub or: String,
    /// Names of languages, by code.
    #[serde(default)]
    pub languages: BTreeMap<String, String>,
}

impl Replies {
    /// Fills the topics into a sentence.
    pub fn with_topics(&self, sentence: &str, topics: &[String]) -> String {
        // Topics may contain commas.
        let separator = if topics.iter().any(|topic| topic.contains(',')) { "; " } else { ", " };
        let topics = match topics.split_last() {
            None => "…".to_owned(),
            Some((only, [])) => only.clone(),
            Some((last, others)) => format!("{} {} {last}", others.join(separator), self.or),
        };
        sentence.replace("{topics}", &topics)
    }
}
