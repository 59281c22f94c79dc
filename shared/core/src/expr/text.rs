//! Filters on text.

use minijinja::Value;
use regex::{Regex, RegexBuilder};

use super::catalog::{Callable, filter_of};
use super::error::{Fault, bad};
use super::limits::{MAX_OUTPUT_BYTES, MAX_REGEX_BYTES, MAX_REGEX_COMPILED_BYTES};
use super::runtime::Call;
use super::value::display;

type Outcome = Result<Value, Fault>;

pub(super) const FILTERS: &[Callable] = &[
    filter_of("abbreviate", &["value", "length"], 2, abbreviate),
    filter_of("capitalize", &["value"], 1, capitalize),
    filter_of("endsWith", &["value", "suffix"], 2, |call| {
        Ok(Value::from(call.text(0)?.ends_with(&call.text(1)?)))
    }),
    filter_of("escapeChar", &["value", "type"], 2, escape_char),
    filter_of("indent", &["value", "amount", "prefix"], 2, |call| {
        indent(call, false)
    }),
    filter_of("lower", &["value"], 1, |call| {
        Ok(Value::from(call.text(0)?.to_lowercase()))
    }),
    filter_of("nindent", &["value", "amount", "prefix"], 2, |call| {
        indent(call, true)
    }),
    filter_of("replace", &["value", "replace_pairs", "regexp"], 2, replace),
    filter_of("slugify", &["value"], 1, |call| {
        Ok(Value::from(slugify(&call.text(0)?)))
    }),
    filter_of("split", &["value", "delimiter", "limit"], 2, split),
    filter_of("startsWith", &["value", "prefix"], 2, |call| {
        Ok(Value::from(call.text(0)?.starts_with(&call.text(1)?)))
    }),
    filter_of("string", &["value"], 1, |call| {
        Ok(Value::from(call.text(0)?))
    }),
    filter_of("substringAfter", &["value", "separator"], 2, |call| {
        let (text, separator) = (call.text(0)?, call.text(1)?);
        Ok(Value::from(
            text.split_once(&*separator).map_or("", |(_, after)| after),
        ))
    }),
    filter_of("substringAfterLast", &["value", "separator"], 2, |call| {
        let (text, separator) = (call.text(0)?, call.text(1)?);
        Ok(Value::from(
            text.rsplit_once(&*separator).map_or("", |(_, after)| after),
        ))
    }),
    filter_of("substringBefore", &["value", "separator"], 2, |call| {
        let (text, separator) = (call.text(0)?, call.text(1)?);
        Ok(Value::from(
            text.split_once(&*separator)
                .map_or(&*text, |(before, _)| before),
        ))
    }),
    filter_of("substringBeforeLast", &["value", "separator"], 2, |call| {
        let (text, separator) = (call.text(0)?, call.text(1)?);
        Ok(Value::from(
            text.rsplit_once(&*separator)
                .map_or(&*text, |(before, _)| before),
        ))
    }),
    filter_of("title", &["value"], 1, |call| {
        Ok(Value::from(title(&call.text(0)?)))
    }),
    filter_of("trim", &["value"], 1, |call| {
        Ok(Value::from(call.text(0)?.trim()))
    }),
    filter_of("upper", &["value"], 1, |call| {
        Ok(Value::from(call.text(0)?.to_uppercase()))
    }),
];

/// Compiles a pattern within the limits.
pub(super) fn regex(pattern: &str) -> Result<Regex, Fault> {
    if pattern.len() > MAX_REGEX_BYTES {
        return Err(Fault::Limit(format!(
            "a regular expression may have {MAX_REGEX_BYTES} bytes, not {}; shorten it",
            pattern.len()
        )));
    }
    RegexBuilder::new(pattern)
        .size_limit(MAX_REGEX_COMPILED_BYTES)
        .build()
        .map_err(|error| match error {
            regex::Error::CompiledTooBig(limit) => Fault::Limit(format!(
                "the regular expression takes more than {limit} bytes; use smaller repetitions"
            )),
            error => Fault::Value(format!("`{pattern}` is not a regular expression: {error}")),
        })
}

/// At most `length` characters, the last three of them `...` if something was cut.
fn abbreviate(call: &Call<'_>) -> Outcome {
    let text = call.text(0)?;
    let length = call.count(1, 0, MAX_OUTPUT_BYTES)?;
    if text.chars().count() <= length {
        return Ok(Value::from(text));
    }
    if length <= 3 {
        return Ok(Value::from(text.chars().take(length).collect::<String>()));
    }
    let kept: String = text.chars().take(length - 3).collect();
    Ok(Value::from(format!("{kept}...")))
}

