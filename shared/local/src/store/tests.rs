#![allow(clippy::unwrap_used, clippy::expect_used)]

mod behaviour;
mod claims;
mod crash;
mod damage;
mod model;

use std::collections::BTreeMap;
use std::path::PathBuf;

use operon_core::plan::ShardId;
use operon_engine::ports::{
    AttemptRow, ExecutionId, ExecutionMeta, ExecutionRow, SaveOutcome, ShardKey, ShardWrite,
    StateStore, TaskRunKey, Usage, Write,
};
use serde_json::{Map, Value};
use tempfile::TempDir;

use super::SqliteStore;

/// A store in a directory of its own.
fn fresh() -> (TempDir, SqliteStore) {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&file(&directory)).unwrap();
    (directory, store)
}

fn file(directory: &TempDir) -> PathBuf {
    directory.path().join("state.sqlite")
}

fn id(text: &str) -> ExecutionId {
    text.parse().unwrap()
}

fn execution(text: &str, created_ms: u64) -> ExecutionRow {
    ExecutionRow {
        meta: ExecutionMeta {
            id: id(text),
            namespace: "genomics".to_owned(),
            flow: "ingest".to_owned(),
            revision: 1,
            plan_hash: "h1".to_owned(),
            inputs: Map::from_iter([("organism".to_owned(), Value::from("ebola"))]),
            labels: BTreeMap::from([("team".to_owned(), "a".to_owned())]),
            trigger: Value::Null,
            created_ms,
            parent: Some((id("parent"), run(ShardId::ROOT, 4), 2)),
            replay_of: None,
            flow_dir: Some("flows".to_owned()),
            priority: -3,
        },
        state: "CREATED".to_owned(),
        reason: None,
        started_ms: None,
        ended_ms: None,
        outputs: Map::new(),
        labels: BTreeMap::new(),
    }
}

fn run(shard: ShardId, slot: u16) -> TaskRunKey {
    TaskRunKey { shard, slot }
}

fn attempt(execution: &str, run: TaskRunKey, attempt: u8) -> AttemptRow {
    AttemptRow {
        execution: id(execution),
        task: "align".to_owned(),
        name: format!("align@{}:{}", run.shard, run.slot),
        task_run: run,
        attempt,
        item: None,
        parent: None,
        state: "CREATED".to_owned(),
        reason: None,
        message: None,
        exit_code: None,
        created_ms: 1,
        started_ms: None,
        ended_ms: None,
        outputs: Map::new(),
        outputs_uri: None,
        metrics: Vec::new(),
        usage: Usage::default(),
    }
}

fn shard_write(execution: &str, shard: ShardId, expected: u64, bytes: &[u8]) -> ShardWrite {
    ShardWrite {
        key: ShardKey {
            execution: id(execution),
            shard,
        },
        expected,
        bytes: bytes.to_vec(),
        due_ms: None,
    }
}

async fn save(store: &SqliteStore, write: ShardWrite) -> SaveOutcome {
    let write = Write {
        shards: vec![write],
        ..Write::default()
    };
    store.write(write).await.unwrap().remove(0)
}
