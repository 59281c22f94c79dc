//! State and records in one `DynamoDB` table; plans in S3.
//!
//! `docs/decisions/0020-single-table.md` has every item, key and index with the units it costs. Invariant: a shard is
//! written only by whoever has read its version, in one conditional write of one item. Where several items change,
//! shards come first, then what is derived from them; a crash between the two is healed by the message that comes
//! again, because shards are the outbox.

mod attempts;
mod executions;
mod item;
mod keys;
mod lists;
mod logs;
mod pairs;
mod plans;
mod records;
mod shards;
mod table;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use operon_core::plan::ShardId;
use operon_engine::ports::{
    AttemptRow, Clock, ExecutionFilter, ExecutionId, ExecutionRow, KvEntry, Record, RecordKey,
    RecordKind, RecordOutcome, RecordQuery, RecordWrite, Records, SaveOutcome, ShardKey, ShardRow,
    StateStore, StoreError, TaskRunKey, Write,
};
use serde_json::{Map, Value};

use crate::sdk::Sdk;
pub use logs::{BuiltinLogs, LOG_BYTES_MAX};
use plans::PlanFiles;
use table::Table;

/// What is over is kept for so long: 400 days, so that a year can be compared with the one before.
const RETENTION_MS: u64 = 400 * 24 * 60 * 60 * 1000;
/// Writes on their way at a time, for one turn.
const WRITES_AT_ONCE: usize = 16;
/// Names of flows remembered as entered at most.
const FLOWS_KNOWN: usize = 10_000;
/// The index sees due times in steps of so many milliseconds, rounded up. The index is for what has lost its timer:
/// half a minute is well within the minute after which somebody looks, and saves two write units per write of a
/// shard that changes more often.
pub const DUE_STEP_MS: u64 = 30_000;

/// State and records of a deployment. Clones are cheap and share what they remember.
#[derive(Clone)]
pub struct DynamoStore {
    table: Table,
    plans: PlanFiles,
    clock: Arc<dyn Clock>,
    due_step_ms: u64,
    flows: Arc<Mutex<HashSet<String>>>,
}

impl fmt::Debug for DynamoStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynamoStore")
            .field("table", &self.table.name())
            .finish_non_exhaustive()
    }
}

impl DynamoStore {
    /// The store over a table, and the bucket that holds plans.
    #[must_use]
    pub fn new(sdk: &Sdk, table: &str, bucket: &str, clock: Arc<dyn Clock>) -> Self {
        Self {
            table: Table::new(sdk.dynamodb(), table, sdk.meter()),
            plans: PlanFiles::new(sdk.s3(), bucket),
            clock,
            due_step_ms: DUE_STEP_MS,
            flows: Arc::default(),
        }
    }

    /// The same with other steps of the due index; 1 keeps times as they are.
    #[must_use]
    pub fn with_due_step_ms(mut self, due_step_ms: u64) -> Self {
        self.due_step_ms = due_step_ms;
        self
    }

    /// The second since the epoch that lies so far ahead.
    fn expiry(&self, ms: u64) -> u64 {
        self.clock.now_ms().saturating_add(ms).div_ceil(1000)
    }

    fn knows_flow(&self, name: &str) -> bool {
        self.flows
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(name)
    }

    fn remember_flow(&self, name: &str) {
        let mut flows = self.flows.lock().unwrap_or_else(PoisonError::into_inner);
        if flows.len() >= FLOWS_KNOWN {
            flows.clear();
        }
        flows.insert(name.to_owned());
    }
}

/// Some at a time; the first error ends the rest.
async fn all<T>(
    writes: Vec<impl Future<Output = Result<T, StoreError>>>,
) -> Result<Vec<T>, StoreError> {
    stream::iter(writes)
        .buffered(WRITES_AT_ONCE)
        .try_collect()
        .await
}

/// A limit of rows as a length.
fn limited(limit: u32) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}

/// A word that no other write has, to tell one's own from another with the same content.
fn nonce() -> String {
    format!("{:x}", RandomState::new().build_hasher().finish())
}