/// The first character in upper case, the others as they are.
fn capitalize(call: &Call<'_>) -> Outcome {
    let text = call.text(0)?;
    let mut chars = text.chars();
    let first: String = chars
        .next()
        .map(|c| c.to_uppercase().collect())
        .unwrap_or_default();
    Ok(Value::from(first + chars.as_str()))
}

/// Each word's first character in upper case, the others as they are.
fn title(text: &str) -> String {
    let mut inside = false;
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if inside || c.is_whitespace() {
            out.push(c);
        } else {
            out.extend(c.to_uppercase());
        }
        inside = !c.is_whitespace();
    }
    out
}

/// Lower-case ASCII letters, digits and `_`, with single `-` between them.
fn slugify(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if c.is_ascii_alphanumeric() || c == '_' {
            out.push(c.to_ascii_lowercase());
        } else if (c.is_whitespace() || c == '-') && !out.ends_with('-') {
            out.push('-');
        }
    }
    out.trim_matches('-').to_owned()
}

/// Backslashes before the quotes of the kind: `single`, `double` or `shell`.
fn escape_char(call: &Call<'_>) -> Outcome {
    let (text, kind) = (call.text(0)?, call.text(1)?);
    let escaped = match kind.as_str() {
        "single" => text.replace('\'', "\\'"),
        "double" => text.replace('"', "\\\""),
        // The only safe way to have a single quote between single quotes.
        "shell" => text.replace('\'', "'\\''"),
        _ => {
            return bad(format!(
                "`escapeChar` knows 'single', 'double' and 'shell', not '{kind}'"
            ));
        }
    };
    Ok(Value::from(escaped))
}

/// Indents every line but the first; `nindent` puts a line break first and indents all.
fn indent(call: &Call<'_>, all: bool) -> Outcome {
    let text = call.text(0)?;
    let amount = call.count(1, 0, 200)?;
    let prefix = call.text_or(2, " ")?.repeat(amount);
    if text.len() + text.lines().count() * prefix.len() > MAX_OUTPUT_BYTES {
        return Err(Fault::Limit(format!(
            "the indented text is longer than {MAX_OUTPUT_BYTES} bytes"
        )));
    }
    let body = text.replace('\n', &format!("\n{prefix}"));
    Ok(Value::from(if all {
        format!("\n{prefix}{body}")
    } else {
        body
    }))
}

/// Replaces each key of a map by its value, one after the other.
fn replace(call: &Call<'_>) -> Outcome {
    let mut text = call.text(0)?;
    let patterns = call.given(2).is_some_and(super::value::is_true);
    for (from, to) in call.map(1)? {
        let (from, to) = (display(&from)?, display(&to)?);
        if from.is_empty() {
            return bad("`replace` cannot replace the empty text");
        }
        let hits = if patterns {
            text.len() + 1
        } else {
            text.matches(&from).count()
        };
        if text.len().saturating_add(hits.saturating_mul(to.len())) > 4 * MAX_OUTPUT_BYTES {
            return Err(Fault::Limit(format!(
                "`replace` gives more than {MAX_OUTPUT_BYTES} bytes"
            )));
        }
        text = if patterns {
            regex(&from)?.replace_all(&text, to.as_str()).into_owned()
        } else {
            text.replace(&from, &to)
        };
    }
    Ok(Value::from(text))
}

/// Splits at a delimiter: a text if it is one character or none that has a meaning in a regular
/// expression, else a regular expression. Without a limit, empty items at the end are dropped, as in
/// Kestra.
fn split(call: &Call<'_>) -> Outcome {
    let (text, delimiter) = (call.text(0)?, call.text(1)?);
    let limit = call.int(2)?.unwrap_or(0);
    if delimiter.is_empty() {
        return Ok(text.chars().map(|c| Value::from(c.to_string())).collect());
    }
    let literal = delimiter.chars().count() == 1 || regex::escape(&delimiter) == delimiter;
    let most = usize::try_from(limit)
        .ok()
        .filter(|limit| *limit > 0)
        .unwrap_or(usize::MAX);
    let mut parts: Vec<String> = if literal {
        text.splitn(most, &delimiter).map(str::to_owned).collect()
    } else {
        regex(&delimiter)?
            .splitn(&text, most)
            .map(str::to_owned)
            .collect()
    };
    if limit == 0 {
        while parts.len() > 1 && parts.last().is_some_and(String::is_empty) {
            parts.pop();
        }
    }
    Ok(Value::from(parts))
}
