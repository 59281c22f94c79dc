//! State in one SQLite file.
//!
//! One thread writes, two read (`writer`, `readers`); every write is a transaction that is durable before
//! it is answered. Several processes may have the store open: `operon logs` and `operon kill` beside a running
//! engine. Invariant: a shard is written only by whoever has read its version, whichever process that is.

mod attempts;
mod claims;
mod codec;
mod executions;
mod inbox;
mod pairs;
mod readers;
mod records;
mod schema;
mod shards;
#[cfg(test)]
mod tests;
mod writer;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use operon_core::exec::Event;
use operon_core::plan::ShardId;
use operon_engine::ports::{
    AttemptRow, Clock, EventSink, ExecutionFilter, ExecutionId, ExecutionRow, KvEntry, Record,
    RecordKey, RecordKind, RecordOutcome, RecordQuery, RecordWrite, Records, SaveOutcome, ShardKey,
    ShardRow, StateStore, StoreError, TaskRunKey, Write,
};
use serde_json::{Map, Value};

pub use claims::{Claim, Claimant, LaunchedClaim, ProcessIdentity};
pub use inbox::Posted;

use crate::clock::SystemClock;
use readers::Readers;
use writer::Writer;

/// The state store of the local engine.
pub struct SqliteStore {
    // Readers first: whoever closes last moves the log into the database, and that should be the writer.
    readers: Readers,
    writer: Writer,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteStore").finish_non_exhaustive()
    }
}

impl SqliteStore {
    /// Opens the database, creating it where there is none. Blocks for some milliseconds.
    ///
    /// Fails when the file is damaged, belongs to another program or to a newer release, or cannot be opened.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Self::open_with(path, Arc::new(SystemClock))
    }

    /// [`Self::open`] with another clock; only `kv_set` without overwriting asks for the time.
    pub fn open_with(path: &Path, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        let writer = Writer::start(path)?;
        Ok(Self {
            readers: Readers::start(path)?,
            writer,
            clock,
        })
    }

    /// Leaves an event for the engine, which may be another process; its number.
    pub async fn post(&self, key: &ShardKey, event: &Event) -> Result<i64, StoreError> {
        let (key, event) = (key.clone(), event.clone());
        self.writer
            .run(move |connection| inbox::post(connection, &key, &event))
            .await
    }

    /// The oldest events left for the engine. They stay until [`Self::ack_inbox`].
    pub async fn take_inbox(&self, limit: u32) -> Result<Vec<Posted>, StoreError> {
        self.readers
            .run(move |connection| inbox::take(connection, limit))
            .await
    }

    /// Removes events that have been applied.
    pub async fn ack_inbox(&self, ids: &[i64]) -> Result<(), StoreError> {
        let ids = ids.to_vec();
        self.writer
            .run(move |connection| inbox::ack(connection, &ids))
            .await
    }

    /// Removes key-value pairs, cached outputs and records that have expired; how many.
    pub async fn purge_expired(&self, now_ms: u64) -> Result<usize, StoreError> {
        self.writer
            .run(move |connection| {
                Ok(pairs::purge_expired(connection, now_ms)?
                    + records::purge_expired(connection, now_ms)?)
            })
            .await
    }

    /// Locks due at or before `now_ms`, the longest overdue first, with their due times.
    pub async fn due_locks(
        &self,
        now_ms: u64,
        limit: u32,
    ) -> Result<Vec<(String, u64)>, StoreError> {
        self.readers
            .run(move |connection| shards::due_locks(connection, now_ms, limit))
            .await
    }

    /// Attempts of all task runs of a task, in the order of its iterations, after the row with that key.
    pub async fn attempts_of_task_page(
        &self,
        id: &ExecutionId,
        task: &str,
        after: Option<(TaskRunKey, u8)>,
        limit: u32,
    ) -> Result<Vec<AttemptRow>, StoreError> {
        let (id, task) = (id.clone(), task.to_owned());
        self.readers
            .run(move |connection| attempts::of_task(connection, &id, &task, after.as_ref(), limit))
            .await
    }
}

#[async_trait]
impl StateStore for SqliteStore {
    async fn create(&self, row: &ExecutionRow, plan: &[u8]) -> Result<bool, StoreError> {
        let (row, plan) = (row.clone(), plan.to_vec());
        self.writer
            .run(move |connection| executions::create(connection, &row, &plan))
            .await
    }

