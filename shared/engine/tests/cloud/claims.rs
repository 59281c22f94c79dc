//! Claims of workers.

use operon_testkit::memory::MemoryPorts;

use operon_engine::claims::{Halted, Taken, halt, is_halted, release, take};
use operon_engine::ports::AttemptId;
use serde_json::json;

fn id() -> AttemptId {
    serde_json::from_value(json!({
        "execution": "e", "task_run": {"shard": "0", "slot": 1}, "attempt": 1
    }))
    .unwrap()
}

#[tokio::test]
async fn one_worker_at_a_time_and_the_next_only_when_it_is_dead() {
    let ports = MemoryPorts::default();
    let records = &*ports.records;
    let id = id();
    assert_eq!(
        take(records, &id, 100, 10, true).await.unwrap(),
        Taken::Mine
    );
    let again = take(records, &id, 200, 50, true).await.unwrap();
    assert_eq!(again, Taken::Running(100));
    assert_eq!(
        take(records, &id, 300, 100, false).await.unwrap(),
        Taken::Gone
    );
    assert_eq!(
        take(records, &id, 300, 100, true).await.unwrap(),
        Taken::Mine
    );
}

#[tokio::test]
async fn what_was_stopped_before_it_began_never_begins() {
    let ports = MemoryPorts::default();
    let records = &*ports.records;
    let id = id();
    assert_eq!(halt(records, &id, 10).await.unwrap(), Halted::Now);
    assert_eq!(
        take(records, &id, 100, 11, true).await.unwrap(),
        Taken::Stopped
    );
    assert_eq!(halt(records, &id, 12).await.unwrap(), Halted::Now);
}

#[tokio::test]
async fn who_executes_is_told_to_stop() {
    let ports = MemoryPorts::default();
    let records = &*ports.records;
    let id = id();
    take(records, &id, 100, 10, true).await.unwrap();
    assert!(!is_halted(records, &id, 20).await.unwrap());
    assert_eq!(halt(records, &id, 20).await.unwrap(), Halted::Until(100));
    assert!(is_halted(records, &id, 20).await.unwrap());
    release(records, &id, 30).await.unwrap();
    assert_eq!(halt(records, &id, 31).await.unwrap(), Halted::Now);
}
