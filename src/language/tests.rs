//! Tests of the built-in languages, and of an operator's files.

use super::*;
use serde::Deserialize;
use std::{collections::BTreeMap, fs};
use tempfile::TempDir;

#[derive(Deserialize)]
struct Labelled {
    lang: String,
    question: String,
}

/// Reads the questions of a kind that are for development, about both sets of documents.
fn labelled(kind: &str) -> Vec<Labelled> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let files = ["questions", "library/questions"].map(|set| root.join(set).join("dev").join(format!("{kind}.jsonl")));
    let lines = files.into_iter().filter_map(|file| fs::read_to_string(file).ok()).collect::<String>();
    let labelled: Vec<Labelled> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(!labelled.is_empty(), "{kind}");
    labelled
}

#[test]
fn the_language_of_most_questions_is_recognised() {
    let languages = Languages::built_in();
    let mut counts: BTreeMap<&str, [usize; 3]> = BTreeMap::new();
    let mut wrong = Vec::new();
    for kind in ["own", "paraphrase", "german", "typing-error", "off-topic", "follow-up", "visitor", "two-part"] {
        for Labelled { lang, question } in labelled(kind) {
            let detected = languages.detect(&question).map(|language| language.code.as_str());
            let outcome = usize::from(detected != Some(&lang)) + usize::from(detected.is_some_and(|code| code != lang));
            counts.entry(kind).or_default()[outcome] += 1;
            if outcome == 2 {
                wrong.push(question);
            }
        }
    }
    let total = |outcome: usize| counts.values().map(|counts| counts[outcome]).sum::<usize>();
    let (right, undecided, mistaken) = (total(0), total(1), total(2));
    let all = right + undecided + mistaken;
    assert!(
        right * 100 >= all * 95 && mistaken * 100 <= all * 2,
        "{right}, {undecided}, {mistaken}: {counts:?} {wrong:#?}"
    );
}

#[test]
fn a_message_without_a_language_has_none() {
    let languages = Languages::built_in();
    for text in ["", "👍", "4711", "P0300", "...", "日本語"] {
        assert_eq!(languages.detect(text).map(|language| &language.code), None, "{text}");
    }
}

#[test]
fn small_talk_is_told_from_questions() {
    let languages = Languages::built_in();
    for (text, kind) in [
        ("hi", SmallTalk::Greeting),
        ("Hiiii there!!", SmallTalk::Greeting),
        ("Good afternoon, I hope you're well", SmallTalk::Greeting),
        ("Grüß Gott", SmallTalk::Greeting),
        ("Gruess Gott", SmallTalk::Greeting),
        ("cheers mate", SmallTalk::Thanks),
        ("thanks for that", SmallTalk::Thanks),
        ("super, danke dir", SmallTalk::Thanks),
        ("danke für die schnelle Antwort", SmallTalk::Thanks),
        ("all good, thanks for the info", SmallTalk::Thanks),
        ("That's all for now, goodbye", SmallTalk::Farewell),
        ("thanks, bye", SmallTalk::Farewell),
        ("Tschüss", SmallTalk::Farewell),
        ("Is this a real person?", SmallTalk::Identity),
        ("hi, who are you?", SmallTalk::Identity),
        ("Wie heißt du?", SmallTalk::Identity),
        ("Wer bist du eigentlich?", SmallTalk::Identity),
        ("Are you a human or a bot?", SmallTalk::Identity),
        ("help", SmallTalk::Capability),
        ("Hello, can you help me please?", SmallTalk::Capability),
        ("What can I ask you?", SmallTalk::Capability),
        ("Hilfe!", SmallTalk::Capability),
        ("Kann ich dich was fragen?", SmallTalk::Capability),
        ("Can I talk to a person please", SmallTalk::Human),
        ("Ich will mit einem Menschen sprechen", SmallTalk::Human),
        ("thanks, but that's wrong", SmallTalk::Complaint),
        ("Ich möchte mich beschweren", SmallTalk::Complaint),
        ("ok", SmallTalk::Acknowledgement),
        ("oh I see", SmallTalk::Acknowledgement),
        ("ach so, kein Problem", SmallTalk::Acknowledgement),
        ("👍", SmallTalk::Acknowledgement),
    ] {
        assert_eq!(languages.small_talk(text), Some(kind), "{text}");
    }
    for question in [
        "Hallo, was kostet das?",
        "hi, how much is it?",
        "wont start",
        "It won't start",
        "thanks, and the diesel?",
        "why?",
        "and in the evening?",
        "good brakes",
        "help, my car is on fire",
        "asdfgh",
        "How much is it?",
        "What is this noise?",
        "how do I start it",
        "it still does not work",
        "Und mit einem Bot?",
        "keine Ahnung, was das ist",
    ] {
        assert_eq!(languages.small_talk(question), None, "{question}");
    }
}

