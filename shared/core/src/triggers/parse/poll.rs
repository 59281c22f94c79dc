//! What polls bring: rows of a query, and answers of an address.

use serde_json::{Map, Value};

use super::super::event::{EventError, name};

/// Bytes of a row's JSON at most.
pub const ROW_BYTES_MAX: usize = 256 * 1024;

/// Reads a row that the database gave as JSON. Gives its identity and the value of the cursor's column as text.
pub fn row(
    text: &str,
    cursor: Option<&str>,
) -> Result<(String, Option<String>, Value), EventError> {
    if text.len() > ROW_BYTES_MAX {
        return Err(EventError::TooLarge {
            what: "row",
            size: text.len(),
            max: ROW_BYTES_MAX,
        });
    }
    let value: Value =
        serde_json::from_str(text).map_err(|error| EventError::NotJson(error.to_string()))?;
    let Value::Object(columns) = &value else {
        return Err(EventError::Field("row"));
    };
    let at = match cursor {
        None => None,
        Some(column) => match columns.get(column) {
            Some(Value::String(text)) => Some(text.clone()),
            Some(value @ (Value::Number(_) | Value::Bool(_))) => Some(value.to_string()),
            Some(Value::Null | Value::Array(_) | Value::Object(_)) | None => {
                return Err(EventError::Field("cursor"));
            }
        },
    };
    // The content is part of the identity: rows may share a cursor's value, such as a time.
    let content = name(&[text], 24);
    let identity = match &at {
        Some(at) => format!("row:{}:{content}", at.chars().take(200).collect::<String>()),
        None => format!("row:{content}"),
    };
    Ok((identity, at, value))
}

/// An answer of an address.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Answer {
    /// Names the state of what was looked at.
    pub identity: String,
    /// To be sent with `If-None-Match`.
    pub etag: Option<String>,
    /// To be sent with `If-Modified-Since`.
    pub modified: Option<String>,
    /// The body as templates see it.
    pub body: Value,
    /// Headers as templates see them, lower case.
    pub headers: Map<String, Value>,
}

/// Reads an answer. Its state is named by `ETag`, or else `Last-Modified`, or else by its content.
pub fn answer<'h>(
    headers: impl Iterator<Item = (&'h str, &'h [u8])>,
    body: &[u8],
) -> Result<Answer, EventError> {
    let mut answer = Answer::default();
    for (key, value) in headers.take(super::HEADERS_MAX) {
        let value: String = String::from_utf8_lossy(value).chars().take(4_096).collect();
        answer
            .headers
            .insert(key.to_ascii_lowercase(), Value::from(value));
    }
    let header = |key: &str| {
        answer
            .headers
            .get(key)
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    let content_type = header("content-type").unwrap_or_default();
    (answer.etag, answer.modified) = (header("etag"), header("last-modified"));
    answer.identity = match (&answer.etag, &answer.modified) {
        // A weak tag names the same content as a strong one.
        (Some(etag), _) => format!("etag:{}", etag.trim_start_matches("W/")),
        (None, Some(modified)) => format!("modified:{modified}"),
        (None, None) => format!("content:{}", name(&[&String::from_utf8_lossy(body)], 24)),
    };
    answer.identity = answer.identity.chars().take(500).collect();
    // What claims to be JSON and is not is text, so that one bad answer does not stop the looking.
    answer.body = super::body(body, &content_type)
        .or_else(|_| super::body(body, "text/plain"))
        .unwrap_or(Value::Null);
    Ok(answer)
}
