//! One value against one declaration.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a value of another shape is wrong, whichever shape that is"
)]

use serde_json::{Map, Value};

use super::super::amount::{duration_ms, duration_text};
use super::super::model::{Input, InputType};
use super::super::yaml;
use super::json_schema;

/// The value in its canonical form, if it satisfies the declaration; otherwise what is wrong with it.
/// `choices` are those of a `SELECT`.
pub fn check_value(
    input: &Input,
    value: &Value,
    choices: &[(String, Option<String>)],
) -> Result<Value, String> {
    match input.input_type {
        InputType::String | InputType::Secret => checked_text(input, value).map(Value::from),
        InputType::Int => {
            let number = int(value)?;
            bounded(input, &number, |bound| int(bound).ok(), ToString::to_string)?;
            Ok(Value::from(number))
        }
        InputType::Float => {
            let number = float(value)?;
            bounded(
                input,
                &number,
                |bound| float(bound).ok(),
                ToString::to_string,
            )?;
            serde_json::Number::from_f64(number)
                .map(Value::Number)
                .ok_or_else(|| "is not a finite number".to_owned())
        }
        InputType::Boolean => match value {
            Value::Bool(_) => Ok(value.clone()),
            Value::String(text) if text.eq_ignore_ascii_case("true") => Ok(Value::Bool(true)),
            Value::String(text) if text.eq_ignore_ascii_case("false") => Ok(Value::Bool(false)),
            _ => Err(format!("{} is not `true` or `false`", shown(value))),
        },
        InputType::Duration => {
            let ms = duration(value)?;
            bounded(
                input,
                &ms,
                |bound| duration(bound).ok(),
                |ms| duration_text(*ms),
            )?;
            Ok(Value::from(duration_text(ms)))
        }
        InputType::Date | InputType::Time | InputType::DateTime => time(input, value),
        InputType::Select => chosen(input, value, choices).map(Value::from),
        InputType::MultiSelect => {
            let items = items(value)?;
            let texts: Result<Vec<_>, _> = items
                .iter()
                .map(|item| chosen(input, item, choices))
                .collect();
            texts.map(Value::from)
        }
        InputType::File => file(input, value),
        InputType::Json => {
            let parsed = parsed(value)?;
            if let Some(schema) = &input.json_schema {
                json_schema::check(schema, &parsed, "the value")?;
            }
            Ok(parsed)
        }
        InputType::Yaml => match value {
            Value::String(text) => match yaml::parse(text, &yaml::Limits::default()) {
                Ok(node) => Ok(node.to_json()),
                Err(found) => Err(format!(
                    "is not YAML: {}",
                    found
                        .first()
                        .map_or("it cannot be read", |d| d.message.as_str())
                )),
            },
            other => Ok(other.clone()),
        },
        InputType::Uri => uri(value),
        InputType::Email => email(value),
        InputType::Array => array(input, value),
        InputType::Object => object(input, value),
        InputType::Table => table(input, value),
    }
}

/// The value of a flow's output in the form of its type, or what is wrong with it. A text type takes everything: what is
/// no text is written as JSON. What an input limits beyond its type an output does not.
pub fn check_output(ty: InputType, value: &Value) -> Result<Value, String> {
    let input = Input::of_type(ty);
    match ty {
        InputType::String | InputType::Secret => Ok(match value {
            Value::String(_) => value.clone(),
            other => Value::from(other.to_string()),
        }),
        InputType::Select => text(value).map(Value::from),
        InputType::MultiSelect | InputType::Array => items(value).map(Value::from),
        InputType::Table => match items(value)? {
            rows if rows.iter().all(Value::is_object) => Ok(Value::from(rows)),
            _ => Err(format!("{} is not a list of objects", shown(value))),
        },
        InputType::Object => match parsed(value)? {
            object @ Value::Object(_) => Ok(object),
            _ => Err(format!("{} is not an object", shown(value))),
        },
        InputType::File => match file(&input, value)? {
            Value::String(text) if text.contains("://") => Ok(Value::from(text)),
            _ => Err(format!("{} is not the URI of a file", shown(value))),
        },
        InputType::Int
        | InputType::Float
        | InputType::Boolean
        | InputType::Duration
        | InputType::Date
        | InputType::Time
        | InputType::DateTime
        | InputType::Json
        | InputType::Yaml
        | InputType::Uri
        | InputType::Email => check_value(&input, value, &[]),
    }
}

fn shown(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() > 60 {
        let cut: String = text.chars().take(57).collect();
        return format!("`{cut}…`");
    }
    format!("`{text}`")
}

fn text(value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(_) | Value::Bool(_) => Ok(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => {
            Err(format!("{} is not a text", shown(value)))
        }
    }
}

