//! Lazy view of a JSON value.
//!
//! Servers use the same member for a string, a number, null, an array or an object. A typed `Deserialize` would reject the
//! whole event because of one member of an unexpected type; this view returns `None` for that member only. Strings are
//! returned as WTF-8, since a server may split a surrogate pair between two events and `str` cannot hold the halves.

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::{borrow::Cow, fmt};

/// Text of a valid JSON value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Json<'a>(&'a str);

impl<'a> Json<'a> {
    /// Validates `text`; `None` unless it is exactly one JSON value.
    pub fn parse(text: &'a str) -> Option<Self> {
        serde_json::from_str::<&RawValue>(text).ok().map(|raw| Self(raw.get()))
    }

    /// Returns the JSON text of the value.
    pub fn raw(self) -> &'a str {
        self.0
    }

    pub fn is_object(self) -> bool {
        self.0.starts_with('{')
    }

    pub fn is_array(self) -> bool {
        self.0.starts_with('[')
    }

    pub fn is_string(self) -> bool {
        self.0.starts_with('"')
    }

    /// Whether the value carries information. Null, false, zero and empty strings, arrays and objects do not, nor do arrays
    /// and objects of only such values.
    pub fn has_content(self) -> bool {
        match self.0.as_bytes()[0] {
            b'[' => self.elements().into_iter().any(|element| !element.is_blank()),
            b'{' => self.values().into_iter().any(|value| !value.is_blank()),
            _ => !self.is_blank(),
        }
    }

    fn is_blank(self) -> bool {
        matches!(self.0, "null" | "false" | "\"\"" | "{}" | "[]") || self.number() == Some(0.0)
    }

    /// Returns the members with these names, in this order; `None` for a member that is absent or null. The last of several
    /// members with the same name counts. A value other than an object has no members.
    pub fn members<const N: usize>(self, names: [&str; N]) -> [Option<Self>; N] {
        if !self.is_object() {
            return [None; N];
        }
        let mut found = [None; N];
        let mut deserializer = serde_json::Deserializer::from_str(self.0);
        // Cannot fail: the text is valid JSON.
        let _ = deserializer.deserialize_map(Members { names, found: &mut found });
        found
    }

    /// Returns the member with this name; `None` if it is absent or null.
    pub fn member(self, name: &str) -> Option<Self> {
        let [member] = self.members([name]);
        member
    }

    /// Returns the members with these names of each object in an array, in one pass; empty for a value other than an array.
    pub fn members_of_each<const N: usize>(self, names: [&str; N]) -> Vec<[Option<Self>; N]> {
        if !self.is_array() {
            return Vec::new();
        }
        let mut found = Vec::new();
        let visitor = MembersOfEach { names, found: &mut found };
        match serde_json::Deserializer::from_str(self.0).deserialize_seq(visitor) {
            Ok(()) => found,
            // An element is not an object.
            Err(_) => self
                .elements()
                .into_iter()
                .filter(|element| element.is_object())
                .map(|element| element.members(names))
                .collect(),
        }
    }

    /// Returns the elements of an array; empty for another value.
    pub fn elements(self) -> Vec<Self> {
        if !self.is_array() {
            return Vec::new();
        }
        let mut elements = Vec::new();
        let _ = serde_json::Deserializer::from_str(self.0).deserialize_seq(Elements(&mut elements));
        elements
    }

    /// Returns the values of all members of an object.
    fn values(self) -> Vec<Self> {
        let mut values = Vec::new();
        let _ = serde_json::Deserializer::from_str(self.0).deserialize_map(Values(&mut values));
        values
    }

    /// Returns a string as WTF-8; `None` for another value.
    pub fn string(self) -> Option<Cow<'a, [u8]>> {
        if !self.is_string() {
            return None;
        }
        if !self.0.contains('\\') {
            return Some(Cow::Borrowed(&self.0.as_bytes()[1..self.0.len() - 1]));
        }
        serde_json::Deserializer::from_str(self.0).deserialize_bytes(StringBytes).ok()
    }

    /// Returns a string with lone surrogates replaced; `None` for another value.
    pub fn lossy_string(self) -> Option<String> {
        self.string().map(|string| String::from_utf8_lossy(&string).into_owned())
    }

    /// Returns a finite number, which may also be written as a string.
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

