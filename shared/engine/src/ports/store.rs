//! State: executions, shards, attempts, plans, locks, key-value pairs.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use async_trait::async_trait;
use operon_core::exec::Event;
use operon_core::plan::ShardId;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::attempt::AttemptId;

/// One execution of a flow: 1 to 64 letters, digits, `-` and `_`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ExecutionId(String);

impl ExecutionId {
    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ExecutionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ExecutionId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fits = (1..=64).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            let shown: String = text.chars().take(80).collect();
            Err(format!(
                "`{shown}` is not an execution id; it has 1 to 64 letters, digits, `-` and `_`"
            ))
        }
    }
}

impl TryFrom<String> for ExecutionId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<ExecutionId> for String {
    fn from(id: ExecutionId) -> Self {
        id.0
    }
}

/// Address of a shard.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ShardKey {
    /// Whose.
    pub execution: ExecutionId,
    /// Which.
    pub shard: ShardId,
}

impl ShardKey {
    /// The root shard of an execution: who is told about the whole of it.
    #[must_use]
    pub fn root(execution: &ExecutionId) -> Self {
        Self {
            execution: execution.clone(),
            shard: ShardId::ROOT,
        }
    }
}

/// Address of a task run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TaskRunKey {
    /// Its shard.
    pub shard: ShardId,
    /// Its place there.
    pub slot: u16,
}

/// What is fixed when an execution is created. Never changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExecutionMeta {
    /// Its id; derived from trigger and event where there is one.
    pub id: ExecutionId,
    /// Of the flow.
    pub namespace: String,
    /// Of the flow.
    pub flow: String,
    /// Of the flow; local engine: counts the different plans seen in this state directory.
    pub revision: u32,
    /// Content hash of the plan it is pinned to.
    pub plan_hash: String,
    /// Validated inputs; files are artifact URIs, secrets are references.
    pub inputs: Map<String, Value>,
    /// Of the flow, the trigger and the caller.
    pub labels: BTreeMap<String, String>,
    /// `trigger.*` of expressions; null without a trigger.
    pub trigger: Value,
    /// Milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// Execution and task run that started it as a subflow and wait for its end.
    pub parent: Option<(ExecutionId, TaskRunKey, u8)>,
    /// Execution it replays, and the task it replays from.
    pub replay_of: Option<(ExecutionId, String)>,
    /// Directory of the flow file (local engine): namespace files and subflows are found there.
    pub flow_dir: Option<String>,
    /// Larger goes first among queued executions.
    pub priority: i32,
}

/// What is shown and searched of an execution; derived from its root shard, never read by the core.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExecutionRow {
    /// The fixed part.
    pub meta: ExecutionMeta,
    /// Kestra's name: `CREATED`, `QUEUED`, `RUNNING`, `PAUSED`, `KILLING`, `SUCCESS`, …
    pub state: String,
    /// Why it is in that state, for people.
    pub reason: Option<String>,
    /// First task launched, milliseconds since the epoch.
    pub started_ms: Option<u64>,
    /// Terminal since.
    pub ended_ms: Option<u64>,
    /// The flow's outputs, once it ended.
    pub outputs: Map<String, Value>,
    /// Labels added while it ran, by its tasks and by people ([`StateStore::set_labels`]).
    pub labels: BTreeMap<String, String>,
}

/// A shard as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardRow {
    /// Counts writes; the condition of the next one.
    pub version: u64,
    /// Encoded by the core.
    pub bytes: Vec<u8>,
}

/// One conditional write of a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardWrite {
    /// Which.
    pub key: ShardKey,
    /// Version read; 0 when the shard must not exist yet.
    pub expected: u64,
    /// New content.
    pub bytes: Vec<u8>,
    /// When somebody must look at it again, milliseconds since the epoch; none when it is complete.
    pub due_ms: Option<u64>,
}

/// Everything that one turn of the planner writes, applied in one transaction where the store has them
/// and otherwise in this order. What is derived from a shard whose write is in conflict may be dropped with it: it is
/// derived again from what is there.
#[derive(Debug, Clone, Default)]
pub struct Write {
    /// Conditional; a conflict drops this write of a shard only.
    pub shards: Vec<ShardWrite>,
    /// Idempotent puts for people and for expressions.
    pub attempts: Vec<AttemptRow>,
    /// Idempotent puts of derived state.
    pub executions: Vec<ExecutionRow>,
    /// Versions of the root shards that rows of executions come from, where these were read and are not written here:
    /// such a row replaces none that comes from a newer one. A store with a single writer need not look.
    pub read: Vec<(ShardKey, u64)>,
}

