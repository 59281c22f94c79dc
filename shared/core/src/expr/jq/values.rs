//! jq's values: taking them apart, calculating, comparing.

use std::cmp::Ordering;

use jaq_core::ops::Math;
use serde_json::{Map, Value as Json};

use super::{Results, Stop, fail};

#[expect(
    clippy::unnecessary_wraps,
    reason = "it stands where results are expected"
)]
pub(super) fn one(value: impl Into<Json>) -> Results {
    Ok(vec![value.into()])
}

/// `.[]`
pub(super) fn children(value: &Json) -> Results {
    match value {
        Json::Array(items) => Ok(items.clone()),
        Json::Object(map) => Ok(map.values().cloned().collect()),
        _ => fail(format!("cannot iterate over {}", type_name(value))),
    }
}

/// `.[key]`
pub(super) fn index(value: &Json, key: &Json) -> Result<Json, Stop> {
    match (value, key) {
        (Json::Null, _) => Ok(Json::Null),
        (Json::Object(map), Json::String(key)) => Ok(map.get(key).cloned().unwrap_or_default()),
        (Json::Array(items), Json::Number(at)) => Ok(place(at.as_f64(), items.len())
            .and_then(|at| items.get(at))
            .cloned()
            .unwrap_or_default()),
        _ => fail(format!(
            "cannot index {} with {}",
            type_name(value),
            to_text(key)
        )),
    }
}

/// A place counted from the end if it is negative.
fn place(at: Option<f64>, length: usize) -> Option<usize> {
    let at = at?.floor();
    #[expect(clippy::cast_precision_loss, reason = "lists are shorter than 2^52")]
    let at = if at < 0.0 { at + length as f64 } else { at };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is not negative, and the cast saturates"
    )]
    (at >= 0.0).then_some(at as usize)
}

/// `.[from:to]`
pub(super) fn slice(value: &Json, from: &Json, to: &Json) -> Result<Json, Stop> {
    let bounds = |length: usize| {
        let at = |end: &Json, default| match end.as_f64() {
            None => default,
            Some(at) => place(Some(at), length).unwrap_or(0).min(length),
        };
        let (from, to) = (at(from, 0), at(to, length));
        from..to.max(from)
    };
    match value {
        Json::Null => Ok(Json::Null),
        Json::Array(items) => Ok(Json::from(items[bounds(items.len())].to_vec())),
        Json::String(text) => {
            let chars: Vec<char> = text.chars().collect();
            Ok(Json::from(
                chars[bounds(chars.len())].iter().collect::<String>(),
            ))
        }
        _ => fail(format!("cannot slice {}", type_name(value))),
    }
}

/// Whether a value holds another, as jq's `contains` has it.
pub(super) fn contains(whole: &Json, part: &Json) -> bool {
    match (whole, part) {
        (Json::String(whole), Json::String(part)) => whole.contains(part.as_str()),
        (Json::Array(items), Json::Array(parts)) => parts
            .iter()
            .all(|part| items.iter().any(|item| contains(item, part))),
        (Json::Object(map), Json::Object(parts)) => parts
            .iter()
            .all(|(key, part)| map.get(key).is_some_and(|value| contains(value, part))),
        _ => compare(whole, part).is_eq(),
    }
}

/// Everything but null and false.
pub(super) fn is_true(value: &Json) -> bool {
    !matches!(value, Json::Null | Json::Bool(false))
}

pub(super) fn type_name(value: &Json) -> &'static str {
    match value {
        Json::Null => "null",
        Json::Bool(_) => "boolean",
        Json::Number(_) => "number",
        Json::String(_) => "string",
        Json::Array(_) => "array",
        Json::Object(_) => "object",
    }
}

/// A string as it is, anything else as JSON.
pub(super) fn to_text(value: &Json) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

/// A number that has no fraction.
pub(super) fn rounded(value: f64) -> Results {
    #[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
    if value.abs() < 9.0e15 {
        one(value as i64)
    } else {
        number_of(value)
    }
}

/// A number, if it is finite.
pub(super) fn number_of(value: f64) -> Results {
    match serde_json::Number::from_f64(value) {
        Some(number) => Ok(vec![Json::Number(number)]),
        None => fail("the result is not a number JSON has"),
    }
}