fn checked_text(input: &Input, value: &Value) -> Result<String, String> {
    let text = text(value)?;
    if let Some(pattern) = &input.validator {
        // The parser has refused what is no regular expression.
        let whole =
            regex::Regex::new(&format!("^(?:{pattern})$")).map_err(|error| error.to_string())?;
        if !whole.is_match(&text) {
            // A secret is not repeated in a message.
            let which = if input.input_type == InputType::Secret {
                "the value".to_owned()
            } else {
                shown(value)
            };
            return Err(format!("{which} does not match `{pattern}`"));
        }
    }
    Ok(text)
}

fn int(value: &Value) -> Result<i64, String> {
    let number = match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    number.ok_or_else(|| format!("{} is not a whole number", shown(value)))
}

fn float(value: &Value) -> Result<f64, String> {
    let number = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    number
        .filter(|number: &f64| number.is_finite())
        .ok_or_else(|| format!("{} is not a number", shown(value)))
}

fn duration(value: &Value) -> Result<u64, String> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
            return Err(format!(
                "{} is not a duration such as `PT15M`",
                shown(value)
            ));
        }
    };
    duration_ms(&text).map_err(|error| error.to_string())
}

/// Fails when the value is below `min` or above `max`.
fn bounded<T: PartialOrd>(
    input: &Input,
    value: &T,
    read: impl Fn(&Value) -> Option<T>,
    show: impl Fn(&T) -> String,
) -> Result<(), String> {
    if let Some(min) = input.min.as_ref().and_then(&read)
        && *value < min
    {
        return Err(format!("`{}` is less than `{}`", show(value), show(&min)));
    }
    if let Some(max) = input.max.as_ref().and_then(&read)
        && *value > max
    {
        return Err(format!("`{}` is more than `{}`", show(value), show(&max)));
    }
    Ok(())
}

fn time(input: &Input, value: &Value) -> Result<Value, String> {
    let written = text(value)?;
    match input.input_type {
        InputType::Date => {
            let read = |value: &Value| value.as_str()?.parse::<jiff::civil::Date>().ok();
            let date = read(&Value::from(written.as_str()))
                .ok_or_else(|| format!("`{written}` is not a date such as `2030-01-31`"))?;
            bounded(input, &date, read, ToString::to_string)?;
            Ok(Value::from(date.to_string()))
        }
        InputType::Time => {
            let read = |value: &Value| value.as_str()?.parse::<jiff::civil::Time>().ok();
            let time = read(&Value::from(written.as_str()))
                .ok_or_else(|| format!("`{written}` is not a time such as `09:30:00`"))?;
            bounded(input, &time, read, ToString::to_string)?;
            Ok(Value::from(time.to_string()))
        }
        _ => {
            let read = |value: &Value| value.as_str()?.parse::<jiff::Timestamp>().ok();
            let instant = read(&Value::from(written.as_str())).ok_or_else(|| {
                format!(
                    "`{written}` is not a date and time with offset such as `2030-01-31T09:30:00Z`"
                )
            })?;
            bounded(input, &instant, read, ToString::to_string)?;
            Ok(Value::from(instant.to_string()))
        }
    }
}

fn chosen(
    input: &Input,
    value: &Value,
    choices: &[(String, Option<String>)],
) -> Result<String, String> {
    let text = text(value)?;
    // Choices that an expression gives are known only when an execution starts.
    let open = input.allow_custom_value || choices.is_empty() && input.expression.is_some();
    if open || choices.iter().any(|(choice, _)| *choice == text) {
        return Ok(text);
    }
    let known: Vec<_> = choices
        .iter()
        .take(20)
        .map(|(choice, _)| format!("`{choice}`"))
        .collect();
    Err(format!("`{text}` is not one of {}", known.join(", ")))
}