/// Result of one [`ShardWrite`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SaveOutcome {
    /// Written; this is its version now.
    Saved(u64),
    /// Somebody else wrote first; this is what is there.
    Conflict(Option<ShardRow>),
}

/// The detail item of one attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AttemptRow {
    /// Whose.
    pub execution: ExecutionId,
    /// Which task run.
    pub task_run: TaskRunKey,
    /// Which attempt, from 1. 0 holds what belongs to no attempt (a skipped or cancelled task run, a group).
    pub attempt: u8,
    /// Of the task in the flow.
    pub task: String,
    /// For people: `align[12]`.
    pub name: String,
    /// Value of the innermost loop's iteration.
    pub item: Option<Value>,
    /// Name of the enclosing group, choice or loop task run.
    pub parent: Option<String>,
    /// Kestra's state name.
    pub state: String,
    /// Reason word of the core, for people.
    pub reason: Option<String>,
    /// Sentence for people: the error message.
    pub message: Option<String>,
    /// Of the main process.
    pub exit_code: Option<i32>,
    /// Milliseconds since the epoch: command created, process started, ended.
    pub created_ms: u64,
    /// See `created_ms`.
    pub started_ms: Option<u64>,
    /// See `created_ms`.
    pub ended_ms: Option<u64>,
    /// `outputs.<task>`: at most 4 KiB of JSON here, else `outputs_uri`.
    pub outputs: Map<String, Value>,
    /// Artifact that holds the outputs when they are large.
    pub outputs_uri: Option<String>,
    /// Counters and timers the task emitted.
    pub metrics: Vec<super::Metric>,
    /// What it used.
    pub usage: super::Usage,
}

impl AttemptRow {
    /// Which attempt it is about.
    #[must_use]
    pub fn id(&self) -> AttemptId {
        AttemptId {
            execution: self.execution.clone(),
            task_run: self.task_run.clone(),
            attempt: self.attempt,
        }
    }
}

/// What `executions` may be listed by. Newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecutionFilter {
    /// Exact.
    pub namespace: Option<String>,
    /// Exact.
    pub flow: Option<String>,
    /// Any of these; empty means all.
    pub states: Vec<String>,
    /// Label key and value, all must match.
    pub labels: Vec<(String, String)>,
    /// Rows at most.
    pub limit: u32,
    /// Only executions created before this one (cursor).
    pub before: Option<(u64, ExecutionId)>,
    /// Only executions created after this one (cursor); with it, the oldest come first.
    pub after: Option<(u64, ExecutionId)>,
    /// Only executions created at or after this time, milliseconds since the epoch.
    pub from_ms: Option<u64>,
    /// Only executions created before this time, milliseconds since the epoch.
    pub to_ms: Option<u64>,
    /// Only subflows of this execution.
    pub parent: Option<ExecutionId>,
}

/// Bytes of the JSON of a key-value pair's value, or of cached outputs, at most: below `DynamoDB`'s 400 KB for an
/// item. Larger data belongs into an artifact.
pub const KV_BYTES_MAX: usize = 300 * 1024;

/// Bytes of a pair's key at most: `DynamoDB`'s limit for a sort key.
pub const KV_KEY_MAX: usize = 1024;

/// A key-value pair of a namespace.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KvEntry {
    /// Unique in the namespace.
    pub key: String,
    /// Any JSON.
    pub value: Value,
    /// Milliseconds since the epoch at which it vanishes.
    pub expires_ms: Option<u64>,
}

/// Why the store did not answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The same request may succeed later.
    #[error("the state store is busy: {0}")]
    Busy(String),
    /// What is stored is not what this release understands.
    #[error("the state store holds something unreadable: {0}")]
    Corrupt(String),
    /// Anything else.
    #[error("the state store failed: {0}")]
    Failed(String),
}

