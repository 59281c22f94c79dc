//! The contract of `StateStore`, method by method.
#![allow(clippy::missing_panics_doc, clippy::unwrap_used, reason = "tests")]

use operon_core::plan::ShardId;
use operon_engine::ports::{
    AttemptRow, ExecutionFilter, KV_BYTES_MAX, KvEntry, Metric, MetricKind, SaveOutcome, ShardKey,
    ShardRow, StateStore, TaskRunKey, Usage, Write,
};
use serde_json::{Map, Value, json};

use super::executions;
use super::rows::{PLAN, attempt, execution, id, run, save, shard_write};
use crate::memory::TestClock;

/// Creating again changes nothing, whatever the content.
pub async fn an_execution_is_created_once_and_keeps_its_content(store: &dyn StateStore) {
    let row = execution("once", 10);
    assert!(store.create(&row, PLAN).await.unwrap());
    let mut other = row.clone();
    "other".clone_into(&mut other.meta.flow);
    assert!(!store.create(&other, PLAN).await.unwrap());
    assert_eq!(
        store.execution(&id("once")).await.unwrap(),
        Some(row.clone())
    );
    let plan = store.plan(&row.meta.plan_hash).await.unwrap();
    assert_eq!(plan.as_deref(), Some(PLAN));
    assert_eq!(store.plan(&"0".repeat(64)).await.unwrap(), None);
    assert_eq!(store.execution(&id("never")).await.unwrap(), None);
}

/// A write of derived state says nothing about what was fixed at creation.
pub async fn derived_state_is_replaced_and_the_fixed_part_kept(store: &dyn StateStore) {
    let row = execution("derived", 10);
    store.create(&row, PLAN).await.unwrap();
    let mut next = row.clone();
    "FAILED".clone_into(&mut next.state);
    next.reason = Some("align failed".to_owned());
    next.started_ms = Some(11);
    next.ended_ms = Some(12);
    next.outputs = Map::from_iter([("n".to_owned(), json!(3))]);
    next.labels.insert("team".to_owned(), "b".to_owned());
    let mut forged = next.clone();
    "elsewhere".clone_into(&mut forged.meta.namespace);
    for _ in 0..2 {
        let write = Write {
            executions: vec![forged.clone()],
            ..Write::default()
        };
        assert_eq!(store.write(write).await.unwrap(), []);
        assert_eq!(
            store.execution(&id("derived")).await.unwrap(),
            Some(next.clone())
        );
    }
    // A restart takes the end back.
    "RUNNING".clone_into(&mut forged.state);
    (forged.reason, forged.ended_ms, forged.outputs) = (None, None, Map::new());
    let write = Write {
        executions: vec![forged.clone()],
        ..Write::default()
    };
    store.write(write).await.unwrap();
    forged.meta = row.meta;
    assert_eq!(store.execution(&id("derived")).await.unwrap(), Some(forged));
}

/// A row replaces none that comes from a newer root shard. Of stores to which several write at a time.
///
/// Not part of [`super::state()`]: a store with a single writer need not look.
pub async fn a_late_writer_replaces_nothing_newer(store: &dyn StateStore) {
    let mut row = execution("late", 10);
    store.create(&row, PLAN).await.unwrap();
    let root = ShardKey::root(&row.meta.id);
    for version in 0..3 {
        save(store, shard_write("late", ShardId::ROOT, version, &[1])).await;
    }
    let mut said = async |state: &str, version: u64| {
        state.clone_into(&mut row.state);
        // So large that a store may keep them apart.
        let text = json!(format!("{state} {version} {}", "x".repeat(2000)));
        row.outputs = Map::from_iter([("text".to_owned(), text)]);
        let write = Write {
            executions: vec![row.clone()],
            read: vec![(root.clone(), version)],
            ..Write::default()
        };
        store.write(write).await.unwrap();
        let stored = store.execution(&id("late")).await.unwrap().unwrap();
        let text = stored.outputs["text"].as_str().unwrap_or_default();
        assert!(text.starts_with(&stored.state), "its own outputs: {text}");
        stored.state
    };
    assert_eq!(said("SUCCESS", 2).await, "SUCCESS");
    assert_eq!(said("RUNNING", 1).await, "SUCCESS");
    assert_eq!(said("RETRIED", 2).await, "RETRIED");
    assert_eq!(said("RUNNING", 3).await, "RUNNING");
}

