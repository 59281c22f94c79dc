//! SNS: the envelope around a message, in a queue or given to a function.

use serde_json::{Map, Value, json};

use super::super::event::{EventError, Source, TriggerEvent, text, time_ms};

/// The envelope, in whichever of its two spellings.
pub(super) fn envelope(value: &Value) -> Option<&Value> {
    if value.get("Type").and_then(Value::as_str) == Some("Notification") {
        return value.get("TopicArn").map(|_| value);
    }
    value.get("Sns").filter(|sns| sns.get("TopicArn").is_some())
}

/// The event of an envelope. A message that is JSON is given as such.
pub(super) fn event(envelope: &Value) -> Result<TriggerEvent, EventError> {
    let arn = text(envelope, "/TopicArn")?;
    let id = text(envelope, "/MessageId")?;
    let message = envelope
        .get("Message")
        .and_then(Value::as_str)
        .ok_or(EventError::Field("Message"))?;
    let attributes: Map<String, Value> = envelope
        .get("MessageAttributes")
        .and_then(Value::as_object)
        .map(|attributes| {
            let value = |value: &Value| value.get("Value").cloned().unwrap_or(Value::Null);
            attributes
                .iter()
                .map(|(name, entry)| (name.clone(), value(entry)))
                .collect()
        })
        .unwrap_or_default();
    let mut fields = Map::new();
    for (name, value) in [
        ("message", inner(message)),
        (
            "subject",
            envelope.get("Subject").cloned().unwrap_or(Value::Null),
        ),
        ("messageId", json!(id)),
        ("topicArn", json!(arn)),
        ("attributes", Value::Object(attributes.clone())),
    ] {
        fields.insert(name.to_owned(), value);
    }
    Ok(TriggerEvent {
        source: Source::Topic {
            arn: arn.to_owned(),
            attributes,
        },
        identity: format!("sns:{id}"),
        time_ms: envelope
            .get("Timestamp")
            .and_then(Value::as_str)
            .and_then(time_ms),
        fields,
    })
}

/// A text as JSON if it is an object or a list, and as it is otherwise.
pub(super) fn inner(text: &str) -> Value {
    let begins = text.trim_start().starts_with(['{', '[']);
    let parsed = begins.then(|| serde_json::from_str(text).ok()).flatten();
    parsed.unwrap_or_else(|| Value::from(text))
}
