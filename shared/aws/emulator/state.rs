//! The contracts of the stores, and what only this one does.

use operon_aws::{BuiltinLogs, DynamoStore};
use operon_core::plan::ShardId;
use operon_engine::ports::{
    AttemptId, LogLevel, LogLine, LogLines, LogReader as _, LogSink as _, SaveOutcome, ShardKey,
    StateStore as _, Write,
};
use operon_testkit::contract;
use operon_testkit::contract::rows::{PLAN, attempt, execution, id, run, shard_write};

use crate::world::World;

#[tokio::test]
async fn state_keeps_its_contract() {
    let world = World::new().await;
    contract::state(&world.store(), &world.clock).await;
    contract::state::a_late_writer_replaces_nothing_newer(&world.store()).await;
    world.end().await;
}

#[tokio::test]
async fn records_keep_their_contract() {
    let world = World::new().await;
    // The contract's own times are far from the beginning of the clock.
    world.clock.set(1);
    contract::records(&world.store()).await;
    world.end().await;
}

#[tokio::test]
async fn what_a_slower_planner_writes_does_not_replace_what_is_newer() {
    let world = World::new().await;
    let store = world.store();
    let mut row = execution("a", 1);
    store.create(&row, PLAN).await.unwrap();
    let shard = |expected, bytes: &[u8]| shard_write("a", ShardId::ROOT, expected, bytes);
    let turn = |shards, state: &str| {
        let mut row = row.clone();
        row.state = state.to_owned();
        let mut detail = attempt("a", run(ShardId::ROOT, 1), 0);
        detail.state = state.to_owned();
        Write {
            shards,
            attempts: vec![detail],
            executions: vec![row],
            ..Write::default()
        }
    };
    store
        .write(turn(vec![shard(0, b"1")], "RUNNING"))
        .await
        .unwrap();
    store
        .write(turn(vec![shard(1, b"2")], "SUCCESS"))
        .await
        .unwrap();
    // Its shard is in conflict: nothing of it is written.
    let late = store
        .write(turn(vec![shard(1, b"x")], "KILLING"))
        .await
        .unwrap();
    assert!(matches!(late.as_slice(), [SaveOutcome::Conflict(Some(there))] if there.version == 2));
    // An answer was lost and the request comes again: the version is its own.
    let again = store
        .write(turn(vec![shard(1, b"2")], "SUCCESS"))
        .await
        .unwrap();
    assert_eq!(again, [SaveOutcome::Saved(2)]);
    // It wrote version 1 and stood still before it wrote the rest.
    let again = store
        .write(turn(vec![shard(0, b"1")], "RUNNING"))
        .await
        .unwrap();
    assert!(matches!(again.as_slice(), [SaveOutcome::Conflict(Some(_))]));
    row.state = "SUCCESS".to_owned();
    assert_eq!(store.execution(&id("a")).await.unwrap(), Some(row));
    let details = store
        .attempts(&id("a"), &run(ShardId::ROOT, 1))
        .await
        .unwrap();
    assert_eq!(details[0].state, "SUCCESS");
    world.end().await;
}

#[tokio::test]
async fn due_times_of_shards_are_rounded_up_in_the_index() {
    let world = World::new().await;
    let store = DynamoStore::new(&world.sdk, &world.name, &world.name, world.clock.clone());
    let mut write = shard_write("a", ShardId::ROOT, 0, b"s");
    write.due_ms = Some(30_001);
    store
        .write(Write {
            shards: vec![write],
            ..Write::default()
        })
        .await
        .unwrap();
    assert_eq!(store.due(59_999, 9).await.unwrap(), []);
    assert_eq!(
        store.due(60_000, 9).await.unwrap(),
        [ShardKey::root(&id("a"))]
    );
    assert_eq!(store.next_due().await.unwrap(), Some(60_000));
    world.end().await;
}

#[tokio::test]
async fn due_locks_are_found() {
    let world = World::new().await;
    let store = world.store();
    store
        .save_lock("ns/flow", 0, b"one", Some(50))
        .await
        .unwrap();
    assert_eq!(store.due_locks(49, 9).await.unwrap(), []);
    let due = store.due_locks(50, 9).await.unwrap();
    assert_eq!(due, [("ns/flow".to_owned(), 50)]);
    world.end().await;
}

#[tokio::test]
async fn a_plan_that_is_not_what_its_name_says_is_refused() {
    let world = World::new().await;
    let store = world.store();
    let mut row = execution("a", 1);
    store.create(&row, PLAN).await.unwrap();
    let key = format!("plans/{}", row.meta.plan_hash);
    let body = aws_sdk_s3::primitives::ByteStream::from_static(b"forged");
    world
        .sdk
        .s3()
        .put_object()
        .bucket(&world.name)
        .key(key)
        .body(body)
        .send()
        .await
        .unwrap();
    let error = store.plan(&row.meta.plan_hash).await.unwrap_err();
    assert!(error.to_string().contains("something else"), "{error}");
    row.meta.id = id("b");
    row.meta.plan_hash = "0".repeat(64);
    let error = store.create(&row, PLAN).await.unwrap_err();
    assert!(
        error.to_string().contains("does not have that hash"),
        "{error}"
    );
    world.end().await;
}

#[tokio::test]
async fn lines_of_built_in_tasks_are_read_in_pages() {
    let world = World::new().await;
    let logs = BuiltinLogs::new(world.store());
    let attempt = AttemptId {
        execution: id("a"),
        task_run: run(ShardId::ROOT, 1),
        attempt: 1,
    };
    let empty = logs.read(&attempt, 0, 9).await.unwrap();
    assert_eq!(empty, LogLines::default());
    for seq in 0..5 {
        let line = LogLine {
            seq,
            time_ms: seq,
            level: LogLevel::Info,
            text: format!("line {seq}"),
        };
        logs.line(&attempt, line);
    }
    logs.end(&attempt);
    logs.flush().await.unwrap();
    let numbers = |page: LogLines| {
        let numbers: Vec<u64> = page.lines.iter().map(|line| line.seq).collect();
        (numbers, page.ended)
    };
    let read = async |from, limit| numbers(logs.read(&attempt, from, limit).await.unwrap());
    assert_eq!(read(0, 2).await, (vec![0, 1], false));
    assert_eq!(read(3, 2).await, (vec![3, 4], true));
    let tail = async |before, count| numbers(logs.tail(&attempt, before, count).await.unwrap());
    assert_eq!(tail(None, 2).await, (vec![3, 4], true));
    assert_eq!(tail(Some(3), 2).await, (vec![1, 2], false));
    world.end().await;
}