/// They win over those of the flow and its tasks, and are searched.
pub async fn labels_that_people_gave_survive_what_the_engine_writes(store: &dyn StateStore) {
    let mut row = execution("labels", 20);
    store.create(&row, PLAN).await.unwrap();
    let id = row.meta.id.clone();
    let give = async |pairs: &[(&str, Option<&str>)]| {
        let pairs = pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.map(str::to_owned)));
        store.set_labels(&id, &pairs.collect()).await.unwrap()
    };
    let found = async |key: &str, value: &str| {
        // By the flow, and by what goes on.
        let mut counts = Vec::new();
        for states in [vec![], vec!["CREATED".to_owned(), "RUNNING".to_owned()]] {
            let filter = ExecutionFilter {
                namespace: Some("genomics".to_owned()),
                labels: vec![(key.to_owned(), value.to_owned())],
                states,
                limit: 10,
                ..ExecutionFilter::default()
            };
            counts.push(store.executions(&filter).await.unwrap().len());
        }
        assert_eq!(counts[0], counts[1]);
        counts[0]
    };
    assert!(give(&[("owner", Some("x"))]).await);
    "RUNNING".clone_into(&mut row.state);
    row.labels.insert("added".to_owned(), "1".to_owned());
    let write = Write {
        executions: vec![row.clone()],
        ..Write::default()
    };
    store.write(write.clone()).await.unwrap();
    assert_eq!(
        [found("owner", "x").await, found("added", "1").await],
        [1, 1]
    );
    assert!(give(&[("added", Some("2")), ("owner", None)]).await);
    store.write(write).await.unwrap();
    let counts = [
        found("owner", "x").await,
        found("added", "1").await,
        found("added", "2").await,
    ];
    assert_eq!(counts, [0, 0, 1]);
    let labels = store.execution(&id).await.unwrap().unwrap().labels;
    assert_eq!(labels, [("added".to_owned(), "2".to_owned())].into());
    let nobody = "none".parse().unwrap();
    assert!(
        !store
            .set_labels(&nobody, &std::collections::BTreeMap::new())
            .await
            .unwrap()
    );
}

/// Inputs, triggers and outputs of some hundred kilobytes, in the row and in lists.
pub async fn large_executions_come_back_whole(store: &dyn StateStore) {
    let mut row = execution("large", 5_000_000);
    "large".clone_into(&mut row.meta.namespace);
    row.meta.trigger = json!({"body": "b".repeat(1000)});
    row.meta.inputs = Map::from_iter([("text".to_owned(), json!("i".repeat(200_000)))]);
    assert!(store.create(&row, PLAN).await.unwrap());
    assert_eq!(
        store.execution(&id("large")).await.unwrap(),
        Some(row.clone())
    );
    "SUCCESS".clone_into(&mut row.state);
    row.ended_ms = Some(9);
    row.outputs = Map::from_iter([("text".to_owned(), json!("o".repeat(200_000)))]);
    let write = Write {
        executions: vec![row.clone()],
        ..Write::default()
    };
    store.write(write).await.unwrap();
    let filter = ExecutionFilter {
        namespace: Some("large".to_owned()),
        limit: 9,
        ..ExecutionFilter::default()
    };
    assert_eq!(store.executions(&filter).await.unwrap(), [row]);
}

/// Every filter, page by page, against a list in memory. The store must have no executions.
pub async fn lists_are_what_matches_newest_first(store: &dyn StateStore) {
    executions::lists(store).await;
}

