//! Recognition of Markdown code in a text that arrives in pieces. Pure.
//!
//! Follows CommonMark for fenced and indented blocks, code spans and backslash escapes, with one difference: a run of backticks
//! opens a span at once, since the text that would close it has not arrived. Without a closing run, the span ends with its
//! paragraph.

/// Number of columns from which an indented line is code.
const CODE_INDENT: u32 = 4;
/// Shortest run of backticks or tildes that opens a fenced block.
const FENCE_LENGTH: u32 = 3;

/// State after the text so far.
#[derive(Debug)]
pub(super) struct MarkdownCode {
    fence: Option<Fence>,
    /// Length of the run of backticks that opened the current span.
    span: Option<u32>,
    /// Run of backticks or tildes that may go on.
    run: Option<Run>,
    is_escaped: bool,
    start: LineStart,
    indent: u32,
    is_indented_code: bool,
    is_after_blank_line: bool,
    is_in_list: bool,
}

#[derive(Clone, Copy, Debug)]
struct Run {
    character: u8,
    length: u32,
    is_at_line_start: bool,
}

#[derive(Debug)]
struct Fence {
    character: u8,
    length: u32,
    /// Whether the line that opened it has not ended.
    is_opening: bool,
    /// Length of the closing run on this line; `None` once the line cannot close the block.
    closing: Option<u32>,
}

/// Part of a line that has been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LineStart {
    /// White space and block quote markers.
    Indent,
    /// `-`, `*` or `+`, which a space makes a list marker.
    Bullet,
    Digits,
    /// Digits and `.` or `)`, which a space makes a list marker.
    Ordinal,
    /// Anything else.
    Content,
}

impl Default for MarkdownCode {
    fn default() -> Self {
        Self {
            fence: None,
            span: None,
            run: None,
            is_escaped: false,
            start: LineStart::Indent,
            indent: 0,
            is_indented_code: false,
            is_after_blank_line: true,
            is_in_list: false,
        }
    }
}

impl MarkdownCode {
    /// Whether the next character is taken literally, provided that it is not a backtick or a tilde: it is in code or escaped.
    pub fn is_literal(&self) -> bool {
        if self.fence.is_some() || self.is_escaped || self.is_in_indented_code() {
            return true;
        }
        match self.run {
            Some(run) if run.opens_fence() => true,
            Some(Run { character: b'`', length, .. }) => self.span != Some(length),
            _ => self.span.is_some(),
        }
    }

    pub fn feed(&mut self, byte: u8) {
        if self.run.is_some_and(|run| run.character != byte) {
            self.end_run();
        }
        match byte {
            b'\n' => self.end_line(),
            _ if self.fence.is_some() => self.feed_fenced(byte),
            _ if std::mem::take(&mut self.is_escaped) => self.start = LineStart::Content,
            _ => {
                self.is_indented_code = self.is_in_indented_code();
                if !self.is_indented_code {
                    self.feed_text(byte);
                }
            }
        }
    }

    fn feed_text(&mut self, byte: u8) {
        match (byte, self.run.as_mut()) {
            (b'`' | b'~', Some(run)) => run.length += 1,
            (b'`' | b'~', None) => {
                let is_at_line_start = self.start == LineStart::Indent;
                self.begin_content(byte);
                self.run = Some(Run { character: byte, length: 1, is_at_line_start });
            }
            (b'\\', _) if self.span.is_none() => {
                self.begin_content(byte);
                self.is_escaped = true;
            }
            _ => self.begin_content(byte),
        }
    }

    /// Reads a character at the start of a line; elsewhere it changes nothing.
    fn begin_content(&mut self, byte: u8) {
        self.start = match (self.start, byte) {
            (LineStart::Indent, b' ' | b'\t' | b'>') => {
                self.indent += if byte == b'\t' { CODE_INDENT } else { 1 };
                LineStart::Indent
            }
            (LineStart::Indent, b'-' | b'*' | b'+') => LineStart::Bullet,
            (LineStart::Indent | LineStart::Digits, b'0'..=b'9') => LineStart::Digits,
            (LineStart::Digits, b'.' | b')') => LineStart::Ordinal,
            (LineStart::Bullet | LineStart::Ordinal, b' ' | b'\t') => {
                (self.is_in_list, self.span) = (true, None);
                self.indent += 1;
                LineStart::Indent
            }
            (LineStart::Content, _) => LineStart::Content,
            (_, _) => {
                if self.indent == 0 && self.is_after_blank_line {
                    self.is_in_list = false;
                }
                if byte == b'#' {
                    self.span = None;
                }
                LineStart::Content
            }
        };
    }

