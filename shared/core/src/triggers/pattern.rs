//! `EventBridge` event patterns and SNS filter policies: which JSON documents match.
//!
//! The operators that both services document: exact values, `prefix`, `suffix`, `equals-ignore-case`, `wildcard`,
//! `anything-but`, `numeric`, `exists`, `cidr` excepted, and `$or`.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a value of another shape is compared as it is, whichever shape that is"
)]

use std::cmp::Ordering;

use serde_json::{Map, Value};

/// Objects inside objects that are followed.
const DEPTH_MAX: usize = 32;

/// Whether `event` matches `pattern`. What is not understood matches nothing.
#[must_use]
pub fn matches(pattern: &Map<String, Value>, event: &Value) -> bool {
    object(pattern, event, DEPTH_MAX)
}

fn object(pattern: &Map<String, Value>, event: &Value, depth: usize) -> bool {
    let Some(depth) = depth.checked_sub(1) else {
        return false;
    };
    pattern.iter().all(|(key, wanted)| {
        if key == "$or" {
            return wanted.as_array().is_some_and(|branches| {
                branches
                    .iter()
                    .filter_map(Value::as_object)
                    .any(|branch| object(branch, event, depth))
            });
        }
        let there = event.get(key);
        match wanted {
            Value::Object(inner) => there.is_some_and(|there| match there {
                Value::Array(items) => items.iter().any(|item| object(inner, item, depth)),
                one => object(inner, one, depth),
            }),
            Value::Array(rules) => rules.iter().any(|rule| any_value(rule, there)),
            // A single value is not AWS's form, but says what is meant.
            _ => any_value(wanted, there),
        }
    })
}

/// An array in the event matches when one of its items does.
fn any_value(rule: &Value, there: Option<&Value>) -> bool {
    match there {
        Some(Value::Array(items)) if !items.is_empty() => {
            items.iter().any(|item| value(rule, Some(item)))
        }
        _ => value(rule, there),
    }
}

fn value(rule: &Value, there: Option<&Value>) -> bool {
    let Value::Object(operators) = rule else {
        return there.is_some_and(|there| same(rule, there));
    };
    operators
        .iter()
        .all(|(name, operand)| operator(name, operand, there))
}

fn operator(name: &str, operand: &Value, there: Option<&Value>) -> bool {
    let text = there.and_then(Value::as_str);
    let with = |holds: &dyn Fn(&str, &str) -> bool| match (text, operand) {
        (Some(text), Value::String(wanted)) => holds(text, wanted),
        (Some(text), Value::Object(inner)) => inner
            .get("equals-ignore-case")
            .and_then(Value::as_str)
            .is_some_and(|wanted| holds(&text.to_lowercase(), &wanted.to_lowercase())),
        _ => false,
    };
    match name {
        "prefix" => with(&|text, wanted| text.starts_with(wanted)),
        "suffix" => with(&|text, wanted| text.ends_with(wanted)),
        "equals-ignore-case" => with(&|text, wanted| text.to_lowercase() == wanted.to_lowercase()),
        "wildcard" => with(&wildcard),
        "exists" => operand.as_bool() == Some(there.is_some()),
        "numeric" => there
            .and_then(Value::as_f64)
            .is_some_and(|number| numeric(operand, number)),
        "anything-but" => there.is_some_and(|there| anything_but(operand, there)),
        _ => false,
    }
}

fn anything_but(operand: &Value, there: &Value) -> bool {
    match operand {
        Value::Array(items) => !items.iter().any(|item| same(item, there)),
        Value::Object(operators) => !operators.iter().any(|(name, operand)| match operand {
            Value::Array(items) => items.iter().any(|item| operator(name, item, Some(there))),
            _ => operator(name, operand, Some(there)),
        }),
        _ => !same(operand, there),
    }
}

