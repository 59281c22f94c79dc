//! Documents as the services send them (their own examples, shortened), and limits.
#![allow(clippy::unwrap_used, clippy::panic)]

use serde_json::{Value, json};

use super::super::event::{EVENT_BYTES_MAX, EVENTS_MAX, EventError, Source, TriggerEvent};
use super::*;

fn events(value: &Value) -> Vec<TriggerEvent> {
    match document(value).unwrap() {
        Parsed::Events(events) => {
            events.iter().for_each(known);
            events
        }
        Parsed::Own(own) => panic!("{own:?}"),
    }
}

/// What a flow may name of an event before it runs is all that the event has.
fn known(event: &TriggerEvent) {
    let kind = match &event.source {
        Source::Object { .. } => "s3",
        Source::Queue { .. } => "sqs",
        Source::Topic { .. } => "sns",
        Source::Bus { .. } => "eventbridge",
        Source::Alarm { .. } => "cloudwatch",
    };
    let known: Vec<&str> = crate::lang::members::of_trigger(kind).unwrap().collect();
    for name in event.fields.keys() {
        assert!(known.contains(&name.as_str()), "{kind}: {name}");
    }
}

fn notification(key: &str, sequencer: &str) -> Value {
    json!({"Records": [{
        "eventVersion": "2.1", "eventSource": "aws:s3", "awsRegion": "eu-central-1", "eventTime": "2026-01-02T03:04:05.678Z",
        "eventName": "ObjectCreated:Put",
        "s3": {
            "bucket": {"name": "submissions", "arn": "arn:aws:s3:::submissions"},
            "object": {"key": key, "size": 1024, "eTag": "d41d8cd98f00b204e9800998ecf8427e", "sequencer": sequencer},
        },
    }]})
}

fn created(key: &str, sequencer: &str) -> Value {
    json!({
        "version": "0", "id": "17793124-05d4-b198-2fde-7ededc63b103", "detail-type": "Object Created", "source": "aws.s3",
        "account": "123456789012", "time": "2026-01-02T03:04:05Z", "region": "eu-central-1", "resources": ["arn:aws:s3:::submissions"],
        "detail": {
            "version": "0", "bucket": {"name": "submissions"},
            "object": {"key": key, "size": 1024, "etag": "d41d8cd98f00b204e9800998ecf8427e", "sequencer": sequencer},
            "reason": "PutObject",
        },
    })
}

#[test]
fn an_object_has_one_identity_whichever_way_it_is_told() {
    let told = events(&notification("in/a+b%C3%A9.fasta", "0062E99A88DC407460"));
    let bus = events(&created("in/a bé.fasta", "0062E99A88DC407460"));
    let object = bus
        .iter()
        .find(|event| matches!(event.source, Source::Object { .. }))
        .unwrap();
    assert_eq!(told.len(), 1);
    assert_eq!(
        (&told[0].identity, &told[0].fields["uri"]),
        (&object.identity, &object.fields["uri"])
    );
    assert_eq!(told[0].fields["uri"], "s3://submissions/in/a bé.fasta");
    assert_eq!(told[0].time_ms, Some(1_767_323_045_678));
    // Written again: another event.
    let again = events(&notification("in/a+b%C3%A9.fasta", "0062E99A88DC407461"));
    assert_ne!(told[0].identity, again[0].identity);
    // The same event is one of its bus, too.
    assert!(
        bus.iter()
            .any(|event| matches!(event.source, Source::Bus { .. }))
    );
}

#[test]
fn removals_and_tests_are_no_events() {
    let mut removed = notification("a", "1");
    removed["Records"][0]["eventName"] = json!("ObjectRemoved:Delete");
    assert!(events(&removed).is_empty());
    assert!(
        events(&json!({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "b"})).is_empty()
    );
}

