//! A view of a JSON value that is read on demand.
//!
//! Servers fill the same field with a text, a number, null, a list or an object. A typed `Deserialize` fails on the whole
//! event when one field is odd; this view answers `None` for that field and leaves the rest readable. Texts are WTF-8, since a
//! server may put the two halves of a surrogate pair into two events, which no Rust string can hold.

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::{borrow::Cow, fmt};

/// A value that was checked to be JSON, as its text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Json<'a>(&'a str);

impl<'a> Json<'a> {
    /// The only value of `text`; `None` when the text is not JSON or holds more than one value.
    pub fn parse(text: &'a str) -> Option<Self> {
        serde_json::from_str::<&RawValue>(text).ok().map(|raw| Self(raw.get()))
    }

    /// The value's own text.
    pub fn raw(self) -> &'a str {
        self.0
    }

    pub fn is_object(self) -> bool {
        self.0.starts_with('{')
    }

    pub fn is_list(self) -> bool {
        self.0.starts_with('[')
    }

    pub fn is_text(self) -> bool {
        self.0.starts_with('"')
    }

    /// Whether the value says anything: not null, false, zero, nor an empty text, list or object, nor a list or object of
    /// nothing else.
    pub fn says_something(self) -> bool {
        match self.0.as_bytes()[0] {
            b'[' => self.items().into_iter().any(|item| !item.is_blank()),
            b'{' => self.values().into_iter().any(|value| !value.is_blank()),
            _ => !self.is_blank(),
        }
    }

    fn is_blank(self) -> bool {
        matches!(self.0, "null" | "false" | "\"\"" | "{}" | "[]") || self.number() == Some(0.0)
    }

    /// The members of these names, in this order; `None` for one that is absent or null. Of members of the same name, the last
    /// counts. A value that is no object has no members.
    pub fn members<const N: usize>(self, names: [&str; N]) -> [Option<Self>; N] {
        if !self.is_object() {
            return [None; N];
        }
        let mut found = [None; N];
        let mut deserializer = serde_json::Deserializer::from_str(self.0);
        // The text is JSON, so this cannot fail half-way.
        let _ = deserializer.deserialize_map(Members { names, found: &mut found });
        found
    }

    /// The member of this name; `None` when it is absent or null.
    pub fn member(self, name: &str) -> Option<Self> {
        let [member] = self.members([name]);
        member
    }

    /// Those members of each object in a list, read in one pass; none of another value.
    pub fn items_members<const N: usize>(self, names: [&str; N]) -> Vec<[Option<Self>; N]> {
        if !self.is_list() {
            return Vec::new();
        }
        let mut items = Vec::new();
        let list = ItemsMembers { names, items: &mut items };
        match serde_json::Deserializer::from_str(self.0).deserialize_seq(list) {
            Ok(()) => items,
            // An item is no object.
            Err(_) => {
                self.items().into_iter().filter(|item| item.is_object()).map(|item| item.members(names)).collect()
            }
        }
    }

    /// The items of a list; none of another value.
    pub fn items(self) -> Vec<Self> {
        if !self.is_list() {
            return Vec::new();
        }
        let mut items = Vec::new();
        let _ = serde_json::Deserializer::from_str(self.0).deserialize_seq(Items(&mut items));
        items
    }

    /// The values of an object's members, whatever their names.
    fn values(self) -> Vec<Self> {
        let mut values = Vec::new();
        let _ = serde_json::Deserializer::from_str(self.0).deserialize_map(Values(&mut values));
        values
    }

    /// A text as WTF-8; `None` for another value.
    pub fn text(self) -> Option<Cow<'a, [u8]>> {
        if !self.is_text() {
            return None;
        }
        if !self.0.contains('\\') {
            return Some(Cow::Borrowed(&self.0.as_bytes()[1..self.0.len() - 1]));
        }
        serde_json::Deserializer::from_str(self.0).deserialize_bytes(TextBytes).ok()
    }

    /// A text for comparisons and logs: lone surrogates are replaced.
    pub fn lossy_text(self) -> Option<String> {
        self.text().map(|text| String::from_utf8_lossy(&text).into_owned())
    }

    /// A finite number, also one that is written as a text.
    pub fn number(self) -> Option<f64> {
        let text = self.0.trim_matches('"').trim();
        text.parse().ok().filter(|number: &f64| number.is_finite())
    }
}

struct Members<'n, 'f, 'a, const N: usize> {
    names: [&'n str; N],
    found: &'f mut [Option<Json<'a>>; N],
}

