//! A folded text cut into words and runs. A word knows its parts: `e-mail`, `O'Brannigan`, `5W-30` and `maxTurns` are
//! found whole and by their parts.

use super::{
    fold::fold_case,
    script::{Run, Script},
};
use unicode_normalization::char::is_combining_mark;

/// The longest word that counts as one, in bytes; longer ones are data.
const MAX_TERM_BYTES: usize = 64;
/// Digits of a compound of numbers alone, from which on it is a number of a part or a telephone rather than a range.
const MIN_JOINED_DIGITS: usize = 6;
/// Groups of three digits that a number may have; more are a list.
const MAX_THOUSANDS: usize = 5;
/// Stands for the decimal separator, whichever a text uses.
const DECIMAL: char = '·';
/// English endings after an apostrophe.
const ENDINGS: &[&str] = &["d", "ll", "m", "re", "s", "t", "ve"];
/// French and Italian words that lose their vowel before an apostrophe; those of one letter are known by their length.
const ELIDED: &[&str] = &[
    "all", "coll", "dall", "dell", "jusqu", "lorsqu", "nell", "puisqu", "qu", "quell", "quest", "quoiqu", "sull", "un",
];

/// One piece of a text that can be searched for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Word(Word),
    Run(Run),
}

/// Letters and digits up to a space, with what joins them. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) parts: Vec<Part>,
    /// Whether the last part is an English ending, as in `don't` and `car's`.
    has_ending: bool,
}

/// A part of a word between its joints, in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) whole: String,
    segments: Vec<Segment>,
    is_elided: bool,
}

/// Letters of one case pattern, or one number.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Segment {
    text: String,
    /// Groups of digits of a number with several separators.
    pieces: Vec<String>,
}

impl Word {
    /// The parts without an English ending.
    pub(super) fn stem_parts(&self) -> &[Part] {
        &self.parts[..self.parts.len() - usize::from(self.has_ending)]
    }

    /// The parts written together, unless that would make another word of them (`she'll`) or a number of two.
    pub(super) fn joined(&self) -> Option<String> {
        let parts = self.stem_parts();
        if parts.len() < 2 {
            return None;
        }
        let joined: String = parts.iter().map(|part| part.whole.as_str()).collect();
        let is_number = joined.chars().all(|c| c.is_ascii_digit() || c == DECIMAL);
        (joined.len() <= MAX_TERM_BYTES && (!is_number || joined.len() >= MIN_JOINED_DIGITS)).then_some(joined)
    }
}

impl Part {
    /// Whether it can be searched for as a whole: what is longer than any word is data.
    pub(super) fn is_term(&self) -> bool {
        self.whole.len() <= MAX_TERM_BYTES
    }

    /// Whether it is an article or the like in front of an apostrophe, as in `dell'olio`.
    pub(super) fn is_elided(&self) -> bool {
        self.is_elided
    }

    /// The texts of the part that are found, in the order in which they stand in the index.
    pub(super) fn index_texts(&self) -> impl Iterator<Item = &str> {
        let whole = (self.segments.len() > 1).then_some(self.whole.as_str());
        let segments = self.segments.iter().flat_map(|segment| segment.pieces.iter().chain([&segment.text]));
        segments.map(String::as_str).chain(whole).filter(|text| text.len() <= MAX_TERM_BYTES)
    }

    /// The part as several words in a row, where it can be written so: `100km` as `100 km`.
    pub(super) fn as_words(&self) -> Option<Vec<&str>> {
        match self.segments.as_slice() {
            [number] if !number.pieces.is_empty() => Some(number.pieces.iter().map(String::as_str).collect()),
            [_, _, ..] => Some(self.segments.iter().map(|segment| segment.text.as_str()).collect()),
            _ => None,
        }
    }
}

/// Cuts a text, folded by [`super::fold::fold_spelling`], into its tokens.
pub(super) fn tokens(folded: &str) -> Vec<Token> {
    let mut scanner = Scanner { chars: folded.chars().collect(), at: 0 };
    let mut tokens = Vec::new();
    while let Some(c) = scanner.peek(0) {
        if let Some(script) = Script::of(c) {
            tokens.push(Token::Run(scanner.run(script)));
        } else if is_word(c) {
            tokens.push(Token::Word(scanner.word()));
        } else {
            scanner.at += 1;
        }
    }
    tokens
}

fn is_word(c: char) -> bool {
    (c.is_alphanumeric() || is_combining_mark(c)) && Script::of(c).is_none()
}

