//! Traces reach a collector as OTLP: one per execution, with a span per task run and attempt.

#![allow(clippy::unwrap_used, missing_docs)]

#[path = "tasks/server.rs"]
mod server;

use std::collections::BTreeMap;

use operon_engine::ports::{AttemptRow, ExecutionRow};
use operon_engine::traces::{Exporter, SPANS_MAX, spans, trace_id};
use serde_json::{Value, json};
use server::{Server, answer};

fn execution() -> ExecutionRow {
    serde_json::from_value(json!({
        "meta": {
            "id": "e1", "namespace": "genomics", "flow": "processing", "revision": 3, "planHash": "", "inputs": {},
            "labels": {}, "trigger": null, "createdMs": 1000, "parent": ["p1", {"shard": "0", "slot": 4}, 2],
            "replayOf": null, "flowDir": null, "priority": 0,
        },
        "state": "FAILED", "reason": "child failed", "startedMs": 1100, "endedMs": 9000, "outputs": {},
        "labels": {"organism": "mpox"},
    }))
    .unwrap()
}

fn attempt(slot: u16, number: u8, name: &str, parent: Option<&str>, state: &str) -> AttemptRow {
    let from = 1200 + u64::from(number) * 1000;
    serde_json::from_value(json!({
        "execution": "e1", "taskRun": {"shard": "0", "slot": slot}, "attempt": number, "task": name, "name": name,
        "item": null, "parent": parent, "state": state, "reason": (state == "FAILED").then_some("exit code"),
        "message": null, "exitCode": 3, "createdMs": from, "startedMs": from + 100, "endedMs": from + 900,
        "outputs": {}, "outputsUri": null, "metrics": [], "usage": {"peakRssBytes": 1, "cpuSeconds": 1.0},
    }))
    .unwrap()
}

fn attempts() -> Vec<AttemptRow> {
    vec![
        attempt(1, 0, "group", None, "FAILED"),
        attempt(2, 1, "qc", Some("group"), "FAILED"),
        attempt(2, 2, "qc", Some("group"), "SUCCESS"),
    ]
}

fn named<'a>(spans: &'a [Value], name: &str) -> &'a Value {
    spans.iter().find(|span| span["name"] == name).unwrap()
}

fn collector(base: &str, variables: &[(&str, &str)]) -> Exporter {
    let mut given: BTreeMap<String, String> = variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    given.insert("OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(), format!("{base}/"));
    Exporter::of(|name| given.get(name).cloned()).unwrap()
}

#[tokio::test]
async fn a_collector_gets_one_trace_per_execution() {
    let server = Server::start(|_| answer("200 OK", "", b"{}")).await;
    let variables = [
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=abc, x-team=ops"),
        ("OTEL_SERVICE_NAME", "operon-test"),
    ];
    let exporter = collector(&server.base, &variables);
    exporter.send(&execution(), &attempts()).await.unwrap();
    let [asked] = server.asked().try_into().unwrap();
    assert!(asked.head.starts_with("POST /v1/traces "), "{}", asked.head);
    for header in [
        "x-key: abc",
        "x-team: ops",
        "content-type: application/json",
    ] {
        assert!(asked.head.to_lowercase().contains(header), "{}", asked.head);
    }
    let body: Value = serde_json::from_str(&asked.body).unwrap();
    let resource = &body["resourceSpans"][0];
    assert_eq!(
        resource["resource"]["attributes"][0],
        json!({"key": "service.name", "value": {"stringValue": "operon-test"}})
    );
    let spans = resource["scopeSpans"][0]["spans"].as_array().unwrap();
    assert_eq!(spans.len(), 5);
    let trace = trace_id(&"e1".parse().unwrap());
    let is_hex = |text: &Value, digits: usize| {
        let text = text.as_str().unwrap();
        text.len() == digits && text.bytes().all(|b| b.is_ascii_hexdigit())
    };
    assert!(is_hex(&json!(trace), 32));
    for span in spans {
        assert_eq!(span["traceId"], trace.as_str());
        assert!(is_hex(&span["spanId"], 16));
    }
    let root = named(spans, "genomics/processing");
    assert!(root.get("parentSpanId").is_none());
    assert_eq!(root["startTimeUnixNano"], "1000000000");
    assert_eq!(root["endTimeUnixNano"], "9000000000");
    assert_eq!(
        root["status"],
        json!({"code": 2, "message": "child failed"})
    );
    assert_eq!(
        root["links"][0]["traceId"],
        trace_id(&"p1".parse().unwrap()).as_str()
    );
    let group = named(spans, "group");
    assert_eq!(group["parentSpanId"], root["spanId"]);
    let run = named(spans, "qc");
    assert_eq!(run["parentSpanId"], group["spanId"]);
    assert_eq!(run["status"]["code"], 1);
    assert_eq!(
        (&run["startTimeUnixNano"], &run["endTimeUnixNano"]),
        (&json!("2200000000"), &json!("4100000000"))
    );
    for (name, code) in [("qc attempt 1", 2), ("qc attempt 2", 1)] {
        let span = named(spans, name);
        assert_eq!(
            (&span["parentSpanId"], &span["status"]["code"]),
            (&run["spanId"], &json!(code))
        );
        assert_eq!(span["events"][0]["name"], "started");
    }
}

#[test]
fn the_same_execution_is_the_same_trace_and_another_is_not() {
    assert_eq!(
        spans(&execution(), &attempts()),
        spans(&execution(), &attempts())
    );
    let id = |text: &str| trace_id(&text.parse().unwrap());
    assert_ne!(id("e1"), id("e2"));
    let all = spans(&execution(), &attempts());
    let ids: std::collections::BTreeSet<_> =
        all.iter().map(|span| span["spanId"].to_string()).collect();
    assert_eq!(ids.len(), all.len());
}

#[test]
fn a_trace_has_a_limit_and_says_what_is_left_out() {
    let many: Vec<AttemptRow> = (0..u16::MAX)
        .take(SPANS_MAX / 2 + 5)
        .map(|slot| attempt(slot, 1, &format!("t{slot}"), None, "SUCCESS"))
        .collect();
    let all = spans(&execution(), &many);
    assert_eq!(all.len(), SPANS_MAX);
    let first = serde_json::to_string(&all[0]["attributes"]).unwrap();
    assert!(
        first.contains("operon.spans_omitted") && first.contains("\"11\""),
        "{first}"
    );
}

#[tokio::test]
async fn what_a_collector_does_not_take_is_said_and_nothing_is_sent_without_one() {
    let server = Server::start(|_| answer("503 Busy", "", b"later")).await;
    let error = collector(&server.base, &[])
        .send(&execution(), &attempts())
        .await;
    assert!(error.unwrap_err().to_string().contains("503"));
    assert!(Exporter::of(|_| None).is_none());
    assert!(Exporter::of(|_| Some(String::new())).is_none());
}
