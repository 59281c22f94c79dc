//! The operators on values. Numbers behave as in Kestra: two integers divide to an integer.

use minijinja::Value;
use minijinja::value::ValueKind;

use super::ast::Binary;
use super::error::{Fault, bad};
use super::limits::{MAX_OUTPUT_BYTES, MAX_RANGE_ITEMS};
use super::text::regex;
use super::value::{Number, display, entries, items, kind};

/// Both sides of an operator that evaluates both.
pub(super) fn binary(op: Binary, left: &Value, right: &Value) -> Result<Value, Fault> {
    match op {
        Binary::Concat => concat(left, right),
        Binary::Add => match (items(left), items(right)) {
            (Some(mut list), Some(more)) => {
                list.extend(more);
                Ok(Value::from(list))
            }
            (Some(mut list), None) => {
                list.push(right.clone());
                Ok(Value::from(list))
            }
            (None, _) if left.as_str().is_some() || right.as_str().is_some() => concat(left, right),
            (None, _) => arithmetic(op, left, right),
        },
        Binary::Subtract | Binary::Multiply | Binary::Divide | Binary::Remainder => {
            arithmetic(op, left, right)
        }
        Binary::Range => range(left, right, 1),
        Binary::Equal => Ok(Value::from(equal(left, right))),
        Binary::NotEqual => Ok(Value::from(!equal(left, right))),
        Binary::Less | Binary::LessEqual | Binary::Greater | Binary::GreaterEqual => {
            compare(op, left, right)
        }
        Binary::Contains => contains(left, right).map(Value::from),
        Binary::IsIn => match items(right) {
            Some(list) => Ok(Value::from(list.iter().any(|item| equal(item, left)))),
            None => bad(format!(
                "the right side of `isIn` must be a list, not {}",
                kind(right)
            )),
        },
        Binary::Matches => {
            let (text, pattern) = (display(left)?, display(right)?);
            // Java's `matches` wants the whole text.
            Ok(Value::from(
                regex(&format!("^(?:{pattern})$"))?.is_match(&text),
            ))
        }
    }
}

/// Equality without regard to the kind of number.
pub(super) fn equal(left: &Value, right: &Value) -> bool {
    match (Number::of(left), Number::of(right)) {
        (Some(Number::Int(a)), Some(Number::Int(b))) => a == b,
        #[expect(clippy::float_cmp, reason = "that is what `==` means")]
        (Some(a), Some(b)) => a.as_f64() == b.as_f64(),
        _ => left == right,
    }
}

fn concat(left: &Value, right: &Value) -> Result<Value, Fault> {
    let (mut text, more) = (display(left)?, display(right)?);
    if text.len() + more.len() > MAX_OUTPUT_BYTES {
        return Err(Fault::Limit(format!(
            "the text is longer than {MAX_OUTPUT_BYTES} bytes; write it to a file in a task instead"
        )));
    }
    text.push_str(&more);
    Ok(Value::from(text))
}

fn numbers(sign: &str, left: &Value, right: &Value) -> Result<(Number, Number), Fault> {
    match (Number::of(left), Number::of(right)) {
        (Some(left), Some(right)) => Ok((left, right)),
        (left_number, _) => {
            let wrong = if left_number.is_none() { left } else { right };
            let hint = if wrong.as_str().is_some() {
                "; convert it with `| number`"
            } else {
                ""
            };
            bad(format!("`{sign}` needs numbers, not {}{hint}", kind(wrong)))
        }
    }
}

fn arithmetic(op: Binary, left: &Value, right: &Value) -> Result<Value, Fault> {
    let sign = match op {
        Binary::Subtract => "-",
        Binary::Multiply => "*",
        Binary::Divide => "/",
        Binary::Remainder => "%",
        _ => "+",
    };
    let pair = numbers(sign, left, right)?;
    let zero = match pair.1 {
        Number::Int(value) => value == 0,
        Number::Float(value) => value == 0.0,
    };
    if zero && matches!(op, Binary::Divide | Binary::Remainder) {
        return bad(format!("`{sign}` by 0"));
    }
    let result = match pair {
        (Number::Int(a), Number::Int(b)) => {
            let result = match op {
                Binary::Subtract => a.checked_sub(b),
                Binary::Multiply => a.checked_mul(b),
                Binary::Divide => a.checked_div(b),
                Binary::Remainder => a.checked_rem(b),
                _ => a.checked_add(b),
            };
            let Some(result) = result else {
                return bad(format!(
                    "the result of `{sign}` is too large for an integer"
                ));
            };
            Number::Int(result)
        }
        (a, b) => {
            let (a, b) = (a.as_f64(), b.as_f64());
            Number::Float(match op {
                Binary::Subtract => a - b,
                Binary::Multiply => a * b,
                Binary::Divide => a / b,
                Binary::Remainder => a % b,
                _ => a + b,
            })
        }
    };
    result.value()
}

