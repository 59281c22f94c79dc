//! State in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use operon_core::plan::ShardId;
use operon_engine::ports::{
    AttemptRow, Clock as _, ExecutionFilter, ExecutionId, ExecutionRow, KV_BYTES_MAX, KV_KEY_MAX,
    KvEntry, SaveOutcome, ShardKey, ShardRow, ShardWrite, StateStore, StoreError, TaskRunKey,
    Write,
};
use serde_json::{Map, Value};

use super::TestClock;
use super::units::{self, WriteUnits};
use crate::cloud::Faults;

/// State in memory. Each method is one transaction.
#[derive(Debug, Default)]
pub struct MemoryStore {
    tables: Mutex<Tables>,
    clock: Arc<TestClock>,
    faults: Arc<Faults>,
}

/// An execution's place in a lock's queue: larger priorities (negated) first, then age.
type Place = (i64, u64, ExecutionId);

#[derive(Debug, Default)]
struct Tables {
    executions: BTreeMap<ExecutionId, ExecutionRow>,
    /// Versions of the root shards that the rows of executions come from.
    sources: BTreeMap<ExecutionId, u64>,
    /// Labels that people gave.
    given: BTreeMap<ExecutionId, BTreeMap<String, Option<String>>>,
    plans: BTreeMap<String, Vec<u8>>,
    /// Plans that cannot be read.
    damaged: BTreeSet<String>,
    /// The message of detail items that are not taken.
    refused: Option<String>,
    /// Hashes of the plans of a flow; the index is the revision, less one.
    revisions: BTreeMap<(String, String), Vec<String>>,
    shards: BTreeMap<ShardKey, (ShardRow, Option<u64>)>,
    attempts: BTreeMap<(ExecutionId, TaskRunKey, u8), AttemptRow>,
    locks: BTreeMap<String, ShardRow>,
    queues: BTreeMap<String, BTreeSet<Place>>,
    kv: BTreeMap<(String, String), KvEntry>,
    cache: BTreeMap<String, (Map<String, Value>, Option<u64>)>,
    /// Bytes of all shards of an execution.
    bytes: BTreeMap<ExecutionId, usize>,
    /// What all writes cost.
    units: WriteUnits,
}

/// Detail items in one request at most (`BatchWriteItem`).
const BATCH_MAX: usize = 25;

impl MemoryStore {
    /// An empty store; `clock` says which pairs have expired when one is set.
    #[must_use]
    pub fn new(clock: Arc<TestClock>) -> Self {
        Self::failing(clock, Arc::default())
    }

    /// An empty store that fails when it is told to, and counts what it is asked.
    #[must_use]
    pub fn failing(clock: Arc<TestClock>, faults: Arc<Faults>) -> Self {
        Self {
            tables: Mutex::default(),
            clock,
            faults,
        }
    }

    /// From now on no detail item with that message is written, nor what is to be written with it.
    pub fn refuse_rows(&self, message: &str) {
        self.with(|tables| tables.refused = Some(message.to_owned()));
    }

    /// From now on the plan with that hash cannot be read.
    pub fn damage_plan(&self, hash: &str) {
        self.with(|tables| tables.damaged.insert(hash.to_owned()));
    }

    /// An execution, for the test itself: neither counted nor failed.
    #[must_use]
    pub fn peek(&self, id: &ExecutionId) -> Option<ExecutionRow> {
        self.with(|tables| {
            let row = tables.executions.get(id);
            row.map(|row| tables.labelled(row))
        })
    }

    /// Bytes of the largest shard.
    #[must_use]
    pub fn largest_shard(&self) -> usize {
        self.with(|tables| {
            let sizes = tables.shards.values().map(|(row, _)| row.bytes.len());
            sizes.max().unwrap_or(0)
        })
    }

    /// Bytes of the largest item: shards, detail items, executions, locks.
    #[must_use]
    pub fn largest_item(&self) -> usize {
        self.with(|tables| {
            let shards = tables.shards.iter().map(|(key, (row, due))| {
                units::shard_bytes(&key.shard, row.bytes.len(), due.is_some())
            });
            let locks = tables.locks.values().map(|row| row.bytes.len());
            let attempts = tables.attempts.values().map(units::attempt_bytes);
            let executions = tables.executions.values().map(units::execution_bytes);
            let all = shards.chain(locks).chain(attempts).chain(executions);
            all.max().unwrap_or(0)
        })
    }

