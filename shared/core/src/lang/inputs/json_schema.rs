//! The part of JSON Schema that `jsonSchema` of an input may use. Other keywords are refused when the
//! flow is checked, so that none is ignored.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a value of another shape is wrong, whichever shape that is"
)]

use serde_json::Value;

/// Levels of a schema at most.
const DEPTH_MAX: usize = 16;
const ANNOTATIONS: &[&str] = &[
    "$schema",
    "$id",
    "title",
    "description",
    "examples",
    "default",
    "$comment",
];
const KEYWORDS: &[&str] = &[
    "type",
    "properties",
    "required",
    "additionalProperties",
    "items",
    "enum",
    "const",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "pattern",
];

/// What is wrong with a schema, if anything.
#[must_use]
pub fn schema_error(schema: &Value) -> Option<String> {
    error_at(schema, 0)
}

fn error_at(schema: &Value, depth: usize) -> Option<String> {
    let Value::Object(map) = schema else {
        return (!schema.is_boolean()).then(|| "a schema is a mapping".to_owned());
    };
    if depth > DEPTH_MAX {
        return Some(format!("is nested more than {DEPTH_MAX} levels deep"));
    }
    for (key, value) in map {
        if ANNOTATIONS.contains(&key.as_str()) {
            continue;
        }
        if !KEYWORDS.contains(&key.as_str()) {
            return Some(format!(
                "the keyword `{key}` is not supported; there are {}",
                KEYWORDS.join(", ")
            ));
        }
        let wrong = match key.as_str() {
            "properties" => match value {
                Value::Object(properties) => {
                    if let Some(error) = properties.values().find_map(|s| error_at(s, depth + 1)) {
                        return Some(error);
                    }
                    false
                }
                _ => true,
            },
            "items" | "additionalProperties" => {
                if let Some(error) = error_at(value, depth + 1) {
                    return Some(error);
                }
                false
            }
            "required" | "enum" => !value.is_array(),
            "pattern" => value
                .as_str()
                .is_none_or(|pattern| regex::Regex::new(pattern).is_err()),
            "minimum" | "maximum" => !value.is_number(),
            "minLength" | "maxLength" | "minItems" | "maxItems" => value.as_u64().is_none(),
            "type" => type_names(value).is_empty(),
            _ => false,
        };
        if wrong {
            return Some(format!("the value of `{key}` is not one that it can have"));
        }
    }
    None
}

/// Checks a value; the error says where in it the problem is.
pub(super) fn check(schema: &Value, value: &Value, path: &str) -> Result<(), String> {
    let map = match schema {
        Value::Object(map) => map,
        Value::Bool(false) => return Err(format!("{path} is not allowed")),
        _ => return Ok(()),
    };
    for (key, rule) in map {
        let (good, expected) = match key.as_str() {
            "type" => {
                let names = type_names(rule);
                (
                    names.iter().any(|name| is_type(name, value)),
                    format!("of type {}", names.join(" or ")),
                )
            }
            "enum" => (
                rule.as_array().is_some_and(|all| all.contains(value)),
                format!("one of {rule}"),
            ),
            "const" => (rule == value, rule.to_string()),
            "minimum" => (number(value) >= number(rule), format!("at least {rule}")),
            "maximum" => (
                !value.is_number() || number(value) <= number(rule),
                format!("at most {rule}"),
            ),
            "minLength" => (
                length(value).is_none_or(|n| n >= count(rule)),
                format!("at least {rule} long"),
            ),
            "maxLength" => (
                length(value).is_none_or(|n| n <= count(rule)),
                format!("at most {rule} long"),
            ),
            "minItems" => (
                size(value).is_none_or(|n| n >= count(rule)),
                format!("at least {rule} items"),
            ),
            "maxItems" => (
                size(value).is_none_or(|n| n <= count(rule)),
                format!("at most {rule} items"),
            ),
            "pattern" => (matches(rule, value), format!("a text that matches {rule}")),
            _ => (true, String::new()),
        };
        if !good {
            return Err(format!("{path} is not {expected}"));
        }
    }
    check_parts(map, value, path)
}

fn check_parts(
    map: &serde_json::Map<String, Value>,
    value: &Value,
    path: &str,
) -> Result<(), String> {
    if let (Some(items), Value::Array(list)) = (map.get("items"), value) {
        for (at, item) in list.iter().enumerate() {
            check(items, item, &format!("{path}[{at}]"))?;
        }
    }
    let Value::Object(object) = value else {
        return Ok(());
    };
    for name in map
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
    {
        if !object.contains_key(name) {
            return Err(format!("{path} has no `{name}`"));
        }
    }
    let properties = map.get("properties").and_then(Value::as_object);
    for (name, value) in object {
        match (
            properties.and_then(|all| all.get(name)),
            map.get("additionalProperties"),
        ) {
            (Some(schema), _) | (None, Some(schema)) => {
                check(schema, value, &format!("{path}.{name}"))?;
            }
            (None, None) => {}
        }
    }
    Ok(())
}

fn type_names(rule: &Value) -> Vec<&str> {
    const NAMES: &[&str] = &[
        "string", "number", "integer", "boolean", "object", "array", "null",
    ];
    let names: Vec<&str> = match rule {
        Value::String(name) => vec![name],
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    if names.iter().all(|name| NAMES.contains(name)) {
        names
    } else {
        Vec::new()
    }
}

fn is_type(name: &str, value: &Value) -> bool {
    match name {
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => {
            value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|n| n.fract() == 0.0)
        }
        "boolean" => value.is_boolean(),
        "object" => value.is_object(),
        "array" => value.is_array(),
        _ => value.is_null(),
    }
}

/// Numbers compare with numbers; whatever is none satisfies every bound.
fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or(f64::INFINITY)
}

fn count(rule: &Value) -> u64 {
    rule.as_u64().unwrap_or(0)
}

fn length(value: &Value) -> Option<u64> {
    value
        .as_str()
        .and_then(|text| u64::try_from(text.chars().count()).ok())
}

fn size(value: &Value) -> Option<u64> {
    value
        .as_array()
        .and_then(|list| u64::try_from(list.len()).ok())
}

fn matches(rule: &Value, value: &Value) -> bool {
    let (Some(pattern), Some(text)) = (rule.as_str(), value.as_str()) else {
        return true;
    };
    regex::Regex::new(pattern).is_ok_and(|pattern| pattern.is_match(text))
}
