//! Rendered properties, read with their types. A wrong one is named in the error, nested ones by path.
//!
//! A template gives text where it is not a lone expression, so `"true"`, `"12"` and a JSON text are taken
//! for what they say.

use std::borrow::Cow;

use operon_core::lang::amount;
use serde_json::{Map, Value};

use super::TaskError;

/// Characters of a wrong value that an error shows.
const SHOWN_CHARS: usize = 80;

/// The properties of a task, or of an object among them.
pub(super) struct Props<'a> {
    map: Cow<'a, Map<String, Value>>,
    /// `options.` for the properties of `options`.
    prefix: String,
}

impl<'a> Props<'a> {
    pub(super) fn new(map: &'a Map<String, Value>) -> Self {
        Self {
            map: Cow::Borrowed(map),
            prefix: String::new(),
        }
    }

    /// The value; null is absent.
    pub(super) fn value(&self, name: &str) -> Option<&Value> {
        self.map.get(name).filter(|value| !value.is_null())
    }

    /// An error about a property.
    pub(super) fn wrong(&self, name: &str, what: &str) -> TaskError {
        TaskError::invalid(format!("`{}{name}` {what}", self.prefix))
    }

    fn expected(&self, name: &str, expected: &str, value: &Value) -> TaskError {
        self.wrong(name, &format!("must be {expected}, not {}", shown(value)))
    }

    fn required<T>(&self, name: &str, value: Option<T>) -> Result<T, TaskError> {
        value.ok_or_else(|| self.wrong(name, "is required and has no value"))
    }

    /// Text; numbers and truth values are taken as written.
    pub(super) fn text(&self, name: &str) -> Result<Option<String>, TaskError> {
        let Some(value) = self.value(name) else {
            return Ok(None);
        };
        let text = scalar_text(value).ok_or_else(|| self.expected(name, "text", value))?;
        Ok(Some(text))
    }

    /// Text that must be there and not be empty.
    pub(super) fn required_text(&self, name: &str) -> Result<String, TaskError> {
        let text = self.text(name)?.filter(|text| !text.is_empty());
        self.required(name, text)
    }

    /// True or false.
    pub(super) fn flag(&self, name: &str, default: bool) -> Result<bool, TaskError> {
        let Some(value) = self.value(name) else {
            return Ok(default);
        };
        let flag = match value {
            Value::Bool(flag) => Some(*flag),
            Value::String(text) => text.trim().to_ascii_lowercase().parse().ok(),
            Value::Null | Value::Number(_) | Value::Array(_) | Value::Object(_) => None,
        };
        flag.ok_or_else(|| self.expected(name, "`true` or `false`", value))
    }

    /// A whole number of at least 1.
    pub(super) fn count(&self, name: &str) -> Result<Option<u64>, TaskError> {
        let Some(value) = self.value(name) else {
            return Ok(None);
        };
        scalar_text(value)
            .and_then(|text| text.trim().parse::<u64>().ok())
            .filter(|count| *count >= 1)
            .map(Some)
            .ok_or_else(|| self.expected(name, "a whole number of at least 1", value))
    }

    /// A duration such as `PT15M` or `15m`, in milliseconds.
    pub(super) fn duration_ms(&self, name: &str) -> Result<Option<u64>, TaskError> {
        let Some(text) = self.text(name)? else {
            return Ok(None);
        };
        amount::duration_ms(&text)
            .map(Some)
            .map_err(|error| self.wrong(name, &format!("is wrong: {error}")))
    }

    /// A size such as `10MB`, in bytes; a plain number counts bytes.
    pub(super) fn size(&self, name: &str) -> Result<Option<u64>, TaskError> {
        let Some(text) = self.text(name)? else {
            return Ok(None);
        };
        let bytes = amount::size_bytes(&text, 1)
            .map_err(|error| self.wrong(name, &format!("is wrong: {error}")))?;
        if bytes == 0 {
            return Err(self.wrong(name, "must be at least one byte"));
        }
        Ok(Some(bytes))
    }

    /// One of `words`, in any case.
    pub(super) fn word(
        &self,
        name: &str,
        words: &[&'static str],
    ) -> Result<Option<&'static str>, TaskError> {
        let Some(value) = self.value(name) else {
            return Ok(None);
        };
        let text = scalar_text(value).unwrap_or_default();
        words
            .iter()
            .find(|word| word.eq_ignore_ascii_case(text.trim()))
            .map(|word| Some(*word))
            .ok_or_else(|| self.expected(name, &format!("one of `{}`", words.join("`, `")), value))
    }