/// Name of a member, as WTF-8.
struct Name<'a>(Cow<'a, [u8]>);

impl<'a> serde::Deserialize<'a> for Name<'a> {
    fn deserialize<D: Deserializer<'a>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_bytes(StringBytes).map(Self)
    }
}

struct MembersOfEach<'n, 'f, 'a, const N: usize> {
    names: [&'n str; N],
    found: &'f mut Vec<[Option<Json<'a>>; N]>,
}

impl<'a, const N: usize> Visitor<'a> for MembersOfEach<'_, '_, 'a, N> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of objects")
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut array: A) -> Result<(), A::Error> {
        loop {
            let mut found = [None; N];
            if array.next_element_seed(Members { names: self.names, found: &mut found })?.is_none() {
                return Ok(());
            }
            self.found.push(found);
        }
    }
}

impl<'a, const N: usize> DeserializeSeed<'a> for Members<'_, '_, 'a, N> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

struct Elements<'e, 'a>(&'e mut Vec<Json<'a>>);

impl<'a> Visitor<'a> for Elements<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut array: A) -> Result<(), A::Error> {
        while let Some(element) = array.next_element::<&'a RawValue>()? {
            self.0.push(Json(element.get()));
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

/// Deserializes a string as bytes: serde_json then encodes lone surrogates as WTF-8 instead of failing.
struct StringBytes;

impl<'a> Visitor<'a> for StringBytes {
    type Value = Cow<'a, [u8]>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
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
    fn a_member_of_an_unexpected_type_does_not_hide_the_others() {
        let value = json(r#" {"a": 1, "b": "x\u00fc", "c": null, "a": [2], "\ud800": {}} "#);
        let [a, b, c, d] = value.members(["a", "b", "c", "d"]);
        assert_eq!(a.unwrap().elements()[0].number(), Some(2.0), "the last of the same name");
        assert_eq!(b.unwrap().lossy_string().as_deref(), Some("xü"));
        assert!(c.is_none() && d.is_none());
        let [[first], [second]] = json(r#"[{"a":1}, null, {"b":2}]"#).members_of_each(["a"])[..] else {
            panic!("two objects")
        };
        assert!(first.is_some() && second.is_none());
        assert!(json("[1]").member("a").is_none() && json("3").elements().is_empty());
    }

    #[test]
    fn lone_surrogates_are_kept_as_wtf8() {
        assert_eq!(&*json(r#""a\ud83d""#).string().unwrap(), b"a\xed\xa0\xbd");
        assert_eq!(&*json(r#""\ud83d\ude00""#).string().unwrap(), "😀".as_bytes());
        assert_eq!(json("7").string(), None);
    }

    #[test]
    fn numbers_may_be_strings_and_must_be_finite() {
        assert_eq!(
            [json("12.0").number(), json("\"12\"").number(), json("-1").number()],
            [Some(12.0), Some(12.0), Some(-1.0)]
        );
        assert_eq!([json("null").number(), json("\"NaN\"").number(), json("1e999").number()], [None; 3]);
    }

    #[test]
    fn empty_values_have_no_content() {
        for nothing in
            ["null", "\"\"", "{}", "[]", "false", "0", r#"{"message":"","code":null}"#, "[null]", r#"{"error":{}}"#]
        {
            assert!(!json(nothing).has_content(), "{nothing}");
        }
        for something in ["\"x\"", "{\"a\":1}", "[1]", "true", "500"] {
            assert!(json(something).has_content(), "{something}");
        }
    }

    #[test]
    fn invalid_json_and_several_values_are_rejected() {
        for text in ["", "{", "{}{}", "[DONE]", "nul", "{\"a\":}"] {
            assert!(Json::parse(text).is_none(), "{text}");
        }
        assert!(Json::parse(&"[".repeat(100_000)).is_none());
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(json(&deep).has_content(), "depth costs no stack");
    }
}
