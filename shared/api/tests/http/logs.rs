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

use crate::world::{TOKEN, call, deployed, local, request, send, started, with_logs};

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

/// Every attempt has one line, and the log of the attempt in slot 0 of the first execution is long.
struct Long;

const LINES: u64 = 120_000;
/// The only line of the long log with a word in it.
const NEEDLE: u64 = 110_000;

impl Long {
    fn line(attempt: &AttemptId, seq: u64) -> LogLine {
        let word = if seq == NEEDLE { "needle" } else { "hay" };
        LogLine {
            seq,
            time_ms: seq,
            level: LogLevel::Info,
            text: format!("{word} of {}", attempt.execution),
        }
    }

    fn end(attempt: &AttemptId) -> u64 {
        if attempt.task_run.slot == 0 { LINES } else { 1 }
    }
}

#[async_trait::async_trait]
impl LogReader for Long {
    async fn read(
        &self,
        attempt: &AttemptId,
        from: u64,
        limit: usize,
    ) -> Result<LogLines, StoreError> {
        let to = (from + limit as u64).min(Self::end(attempt));
        let lines: Vec<LogLine> = (from..to).map(|seq| Self::line(attempt, seq)).collect();
        Ok(LogLines {
            lines,
            ended: to == Self::end(attempt),
        })
    }

    async fn tail(
        &self,
        attempt: &AttemptId,
        before: Option<u64>,
        limit: usize,
    ) -> Result<LogLines, StoreError> {
        let to = before.unwrap_or(u64::MAX).min(Self::end(attempt));
        let from = to.saturating_sub(limit as u64);
        let lines = (from..to).map(|seq| Self::line(attempt, seq)).collect();
        Ok(LogLines { lines, ended: true })
    }
}

/// An execution with so many attempts.
async fn long(memory: &MemoryPorts, attempts: u16) -> (Router, String) {
    let application = with_logs(memory, local(), Arc::new(Long));
    let flow = "id: hello\nnamespace: demo\ntasks:\n  - id: say\n    type: log\n    message: hi\n";
    deployed(&application, "demo/hello", flow).await;
    let id = started(&application, "demo", "hello").await;
    let store = memory.ports().store;
    let mut row = store
        .execution(&id.parse().unwrap())
        .await
        .unwrap()
        .unwrap();
    row.ended_ms = Some(1_000_000);
    "SUCCESS".clone_into(&mut row.state);
    let attempts = (0..attempts).map(|slot| {
        let run = operon_testkit::contract::rows::run(ShardId::ROOT, slot);
        let mut row = operon_testkit::contract::rows::attempt(&id, run, 1);
        row.ended_ms = Some(2);
        row
    });
    let write = Write {
        attempts: attempts.collect(),
        executions: vec![row],
        ..Write::default()
    };
    store.write(write).await.unwrap();
    (application, id)
}

#[tokio::test]
async fn a_search_says_where_it_stopped_and_goes_on_there() {
    let (application, id) = long(&MemoryPorts::default(), 1).await;
    let ask = async |query: String| {
        let path = format!("/api/v1/executions/{id}/logs?q=needle&taskRun=0:0&{query}");
        call(&application, Method::GET, &path, &Value::Null)
            .await
            .json()
    };
    // Forwards.
    let (mut after, mut pages, mut found) = (String::new(), 0, Vec::new());
    loop {
        let page = ask(after.clone()).await;
        pages += 1;
        found.extend(page["items"].as_array().unwrap().clone());
        assert_eq!(
            page["more"],
            json!(!page["searchedUpTo"].is_null()),
            "{page}"
        );
        if page["more"] == json!(false) {
            assert_eq!(page["ended"], json!(true), "{page}");
            break;
        }
        assert_eq!(
            page["searchedUpTo"].to_string(),
            page["next"].as_str().unwrap()
        );
        after = format!("after={}", page["searchedUpTo"]);
    }
    assert_eq!((pages, found.len()), (3, 1));
    assert_eq!(found[0]["seq"], json!(NEEDLE));
    // Backwards from the needle on: everything before it is looked through, and it says when.
    let (mut before, mut pages) = (NEEDLE, 0);
    loop {
        let page = ask(format!("before={before}")).await;
        pages += 1;
        assert_eq!(page["items"], json!([]));
        if page["more"] == json!(false) {
            break;
        }
        before = page["searchedUpTo"].as_u64().unwrap();
    }
    assert_eq!(pages, 3);
    let page = ask(format!("before={LINES}&limit=1")).await;
    assert_eq!(
        (&page["items"][0]["seq"], &page["searchedUpTo"]),
        (&json!(NEEDLE), &json!(NEEDLE))
    );
}

