//! The body of an answer as frames: the data of server-sent events, or the objects of a JSON body.
//!
//! The first byte of a body tells its format, not its `Content-Type`: servers label streams `text/plain`, and some ignore
//! `stream: true` and answer with one JSON document, or with one object a line. Bytes come in as the network cuts them; each frame
//! goes out as soon as it is complete. Nothing here looks into an object.

use super::failure::{Failure, Retry};
use std::borrow::Cow;

/// The longest event, and the longest line of one, in bytes.
pub(super) const MAX_EVENT_BYTES: usize = 256 * 1024;
/// The longest object of a JSON body, in bytes: an answer of the greatest length, with its escapes.
pub(super) const MAX_OBJECT_BYTES: usize = 4 * 1024 * 1024;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Value of the `event` field of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EventName {
    /// None, or `message`.
    Message,
    Error,
    /// Anything else, such as `ping`.
    Other,
}

/// A complete piece of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    pub name: EventName,
    pub data: &'a str,
    /// The body ended without closing this frame: it may be cut off.
    pub is_last: bool,
}

/// Splits a body into frames.
#[derive(Debug, Default)]
pub(super) struct Framing {
    kind: Kind,
    /// A line or an object that is not complete.
    partial: Vec<u8>,
    after_cr: bool,
    event: PendingEvent,
    nesting: Nesting,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Kind {
    #[default]
    Unknown,
    Events,
    Objects,
}

/// An event whose end has not come.
#[derive(Debug)]
struct PendingEvent {
    name: EventName,
    data: Vec<u8>,
    has_data: bool,
    /// Fed with `data` from its second line on.
    nesting: Nesting,
}

impl Default for PendingEvent {
    fn default() -> Self {
        Self { name: EventName::Message, data: Vec::new(), has_data: false, nesting: Nesting::default() }
    }
}

impl Framing {
    /// Takes in bytes, and hands out the frames they complete.
    ///
    /// # Errors
    /// When a frame is too large, or the body is a page for people.
    pub fn push(&mut self, bytes: &[u8], sink: &mut impl FnMut(Frame<'_>)) -> Result<(), Failure> {
        match self.kind {
            Kind::Unknown => {
                self.partial.extend_from_slice(bytes);
                let start = std::mem::take(&mut self.partial);
                self.begin(start, sink)
            }
            Kind::Events => self.lines(bytes, sink),
            Kind::Objects => self.objects(bytes, sink),
        }
    }

    /// The body is over: hands out an event without the empty line at its end.
    pub fn finish(&mut self, sink: &mut impl FnMut(Frame<'_>)) {
        if self.kind == Kind::Events {
            let line = std::mem::take(&mut self.partial);
            // Too large cannot happen: it would have been noticed when the line's bytes came.
            let _ = self.line(&line, sink);
            self.dispatch(true, sink);
        }
    }

    /// Whether the body is JSON rather than events.
    pub fn is_objects(&self) -> bool {
        self.kind == Kind::Objects
    }

    /// Decides by the first bytes what the body is.
    fn begin(&mut self, mut start: Vec<u8>, sink: &mut impl FnMut(Frame<'_>)) -> Result<(), Failure> {
        if start.starts_with(BYTE_ORDER_MARK) {
            start.drain(..BYTE_ORDER_MARK.len());
        } else if BYTE_ORDER_MARK.starts_with(&start) {
            self.partial = start;
            return Ok(());
        }
        let blank = start.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        start.drain(..blank);
        self.kind = match start.as_slice() {
            [] | b"[" => {
                self.partial = start;
                return Ok(());
            }
            [b'<', ..] => {
                return Err(Failure::broken("the answer is a web page (check provider.base_url)", Retry::Never));
            }
            // `[DONE]` without a field name.
            [b'[', b'D', ..] => Kind::Events,
            [b'{' | b'[', ..] => Kind::Objects,
            _ => Kind::Events,
        };
        self.push(&start, sink)
    }

    fn lines(&mut self, bytes: &[u8], sink: &mut impl FnMut(Frame<'_>)) -> Result<(), Failure> {
        let mut rest = bytes;
        if std::mem::take(&mut self.after_cr) && rest.first() == Some(&b'\n') {
            rest = &rest[1..];
        }
        while let Some(end) = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
            if self.partial.is_empty() {
                self.line(&rest[..end], sink)?;
            } else {
                let mut line = std::mem::take(&mut self.partial);
                line.extend_from_slice(&rest[..end]);
                self.line(&line, sink)?;
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

    /// One line of an event stream, without its end.
    fn line(&mut self, line: &[u8], sink: &mut impl FnMut(Frame<'_>)) -> Result<(), Failure> {
        if line.is_empty() {
            self.dispatch(false, sink);
            return Ok(());
        }
        // An object or the end mark without a field name: some servers put an error into the stream as it is.
        if line[0] == b'{' || line.starts_with(b"[DONE]") {
            return self.data(line, sink);
        }
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let (field, value) = line.split_at(colon);
        let value = value.strip_prefix(b":").unwrap_or(value);
        let value = value.strip_prefix(b" ").unwrap_or(value);
        if field.eq_ignore_ascii_case(b"data") {
            return self.data(value, sink);
        }
        if field.eq_ignore_ascii_case(b"event") {
            self.event.name = match value {
                b"" | b"message" => EventName::Message,
                name if name.eq_ignore_ascii_case(b"error") => EventName::Error,
                _ => EventName::Other,
            };
        } else if field.eq_ignore_ascii_case(b"error") {
            // How llama.cpp reported errors until September 2025 (ggml-org/llama.cpp#16109).
            self.event.name = EventName::Error;
            return self.data(value, sink);
        }
        Ok(())
    }

    fn data(&mut self, value: &[u8], sink: &mut impl FnMut(Frame<'_>)) -> Result<(), Failure> {
        if self.event.has_data {
            // Lines of one event belong together, unless what came before is complete: some servers leave out the empty line.
            let event = &mut self.event;
            if event.nesting.is_untouched() {
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

    fn dispatch(&mut self, is_last: bool, sink: &mut impl FnMut(Frame<'_>)) {
        let event = &mut self.event;
        if event.has_data || event.name == EventName::Error {
            sink(Frame { name: event.name, data: &lossy(&event.data), is_last });
        }
        // The buffer is kept for the next event.
        event.data.clear();
        event.has_data = false;
        event.name = EventName::Message;
        event.nesting = Nesting::default();
    }

    /// The objects of a JSON body: one, one a line, or those of a list.
    fn objects(&mut self, bytes: &[u8], sink: &mut impl FnMut(Frame<'_>)) -> Result<(), Failure> {
        for byte in bytes {
            if self.partial.is_empty() && *byte != b'{' {
                continue;
            }
            self.partial.push(*byte);
            self.nesting.feed(*byte);
            if self.nesting.is_complete() {
                sink(Frame { name: EventName::Message, data: &lossy(&self.partial), is_last: false });
                self.partial.clear();
                self.nesting = Nesting::default();
            }
        }
        check_size(self.partial.len(), MAX_OBJECT_BYTES)
    }
}

/// Bytes that are no UTF-8 are replaced: one broken character is no reason to lose an answer.
fn lossy(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

fn check_size(bytes: usize, max: usize) -> Result<(), Failure> {
    if bytes > max { Err(Failure::broken("an event is too large", Retry::Never)) } else { Ok(()) }
}

/// Tracks the nesting depth of JSON text, to find the end of an object without parsing it.
#[derive(Clone, Copy, Debug, Default)]
struct Nesting {
    depth: usize,
    in_text: bool,
    escaped: bool,
    opened: bool,
    fed: bool,
}

impl Nesting {
    fn feed(&mut self, byte: u8) {
        self.fed = true;
        if self.in_text {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.in_text = false,
                _ => {}
            }
            return;
        }
        match byte {
            b'"' => self.in_text = true,
            b'{' | b'[' => {
                self.depth += 1;
                self.opened = true;
            }
            b'}' | b']' => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
    }

    fn feed_all(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.feed(*byte));
    }

    fn is_untouched(&self) -> bool {
        !self.fed
    }

    fn is_complete(&self) -> bool {
        self.opened && self.depth == 0 && !self.in_text
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
            framing.push(chunk, &mut sink).map_err(|_| "refused")?;
        }
        framing.finish(&mut sink);
        Ok(found)
    }

    fn all_cuts(body: &str, want: &[(EventName, &str)]) {
        let want: Vec<_> = want.iter().map(|(name, data)| (*name, (*data).to_owned())).collect();
        for size in 1..=body.len() {
            assert_eq!(frames(body.as_bytes(), size), Ok(want.clone()), "{body:?} in chunks of {size}");
        }
    }

    const MESSAGE: EventName = EventName::Message;

    #[test]
    fn events_are_whole_however_the_bytes_are_cut() {
        all_cuts(
            "\u{feff}: hello\r\n\r\ndata: {\"grün\":\"👍\"}\r\n\r\nid: 7\rdata:two\r\rretry: 5\n\ndata\n\ndata: \n\n",
            &[(MESSAGE, "{\"grün\":\"👍\"}"), (MESSAGE, "two"), (MESSAGE, ""), (MESSAGE, "")],
        );
        all_cuts("\n\n data: a\n\ndata: {\"b\":1}", &[(MESSAGE, "a"), (MESSAGE, "{\"b\":1}")]);
    }

    #[test]
    fn names_tell_errors_and_keep_alives() {
        all_cuts(
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
    fn lines_of_one_value_are_one_frame_and_complete_values_are_several() {
        all_cuts(
            "data: {\"a\":\ndata: \"}\\\"\",\ndata: \"b\":[1]}\n\n",
            &[(MESSAGE, "{\"a\":\n\"}\\\"\",\n\"b\":[1]}")],
        );
        all_cuts(
            "data: {\"a\":1}\ndata: {\"b\":2}\ndata: [DONE]\n",
            &[(MESSAGE, "{\"a\":1}"), (MESSAGE, "{\"b\":2}"), (MESSAGE, "[DONE]")],
        );
        all_cuts(
            "data: {\"a\":1}\n\n{\"error\":\"x\"}\n[DONE]\n",
            &[(MESSAGE, "{\"a\":1}"), (MESSAGE, "{\"error\":\"x\"}"), (MESSAGE, "[DONE]")],
        );
        all_cuts("[DONE]\n", &[(MESSAGE, "[DONE]")]);
    }

    #[test]
    fn a_json_body_is_its_objects() {
        all_cuts("\u{feff}\n{\"a\": \"}{\\\"\",\n \"b\": {}}\n", &[(MESSAGE, "{\"a\": \"}{\\\"\",\n \"b\": {}}")]);
        all_cuts(
            "{\"a\":1}\n{\"b\":2}{\"c\":3}",
            &[(MESSAGE, "{\"a\":1}"), (MESSAGE, "{\"b\":2}"), (MESSAGE, "{\"c\":3}")],
        );
        all_cuts("[{\"a\":1},\r\n{\"b\":2}]", &[(MESSAGE, "{\"a\":1}"), (MESSAGE, "{\"b\":2}")]);
        all_cuts("{\"a\": 1, ", &[]);
    }

    #[test]
    fn pages_and_frames_that_are_too_large_are_refused() {
        assert_eq!(frames(b"\n<!DOCTYPE html><html>", 3), Err("refused"));
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
    fn many_frames_may_be_longer_than_one() {
        let body = format!("data: {}\n\n", "x".repeat(1_000)).repeat(1_000);
        assert_eq!(frames(body.as_bytes(), 777).unwrap().len(), 1_000);
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced() {
        assert_eq!(frames(b"data: a\xff\n\n", 1), Ok(vec![(MESSAGE, "a\u{fffd}".to_owned())]));
    }
}
