//! Items: how values become attributes, and what it means when they do not come back.

use std::collections::HashMap;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use operon_engine::ports::StoreError;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Attributes by name.
pub(super) type Item = HashMap<String, Attribute>;

/// The value of one.
pub(super) use aws_sdk_dynamodb::types::AttributeValue as Attribute;

/// Number of the form in which items are stored, in attribute `f`. Absent means 1: every item would carry it, and
/// most of them are written per task run.
pub(super) const FORMAT: u64 = 1;

/// Bytes of one item's document at most. `DynamoDB` takes 400 KB, names and keys included.
pub(super) const DOCUMENT_MAX: usize = 380_000;

/// The two keys of an item.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    /// Partition.
    pub(super) pk: String,
    /// Order within it.
    pub(super) sk: String,
}

impl Key {
    pub(super) fn new(pk: impl Into<String>, sk: impl Into<String>) -> Self {
        Self {
            pk: pk.into(),
            sk: sk.into(),
        }
    }

    /// An item with nothing but its keys.
    pub(super) fn item(&self) -> Item {
        Item::from([
            ("pk".to_owned(), text(&self.pk)),
            ("sk".to_owned(), text(&self.sk)),
        ])
    }

    /// The keys of an item that was read.
    pub(super) fn of(item: &Item) -> Result<Self, StoreError> {
        Ok(Self::new(get_text(item, "pk")?, get_text(item, "sk")?))
    }
}

pub(super) fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

pub(super) fn number(value: u64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

pub(super) fn bytes(value: &[u8]) -> AttributeValue {
    AttributeValue::B(Blob::new(value))
}

/// Sets an attribute unless there is nothing to set.
pub(super) fn set(item: &mut Item, name: &str, value: Option<AttributeValue>) {
    if let Some(value) = value {
        item.insert(name.to_owned(), value);
    }
}

pub(super) fn damaged(item: &Item, name: &str) -> StoreError {
    let part = |name: &str| match item.get(name) {
        Some(AttributeValue::S(text)) => text.chars().take(120).collect::<String>(),
        Some(_) | None => "?".to_owned(),
    };
    StoreError::Corrupt(format!(
        "attribute `{name}` of item {} {} is missing or of another type",
        part("pk"),
        part("sk")
    ))
}

pub(super) fn get_text<'i>(item: &'i Item, name: &str) -> Result<&'i str, StoreError> {
    find_text(item, name).ok_or_else(|| damaged(item, name))
}

pub(super) fn find_text<'i>(item: &'i Item, name: &str) -> Option<&'i str> {
    item.get(name)?.as_s().ok().map(String::as_str)
}

pub(super) fn get_number(item: &Item, name: &str) -> Result<u64, StoreError> {
    find_number(item, name)?.ok_or_else(|| damaged(item, name))
}

/// A number that may be absent, but must be one.
pub(super) fn find_number(item: &Item, name: &str) -> Result<Option<u64>, StoreError> {
    let Some(value) = item.get(name) else {
        return Ok(None);
    };
    let number = value.as_n().ok().and_then(|text| text.parse().ok());
    number.map(Some).ok_or_else(|| damaged(item, name))
}

pub(super) fn get_bytes<'i>(item: &'i Item, name: &str) -> Result<&'i [u8], StoreError> {
    let value = item.get(name).and_then(|value| value.as_b().ok());
    value.map(Blob::as_ref).ok_or_else(|| damaged(item, name))
}

/// JSON text of a document; `what` names it for the error.
pub(super) fn json<T: Serialize + ?Sized>(value: &T, what: &str) -> Result<String, StoreError> {
    let text = serde_json::to_string(value)
        .map_err(|error| StoreError::Failed(format!("{what} cannot be written: {error}")))?;
    if text.len() > DOCUMENT_MAX {
        return Err(StoreError::Failed(format!(
            "{what} has {} bytes of JSON; at most {DOCUMENT_MAX} can be stored, put larger data into a file",
            text.len()
        )));
    }
    Ok(text)
}

/// The document in an attribute.
pub(super) fn from_json<T: DeserializeOwned>(item: &Item, name: &str) -> Result<T, StoreError> {
    let format = find_number(item, "f")?.unwrap_or(FORMAT);
    if format > FORMAT {
        return Err(StoreError::Corrupt(format!(
            "item {} has format {format}, written by a newer release; this one reads up to {FORMAT}: \
             finish the upgrade, or roll back the whole deployment",
            find_text(item, "pk").unwrap_or("?")
        )));
    }
    let text = get_text(item, name)?;
    serde_json::from_str(text).map_err(|error| {
        let pk = find_text(item, "pk").unwrap_or("?");
        StoreError::Corrupt(format!("attribute `{name}` of item {pk}: {error}"))
    })
}

/// Bytes as `DynamoDB` counts them: names, texts, and numbers with a byte for two digits and two more.
#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(super) fn size(item: &Item) -> usize {
    let value = |value: &AttributeValue| {
        if let Ok(text) = value.as_s() {
            text.len()
        } else if let Ok(number) = value.as_n() {
            number.len().div_ceil(2) + 2
        } else {
            value.as_b().unwrap().as_ref().len()
        }
    };
    item.iter()
        .map(|(name, content)| name.len() + value(content))
        .sum()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn what_is_damaged_says_where() {
        let mut item = Key::new("E#a", "E").item();
        item.insert("v".to_owned(), text("x"));
        let error = get_number(&item, "v").unwrap_err().to_string();
        assert!(error.contains("`v` of item E#a E"), "{error}");
        assert!(matches!(get_bytes(&item, "b"), Err(StoreError::Corrupt(_))));
        assert_eq!(find_number(&item, "due").unwrap(), None);
    }

    #[test]
    fn a_newer_format_is_refused() {
        let mut item = Key::new("E#a", "E").item();
        item.insert("j".to_owned(), text("[1]"));
        assert_eq!(from_json::<Value>(&item, "j").unwrap(), json!([1]));
        item.insert("f".to_owned(), number(FORMAT + 1));
        let error = from_json::<Value>(&item, "j").unwrap_err().to_string();
        assert!(error.contains("newer release"), "{error}");
    }

    #[test]
    fn documents_have_a_limit() {
        assert!(json(&"x".repeat(DOCUMENT_MAX - 2), "it").is_ok());
        let error = json(&"x".repeat(DOCUMENT_MAX), "it").unwrap_err();
        assert!(error.to_string().contains("at most 380000"));
    }
}
