//! Where the log of an attempt is that a replay took over.
//!
//! A replay copies rows, not logs: the log stays under the execution and the task run that wrote it. Invariant: what
//! is found is the same attempt of the same task run, by the names of both, whatever the revisions in between.

use crate::ports::{AttemptId, AttemptRow, ExecutionId, StateStore, StoreError};

use super::REUSED;

/// How the message of a row begins that was taken over; the id of the execution follows.
pub(super) const FROM: &str = "reused from execution ";
/// Replays of replays followed at most.
const REPLAYS_MAX: usize = 64;
/// Attempts of a task that are looked through when a revision has moved it.
const ATTEMPTS_MAX: u32 = 10_000;

/// What a row says about where it was taken from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reuse {
    of: ExecutionId,
    task: String,
    name: String,
}

impl Reuse {
    /// None of a row that is its execution's own.
    #[must_use]
    pub fn of(row: &AttemptRow) -> Option<Self> {
        if row.reason.as_deref() != Some(REUSED) {
            return None;
        }
        let of = row.message.as_deref()?.strip_prefix(FROM)?.parse().ok()?;
        Some(Self {
            of,
            task: row.task.clone(),
            name: row.name.clone(),
        })
    }

    /// The execution it was taken from, which may itself be a replay.
    #[must_use]
    pub const fn execution(&self) -> &ExecutionId {
        &self.of
    }

    /// The attempt under which the log of one is: its own, unless a replay took it over.
    pub async fn written_as(
        reuse: Option<&Self>,
        store: &dyn StateStore,
        attempt: &AttemptId,
    ) -> Result<AttemptId, StoreError> {
        match reuse {
            Some(reuse) => reuse.clone().executed(store, attempt).await,
            None => Ok(attempt.clone()),
        }
    }

    /// The attempt that was executed, and wrote the log. If an execution in between is gone, the last one that is known.
    pub async fn executed(
        self,
        store: &dyn StateStore,
        attempt: &AttemptId,
    ) -> Result<AttemptId, StoreError> {
        let mut found = attempt.clone();
        let mut reuse = Some(self);
        for _ in 0..REPLAYS_MAX {
            let Some(from) = reuse else { break };
            let Some(row) = from.row(store, &found).await? else {
                break;
            };
            reuse = Self::of(&row);
            found = row.id();
        }
        Ok(found)
    }

    /// The row it was copied from.
    async fn row(
        &self,
        store: &dyn StateStore,
        attempt: &AttemptId,
    ) -> Result<Option<AttemptRow>, StoreError> {
        let same = |row: &AttemptRow| {
            row.attempt == attempt.attempt && row.task == self.task && row.name == self.name
        };
        let rows = store.attempts(&self.of, &attempt.task_run).await?;
        if let Some(row) = rows.into_iter().find(same) {
            return Ok(Some(row));
        }
        let rows = store
            .attempts_of_task(&self.of, &self.task, ATTEMPTS_MAX)
            .await?;
        Ok(rows.into_iter().find(same))
    }
}