/// Only whoever has read the version writes the next one; the loser is given what is there.
pub async fn a_shard_is_written_only_with_its_version(store: &dyn StateStore) {
    let write = |expected, bytes: &[u8]| shard_write("version", ShardId::ROOT, expected, bytes);
    let absent = save(store, write(3, b"x")).await;
    assert_eq!(absent, SaveOutcome::Conflict(None));
    assert_eq!(save(store, write(0, b"one")).await, SaveOutcome::Saved(1));
    let there = |version, bytes: &[u8]| {
        SaveOutcome::Conflict(Some(ShardRow {
            version,
            bytes: bytes.to_vec(),
        }))
    };
    assert_eq!(save(store, write(0, b"x")).await, there(1, b"one"));
    assert_eq!(save(store, write(1, b"two")).await, SaveOutcome::Saved(2));
    assert_eq!(save(store, write(1, b"x")).await, there(2, b"two"));
    let key = write(0, b"").key;
    let stored = store.shard(&key).await.unwrap();
    assert_eq!(
        stored,
        Some(ShardRow {
            version: 2,
            bytes: b"two".to_vec()
        })
    );
}

/// Other shards of the same write, and what is derived from them, are written.
pub async fn a_conflict_drops_that_shard_only(store: &dyn StateStore) {
    let shard = |part, expected| shard_write("some", ShardId::of_part(part), expected, b"s");
    let outcomes = store
        .write(Write {
            shards: vec![shard(0, 0), shard(1, 7), shard(2, 0)],
            attempts: vec![attempt("some", run(ShardId::of_part(2), 0), 1)],
            executions: vec![execution("some", 1)],
            ..Write::default()
        })
        .await
        .unwrap();
    assert_eq!(
        outcomes,
        [
            SaveOutcome::Saved(1),
            SaveOutcome::Conflict(None),
            SaveOutcome::Saved(1)
        ]
    );
    let shards: Vec<ShardId> = (store.shards(&id("some")).await.unwrap().into_iter())
        .map(|(id, _)| id)
        .collect();
    assert_eq!(shards, [ShardId::of_part(0), ShardId::of_part(2)]);
    let key = |part| ShardKey {
        execution: id("some"),
        shard: ShardId::of_part(part),
    };
    let keys = [key(2), key(1), key(0), key(2)];
    let found = store.shards_at(&keys).await.unwrap();
    let versions: Vec<_> = (found.iter().map(Option::as_ref))
        .map(|row| row.map(|row| row.version))
        .collect();
    assert_eq!(versions, [Some(1), None, Some(1), Some(1)]);
    let none = store.shards_at(&[]).await.unwrap();
    assert_eq!(none, []);
    let page = store.attempts_page(&id("some"), None, 9).await.unwrap();
    assert_eq!(page.len(), 1);
    assert!(store.execution(&id("some")).await.unwrap().is_some());
}

/// Twenty writers at once of the same version.
pub async fn writers_that_race_all_get_an_outcome_and_one_wins(store: &dyn StateStore) {
    let racers = (0..20_u8).map(|n| save(store, shard_write("race", ShardId::ROOT, 0, &[n])));
    let mut winners = 0;
    let mut seen = Vec::new();
    for outcome in futures_util::future::join_all(racers).await {
        match outcome {
            SaveOutcome::Saved(version) => {
                assert_eq!(version, 1);
                winners += 1;
            }
            SaveOutcome::Conflict(row) => seen.push(row.unwrap()),
        }
    }
    assert_eq!(winners, 1);
    assert_eq!(seen.len(), 19);
    assert!(seen.windows(2).all(|pair| pair[0] == pair[1]));
}

/// The store must have no shard that is due.
pub async fn due_shards_come_longest_overdue_first(store: &dyn StateStore) {
    for (part, due_ms) in [(0, Some(300)), (1, None), (2, Some(100)), (3, Some(200))] {
        let mut write = shard_write("due", ShardId::of_part(part), 0, b"s");
        write.due_ms = due_ms;
        save(store, write).await;
    }
    let due = async |now, limit| -> Vec<u16> {
        let keys = store.due(now, limit).await.unwrap();
        keys.iter().map(|key| key.shard.part()).collect()
    };
    assert_eq!(store.next_due().await.unwrap(), Some(100));
    assert!(due(99, 9).await.is_empty());
    assert_eq!(due(200, 9).await, [2, 3]);
    assert_eq!(due(999, 2).await, [2, 3]);
    // A complete shard is due no more.
    for (part, expected) in [(2, [3, 0].as_slice()), (3, &[0]), (0, &[])] {
        save(store, shard_write("due", ShardId::of_part(part), 1, b"s")).await;
        assert_eq!(due(u64::MAX, u32::MAX).await, expected);
    }
    assert_eq!(store.next_due().await.unwrap(), None);
}