/// What became of the shard that something is derived from.
enum Derived {
    /// It was written, with this version.
    From(u64),
    /// It was not part of the write.
    Unknown,
    /// Somebody else wrote it: this is derived again from what is there now.
    Stale,
}

fn derived(outcomes: &HashMap<&ShardKey, &SaveOutcome>, key: &ShardKey) -> Derived {
    match outcomes.get(key) {
        Some(SaveOutcome::Saved(version)) => Derived::From(*version),
        Some(SaveOutcome::Conflict(_)) => Derived::Stale,
        None => Derived::Unknown,
    }
}

#[async_trait]
impl StateStore for DynamoStore {
    async fn create(&self, row: &ExecutionRow, plan: &[u8]) -> Result<bool, StoreError> {
        self.create_execution(row, plan).await
    }

    async fn plan(&self, hash: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.plans.get(hash).await
    }

    async fn revision(&self, namespace: &str, flow: &str, hash: &str) -> Result<u32, StoreError> {
        self.number_of_plan(namespace, flow, hash).await
    }

    async fn execution(&self, id: &ExecutionId) -> Result<Option<ExecutionRow>, StoreError> {
        self.read_execution(id).await
    }

    async fn executions(&self, filter: &ExecutionFilter) -> Result<Vec<ExecutionRow>, StoreError> {
        self.list_executions(filter).await
    }

    async fn set_labels(
        &self,
        id: &ExecutionId,
        labels: &BTreeMap<String, Option<String>>,
    ) -> Result<bool, StoreError> {
        self.give_labels(id, labels).await
    }

    async fn shard(&self, key: &ShardKey) -> Result<Option<ShardRow>, StoreError> {
        self.read_shard(key).await
    }

    async fn shards_at(&self, keys: &[ShardKey]) -> Result<Vec<Option<ShardRow>>, StoreError> {
        self.read_shards_at(keys).await
    }

    async fn shards(&self, id: &ExecutionId) -> Result<Vec<(ShardId, ShardRow)>, StoreError> {
        self.read_shards(id).await
    }

    async fn write(&self, write: Write) -> Result<Vec<SaveOutcome>, StoreError> {
        let mut writes = Vec::with_capacity(write.shards.len());
        for shard in &write.shards {
            writes.push(self.save_shard(shard));
        }
        let saved = all(writes).await?;
        let mut outcomes = HashMap::new();
        for (shard, outcome) in write.shards.iter().zip(&saved) {
            outcomes.insert(&shard.key, outcome);
        }
        let mut writes = Vec::new();
        let mut ended = Vec::new();
        for row in &write.attempts {
            let key = ShardKey {
                execution: row.execution.clone(),
                shard: row.task_run.shard.clone(),
            };
            let version = match derived(&outcomes, &key) {
                Derived::From(version) => Some(version),
                Derived::Unknown => None,
                Derived::Stale => continue,
            };
            if row.ended_ms.is_some() {
                ended.push((row, version));
            } else {
                writes.push(self.put_attempt(row, version));
            }
        }
        all(writes).await?;
        if !ended.is_empty() {
            self.put_ended(&ended).await?;
        }
        let mut writes = Vec::with_capacity(write.executions.len());
        for row in &write.executions {
            let root = ShardKey::root(&row.meta.id);
            match derived(&outcomes, &root) {
                Derived::From(version) => {
                    writes.push(self.put_execution(row, Some(version), false));
                }
                Derived::Unknown => {
                    let read = write.read.iter().find(|(key, _)| *key == root);
                    let version = read.map(|(_, version)| *version);
                    writes.push(self.put_execution(row, version, false));
                }
                Derived::Stale => {}
            }
        }
        all(writes).await?;
        Ok(saved)
    }

    async fn due(&self, now_ms: u64, limit: u32) -> Result<Vec<ShardKey>, StoreError> {
        let due = self.due_shards(now_ms, limit).await?;
        Ok(due.into_iter().map(|(_, key)| key).collect())
    }