/// `+ - * / %`
pub(super) fn math(op: Math, left: &Json, right: &Json) -> Results {
    match (op, left, right) {
        (Math::Add, Json::Null, other) | (Math::Add, other, Json::Null) => Ok(vec![other.clone()]),
        (Math::Add, Json::String(a), Json::String(b)) => one(format!("{a}{b}")),
        (Math::Add, Json::Array(a), Json::Array(b)) => one([a.as_slice(), b.as_slice()].concat()),
        (Math::Add | Math::Mul, Json::Object(a), Json::Object(b)) => {
            let mut sum = a.clone();
            sum.extend(b.iter().map(|(key, value)| (key.clone(), value.clone())));
            one(sum)
        }
        (Math::Sub, Json::Array(a), Json::Array(b)) => {
            let kept = a
                .iter()
                .filter(|item| !b.iter().any(|out| compare(item, out).is_eq()));
            one(kept.cloned().collect::<Vec<_>>())
        }
        (Math::Div, Json::String(text), Json::String(separator)) => one(split(text, separator)),
        (_, Json::Number(a), Json::Number(b)) => {
            if let (Some(a), Some(b)) = (a.as_i64(), b.as_i64()) {
                let exact = match op {
                    Math::Add => a.checked_add(b),
                    Math::Sub => a.checked_sub(b),
                    Math::Mul => a.checked_mul(b),
                    Math::Div => a
                        .checked_rem(b)
                        .filter(|rest| *rest == 0)
                        .and_then(|_| a.checked_div(b)),
                    Math::Rem => a.checked_rem(b),
                };
                if let Some(exact) = exact {
                    return one(exact);
                }
            }
            let (a, b) = (
                a.as_f64().unwrap_or_default(),
                b.as_f64().unwrap_or_default(),
            );
            if b == 0.0 && matches!(op, Math::Div | Math::Rem) {
                return fail("division by 0");
            }
            number_of(match op {
                Math::Add => a + b,
                Math::Sub => a - b,
                Math::Mul => a * b,
                Math::Div => a / b,
                Math::Rem => a % b,
            })
        }
        _ => fail(format!(
            "cannot calculate with {} and {}",
            type_name(left),
            type_name(right)
        )),
    }
}

/// jq's order of all values.
pub(super) fn compare(left: &Json, right: &Json) -> Ordering {
    let rank = |value: &Json| match value {
        Json::Null => 0,
        Json::Bool(false) => 1,
        Json::Bool(true) => 2,
        Json::Number(_) => 3,
        Json::String(_) => 4,
        Json::Array(_) => 5,
        Json::Object(_) => 6,
    };
    match (left, right) {
        (Json::Number(a), Json::Number(b)) => match (a.as_i64(), b.as_i64()) {
            (Some(a), Some(b)) => a.cmp(&b),
            _ => a
                .as_f64()
                .unwrap_or_default()
                .total_cmp(&b.as_f64().unwrap_or_default()),
        },
        (Json::String(a), Json::String(b)) => a.cmp(b),
        (Json::Array(a), Json::Array(b)) => {
            let first = a
                .iter()
                .zip(b)
                .map(|(a, b)| compare(a, b))
                .find(|order| order.is_ne());
            first.unwrap_or_else(|| a.len().cmp(&b.len()))
        }
        (Json::Object(a), Json::Object(b)) => {
            let sorted = |map: &Map<String, Json>| {
                let mut entries: Vec<(String, Json)> = map.clone().into_iter().collect();
                entries.sort_by(|(a, _), (b, _)| a.cmp(b));
                entries
            };
            let (a, b) = (sorted(a), sorted(b));
            let keys = a
                .iter()
                .map(|(key, _)| key)
                .cmp(b.iter().map(|(key, _)| key));
            keys.then_with(|| {
                let values = a.iter().zip(&b).map(|((_, a), (_, b))| compare(a, b));
                values
                    .into_iter()
                    .find(|order| order.is_ne())
                    .unwrap_or(Ordering::Equal)
            })
        }
        _ => rank(left).cmp(&rank(right)),
    }
}

/// The parts of a text between separators; its characters if the separator is empty.
pub(super) fn split(text: &str, separator: &str) -> Json {
    if separator.is_empty() {
        return Json::from(text.chars().map(String::from).collect::<Vec<_>>());
    }
    Json::from(text.split(separator).collect::<Vec<_>>())
}