    /// What the writes cost so far.
    #[must_use]
    pub fn write_units(&self) -> WriteUnits {
        self.with(|tables| tables.units)
    }

    fn change<T>(
        &self,
        what: &'static str,
        work: impl FnOnce(&mut Tables) -> T,
    ) -> Result<T, StoreError> {
        self.faults
            .write("DynamoDB", what, || self.with(work))
            .map_err(StoreError::Busy)
    }

    fn look<T>(
        &self,
        what: &'static str,
        work: impl FnOnce(&mut Tables) -> T,
    ) -> Result<T, StoreError> {
        self.faults
            .read("DynamoDB", what)
            .map_err(StoreError::Busy)?;
        Ok(self.with(work))
    }

    fn with<T>(&self, work: impl FnOnce(&mut Tables) -> T) -> T {
        work(&mut self.tables.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The condition that every write of a shard or lock has.
fn save(there: Option<&ShardRow>, expected: u64, bytes: &[u8]) -> Result<ShardRow, SaveOutcome> {
    if there.map_or(0, |row| row.version) != expected {
        return Err(SaveOutcome::Conflict(there.cloned()));
    }
    Ok(ShardRow {
        version: expected + 1,
        bytes: bytes.to_vec(),
    })
}

impl Tables {
    fn save_shard(&mut self, write: ShardWrite) -> SaveOutcome {
        let size = |content: usize, due: Option<u64>| {
            units::shard_bytes(&write.key.shard, content, due.is_some())
        };
        let there = self.shards.get(&write.key);
        let before = there.map(|(row, due)| (size(row.bytes.len(), *due), *due));
        match save(there.map(|(row, _)| row), write.expected, &write.bytes) {
            Ok(row) => {
                let (version, content) = (row.version, row.bytes.len());
                let after = (size(content, write.due_ms), write.due_ms);
                let whole = self.bytes.entry(write.key.execution.clone()).or_default();
                let old = self.shards.insert(write.key, (row, write.due_ms));
                *whole += content;
                *whole -= old.map_or(0, |(row, _)| row.bytes.len());
                self.units.in_one_item += units::of_item(*whole);
                self.units.shard(before, after);
                SaveOutcome::Saved(version)
            }
            Err(conflict) => {
                self.units.refuse(before.map_or(0, |(bytes, _)| bytes));
                conflict
            }
        }
    }

    fn put_execution(&mut self, mut row: ExecutionRow, source: Option<u64>) {
        let id = row.meta.id.clone();
        if let Some(source) = source {
            let newest = self.sources.entry(id.clone()).or_default();
            if source < *newest {
                if let Some(there) = self.executions.get(&id) {
                    self.units.refuse_execution(there);
                }
                return;
            }
            *newest = source;
        }
        if let Some(there) = self.executions.get(&id) {
            // Fixed when it was created.
            row.meta = there.meta.clone();
        }
        self.units.execution(self.executions.get(&id), &row);
        self.executions.insert(id, row);
    }

    fn put_attempt(&mut self, row: AttemptRow) {
        let key = (row.execution.clone(), row.task_run.clone(), row.attempt);
        self.units.attempt(self.attempts.get(&key), &row);
        self.attempts.insert(key, row);
    }

    /// The row with the labels that people gave it.
    fn labelled(&self, row: &ExecutionRow) -> ExecutionRow {
        let mut row = row.clone();
        let given = self.given.get(&row.meta.id);
        for (key, value) in given.into_iter().flatten() {
            match value {
                Some(value) => row.labels.insert(key.clone(), value.clone()),
                None => row.labels.remove(key),
            };
        }
        row
    }

    fn due_shards(&self) -> impl Iterator<Item = (u64, &ShardKey)> {
        let due = |(key, (_, due)): (_, &(ShardRow, Option<u64>))| Some(((*due)?, key));
        self.shards.iter().filter_map(due)
    }
}

fn limited(limit: u32) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}

fn lives(expires_ms: Option<u64>, now_ms: u64) -> bool {
    expires_ms.is_none_or(|expires| expires > now_ms)
}

/// The limits that every store has.
fn check_pair(entry: &KvEntry) -> Result<(), StoreError> {
    let bytes = entry.value.to_string().len();
    if entry.key.len() > KV_KEY_MAX {
        let bytes = entry.key.len();
        return Err(StoreError::Failed(format!(
            "a key has {bytes} bytes; at most {KV_KEY_MAX} are allowed"
        )));
    }
    if bytes > KV_BYTES_MAX {
        return Err(StoreError::Failed(format!(
            "a value has {bytes} bytes of JSON; at most {KV_BYTES_MAX} can be stored"
        )));
    }
    Ok(())
}

fn matches(row: &ExecutionRow, filter: &ExecutionFilter) -> bool {
    let is = |wanted: &Option<String>, there: &str| wanted.as_deref().is_none_or(|w| w == there);
    let label = |key: &String| row.labels.get(key).or_else(|| row.meta.labels.get(key));
    let place = (row.meta.created_ms, &row.meta.id);
    let before = filter
        .before
        .as_ref()
        .is_none_or(|(ms, id)| place < (*ms, id));
    let after = filter
        .after
        .as_ref()
        .is_none_or(|(ms, id)| place > (*ms, id));
    let in_time = filter.from_ms.is_none_or(|from| from <= place.0)
        && filter.to_ms.is_none_or(|to| place.0 < to);
    let parent = row.meta.parent.as_ref().map(|(id, ..)| id);
    let child = filter.parent.is_none() || filter.parent.as_ref() == parent;
    is(&filter.namespace, &row.meta.namespace)
        && is(&filter.flow, &row.meta.flow)
        && (filter.states.is_empty() || filter.states.contains(&row.state))
        && filter
            .labels
            .iter()
            .all(|(key, value)| label(key) == Some(value))
        && before
        && after
        && in_time
        && child
}

#[async_trait]
impl StateStore for MemoryStore {
    async fn create(&self, row: &ExecutionRow, plan: &[u8]) -> Result<bool, StoreError> {
        self.change("create", |tables| {
            if tables.executions.contains_key(&row.meta.id) {
                return false;
            }
            let hash = row.meta.plan_hash.clone();
            tables.plans.entry(hash).or_insert_with(|| plan.to_vec());
            tables.units.create(row);
            tables.executions.insert(row.meta.id.clone(), row.clone());
            true
        })
    }

    async fn plan(&self, hash: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let found = self.look("plan", |tables| {
            (
                tables.plans.get(hash).cloned(),
                tables.damaged.contains(hash),
            )
        })?;
        match found {
            (Some(_), true) => Err(StoreError::Corrupt(format!("plan {hash}"))),
            (found, _) => Ok(found),
        }
    }

    async fn revision(&self, namespace: &str, flow: &str, hash: &str) -> Result<u32, StoreError> {
        Ok(self.with(|tables| {
            let key = (namespace.to_owned(), flow.to_owned());
            let hashes = tables.revisions.entry(key).or_default();
            let found = hashes.iter().position(|known| known == hash);
            let index = found.unwrap_or_else(|| {
                hashes.push(hash.to_owned());
                hashes.len() - 1
            });
            u32::try_from(index + 1).unwrap_or(u32::MAX)
        }))
    }

    async fn execution(&self, id: &ExecutionId) -> Result<Option<ExecutionRow>, StoreError> {
        self.look("execution", |tables| {
            let row = tables.executions.get(id);
            row.map(|row| tables.labelled(row))
        })
    }

    async fn executions(&self, filter: &ExecutionFilter) -> Result<Vec<ExecutionRow>, StoreError> {
        Ok(self.with(|tables| {
            let all = tables.executions.values();
            let all = all.map(|row| tables.labelled(row));
            let mut rows: Vec<_> = all.filter(|row| matches(row, filter)).collect();
            rows.sort_by(|a, b| {
                (b.meta.created_ms, &b.meta.id).cmp(&(a.meta.created_ms, &a.meta.id))
            });
            if filter.after.is_some() {
                rows.reverse();
            }
            rows.truncate(limited(filter.limit));
            rows
        }))
    }

    async fn set_labels(
        &self,
        id: &ExecutionId,
        labels: &BTreeMap<String, Option<String>>,
    ) -> Result<bool, StoreError> {
        Ok(self.with(|tables| {
            if !tables.executions.contains_key(id) {
                return false;
            }
            let given = tables.given.entry(id.clone()).or_default();
            given.extend(labels.clone());
            true
        }))
    }

    async fn shard(&self, key: &ShardKey) -> Result<Option<ShardRow>, StoreError> {
        self.look("shard", |tables| {
            tables.shards.get(key).map(|(row, _)| row.clone())
        })
    }

    async fn shards_at(&self, keys: &[ShardKey]) -> Result<Vec<Option<ShardRow>>, StoreError> {
        Ok(self.with(|tables| {
            let found = |key| tables.shards.get(key).map(|(row, _)| row.clone());
            keys.iter().map(found).collect()
        }))
    }

    async fn shards(&self, id: &ExecutionId) -> Result<Vec<(ShardId, ShardRow)>, StoreError> {
        Ok(self.with(|tables| {
            let own = tables.shards.iter().filter(|(key, _)| key.execution == *id);
            own.map(|(key, (row, _))| (key.shard.clone(), row.clone()))
                .collect()
        }))
    }

    async fn write(&self, write: Write) -> Result<Vec<SaveOutcome>, StoreError> {
        let refused = self.with(|tables| tables.refused.clone());
        if refused.is_some() && write.attempts.iter().any(|row| row.message == refused) {
            return Err(StoreError::Failed("an item is refused".to_owned()));
        }
        // One item after the other, in the order of the contract, as a table without transactions does it.
        let mut outcomes = Vec::with_capacity(write.shards.len());
        let mut sources: BTreeMap<ShardKey, u64> = write.read.into_iter().collect();
        for shard in write.shards {
            let key = shard.key.clone();
            let outcome = self.change("write shard", |tables| tables.save_shard(shard))?;
            if let SaveOutcome::Saved(version) = outcome {
                sources.insert(key, version);
            }
            outcomes.push(outcome);
        }
        let (ended, going): (Vec<_>, Vec<_>) = write
            .attempts
            .into_iter()
            .partition(|row| row.ended_ms.is_some());
        for row in going {
            self.change("write attempt", |tables| tables.put_attempt(row))?;
        }
        // What has ended goes together.
        for batch in ended.chunks(BATCH_MAX) {
            let batch = batch.to_vec();
            self.change("write attempts", |tables| {
                for row in batch {
                    tables.put_attempt(row);
                }
            })?;
        }
        for row in write.executions {
            let source = sources.get(&ShardKey::root(&row.meta.id)).copied();
            self.change("write execution", |tables| {
                tables.put_execution(row, source);
            })?;
        }
        Ok(outcomes)
    }

    async fn due(&self, now_ms: u64, limit: u32) -> Result<Vec<ShardKey>, StoreError> {
        Ok(self.with(|tables| {
            let due: BTreeSet<_> = tables
                .due_shards()
                .filter(|(due, _)| *due <= now_ms)
                .collect();
            let keys = due.into_iter().map(|(_, key)| key.clone());
            keys.take(limited(limit)).collect()
        }))
    }

    async fn next_due(&self) -> Result<Option<u64>, StoreError> {
        Ok(self.with(|tables| tables.due_shards().map(|(due, _)| due).min()))
    }

    async fn attempts(
        &self,
        id: &ExecutionId,
        run: &TaskRunKey,
    ) -> Result<Vec<AttemptRow>, StoreError> {
        self.look("attempts", |tables| {
            let range = (id.clone(), run.clone(), 0)..=(id.clone(), run.clone(), u8::MAX);
            tables
                .attempts
                .range(range)
                .map(|(_, row)| row.clone())
                .collect()
        })
    }

    async fn attempts_of_task(
        &self,
        id: &ExecutionId,
        task: &str,
        limit: u32,
    ) -> Result<Vec<AttemptRow>, StoreError> {
        Ok(self.with(|tables| {
            let own = tables.attempts.values();
            let own = own.filter(|row| row.execution == *id && row.task == task);
            // The map is in the order of keys.
            own.take(limited(limit)).cloned().collect()
        }))
    }

    async fn attempts_page(
        &self,
        id: &ExecutionId,
        after: Option<(TaskRunKey, u8)>,
        limit: u32,
    ) -> Result<Vec<AttemptRow>, StoreError> {
        Ok(self.with(|tables| {
            let own = tables.attempts.values().filter(|row| row.execution == *id);
            let later = |row: &&AttemptRow| {
                after
                    .as_ref()
                    .is_none_or(|(run, attempt)| (&row.task_run, &row.attempt) > (run, attempt))
            };
            own.filter(later).take(limited(limit)).cloned().collect()
        }))
    }

    async fn lock(&self, key: &str) -> Result<Option<ShardRow>, StoreError> {
        Ok(self.with(|tables| tables.locks.get(key).cloned()))
    }

    async fn save_lock(
        &self,
        key: &str,
        expected: u64,
        bytes: &[u8],
        _due_ms: Option<u64>,
    ) -> Result<SaveOutcome, StoreError> {
        Ok(self.with(
            |tables| match save(tables.locks.get(key), expected, bytes) {
                Ok(row) => {
                    let version = row.version;
                    tables.locks.insert(key.to_owned(), row);
                    SaveOutcome::Saved(version)
                }
                Err(conflict) => conflict,
            },
        ))
    }

    async fn queued(&self, key: &str, limit: u32) -> Result<Vec<ExecutionId>, StoreError> {
        Ok(self.with(|tables| {
            let queue = tables.queues.get(key).into_iter().flatten();
            let ids = queue.map(|(_, _, id)| id.clone());
            ids.take(limited(limit)).collect()
        }))
    }

    async fn set_queued(
        &self,
        key: &str,
        id: &ExecutionId,
        priority: i32,
        queued: bool,
    ) -> Result<(), StoreError> {
        self.with(|tables| {
            let created_ms = tables
                .executions
                .get(id)
                .map_or(0, |row| row.meta.created_ms);
            let queue = tables.queues.entry(key.to_owned()).or_default();
            queue.retain(|(_, _, there)| there != id);
            if queued {
                queue.insert((-i64::from(priority), created_ms, id.clone()));
            }
        });
        Ok(())
    }

    async fn kv(
        &self,
        namespace: &str,
        key: &str,
        now_ms: u64,
    ) -> Result<Option<KvEntry>, StoreError> {
        let place = (namespace.to_owned(), key.to_owned());
        Ok(self.with(|tables| {
            let entry = tables.kv.get(&place);
            entry
                .filter(|entry| lives(entry.expires_ms, now_ms))
                .cloned()
        }))
    }

    async fn kv_list(
        &self,
        namespace: &str,
        prefix: &str,
        now_ms: u64,
    ) -> Result<Vec<KvEntry>, StoreError> {
        Ok(self.with(|tables| {
            let all = tables.kv.iter();
            all.filter(|((space, key), _)| space == namespace && key.starts_with(prefix))
                .filter(|(_, entry)| lives(entry.expires_ms, now_ms))
                .map(|(_, entry)| entry.clone())
                .collect()
        }))
    }

    async fn kv_set(
        &self,
        namespace: &str,
        entry: &KvEntry,
        overwrite: bool,
    ) -> Result<bool, StoreError> {
        check_pair(entry)?;
        let place = (namespace.to_owned(), entry.key.clone());
        let now_ms = self.clock.now_ms();
        Ok(self.with(|tables| {
            let there = tables.kv.get(&place);
            if !overwrite && there.is_some_and(|there| lives(there.expires_ms, now_ms)) {
                return false;
            }
            tables.kv.insert(place, entry.clone());
            true
        }))
    }

    async fn kv_delete(&self, namespace: &str, key: &str) -> Result<bool, StoreError> {
        let place = (namespace.to_owned(), key.to_owned());
        Ok(self.with(|tables| tables.kv.remove(&place)).is_some())
    }

    async fn cached(
        &self,
        key: &str,
        now_ms: u64,
    ) -> Result<Option<Map<String, Value>>, StoreError> {
        Ok(self.with(|tables| {
            let found = tables.cache.get(key);
            let found = found.filter(|(_, expires_ms)| lives(*expires_ms, now_ms));
            found.map(|(outputs, _)| outputs.clone())
        }))
    }

    async fn put_cached(
        &self,
        key: &str,
        outputs: &Map<String, Value>,
        expires_ms: Option<u64>,
    ) -> Result<(), StoreError> {
        self.with(|tables| {
            tables
                .cache
                .insert(key.to_owned(), (outputs.clone(), expires_ms))
        });
        Ok(())
    }
}
