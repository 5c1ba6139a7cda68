//! A possible citation that is being read.

/// Part of a citation that has been read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Phase {
    /// The opening bracket or brackets.
    #[default]
    Open,
    /// A digit of a number.
    Digits,
    /// The comma after a number.
    Comma,
    /// The space after a comma.
    Space,
    /// The first of two closing brackets.
    HalfClosed,
    /// Everything; an opening parenthesis would make it a link.
    Closed,
}

/// Number in a citation.
#[derive(Debug, Default)]
pub(super) struct Number {
    /// Held text: the number with the separator before it.
    pub text: String,
    pub value: u32,
    /// Whether some of its digits have passed.
    pub is_shown: bool,
}

#[derive(Debug)]
pub(super) struct Marker {
    pub phase: Phase,
    pub is_double: bool,
    /// Number of opening brackets that are held.
    pub brackets: usize,
    /// Offset of its beginning in the text that has passed; `None` while all of it is held.
    pub start: Option<usize>,
    /// Numbers that have passed.
    pub cited: Vec<u32>,
    /// Complete numbers that are held: the first has no source.
    pub held: Vec<Number>,
    /// Number of closing brackets that are held.
    pub closing: usize,
    /// Whether there is a comma.
    is_list: bool,
    /// Whether a number without a source has passed, before its end was known.
    pub shows_unknown: bool,
    /// The number that is being read.
    current: Number,
}

impl Default for Marker {
    fn default() -> Self {
        Self {
            phase: Phase::Open,
            is_double: false,
            brackets: 1,
            start: None,
            cited: Vec::new(),
            held: Vec::new(),
            closing: 0,
            is_list: false,
            shows_unknown: false,
            current: Number::default(),
        }
    }
}

impl Marker {
    /// Creates a marker whose opening bracket has passed.
    pub fn opened_at(start: usize) -> Self {
        Self { brackets: 0, start: Some(start), ..Self::default() }
    }

    /// Whether the first number is higher than `max` with one more digit.
    pub fn is_too_high_with(&self, digit: u32, max: usize) -> bool {
        let value = self.current.value.saturating_mul(10).saturating_add(digit);
        let is_first = !self.is_list && matches!(self.phase, Phase::Open | Phase::Digits);
        is_first && usize::try_from(value).is_ok_and(|value| value > max)
    }

    pub fn add_digit(&mut self, digit: char) {
        let value = digit.to_digit(10).unwrap_or_default();
        self.current.text.push(digit);
        self.current.value = self.current.value.saturating_mul(10).saturating_add(value);
        self.is_double |= self.brackets == 2;
        self.phase = Phase::Digits;
    }

    pub fn add_comma(&mut self) {
        // Without a number before it, the next one is the first.
        if self.start.is_some() || !self.held.is_empty() {
            self.current.text.push(',');
        }
        self.is_list = true;
        self.phase = Phase::Comma;
    }

    pub fn add_space(&mut self) {
        if !self.current.text.is_empty() {
            self.current.text.push(' ');
        }
        self.phase = Phase::Space;
    }

    pub fn take_number(&mut self) -> Number {
        std::mem::take(&mut self.current)
    }

    /// Goes on as after a number that has passed and has no source.
    pub fn forget_number(&mut self) {
        self.current = Number { text: String::new(), value: u32::MAX, is_shown: true };
    }

    /// Removes the separator before the number that is being read.
    pub fn remove_separator(&mut self) {
        self.current.text = without_separator(&self.current.text).to_owned();
    }

    /// Returns a text with the opening brackets, if they are still held. The marker then begins at `length`.
    pub fn opened(&mut self, length: usize, text: &str) -> String {
        if self.start.is_some() {
            return text.to_owned();
        }
        self.start = Some(length);
        "[".repeat(std::mem::take(&mut self.brackets)) + without_separator(text)
    }

    /// Returns the held text, which has passed from now on.
    pub fn show(&mut self, length: usize) -> String {
        let text = self.held_text();
        self.start.get_or_insert(length);
        self.shows_unknown |= !self.held.is_empty();
        self.held.clear();
        self.current.text.clear();
        self.current.is_shown |= self.phase == Phase::Digits;
        (self.brackets, self.closing) = (0, 0);
        text
    }

    pub fn held_text(&self) -> String {
        let numbers: String = self.held.iter().chain([&self.current]).map(|number| number.text.as_str()).collect();
        "[".repeat(self.brackets) + &numbers + &"]".repeat(self.closing)
    }

    pub fn held_bytes(&self) -> usize {
        let numbers: usize = self.held.iter().chain([&self.current]).map(|number| number.text.len()).sum();
        self.brackets + numbers + self.closing
    }
}

fn without_separator(text: &str) -> &str {
    text.trim_start_matches([',', ' '])
}