    async fn next_due(&self) -> Result<Option<u64>, StoreError> {
        let due = self.due_shards(u64::MAX, 1).await?;
        Ok(due.first().map(|(due_ms, _)| *due_ms))
    }

    async fn attempts(
        &self,
        id: &ExecutionId,
        run: &TaskRunKey,
    ) -> Result<Vec<AttemptRow>, StoreError> {
        self.attempts_of_run(id, run).await
    }

    async fn attempts_of_task(
        &self,
        id: &ExecutionId,
        task: &str,
        limit: u32,
    ) -> Result<Vec<AttemptRow>, StoreError> {
        self.attempts_with_task(id, task, limit).await
    }

    async fn attempts_page(
        &self,
        id: &ExecutionId,
        after: Option<(TaskRunKey, u8)>,
        limit: u32,
    ) -> Result<Vec<AttemptRow>, StoreError> {
        self.attempts_after(id, after.as_ref(), limit).await
    }

    async fn lock(&self, key: &str) -> Result<Option<ShardRow>, StoreError> {
        self.read_lock(key).await
    }

    async fn save_lock(
        &self,
        key: &str,
        expected: u64,
        bytes: &[u8],
        due_ms: Option<u64>,
    ) -> Result<SaveOutcome, StoreError> {
        self.write_lock(key, expected, bytes, due_ms).await
    }

    async fn queued(&self, key: &str, limit: u32) -> Result<Vec<ExecutionId>, StoreError> {
        self.read_queue(key, limit).await
    }

    async fn set_queued(
        &self,
        key: &str,
        id: &ExecutionId,
        priority: i32,
        queued: bool,
    ) -> Result<(), StoreError> {
        if queued {
            self.enter_queue(key, id, priority).await
        } else {
            self.leave_queue(key, id).await
        }
    }

    async fn kv(
        &self,
        namespace: &str,
        key: &str,
        now_ms: u64,
    ) -> Result<Option<KvEntry>, StoreError> {
        self.read_pair(namespace, key, now_ms).await
    }

    async fn kv_list(
        &self,
        namespace: &str,
        prefix: &str,
        now_ms: u64,
    ) -> Result<Vec<KvEntry>, StoreError> {
        self.list_pairs(namespace, prefix, now_ms).await
    }

    async fn kv_set(
        &self,
        namespace: &str,
        entry: &KvEntry,
        overwrite: bool,
    ) -> Result<bool, StoreError> {
        self.set_pair(namespace, entry, overwrite).await
    }

    async fn kv_delete(&self, namespace: &str, key: &str) -> Result<bool, StoreError> {
        self.delete_pair(namespace, key).await
    }

    async fn cached(
        &self,
        key: &str,
        now_ms: u64,
    ) -> Result<Option<Map<String, Value>>, StoreError> {
        self.read_cached(key, now_ms).await
    }

    async fn put_cached(
        &self,
        key: &str,
        outputs: &Map<String, Value>,
        expires_ms: Option<u64>,
    ) -> Result<(), StoreError> {
        self.write_cached(key, outputs, expires_ms).await
    }
}

#[async_trait]
impl Records for DynamoStore {
    async fn record(&self, key: &RecordKey, now_ms: u64) -> Result<Option<Record>, StoreError> {
        self.read_record(key, now_ms).await
    }

    async fn save_record(&self, write: RecordWrite) -> Result<RecordOutcome, StoreError> {
        self.write_record(write).await
    }

    async fn delete_record(
        &self,
        key: &RecordKey,
        expected: u64,
    ) -> Result<RecordOutcome, StoreError> {
        self.remove_record(key, expected).await
    }

    async fn records(
        &self,
        kind: RecordKind,
        partition: &str,
        query: &RecordQuery,
    ) -> Result<Vec<Record>, StoreError> {
        self.list_records(kind, partition, query).await
    }

    async fn due_records(
        &self,
        kind: RecordKind,
        now_ms: u64,
        limit: u32,
    ) -> Result<Vec<Record>, StoreError> {
        self.list_due_records(kind, now_ms, limit).await
    }
}