    async fn plan(&self, hash: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let hash = hash.to_owned();
        self.readers
            .run(move |connection| executions::plan(connection, &hash))
            .await
    }

    async fn revision(&self, namespace: &str, flow: &str, hash: &str) -> Result<u32, StoreError> {
        let (namespace, flow, hash) = (namespace.to_owned(), flow.to_owned(), hash.to_owned());
        let key = (namespace.clone(), flow.clone(), hash.clone());
        let known = self
            .readers
            .run(move |connection| executions::known_revision(connection, &key.0, &key.1, &key.2))
            .await?;
        match known {
            Some(revision) => Ok(revision),
            None => {
                self.writer
                    .run(move |connection| {
                        executions::revision(connection, &namespace, &flow, &hash)
                    })
                    .await
            }
        }
    }

    async fn execution(&self, id: &ExecutionId) -> Result<Option<ExecutionRow>, StoreError> {
        let id = id.clone();
        self.readers
            .run(move |connection| executions::one(connection, &id))
            .await
    }

    async fn executions(&self, filter: &ExecutionFilter) -> Result<Vec<ExecutionRow>, StoreError> {
        let filter = filter.clone();
        self.readers
            .run(move |connection| executions::list(connection, &filter))
            .await
    }

    async fn set_labels(
        &self,
        id: &ExecutionId,
        labels: &BTreeMap<String, Option<String>>,
    ) -> Result<bool, StoreError> {
        let (id, labels) = (id.clone(), labels.clone());
        self.writer
            .run(move |connection| executions::set_labels(connection, &id, &labels))
            .await
    }

    async fn shard(&self, key: &ShardKey) -> Result<Option<ShardRow>, StoreError> {
        let key = key.clone();
        self.readers
            .run(move |connection| shards::read(connection, &key))
            .await
    }

    async fn shards_at(&self, keys: &[ShardKey]) -> Result<Vec<Option<ShardRow>>, StoreError> {
        let keys = keys.to_vec();
        self.readers
            .run(move |connection| {
                keys.iter()
                    .map(|key| shards::read(connection, key))
                    .collect()
            })
            .await
    }

    async fn shards(&self, id: &ExecutionId) -> Result<Vec<(ShardId, ShardRow)>, StoreError> {
        let id = id.clone();
        self.readers
            .run(move |connection| shards::read_all(connection, &id))
            .await
    }

    async fn write(&self, write: Write) -> Result<Vec<SaveOutcome>, StoreError> {
        self.writer
            .run(move |connection| {
                let outcomes = write
                    .shards
                    .iter()
                    .map(|shard| shards::save(connection, shard))
                    .collect::<Result<_, _>>()?;
                for row in &write.attempts {
                    attempts::put(connection, row)?;
                }
                for row in &write.executions {
                    executions::put(connection, row)?;
                }
                Ok(outcomes)
            })
            .await
    }

    async fn due(&self, now_ms: u64, limit: u32) -> Result<Vec<ShardKey>, StoreError> {
        self.readers
            .run(move |connection| shards::due(connection, now_ms, limit))
            .await
    }

    async fn next_due(&self) -> Result<Option<u64>, StoreError> {
        self.readers.run(shards::next_due).await
    }

    async fn attempts(
        &self,
        id: &ExecutionId,
        run: &TaskRunKey,
    ) -> Result<Vec<AttemptRow>, StoreError> {
        let (id, run) = (id.clone(), run.clone());
        self.readers
            .run(move |connection| attempts::of_task_run(connection, &id, &run))
            .await
    }

    async fn attempts_of_task(
        &self,
        id: &ExecutionId,
        task: &str,
        limit: u32,
    ) -> Result<Vec<AttemptRow>, StoreError> {
        self.attempts_of_task_page(id, task, None, limit).await
    }

    async fn attempts_page(
        &self,
        id: &ExecutionId,
        after: Option<(TaskRunKey, u8)>,
        limit: u32,
    ) -> Result<Vec<AttemptRow>, StoreError> {
        let id = id.clone();
        self.readers
            .run(move |connection| attempts::page(connection, &id, after.as_ref(), limit))
            .await
    }

    async fn lock(&self, key: &str) -> Result<Option<ShardRow>, StoreError> {
        let key = key.to_owned();
        self.readers
            .run(move |connection| shards::lock(connection, &key))
            .await
    }