    /// A list, or the JSON text of one.
    pub(super) fn list(&self, name: &str) -> Result<Option<Cow<'_, [Value]>>, TaskError> {
        let Some(value) = self.value(name) else {
            return Ok(None);
        };
        match value {
            Value::Array(items) => return Ok(Some(Cow::Borrowed(items))),
            Value::String(text) if text.trim_start().starts_with('[') => {
                if let Ok(Value::Array(items)) = serde_json::from_str(text) {
                    return Ok(Some(Cow::Owned(items)));
                }
            }
            Value::String(_)
            | Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::Object(_) => {}
        }
        Err(self.expected(name, "a list", value))
    }

    /// A list of texts; a text alone is a list of one.
    pub(super) fn texts(&self, name: &str) -> Result<Option<Vec<String>>, TaskError> {
        match self.value(name) {
            Some(Value::String(text)) if !text.trim_start().starts_with('[') => {
                Ok(Some(vec![text.clone()]))
            }
            Some(_) => {
                let Some(items) = self.list(name)? else {
                    return Ok(None);
                };
                let mut texts = Vec::with_capacity(items.len());
                for (index, item) in items.iter().enumerate() {
                    let text = scalar_text(item)
                        .ok_or_else(|| self.expected(&format!("{name}[{index}]"), "text", item))?;
                    texts.push(text);
                }
                Ok(Some(texts))
            }
            None => Ok(None),
        }
    }

    /// A map, or the JSON text of one. An absent one is empty.
    pub(super) fn map(&self, name: &str) -> Result<Cow<'_, Map<String, Value>>, TaskError> {
        match self.value(name) {
            None => Ok(Cow::Owned(Map::new())),
            Some(Value::Object(map)) => Ok(Cow::Borrowed(map)),
            Some(value) => {
                let parsed = value
                    .as_str()
                    .and_then(|text| serde_json::from_str::<Map<String, Value>>(text).ok());
                parsed
                    .map(Cow::Owned)
                    .ok_or_else(|| self.expected(name, "a map", value))
            }
        }
    }

    /// The properties within a property. An absent one has none.
    pub(super) fn object(&self, name: &str) -> Result<Props<'_>, TaskError> {
        Ok(Props {
            map: self.map(name)?,
            prefix: format!("{}{name}.", self.prefix),
        })
    }
}

/// Text of a text, number or truth value.
pub(super) fn scalar_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Text of any value: lists and maps as JSON, null as nothing.
pub(super) fn any_text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        other @ (Value::Array(_) | Value::Object(_)) => other.to_string(),
        scalar @ (Value::String(_) | Value::Number(_) | Value::Bool(_)) => {
            scalar_text(scalar).unwrap_or_default()
        }
    }
}

/// The beginning of a value, for an error.
pub(super) fn shown(value: &Value) -> String {
    let text = value.to_string();
    let mut short: String = text.chars().take(SHOWN_CHARS).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    format!("`{short}`")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use serde_json::json;

    use super::*;

    fn with<T>(
        value: Value,
        read: impl Fn(&Props<'_>) -> Result<T, TaskError>,
    ) -> Result<T, String> {
        let Value::Object(map) = value else {
            panic!("properties are a map");
        };
        read(&Props::new(&map)).map_err(|error| error.message)
    }

    #[test]
    fn values_that_came_through_text_are_understood() {
        assert_eq!(with(json!({"a": "TRUE"}), |p| p.flag("a", false)), Ok(true));
        assert_eq!(with(json!({"a": null}), |p| p.flag("a", true)), Ok(true));
        assert_eq!(with(json!({"a": "12"}), |p| p.count("a")), Ok(Some(12)));
        assert_eq!(
            with(json!({"a": 12}), |p| p.text("a")),
            Ok(Some("12".to_owned()))
        );
        assert_eq!(
            with(json!({"a": "10MB"}), |p| p.size("a")),
            Ok(Some(10_000_000))
        );
        assert_eq!(
            with(json!({"a": "PT2S"}), |p| p.duration_ms("a")),
            Ok(Some(2000))
        );
        assert_eq!(
            with(json!({"a": "[\"x\", 1]"}), |p| p.texts("a")),
            Ok(Some(vec!["x".to_owned(), "1".to_owned()]))
        );
        assert_eq!(
            with(json!({"a": "x"}), |p| p.texts("a")),
            Ok(Some(vec!["x".to_owned()]))
        );
        assert_eq!(
            with(json!({"a": "{\"k\": 1}"}), |p| p
                .map("a")
                .map(Cow::into_owned)),
            Ok(json!({"k": 1}).as_object().unwrap().clone())
        );
    }

    #[test]
    fn an_error_names_the_property_and_shows_little_of_the_value() {
        let error = with(json!({"options": {"auth": {"type": "OAUTH"}}}), |p| {
            p.object("options")?
                .object("auth")?
                .word("type", &["BASIC", "BEARER"])
        });
        assert_eq!(
            error,
            Err("`options.auth.type` must be one of `BASIC`, `BEARER`, not `\"OAUTH\"`".to_owned())
        );
        let error = with(json!({"rows": "x".repeat(1000)}), |p| p.count("rows")).unwrap_err();
        assert!(
            error.starts_with("`rows` must be a whole number"),
            "{error}"
        );
        assert!(error.chars().count() < 200, "{error}");
        let error = with(json!({"key": ""}), |p| p.required_text("key")).unwrap_err();
        assert_eq!(error, "`key` is required and has no value");
        let error = with(json!({"a": ["x", {}]}), |p| p.texts("a")).unwrap_err();
        assert!(error.starts_with("`a[1]` must be text"), "{error}");
        assert!(with(json!({"a": 0}), |p| p.count("a")).is_err());
        assert!(with(json!({"a": -1}), |p| p.count("a")).is_err());
        assert!(with(json!({"a": "1 apple"}), |p| p.duration_ms("a")).is_err());
        assert!(with(json!({"a": 1}), |p| p.list("a").map(|_| ())).is_err());
        assert!(with(json!({"a": "x"}), |p| p.map("a").map(|_| ())).is_err());
        assert!(with(json!({"a": 1}), |p| p.flag("a", true)).is_err());
    }
}
