//! The fields of a line of JSON.
//!
//! A SIMD parser takes the lines that are plain; whatever it does not take, and whatever is wrong
//! with a row, is left to `serde_json`, so that a row is judged the same whoever read it. Only the
//! keys that a source needs are kept.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use simd_json::prelude::{TypedScalarValue, ValueAsScalar, ValueIntoString};
use simd_json::{Tape, tape};

use crate::document::{Document, RowError};
use crate::read::fields::{Fields, Meta, MetaFields, MetaSlot, Slot, Value};
use crate::read::json_tape::TapeParser;
use crate::read::jsonl;
use crate::read::schema::{Origin, Schema};

/// A parser of rows that keeps its memory from row to row.
#[derive(Default)]
pub(crate) struct RowParser(TapeParser);

impl RowParser {
    /// Parses one line, without what may stand around its object.
    pub(crate) fn parse_line(
        &mut self,
        line: &[u8],
        row: u64,
        schema: &Schema,
        origin: &Origin,
    ) -> Result<Document, RowError> {
        match self.parse_plain(line, row, schema, origin) {
            Some(document) => Ok(document),
            None => parse_any(line, row, schema, origin),
        }
    }

    /// Returns nothing for a line that is no document or odd in any way.
    fn parse_plain(
        &mut self,
        line: &[u8],
        row: u64,
        schema: &Schema,
        origin: &Origin,
    ) -> Option<Document> {
        self.0.parse(line, |tape| {
            let fields = plain_fields(tape, schema)?;
            schema.document(fields, row, origin).ok()
        })
    }
}

fn plain_fields<'l>(tape: &Tape<'l>, schema: &Schema) -> Option<Fields<'l>> {
    let object = tape.as_value().as_object()?;
    let mut fields = Fields::default();
    for (key, value) in &object {
        match schema.slot(key) {
            None => {}
            Some(Slot::Meta) => fields.meta = plain_meta(value)?,
            Some(Slot::Score) => fields.set(Slot::Score, Value::Other("a score")),
            Some(slot) => {
                let value = plain_value(value)?;
                let is_null = value == Value::Other("null");
                if !is_null || slot == Slot::Text {
                    fields.set(slot, value);
                }
            }
        }
    }
    Some(fields)
}

/// Returns nothing for a number that the two parsers may print differently.
fn plain_value<'l>(value: tape::Value<'_, 'l>) -> Option<Value<'l>> {
    if let Some(text) = value.into_string() {
        return Some(Value::Text(Cow::Borrowed(text)));
    }
    if let Some(list) = value.as_array() {
        let texts = list.iter().filter_map(ValueIntoString::into_string);
        return Some(Value::List(texts.map(str::to_owned).collect()));
    }
    if value.is_object() {
        return Some(Value::Other("an object"));
    }
    if value.is_null() {
        return Some(Value::Other("null"));
    }
    if value.is_bool() {
        return Some(Value::Other("a boolean"));
    }
    let number = value.as_u64().map(|number| number.to_string());
    let number = number.or_else(|| value.as_i64().map(|number| number.to_string()));
    // A zero may be written `-0`.
    number.filter(|number| number != "0").map(Value::Number)
}

fn plain_meta(value: tape::Value<'_, '_>) -> Option<Meta> {
    let Some(object) = value.as_object() else {
        return Some(match plain_value(value)? {
            Value::Text(text) => Meta::parse(&text),
            Value::Other("null") => Meta::Missing,
            other => Meta::of_type(other.type_name()),
        });
    };
    let mut fields = MetaFields::default();
    for (key, value) in &object {
        if value.is_null() {
            continue;
        }
        fields.add_key(key);
        if let Some(slot) = MetaSlot::of(key) {
            fields.set(slot, plain_value(value)?);
        }
    }
    Some(Meta::Found(fields))
}

/// Parses any line at all, more slowly.
pub(crate) fn parse_any(
    line: &[u8],
    row: u64,
    schema: &Schema,
    origin: &Origin,
) -> Result<Document, RowError> {
    let fields = jsonl::parse(line, RowSeed(schema))?;
    schema.document(fields, row, origin)
}