    fn feed_fenced(&mut self, byte: u8) {
        let Some(fence) = &mut self.fence else { return };
        if fence.is_opening {
            // The line of the opening run holds no further backticks; this one was a code span.
            if fence.character == b'`' && byte == b'`' {
                self.span = Some(fence.length);
                self.run = Some(Run { character: byte, length: 1, is_at_line_start: false });
                self.fence = None;
            }
            return;
        }
        fence.closing = match (fence.closing, byte) {
            (Some(length), _) if byte == fence.character => Some(length + 1),
            (Some(0), b' ' | b'\t' | b'>') => Some(0),
            (Some(length), b' ' | b'\t' | b'\r') if length >= fence.length => Some(length),
            _ => None,
        };
    }

    fn end_run(&mut self) {
        let Some(run) = self.run.take() else { return };
        if self.span.is_none() && run.opens_fence() {
            let Run { character, length, .. } = run;
            self.fence = Some(Fence { character, length, is_opening: true, closing: None });
        } else if run.character == b'`' {
            self.span = match self.span {
                None => Some(run.length),
                Some(length) if length == run.length => None,
                open => open,
            };
        }
    }

    fn end_line(&mut self) {
        let is_blank = self.start == LineStart::Indent && self.fence.is_none();
        if let Some(fence) = &mut self.fence {
            let is_closed = !fence.is_opening && fence.closing.is_some_and(|length| length >= fence.length);
            (fence.is_opening, fence.closing) = (false, Some(0));
            if is_closed {
                self.fence = None;
            }
        }
        if is_blank {
            self.span = None;
        }
        // Blank lines do not end indented code.
        self.is_after_blank_line = is_blank || self.is_indented_code;
        (self.start, self.indent, self.is_escaped, self.is_indented_code) = (LineStart::Indent, 0, false, false);
    }

    fn is_in_indented_code(&self) -> bool {
        let begins = self.start == LineStart::Indent && self.indent >= CODE_INDENT;
        self.is_indented_code || (begins && self.is_after_blank_line && !self.is_in_list)
    }
}

impl Run {
    fn opens_fence(self) -> bool {
        self.is_at_line_start && self.length >= FENCE_LENGTH
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the characters `x` of a text with whether each is literal.
    fn literal(text: &str) -> Vec<bool> {
        let mut code = MarkdownCode::default();
        let mut found = Vec::new();
        for byte in text.bytes() {
            if byte == b'x' {
                found.push(code.is_literal());
            }
            code.feed(byte);
        }
        found
    }

    #[test]
    fn code_is_recognised() {
        for (text, wanted) in [
            ("x `x` x", vec![false, true, false]),
            ("``x`x`` x", vec![true, true, false]),
            ("x\n```\nx\n```\nx", vec![false, true, false]),
            ("```rust x\nx `\n```\nx", vec![true, true, false]),
            ("```x``` x", vec![true, false]),
            ("~~~\nx\n```\nx\n~~~~ \nx", vec![true, true, false]),
            ("~~x~~ x", vec![false, false]),
            ("- a\n  ```\n  x\n  ```\n- x", vec![true, false]),
            ("- ```\n  x\n  ```\nx", vec![true, false]),
            ("> ```\n> x\n> ```\nx", vec![true, false]),
            ("````\n```\nx\n````\nx", vec![true, false]),
            ("    x\n\n    x\nx", vec![true, true, false]),
            ("a\n    x", vec![false]),
            ("a\n\n\tx\nx", vec![true, false]),
            ("1. a\n\n    x\n\nb\n\n    x", vec![false, true]),
            ("- a\n    - x", vec![false]),
            (r"\x \\x `\x` x", vec![true, false, true, false]),
            (r"\`x", vec![false]),
            ("a ` b x\n\nx", vec![true, false]),
            ("- a ` b\n- x", vec![false]),
            ("`a\nx` x", vec![true, false]),
            ("**x** x", vec![false, false]),
        ] {
            assert_eq!(literal(text), wanted, "{text:?}");
        }
    }
}
