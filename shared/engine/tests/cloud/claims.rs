//! Claims of workers.

use operon_testkit::memory::MemoryPorts;

use operon_engine::claims::{Halted, Taken, halt, is_halted, release, take};
use operon_engine::ports::{AttemptId, Clock as _};
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
    let at = |ms: u64| ports.clock.now_ms() + ms;
    assert_eq!(
        take(records, &id, at(100), at(10), true).await.unwrap(),
        Taken::Mine
    );
    let again = take(records, &id, at(200), at(50), true).await.unwrap();
    assert_eq!(again, Taken::Running(at(100)));
    assert_eq!(
        take(records, &id, at(300), at(100), false).await.unwrap(),
        Taken::Gone
    );
    assert_eq!(
        take(records, &id, at(300), at(100), true).await.unwrap(),
        Taken::Mine
    );
}

#[tokio::test]
async fn what_was_stopped_before_it_began_never_begins() {
    let ports = MemoryPorts::default();
    let records = &*ports.records;
    let id = id();
    let at = |ms: u64| ports.clock.now_ms() + ms;
    assert_eq!(halt(records, &id, at(10)).await.unwrap(), Halted::Now);
    assert_eq!(
        take(records, &id, at(100), at(11), true).await.unwrap(),
        Taken::Stopped
    );
    assert_eq!(halt(records, &id, at(12)).await.unwrap(), Halted::Now);
}

#[tokio::test]
async fn who_executes_is_told_to_stop() {
    let ports = MemoryPorts::default();
    let records = &*ports.records;
    let id = id();
    let at = |ms: u64| ports.clock.now_ms() + ms;
    take(records, &id, at(100), at(10), true).await.unwrap();
    assert!(!is_halted(records, &id, at(20)).await.unwrap());
    assert_eq!(
        halt(records, &id, at(20)).await.unwrap(),
        Halted::Until(at(100))
    );
    assert!(is_halted(records, &id, at(20)).await.unwrap());
    release(records, &id, at(30)).await.unwrap();
    assert_eq!(halt(records, &id, at(31)).await.unwrap(), Halted::Now);
}