#[test]
fn courtesies_are_taken_off_the_beginning() {
    let languages = Languages::built_in();
    for (text, rest) in [
        ("Hallo, was kostet das?", "was kostet das?"),
        ("Good morning! Please tell me the price", "tell me the price"),
        ("What is it?", "What is it?"),
        ("hi", "hi"),
        ("", ""),
    ] {
        assert_eq!(languages.without_courtesies(text), rest);
    }
}

#[test]
fn follow_ups_have_marks() {
    let languages = Languages::built_in();
    let marks =
        |opens, points_back, is_alone, telling_words| FollowUpMarks { opens, points_back, is_alone, telling_words };
    for (text, wanted) in [
        ("and the torque?", marks(true, false, false, 1)),
        ("Und das Drehmoment?", marks(true, false, false, 1)),
        ("What about the hybrid?", marks(true, false, false, 1)),
        ("Why?", marks(false, false, true, 0)),
        ("wie oft?", marks(false, false, true, 0)),
        ("Can I do it myself?", marks(false, true, false, 0)),
        ("How wide are the tyres?", marks(false, false, false, 2)),
        ("In winter?", marks(true, false, false, 1)),
        ("In which winter do I have to do it?", marks(false, true, false, 1)),
        ("Is there a discount?", marks(false, false, false, 1)),
        ("Is there a discount on it?", marks(false, true, false, 1)),
        ("Was kostet das?", marks(false, true, false, 1)),
        ("Was kostet das Auto?", marks(false, false, false, 2)),
        ("Gibt es Rabatt?", marks(false, false, false, 1)),
        ("And 机油?", marks(true, false, false, 1)),
    ] {
        assert_eq!(languages.follow_up_marks(text), wanted, "{text}");
    }
}

#[test]
fn stop_words_match_in_any_spelling() {
    let languages = Languages::built_in();
    for word in ["The", "won't", "wont", "für", "fuer", "FÜR", "muss", "muß"] {
        assert!(languages.is_stop_word(word), "{word}");
    }
    for word in ["engine", "Reifen", ""] {
        assert!(!languages.is_stop_word(word), "{word}");
    }
}

#[test]
fn danger_whatever_the_subject_is_recognised() {
    let languages = Languages::built_in();
    for text in [
        "the house is on FIRE",
        "it smells strangely of something like gas",
        "a gas smell",
        "call the fire brigade",
        "there is a fire, where is the fire extinguisher?",
        "mein Akku wird heiß",
        "es riecht hier überall ganz komisch nach Gas",
        "Es brennt!",
        "Kabelbrand",
        "Quick question: my house is burning",
        "is that not smoke?",
        "no, fire!",
        "no smoke, but it smells burnt",
        "the smoke was gone, and now it is back",
        "where there was a smell is fire",
        "es raucht nicht nur, es stinkt auch",
        "ist das nicht Rauch?",
    ] {
        assert!(languages.is_dangerous(text, None), "{text}");
    }
    for text in [
        "fire up the engine",
        "where is the fire extinguisher?",
        "Is smoking allowed?",
        "can I burn a CD at your computers",
        "ein brandneues Auto",
        "Kann ich bei euch eine CD brennen?",
        "Darf man hier drinnen rauchen?",
        "no smoke, just steam",
        "the burning smell is gone",
        "they put out the fire, the smoke has cleared",
        "kein Rauch, nur Dampf",
        "Der Brandgeruch ist seit gestern verschwunden",
        "a smell in the morning, and later on in the day we were talking about gas",
        "",
    ] {
        assert!(!languages.is_dangerous(text, None), "{text}");
    }
}