impl<'a, const N: usize> Visitor<'a> for Members<'_, '_, 'a, N> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(Name(name)) = map.next_key()? {
            match self.names.iter().position(|wanted| wanted.as_bytes() == &*name) {
                Some(index) => {
                    let value: &'a RawValue = map.next_value()?;
                    self.found[index] = Some(Json(value.get())).filter(|value| value.0 != "null");
                }
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

/// A member's name, whatever surrogates it holds.
struct Name<'a>(Cow<'a, [u8]>);

impl<'a> serde::Deserialize<'a> for Name<'a> {
    fn deserialize<D: Deserializer<'a>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_bytes(TextBytes).map(Self)
    }
}

struct ItemsMembers<'n, 'i, 'a, const N: usize> {
    names: [&'n str; N],
    items: &'i mut Vec<[Option<Json<'a>>; N]>,
}

impl<'a, const N: usize> Visitor<'a> for ItemsMembers<'_, '_, 'a, N> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of objects")
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut list: A) -> Result<(), A::Error> {
        loop {
            let mut found = [None; N];
            if list.next_element_seed(Members { names: self.names, found: &mut found })?.is_none() {
                return Ok(());
            }
            self.items.push(found);
        }
    }
}

impl<'a, const N: usize> DeserializeSeed<'a> for Members<'_, '_, 'a, N> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

struct Items<'i, 'a>(&'i mut Vec<Json<'a>>);

impl<'a> Visitor<'a> for Items<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(item) = list.next_element::<&'a RawValue>()? {
            self.0.push(Json(item.get()));
        }
        Ok(())
    }
}

struct Values<'v, 'a>(&'v mut Vec<Json<'a>>);

impl<'a> Visitor<'a> for Values<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some((_, value)) = map.next_entry::<Name<'a>, &'a RawValue>()? {
            self.0.push(Json(value.get()));
        }
        Ok(())
    }
}

/// A text's bytes: serde_json encodes lone surrogates in them as WTF-8 instead of failing.
struct TextBytes;

impl<'a> Visitor<'a> for TextBytes {
    type Value = Cow<'a, [u8]>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_borrowed_bytes<E: Error>(self, bytes: &'a [u8]) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(bytes))
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Self::Value, E> {
        Ok(Cow::Owned(bytes.to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Json<'_> {
        Json::parse(text).unwrap_or_else(|| panic!("not JSON: {text}"))
    }

    #[test]
    fn one_odd_member_does_not_hide_the_others() {
        let value = json(r#" {"a": 1, "b": "x\u00fc", "c": null, "a": [2], "\ud800": {}} "#);
        let [a, b, c, d] = value.members(["a", "b", "c", "d"]);
        assert_eq!(a.unwrap().items()[0].number(), Some(2.0), "the last of the same name");
        assert_eq!(b.unwrap().lossy_text().as_deref(), Some("xü"));
        assert!(c.is_none() && d.is_none());
        let [[first], [second]] = json(r#"[{"a":1}, null, {"b":2}]"#).items_members(["a"])[..] else {
            panic!("two objects")
        };
        assert!(first.is_some() && second.is_none());
        assert!(json("[1]").member("a").is_none() && json("3").items().is_empty());
    }

    #[test]
    fn lone_surrogates_stay_in_the_bytes_of_a_text() {
        assert_eq!(&*json(r#""a\ud83d""#).text().unwrap(), b"a\xed\xa0\xbd");
        assert_eq!(&*json(r#""\ud83d\ude00""#).text().unwrap(), "😀".as_bytes());
        assert_eq!(json("7").text(), None);
    }

    #[test]
    fn numbers_may_be_texts_and_are_finite() {
        assert_eq!(
            [json("12.0").number(), json("\"12\"").number(), json("-1").number()],
            [Some(12.0), Some(12.0), Some(-1.0)]
        );
        assert_eq!([json("null").number(), json("\"NaN\"").number(), json("1e999").number()], [None; 3]);
    }

    #[test]
    fn an_empty_error_says_nothing() {
        for nothing in
            ["null", "\"\"", "{}", "[]", "false", "0", r#"{"message":"","code":null}"#, "[null]", r#"{"error":{}}"#]
        {
            assert!(!json(nothing).says_something(), "{nothing}");
        }
        for something in ["\"x\"", "{\"a\":1}", "[1]", "true", "500"] {
            assert!(json(something).says_something(), "{something}");
        }
    }

    #[test]
    fn what_is_no_json_or_more_than_one_value_is_refused() {
        for text in ["", "{", "{}{}", "[DONE]", "nul", "{\"a\":}"] {
            assert!(Json::parse(text).is_none(), "{text}");
        }
        assert!(Json::parse(&"[".repeat(100_000)).is_none());
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(json(&deep).says_something(), "depth costs no stack");
    }
}