#[tokio::test]
async fn the_log_of_many_attempts_comes_in_pages() {
    let attempts = 2_500;
    let (application, id) = long(&MemoryPorts::default(), attempts).await;
    let (mut cursor, mut seen, mut pages) = (String::new(), 0, 0);
    loop {
        let path = format!("/api/v1/executions/{id}/logs?q=hay&limit=1000&cursor={cursor}");
        let page = call(&application, Method::GET, &path, &Value::Null).await;
        assert_eq!(page.status, axum::http::StatusCode::OK, "{}", page.text);
        let page = page.json();
        let runs = page["items"].as_array().unwrap();
        seen += runs.iter().filter(|line| line["taskRun"] != "0:0").count();
        pages += 1;
        assert_eq!(page["leftOut"], Value::Null);
        if page["more"] == json!(false) {
            assert_eq!(page["ended"], json!(true));
            break;
        }
        page["next"].as_str().unwrap().clone_into(&mut cursor);
        assert!(pages < 1000);
    }
    assert_eq!(seen, usize::from(attempts) - 1);
}

#[tokio::test]
async fn what_a_replay_reused_has_the_log_of_what_was_executed() {
    let memory = MemoryPorts::default();
    let (application, old) = long(&memory, 2).await;
    let new = started(&application, "demo", "hello").await;
    let run = operon_testkit::contract::rows::run(ShardId::ROOT, 1);
    let store = memory.ports().store;
    let mut row = store
        .attempts(&old.parse().unwrap(), &run)
        .await
        .unwrap()
        .remove(0);
    row.execution = new.parse().unwrap();
    row.reason = Some(operon_engine::replay::REUSED.to_owned());
    row.message = Some(format!("reused from execution {old}"));
    let write = Write {
        attempts: vec![row],
        ..Write::default()
    };
    store.write(write).await.unwrap();
    let expected = format!("hay of {old}");
    let get = async |path: &str| {
        let path = format!("/api/v1/executions/{new}/logs{path}");
        call(&application, Method::GET, &path, &Value::Null).await
    };
    for query in ["?taskRun=0:1", "", "?taskRun=0:1&before=9"] {
        let page = get(query).await.json();
        assert_eq!(page["items"][0]["text"], json!(expected), "{query}: {page}");
        assert_eq!(page["items"][0]["taskRun"], json!("0:1"), "{query}: {page}");
    }
    for query in [
        "/download?taskRun=0:1",
        "/download",
        "/stream?taskRun=0:1",
        "/stream",
    ] {
        let text = get(query).await.text;
        assert!(text.contains(&expected), "{query}: {text}");
    }
}

#[tokio::test]
async fn a_log_is_where_it_was_written_whatever_was_replayed_since() {
    let store = MemoryPorts::default().ports().store;
    let row = |execution: &str, slot: u16, from: Option<&str>| {
        let run = operon_testkit::contract::rows::run(ShardId::ROOT, slot);
        let mut row = operon_testkit::contract::rows::attempt(execution, run, 2);
        "say".clone_into(&mut row.name);
        row.reason = from.map(|_| operon_engine::replay::REUSED.to_owned());
        row.message = from.map(|of| format!("reused from execution {of}"));
        row
    };
    let id = AttemptRow::id;
    // The revision in between has moved the task.
    let last = row("c", 7, Some("b"));
    let write = Write {
        attempts: vec![row("a", 3, None), row("b", 3, Some("a")), last.clone()],
        ..Write::default()
    };
    store.write(write).await.unwrap();
    let executed = async |row: &AttemptRow| {
        let reuse = operon_engine::replay::Reuse::of(row).unwrap();
        reuse.executed(&*store, &id(row)).await.unwrap()
    };
    assert_eq!(executed(&last).await, id(&row("a", 3, None)));
    // Of an execution that is gone nothing more is known.
    let orphan = row("d", 1, Some("gone"));
    assert_eq!(executed(&orphan).await, id(&orphan));
}
