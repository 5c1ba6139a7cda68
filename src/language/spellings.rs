//! Spellings of the same word, which no rule derives from each other.

use crate::toml_file::Faults;
use serde::Deserialize;
use std::collections::HashMap;
use toml::Spanned;

/// `[spelling]` of a language file.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct SpellingTable {
    groups: Vec<Spanned<Vec<String>>>,
}

/// Other spellings of each word, in lower case.
#[derive(Clone, Debug, Default)]
pub(super) struct Spellings(HashMap<String, Vec<String>>);

impl SpellingTable {
    pub fn read(&self, faults: &mut Faults<'_>) -> Spellings {
        let mut spellings: HashMap<String, Vec<String>> = HashMap::new();
        for (number, group) in self.groups.iter().enumerate() {
            let words: Vec<String> = group.get_ref().iter().map(|word| word.trim().to_lowercase()).collect();
            if words.len() < 2 || words.iter().any(|word| word.is_empty() || word.contains(char::is_whitespace)) {
                let problem = "must have two or more spellings of one word";
                faults.add(group.span(), format!("spelling.groups[{number}]"), problem);
            }
            for word in &words {
                let others = words.iter().filter(|other| *other != word).cloned();
                spellings.entry(word.clone()).or_default().extend(others);
            }
        }
        Spellings(spellings)
    }
}

impl Spellings {
    pub fn of(&self, word: &str) -> impl Iterator<Item = &str> {
        self.0.get(word).into_iter().flatten().map(String::as_str)
    }
}
