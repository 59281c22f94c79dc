//! Events of an execution: a reader that comes back misses nothing, whenever the connection was lost.

use std::collections::BTreeMap;

use axum::Router;
use axum::body::Body;
use axum::http::Method;
use futures_util::StreamExt as _;
use operon_core::exec::{Shard, State, Time};
use operon_core::plan::{Layout, ShardId};
use operon_engine::plans::Plans;
use operon_engine::ports::{ExecutionId, Write};
use operon_testkit::contract::rows;
use operon_testkit::memory::MemoryPorts;
use serde_json::Value;

use crate::world::{TOKEN, application, deployed, local, request, started};

const FLOW: &str = "id: hello\nnamespace: demo\ntasks:\n  - {id: a, type: log, message: hi}\n  - {id: b, type: log, message: hi}\n  - {id: c, type: log, message: hi}\n";

/// Events of a stream until `most` have come, or nothing comes for a second: name, id and task.
async fn events(application: &Router, id: &str, last: &str, most: usize) -> Vec<[String; 3]> {
    let bearer = format!("Bearer {TOKEN}");
    let mut headers = vec![("authorization", bearer.as_str())];
    if !last.is_empty() {
        headers.push(("last-event-id", last));
    }
    let path = format!("/api/v1/executions/{id}/events");
    let request = request(&Method::GET, &path, &headers, Body::empty());
    let answer = tower::ServiceExt::oneshot(application.clone(), request);
    let mut body = answer.await.unwrap().into_body().into_data_stream();
    let mut found = Vec::new();
    let second = std::time::Duration::from_secs(1);
    while found.len() < most {
        let Ok(Some(bytes)) = tokio::time::timeout(second, body.next()).await else {
            break;
        };
        let bytes = bytes.unwrap();
        let text = String::from_utf8_lossy(&bytes);
        let mut event = [String::new(), String::new(), String::new()];
        for line in text.lines() {
            match line.split_once(':').unwrap_or((line, "")) {
                ("event", name) => name.trim().clone_into(&mut event[0]),
                ("id", id) => id.trim().clone_into(&mut event[1]),
                ("data", data) => {
                    let data: Value = serde_json::from_str(data).unwrap();
                    let task = data["task"].as_str().unwrap_or_default();
                    task.clone_into(&mut event[2]);
                }
                _ => {}
            }
        }
        if !event[0].is_empty() {
            found.push(event);
        }
    }
    found
}

fn tasks(events: &[[String; 3]]) -> Vec<String> {
    let runs = events.iter().filter(|event| event[0] == "task-run");
    let mut tasks: Vec<String> = runs.map(|event| event[2].clone()).collect();
    tasks.sort();
    tasks.dedup();
    tasks
}

/// An execution whose three task runs have succeeded, with the rows of these.
async fn execution(memory: &MemoryPorts, with_rows: &[&str]) -> (Router, String) {
    let application = application(memory, local());
    deployed(&application, "demo/hello", FLOW).await;
    let id = started(&application, "demo", "hello").await;
    let execution: ExecutionId = id.parse().unwrap();
    let store = memory.ports().store;
    let row = store.execution(&execution).await.unwrap().unwrap();
    let plan = Plans::default()
        .get(&*store, &row.meta.plan_hash)
        .await
        .unwrap();
    let layout = Layout::of(&plan.plan, &ShardId::ROOT).unwrap();
    let mut shard = Shard::fresh(&layout, Time(0));
    for slot in &mut shard.slots {
        slot.state = State::Success;
    }
    let bytes = shard.encode();
    let there = store.shards(&execution).await.unwrap();
    let expected = there.first().map_or(0, |(_, shard)| shard.version);
    let mut write = rows::shard_write(&id, ShardId::ROOT, expected, &bytes);
    write.due_ms = None;
    store
        .write(Write {
            shards: vec![write],
            ..Write::default()
        })
        .await
        .unwrap();
    tell(memory, &id, with_rows).await;
    (application, id)
}

/// Writes the rows of these tasks.
async fn tell(memory: &MemoryPorts, id: &str, names: &[&str]) {
    let slots: BTreeMap<&str, u16> = [("a", 1), ("b", 2), ("c", 3)].into();
    let attempts = names.iter().map(|name| {
        let run = rows::run(ShardId::ROOT, slots[name]);
        let mut row = rows::attempt(id, run, 1);
        (*name).clone_into(&mut row.task);
        (*name).clone_into(&mut row.name);
        row
    });
    let write = Write {
        attempts: attempts.collect(),
        ..Write::default()
    };
    memory.ports().store.write(write).await.unwrap();
}

#[tokio::test]
async fn whoever_got_one_of_several_events_gets_the_others_after_coming_back() {
    let memory = MemoryPorts::default();
    let (application, id) = execution(&memory, &["a", "b", "c"]).await;
    let first = events(&application, &id, "", 1).await;
    assert_eq!(first.len(), 1);
    let rest = events(&application, &id, &first[0][1], usize::MAX).await;
    let mut all = tasks(&first);
    all.extend(tasks(&rest));
    all.sort();
    all.dedup();
    assert_eq!(all, ["a", "b", "c"], "{first:?} {rest:?}");
}

#[tokio::test]
async fn a_row_that_is_written_after_its_shard_is_told_to_who_came_back_before_it() {
    let memory = MemoryPorts::default();
    let (application, id) = execution(&memory, &["a", "b"]).await;
    let first = events(&application, &id, "", 3).await;
    assert_eq!(tasks(&first), ["a", "b"]);
    tell(&memory, &id, &["c"]).await;
    let last = &first.last().unwrap()[1];
    let rest = events(&application, &id, last, usize::MAX).await;
    assert!(tasks(&rest).contains(&"c".to_owned()), "{first:?} {rest:?}");
}

#[tokio::test]
async fn whoever_has_everything_is_told_nothing_again() {
    let memory = MemoryPorts::default();
    let (application, id) = execution(&memory, &["a", "b", "c"]).await;
    // Three looks: told, read again, and settled with the next change.
    let all = events(&application, &id, "", usize::MAX).await;
    assert_eq!(tasks(&all), ["a", "b", "c"]);
    let store = memory.ports().store;
    let execution: ExecutionId = id.parse().unwrap();
    let (_, shard) = store.shards(&execution).await.unwrap().remove(0);
    let settled = format!("0={}", shard.version);
    let rest = events(&application, &id, &settled, usize::MAX).await;
    assert_eq!(tasks(&rest), [""; 0], "{rest:?}");
}
