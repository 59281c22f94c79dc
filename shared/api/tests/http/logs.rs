//! The log of a whole execution: every line once, by time, wherever a reader goes on.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::Method;
use operon_core::plan::ShardId;
use operon_engine::ports::{
    AttemptId, AttemptRow, ExecutionId, LogLevel, LogLine, LogLines, LogReader, StoreError,
    TaskRunKey, Usage, Write,
};
use operon_testkit::memory::MemoryPorts;
use serde_json::{Map, Value, json};

use crate::world::{TOKEN, call, local, request, send, with_logs};

/// The log of the attempt in slot N: lines at these times.
const TIMES: [&[u64]; 4] = [&[0, 10, 20, 40], &[5, 15, 25], &[], &[30, 30, 35]];

struct Logs;

impl Logs {
    fn lines(attempt: &AttemptId) -> Vec<LogLine> {
        let times = TIMES
            .get(usize::from(attempt.task_run.slot))
            .copied()
            .unwrap_or_default();
        (0..)
            .zip(times)
            .map(|(seq, time_ms)| LogLine {
                seq,
                time_ms: *time_ms,
                level: LogLevel::Info,
                text: format!("{}/{seq}", attempt.task_run.slot),
            })
            .collect()
    }
}

#[async_trait::async_trait]
impl LogReader for Logs {
    async fn read(
        &self,
        attempt: &AttemptId,
        from: u64,
        limit: usize,
    ) -> Result<LogLines, StoreError> {
        let lines = Self::lines(attempt)
            .into_iter()
            .filter(|line| line.seq >= from);
        let lines: Vec<LogLine> = lines.take(limit).collect();
        // One has no end marker: it belongs to an attempt that was lost.
        let ended = attempt.task_run.slot != 1;
        Ok(LogLines { lines, ended })
    }

    async fn tail(&self, _: &AttemptId, _: Option<u64>, _: usize) -> Result<LogLines, StoreError> {
        Ok(LogLines::default())
    }
}

/// In the order of time; those of one time in the order in which their attempts began.
const EXPECTED: [&str; 10] = [
    "0/0", "1/0", "0/1", "1/1", "0/2", "1/2", "3/0", "3/1", "3/2", "0/3",
];

async fn execution() -> (Router, String) {
    let memory = MemoryPorts::default();
    let application = with_logs(&memory, local(), Arc::new(Logs));
    let bearer = format!("Bearer {TOKEN}");
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/yaml"),
        ("if-none-match", "*"),
    ];
    let flow = "id: hello\nnamespace: demo\ntasks:\n  - id: say\n    type: log\n    message: hi\n";
    let put = request(
        &Method::PUT,
        "/api/v1/flows/demo/hello",
        &headers,
        Body::from(flow),
    );
    send(&application, put).await;
    let wish = json!({"namespace": "demo", "flow": "hello"});
    let made = call(&application, Method::POST, "/api/v1/executions", &wish)
        .await
        .json();
    let id: ExecutionId = made["id"].as_str().unwrap().parse().unwrap();
    let store = memory.ports().store;
    let mut row = store.execution(&id).await.unwrap().unwrap();
    row.ended_ms = Some(100);
    "SUCCESS".clone_into(&mut row.state);
    let attempt = |slot: u16, created_ms: u64| AttemptRow {
        execution: id.clone(),
        task_run: TaskRunKey {
            shard: ShardId::ROOT,
            slot,
        },
        attempt: 1,
        task: "say".to_owned(),
        name: "say".to_owned(),
        item: None,
        parent: None,
        state: "SUCCESS".to_owned(),
        reason: None,
        message: None,
        exit_code: None,
        created_ms,
        started_ms: Some(created_ms),
        ended_ms: Some(100),
        outputs: Map::new(),
        outputs_uri: None,
        metrics: Vec::new(),
        usage: Usage::default(),
    };
    let write = Write {
        attempts: vec![attempt(0, 0), attempt(1, 5), attempt(2, 6), attempt(3, 30)],
        executions: vec![row],
        ..Write::default()
    };
    store.write(write).await.unwrap();
    (application, id.to_string())
}

#[tokio::test]
async fn pages_of_any_size_give_every_line_once_by_time() {
    let (application, id) = execution().await;
    for limit in [1, 2, 3, 50] {
        let mut seen = Vec::new();
        let mut cursor = String::new();
        loop {
            let path = format!("/api/v1/executions/{id}/logs?limit={limit}&cursor={cursor}");
            let page = call(&application, Method::GET, &path, &Value::Null)
                .await
                .json();
            let items = page["items"].as_array().unwrap();
            seen.extend(
                items
                    .iter()
                    .map(|line| line["text"].as_str().unwrap().to_owned()),
            );
            page["next"].as_str().unwrap().clone_into(&mut cursor);
            if page["ended"] == json!(true) {
                break;
            }
            assert!(seen.len() <= EXPECTED.len(), "{seen:?}");
        }
        assert_eq!(seen, EXPECTED, "{limit} lines a page");
    }
}

#[tokio::test]
async fn a_stream_goes_on_after_any_line() {
    let (application, id) = execution().await;
    let bearer = format!("Bearer {TOKEN}");
    let path = format!("/api/v1/executions/{id}/logs/stream");
    let read = async |last: Option<&str>| -> Vec<(String, Value)> {
        let mut headers = vec![("authorization", bearer.as_str())];
        headers.extend(last.map(|last| ("last-event-id", last)));
        let text = send(
            &application,
            request(&Method::GET, &path, &headers, Body::empty()),
        )
        .await
        .text;
        let field = |event: &str, name: &str| {
            let line = event
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            line.unwrap_or_default().to_owned()
        };
        let events = text
            .split("\n\n")
            .filter(|event| event.contains("event: line"));
        events
            .map(|event| {
                let data: Value = serde_json::from_str(&field(event, "data")).unwrap();
                (field(event, "id"), data["text"].clone())
            })
            .collect()
    };
    let all = read(None).await;
    let texts: Vec<&Value> = all.iter().map(|(_, text)| text).collect();
    assert_eq!(json!(texts), json!(EXPECTED));
    for (index, (id, _)) in all.iter().enumerate() {
        let rest = read(Some(id)).await;
        assert_eq!(rest, all[index + 1..], "after {id}");
    }
}

#[tokio::test]
async fn a_download_is_by_time_too() {
    let (application, id) = execution().await;
    let path = format!("/api/v1/executions/{id}/logs/download");
    let text = call(&application, Method::GET, &path, &Value::Null)
        .await
        .text;
    let lines: Vec<&str> = text
        .lines()
        .map(|line| line.rsplit(' ').next().unwrap())
        .collect();
    assert_eq!(lines, EXPECTED);
}
