//! Rows for the contracts, with every field set to something.

use std::collections::BTreeMap;

use operon_core::plan::{ShardId, content_hash};
use operon_engine::ports::{
    AttemptRow, ExecutionId, ExecutionMeta, ExecutionRow, SaveOutcome, ShardKey, ShardWrite,
    StateStore, TaskRunKey, Usage, Write,
};
use serde_json::{Map, Value};

/// The bytes that stand for a plan: stores that check hashes are content with them.
pub const PLAN: &[u8] = b"plan";

/// An id.
///
/// # Panics
/// When the text is none.
#[must_use]
#[allow(clippy::unwrap_used, reason = "a test")]
pub fn id(text: &str) -> ExecutionId {
    text.parse().unwrap()
}

/// An execution of the plan [`PLAN`].
#[must_use]
pub fn execution(text: &str, created_ms: u64) -> ExecutionRow {
    ExecutionRow {
        meta: ExecutionMeta {
            id: id(text),
            namespace: "genomics".to_owned(),
            flow: "ingest".to_owned(),
            revision: 1,
            plan_hash: content_hash(PLAN),
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

/// The address of a task run.
#[must_use]
pub fn run(shard: ShardId, slot: u16) -> TaskRunKey {
    TaskRunKey { shard, slot }
}

/// An attempt of the task `align`.
#[must_use]
pub fn attempt(execution: &str, run: TaskRunKey, attempt: u8) -> AttemptRow {
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

/// A write of a shard that is complete.
#[must_use]
pub fn shard_write(execution: &str, shard: ShardId, expected: u64, bytes: &[u8]) -> ShardWrite {
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

/// Writes one shard.
///
/// # Panics
/// When the store fails.
#[allow(clippy::unwrap_used, reason = "a test")]
pub async fn save(store: &dyn StateStore, write: ShardWrite) -> SaveOutcome {
    let write = Write {
        shards: vec![write],
        ..Write::default()
    };
    store.write(write).await.unwrap().remove(0)
}