/// Where executions live. Every method may be repeated without harm.
#[async_trait]
pub trait StateStore: Send + Sync {
    /// Stores an execution and its plan unless it exists; false when it did (its content is kept).
    async fn create(&self, row: &ExecutionRow, plan: &[u8]) -> Result<bool, StoreError>;
    /// The plan with that hash.
    async fn plan(&self, hash: &str) -> Result<Option<Vec<u8>>, StoreError>;
    /// Revision number of this plan of this flow: a new hash gets the next number.
    async fn revision(&self, namespace: &str, flow: &str, hash: &str) -> Result<u32, StoreError>;
    /// One execution.
    async fn execution(&self, id: &ExecutionId) -> Result<Option<ExecutionRow>, StoreError>;
    /// Newest first.
    async fn executions(&self, filter: &ExecutionFilter) -> Result<Vec<ExecutionRow>, StoreError>;
    /// Sets or (with none) removes labels that people gave an execution; false when there is no such execution.
    /// They win over those of the flow, and no other write of the execution changes them. Tasks give theirs in the
    /// same way: of two the later wins.
    async fn set_labels(
        &self,
        id: &ExecutionId,
        labels: &BTreeMap<String, Option<String>>,
    ) -> Result<bool, StoreError>;
    /// A shard, strongly consistent.
    async fn shard(&self, key: &ShardKey) -> Result<Option<ShardRow>, StoreError>;
    /// Shards by their keys, in the order of these; none where there is none. At once, for lists.
    async fn shards_at(&self, keys: &[ShardKey]) -> Result<Vec<Option<ShardRow>>, StoreError>;
    /// All shards of an execution, for people and for recovery.
    async fn shards(&self, id: &ExecutionId) -> Result<Vec<(ShardId, ShardRow)>, StoreError>;
    /// Writes; one outcome per shard write, in order. Durable when it returns.
    async fn write(&self, write: Write) -> Result<Vec<SaveOutcome>, StoreError>;
    /// Shards due at or before `now_ms`, the longest overdue first.
    async fn due(&self, now_ms: u64, limit: u32) -> Result<Vec<ShardKey>, StoreError>;
    /// The earliest due time of all shards.
    async fn next_due(&self) -> Result<Option<u64>, StoreError>;
    /// Attempts of one task run, ascending.
    async fn attempts(
        &self,
        id: &ExecutionId,
        run: &TaskRunKey,
    ) -> Result<Vec<AttemptRow>, StoreError>;
    /// Attempts of all task runs of one task in the order of their keys, so those of a loop come in the order of its
    /// iterations; `limit` rows at most.
    async fn attempts_of_task(
        &self,
        id: &ExecutionId,
        task: &str,
        limit: u32,
    ) -> Result<Vec<AttemptRow>, StoreError>;
    /// Attempts of an execution in stable order, after the row with that key; pages of `limit`.
    async fn attempts_page(
        &self,
        id: &ExecutionId,
        after: Option<(TaskRunKey, u8)>,
        limit: u32,
    ) -> Result<Vec<AttemptRow>, StoreError>;
    /// A lock's encoded state and version.
    async fn lock(&self, key: &str) -> Result<Option<ShardRow>, StoreError>;
    /// Conditional write of a lock; expected 0 when it must not exist.
    async fn save_lock(
        &self,
        key: &str,
        expected: u64,
        bytes: &[u8],
        due_ms: Option<u64>,
    ) -> Result<SaveOutcome, StoreError>;
    /// Executions queued for a lock, in the order in which they get it.
    async fn queued(&self, key: &str, limit: u32) -> Result<Vec<ExecutionId>, StoreError>;
    /// Enters or removes an execution from a lock's queue.
    async fn set_queued(
        &self,
        key: &str,
        id: &ExecutionId,
        priority: i32,
        queued: bool,
    ) -> Result<(), StoreError>;
    /// A pair, unless it expired before `now_ms`.
    async fn kv(
        &self,
        namespace: &str,
        key: &str,
        now_ms: u64,
    ) -> Result<Option<KvEntry>, StoreError>;
    /// All pairs of a namespace whose key begins with `prefix`.
    async fn kv_list(
        &self,
        namespace: &str,
        prefix: &str,
        now_ms: u64,
    ) -> Result<Vec<KvEntry>, StoreError>;
    /// Sets a pair; false when it exists and `overwrite` is not allowed.
    async fn kv_set(
        &self,
        namespace: &str,
        entry: &KvEntry,
        overwrite: bool,
    ) -> Result<bool, StoreError>;
    /// Removes a pair; false when there was none.
    async fn kv_delete(&self, namespace: &str, key: &str) -> Result<bool, StoreError>;
    /// Task cache: outputs stored under a content key, unless expired.
    async fn cached(
        &self,
        key: &str,
        now_ms: u64,
    ) -> Result<Option<Map<String, Value>>, StoreError>;
    /// Stores outputs under a content key.
    async fn put_cached(
        &self,
        key: &str,
        outputs: &Map<String, Value>,
        expires_ms: Option<u64>,
    ) -> Result<(), StoreError>;
}

/// Gives events to shards, whoever plans them: the plan queue, or the inbox of an engine.
#[async_trait]
pub trait EventSink: Send + Sync {
    /// Delivers the event at least once, at some time. Durable when it returns.
    async fn send(&self, key: &ShardKey, event: &Event) -> Result<(), StoreError>;
}