/// All fields, and numbers that JSON does not have.
pub async fn an_attempt_comes_back_as_it_was_put(store: &dyn StateStore) {
    let mut row = attempt("attempt", run(ShardId::ROOT.of_loop(3, 70_000), 9), 2);
    row.item = Some(Value::Null);
    row.parent = Some("each".to_owned());
    "FAILED".clone_into(&mut row.state);
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
    let first = attempt("attempt", row.task_run.clone(), 1);
    for _ in 0..2 {
        let write = Write {
            attempts: vec![row.clone(), first.clone()],
            ..Write::default()
        };
        store.write(write).await.unwrap();
    }
    let stored = store.attempts(&id("attempt"), &row.task_run).await.unwrap();
    assert_eq!(stored, [first, row.clone()]);
    let of_task = store
        .attempts_of_task(&id("attempt"), "align", 9)
        .await
        .unwrap();
    assert_eq!(of_task, stored);
}

/// Of the whole execution and of one task, in pages and whole.
pub async fn pages_of_attempts_are_in_the_order_of_their_keys(store: &dyn StateStore) {
    let mut rows = Vec::new();
    for shard in [
        ShardId::ROOT,
        ShardId::of_part(2),
        ShardId::ROOT.of_loop(1, 0),
        ShardId::ROOT.of_loop(1, 300),
        ShardId::ROOT.of_loop(1, 2).of_loop(0, 7),
    ] {
        for (slot, number) in [(0, 0), (0, 2), (1, 1), (300, 1)] {
            let mut row = attempt("pages", run(shard.clone(), slot), number);
            if slot == 0 { "sort" } else { "align" }.clone_into(&mut row.task);
            rows.push(row);
        }
    }
    let mut attempts = rows.clone();
    attempts.reverse();
    attempts.push(attempt("other", run(ShardId::ROOT, 0), 1));
    let write = Write {
        attempts,
        ..Write::default()
    };
    store.write(write).await.unwrap();
    rows.sort_by_key(key);
    let mut all: Vec<AttemptRow> = Vec::new();
    loop {
        let page = store
            .attempts_page(&id("pages"), all.last().map(key), 3)
            .await
            .unwrap();
        if page.is_empty() {
            break;
        }
        assert!(page.len() <= 3);
        all.extend(page);
    }
    assert_eq!(all, rows);
    for task in ["sort", "align"] {
        let expected: Vec<_> = rows
            .iter()
            .filter(|row| row.task == task)
            .cloned()
            .collect();
        let of_task = store
            .attempts_of_task(&id("pages"), task, 1000)
            .await
            .unwrap();
        assert_eq!(of_task, expected);
        let first = store.attempts_of_task(&id("pages"), task, 4).await.unwrap();
        assert_eq!(first, expected[..4]);
    }
}

fn key(row: &AttemptRow) -> (TaskRunKey, u8) {
    (row.task_run.clone(), row.attempt)
}

/// Locks are versioned like shards.
pub async fn locks_are_conditional(store: &dyn StateStore) {
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
}

