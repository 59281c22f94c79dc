//! Values inside an expression: JSON's, as minijinja holds them, plus "undefined".

use std::fmt::Write as _;

use minijinja::Value;
use minijinja::value::ValueKind;

use super::error::{Fault, bad};

/// A number, exact where it can be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Number {
    Int(i128),
    Float(f64),
}

impl Number {
    /// The number in `value`, if it is one.
    pub(super) fn of(value: &Value) -> Option<Self> {
        if value.kind() != ValueKind::Number {
            None
        } else if value.is_integer() {
            i128::try_from(value.clone()).ok().map(Self::Int)
        } else {
            f64::try_from(value.clone()).ok().map(Self::Float)
        }
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "as every language does when an integer meets a float"
    )]
    pub(super) fn as_f64(self) -> f64 {
        match self {
            Self::Int(value) => value as f64,
            Self::Float(value) => value,
        }
    }

    /// As a value, if it fits JSON: 64 bits, finite.
    pub(super) fn value(self) -> Result<Value, Fault> {
        match self {
            Self::Int(value) => i64::try_from(value)
                .map(Value::from)
                .or_else(|_| u64::try_from(value).map(Value::from))
                .or_else(|_| bad(format!("{value} does not fit a 64-bit integer"))),
            Self::Float(value) if value.is_finite() => Ok(Value::from(value)),
            Self::Float(value) => bad(format!(
                "the result is {value}, which is not a number JSON has"
            )),
        }
    }
}

/// What `{{ value }}` writes inside a text: text as it is, null as nothing, lists and maps as JSON.
pub(super) fn display(value: &Value) -> Result<String, Fault> {
    if let Some(text) = value.as_str() {
        return Ok(text.to_owned());
    }
    if is_missing(value) {
        return Ok(String::new());
    }
    json_text(value)
}

/// Compact JSON.
pub(super) fn json_text(value: &Value) -> Result<String, Fault> {
    serde_json::to_string(value)
        .or_else(|error| bad(format!("the value has no JSON form: {error}")))
}

/// As JSON's data model.
pub(super) fn to_json(value: &Value) -> Result<serde_json::Value, Fault> {
    serde_json::to_value(value).or_else(|error| bad(format!("the value has no JSON form: {error}")))
}

/// From JSON's data model.
pub(super) fn from_json(value: &serde_json::Value) -> Value {
    match value {
        serde_json::Value::Null => Value::from(()),
        serde_json::Value::Bool(value) => Value::from(*value),
        serde_json::Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(value), _) => Value::from(value),
            (None, Some(value)) => Value::from(value),
            (None, None) => Value::from(number.as_f64()),
        },
        serde_json::Value::String(text) => Value::from(text.as_str()),
        serde_json::Value::Array(items) => items.iter().map(from_json).collect(),
        serde_json::Value::Object(map) => Value::from_pairs(
            map.iter()
                .map(|(key, value)| (key.as_str(), from_json(value))),
        ),
    }
}

/// Undefined or null.
pub(super) fn is_missing(value: &Value) -> bool {
    value.is_undefined() || value.is_none()
}

/// Undefined, null, or a text, list or map of length 0.
pub(super) fn is_empty(value: &Value) -> bool {
    is_missing(value)
        || matches!(
            value.kind(),
            ValueKind::String | ValueKind::Seq | ValueKind::Map | ValueKind::Iterable
        ) && value.len() == Some(0)
}

/// Kestra's rule for conditions: false, null, an empty list or map, and everything that is written
/// `false`, `0`, `-0` or nothing, spaces aside, are false; everything else is true.
pub(super) fn is_true(value: &Value) -> bool {
    if is_empty(value) {
        return false;
    }
    match (value.as_str(), Number::of(value)) {
        (Some(text), _) => !matches!(text.trim(), "" | "false" | "0" | "-0"),
        (None, Some(number)) => number.as_f64() != 0.0,
        (None, None) => value.is_true(),
    }
}

/// The kind as a user names it.
pub(super) fn kind(value: &Value) -> &'static str {
    match value.kind() {
        ValueKind::Undefined => "undefined",
        ValueKind::None => "null",
        ValueKind::Bool => "a boolean",
        ValueKind::Number => "a number",
        ValueKind::String => "a text",
        ValueKind::Seq | ValueKind::Iterable => "a list",
        ValueKind::Map => "a map",
        _ => "a value of another kind",
    }
}

/// The items of a list.
pub(super) fn items(value: &Value) -> Option<Vec<Value>> {
    match value.kind() {
        ValueKind::Seq | ValueKind::Iterable => value.try_iter().ok().map(Iterator::collect),
        _ => None,
    }
}

/// The keys and values of a map, in order.
pub(super) fn entries(value: &Value) -> Option<Vec<(Value, Value)>> {
    if value.kind() != ValueKind::Map {
        return None;
    }
    let keys = value.try_iter().ok()?;
    Some(
        keys.map(|key| (key.clone(), value.get_item(&key).unwrap_or_default()))
            .collect(),
    )
}

/// The bytes a value takes as text, about; used for limits only.
pub(super) fn weight(value: &Value) -> usize {
    if let Some(text) = value.as_str() {
        return text.len();
    }
    match (value.kind(), value.len()) {
        (ValueKind::Seq | ValueKind::Map | ValueKind::Iterable, Some(length)) => length * 16,
        _ => 16,
    }
}

/// Lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            let _infallible = write!(text, "{byte:02x}");
            text
        })
}