struct Scanner {
    chars: Vec<char>,
    at: usize,
}

impl Scanner {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    /// A run goes on over a line break: lines are wrapped between any two characters.
    fn run(&mut self, script: Script) -> Run {
        let mut text = String::new();
        while let Some(c) = self.peek(0) {
            if Script::of(c) == Some(script) || is_combining_mark(c) {
                text.push(c);
                self.at += 1;
                continue;
            }
            match self.after_line_break(self.at) {
                Some(next) if script != Script::Hangul && Script::of(self.chars[next]) == Some(script) => {
                    self.at = next
                }
                _ => break,
            }
        }
        Run { script, text }
    }

    /// Where the text goes on when exactly one line ends at `end`.
    fn after_line_break(&self, end: usize) -> Option<usize> {
        let rest = self.chars.get(end..)?;
        let spaces = rest.iter().take_while(|c| c.is_whitespace()).count();
        let breaks = rest[..spaces].iter().filter(|c| **c == '\n').count();
        (breaks == 1 && spaces < rest.len()).then_some(end + spaces)
    }

    fn word(&mut self) -> Word {
        let mut parts = vec![self.part()];
        let mut has_ending = false;
        while let Some((joint, next)) = self.joint() {
            self.at = next;
            let part = self.part();
            if joint == '\'' {
                has_ending = ENDINGS.contains(&part.whole.as_str());
                if let Some(before) = parts.last_mut() {
                    before.is_elided = ELIDED.contains(&before.whole.as_str());
                }
            } else {
                has_ending = false;
            }
            parts.push(part);
        }
        Word { parts, has_ending }
    }

    /// The joint between the previous part and the next one, and the start of the latter.
    fn joint(&self) -> Option<(char, usize)> {
        let joint = self.peek(0).filter(|c| matches!(c, '\'' | '-' | '.' | '_' | '&'))?;
        if self.peek(1).is_some_and(is_word) {
            return Some((joint, self.at + 1));
        }
        // A word that was divided at the end of a line.
        let next = self.after_line_break(self.at + 1)?;
        let is_divided = joint == '-'
            && self.chars[self.at - 1].is_alphabetic()
            && is_word(self.chars[next])
            && self.chars[next].is_lowercase();
        is_divided.then_some((joint, next))
    }

    fn part(&mut self) -> Part {
        let mut segments = Vec::new();
        while let Some(c) = self.peek(0).filter(|c| is_word(*c)) {
            segments.push(if c.is_ascii_digit() { self.number() } else { self.letters() });
        }
        let whole = segments.iter().map(|segment| segment.text.as_str()).collect();
        Part { whole, segments, is_elided: false }
    }

    /// Letters up to a digit or a new part of `camelCase`.
    fn letters(&mut self) -> Segment {
        let begins = self.at;
        while let Some(c) = self.peek(0).filter(|c| is_word(*c) && !c.is_ascii_digit()) {
            if self.at > begins && c.is_uppercase() {
                let after_lower = self.chars[self.at - 1].is_lowercase();
                let last_of_upper = self.peek(1).is_some_and(char::is_lowercase);
                if after_lower || (self.chars[self.at - 1].is_uppercase() && last_of_upper) {
                    break;
                }
            }
            self.at += 1;
        }
        Segment { text: fold_case(&self.chars[begins..self.at].iter().collect::<String>()), pieces: Vec::new() }
    }

    /// A number in one form: `15,000`, `15.000`, `15'000` and `15 000` are 15000, `2.5` and `2,5` are the same.
    fn number(&mut self) -> Segment {
        let first = self.digits();
        let mut pieces = vec![first];
        if let Some(separator) = self.thousands(&pieces[0]) {
            while self.peek(0) == Some(separator) && self.digits_at(1) == 3 {
                self.at += 1;
                pieces.push(self.digits());
            }
            let mut text = pieces.concat();
            if self.peek(0).is_some_and(|c| matches!(c, '.' | ',') && c != separator) && self.digits_at(1) > 0 {
                self.at += 1;
                text.push(DECIMAL);
                text.push_str(&self.digits());
            }
            // Only a space may as well stand between two numbers.
            let pieces = if separator == ' ' { pieces } else { Vec::new() };
            return Segment { text, pieces };
        }
        while self.peek(0).is_some_and(|c| matches!(c, '.' | ',')) && self.digits_at(1) > 0 {
            self.at += 1;
            pieces.push(self.digits());
        }
        let text = pieces.join(&DECIMAL.to_string());
        // Of a date, an address or a version each piece counts; a decimal is one number.
        let pieces = if pieces.len() > 2 { pieces } else { Vec::new() };
        Segment { text, pieces }
    }

