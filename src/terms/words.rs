//! Tokenizer: splits a folded text into words and runs. Compounds such as `e-mail`, `O'Brannigan`, `5W-30` and `maxTurns`
//! keep their parts, so that they can be found as a whole and by part.

use super::{
    fold::fold_case,
    script::{Run, Script},
};
use unicode_normalization::char::is_combining_mark;

/// Maximum length of a term, in bytes; longer words are taken for data and not indexed.
const MAX_TERM_BYTES: usize = 64;
/// Minimum number of digits for a compound of numbers to be indexed as a whole. Shorter ones are taken for ranges, longer ones
/// for part or telephone numbers.
const MIN_JOINED_DIGITS: usize = 6;
/// Maximum number of three-digit groups in a number; more are taken for a list.
const MAX_THOUSANDS: usize = 5;
/// Normalized decimal separator.
const DECIMAL: char = '·';
/// English endings after an apostrophe.
const ENDINGS: &[&str] = &["d", "ll", "m", "re", "s", "t", "ve"];
/// French and Italian words with an elided vowel, except those of one letter, which count as stop words anyway.
const ELIDED: &[&str] = &[
    "all", "coll", "dall", "dell", "jusqu", "lorsqu", "nell", "puisqu", "qu", "quell", "quest", "quoiqu", "sull", "un",
];

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Word(Word),
    Run(Run),
}

/// Word or compound: parts of letters and digits, with joining characters between them. Has at least one part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) parts: Vec<Part>,
    /// Whether the last part is an English ending, as in `don't` and `car's`.
    has_ending: bool,
}

/// Part of a word between joining characters, in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) whole: String,
    segments: Vec<Segment>,
    is_elided: bool,
}

/// Number, or letters that form one part of `camelCase`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Segment {
    text: String,
    /// Digit groups of a number, if they can also be found alone.
    groups: Vec<String>,
}

impl Word {
    /// Returns the parts without an English ending.
    pub(super) fn stem_parts(&self) -> &[Part] {
        &self.parts[..self.parts.len() - usize::from(self.has_ending)]
    }

    /// Returns the parts joined; `None` if that would be a different word (`she'll`) or merge two numbers.
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
    /// Whether the part is short enough to be indexed.
    pub(super) fn is_term(&self) -> bool {
        self.whole.len() <= MAX_TERM_BYTES
    }

    /// Whether it is an elided article or similar, as in `dell'olio`.
    pub(super) fn is_elided(&self) -> bool {
        self.is_elided
    }

    /// Returns the texts to index, in order.
    pub(super) fn index_texts(&self) -> impl Iterator<Item = &str> {
        let whole = (self.segments.len() > 1).then_some(self.whole.as_str());
        let segments = self.segments.iter().flat_map(|segment| segment.groups.iter().chain([&segment.text]));
        segments.map(String::as_str).chain(whole).filter(|text| text.len() <= MAX_TERM_BYTES)
    }

    /// Returns the words of the part if it can also be written with spaces: `100km` as `100 km`.
    pub(super) fn as_words(&self) -> Option<Vec<&str>> {
        match self.segments.as_slice() {
            [number] if !number.groups.is_empty() => Some(number.groups.iter().map(String::as_str).collect()),
            [_, _, ..] => Some(self.segments.iter().map(|segment| segment.text.as_str()).collect()),
            _ => None,
        }
    }
}