const FRENCH: &str = r#"
language = "fr"
name = "Français"
[small_talk]
greetings = ["bonjour", "salut"]
[danger]
phrases = ["au feu"]
[replies]
greeting = "Bonjour ! Mes sujets : {topics}."
thanks = "De rien."
farewell = "Au revoir."
identity = "Je suis un assistant."
capability = "Mes sujets : {topics}."
human = "Je suis un programme."
complaint = "Je suis désolé."
acknowledgement = "Que voulez-vous savoir ?"
starters = "Par exemple :"
nothing = "Je n'ai rien trouvé."
closest = "Le plus proche : **{title}** [{number}] :"
closest_help = "Mes sujets : {topics}."
quote = "Selon **{title}** [{number}] :"
further_quote = "Et **{title}** [{number}] :"
repeated = "Je répète :"
other_language = "Ce document est en {language}."
or = "ou"
[stop_words]
words = ["le", "la", "les", "est", "où", "quel", "une", "dans", "je", "vous"]
"#;

#[test]
fn an_operators_file_adds_or_replaces_a_language() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("fr.toml"), FRENCH).unwrap();
    fs::write(folder.path().join("de.toml"), FRENCH.replace("fr", "de").replace("bonjour", "Mohltied")).unwrap();
    fs::write(folder.path().join("README.md"), "not a language").unwrap();
    let languages = Languages::load(Some(folder.path())).unwrap();
    let codes: Vec<_> = languages.all().iter().map(|language| language.code.as_str()).collect();
    assert_eq!(codes, ["en", "de", "fr"]);
    assert_eq!(languages.small_talk("Bonjour !"), Some(SmallTalk::Greeting));
    assert_eq!(languages.small_talk("mohltied"), Some(SmallTalk::Greeting));
    assert_eq!(languages.small_talk("moin"), None);
    assert!(languages.is_dangerous("Au feu !", None) && languages.is_stop_word("ou"));
    assert!(languages.get("fr").is_some_and(|french| french.name == "Français"));
    assert_eq!(Languages::load(None).unwrap().all().len(), 2);
}

#[test]
fn a_wrong_file_is_refused_with_the_place_of_each_fault() {
    for (name, text, wanted) in [
        ("fr.toml", FRENCH.replace("\"fr\"", "\"en\""), "line 2, column 12: `language` is \"en\", and must be \"fr\""),
        ("fr.toml", FRENCH.replace("\"salut\"", "\"!\""), "line 5, column 25: `small_talk.greetings[1]` is \"!\""),
        ("fr.toml", FRENCH.replace("phrases", "phrase"), "line 7, column 1: `danger.phrase` unknown field"),
        ("fr.toml", FRENCH.replace("Français", " "), "line 3, column 8: `name` is empty"),
        ("fr.toml", format!("{}words = []", &FRENCH[..FRENCH.find("words =").unwrap()]), "`stop_words.words` is empty"),
        ("fr.toml", "language = ".to_owned(), "line 1, column "),
        ("french.toml", FRENCH.to_owned(), "named by its ISO 639 code"),
    ] {
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join(name), text).unwrap();
        let error = Languages::load(Some(folder.path())).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains(wanted), "{wanted}: {error}");
    }
    let error = Languages::load(Some(Path::new("/nowhere"))).unwrap_err().to_string();
    assert!(error.contains("/nowhere"), "{error}");
}
