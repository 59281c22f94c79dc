//! Following `outputs.align.vars['n']` into the context, and saying what is missing.

use std::ops::Range;

use minijinja::Value;
use minijinja::value::ValueKind;

use super::error::{ExprError, nearest};
use super::rewrite::{KeyAt, Site};
use super::runtime::Runtime;
use super::value::{Number, entries, kind, to_json};

/// The value at the end of the path. `args` holds the base, unless it is a context root, and then the
/// keys that are not constant.
pub(super) fn resolve(
    runtime: &Runtime,
    site: &Site,
    root: Option<&str>,
    keys: &[KeyAt],
    args: &[Value],
) -> Result<Value, ExprError> {
    let mut args = args.iter();
    let (mut value, mut shown) = if let Some(name) = root {
        match runtime.context.root(name) {
            Some(value) => (value.clone(), name.to_owned()),
            None if site.lenient => return Ok(Value::UNDEFINED),
            None => {
                let near = nearest(name, runtime.context.root_names()).map(str::to_owned);
                let span = site.span.start..site.span.start + name.len();
                return Err(undefined(name.to_owned(), span, near));
            }
        }
    } else {
        (args.next().cloned().unwrap_or_default(), String::new())
    };
    for at in keys {
        let key = at
            .key
            .clone()
            .unwrap_or_else(|| args.next().cloned().unwrap_or_default());
        if value.is_undefined() || key.is_undefined() {
            return Ok(Value::UNDEFINED);
        }
        let next = step(&value, &key);
        let path = format!("{shown}{}", written(&key, shown.is_empty()));
        if let Some(next) = next.filter(|next| !next.is_undefined()) {
            value = next;
            shown = path;
        } else if site.lenient {
            return Ok(Value::UNDEFINED);
        } else {
            return Err(missing(&value, &key, &shown, path, at.span.clone()));
        }
    }
    Ok(value)
}

/// One key of a map, or one place of a list or text, counted from 0, or from the end if negative.
pub(super) fn step(value: &Value, key: &Value) -> Option<Value> {
    match value.kind() {
        ValueKind::Map => {
            let found = value
                .get_item(key)
                .ok()
                .filter(|found| !found.is_undefined());
            // `x[2024]` means the key "2024": a map's keys are texts. What a loop over a map finds outputs by is JSON.
            found.or_else(|| value.get_item(&Value::from(as_text(key))).ok())
        }
        ValueKind::Seq | ValueKind::Iterable => {
            if matches!(key.as_str(), Some("length" | "size")) {
                return value.len().map(Value::from);
            }
            let index = match Number::of(key) {
                Some(Number::Int(index)) => index,
                _ => key.as_str()?.parse().ok()?,
            };
            let length = i128::try_from(value.len()?).ok()?;
            let index = if index < 0 { index + length } else { index };
            value.get_item_by_index(usize::try_from(index).ok()?).ok()
        }
        _ => None,
    }
}

fn as_text(key: &Value) -> String {
    match key.kind() {
        ValueKind::Map | ValueKind::Seq => {
            to_json(key).map_or_else(|_| key.to_string(), |key| key.to_string())
        }
        _ => key.to_string(),
    }
}

fn missing(value: &Value, key: &Value, base: &str, path: String, span: Range<usize>) -> ExprError {
    let base_shown = if base.is_empty() { "the value" } else { base };
    match value.kind() {
        ValueKind::Map => {
            let keys = entries(value).unwrap_or_default();
            let near = nearest(
                &key.to_string(),
                keys.iter().filter_map(|(key, _)| key.as_str()),
            )
            .map(|near| format!("{base}{}", written(&Value::from(near), base.is_empty())));
            undefined(path, span, near)
        }
        ValueKind::Seq | ValueKind::Iterable => ExprError::Value {
            message: format!(
                "{base_shown} is a list of {} items and has no `{key}`; use `?? …` if it may be missing",
                value.len().unwrap_or_default()
            ),
            span,
        },
        ValueKind::None => ExprError::Value {
            message: format!(
                "{base_shown} is null and has no `{key}`; use `{path} ?? …` if it may be missing"
            ),
            span,
        },
        _ => {
            let hint = if value
                .as_str()
                .is_some_and(|text| text.trim_start().starts_with(['{', '[']))
            {
                format!("; if it is JSON, use `fromJson({base_shown})`")
            } else {
                String::new()
            };
            let message = format!("{base_shown} is {} and has no `{key}`{hint}", kind(value));
            ExprError::Value { message, span }
        }
    }
}

pub(super) fn undefined(name: String, span: Range<usize>, suggestion: Option<String>) -> ExprError {
    ExprError::Undefined {
        name,
        span,
        suggestion,
    }
}

/// `.key`, or `['key']` where a dot would not do.
pub(super) fn written(key: &Value, first: bool) -> String {
    match key.as_str() {
        Some(text)
            if !text.is_empty()
                && !text.starts_with(|c: char| c.is_ascii_digit())
                && text.chars().all(|c| c.is_alphanumeric() || c == '_') =>
        {
            if first {
                text.to_owned()
            } else {
                format!(".{text}")
            }
        }
        Some(text) => format!("['{text}']"),
        None => format!("[{key}]"),
    }
}