fn compare(op: Binary, left: &Value, right: &Value) -> Result<Value, Fault> {
    let order = match (
        Number::of(left),
        Number::of(right),
        left.as_str(),
        right.as_str(),
    ) {
        (Some(Number::Int(a)), Some(Number::Int(b)), _, _) => a.cmp(&b),
        (Some(a), Some(b), _, _) => a.as_f64().total_cmp(&b.as_f64()),
        (_, _, Some(a), Some(b)) => a.cmp(b),
        _ => {
            return bad(format!(
                "{} cannot be compared with {}; convert one with `| number` or `| string`",
                kind(left),
                kind(right)
            ));
        }
    };
    Ok(Value::from(match op {
        Binary::Less => order.is_lt(),
        Binary::LessEqual => order.is_le(),
        Binary::Greater => order.is_gt(),
        _ => order.is_ge(),
    }))
}

/// An item of a list, a key of a map, or a part of a text; a list on the right means all of its items.
fn contains(whole: &Value, part: &Value) -> Result<bool, Fault> {
    if whole.is_none() {
        return Ok(false);
    }
    if let Some(parts) = items(part) {
        return parts
            .iter()
            .map(|part| contains(whole, part))
            .try_fold(true, |all, one| Ok(all && one?));
    }
    if let Some(text) = whole.as_str() {
        return Ok(text.contains(&display(part)?));
    }
    if let Some(list) = items(whole) {
        return Ok(list.iter().any(|item| equal(item, part)));
    }
    match entries(whole) {
        Some(entries) => Ok(entries.iter().any(|(key, _)| equal(key, part))),
        None => bad(format!(
            "`contains` looks into a text, list or map, not {}",
            kind(whole)
        )),
    }
}

/// `-value`.
pub(super) fn negate(value: &Value) -> Result<Value, Fault> {
    match Number::of(value) {
        Some(Number::Int(value)) => Number::Int(-value).value(),
        Some(Number::Float(value)) => Number::Float(-value).value(),
        None => bad(format!("`-` needs a number, not {}", kind(value))),
    }
}

/// The integers from `first` to `last`, both included, in steps; downwards if `first` is larger.
pub(super) fn range(first: &Value, last: &Value, step: i128) -> Result<Value, Fault> {
    let (Some(Number::Int(first)), Some(Number::Int(last))) = (Number::of(first), Number::of(last))
    else {
        return bad("a range needs two integers");
    };
    if step <= 0 {
        return bad("a range's step must be 1 or more");
    }
    let count = (last - first).abs() / step + 1;
    if count > i128::try_from(MAX_RANGE_ITEMS).unwrap_or(i128::MAX) {
        return Err(Fault::Limit(format!(
            "the range has {count} items and may have {MAX_RANGE_ITEMS}; use a foreach over a file instead"
        )));
    }
    let step = if last < first { -step } else { step };
    (0..count)
        .map(|index| Number::Int(first + index * step).value())
        .collect::<Result<Vec<_>, _>>()
        .map(Value::from)
}

/// A map from keys and values by turns.
pub(super) fn map(parts: &[Value]) -> Result<Value, Fault> {
    let mut pairs = Vec::with_capacity(parts.len() / 2);
    for pair in parts.chunks_exact(2) {
        if !matches!(
            pair[0].kind(),
            ValueKind::String | ValueKind::Number | ValueKind::Bool
        ) {
            return bad(format!(
                "a map's key must be a text, not {}",
                kind(&pair[0])
            ));
        }
        pairs.push((display(&pair[0])?, pair[1].clone()));
    }
    Ok(Value::from_pairs(pairs))
}

/// What `{% for %}` runs over: a list's items, or a map's entries with `key` and `value`.
pub(super) fn iterate(value: &Value) -> Result<Value, Fault> {
    if value.is_none() {
        return Ok(Value::from(Vec::<Value>::new()));
    }
    if items(value).is_some() {
        return Ok(value.clone());
    }
    match entries(value) {
        Some(entries) => Ok(entries
            .into_iter()
            .map(|(key, value)| Value::from_pairs([("key", key), ("value", value)]))
            .collect()),
        None => bad(format!("`for` needs a list or a map, not {}", kind(value))),
    }
}