#[test]
fn topics_in_a_queue_and_given_to_a_function() {
    let envelope = json!({
        "Type": "Notification", "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324", "TopicArn": "arn:aws:sns:eu-central-1:1:releases",
        "Subject": "My First Message", "Message": "{\"kind\":\"release\"}", "Timestamp": "2026-01-02T03:04:05.000Z",
        "MessageAttributes": {"kind": {"Type": "String", "Value": "release"}},
    });
    let queued = events(&envelope);
    assert_eq!(queued[0].fields["message"]["kind"], "release");
    let Source::Topic { arn, attributes } = &queued[0].source else {
        panic!()
    };
    assert_eq!(
        (arn.as_str(), &attributes["kind"]),
        ("arn:aws:sns:eu-central-1:1:releases", &json!("release"))
    );
    let given = events(
        &json!({"Records": [{"EventSource": "aws:sns", "EventVersion": "1.0", "Sns": envelope}]}),
    );
    assert_eq!(given, queued);
}

#[test]
fn an_alarm_by_the_bus_and_by_a_topic() {
    let bus = events(&json!({
        "version": "0", "id": "c4c1c1c9-6542-e61b-6ef0-8c4d36933a92", "detail-type": "CloudWatch Alarm State Change",
        "source": "aws.cloudwatch", "account": "1", "time": "2026-10-02T17:04:40Z", "region": "eu-central-1", "resources": [],
        "detail": {"alarmName": "backlog", "previousState": {"value": "OK"}, "state": {"value": "ALARM", "reason": "Threshold Crossed"}},
    }));
    let topic = events(&json!({
        "Type": "Notification", "MessageId": "m", "TopicArn": "arn:aws:sns:eu-central-1:1:alarms",
        "Message": "{\"AlarmName\":\"backlog\",\"NewStateValue\":\"ALARM\",\"OldStateValue\":\"OK\",\"NewStateReason\":\"Threshold Crossed\"}",
    }));
    for events in [bus, topic] {
        let alarm = events
            .iter()
            .find(|event| matches!(event.source, Source::Alarm { .. }))
            .unwrap();
        assert_eq!(alarm.fields["reason"], "Threshold Crossed");
        assert_eq!(alarm.fields["previousState"], "OK");
    }
}

#[test]
fn messages_of_queues_as_a_function_is_given_them() {
    let record = json!({
        "messageId": "059f36b4", "body": "{\"a\": 1}", "eventSource": "aws:sqs", "eventSourceARN": "arn:aws:sqs:eu-central-1:1:q",
        "messageAttributes": {"kind": {"stringValue": "release", "dataType": "String"}},
    });
    let found = events(&json!({"Records": [record]}));
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].identity, "sqs:059f36b4");
    assert_eq!(found[0].fields["body"], json!({"a": 1}));
    assert_eq!(found[0].fields["attributes"]["kind"], "release");
    // Such a document in a message is its body and nothing more.
    let inner = json!({"Records": [record]}).to_string();
    let mut outer = record.clone();
    outer["body"] = json!(inner);
    assert_eq!(events(&json!({"Records": [outer]})).len(), 1);
    for broken in ["body", "messageId", "eventSourceARN"] {
        let mut record = record.clone();
        record[broken] = json!(7);
        assert!(document(&json!({"Records": [record]})).is_err(), "{broken}");
    }
    assert_eq!(
        document(&json!({"Records": [{"eventSource": "aws:kinesis"}]})),
        Err(EventError::Unknown)
    );
}

#[test]
fn a_message_of_another_queue_and_of_ones_own() {
    let delivery = |body: &str, arn: Option<&str>| Delivery {
        body: body.to_owned(),
        message_id: "059f36b4".to_owned(),
        queue_arn: arn.map(str::to_owned),
        ..Delivery::default()
    };
    let Parsed::Events(found) =
        message(&delivery("hello", Some("arn:aws:sqs:eu-central-1:1:q"))).unwrap()
    else {
        panic!()
    };
    assert_eq!(
        (found[0].identity.as_str(), &found[0].fields["body"]),
        ("sqs:059f36b4", &json!("hello"))
    );
    // A bucket's notifications sent to that queue are events of the bucket as well.
    let body = notification("a", "1").to_string();
    let Parsed::Events(found) =
        message(&delivery(&body, Some("arn:aws:sqs:eu-central-1:1:q"))).unwrap()
    else {
        panic!()
    };
    assert_eq!(found.len(), 2);
    // Nobody else can send messages to oneself.
    let own = r#"{"operon":"look","namespace":"n","flow":"f","trigger":"t"}"#;
    assert!(matches!(
        message(&delivery(own, None)),
        Ok(Parsed::Own(Own::Look { .. }))
    ));
    assert!(matches!(
        message(&delivery(own, Some("arn:x"))),
        Ok(Parsed::Events(_))
    ));
    assert!(matches!(
        message(&delivery("hello", None)),
        Err(EventError::NotJson(_))
    ));
    assert_eq!(
        message(&delivery("{\"a\":1}", None)),
        Err(EventError::Unknown)
    );
}

