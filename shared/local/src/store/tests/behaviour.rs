//! The contracts of the ports, and what only this store does.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use operon_core::plan::ShardId;
use operon_engine::ports::{
    Clock, ExecutionFilter, KvEntry, Metric, MetricKind, SaveOutcome, ShardKey, ShardRow,
    StateStore, StoreError, Usage, Write,
};
use operon_testkit::contract;
use operon_testkit::memory::TestClock;
use serde_json::{Map, Value, json};

use super::{SqliteStore, attempt, execution, file, fresh, id, run, save, shard_write};

#[tokio::test]
async fn state_keeps_its_contract() {
    let directory = tempfile::tempdir().unwrap();
    let clock = Arc::<TestClock>::default();
    let store = SqliteStore::open_with(&file(&directory), clock.clone()).unwrap();
    contract::state(&store, &clock).await;
}

#[tokio::test]
async fn an_execution_is_created_once_and_keeps_its_content() {
    let (_directory, store) = fresh();
    contract::state::an_execution_is_created_once_and_keeps_its_content(&store).await;
}

#[tokio::test]
async fn due_shards_come_longest_overdue_first() {
    let (_directory, store) = fresh();
    contract::state::due_shards_come_longest_overdue_first(&store).await;
}

#[tokio::test]
async fn writers_that_race_all_get_an_outcome_and_one_wins() {
    let (_directory, store) = fresh();
    let store = Arc::new(store);
    let racers: Vec<_> = (0..200_u8)
        .map(|n| {
            let store = Arc::clone(&store);
            tokio::spawn(
                async move { save(&store, shard_write("a", ShardId::ROOT, 0, &[n])).await },
            )
        })
        .collect();
    let mut winners = 0;
    let mut seen = Vec::new();
    for racer in racers {
        match racer.await.unwrap() {
            SaveOutcome::Saved(version) => {
                assert_eq!(version, 1);
                winners += 1;
            }
            SaveOutcome::Conflict(row) => seen.push(row.unwrap()),
        }
    }
    assert_eq!(winners, 1);
    assert_eq!(seen.len(), 199);
    assert!(seen.windows(2).all(|pair| pair[0] == pair[1]));
}

#[tokio::test]
async fn a_failing_piece_of_a_group_leaves_nothing_and_fails_alone() {
    let (_directory, store) = fresh();
    let store = Arc::new(store);
    // Enough at once that several share a transaction with the failing ones.
    let pieces: Vec<_> = (0..300_u16)
        .map(|n| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let write = shard_write("a", ShardId::of_part(n), 0, b"s");
                store
                    .writer
                    .run(move |connection| {
                        let outcome = super::super::shards::save(connection, &write)?;
                        if n % 50 == 7 {
                            return Err(StoreError::Failed(format!("piece {n}")));
                        }
                        Ok(outcome)
                    })
                    .await
            })
        })
        .collect();
    for (n, piece) in pieces.into_iter().enumerate() {
        match piece.await.unwrap() {
            Ok(outcome) => {
                assert_ne!(n % 50, 7);
                assert_eq!(outcome, SaveOutcome::Saved(1));
            }
            Err(error) => {
                assert_eq!(n % 50, 7);
                assert!(error.to_string().contains(&format!("piece {n}")));
            }
        }
    }
    let stored = store.shards(&id("a")).await.unwrap();
    assert_eq!(stored.len(), 294);
    assert!(stored.iter().all(|(shard, _)| shard.part() % 50 != 7));
}

