//! Webhooks: what a call carries.

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use super::super::event::EventError;

/// Bytes of a call's body at most: API Gateway takes 10 MB, but an event may have 1 MiB.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;
/// Headers of a call that are given to templates.
pub const HEADERS_MAX: usize = 100;
/// Fields of a form.
const FIELDS_MAX: usize = 1_000;

/// The body as templates see it: JSON and forms as values, other text as text. Empty is null.
pub fn body(bytes: &[u8], content_type: &str) -> Result<Value, EventError> {
    if bytes.len() > BODY_BYTES_MAX {
        return Err(EventError::TooLarge {
            what: "body",
            size: bytes.len(),
            max: BODY_BYTES_MAX,
        });
    }
    let text = std::str::from_utf8(bytes).map_err(|_| EventError::Field("body"))?;
    if text.trim().is_empty() {
        return Ok(Value::Null);
    }
    let kind = content_type
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    if kind == "application/x-www-form-urlencoded" {
        return form(text);
    }
    if kind == "application/json" || kind.ends_with("+json") {
        return serde_json::from_str(text).map_err(|error| EventError::NotJson(error.to_string()));
    }
    Ok(super::sns::inner(text))
}

/// Fields that come twice are lists. GitHub and Slack put JSON into a field `payload`.
fn form(text: &str) -> Result<Value, EventError> {
    let mut fields = Map::new();
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        if fields.len() >= FIELDS_MAX {
            return Err(EventError::TooLarge {
                what: "form",
                size: fields.len() + 1,
                max: FIELDS_MAX,
            });
        }
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let decode = |text: &str| {
            percent_decode_str(&text.replace('+', " "))
                .decode_utf8()
                .map(std::borrow::Cow::into_owned)
                .map_err(|_| EventError::Field("form"))
        };
        let (name, value) = (decode(name)?, decode(value)?);
        let value = if name == "payload" {
            super::sns::inner(&value)
        } else {
            Value::from(value)
        };
        match fields.get_mut(&name) {
            None => {
                fields.insert(name, value);
            }
            Some(Value::Array(values)) => values.push(value),
            Some(there) => *there = Value::Array(vec![there.take(), value]),
        }
    }
    Ok(Value::Object(fields))
}

/// What Slack calls its delivery: an event's id, or the trigger of a command or dialog.
#[must_use]
pub fn delivery_of_slack(body: &Value) -> Option<&str> {
    [
        "/event_id",
        "/trigger_id",
        "/payload/trigger_id",
        "/payload/container/message_ts",
    ]
    .iter()
    .find_map(|path| body.pointer(path))
    .and_then(Value::as_str)
    .filter(|id| id.len() <= 512)
}