struct RowSeed<'s>(&'s Schema);

impl<'de> DeserializeSeed<'de> for RowSeed<'_> {
    type Value = Fields<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Fields<'de>, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for RowSeed<'_> {
    type Value = Fields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
        let mut fields = Fields::default();
        while let Some(key) = map.next_key::<Key<'de>>()? {
            match self.0.slot(&key.0) {
                None => drop(map.next_value::<IgnoredAny>()?),
                Some(Slot::Meta) => fields.meta = map.next_value()?,
                Some(Slot::Score) => {
                    map.next_value::<IgnoredAny>()?;
                    fields.set(Slot::Score, Value::Other("a score"));
                }
                Some(slot) => {
                    let value: Value<'de> = map.next_value()?;
                    let is_null = value == Value::Other("null");
                    if !is_null || slot == Slot::Text {
                        fields.set(slot, value);
                    }
                }
            }
        }
        Ok(fields)
    }
}

/// A key, borrowed from the line where nothing in it is escaped.
pub(crate) struct Key<'a>(pub(crate) Cow<'a, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;
        impl<'de> Visitor<'de> for KeyVisitor {
            type Value = Key<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }

            fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Borrowed(key)))
            }

            fn visit_str<E>(self, key: &str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(key.to_owned())))
            }
        }
        deserializer.deserialize_str(KeyVisitor)
    }
}

impl<'de> Deserialize<'de> for Value<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        ValueVisitor { in_list: false }.deserialize(deserializer)
    }
}

/// Keeps no lists within lists, which may be nested deeply.
struct ValueVisitor {
    in_list: bool,
}