    async fn save_lock(
        &self,
        key: &str,
        expected: u64,
        bytes: &[u8],
        due_ms: Option<u64>,
    ) -> Result<SaveOutcome, StoreError> {
        let (key, bytes) = (key.to_owned(), bytes.to_vec());
        self.writer
            .run(move |connection| shards::save_lock(connection, &key, expected, &bytes, due_ms))
            .await
    }

    async fn queued(&self, key: &str, limit: u32) -> Result<Vec<ExecutionId>, StoreError> {
        let key = key.to_owned();
        self.readers
            .run(move |connection| shards::queued(connection, &key, limit))
            .await
    }

    async fn set_queued(
        &self,
        key: &str,
        id: &ExecutionId,
        priority: i32,
        queued: bool,
    ) -> Result<(), StoreError> {
        let (key, id) = (key.to_owned(), id.clone());
        self.writer
            .run(move |connection| shards::set_queued(connection, &key, &id, priority, queued))
            .await
    }

    async fn kv(
        &self,
        namespace: &str,
        key: &str,
        now_ms: u64,
    ) -> Result<Option<KvEntry>, StoreError> {
        let (namespace, key) = (namespace.to_owned(), key.to_owned());
        self.readers
            .run(move |connection| pairs::get(connection, &namespace, &key, now_ms))
            .await
    }

    async fn kv_list(
        &self,
        namespace: &str,
        prefix: &str,
        now_ms: u64,
    ) -> Result<Vec<KvEntry>, StoreError> {
        let (namespace, prefix) = (namespace.to_owned(), prefix.to_owned());
        self.readers
            .run(move |connection| pairs::list(connection, &namespace, &prefix, now_ms))
            .await
    }

    async fn kv_set(
        &self,
        namespace: &str,
        entry: &KvEntry,
        overwrite: bool,
    ) -> Result<bool, StoreError> {
        let (namespace, entry) = (namespace.to_owned(), entry.clone());
        let now_ms = self.clock.now_ms();
        self.writer
            .run(move |connection| pairs::set(connection, &namespace, &entry, overwrite, now_ms))
            .await
    }

    async fn kv_delete(&self, namespace: &str, key: &str) -> Result<bool, StoreError> {
        let (namespace, key) = (namespace.to_owned(), key.to_owned());
        self.writer
            .run(move |connection| pairs::delete(connection, &namespace, &key))
            .await
    }

    async fn cached(
        &self,
        key: &str,
        now_ms: u64,
    ) -> Result<Option<Map<String, Value>>, StoreError> {
        let key = key.to_owned();
        self.readers
            .run(move |connection| pairs::cached(connection, &key, now_ms))
            .await
    }

    async fn put_cached(
        &self,
        key: &str,
        outputs: &Map<String, Value>,
        expires_ms: Option<u64>,
    ) -> Result<(), StoreError> {
        let (key, outputs) = (key.to_owned(), outputs.clone());
        self.writer
            .run(move |connection| pairs::put_cached(connection, &key, &outputs, expires_ms))
            .await
    }
}

#[async_trait]
impl Records for SqliteStore {
    async fn record(&self, key: &RecordKey, now_ms: u64) -> Result<Option<Record>, StoreError> {
        let key = key.clone();
        self.readers
            .run(move |connection| records::get(connection, &key, now_ms))
            .await
    }

    async fn save_record(&self, write: RecordWrite) -> Result<RecordOutcome, StoreError> {
        let now_ms = self.clock.now_ms();
        self.writer
            .run(move |connection| records::save(connection, &write, now_ms))
            .await
    }

    async fn delete_record(
        &self,
        key: &RecordKey,
        expected: u64,
    ) -> Result<RecordOutcome, StoreError> {
        let key = key.clone();
        self.writer
            .run(move |connection| records::delete(connection, &key, expected))
            .await
    }

    async fn records(
        &self,
        kind: RecordKind,
        partition: &str,
        query: &RecordQuery,
    ) -> Result<Vec<Record>, StoreError> {
        let (partition, query) = (partition.to_owned(), query.clone());
        self.readers
            .run(move |connection| records::list(connection, kind, &partition, &query))
            .await
    }

    async fn due_records(
        &self,
        kind: RecordKind,
        now_ms: u64,
        limit: u32,
    ) -> Result<Vec<Record>, StoreError> {
        self.readers
            .run(move |connection| records::due(connection, kind, now_ms, limit))
            .await
    }
}

#[async_trait]
impl EventSink for SqliteStore {
    async fn send(&self, key: &ShardKey, event: &Event) -> Result<(), StoreError> {
        self.post(key, event).await.map(drop)
    }
}