#[test]
fn everything_from_outside_has_a_limit() {
    let large = Delivery {
        body: " ".repeat(EVENT_BYTES_MAX + 1),
        ..Delivery::default()
    };
    assert!(matches!(
        message(&large),
        Err(EventError::TooLarge { what: "body", .. })
    ));
    let record = notification("a", "1")["Records"][0].clone();
    let many = json!({"Records": vec![record; EVENTS_MAX + 1]});
    assert!(matches!(
        document(&many),
        Err(EventError::TooLarge {
            what: "Records",
            ..
        })
    ));
    assert!(matches!(
        document(&notification(&"k".repeat(1_025), "1")),
        Err(EventError::TooLarge { what: "key", .. })
    ));
    assert!(body(&vec![b'a'; BODY_BYTES_MAX + 1], "text/plain").is_err());
    let fields: String = (0..1_001)
        .map(|n| format!("f{n}=1&"))
        .collect::<Vec<_>>()
        .concat();
    assert!(body(fields.as_bytes(), "application/x-www-form-urlencoded").is_err());
    assert!(
        row(
            &format!("{{\"a\":\"{}\"}}", "x".repeat(ROW_BYTES_MAX)),
            None
        )
        .is_err()
    );
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    assert!(body(deep.as_bytes(), "application/json").is_err());
}

#[test]
fn bodies_of_webhooks() {
    assert_eq!(
        body(b"{\"a\":1}", "application/json; charset=utf-8").unwrap(),
        json!({"a": 1})
    );
    assert_eq!(
        body(b"a=1&b=x+y%21&a=2", "application/x-www-form-urlencoded").unwrap(),
        json!({"a": ["1", "2"], "b": "x y!"})
    );
    assert_eq!(
        body(
            b"payload=%7B%22a%22%3A1%7D",
            "application/x-www-form-urlencoded"
        )
        .unwrap(),
        json!({"payload": {"a": 1}})
    );
    assert_eq!(body(b"plain", "text/plain").unwrap(), json!("plain"));
    assert_eq!(body(b"", "application/json").unwrap(), Value::Null);
    assert!(body(b"{", "application/json").is_err() && body(b"\xff", "text/plain").is_err());
    assert_eq!(delivery_of_slack(&json!({"event_id": "Ev1"})), Some("Ev1"));
}

#[test]
fn rows_are_known_by_cursor_and_content() {
    let (identity, at, value) = row(r#"{"id": 7, "kind": "x"}"#, Some("id")).unwrap();
    assert_eq!((at.as_deref(), &value["kind"]), (Some("7"), &json!("x")));
    assert!(identity.starts_with("row:7:"));
    assert_ne!(
        identity,
        row(r#"{"id": 7, "kind": "y"}"#, Some("id")).unwrap().0
    );
    assert!(row(r#"{"id": null}"#, Some("id")).is_err() && row("[1]", None).is_err());
}

#[test]
fn answers_are_known_by_tag_time_or_content() {
    let read = |headers: &[(&str, &str)], body: &str| {
        answer(
            headers.iter().map(|(key, value)| (*key, value.as_bytes())),
            body.as_bytes(),
        )
        .unwrap()
    };
    let tagged = read(&[("ETag", "W/\"5\""), ("Last-Modified", "x")], "a");
    assert_eq!(tagged.identity, "etag:\"5\"");
    assert_eq!(read(&[("last-modified", "x")], "a").identity, "modified:x");
    assert_ne!(read(&[], "a").identity, read(&[], "b").identity);
    let json = read(&[("content-type", "application/json")], "{\"a\":1}");
    assert_eq!(json.body["a"], 1);
    assert_eq!(
        read(&[("content-type", "application/json")], "oops").body,
        "oops"
    );
}
