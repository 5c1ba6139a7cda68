//! Parsing of a frame in one pass, for frames whose first member is `type`: the other members are deserialized straight into
//! the struct of that type.

use serde::{
    Deserialize, Deserializer,
    de::{
        DeserializeSeed, Error, IntoDeserializer, MapAccess, Visitor,
        value::{BorrowedStrDeserializer, MapAccessDeserializer},
    },
};
use std::{borrow::Cow, fmt, marker::PhantomData};

/// A set of frames that differ in `type`.
pub trait FrameSet: Sized {
    /// Deserializes the frame of this type.
    ///
    /// # Errors
    /// When the type is unknown or a member is invalid.
    fn deserialize<'de, D: Deserializer<'de>>(frame_type: &str, members: D) -> Result<Self, D::Error>;
}

/// Parses a frame in one pass. Returns `None` for any other text: it may be valid with `type` in another place, a repeated
/// member or a lone surrogate, and only a parser of the whole value names errors.
pub fn parse_type_first<F: FrameSet>(text: &str) -> Option<F> {
    let mut json = serde_json::Deserializer::from_str(text);
    let frame = json.deserialize_map(TypeFirst(PhantomData)).ok()?;
    json.end().ok()?;
    Some(frame)
}

/// A string that is borrowed from the text unless it has escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

struct TypeFirst<F>(PhantomData<F>);

impl<'de, F: FrameSet> Visitor<'de> for TypeFirst<F> {
    type Value = F;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object whose first member is `type`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<F, A::Error> {
        match members.next_key::<Text<'_>>()? {
            Some(Text(name)) if name == "type" => {}
            _ => return Err(A::Error::custom("the first member is not `type`")),
        }
        let Text(frame_type) = members.next_value()?;
        F::deserialize(&frame_type, MapAccessDeserializer::new(OtherMembers(members)))
    }
}

/// The members after `type`, which must not be repeated: a parser of the whole value takes the last one.
struct OtherMembers<A>(A);

impl<'de, A: MapAccess<'de>> MapAccess<'de> for OtherMembers<A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        match self.0.next_key()? {
            None => Ok(None),
            Some(Text(name)) if name == "type" => Err(A::Error::custom("`type` is repeated")),
            Some(Text(Cow::Borrowed(name))) => seed.deserialize(BorrowedStrDeserializer::new(name)).map(Some),
            Some(Text(Cow::Owned(name))) => seed.deserialize(name.into_deserializer()).map(Some),
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.0.next_value_seed(seed)
    }
}