/// Splits a text that was folded by [`super::fold::fold_spelling`] into tokens.
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

    /// Scans a run. It continues after a single line break, since lines wrap between any two characters, except in Korean.
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

    /// Returns the start of the next line if the white space at `end` contains exactly one line break.
    fn after_line_break(&self, end: usize) -> Option<usize> {
        let rest = self.chars.get(end..)?;
        let spaces = rest.iter().take_while(|c| c.is_whitespace()).count();
        let breaks = rest[..spaces].iter().filter(|c| **c == '\n').count();
        (breaks == 1 && spaces < rest.len()).then_some(end + spaces)
    }

    fn word(&mut self) -> Word {
        let mut parts = vec![self.part()];
        let mut has_ending = false;
        while let Some((joiner, next)) = self.joiner() {
            self.at = next;
            let part = self.part();
            if joiner == '\'' {
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

    /// Returns the character that joins the next part to the word, and the start of that part.
    fn joiner(&self) -> Option<(char, usize)> {
        let joiner = self.peek(0).filter(|c| matches!(c, '\'' | '-' | '.' | '_' | '&'))?;
        if self.peek(1).is_some_and(is_word) {
            return Some((joiner, self.at + 1));
        }
        // A word hyphenated at the end of a line.
        let next = self.after_line_break(self.at + 1)?;
        let is_hyphenated = joiner == '-'
            && self.chars[self.at - 1].is_alphabetic()
            && is_word(self.chars[next])
            && self.chars[next].is_lowercase();
        is_hyphenated.then_some((joiner, next))
    }

    fn part(&mut self) -> Part {
        let mut segments = Vec::new();
        while let Some(c) = self.peek(0).filter(|c| is_word(*c)) {
            segments.push(if c.is_ascii_digit() { self.number() } else { self.letters() });
        }
        let whole = segments.iter().map(|segment| segment.text.as_str()).collect();
        Part { whole, segments, is_elided: false }
    }

    /// Scans letters up to a digit or the next part of `camelCase`.
    fn letters(&mut self) -> Segment {
        let start = self.at;
        while let Some(c) = self.peek(0).filter(|c| is_word(*c) && !c.is_ascii_digit()) {
            if self.at > start && c.is_uppercase() {
                let after_lower = self.chars[self.at - 1].is_lowercase();
                let before_lower = self.peek(1).is_some_and(char::is_lowercase);
                if after_lower || (self.chars[self.at - 1].is_uppercase() && before_lower) {
                    break;
                }
            }
            self.at += 1;
        }
        Segment { text: fold_case(&self.chars[start..self.at].iter().collect::<String>()), groups: Vec::new() }
    }

    /// Scans and normalizes a number: `15,000`, `15.000`, `15'000` and `15 000` become 15000; `2,5` becomes `2·5`, like `2.5`.
    fn number(&mut self) -> Segment {
        let first = self.digits();
        let mut groups = vec![first];
        if let Some(separator) = self.thousands_separator(&groups[0]) {
            while self.peek(0) == Some(separator) && self.digits_at(1) == 3 {
                self.at += 1;
                groups.push(self.digits());
            }
            let mut text = groups.concat();
            if self.peek(0).is_some_and(|c| matches!(c, '.' | ',') && c != separator) && self.digits_at(1) > 0 {
                self.at += 1;
                text.push(DECIMAL);
                text.push_str(&self.digits());
            }
            // A space may also separate two numbers.
            let groups = if separator == ' ' { groups } else { Vec::new() };
            return Segment { text, groups };
        }
        while self.peek(0).is_some_and(|c| matches!(c, '.' | ',')) && self.digits_at(1) > 0 {
            self.at += 1;
            groups.push(self.digits());
        }
        let text = groups.join(&DECIMAL.to_string());
        // The groups of a date, IP address or version can be found alone, those of a decimal number cannot.
        let groups = if groups.len() > 2 { groups } else { Vec::new() };
        Segment { text, groups }
    }

    /// Returns the thousands separator after `first`, if three-digit groups follow.
    fn thousands_separator(&self, first: &str) -> Option<char> {
        let separator = self.peek(0).filter(|c| matches!(c, ',' | '.' | '\'' | ' ' | '_'))?;
        let can_lead = first.len() <= 3 && !first.starts_with('0');
        if !can_lead || self.digits_at(1) != 3 {
            return None;
        }
        // All groups must have three digits: `1.234.56` is a version. Too many groups are a list.
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

    /// Counts consecutive digits from `ahead`.
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

    /// Returns the indexed texts of each word, followed by `+` and its joined form.
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
    fn compounds_are_indexed_by_part_and_joined() {
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
    fn numbers_are_normalized() {
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
    fn runs_and_words_are_separate_tokens() {
        assert_eq!(words("5W30机油15,000公里"), ["5 w 30 5w30", "机油", "15000", "公里"]);
        assert_eq!(words("機\n油 交換\n\n次"), ["機油", "交換", "次"]);
        assert_eq!(words("エンジン오일"), ["エンジン", "오일"]);
    }
}
