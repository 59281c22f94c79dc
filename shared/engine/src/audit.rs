//! The audit trail: who changed what, when, from what to what.
//!
//! Invariant: entries are only ever added. Each has a key of its own, so that nobody waits for anybody.

use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Ports;
use crate::ids;
use crate::ports::{
    Clock, Record, RecordKey, RecordKind, RecordOutcome, RecordQuery, RecordWrite, Records,
    StoreError,
};

/// Bytes of JSON kept of what was before and after; larger values are named, not kept.
pub const AUDIT_VALUE_BYTES_MAX: usize = 32 * 1024;
/// Months looked back at most in one request.
const MONTHS_MAX: usize = 24;
/// Tries to find a free key; each is one in 2^60.
const TRIES: usize = 3;

/// What an entry says about a change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Outcome {
    /// It is about to be made.
    Asked,
    /// It was made.
    #[default]
    Done,
    /// Nothing was changed.
    Refused,
    /// It is not known whether all of it was made.
    Failed,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditEntry {
    /// Milliseconds since the epoch.
    pub at_ms: u64,
    /// Who.
    pub who: String,
    /// With which role.
    pub role: String,
    /// What was done: `execution.kill`, `flow.deploy`, …
    pub action: String,
    /// To what: an execution's id, `namespace/flow`, …
    pub target: String,
    /// What became of it.
    #[serde(default)]
    pub outcome: Outcome,
    /// How it was; null when there was nothing.
    pub before: Value,
    /// How it is, what was asked for, or why it was refused.
    pub after: Value,
}

/// The audit trail. Cheap to clone.
#[derive(Clone)]
pub struct Audit {
    records: Arc<dyn Records>,
    clock: Arc<dyn Clock>,
}

/// Where to go on in the trail: the month and the entry's key.
pub type AuditCursor = (String, String);

impl Audit {
    /// The trail over these ports.
    #[must_use]
    pub fn new(ports: &Ports) -> Self {
        Self {
            records: Arc::clone(&ports.records),
            clock: Arc::clone(&ports.clock),
        }
    }

    /// Adds an entry; its time is set.
    pub async fn add(&self, mut entry: AuditEntry) -> Result<(), StoreError> {
        entry.at_ms = self.clock.now_ms();
        for value in [&mut entry.before, &mut entry.after] {
            shorten(value);
        }
        let value = serde_json::to_value(&entry)
            .map_err(|error| StoreError::Failed(format!("an audit entry: {error}")))?;
        for _ in 0..TRIES {
            let sort = format!("{:013}-{}", entry.at_ms, ids::unique());
            let write = RecordWrite {
                key: RecordKey::new(RecordKind::Audit, month(entry.at_ms), sort),
                expected: 0,
                value: value.clone(),
                due_ms: None,
                expires_ms: None,
            };
            if let RecordOutcome::Saved(_) = self.records.save_record(write).await? {
                return Ok(());
            }
        }
        Err(StoreError::Busy(
            "the audit trail has no free key".to_owned(),
        ))
    }

    /// Entries, the newest first, after the one named; where to go on, if there may be more.
    pub async fn entries(
        &self,
        after: Option<AuditCursor>,
        limit: u32,
    ) -> Result<(Vec<AuditEntry>, Option<AuditCursor>), StoreError> {
        let (mut month, mut after) = match after {
            Some((month, sort)) => (month, Some(sort)),
            None => (month(self.clock.now_ms()), None),
        };
        let mut found = Vec::new();
        let wanted = usize::try_from(limit).unwrap_or(usize::MAX);
        for _ in 0..MONTHS_MAX {
            let rest = u32::try_from(wanted - found.len()).unwrap_or(u32::MAX);
            let query = RecordQuery {
                after: after.take(),
                descending: true,
                limit: rest,
                ..RecordQuery::default()
            };
            let page = self
                .records
                .records(RecordKind::Audit, &month, &query)
                .await?;
            for record in page {
                after = Some(record.key.sort.clone());
                found.push(entry(record)?);
            }
            if found.len() >= wanted {
                let cursor = after.map(|sort| (month, sort));
                return Ok((found, cursor));
            }
            after = None;
            match month_before(&month) {
                Some(before) => month = before,
                None => break,
            }
        }
        Ok((found, None))
    }
}

fn entry(record: Record) -> Result<AuditEntry, StoreError> {
    serde_json::from_value(record.value)
        .map_err(|error| StoreError::Corrupt(format!("audit entry {}: {error}", record.key.sort)))
}

fn shorten(value: &mut Value) {
    let size = value.to_string().len();
    if size > AUDIT_VALUE_BYTES_MAX {
        *value = Value::String(format!("({size} bytes, not kept)"));
    }
}

/// `2026-11`: entries of a month are one partition.
fn month(ms: u64) -> String {
    let time = i64::try_from(ms).ok();
    let time = time.and_then(|ms| Timestamp::from_millisecond(ms).ok());
    let date = time
        .unwrap_or(Timestamp::UNIX_EPOCH)
        .to_zoned(TimeZone::UTC);
    format!("{:04}-{:02}", date.year(), date.month())
}

fn month_before(month: &str) -> Option<String> {
    let (year, number) = month.split_once('-')?;
    let (year, number): (i32, u32) = (year.parse().ok()?, number.parse().ok()?);
    Some(match number {
        2..=12 => format!("{year:04}-{:02}", number - 1),
        1 => format!("{:04}-12", year - 1),
        _ => return None,
    })
}