#[tokio::test]
async fn an_attempt_comes_back_as_it_was_put() {
    let (_directory, store) = fresh();
    let mut row = attempt("a", run(ShardId::ROOT.of_loop(3, 70_000), 9), 2);
    row.item = Some(Value::Null);
    row.parent = Some("each".to_owned());
    row.state = "FAILED".to_owned();
    row.reason = Some("exit code".to_owned());
    row.message = Some("ended with exit code -9: \0 \u{1f9ec}".to_owned());
    row.exit_code = Some(-9);
    (row.started_ms, row.ended_ms) = (Some(2), Some(3));
    row.outputs = Map::from_iter([("z".to_owned(), json!([1])), ("a".to_owned(), json!({}))]);
    row.outputs_uri = Some("operon:///x".to_owned());
    row.metrics = vec![Metric {
        name: "n".to_owned(),
        kind: MetricKind::Timer,
        value: 0.25,
        tags: [("k".to_owned(), "v".to_owned())].into(),
    }];
    row.usage = Usage {
        peak_rss_bytes: u64::from(u32::MAX) + 1,
        cpu_seconds: 1.5,
        provision_seconds: 12.25,
    };
    let first = attempt("a", row.task_run.clone(), 1);
    for _ in 0..2 {
        let write = Write {
            attempts: vec![row.clone(), first.clone()],
            ..Write::default()
        };
        store.write(write).await.unwrap();
    }
    let stored = store.attempts(&id("a"), &row.task_run).await.unwrap();
    assert_eq!(stored, [first, row.clone()]);
    assert_eq!(
        store.attempts_of_task(&id("a"), "align", 9).await.unwrap(),
        stored
    );
    // A metric that is no number must not make the row unreadable.
    row.metrics[0].value = f64::NAN;
    row.usage.cpu_seconds = f64::INFINITY;
    let write = Write {
        attempts: vec![row.clone()],
        ..Write::default()
    };
    store.write(write).await.unwrap();
    let stored = store.attempts(&id("a"), &row.task_run).await.unwrap();
    assert!(stored[1].metrics.is_empty());
}

#[tokio::test]
async fn locks_are_conditional_and_queues_ordered() {
    let (_directory, store) = fresh();
    let saved = store.save_lock("k", 0, b"one", Some(50)).await.unwrap();
    assert_eq!(saved, SaveOutcome::Saved(1));
    let conflict = store.save_lock("k", 0, b"x", None).await.unwrap();
    let row = ShardRow {
        version: 1,
        bytes: b"one".to_vec(),
    };
    assert_eq!(conflict, SaveOutcome::Conflict(Some(row.clone())));
    assert_eq!(store.lock("k").await.unwrap(), Some(row));
    assert_eq!(store.lock("other").await.unwrap(), None);
    assert_eq!(store.due_locks(49, 9).await.unwrap(), []);
    assert_eq!(
        store.due_locks(50, 9).await.unwrap(),
        [("k".to_owned(), 50)]
    );

    for (name, created_ms) in [("old", 1), ("new", 3), ("middle", 2), ("urgent", 9)] {
        let row = execution(name, created_ms);
        store.create(&row, b"").await.unwrap();
    }
    for name in ["new", "urgent", "old", "middle", "old"] {
        let priority = if name == "urgent" { 5 } else { 0 };
        let entered = store.set_queued("k", &id(name), priority, true).await;
        entered.unwrap();
    }
    store.set_queued("k2", &id("old"), 0, true).await.unwrap();
    let order = async || -> Vec<String> {
        let ids = store.queued("k", 9).await.unwrap();
        ids.into_iter().map(String::from).collect()
    };
    assert_eq!(order().await, ["urgent", "old", "middle", "new"]);
    assert_eq!(store.queued("k", 2).await.unwrap().len(), 2);
    for _ in 0..2 {
        store.set_queued("k", &id("old"), 0, false).await.unwrap();
    }
    assert_eq!(order().await, ["urgent", "middle", "new"]);
    assert_eq!(store.queued("k2", 9).await.unwrap(), [id("old")]);
}

struct FixedClock(AtomicU64);

