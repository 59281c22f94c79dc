//! Claims: the durable note that a worker executes an attempt, and until when it can at most.
//!
//! A worker is a function with a deadline, so a claim names the time after which its owner is surely dead. That is
//! what makes a built-in task run at most once at a time however often its message comes (invariant 2), at most
//! once ever when it is not idempotent (invariant 3), and stoppable (invariant 7).

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::ports::{
    AttemptId, Record, RecordKey, RecordKind, RecordOutcome, RecordWrite, Records, StoreError,
};

/// Milliseconds for which a claim is kept: longer than any execution waits for a built-in task.
const KEPT_MS: u64 = 8 * 24 * 60 * 60 * 1000;
/// How often a conditional write is repeated.
const CONFLICTS_MAX: usize = 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Claim {
    /// The owner is dead after this, milliseconds since the epoch; 0 when there never was one.
    until_ms: u64,
    /// It must not go on, and nobody may begin.
    stop: bool,
}

/// What came of the wish to execute an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It is ours.
    Mine,
    /// Another worker may be executing it until then.
    Running(u64),
    /// It was stopped and must not start.
    Stopped,
    /// It was begun, may not be begun again, and whoever began it is dead.
    Gone,
}

/// What came of the wish to stop an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Halted {
    /// Nothing of it is alive, and nothing will start.
    Now,
    /// Its worker has been told, and is dead after that time.
    Until(u64),
}

fn key(id: &AttemptId) -> RecordKey {
    RecordKey::new(
        RecordKind::Runtime,
        format!("claims/{}", id.execution),
        id.to_string(),
    )
}

fn read(record: &Record) -> Result<Claim, StoreError> {
    serde_json::from_value(record.value.clone())
        .map_err(|error| StoreError::Corrupt(format!("claim {}: {error}", record.key.sort)))
}

async fn save(
    records: &dyn Records,
    id: &AttemptId,
    expected: u64,
    claim: Claim,
    now_ms: u64,
) -> Result<RecordOutcome, StoreError> {
    records
        .save_record(RecordWrite {
            key: key(id),
            expected,
            value: json!(claim),
            due_ms: None,
            expires_ms: Some(now_ms.saturating_add(KEPT_MS)),
        })
        .await
}

/// Takes the claim for a worker that is dead after `until_ms`.
pub async fn take(
    records: &dyn Records,
    id: &AttemptId,
    until_ms: u64,
    now_ms: u64,
    idempotent: bool,
) -> Result<Taken, StoreError> {
    let mine = Claim {
        until_ms,
        stop: false,
    };
    let mut expected = 0;
    for _ in 0..CONFLICTS_MAX {
        match save(records, id, expected, mine, now_ms).await? {
            RecordOutcome::Saved(_) => return Ok(Taken::Mine),
            RecordOutcome::Conflict(None) => expected = 0,
            RecordOutcome::Conflict(Some(there)) => {
                let claim = read(&there)?;
                if claim.stop {
                    return Ok(Taken::Stopped);
                }
                if claim.until_ms > now_ms {
                    return Ok(Taken::Running(claim.until_ms));
                }
                if !idempotent {
                    return Ok(Taken::Gone);
                }
                expected = there.version;
            }
        }
    }
    Err(StoreError::Busy(format!("the claim of {id} is contended")))
}

/// Sees to it that an attempt is not executed any more.
pub async fn halt(
    records: &dyn Records,
    id: &AttemptId,
    now_ms: u64,
) -> Result<Halted, StoreError> {
    let mut expected = 0;
    let mut until_ms = 0;
    for _ in 0..CONFLICTS_MAX {
        let stopped = Claim {
            until_ms,
            stop: true,
        };
        match save(records, id, expected, stopped, now_ms).await? {
            RecordOutcome::Saved(_) if until_ms > now_ms => return Ok(Halted::Until(until_ms)),
            RecordOutcome::Saved(_) => return Ok(Halted::Now),
            RecordOutcome::Conflict(None) => (expected, until_ms) = (0, 0),
            RecordOutcome::Conflict(Some(there)) => {
                let claim = read(&there)?;
                if claim.stop {
                    return Ok(if claim.until_ms > now_ms {
                        Halted::Until(claim.until_ms)
                    } else {
                        Halted::Now
                    });
                }
                (expected, until_ms) = (there.version, claim.until_ms);
            }
        }
    }
    Err(StoreError::Busy(format!("the claim of {id} is contended")))
}

/// Whether the attempt's worker was told to stop.
pub async fn is_halted(
    records: &dyn Records,
    id: &AttemptId,
    now_ms: u64,
) -> Result<bool, StoreError> {
    match records.record(&key(id), now_ms).await? {
        Some(record) => Ok(read(&record)?.stop),
        None => Ok(false),
    }
}

/// Until when the attempt's worker may be alive; none when there never was one.
pub async fn owner(
    records: &dyn Records,
    id: &AttemptId,
    now_ms: u64,
) -> Result<Option<u64>, StoreError> {
    match records.record(&key(id), now_ms).await? {
        Some(record) => Ok(Some(read(&record)?.until_ms)),
        None => Ok(None),
    }
}

/// A worker that has stopped early says so: nobody need wait for its deadline.
pub async fn release(records: &dyn Records, id: &AttemptId, now_ms: u64) -> Result<(), StoreError> {
    let Some(there) = records.record(&key(id), now_ms).await? else {
        return Ok(());
    };
    let claim = Claim {
        until_ms: now_ms.min(read(&there)?.until_ms),
        stop: true,
    };
    // A conflict is somebody who stopped it at the same time.
    save(records, id, there.version, claim, now_ms)
        .await
        .map(|_| ())
}

/// A worker that took the claim and did not begin: the next one may.
pub async fn give_back(
    records: &dyn Records,
    id: &AttemptId,
    now_ms: u64,
) -> Result<(), StoreError> {
    let Some(there) = records.record(&key(id), now_ms).await? else {
        return Ok(());
    };
    if !read(&there)?.stop {
        records.delete_record(&key(id), there.version).await?;
    }
    Ok(())
}
