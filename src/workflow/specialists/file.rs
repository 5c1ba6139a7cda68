//! Parser of the TOML file of specialists. It reports every fault with its position.

use super::{Safety, SafetySection, Specialist};
use crate::{
    domain::is_blank,
    language::{DangerTable, Entries, EntryReader},
    provider::ModelChoice,
    toml_file::{self, Fault, Place},
};
use serde::Deserialize;
use std::{
    collections::{BTreeMap, HashSet},
    ops::Range,
};
use toml::Spanned;

/// The maximum length of a name, in bytes.
const MAX_NAME_BYTES: usize = 64;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    safety: Option<SafetyTable>,
    #[serde(default)]
    #[serde(rename = "agent")]
    specialist: Vec<Spanned<SpecialistTable>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SpecialistTable {
    name: Spanned<String>,
    topic: Spanned<String>,
    #[serde(default)]
    topic_in: BTreeMap<String, Spanned<String>>,
    description: Spanned<String>,
    system_prompt: Spanned<String>,
    examples: Spanned<Vec<String>>,
    collections: Option<Spanned<Vec<String>>>,
    default: Option<Spanned<bool>>,
    providers: Option<Spanned<Vec<String>>>,
    model: Option<Spanned<String>>,
    temperature: Option<Spanned<f64>>,
    max_answer_tokens: Option<Spanned<u32>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SafetyTable {
    words: Spanned<Vec<String>>,
    warning: Spanned<String>,
    /// The warning in other languages, by language code.
    #[serde(default)]
    warning_in: BTreeMap<String, Spanned<String>>,
    #[serde(default)]
    rules: DangerTable,
    #[serde(default)]
    sections: Vec<SafetySectionTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SafetySectionTable {
    words: Entries,
    search: Spanned<String>,
    specialist: Option<Spanned<String>>,
}

/// The content of a file.
pub(super) struct Parsed {
    pub specialists: Vec<Specialist>,
    /// The place of each specialist's list of providers, or of the specialist if it has none.
    pub provider_lists: Vec<Place>,
    pub safety: Option<Safety>,
}

/// Parses and validates a file.
///
/// # Errors
/// Every fault, or only the first one if the text is not TOML or has the wrong structure.
pub(super) fn parse(text: &str) -> Result<Parsed, Vec<Fault>> {
    let file: File = toml_file::parse(text).map_err(|fault| vec![fault])?;
    let mut checks = Checks(EntryReader::new(text));
    checks.check_names_and_defaults(&file.specialist);
    for (index, specialist) in file.specialist.iter().enumerate() {
        checks.check_specialist(index, specialist.get_ref());
    }
    let names: HashSet<&str> = file.specialist.iter().map(|table| table.get_ref().name.get_ref().as_str()).collect();
    let safety = file.safety.map(|table| checks.check_safety(table, &names));
    let provider_lists = file.specialist.iter().map(|table| {
        let at = table.get_ref().providers.as_ref().map_or(table.span(), Spanned::span);
        Place::of(text, at.start)
    });
    let provider_lists = provider_lists.collect();
    let specialists = file.specialist.into_iter().map(|specialist| specialist.into_inner().into()).collect();
    checks.0.faults.into_result(Parsed { provider_lists, specialists, safety })
}

impl From<SpecialistTable> for Specialist {
    fn from(table: SpecialistTable) -> Self {
        Self {
            name: table.name.into_inner(),
            topic: table.topic.into_inner(),
            topics: table.topic_in.into_iter().map(|(language, topic)| (language, topic.into_inner())).collect(),
            description: table.description.into_inner(),
            system_prompt: table.system_prompt.into_inner(),
            examples: table.examples.into_inner(),
            collections: table.collections.map(Spanned::into_inner).unwrap_or_default(),
            default: table.default.is_some_and(Spanned::into_inner),
            models: ModelChoice {
                providers: table.providers.map(Spanned::into_inner).unwrap_or_default(),
                model: table.model.map(Spanned::into_inner),
                temperature: table.temperature.map(Spanned::into_inner),
                max_answer_tokens: table.max_answer_tokens.map(Spanned::into_inner),
            },
        }
    }
}

struct Checks<'a>(EntryReader<'a>);

impl Checks<'_> {
    fn add(&mut self, at: Range<usize>, key: String, problem: impl Into<String>) {
        self.0.faults.add(at, key, problem);
    }

    fn check_names_and_defaults(&mut self, specialists: &[Spanned<SpecialistTable>]) {
        let mut names = HashSet::new();
        let mut default = None;
        for (index, specialist) in specialists.iter().enumerate() {
            let name = &specialist.get_ref().name;
            if !names.insert(name.get_ref().as_str()) {
                self.add(
                    name.span(),
                    format!("agent[{index}].name"),
                    format!("is {:?} a second time; names must be unique", name.get_ref()),
                );
            }
            match (&specialist.get_ref().default, default) {
                (Some(is_default), Some(first)) if *is_default.get_ref() => {
                    let problem = format!("must be true for exactly one agent, and is for agent[{first}] already");
                    self.add(is_default.span(), format!("agent[{index}].default"), problem);
                }
                (Some(is_default), None) if *is_default.get_ref() => default = Some(index),
                _ => {}
            }
        }
        if default.is_none() {
            let at = specialists.first().map_or(0..0, Spanned::span);
            self.add(at, "agent".to_owned(), "must have `default = true` for exactly one agent, and has it for none");
        }
    }

    fn check_specialist(&mut self, index: usize, specialist: &SpecialistTable) {
        let key = |name: &str| format!("agent[{index}].{name}");
        let of_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
        let name = specialist.name.get_ref();
        if name.is_empty() || name.len() > MAX_NAME_BYTES || !name.chars().all(of_name) {
            let problem = format!("is {name:?}, and must be 1 to {MAX_NAME_BYTES} of a-z, 0-9, `-` and `_`");
            self.add(specialist.name.span(), key("name"), problem);
        }
        for (name, value) in [
            ("topic", &specialist.topic),
            ("description", &specialist.description),
            ("system_prompt", &specialist.system_prompt),
        ] {
            if is_blank(value.get_ref()) {
                self.add(value.span(), key(name), "is empty");
            }
        }
        for (language, topic) in &specialist.topic_in {
            if is_blank(topic.get_ref()) {
                self.add(topic.span(), key(&format!("topic_in.{language}")), "is empty");
            }
        }
        let examples = specialist.examples.get_ref();
        if examples.is_empty() || examples.iter().any(|example| is_blank(example)) {
            self.add(specialist.examples.span(), key("examples"), "must have one question or more, none of them empty");
        }
        if let Some(collections) = &specialist.collections
            && collections.get_ref().iter().any(|name| is_blank(name))
        {
            self.add(collections.span(), key("collections"), "has an empty name");
        }
        if let Some(providers) = &specialist.providers
            && providers.get_ref().is_empty()
        {
            self.add(providers.span(), key("providers"), "is empty; omit it to use `workflow.providers`");
        }
        if let Some(model) = &specialist.model
            && is_blank(model.get_ref())
        {
            self.add(model.span(), key("model"), "is empty");
        }
        if let Some(temperature) = &specialist.temperature
            && !(0.0..=2.0).contains(temperature.get_ref())
        {
            let problem = format!("is {}, and must be a number from 0 to 2", temperature.get_ref());
            self.add(temperature.span(), key("temperature"), problem);
        }
    }

    fn check_safety(&mut self, table: SafetyTable, specialists: &HashSet<&str>) -> Safety {
        if is_blank(table.warning.get_ref()) {
            self.add(table.warning.span(), "safety.warning".to_owned(), "is empty");
        }
        if table.words.get_ref().is_empty() {
            self.add(table.words.span(), "safety.words".to_owned(), "is empty");
        }
        let mut sections = Vec::with_capacity(table.sections.len());
        for (index, section) in table.sections.iter().enumerate() {
            if is_blank(section.search.get_ref()) {
                self.add(section.search.span(), format!("safety.sections[{index}].search"), "is empty");
            }
            if let Some(name) =
                section.specialist.as_ref().filter(|name| !specialists.contains(name.get_ref().as_str()))
            {
                let problem = format!("is {:?}, which is the name of no agent", name.get_ref());
                self.add(name.span(), format!("safety.sections[{index}].specialist"), problem);
            }
            let words = self.0.phrases(&format!("safety.sections[{index}]"), "words", &section.words);
            let specialist = section.specialist.as_ref().map(|name| name.get_ref().clone());
            sections.push(SafetySection { words, search: section.search.get_ref().clone(), specialist });
        }
        for (language, warning) in &table.warning_in {
            if is_blank(warning.get_ref()) {
                self.add(warning.span(), format!("safety.warning_in.{language}"), "is empty");
            }
        }
        let mut rules = self.0.danger("safety.rules", &table.rules);
        for entry in table.words.get_ref() {
            if !rules.add(entry) {
                let problem = format!("has an entry without a word: {entry:?}");
                self.add(table.words.span(), "safety.words".to_owned(), problem);
            }
        }
        let warning_in = table.warning_in.into_iter().map(|(language, warning)| (language, warning.into_inner()));
        Safety { warning: table.warning.into_inner(), warning_in: warning_in.collect(), rules, sections }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn specialist(name: &str, rest: &str) -> String {
        format!(
            "[[agent]]\nname = \"{name}\"\ntopic = \"t\"\ndescription = \"d\"\nsystem_prompt = \"s\"\nexamples = [\"e\"]\n{rest}\n"
        )
    }

    fn faults(text: &str) -> Vec<String> {
        parse(text).err().unwrap_or_default().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn fault_has_its_position_and_its_key() {
        let one = specialist("a", "default = true");
        for (text, place, wanted) in [
            ("agent = []".to_owned(), "line 1, column 1: `agent` ", "exactly one agent"),
            (String::new(), "line 1, column 1: `agent` ", "exactly one agent"),
            (specialist("a", ""), "line 1, column 1: `agent` ", "exactly one agent"),
            (
                format!("{one}{}", specialist("b", "default = true")),
                "line 14, column 11: `agent[1].default` ",
                "agent[0]",
            ),
            (format!("{one}{}", specialist("a", "")), "line 9, column 8: `agent[1].name` ", "a second time"),
            (specialist("A b", "default = true"), "line 2, column 8: `agent[0].name` ", "is \"A b\""),
            (one.replace("\"e\"", ""), "line 6, column 12: `agent[0].examples` ", "one question or more"),
            (one.replace("\"e\"", "\" \""), "line 6, column 12: `agent[0].examples` ", "none of them empty"),
            (one.replace("\"t\"", "\" \""), "line 3, column 9: `agent[0].topic` ", "is empty"),
            (one.replace("\"d\"", "\"\""), "line 4, column 15: `agent[0].description` ", "is empty"),
            (one.replace("\"s\"", "\"\""), "line 5, column 17: `agent[0].system_prompt` ", "is empty"),
            (format!("{one}[safety]\nwords = []\nwarning = \"w\""), "line 9, column 9: `safety.words` ", "is empty"),
            (format!("{one}[safety]\nwords = [\"!\"]\nwarning = \"w\""), "line 9, column 9: `safety.words` ", "\"!\""),
            (
                format!("{one}[safety]\nwords = [\"w\"]\nwarning = \"\""),
                "line 10, column 11: `safety.warning` ",
                "empty",
            ),
            (
                specialist("a", "default = true\ntemprature = 1"),
                "line 8, column 1: `agent[0].temprature` ",
                "temprature",
            ),
            (specialist("a", "default = 1"), "line 7, column 11: `agent[0].default` ", "boolean"),
            (specialist("a", "collections = [\"é\", 5]"), "line 7, column 21: `agent[0].collections` ", "string"),
            (
                specialist("a", "collections = [\" \"]\ndefault = true"),
                "line 7, column 15: `agent[0].collections` ",
                "empty",
            ),
            (specialist("a", "default = true\nproviders = []"), "line 8, column 13: `agent[0].providers` ", "is empty"),
            (specialist("a", "default = true\nmodel = \" \""), "line 8, column 9: `agent[0].model` ", "is empty"),
            (
                specialist("a", "default = true\ntemperature = 2.1"),
                "line 8, column 15: `agent[0].temperature` ",
                "from 0 to 2",
            ),
            (
                specialist("a", "default = true\nmax_answer_tokens = -1"),
                "line 8, column 21: `agent[0].max_answer_tokens` ",
                "expected u32",
            ),
            (
                format!(
                    "{one}[safety]\nwords = [\"w\"]\nwarning = \"w\"\n[[safety.sections]]\nwords = [\"w\"]\nsearch = \"s\"\nspecialist = \"b\""
                ),
                "line 14, column 14: `safety.sections[0].specialist` ",
                "no agent",
            ),
            ("[[agent]]\nname = \"a\"\n".to_owned(), "line 1, column 1: `agent[0]` ", "missing field `topic`"),
            (format!("{one}[agents]\n"), "line 8, column 2: `agents` ", "unknown field"),
            ("agent = [".to_owned(), "line 1, column ", "array"),
            ("a = 1\na = 2\n".to_owned(), "line 2, column 1: ", "duplicate key"),
        ] {
            let found = faults(&text);
            assert_eq!(found.len(), 1, "{text}: {found:?}");
            assert!(found[0].starts_with(place) && found[0].contains(wanted), "{place:?}, {wanted:?} in {found:?}");
            assert!(!found[0].contains('\n'), "{found:?}");
        }
    }

    #[test]
    fn all_faults_are_reported_in_file_order() {
        let text = specialist("A b", "").replace("\"d\"", "\"\"") + "[safety]\nwords = []\nwarning = \"\"\n";
        let found = faults(&text);
        let positions: Vec<_> = found.iter().map(|fault| fault.split(':').next().unwrap()).collect();
        let wanted =
            ["line 1, column 1", "line 2, column 8", "line 4, column 15", "line 9, column 9", "line 10, column 11"];
        assert_eq!(positions, wanted, "{found:?}");
    }
}
