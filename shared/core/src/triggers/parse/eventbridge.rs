//! `EventBridge`: events of a bus, among them those of S3 and of `CloudWatch` alarms.

use serde_json::{Map, Value, json};

use super::super::event::{EventError, Source, TriggerEvent, text, time_ms};
use super::s3;

/// Whether a document is an event of a bus.
pub(super) fn is_event(value: &Value) -> bool {
    value.get("detail-type").is_some_and(Value::is_string)
        && value.get("source").is_some_and(Value::is_string)
}

/// The event itself, and what is known about it beyond its pattern.
pub(super) fn events(value: &Value) -> Result<Vec<TriggerEvent>, EventError> {
    let id = text(value, "/id")?;
    let source = text(value, "/source")?;
    let kind = text(value, "/detail-type")?;
    let time = value.get("time").and_then(Value::as_str);
    let mut fields = Map::new();
    for (name, from) in [
        ("detail", "detail"),
        ("source", "source"),
        ("detailType", "detail-type"),
        ("time", "time"),
        ("account", "account"),
        ("region", "region"),
        ("resources", "resources"),
        ("eventId", "id"),
    ] {
        fields.insert(
            name.to_owned(),
            value.get(from).cloned().unwrap_or(Value::Null),
        );
    }
    let mut events = vec![TriggerEvent {
        source: Source::Bus {
            event: value.clone(),
        },
        identity: format!("bus:{id}"),
        time_ms: time.and_then(time_ms),
        fields,
    }];
    match (source, kind) {
        ("aws.s3", "Object Created") => events.push(s3::of_bus(value)?),
        ("aws.cloudwatch", "CloudWatch Alarm State Change") => events.push(alarm(value, id)?),
        _ => {}
    }
    Ok(events)
}

fn alarm(value: &Value, id: &str) -> Result<TriggerEvent, EventError> {
    let name = text(value, "/detail/alarmName")?;
    let state = text(value, "/detail/state/value")?;
    let at = |path: &str| value.pointer(path).cloned().unwrap_or(Value::Null);
    Ok(of_alarm(
        (name, state),
        format!("alarm:{id}"),
        at("/detail/state/reason"),
        at("/detail/previousState/value"),
        value.get("time").and_then(Value::as_str),
    ))
}

/// Whether an SNS message is that of an alarm, and its event.
pub(super) fn alarm_of_sns(message: &Value, id: &str) -> Option<TriggerEvent> {
    let name = message.get("AlarmName")?.as_str()?;
    let state = message.get("NewStateValue")?.as_str()?;
    let at = |key: &str| message.get(key).cloned().unwrap_or(Value::Null);
    let time = message.get("StateChangeTime").and_then(Value::as_str);
    Some(of_alarm(
        (name, state),
        format!("alarm:{id}"),
        at("NewStateReason"),
        at("OldStateValue"),
        time,
    ))
}

#[allow(clippy::needless_pass_by_value, reason = "they are moved into JSON")]
fn of_alarm(
    (name, state): (&str, &str),
    identity: String,
    reason: Value,
    previous: Value,
    time: Option<&str>,
) -> TriggerEvent {
    let fields = json!({
        "alarmName": name, "state": state, "reason": reason, "previousState": previous, "time": time,
    });
    let fields = if let Value::Object(fields) = fields {
        fields
    } else {
        Map::new()
    };
    TriggerEvent {
        source: Source::Alarm {
            name: name.to_owned(),
            state: state.to_owned(),
        },
        identity,
        time_ms: time.and_then(time_ms),
        fields,
    }
}
