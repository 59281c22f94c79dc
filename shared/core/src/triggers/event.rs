//! An event as a trigger sees it, whatever brought it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

/// Bytes of one event's JSON at most: what SQS and `EventBridge` deliver (aws.md 2.1).
pub const EVENT_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of an event's identity at most: a bucket, a key of 1,024 bytes and a version.
pub const IDENTITY_BYTES_MAX: usize = 2_048;
/// Events in one document at most. S3 sends one, a queue's batch ten.
pub const EVENTS_MAX: usize = 1_000;
/// Bytes of a name in an event, such as a bucket, an alarm or a topic.
pub const NAME_BYTES_MAX: usize = 1_100;

/// Digits without those that are easily confused; the same as in the ids of executions that people start.
const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Where an event comes from: what triggers are matched by.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "from")]
pub enum Source {
    /// An object was written.
    Object {
        /// Where.
        bucket: String,
        /// Its name.
        key: String,
        /// Its bytes.
        size: u64,
    },
    /// A message of a queue that is not Operon's own.
    Queue {
        /// Its ARN.
        arn: String,
    },
    /// A message of a topic.
    Topic {
        /// Its ARN.
        arn: String,
        /// What a filter policy looks at.
        attributes: Map<String, Value>,
    },
    /// An event of a bus, as a pattern sees it.
    Bus {
        /// The whole event.
        event: Value,
    },
    /// An alarm changed its state.
    Alarm {
        /// Its name.
        name: String,
        /// Its state now.
        state: String,
    },
}

/// One event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TriggerEvent {
    /// Where it comes from.
    pub source: Source,
    /// The same for every delivery of the same event, and different for others of its source.
    pub identity: String,
    /// When it happened, if it says so, in milliseconds since the epoch.
    pub time_ms: Option<u64>,
    /// `trigger.*`.
    pub fields: Map<String, Value>,
}

/// Why a document is no event. Such documents become dead letters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// It is not JSON.
    #[error("it is not JSON: {0}")]
    NotJson(String),
    /// Something is missing or of another type.
    #[error("`{0}` is missing or not what it should be")]
    Field(&'static str),
    /// Something is too large.
    #[error("`{what}` has {size}; at most {max} are possible")]
    TooLarge {
        /// Which part.
        what: &'static str,
        /// How large it is.
        size: usize,
        /// How large it may be.
        max: usize,
    },
    /// Nobody knows what it is.
    #[error("it is no event of a kind that is known here")]
    Unknown,
}

/// A name of `chars` digits for something that these parts identify. The same parts always give the same name.
#[must_use]
pub fn name(parts: &[&str], chars: usize) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        // With its length in front, so that no two lists of parts look the same.
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    hash.finalize()
        .iter()
        .filter_map(|byte| DIGITS.get(usize::from(byte & 31)))
        .take(chars)
        .map(|digit| char::from(*digit))
        .collect()
}

/// `text`, if it is not longer than `max` bytes.
pub(super) fn bounded<'t>(
    what: &'static str,
    text: &'t str,
    max: usize,
) -> Result<&'t str, EventError> {
    if text.len() > max {
        return Err(EventError::TooLarge {
            what,
            size: text.len(),
            max,
        });
    }
    Ok(text)
}

/// The text at `path` of `value`.
pub(super) fn text<'v>(value: &'v Value, path: &'static str) -> Result<&'v str, EventError> {
    let found = value.pointer(path).and_then(Value::as_str);
    bounded(path, found.ok_or(EventError::Field(path))?, NAME_BYTES_MAX)
}

/// A time as AWS writes it, in milliseconds since the epoch.
pub(super) fn time_ms(text: &str) -> Option<u64> {
    let time: jiff::Timestamp = text.parse().ok()?;
    u64::try_from(time.as_millisecond()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_stable_and_tell_parts_apart() {
        assert_eq!(name(&["a", "b"], 24), name(&["a", "b"], 24));
        assert_ne!(name(&["ab", ""], 24), name(&["a", "b"], 24));
        assert_eq!(name(&["a"], 24).len(), 24);
        // Stored names depend on it.
        assert_eq!(
            name(&["genomics", "ingest", "upload", "x"], 20),
            "d9s9hx5xzr48zppvm1em"
        );
    }
}
