//! S3: notifications as S3 itself sends them, and the detail of `EventBridge` events.

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};

use super::super::event::{EVENTS_MAX, EventError, Source, TriggerEvent, bounded, text, time_ms};

/// Bytes of a key at most: S3's own limit.
const KEY_BYTES_MAX: usize = 1_024;

/// What S3 says when a notification is set up.
pub(super) fn is_test(value: &Value) -> bool {
    value.get("Event").and_then(Value::as_str) == Some("s3:TestEvent")
}

/// Whether these are records of S3.
pub(super) fn is_notification(value: &Value) -> bool {
    value
        .pointer("/Records/0/eventSource")
        .or_else(|| value.pointer("/Records/0/EventSource"))
        .and_then(Value::as_str)
        == Some("aws:s3")
}

/// The objects that a notification says were written. Others, such as removed ones, are left out.
pub(super) fn notification(value: &Value) -> Result<Vec<TriggerEvent>, EventError> {
    let records = value
        .get("Records")
        .and_then(Value::as_array)
        .ok_or(EventError::Field("Records"))?;
    if records.len() > EVENTS_MAX {
        return Err(EventError::TooLarge {
            what: "Records",
            size: records.len(),
            max: EVENTS_MAX,
        });
    }
    let mut events = Vec::new();
    for record in records {
        let name = text(record, "/eventName")?;
        if !name.trim_start_matches("s3:").starts_with("ObjectCreated:") {
            continue;
        }
        let key = text(record, "/s3/object/key")?.replace('+', " ");
        let key = percent_decode_str(&key)
            .decode_utf8()
            .map_err(|_| EventError::Field("/s3/object/key"))?
            .into_owned();
        let object = record.pointer("/s3/object").unwrap_or(&Value::Null);
        events.push(event(&Object {
            bucket: text(record, "/s3/bucket/name")?,
            key: &key,
            size: object.get("size").and_then(Value::as_u64).unwrap_or(0),
            etag: object.get("eTag").and_then(Value::as_str),
            version: object.get("versionId").and_then(Value::as_str),
            sequencer: object.get("sequencer").and_then(Value::as_str),
            time: record.get("eventTime").and_then(Value::as_str),
        })?);
    }
    Ok(events)
}

/// The object of an `EventBridge` event `Object Created`.
pub(super) fn of_bus(value: &Value) -> Result<TriggerEvent, EventError> {
    let object = value.pointer("/detail/object").unwrap_or(&Value::Null);
    event(&Object {
        bucket: text(value, "/detail/bucket/name")?,
        key: text(value, "/detail/object/key")?,
        size: object.get("size").and_then(Value::as_u64).unwrap_or(0),
        etag: object.get("etag").and_then(Value::as_str),
        version: object.get("version-id").and_then(Value::as_str),
        sequencer: object.get("sequencer").and_then(Value::as_str),
        time: value.get("time").and_then(Value::as_str),
    })
}

struct Object<'a> {
    bucket: &'a str,
    key: &'a str,
    size: u64,
    etag: Option<&'a str>,
    version: Option<&'a str>,
    sequencer: Option<&'a str>,
    time: Option<&'a str>,
}

/// One write of one object has the same identity whichever way it is told: its version, or where versions are off
/// the number that orders the writes of a key.
fn event(object: &Object<'_>) -> Result<TriggerEvent, EventError> {
    let key = bounded("key", object.key, KEY_BYTES_MAX)?;
    let etag = object.etag.map(|etag| etag.trim_matches('"'));
    let write = object
        .version
        .filter(|version| *version != "null")
        .or(object.sequencer)
        .or(etag)
        .ok_or(EventError::Field("sequencer"))?;
    let write = bounded("sequencer", write, 512)?;
    let mut fields = Map::new();
    for (name, value) in [
        ("uri", json!(format!("s3://{}/{key}", object.bucket))),
        ("bucket", json!(object.bucket)),
        ("key", json!(key)),
        ("size", json!(object.size)),
        (
            "etag",
            json!(etag.map(|etag| etag.chars().take(200).collect::<String>())),
        ),
        ("versionId", json!(object.version)),
    ] {
        fields.insert(name.to_owned(), value);
    }
    Ok(TriggerEvent {
        source: Source::Object {
            bucket: object.bucket.to_owned(),
            key: key.to_owned(),
            size: object.size,
        },
        identity: format!("s3://{}/{key}@{write}", object.bucket),
        time_ms: object.time.and_then(time_ms),
        fields,
    })
}