    /// The separator of thousands, when groups of three digits follow.
    fn thousands(&self, first: &str) -> Option<char> {
        let separator = self.peek(0).filter(|c| matches!(c, ',' | '.' | '\'' | ' ' | '_'))?;
        let can_lead = first.len() <= 3 && !first.starts_with('0');
        if !can_lead || self.digits_at(1) != 3 {
            return None;
        }
        // Groups to the end: `1.234.56` is a version, and many numbers of three digits are a list.
        for group in 1..=MAX_THOUSANDS {
            let ahead = 4 * group;
            let follows = if self.peek(ahead) == Some(separator) { self.digits_at(ahead + 1) } else { 0 };
            match follows {
                0 => return Some(separator),
                3 => {}
                _ => return (separator == ' ').then_some(separator),
            }
        }
        None
    }

    /// Number of consecutive digits.
    fn digits_at(&self, ahead: usize) -> usize {
        self.chars.iter().skip(self.at + ahead).take_while(|c| c.is_ascii_digit()).count()
    }

    fn digits(&mut self) -> String {
        let end = self.at + self.digits_at(0);
        let digits = self.chars[self.at..end].iter().collect();
        self.at = end;
        digits
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terms::fold::fold_spelling;

    /// The texts of each word as they are indexed, and its joined form behind `+`.
    fn words(text: &str) -> Vec<String> {
        tokens(&fold_spelling(text))
            .into_iter()
            .map(|token| match token {
                Token::Run(run) => run.text,
                Token::Word(word) => {
                    let mut texts: Vec<_> = word.parts.iter().flat_map(Part::index_texts).map(str::to_owned).collect();
                    texts.extend(word.joined().map(|joined| format!("+{joined}")));
                    texts.join(" ")
                }
            })
            .collect()
    }

    #[test]
    fn compounds_have_parts_and_a_joined_form() {
        for (text, expected) in [
            ("e-mail", "e mail +email"),
            ("O'Brannigan's", "o brannigan s +obrannigan"),
            ("don't", "don t"),
            ("dell'olio", "dell olio +dellolio"),
            ("max_running_turns", "max running turns +maxrunningturns"),
            ("maxRunningTurns", "max running turns maxrunningturns"),
            ("HTTPServer", "http server httpserver"),
            ("U.S.A.", "u s a +usa"),
            ("AT&T", "at t +att"),
            ("10W-40", "10 w 10w 40 +10w40"),
            ("5W30", "5 w 30 5w30"),
            ("2.0L", "2·0 l 2·0l"),
            ("06A-115-561-B", "06 a 06a 115 561 b +06a115561b"),
            ("main-\n  tenance", "main tenance +maintenance"),
            ("10-20", "10 20"),
            ("555-1234", "555 1234 +5551234"),
        ] {
            assert_eq!(words(text), [expected], "{text:?}");
        }
    }

    #[test]
    fn numbers_have_one_form() {
        for (text, expected) in [
            ("15,000", "15000"),
            ("15.000", "15000"),
            ("15'000", "15000"),
            ("15 000", "15 000 15000"),
            ("1,842.5", "1842·5"),
            ("1.842,5", "1842·5"),
            ("1 234 567", "1 234 567 1234567"),
            ("2.5", "2·5"),
            ("2,5", "2·5"),
            ("0.125", "0·125"),
            ("192.168.1.10", "192 168 1 10 192·168·1·10"),
            ("26.11.2026", "26 11 2026 26·11·2026"),
            ("1.234.56", "1 234 56 1·234·56"),
        ] {
            assert_eq!(words(text), [expected], "{text:?}");
        }
        assert_eq!(words("2024 100 5 1000"), ["2024", "100", "5", "1000"]);
    }

    #[test]
    fn runs_and_words_part_from_each_other() {
        assert_eq!(words("5W30机油15,000公里"), ["5 w 30 5w30", "机油", "15000", "公里"]);
        assert_eq!(words("機\n油 交換\n\n次"), ["機油", "交換", "次"]);
        assert_eq!(words("エンジン오일"), ["エンジン", "오일"]);
    }
}
