//! Parser of a language file. It reports every fault with its position.

use super::{
    Language,
    entries::{DangerTable, Entries, EntryReader},
    follow_up::FollowUpPhrases,
    questions::QuestionPhrases,
    replies::Replies,
    small_talk::{SmallTalk, SmallTalkPhrases},
    spellings::SpellingTable,
    words::fold,
};
use crate::toml_file::{self, Fault};
use serde::Deserialize;
use toml::Spanned;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    language: Spanned<String>,
    name: Spanned<String>,
    #[serde(default)]
    small_talk: SmallTalkTable,
    #[serde(default)]
    follow_up: FollowUpTable,
    #[serde(default)]
    danger: DangerTable,
    stop_words: StopWordsTable,
    #[serde(default)]
    spelling: SpellingTable,
    #[serde(default)]
    questions: QuestionsTable,
    replies: Replies,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct QuestionsTable {
    joins: Entries,
    starts: Entries,
    lead_ins: Entries,
    ordinals: Entries,
    determiners: Entries,
    together: Entries,
}

impl QuestionsTable {
    fn read(&self, reader: &mut EntryReader<'_>) -> QuestionPhrases {
        let mut phrases = |key, entries| reader.phrases("questions", key, entries);
        QuestionPhrases {
            joins: phrases("joins", &self.joins),
            starts: phrases("starts", &self.starts),
            lead_ins: phrases("lead_ins", &self.lead_ins),
            ordinals: phrases("ordinals", &self.ordinals),
            determiners: phrases("determiners", &self.determiners),
            together: phrases("together", &self.together),
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct SmallTalkTable {
    greetings: Entries,
    thanks: Entries,
    goodbyes: Entries,
    identity: Entries,
    capability: Entries,
    human: Entries,
    complaint: Entries,
    fillers: Entries,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct FollowUpTable {
    openers: Entries,
    fragments: Entries,
    pointers: Entries,
    demonstratives: Entries,
    expletives: Entries,
    alone: Entries,
}

impl FollowUpTable {
    fn read(&self, reader: &mut EntryReader<'_>) -> FollowUpPhrases {
        let mut phrases = |key, entries| reader.phrases("follow_up", key, entries);
        FollowUpPhrases {
            openers: phrases("openers", &self.openers),
            fragments: phrases("fragments", &self.fragments),
            pointers: phrases("pointers", &self.pointers),
            demonstratives: phrases("demonstratives", &self.demonstratives),
            expletives: phrases("expletives", &self.expletives),
            alone: phrases("alone", &self.alone),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StopWordsTable {
    words: Spanned<Entries>,
}

/// Parses and validates a file. `expected` is the language that its name promises.
///
/// # Errors
/// Every fault, or only the first one if the text is not TOML or has the wrong structure.
pub(super) fn parse(text: &str, expected: &str) -> Result<Language, Vec<Fault>> {
    let file: File = toml_file::parse(text).map_err(|fault| vec![fault])?;
    let mut reader = EntryReader::new(text);
    let code = file.language.get_ref();
    if code != expected {
        let problem = format!("is {code:?}, and must be {expected:?}, as the file's name says");
        reader.faults.add(file.language.span(), "language".to_owned(), problem);
    }
    if file.name.get_ref().trim().is_empty() {
        reader.faults.add(file.name.span(), "name".to_owned(), "is empty");
    }
    if file.stop_words.words.get_ref().is_empty() {
        let problem = "is empty, so that the language cannot be recognised";
        reader.faults.add(file.stop_words.words.span(), "stop_words.words".to_owned(), problem);
    }
    let talk = &file.small_talk;
    let kinds = [
        (SmallTalk::Greeting, "greetings", &talk.greetings),
        (SmallTalk::Thanks, "thanks", &talk.thanks),
        (SmallTalk::Farewell, "goodbyes", &talk.goodbyes),
        (SmallTalk::Identity, "identity", &talk.identity),
        (SmallTalk::Capability, "capability", &talk.capability),
        (SmallTalk::Human, "human", &talk.human),
        (SmallTalk::Complaint, "complaint", &talk.complaint),
    ];
    let small_talk = SmallTalkPhrases {
        kinds: kinds.map(|(kind, key, entries)| (kind, reader.phrases("small_talk", key, entries))).into(),
        fillers: reader.phrases("small_talk", "fillers", &talk.fillers),
    };
    let follow_up = file.follow_up.read(&mut reader);
    let danger = reader.danger("danger", &file.danger);
    let questions = file.questions.read(&mut reader);
    let stop_words = file.stop_words.words.get_ref();
    // As phrases they report entries without a word, and are words of the language.
    reader.phrases("stop_words", "words", stop_words);
    let stop_words: Vec<String> = stop_words.iter().map(|word| word.get_ref().to_lowercase()).collect();
    let spellings = file.spelling.read(&mut reader.faults);
    let EntryReader { faults, listed } = reader;
    faults.into_result(Language {
        code: file.language.into_inner(),
        name: file.name.into_inner(),
        folded_stop_words: stop_words.iter().map(|word| fold(word)).collect(),
        stop_words,
        small_talk,
        follow_up,
        danger,
        questions,
        spellings,
        replies: file.replies,
        listed,
    })
}
