//! Framing of an answer's body: splits it into the data of server-sent events or into the objects of a JSON body.
//!
//! The format is detected by the first byte rather than the `Content-Type`: servers label streams `text/plain`, and some
//! ignore `stream: true` and answer with one JSON document or one object per line. Input may be split anywhere; each frame is
//! output as soon as it is complete. Objects are not parsed here.

use super::{failure::Failure, retry::Retry};
use std::borrow::Cow;

/// Maximum length of an event and of each of its lines, in bytes.
pub(super) const MAX_EVENT_BYTES: usize = 256 * 1024;
/// Maximum length of an object of a JSON body, in bytes: an answer of maximum length plus escapes.
pub(super) const MAX_OBJECT_BYTES: usize = 4 * 1024 * 1024;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Value of the `event` field of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EventName {
    /// Absent, empty or `message`.
    Message,
    Error,
    /// Anything else, such as `ping`.
    Other,
}

/// Complete unit of a body: an event or a JSON object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    pub name: EventName,
    pub data: &'a str,
    /// Whether the body ended before the end of this frame, which may therefore be truncated.
    pub is_unterminated: bool,
}

/// Incremental splitter of a body into frames.
#[derive(Debug, Default)]
pub(super) struct Framing {
    format: Format,
    /// Incomplete line or object.
    partial: Vec<u8>,
    after_cr: bool,
    event: PendingEvent,
    /// Nesting of `partial` if it is an object.
    nesting: Nesting,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Format {
    #[default]
    Unknown,
    Events,
    Objects,
}

/// Event being read.
#[derive(Debug)]
struct PendingEvent {
    name: EventName,
    data: Vec<u8>,
    has_data: bool,
    /// Nesting of `data`; computed only for events of several lines.
    nesting: Nesting,
}

impl Default for PendingEvent {
    fn default() -> Self {
        Self { name: EventName::Message, data: Vec::new(), has_data: false, nesting: Nesting::default() }
    }
}

impl Framing {
    /// Processes bytes of the body and passes completed frames to `sink`.
    ///
    /// # Errors
    /// When a frame is too large, or the body is an HTML page.
    pub fn push(&mut self, bytes: &[u8], sink: &mut impl FnMut(Frame<'_>)) -> Result<(), Failure> {
        match self.format {
            Format::Unknown => {
                self.partial.extend_from_slice(bytes);
                let start = std::mem::take(&mut self.partial);
                self.detect_format(start, sink)
            }
            Format::Events => self.read_lines(bytes, sink),
            Format::Objects => self.read_objects(bytes, sink),
        }
    }

    /// Processes the end of the body: outputs a final event that lacks its empty line.
    pub fn finish(&mut self, sink: &mut impl FnMut(Frame<'_>)) {
        if self.format == Format::Events {
            let line = std::mem::take(&mut self.partial);
            // Fails only for a line that is too large, which `push` has rejected already.
            let _ = self.read_line(&line, sink);
            self.dispatch(true, sink);
        }
    }

    /// Whether the body is JSON rather than events.
    pub fn is_json(&self) -> bool {
        self.format == Format::Objects
    }

    /// Detects the format by the first bytes and processes them.
    fn detect_format(&mut self, mut start: Vec<u8>, sink: &mut impl FnMut(Frame<'_>)) -> Result<(), Failure> {
        if start.starts_with(BYTE_ORDER_MARK) {
            start.drain(..BYTE_ORDER_MARK.len());
        } else if BYTE_ORDER_MARK.starts_with(&start) {
            self.partial = start;
            return Ok(());
        }
        let blank = start.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        start.drain(..blank);
        self.format = match start.as_slice() {
            [] | b"[" => {
                self.partial = start;
                return Ok(());
            }
            [b'<', ..] => {
                return Err(Failure::broken("the response is an HTML page (check provider.base_url)", Retry::Never));
            }
            // `[DONE]` without a field name.
            [b'[', b'D', ..] => Format::Events,
            [b'{' | b'[', ..] => Format::Objects,
            _ => Format::Events,
        };
        self.push(&start, sink)
    }

    fn read_lines(&mut self, bytes: &[u8], sink: &mut impl FnMut(Frame<'_>)) -> Result<(), Failure> {
        let mut rest = bytes;
        if std::mem::take(&mut self.after_cr) && rest.first() == Some(&b'\n') {
            rest = &rest[1..];
        }
        while let Some(end) = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
            if self.partial.is_empty() {
                self.read_line(&rest[..end], sink)?;
            } else {
                let mut line = std::mem::take(&mut self.partial);
                line.extend_from_slice(&rest[..end]);
                self.read_line(&line, sink)?;
                line.clear();
                self.partial = line;
            }
            let is_cr = rest[end] == b'\r';
            rest = &rest[end + 1..];
            if is_cr {
                match rest.first() {
                    Some(b'\n') => rest = &rest[1..],
                    Some(_) => {}
                    None => self.after_cr = true,
                }
            }
        }
        self.partial.extend_from_slice(rest);
        check_size(self.partial.len(), MAX_EVENT_BYTES)
    }

    /// Processes one line of an event stream, without its line ending.
    fn read_line(&mut self, line: &[u8], sink: &mut impl FnMut(Frame<'_>)) -> Result<(), Failure> {
        if line.is_empty() {
            self.dispatch(false, sink);
            return Ok(());
        }
        // Some servers write errors or the end marker into the stream without a field name.
        if line[0] == b'{' || line.starts_with(b"[DONE]") {
            return self.add_data(line, sink);
        }
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let (field, value) = line.split_at(colon);
        let value = value.strip_prefix(b":").unwrap_or(value);
        let value = value.strip_prefix(b" ").unwrap_or(value);
        if field.eq_ignore_ascii_case(b"data") {
            return self.add_data(value, sink);
        }
        if field.eq_ignore_ascii_case(b"event") {
            self.event.name = match value {
                b"" | b"message" => EventName::Message,
                name if name.eq_ignore_ascii_case(b"error") => EventName::Error,
                _ => EventName::Other,
            };
        } else if field.eq_ignore_ascii_case(b"error") {
            // Used by llama.cpp until September 2025 (ggml-org/llama.cpp#16109).
            self.event.name = EventName::Error;
            return self.add_data(value, sink);
        }
        Ok(())
    }

    fn add_data(&mut self, value: &[u8], sink: &mut impl FnMut(Frame<'_>)) -> Result<(), Failure> {
        if self.event.has_data {
            // Data lines belong to one event, unless those before are a complete value: some servers omit the empty line
            // between events.
            let event = &mut self.event;
            if !event.nesting.has_input {
                event.nesting.feed_all(&event.data);
            }
            if event.nesting.is_complete() || event.data == b"[DONE]" {
                let name = event.name;
                self.dispatch(false, sink);
                self.event.name = name;
            } else {
                event.data.push(b'\n');
                event.nesting.feed_all(value);
            }
        }
        self.event.has_data = true;
        self.event.data.extend_from_slice(value);
        check_size(self.event.data.len(), MAX_EVENT_BYTES)
    }

    fn dispatch(&mut self, is_unterminated: bool, sink: &mut impl FnMut(Frame<'_>)) {
        let event = &mut self.event;
        if event.has_data || event.name == EventName::Error {
            sink(Frame { name: event.name, data: &lossy_text(&event.data), is_unterminated });
        }
        // Reset field by field to keep the buffer's allocation.
        event.data.clear();
        event.has_data = false;
        event.name = EventName::Message;
        event.nesting = Nesting::default();
    }

    /// Processes a JSON body: a single object, one object per line, or an array of objects.
    fn read_objects(&mut self, bytes: &[u8], sink: &mut impl FnMut(Frame<'_>)) -> Result<(), Failure> {
        for byte in bytes {
            if self.partial.is_empty() && *byte != b'{' {
                continue;
            }
            self.partial.push(*byte);
            self.nesting.feed(*byte);
            if self.nesting.is_complete() {
                let data = lossy_text(&self.partial);
                sink(Frame { name: EventName::Message, data: &data, is_unterminated: false });
                self.partial.clear();
                self.nesting = Nesting::default();
            }
        }
        check_size(self.partial.len(), MAX_OBJECT_BYTES)
    }
}

/// Replaces invalid UTF-8. Valid UTF-8, which is the rule, is checked several bytes at a time, unlike by `from_utf8_lossy`.
fn lossy_text(bytes: &[u8]) -> Cow<'_, str> {
    std::str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed)
}

fn check_size(bytes: usize, max: usize) -> Result<(), Failure> {
    if bytes > max { Err(Failure::broken("an event of the answer is too large", Retry::Never)) } else { Ok(()) }
}

/// Nesting depth of JSON text, tracked to find the end of an object without parsing it.
#[derive(Clone, Copy, Debug, Default)]
struct Nesting {
    depth: usize,
    in_string: bool,
    is_escaped: bool,
    has_opened: bool,
    has_input: bool,
}

impl Nesting {
    fn feed(&mut self, byte: u8) {
        self.has_input = true;
        if self.in_string {
            match byte {
                _ if self.is_escaped => self.is_escaped = false,
                b'\\' => self.is_escaped = true,
                b'"' => self.in_string = false,
                _ => {}
            }
            return;
        }
        match byte {
            b'"' => self.in_string = true,
            b'{' | b'[' => {
                self.depth += 1;
                self.has_opened = true;
            }
            b'}' | b']' => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
    }

    fn feed_all(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.feed(*byte));
    }

    /// Whether the input is a complete object or array.
    fn is_complete(&self) -> bool {
        self.has_opened && self.depth == 0 && !self.in_string
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Read = Result<Vec<(EventName, String)>, &'static str>;

    fn frames(body: &[u8], size: usize) -> Read {
        let mut framing = Framing::default();
        let mut found = Vec::new();
        let mut sink = |frame: Frame<'_>| found.push((frame.name, frame.data.to_owned()));
        for chunk in body.chunks(size) {
            framing.push(chunk, &mut sink).map_err(|_| "rejected")?;
        }
        framing.finish(&mut sink);
        Ok(found)
    }

    fn assert_frames(body: &str, want: &[(EventName, &str)]) {
        let want: Vec<_> = want.iter().map(|(name, data)| (*name, (*data).to_owned())).collect();
        for size in 1..=body.len() {
            assert_eq!(frames(body.as_bytes(), size), Ok(want.clone()), "{body:?} in chunks of {size}");
        }
    }

    const MESSAGE: EventName = EventName::Message;

    #[test]
    fn events_are_complete_with_any_piece_size() {
        assert_frames(
            "\u{feff}: hello\r\n\r\ndata: {\"grün\":\"👍\"}\r\n\r\nid: 7\rdata:two\r\rretry: 5\n\ndata\n\ndata: \n\n",
            &[(MESSAGE, "{\"grün\":\"👍\"}"), (MESSAGE, "two"), (MESSAGE, ""), (MESSAGE, "")],
        );
        assert_frames("\n\n data: a\n\ndata: {\"b\":1}", &[(MESSAGE, "a"), (MESSAGE, "{\"b\":1}")]);
    }

    #[test]
    fn event_names_distinguish_errors_and_keep_alives() {
        assert_frames(
            "event: error\ndata: {}\n\nevent: ping\ndata: {}\n\ndata: {}\nevent: error\n\nerror: {\"code\":500}\n\nevent: error\n\n",
            &[
                (EventName::Error, "{}"),
                (EventName::Other, "{}"),
                (EventName::Error, "{}"),
                (EventName::Error, "{\"code\":500}"),
                (EventName::Error, ""),
            ],
        );
    }

    #[test]
    fn data_lines_are_joined_until_the_value_is_complete() {
        assert_frames(
            "data: {\"a\":\ndata: \"}\\\"\",\ndata: \"b\":[1]}\n\n",
            &[(MESSAGE, "{\"a\":\n\"}\\\"\",\n\"b\":[1]}")],
        );
        assert_frames(
            "data: {\"a\":1}\ndata: {\"b\":2}\ndata: [DONE]\n",
            &[(MESSAGE, "{\"a\":1}"), (MESSAGE, "{\"b\":2}"), (MESSAGE, "[DONE]")],
        );
        assert_frames(
            "data: {\"a\":1}\n\n{\"error\":\"x\"}\n[DONE]\n",
            &[(MESSAGE, "{\"a\":1}"), (MESSAGE, "{\"error\":\"x\"}"), (MESSAGE, "[DONE]")],
        );
        assert_frames("[DONE]\n", &[(MESSAGE, "[DONE]")]);
    }

    #[test]
    fn a_json_body_is_split_into_objects() {
        assert_frames("\u{feff}\n{\"a\": \"}{\\\"\",\n \"b\": {}}\n", &[(MESSAGE, "{\"a\": \"}{\\\"\",\n \"b\": {}}")]);
        assert_frames(
            "{\"a\":1}\n{\"b\":2}{\"c\":3}",
            &[(MESSAGE, "{\"a\":1}"), (MESSAGE, "{\"b\":2}"), (MESSAGE, "{\"c\":3}")],
        );
        assert_frames("[{\"a\":1},\r\n{\"b\":2}]", &[(MESSAGE, "{\"a\":1}"), (MESSAGE, "{\"b\":2}")]);
        assert_frames("{\"a\": 1, ", &[]);
    }

    #[test]
    fn html_pages_and_oversized_frames_are_rejected() {
        assert_eq!(frames(b"\n<!DOCTYPE html><html>", 3), Err("rejected"));
        for endless in ["data: ", "data: x\n", "{\"a\":\""] {
            let mut framing = Framing::default();
            let chunk = endless.as_bytes().iter().copied().cycle().take(MAX_OBJECT_BYTES + 100).collect::<Vec<u8>>();
            let chunk = if endless.contains('{') {
                [endless.as_bytes(), &vec![b'x'; MAX_OBJECT_BYTES]].concat()
            } else {
                chunk
            };
            assert!(chunk.chunks(8_192).any(|chunk| framing.push(chunk, &mut |_| ()).is_err()), "{endless:?}");
            assert!(framing.partial.len() + framing.event.data.len() <= MAX_OBJECT_BYTES + 8_192);
        }
    }

    #[test]
    fn the_size_limit_applies_to_each_frame_alone() {
        let body = format!("data: {}\n\n", "x".repeat(1_000)).repeat(1_000);
        assert_eq!(frames(body.as_bytes(), 777).unwrap().len(), 1_000);
    }

    #[test]
    fn invalid_utf8_is_replaced() {
        assert_eq!(frames(b"data: a\xff\n\n", 1), Ok(vec![(MESSAGE, "a\u{fffd}".to_owned())]));
    }
}
