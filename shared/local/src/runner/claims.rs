//! Who launched which attempt. A claim is taken before anything starts, so that an attempt id is launched
//! at most once, ever (invariants 2 and 3), and so that the next engine finds what a crashed one left behind.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use operon_engine::ports::{AttemptId, StoreError};
use serde::{Deserialize, Serialize};

/// A process, or a container, that cannot be mistaken for a later one with the same number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProcessMark {
    /// Of the main process; it leads a process group with this number. 0 for a container.
    pub pid: u32,
    /// When it started, in clock ticks since the machine started (`/proc/<pid>/stat`, field 22); 0 where
    /// the system does not tell.
    pub started: u64,
    /// Which start of the machine (`/proc/sys/kernel/random/boot_id`), or the container's id.
    pub boot: String,
}

impl ProcessMark {
    /// The mark of a container.
    #[must_use]
    pub const fn of_container(id: String) -> Self {
        Self {
            pid: 0,
            started: 0,
            boot: id,
        }
    }

    /// Whether it marks a container.
    #[must_use]
    pub const fn is_container(&self) -> bool {
        self.pid == 0
    }
}

/// Answer to a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// Nobody had claimed it: it is the caller's now.
    New,
    /// Claimed before; the mark is there once the process was seen to start.
    Launched(Option<ProcessMark>),
    /// Stopped: it must not start.
    Stopped,
}

/// What is known of a claim.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClaimRow {
    /// Somebody got [`Claim::New`] for it.
    pub launched: bool,
    /// It must not start any more.
    pub stopped: bool,
    /// It was launched, and nothing of it is alive.
    pub finished: bool,
    /// The process, once it was seen to start.
    pub mark: Option<ProcessMark>,
}

impl ClaimRow {
    /// Whether something of it may be alive.
    #[must_use]
    pub const fn is_live(&self) -> bool {
        self.launched && !self.finished
    }
}

/// The table of claims. Every method may be repeated without harm.
#[async_trait]
pub trait Claims: Send + Sync {
    /// Claims the attempt. Durable when it returns [`Claim::New`].
    async fn claim(&self, id: &AttemptId) -> Result<Claim, StoreError>;
    /// [`Claims::claim`] that outlives this process however it ends, but perhaps not a loss of power: with the
    /// power the attempt is gone too, and one that is idempotent may be launched again.
    async fn claim_briefly(&self, id: &AttemptId) -> Result<Claim, StoreError> {
        self.claim(id).await
    }
    /// Notes which process it is. Need not be durable at once: an unmarked process is found by its
    /// environment.
    async fn record(&self, id: &AttemptId, mark: &ProcessMark) -> Result<(), StoreError>;
    /// Forbids every later launch; durable when it returns. Gives the claim as it is then.
    async fn tombstone(&self, id: &AttemptId) -> Result<ClaimRow, StoreError>;
    /// Nothing of the attempt is alive. Need not be durable at once.
    async fn finish(&self, id: &AttemptId) -> Result<(), StoreError>;
    /// The claim, without claiming; the default when there is none.
    async fn look(&self, id: &AttemptId) -> Result<ClaimRow, StoreError>;
    /// Claims of which something may be alive.
    async fn live(&self) -> Result<Vec<(AttemptId, Option<ProcessMark>)>, StoreError>;
}

/// Claims that end with this process: for tests, and for executions whose state is not kept.
#[derive(Debug, Default)]
pub struct MemoryClaims {
    rows: Mutex<HashMap<AttemptId, ClaimRow>>,
}

impl MemoryClaims {
    fn with<T>(&self, id: &AttemptId, change: impl FnOnce(&mut ClaimRow) -> T) -> T {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        change(rows.entry(id.clone()).or_default())
    }
}

#[async_trait]
impl Claims for MemoryClaims {
    async fn claim(&self, id: &AttemptId) -> Result<Claim, StoreError> {
        Ok(self.with(id, |row| {
            if row.launched {
                return Claim::Launched(row.mark.clone());
            }
            if row.stopped {
                return Claim::Stopped;
            }
            row.launched = true;
            Claim::New
        }))
    }

    async fn record(&self, id: &AttemptId, mark: &ProcessMark) -> Result<(), StoreError> {
        self.with(id, |row| row.mark = Some(mark.clone()));
        Ok(())
    }

    async fn tombstone(&self, id: &AttemptId) -> Result<ClaimRow, StoreError> {
        Ok(self.with(id, |row| {
            row.stopped = true;
            row.clone()
        }))
    }

    async fn finish(&self, id: &AttemptId) -> Result<(), StoreError> {
        self.with(id, |row| row.finished = true);
        Ok(())
    }

    async fn look(&self, id: &AttemptId) -> Result<ClaimRow, StoreError> {
        Ok(self.with(id, |row| row.clone()))
    }

    async fn live(&self) -> Result<Vec<(AttemptId, Option<ProcessMark>)>, StoreError> {
        let rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(rows
            .iter()
            .filter(|(_, row)| row.is_live())
            .map(|(id, row)| (id.clone(), row.mark.clone()))
            .collect())
    }
}
