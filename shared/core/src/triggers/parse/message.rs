//! What comes through the intake: a message of a queue, or a document that a service gives to the function itself.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::super::event::{
    EVENT_BYTES_MAX, EVENTS_MAX, EventError, NAME_BYTES_MAX, Source, TriggerEvent, bounded, text,
};
use super::{eventbridge, s3, sns};

/// A message of a queue.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Delivery {
    /// Its content.
    pub body: String,
    /// Given by the queue; the same each time it is delivered.
    pub message_id: String,
    /// The queue's ARN, when it is not Operon's own.
    pub queue_arn: Option<String>,
    /// Message attributes by name.
    pub attributes: Map<String, Value>,
}

/// A message that Operon sends to itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "operon")]
pub enum Own {
    /// A trigger wants to be looked at: a date or a poll is due, or a batch must go.
    #[serde(rename_all = "camelCase")]
    Look {
        /// Of the flow.
        namespace: String,
        /// Of the flow.
        flow: String,
        /// Which trigger.
        trigger: String,
    },
}

/// What a document is.
#[derive(Debug, Clone, PartialEq)]
pub enum Parsed {
    /// Events, perhaps none that matter here.
    Events(Vec<TriggerEvent>),
    /// A message to oneself.
    Own(Own),
}

/// Reads a message of a queue.
pub fn message(delivery: &Delivery) -> Result<Parsed, EventError> {
    let body = bounded("body", &delivery.body, EVENT_BYTES_MAX)?;
    let Some(arn) = &delivery.queue_arn else {
        let value: Value =
            serde_json::from_str(body).map_err(|error| EventError::NotJson(error.to_string()))?;
        return document(&value);
    };
    let id = bounded("messageId", &delivery.message_id, NAME_BYTES_MAX)?;
    let inner = sns::inner(body);
    // Somebody may have pointed a bucket's notifications at this queue: such messages are events of both.
    let mut events = match shaped(&inner) {
        Ok(Some(Parsed::Events(events))) => events,
        Ok(Some(Parsed::Own(_)) | None) | Err(_) => Vec::new(),
    };
    let fields = json!({
        "body": inner, "messageId": id, "attributes": delivery.attributes, "queueArn": arn,
    });
    events.push(TriggerEvent {
        source: Source::Queue {
            arn: bounded("eventSourceARN", arn, NAME_BYTES_MAX)?.to_owned(),
        },
        identity: format!("sqs:{id}"),
        time_ms: None,
        fields: if let Value::Object(fields) = fields {
            fields
        } else {
            Map::new()
        },
    });
    Ok(Parsed::Events(events))
}

/// Reads a document that tells by its shape what it is.
pub fn document(value: &Value) -> Result<Parsed, EventError> {
    if let Some(parsed) = shaped(value)? {
        return Ok(parsed);
    }
    let records = value.get("Records").and_then(Value::as_array);
    of_queue(records.ok_or(EventError::Unknown)?)
}

/// Messages of queues, as a function is given them. Their bodies are not taken for such a document again.
fn of_queue(records: &[Value]) -> Result<Parsed, EventError> {
    let mut events = Vec::new();
    for record in records {
        if record.get("eventSource").and_then(Value::as_str) != Some("aws:sqs") {
            return Err(EventError::Unknown);
        }
        let attributes = record.get("messageAttributes").and_then(Value::as_object);
        let said = attributes.into_iter().flatten();
        let said = said
            .filter_map(|(name, value)| Some((name.clone(), value.get("stringValue")?.clone())));
        let delivery = Delivery {
            body: text(record, "/body")?.to_owned(),
            message_id: text(record, "/messageId")?.to_owned(),
            queue_arn: Some(text(record, "/eventSourceARN")?.to_owned()),
            attributes: said.collect(),
        };
        if let Parsed::Events(of) = message(&delivery)? {
            events.extend(of);
        }
    }
    Ok(Parsed::Events(events))
}

/// None when the shape is that of nothing known.
fn shaped(value: &Value) -> Result<Option<Parsed>, EventError> {
    if value.get("operon").is_some() {
        let own = serde_json::from_value(value.clone());
        return own
            .map(|own| Some(Parsed::Own(own)))
            .map_err(|_| EventError::Field("operon"));
    }
    if s3::is_test(value) {
        return Ok(Some(Parsed::Events(Vec::new())));
    }
    if s3::is_notification(value) {
        return s3::notification(value).map(|events| Some(Parsed::Events(events)));
    }
    if eventbridge::is_event(value) {
        return eventbridge::events(value).map(|events| Some(Parsed::Events(events)));
    }
    if let Some(envelope) = sns::envelope(value) {
        return topic(envelope).map(|events| Some(Parsed::Events(events)));
    }
    let Some(records) = value.get("Records").and_then(Value::as_array) else {
        return Ok(None);
    };
    if records.len() > EVENTS_MAX {
        return Err(EventError::TooLarge {
            what: "Records",
            size: records.len(),
            max: EVENTS_MAX,
        });
    }
    let mut events = Vec::new();
    for record in records {
        let Some(envelope) = sns::envelope(record) else {
            return Ok(None);
        };
        events.extend(topic(envelope)?);
    }
    Ok(Some(Parsed::Events(events)))
}

/// A message of a topic, and what it carries: a notification of S3, or an alarm.
fn topic(envelope: &Value) -> Result<Vec<TriggerEvent>, EventError> {
    let event = sns::event(envelope)?;
    let mut events = Vec::new();
    if let Some(message) = event.fields.get("message") {
        if s3::is_notification(message) {
            events.extend(s3::notification(message)?);
        }
        let id = envelope
            .get("MessageId")
            .and_then(Value::as_str)
            .unwrap_or_default();
        events.extend(eventbridge::alarm_of_sns(message, id));
    }
    events.push(event);
    Ok(events)
}