fn numeric(operand: &Value, number: f64) -> bool {
    let Some(items) = operand.as_array() else {
        return false;
    };
    !items.is_empty()
        && items.chunks(2).all(|pair| {
            let [sign, bound] = pair else { return false };
            let (Some(sign), Some(bound)) = (sign.as_str(), bound.as_f64()) else {
                return false;
            };
            match (sign, number.partial_cmp(&bound)) {
                ("=", Some(order)) => order == Ordering::Equal,
                ("<", Some(order)) => order == Ordering::Less,
                ("<=", Some(order)) => order != Ordering::Greater,
                (">", Some(order)) => order == Ordering::Greater,
                (">=", Some(order)) => order != Ordering::Less,
                _ => false,
            }
        })
}

/// Numbers by value, so that `300` and `300.0` are the same.
fn same(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a.partial_cmp(&b) == Some(Ordering::Equal),
        _ => a == b,
    }
}

/// `*` stands for any number of characters; time is proportional to the product of the lengths at worst.
fn wildcard(text: &str, pattern: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let mut last: Option<&str> = None;
    for part in parts {
        if let Some(before) = last.replace(part) {
            match rest.find(before) {
                Some(at) => rest = rest.get(at + before.len()..).unwrap_or_default(),
                None => return false,
            }
        }
    }
    match last {
        Some(last) => rest.ends_with(last),
        None => rest.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    fn check(pattern: &Value, event: &Value) -> bool {
        matches(pattern.as_object().unwrap(), event)
    }

    #[test]
    fn the_documented_operators() {
        let event = json!({
            "source": "aws.ecr", "detail": {
                "name": "preprocessing-nextclade", "size": 300, "tags": ["latest", "v2"], "none": null,
                "parts": [{"kind": "a"}, {"kind": "b"}],
            },
        });
        for (pattern, expected) in [
            (json!({"source": ["aws.ecr"]}), true),
            (json!({"source": ["aws.s3", "aws.ecr"]}), true),
            (json!({"source": ["aws.s3"]}), false),
            (
                json!({"source": ["aws.ecr"], "detail": {"size": [301]}}),
                false,
            ),
            (json!({"detail": {"size": [300.0]}}), true),
            (json!({"detail": {"tags": ["v2"]}}), true),
            (json!({"detail": {"tags": [{"prefix": "v"}]}}), true),
            (
                json!({"detail": {"name": [{"suffix": "-nextclade"}]}}),
                true,
            ),
            (
                json!({"detail": {"name": [{"equals-ignore-case": "PREPROCESSING-NEXTCLADE"}]}}),
                true,
            ),
            (
                json!({"detail": {"name": [{"prefix": {"equals-ignore-case": "PREP"}}]}}),
                true,
            ),
            (
                json!({"detail": {"name": [{"wildcard": "pre*-next*de"}]}}),
                true,
            ),
            (
                json!({"detail": {"name": [{"wildcard": "pre*-next"}]}}),
                false,
            ),
            (
                json!({"detail": {"name": [{"anything-but": ["x", "y"]}]}}),
                true,
            ),
            (
                json!({"detail": {"name": [{"anything-but": {"prefix": "pre"}}]}}),
                false,
            ),
            (
                json!({"detail": {"size": [{"numeric": [">", 100, "<=", 300]}]}}),
                true,
            ),
            (
                json!({"detail": {"size": [{"numeric": [">", 300]}]}}),
                false,
            ),
            (
                json!({"detail": {"size": [{"exists": true}], "other": [{"exists": false}]}}),
                true,
            ),
            (json!({"detail": {"none": [null]}}), true),
            (json!({"detail": {"parts": {"kind": ["b"]}}}), true),
            (
                json!({"$or": [{"source": ["x"]}, {"detail": {"size": [300]}}]}),
                true,
            ),
            (json!({"source": [{"cidr": "10.0.0.0/8"}]}), false),
        ] {
            assert_eq!(check(&pattern, &event), expected, "{pattern}");
        }
    }

    #[test]
    fn what_is_nested_too_deep_matches_nothing() {
        let (mut pattern, mut event) = (json!({"a": [1]}), json!({"a": 1}));
        for _ in 0..DEPTH_MAX {
            (pattern, event) = (json!({"a": pattern}), json!({"a": event}));
        }
        assert!(!check(&pattern, &event));
    }
}