/// The items of a list, of a JSON text, or of a text with commas.
fn items(value: &Value) -> Result<Vec<Value>, String> {
    match value {
        Value::Array(items) => Ok(items.clone()),
        Value::String(text) if text.trim_start().starts_with('[') => {
            serde_json::from_str(text).map_err(|error| format!("is not a JSON list: {error}"))
        }
        Value::String(text) if text.trim().is_empty() => Ok(Vec::new()),
        Value::String(text) => Ok(text
            .split(',')
            .map(|item| Value::from(item.trim()))
            .collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => {
            Err(format!("{} is not a list", shown(value)))
        }
    }
}

fn array(input: &Input, value: &Value) -> Result<Value, String> {
    let item = Input {
        input_type: input.item_type.unwrap_or(InputType::String),
        ..input.clone()
    };
    let mut list = Vec::new();
    for (at, value) in items(value)?.iter().enumerate() {
        list.push(check_value(&item, value, &[]).map_err(|error| format!("item {at}: {error}"))?);
    }
    Ok(Value::Array(list))
}

/// A text is read as JSON, which is what a command line or a form has.
fn parsed(value: &Value) -> Result<Value, String> {
    match value {
        Value::String(text) => {
            serde_json::from_str(text).map_err(|error| format!("is not JSON: {error}"))
        }
        other => Ok(other.clone()),
    }
}

fn object(input: &Input, value: &Value) -> Result<Value, String> {
    let value = parsed(value)?;
    let Value::Object(given) = &value else {
        return Err(format!("{} is not an object", shown(&value)));
    };
    let known = |name: &str| input.properties.iter().any(|property| property.id == name);
    if let Some(name) = given.keys().find(|name| !known(name)) {
        let names: Vec<&str> = input.properties.iter().map(|one| one.id.as_str()).collect();
        return Err(format!("has no `{name}`; it has {}", names.join(", ")));
    }
    let mut checked = Map::new();
    for property in &input.properties {
        match given.get(&property.id).filter(|value| !value.is_null()) {
            Some(value) => {
                let value = check_value(property, value, &property.values);
                let value = value.map_err(|reason| format!("`{}`: {reason}", property.id))?;
                checked.insert(property.id.clone(), value);
            }
            None if property.required => return Err(format!("`{}` is required", property.id)),
            None => {}
        }
    }
    Ok(Value::Object(checked))
}

fn table(input: &Input, value: &Value) -> Result<Value, String> {
    let value = parsed(value)?;
    let Value::Array(rows) = &value else {
        return Err(format!("{} is not a list of rows", shown(&value)));
    };
    let count = i64::try_from(rows.len()).unwrap_or(i64::MAX);
    bounded(
        input,
        &count,
        |bound| int(bound).ok(),
        |n| format!("{n} rows"),
    )?;
    let mut checked = Vec::new();
    for (at, row) in rows.iter().enumerate() {
        checked.push(object(input, row).map_err(|reason| format!("row {at}: {reason}"))?);
    }
    Ok(Value::Array(checked))
}

fn file(input: &Input, value: &Value) -> Result<Value, String> {
    let path = text(value)?;
    if path.trim().is_empty() {
        return Err("is not the path or URI of a file".to_owned());
    }
    let extensions = &input.allowed_file_extensions;
    let lower = path.to_ascii_lowercase();
    let fits = |extension: &String| {
        let extension = extension.to_ascii_lowercase();
        lower.ends_with(&format!(".{}", extension.trim_start_matches('.')))
    };
    if extensions.is_empty() || extensions.iter().any(fits) {
        return Ok(Value::from(path));
    }
    Err(format!(
        "`{path}` does not end with {}",
        extensions.join(", ")
    ))
}

fn uri(value: &Value) -> Result<Value, String> {
    let text = text(value)?;
    let scheme = text.split_once(':').filter(|(scheme, rest)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
            && !rest.is_empty()
            && !rest.contains(char::is_whitespace)
    });
    match scheme {
        Some(_) => Ok(Value::from(text)),
        None => Err(format!(
            "`{text}` is not a URI such as `https://example.org/x`"
        )),
    }
}

fn email(value: &Value) -> Result<Value, String> {
    let text = text(value)?;
    let good = text.split_once('@').is_some_and(|(user, host)| {
        !user.is_empty()
            && !text.contains(char::is_whitespace)
            && !host.contains('@')
            && host.contains('.')
            && !host.starts_with('.')
            && !host.ends_with('.')
    });
    if good {
        Ok(Value::from(text))
    } else {
        Err(format!("`{text}` is not an e-mail address"))
    }
}

/// What is wrong with a value of `min` or `max`, if anything.
#[must_use]
pub fn bound_error(ty: InputType, bound: &Value) -> Option<String> {
    match ty {
        InputType::Int => int(bound).err(),
        InputType::Float => float(bound).err(),
        InputType::Duration => duration(bound).err(),
        InputType::Date => bad(
            bound.as_str()?.parse::<jiff::civil::Date>().is_ok(),
            bound,
            "a date such as `2030-01-31`",
        ),
        InputType::Time => bad(
            bound.as_str()?.parse::<jiff::civil::Time>().is_ok(),
            bound,
            "a time such as `09:30:00`",
        ),
        InputType::DateTime => bad(
            bound.as_str()?.parse::<jiff::Timestamp>().is_ok(),
            bound,
            "a date and time with offset",
        ),
        InputType::String
        | InputType::Boolean
        | InputType::Select
        | InputType::MultiSelect
        | InputType::File
        | InputType::Json
        | InputType::Yaml
        | InputType::Uri
        | InputType::Email
        | InputType::Secret
        | InputType::Array
        | InputType::Object
        | InputType::Table => None,
    }
}

fn bad(good: bool, bound: &Value, expected: &str) -> Option<String> {
    (!good).then(|| format!("{} is not {expected}", shown(bound)))
}
