//! Records: small versioned documents beside executions.
//!
//! Flows and their revisions, what triggers remember, batches that fill, incidents, the audit trail, dead letters:
//! each is a [`Record`], written on condition of its version and found by its partition, or by the time at
//! which somebody must look at it. One port serves them all, so that a new kind needs no new table, no new
//! index and no new method in any store.

use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::StoreError;

/// Bytes of a record's JSON at most: below `DynamoDB`'s 400 KB for an item (aws.md 2.3). Larger data is an
/// artifact, and the record names it.
pub const RECORD_BYTES_MAX: usize = 300 * 1024;

/// Bytes of a partition or sort key at most: below `DynamoDB`'s 1,024 for a sort key.
pub const RECORD_KEY_MAX: usize = 900;

/// Rows of one page at most.
pub const RECORD_PAGE_MAX: u32 = 1000;

/// What a record is about. The list is closed: a store may show and purge each kind by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecordKind {
    /// A flow: which revision is current, whether it is disabled.
    Flow,
    /// One immutable revision of a flow, with its source.
    Revision,
    /// What a trigger remembers: cursor, last and next time, whether it is disabled.
    Trigger,
    /// An event that was accepted: the execution it started, or why it was rejected.
    Event,
    /// Events that wait for others.
    Batch,
    /// What was measured of a task, for choosing the sizes of batches.
    Estimate,
    /// An alert that is open.
    Incident,
    /// What a namespace says for all its flows: notifications.
    Policy,
    /// Who changed what, when; only ever added.
    Audit,
    /// A message that nobody could handle.
    DeadLetter,
    /// A backfill of a schedule.
    Backfill,
    /// What a runtime was told once: a task definition, a launched attempt.
    Runtime,
    /// What a request with an idempotency key was answered.
    Request,
    /// What a person answered to a pause.
    Answer,
    /// What was measured of an execution that is over.
    Measurement,
}

impl RecordKind {
    /// The name in keys and columns.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Flow => "flow",
            Self::Revision => "revision",
            Self::Trigger => "trigger",
            Self::Event => "event",
            Self::Batch => "batch",
            Self::Estimate => "estimate",
            Self::Incident => "incident",
            Self::Policy => "policy",
            Self::Audit => "audit",
            Self::DeadLetter => "dead-letter",
            Self::Backfill => "backfill",
            Self::Runtime => "runtime",
            Self::Request => "request",
            Self::Answer => "answer",
            Self::Measurement => "measurement",
        }
    }
}

impl fmt::Display for RecordKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Where a record is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordKey {
    /// What it is about.
    pub kind: RecordKind,
    /// What is listed together; may be empty.
    pub partition: String,
    /// Order within the partition, by bytes.
    pub sort: String,
}

impl RecordKey {
    /// A key of these parts.
    #[must_use]
    pub fn new(kind: RecordKind, partition: impl Into<String>, sort: impl Into<String>) -> Self {
        Self {
            kind,
            partition: partition.into(),
            sort: sort.into(),
        }
    }
}

/// A record as stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Where.
    pub key: RecordKey,
    /// Counts writes from 1; the condition of the next one.
    pub version: u64,
    /// What. JSON with a `format` number where it outlives a release.
    pub value: Value,
    /// When somebody must look at it, milliseconds since the epoch.
    pub due_ms: Option<u64>,
    /// When it vanishes, milliseconds since the epoch. It may be seen for some time after that in `list`, never in
    /// `get`.
    pub expires_ms: Option<u64>,
}

/// One conditional write of a record.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordWrite {
    /// Where.
    pub key: RecordKey,
    /// Version read; 0 when there must be none.
    pub expected: u64,
    /// New content.
    pub value: Value,
    /// See [`Record::due_ms`].
    pub due_ms: Option<u64>,
    /// See [`Record::expires_ms`].
    pub expires_ms: Option<u64>,
}

/// Result of a [`RecordWrite`] or a removal.
#[derive(Debug, Clone, PartialEq)]
pub enum RecordOutcome {
    /// Done; this is the version now (0 after a removal).
    Saved(u64),
    /// Somebody else wrote first; this is what is there.
    Conflict(Option<Box<Record>>),
}

/// Part of a partition, in the order of sort keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecordQuery {
    /// Only sort keys that begin so.
    pub prefix: String,
    /// Only what comes after this sort key, in the direction of reading.
    pub after: Option<String>,
    /// From the last to the first.
    pub descending: bool,
    /// Rows at most; [`RECORD_PAGE_MAX`] at the most.
    pub limit: u32,
}

/// Where records live. Every method may be repeated without harm.
#[async_trait]
pub trait Records: Send + Sync {
    /// One record, strongly consistent, unless it expired before `now_ms`.
    async fn record(&self, key: &RecordKey, now_ms: u64) -> Result<Option<Record>, StoreError>;
    /// Writes on condition of the version. Durable when it returns. Fails when the record or its key is too large.
    async fn save_record(&self, write: RecordWrite) -> Result<RecordOutcome, StoreError>;
    /// Removes on condition of the version; 0 when nothing was there already.
    async fn delete_record(
        &self,
        key: &RecordKey,
        expected: u64,
    ) -> Result<RecordOutcome, StoreError>;
    /// A page of a partition.
    async fn records(
        &self,
        kind: RecordKind,
        partition: &str,
        query: &RecordQuery,
    ) -> Result<Vec<Record>, StoreError>;
    /// Records of a kind due at or before `now_ms`, the longest overdue first.
    async fn due_records(
        &self,
        kind: RecordKind,
        now_ms: u64,
        limit: u32,
    ) -> Result<Vec<Record>, StoreError>;
}

impl RecordWrite {
    /// The value's JSON, if everything is within its limits.
    pub fn checked(&self) -> Result<String, StoreError> {
        for part in [&self.key.partition, &self.key.sort] {
            if part.len() > RECORD_KEY_MAX {
                return Err(StoreError::Failed(format!(
                    "a key of a {} record has {} bytes; at most {RECORD_KEY_MAX} are possible",
                    self.key.kind,
                    part.len()
                )));
            }
        }
        let text = self.value.to_string();
        if text.len() > RECORD_BYTES_MAX {
            return Err(StoreError::Failed(format!(
                "a {} record has {} bytes of JSON; at most {RECORD_BYTES_MAX} can be stored",
                self.key.kind,
                text.len()
            )));
        }
        Ok(text)
    }
}