impl Clock for FixedClock {
    fn now_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[tokio::test]
async fn pairs_expire_and_are_listed_by_prefix() {
    let directory = tempfile::tempdir().unwrap();
    let clock = Arc::new(FixedClock(AtomicU64::new(0)));
    let store = SqliteStore::open_with(&file(&directory), clock.clone()).unwrap();
    let entry = |key: &str, value: Value, expires_ms| KvEntry {
        key: key.to_owned(),
        value,
        expires_ms,
    };
    let lease = entry("lease", json!(1), Some(100));
    assert!(store.kv_set("ns", &lease, false).await.unwrap());
    let next = entry("lease", json!(2), Some(300));
    assert!(!store.kv_set("ns", &next, false).await.unwrap());
    assert_eq!(store.kv("ns", "lease", 99).await.unwrap(), Some(lease));
    assert_eq!(store.kv("ns", "lease", 100).await.unwrap(), None);
    // What has expired does not stand in the way.
    clock.0.store(100, Ordering::Relaxed);
    assert!(store.kv_set("ns", &next, false).await.unwrap());
    assert!(!store.kv_set("ns", &next, false).await.unwrap());
    assert!(store.kv_set("ns", &next, true).await.unwrap());

    for key in ["a", "a%", "a%b", "a%\u{10ffff}", "b", "A%"] {
        let entry = entry(key, Value::Null, None);
        assert!(store.kv_set("ns", &entry, true).await.unwrap());
    }
    let other = entry("a%c", Value::Null, None);
    assert!(store.kv_set("ns2", &other, true).await.unwrap());
    let list = async |prefix, now| -> Vec<String> {
        let entries = store.kv_list("ns", prefix, now).await.unwrap();
        entries.into_iter().map(|entry| entry.key).collect()
    };
    assert_eq!(list("a%", 0).await, ["a%", "a%b", "a%\u{10ffff}"]);
    assert_eq!(
        list("", 300).await,
        ["A%", "a", "a%", "a%b", "a%\u{10ffff}", "b"]
    );
    assert_eq!(store.purge_expired(299).await.unwrap(), 0);
    assert_eq!(store.purge_expired(300).await.unwrap(), 1);
    assert!(store.kv_delete("ns", "a").await.unwrap());
    assert!(!store.kv_delete("ns", "a").await.unwrap());
    let large = entry("large", Value::from("x".repeat(1 << 20)), None);
    let error = store.kv_set("ns", &large, true).await.unwrap_err();
    assert!(error.to_string().contains("at most 307200"), "{error}");
    let long = entry(&"k".repeat(1025), Value::Null, None);
    let error = store.kv_set("ns", &long, true).await.unwrap_err();
    assert!(error.to_string().contains("at most 1024"), "{error}");
}

#[tokio::test]
async fn state_outlives_the_store() {
    let (directory, store) = fresh();
    save(&store, shard_write("a", ShardId::ROOT, 0, b"s")).await;
    drop(store);
    let store = SqliteStore::open(&file(&directory)).unwrap();
    let key = ShardKey {
        execution: id("a"),
        shard: ShardId::ROOT,
    };
    assert_eq!(store.shard(&key).await.unwrap().unwrap().bytes, b"s");
}

#[tokio::test]
async fn records_keep_their_contract() {
    let (_directory, store) = fresh();
    contract::records(&store).await;
}

#[tokio::test]
async fn labels_that_people_gave_survive_what_the_engine_writes() {
    let (_directory, store) = fresh();
    let row = execution("a", 10);
    store.create(&row, b"plan").await.unwrap();
    let give = |pairs: &[(&str, Option<&str>)]| {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.map(str::to_owned)))
            .collect::<std::collections::BTreeMap<_, _>>()
    };
    let found = async |key: &str, value: &str| {
        let filter = ExecutionFilter {
            labels: vec![(key.to_owned(), value.to_owned())],
            limit: 10,
            ..ExecutionFilter::default()
        };
        store.executions(&filter).await.unwrap().len()
    };
    let id = &row.meta.id;
    assert!(
        store
            .set_labels(id, &give(&[("owner", Some("x"))]))
            .await
            .unwrap()
    );
    let mut next = row.clone();
    "RUNNING".clone_into(&mut next.state);
    next.labels.insert("added".to_owned(), "1".to_owned());
    let write = Write {
        executions: vec![next],
        ..Write::default()
    };
    store.write(write).await.unwrap();
    let there = store.execution(id).await.unwrap().unwrap();
    assert_eq!(there.labels.get("owner").map(String::as_str), Some("x"));
    assert_eq!(
        (found("owner", "x").await, found("added", "1").await),
        (1, 1)
    );
    store
        .set_labels(id, &give(&[("owner", None), ("added", None)]))
        .await
        .unwrap();
    let there = store.execution(id).await.unwrap().unwrap();
    assert!(!there.labels.contains_key("owner") && !there.labels.contains_key("added"));
    assert_eq!(
        (found("owner", "x").await, found("added", "1").await),
        (0, 0)
    );
    assert!(
        !store
            .set_labels(&"none".parse().unwrap(), &give(&[]))
            .await
            .unwrap()
    );
}