impl<'de> DeserializeSeed<'de> for ValueVisitor {
    type Value = Value<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Value<'de>, E> {
        Ok(Value::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value<'de>, E> {
        Ok(Value::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value<'de>, E> {
        Ok(Value::Number(number.to_string()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value<'de>, E> {
        Ok(Value::Number(number.to_string()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value<'de>, E> {
        Ok(Value::Number(number.to_string()))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Value<'de>, E> {
        Ok(Value::Other("a boolean"))
    }

    fn visit_unit<E>(self) -> Result<Value<'de>, E> {
        Ok(Value::Other("null"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value<'de>, A::Error> {
        let mut texts = Vec::new();
        if self.in_list {
            while items.next_element::<IgnoredAny>()?.is_some() {}
        }
        while let Some(item) = items.next_element_seed(ValueVisitor { in_list: true })? {
            if let Value::Text(text) = item {
                texts.push(text.into_owned());
            }
        }
        Ok(Value::List(texts))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value<'de>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Value::Other("an object"))
    }
}

impl<'de> Deserialize<'de> for Meta {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(MetaVisitor)
    }
}

struct MetaVisitor;

impl<'de> Visitor<'de> for MetaVisitor {
    type Value = Meta;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Meta, A::Error> {
        MetaFieldsVisitor.visit_map(map).map(Meta::Found)
    }

    fn visit_str<E>(self, text: &str) -> Result<Meta, E> {
        Ok(Meta::parse(text))
    }

    fn visit_unit<E>(self) -> Result<Meta, E> {
        Ok(Meta::Missing)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Meta, E> {
        Ok(Meta::of_type("a number"))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Meta, E> {
        Ok(Meta::of_type("a number"))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Meta, E> {
        Ok(Meta::of_type("a number"))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Meta, E> {
        Ok(Meta::of_type("a boolean"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Meta, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Meta::of_type("an array"))
    }
}

impl<'de> Deserialize<'de> for MetaFields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MetaFieldsVisitor)
    }
}

struct MetaFieldsVisitor;

impl<'de> Visitor<'de> for MetaFieldsVisitor {
    type Value = MetaFields;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<MetaFields, A::Error> {
        let mut fields = MetaFields::default();
        while let Some(key) = map.next_key::<Key<'de>>()? {
            if let Some(slot) = MetaSlot::of(&key.0) {
                let value: Value<'de> = map.next_value()?;
                if value != Value::Other("null") {
                    fields.add_key(&key.0);
                    fields.set(slot, value);
                }
            } else if map.next_value::<Option<IgnoredAny>>()?.is_some() {
                fields.add_key(&key.0);
            }
        }
        Ok(fields)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;
    use proptest::test_runner::Config as ProptestConfig;

    use super::*;
    use crate::read::json_text::tests::piece;
    use crate::recipe::SourceKind;

    /// Both parsers say the same of a line, whatever source it is of.
    fn check(parser: &mut RowParser, line: &[u8]) {
        let origin = Origin::of(Path::new("folder/file.jsonl"));
        for kind in SourceKind::ALL {
            let schema = Schema::of_kind(kind);
            let found = parser.parse_line(line, 7, &schema, &origin);
            let expected = parse_any(line, 7, &schema, &origin);
            assert_eq!(found, expected, "{kind} {}", String::from_utf8_lossy(line));
        }
    }

    fn is_fast(line: &str) -> bool {
        let schema = Schema::of_kind(SourceKind::Jsonl);
        let origin = Origin::default();
        let found = RowParser::default().parse_plain(line.as_bytes(), 0, &schema, &origin);
        found.is_some()
    }

    #[test]
    fn plain_documents_are_parsed_fast() {
        assert!(is_fast(
            r#"{"text": "a\u00e9\n", "id": 1, "meta": {"n": 1.5}}"#
        ));
        assert!(is_fast(r#"{"text": "a", "n": 1.5, "wiki_prob": 0.5}"#));
        assert!(is_fast(
            r#"{"text": "a", "meta": "{'title': 'b'}", "id": null}"#
        ));
        assert!(!is_fast(r#"{"text": "a", "id": 1.5}"#));
        assert!(!is_fast(r#"{"text": 1}"#));
        assert!(!is_fast("[]"));
    }

    #[test]
    fn odd_values_are_the_same_for_both_parsers() {
        let mut parser = RowParser::default();
        let values = [
            "null",
            "0",
            "-0",
            "0.0",
            "-1",
            "1.5",
            "1e3",
            "1e999",
            "18446744073709551616",
            "9007199254740993.0",
            "true",
            "\"\"",
            "\"\\ud800\"",
            "[]",
            "[null]",
            "[\"a\", 1, [\"b\"]]",
            "{}",
            "{\"a\": null}",
            "{\"title\": \"a\"}",
            "{\"title\": 1.5}",
            "{\"id\": -0}",
            "\"{'title': 'a'}\"",
            "\"{\\\"title\\\": null}\"",
            "\"{\"",
            "{\"title\": [\"a\"]}",
        ];
        let keys = [
            "text",
            "content",
            "id",
            "url",
            "meta",
            "license",
            "source",
            "red_pajama_subset",
            "pile_set_name",
            "wiki_prob",
            "max_stars_repo_path",
        ];
        for key in keys {
            for value in values {
                for line in [
                    format!("{{\"{key}\": {value}, \"text\": \"t\", \"content\": \"c\"}}"),
                    format!("{{\"text\": \"t\", \"{key}\": \"b\", \"{key}\": {value}}}"),
                ] {
                    check(&mut parser, line.as_bytes());
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, cases: 500, ..ProptestConfig::default() })]
        #[test]
        fn both_parsers_say_the_same(
            text in any::<String>(),
            value in proptest::collection::vec(piece(), 0..6),
            change in proptest::option::of((any::<proptest::sample::Index>(), piece())),
            loose in proptest::collection::vec(piece(), 0..12),
        ) {
            let mut parser = RowParser::default();
            let text = serde_json::to_string(&text).unwrap();
            let mut line = [b"{\"meta\": ".as_slice(), &value.concat(), b", \"text\": ", text.as_bytes(), b"}"].concat();
            check(&mut parser, &line);
            if let Some((at, piece)) = change {
                let at = at.index(line.len());
                line.splice(at..=at, piece);
                check(&mut parser, &line);
            }
            check(&mut parser, &loose.concat());
        }
    }
}
