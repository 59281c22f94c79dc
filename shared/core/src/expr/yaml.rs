//! Between YAML and values: the function and the filter `yaml`.

use minijinja::Value;
use serde_json::Value as Json;

use super::catalog::{Callable, filter_of};
use super::error::{Fault, bad};
use super::limits::{MAX_DATA_DEPTH, MAX_OUTPUT_BYTES};
use super::runtime::Call;
use super::value::{from_json, to_json};
use crate::lang::yaml::{self, Limits};

pub(super) const FILTERS: &[Callable] = &[filter_of("yaml", &["value"], 1, filter)];

/// Reads a text; writes anything else.
fn filter(call: &Call<'_>) -> Result<Value, Fault> {
    let value = call.value(0);
    if value.as_str().is_some() {
        return read(call);
    }
    let value = to_json(&value)?;
    if super::functions::depth(&value) > MAX_DATA_DEPTH {
        return Err(Fault::Limit(format!(
            "the value nests more than {MAX_DATA_DEPTH} levels"
        )));
    }
    let mut out = String::new();
    write(&mut out, &value, 0);
    if out.len() > MAX_OUTPUT_BYTES {
        return Err(Fault::Limit(format!(
            "the YAML is longer than {MAX_OUTPUT_BYTES} bytes"
        )));
    }
    Ok(Value::from(out))
}

/// Reads the first argument.
pub(super) fn read(call: &Call<'_>) -> Result<Value, Fault> {
    let limits = Limits {
        depth: MAX_DATA_DEPTH,
        ..Limits::default()
    };
    match yaml::parse(&call.text(0)?, &limits) {
        Ok(node) => Ok(from_json(&node.to_json())),
        // The place alone: what stands there may be secret.
        Err(problems) => {
            let at = problems.first().map_or(0, |problem| problem.span.start);
            bad(format!("the text is not YAML: see its byte {at}"))
        }
    }
}

/// In block style, each line ended.
fn write(out: &mut String, value: &Json, indent: usize) {
    match value {
        Json::Object(map) if !map.is_empty() => {
            for (key, value) in map {
                // Behind the `- ` of a list, a map's first key stands on the same line.
                if out.ends_with('\n') {
                    out.push_str(&" ".repeat(indent));
                }
                scalar(out, key);
                out.push(':');
                if matches!(value, Json::Object(map) if !map.is_empty()) {
                    out.push('\n');
                    write(out, value, indent + 2);
                } else if matches!(value, Json::Array(items) if !items.is_empty()) {
                    out.push('\n');
                    write(out, value, indent);
                } else {
                    out.push(' ');
                    write(out, value, indent);
                }
            }
        }
        Json::Array(items) if !items.is_empty() => {
            for item in items {
                if out.ends_with('\n') {
                    out.push_str(&" ".repeat(indent));
                }
                out.push_str("- ");
                write(out, item, indent + 2);
            }
        }
        Json::String(text) => {
            scalar(out, text);
            out.push('\n');
        }
        other => {
            out.push_str(&other.to_string());
            out.push('\n');
        }
    }
}

/// A text, quoted unless nothing could read it as anything else. A JSON text is a YAML text too.
fn scalar(out: &mut String, text: &str) {
    let plain = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/' || c == '_')
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "_-./ ".contains(c))
        && !text.ends_with(' ')
        && !matches!(
            text.to_lowercase().as_str(),
            "true" | "false" | "yes" | "no" | "on" | "off" | "null" | "y" | "n"
        );
    if plain {
        out.push_str(text);
    } else {
        out.push_str(&Json::from(text).to_string());
    }
}