/// Entering again changes nothing; leaving may be repeated.
pub async fn queues_are_ordered_by_priority_and_age(store: &dyn StateStore) {
    for (name, created_ms) in [("old", 1), ("new", 3), ("middle", 2), ("urgent", 9)] {
        let row = execution(name, created_ms);
        store.create(&row, PLAN).await.unwrap();
    }
    for name in ["new", "urgent", "old", "middle", "old"] {
        let priority = if name == "urgent" { 5 } else { 0 };
        store
            .set_queued("k", &id(name), priority, true)
            .await
            .unwrap();
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
    store.set_queued("k", &id("new"), 9, true).await.unwrap();
    assert_eq!(order().await, ["new", "urgent", "middle"]);
    assert_eq!(store.queued("k2", 9).await.unwrap(), [id("old")]);
}

fn entry(key: &str, value: Value, expires_ms: Option<u64>) -> KvEntry {
    KvEntry {
        key: key.to_owned(),
        value,
        expires_ms,
    }
}

/// What has expired is not there and does not stand in the way.
pub async fn pairs_expire_and_are_listed_by_prefix(store: &dyn StateStore, clock: &TestClock) {
    // Far in the future, so that an emulator with a real clock removes nothing.
    let at = 4_000_000_000_000;
    clock.set(at);
    let lease = entry("lease", json!(1), Some(at + 100));
    assert!(store.kv_set("ns", &lease, false).await.unwrap());
    let next = entry("lease", json!(2), Some(at + 300));
    assert!(!store.kv_set("ns", &next, false).await.unwrap());
    assert_eq!(store.kv("ns", "lease", at + 99).await.unwrap(), Some(lease));
    assert_eq!(store.kv("ns", "lease", at + 100).await.unwrap(), None);
    clock.set(at + 100);
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
    let all = ["A%", "a", "a%", "a%b", "a%\u{10ffff}", "b"];
    assert_eq!(list("", at + 300).await, all);
    assert!(store.kv_delete("ns", "a").await.unwrap());
    assert!(!store.kv_delete("ns", "a").await.unwrap());
}

/// Values and keys have the same limits everywhere, so that a flow works everywhere.
pub async fn pairs_have_limits(store: &dyn StateStore) {
    let most = entry(
        &"k".repeat(1024),
        Value::from("x".repeat(KV_BYTES_MAX - 2)),
        None,
    );
    assert!(store.kv_set("limits", &most, true).await.unwrap());
    let stored = store.kv("limits", &most.key, 0).await.unwrap();
    assert_eq!(stored, Some(most));
    let large = entry("large", Value::from("x".repeat(KV_BYTES_MAX)), None);
    let error = store.kv_set("limits", &large, true).await.unwrap_err();
    assert!(error.to_string().contains("at most 307200"), "{error}");
    let long = entry(&"k".repeat(1025), Value::Null, None);
    let error = store.kv_set("limits", &long, true).await.unwrap_err();
    assert!(error.to_string().contains("at most 1024"), "{error}");
}

/// Outputs under a content key.
pub async fn cached_outputs_expire(store: &dyn StateStore) {
    let outputs = Map::from_iter([("n".to_owned(), json!(1))]);
    store.put_cached("k", &outputs, Some(10)).await.unwrap();
    let kept = store.cached("k", 9).await.unwrap();
    assert_eq!(kept, Some(outputs.clone()));
    assert_eq!(store.cached("k", 10).await.unwrap(), None);
    store.put_cached("k", &outputs, None).await.unwrap();
    let kept = store.cached("k", u64::MAX).await.unwrap();
    assert_eq!(kept, Some(outputs));
    assert_eq!(store.cached("other", 0).await.unwrap(), None);
}

/// A new hash gets the next number, a known one its own.
pub async fn revisions_count_the_plans_of_a_flow(store: &dyn StateStore) {
    let mut numbers = Vec::new();
    for hash in ["x", "y", "x", "z"] {
        numbers.push(store.revision("ns", "flow", hash).await.unwrap());
    }
    numbers.push(store.revision("ns", "other", "y").await.unwrap());
    assert_eq!(numbers, [1, 2, 1, 3, 1]);
    let names: Vec<String> = (0..8).map(|n| format!("h{n}")).collect();
    let racers = names.iter().map(|hash| store.revision("ns", "raced", hash));
    let mut numbers = futures_util::future::try_join_all(racers).await.unwrap();
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6, 7, 8]);
}
