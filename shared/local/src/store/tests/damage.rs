//! Files that are not what they should be, and plans of queries.

use std::fs;

use operon_core::plan::ShardId;
use operon_engine::ports::{StateStore as _, StoreError};
use rusqlite::Connection;

use super::super::{codec, schema};
use super::{SqliteStore, file, fresh, id, save, shard_write};

fn corrupt(path: &std::path::Path) -> String {
    match SqliteStore::open(path).unwrap_err() {
        StoreError::Corrupt(text) => text,
        other @ (StoreError::Busy(_) | StoreError::Failed(_)) => panic!("{other:?}"),
    }
}

#[test]
fn a_newer_schema_is_refused() {
    let (directory, store) = fresh();
    drop(store);
    let path = file(&directory);
    let connection = Connection::open(&path).unwrap();
    let next = schema::SCHEMA + 1;
    connection
        .pragma_update(None, "user_version", next)
        .unwrap();
    drop(connection);
    let text = corrupt(&path);
    assert!(text.contains("newer release"), "{text}");
    assert!(text.contains(&path.display().to_string()), "{text}");
}

#[test]
fn a_database_of_another_program_is_refused_and_not_touched() {
    let directory = tempfile::tempdir().unwrap();
    let path = file(&directory);
    let connection = Connection::open(&path).unwrap();
    connection.execute_batch("CREATE TABLE t (x)").unwrap();
    drop(connection);
    let before = fs::read(&path).unwrap();
    let text = corrupt(&path);
    assert!(text.contains("another program"), "{text}");
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn a_file_that_is_no_database_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = file(&directory);
    fs::write(&path, "not a database at all ".repeat(500)).unwrap();
    let text = corrupt(&path);
    assert!(text.contains("damaged or no database"), "{text}");
    assert!(text.contains("backup"), "{text}");
}

#[tokio::test]
async fn damaged_pages_give_an_error_and_no_wrong_answer() {
    let (directory, store) = fresh();
    for part in 0..400 {
        save(
            &store,
            shard_write("a", ShardId::of_part(part), 0, &[1; 900]),
        )
        .await;
    }
    drop(store);
    let path = file(&directory);
    let mut bytes = fs::read(&path).unwrap();
    // Everything behind the first page, which holds the schema's root.
    let tail = bytes.len() / 2;
    bytes[tail..].fill(0xa5);
    fs::write(&path, bytes).unwrap();
    let error = match SqliteStore::open(&path) {
        Err(error) => error,
        Ok(store) => store.shards(&id("a")).await.unwrap_err(),
    };
    assert!(matches!(error, StoreError::Corrupt(_)), "{error:?}");
}

#[tokio::test]
async fn unreadable_columns_are_reported_as_damage() {
    let (directory, store) = fresh();
    let row = super::execution("a", 1);
    store.create(&row, b"").await.unwrap();
    let connection = Connection::open(file(&directory)).unwrap();
    connection
        .execute("UPDATE executions SET meta = '{}'", [])
        .unwrap();
    let error = store.execution(&id("a")).await.unwrap_err();
    assert!(matches!(error, StoreError::Corrupt(_)), "{error:?}");
    assert!(error.to_string().contains("fixed part"), "{error}");
}

/// `kill -9` is tested, loss of power cannot be: it rests on these settings.
#[test]
fn commits_wait_for_the_disk_and_the_file_is_private() {
    use std::os::unix::fs::PermissionsExt as _;

    let directory = tempfile::tempdir().unwrap();
    let path = file(&directory);
    let connection = schema::open(&path, schema::Role::Writer).unwrap();
    let setting = |name: &str| -> String {
        connection
            .query_row(
                &format!("SELECT CAST({name} AS TEXT) FROM pragma_{name}"),
                [],
                |row| row.get(0),
            )
            .unwrap()
    };
    assert_eq!(setting("journal_mode"), "wal");
    // 2 is FULL: every commit ends with a sync of the log.
    assert_eq!(setting("synchronous"), "2");
    for name in ["state.sqlite", "state.sqlite-wal", "state.sqlite-shm"] {
        let mode = fs::metadata(directory.path().join(name))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[test]
fn shard_keys_sort_like_shard_ids_and_come_back() {
    let root = ShardId::ROOT;
    let ids = [
        root.clone(),
        root.of_loop(0, 9),
        root.of_loop(0, 10),
        root.of_loop(0, 10).of_loop(5, 0),
        root.of_loop(0, 70_000),
        root.of_loop(300, 0),
        ShardId::of_part(1),
        ShardId::of_part(256),
    ];
    assert!(ids.is_sorted());
    let keys: Vec<_> = ids.iter().map(codec::shard_key).collect();
    assert!(keys.is_sorted());
    for (id, key) in ids.iter().zip(&keys) {
        assert_eq!(&codec::shard_id(key).unwrap(), id);
    }
    for damaged in [&[][..], &[1], &[0, 0, 1], &[0; 9]] {
        assert!(codec::shard_id(damaged).is_err());
    }
}

/// Lists must read only what they return: no sorting, no scanning of whole tables.
#[test]
fn every_list_is_served_by_an_index() {
    let (directory, store) = fresh();
    let connection = Connection::open(file(&directory)).unwrap();
    for sql in [
        "SELECT * FROM executions ORDER BY created_ms DESC, id DESC LIMIT 5",
        "SELECT * FROM executions WHERE namespace = 'n' AND (created_ms, id) < (1, 'x') \
         ORDER BY created_ms DESC, id DESC LIMIT 5",
        "SELECT * FROM executions WHERE namespace = 'n' AND flow = 'f' \
         ORDER BY created_ms DESC, id DESC LIMIT 5",
        "SELECT * FROM executions WHERE state = 's' ORDER BY created_ms DESC, id DESC LIMIT 5",
        "SELECT execution, shard FROM shards WHERE due_ms <= 5 ORDER BY due_ms LIMIT 5",
        "SELECT due_ms FROM shards WHERE due_ms IS NOT NULL ORDER BY due_ms LIMIT 1",
        "SELECT * FROM attempts WHERE execution = 'a' AND (shard, slot, attempt) > (x'', 0, 0) \
         ORDER BY shard, slot, attempt LIMIT 5",
        "SELECT * FROM attempts WHERE execution = 'a' AND task = 't' \
         AND (shard, slot, attempt) > (x'', 0, 0) ORDER BY shard, slot, attempt LIMIT 5",
        "SELECT execution FROM lock_queue WHERE key = 'k' \
         ORDER BY priority DESC, created_ms, seq LIMIT 5",
        "SELECT * FROM claims WHERE state = 'launched' \
         AND (execution, shard, slot, attempt) > ('', x'', 0, 0) \
         ORDER BY execution, shard, slot, attempt LIMIT 5",
    ] {
        let mut statement = connection
            .prepare(&format!("EXPLAIN QUERY PLAN {sql}"))
            .unwrap();
        let plan: Vec<String> = statement
            .query_map([], |row| row.get(3))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        let plan = plan.join("; ");
        assert!(!plan.contains("TEMP B-TREE"), "{sql}: {plan}");
        assert!(
            plan.contains("INDEX") || plan.contains("PRIMARY KEY"),
            "{sql}: {plan}"
        );
    }
    drop(store);
}
