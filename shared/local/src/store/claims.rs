//! Claims: who launched an attempt, and what was started for it.
//!
//! Invariant (2, 3 and 7 rest on it): an attempt is claimed at most once, ever, whoever asks; a claim that
//! was stopped first is never granted.

use operon_engine::ports::{AttemptId, StoreError, TaskRunKey};
use rusqlite::{Connection, Row, params};

use super::SqliteStore;
use super::codec::{failed, int, narrow, opt_uint, shard_id, shard_key};
use super::shards::{execute, execution_id, prepare};

/// The engine process that claims.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimant {
    /// Its process id.
    pub pid: u32,
    /// Identifies the boot of the machine: process ids mean nothing after the next.
    pub boot: String,
}

/// A process that was started for an attempt. The start time tells it from a later one with its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessIdentity {
    /// Its process id.
    pub pid: u32,
    /// When it started, in the unit of whoever recorded it (clock ticks since boot).
    pub started: u64,
}

/// An attempt that was launched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaunchedClaim {
    /// Which.
    pub id: AttemptId,
    /// By whom; none when it did not say.
    pub by: Option<Claimant>,
    /// What was started; none when it died before recording that, or a container was.
    pub process: Option<ProcessIdentity>,
    /// The container that was started.
    pub container: Option<String>,
    /// Whether it has been seen to the end.
    pub finished: bool,
}

/// Answer to the wish to launch an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// Nobody has claimed it before: launch it.
    New,
    /// It was launched before.
    Launched(LaunchedClaim),
    /// It was stopped before it was launched: never launch it.
    Stopped,
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT execution, shard, slot, attempt, state, engine_pid, boot, pid, pid_started, \
             container FROM claims ",
            $rest
        )
    };
}

impl SqliteStore {
    /// Claims an attempt for launching. [`Claim::New`] is answered at most once per attempt, ever, and is
    /// durable then.
    pub async fn claim(&self, id: &AttemptId, by: Option<Claimant>) -> Result<Claim, StoreError> {
        let id = id.clone();
        self.writer
            .run(move |connection| claim(connection, &id, by.as_ref()))
            .await
    }

    /// [`Self::claim`] whose answer outlives the process but perhaps not a loss of power: it does not wait for
    /// the disk.
    pub async fn claim_briefly(
        &self,
        id: &AttemptId,
        by: Option<Claimant>,
    ) -> Result<Claim, StoreError> {
        let id = id.clone();
        self.writer
            .run_briefly(move |connection| claim(connection, &id, by.as_ref()))
            .await
    }

    /// What is known of an attempt; none when it was neither claimed nor stopped.
    pub async fn lookup_claim(&self, id: &AttemptId) -> Result<Option<Claim>, StoreError> {
        let id = id.clone();
        // Behind what was submitted before.
        self.writer
            .run(move |connection| lookup(connection, &id))
            .await
    }

    /// Records what was started for a claimed attempt, so that it can be found after a crash; false when the
    /// attempt is not claimed or already finished.
    pub async fn record_process(
        &self,
        id: &AttemptId,
        process: Option<ProcessIdentity>,
        container: Option<String>,
    ) -> Result<bool, StoreError> {
        let id = id.clone();
        self.writer
            .run(move |connection| record(connection, &id, process, container.as_deref()))
            .await
    }

    /// Forbids the launch of an attempt. [`Claim::Launched`] says that it is too late: stop what was started.
    pub async fn tombstone(&self, id: &AttemptId) -> Result<Claim, StoreError> {
        let id = id.clone();
        self.writer
            .run(move |connection| tombstone(connection, &id))
            .await
    }

    /// Marks a claimed attempt as seen to its end: nothing of it is alive. Does not wait until that is durable:
    /// after a crash it is found out again.
    #[allow(
        clippy::unused_async,
        reason = "it may wait again when finishing must be durable"
    )]
    pub async fn finish_claim(&self, id: &AttemptId) -> Result<(), StoreError> {
        let id = id.clone();
        self.writer
            .submit(move |connection| finish(connection, &id));
        Ok(())
    }

    /// Launched attempts that were not seen to their end, by id, after `after`: what a crash may have orphaned.
    pub async fn live_claims(
        &self,
        after: Option<&AttemptId>,
        limit: u32,
    ) -> Result<Vec<LaunchedClaim>, StoreError> {
        let after = after.cloned();
        self.writer
            .run(move |connection| live(connection, after.as_ref(), limit))
            .await
    }

    /// Removes claims, except live ones, of executions that ended before `ended_before_ms`; how many, at
    /// most `limit`.
    pub async fn purge_claims(
        &self,
        ended_before_ms: u64,
        limit: u32,
    ) -> Result<usize, StoreError> {
        self.writer
            .run(move |connection| purge(connection, ended_before_ms, limit))
            .await
    }
}

/// Claims an attempt.
pub(super) fn claim(
    connection: &Connection,
    id: &AttemptId,
    by: Option<&Claimant>,
) -> Result<Claim, StoreError> {
    let changed = execute(
        connection,
        "INSERT INTO claims (execution, shard, slot, attempt, state, engine_pid, boot) \
         VALUES (?1, ?2, ?3, ?4, 'launched', ?5, ?6) ON CONFLICT DO NOTHING",
        params![
            id.execution.as_str(),
            shard_key(&id.task_run.shard),
            id.task_run.slot,
            id.attempt,
            by.map(|by| by.pid),
            by.map(|by| by.boot.as_str()),
        ],
    )?;
    if changed > 0 {
        return Ok(Claim::New);
    }
    lookup(connection, id)?.ok_or_else(|| StoreError::Failed("a claim vanished".to_owned()))
}

/// What is known of an attempt; none when it was neither claimed nor stopped.
pub(super) fn lookup(connection: &Connection, id: &AttemptId) -> Result<Option<Claim>, StoreError> {
    let sql = select!("WHERE execution = ?1 AND shard = ?2 AND slot = ?3 AND attempt = ?4");
    let mut statement = prepare(connection, sql)?;
    let mut rows = statement.query(key(id)).map_err(failed)?;
    rows.next().map_err(failed)?.map(read).transpose()
}

/// Records what was started for a claimed attempt; false when it is not claimed.
pub(super) fn record(
    connection: &Connection,
    id: &AttemptId,
    process: Option<ProcessIdentity>,
    container: Option<&str>,
) -> Result<bool, StoreError> {
    let (execution, shard, slot, attempt) = key(id);
    let changed = execute(
        connection,
        "UPDATE claims SET pid = ?5, pid_started = ?6, container = ?7 \
         WHERE execution = ?1 AND shard = ?2 AND slot = ?3 AND attempt = ?4 AND state = 'launched'",
        params![
            execution,
            shard,
            slot,
            attempt,
            process.map(|process| process.pid),
            process.map(|process| int(process.started)),
            container,
        ],
    )?;
    Ok(changed > 0)
}

/// Forbids the launch of an attempt unless it is claimed; [`Claim::Launched`] when it was.
pub(super) fn tombstone(connection: &Connection, id: &AttemptId) -> Result<Claim, StoreError> {
    execute(
        connection,
        "INSERT INTO claims (execution, shard, slot, attempt, state) \
         VALUES (?1, ?2, ?3, ?4, 'stopped') ON CONFLICT DO NOTHING",
        key(id),
    )?;
    lookup(connection, id)?.ok_or_else(|| StoreError::Failed("a claim vanished".to_owned()))
}

/// Marks a claimed attempt as seen to its end.
pub(super) fn finish(connection: &Connection, id: &AttemptId) -> Result<(), StoreError> {
    execute(
        connection,
        "UPDATE claims SET state = 'finished' \
         WHERE execution = ?1 AND shard = ?2 AND slot = ?3 AND attempt = ?4 AND state = 'launched'",
        key(id),
    )?;
    Ok(())
}

/// Claimed attempts that were not seen to their end, in the order of their ids, after `after`.
pub(super) fn live(
    connection: &Connection,
    after: Option<&AttemptId>,
    limit: u32,
) -> Result<Vec<LaunchedClaim>, StoreError> {
    let sql = select!(
        "WHERE state = 'launched' AND (execution, shard, slot, attempt) > (?1, ?2, ?3, ?4) \
         ORDER BY execution, shard, slot, attempt LIMIT ?5"
    );
    let (execution, shard, slot, attempt) = after.map_or(("", Vec::new(), 0, 0), key);
    let mut statement = prepare(connection, sql)?;
    let mut rows = statement
        .query(params![execution, shard, slot, attempt, limit])
        .map_err(failed)?;
    let mut claims = Vec::new();
    while let Some(row) = rows.next().map_err(failed)? {
        if let Claim::Launched(claim) = read(row)? {
            claims.push(claim);
        }
    }
    Ok(claims)
}

/// Removes claims, except live ones, of executions that ended before `ended_before_ms`; how many.
pub(super) fn purge(
    connection: &Connection,
    ended_before_ms: u64,
    limit: u32,
) -> Result<usize, StoreError> {
    execute(
        connection,
        "DELETE FROM claims WHERE (execution, shard, slot, attempt) IN ( \
         SELECT claims.execution, shard, slot, attempt FROM claims \
         JOIN executions ON executions.id = claims.execution \
         WHERE executions.ended_ms < ?1 AND claims.state <> 'launched' LIMIT ?2)",
        params![int(ended_before_ms), limit],
    )
}

fn key(id: &AttemptId) -> (&str, Vec<u8>, u16, u8) {
    (
        id.execution.as_str(),
        shard_key(&id.task_run.shard),
        id.task_run.slot,
        id.attempt,
    )
}

fn read(row: &Row<'_>) -> Result<Claim, StoreError> {
    let number = |index: usize| row.get::<_, i64>(index).map_err(failed);
    let optional = |index: usize| row.get::<_, Option<i64>>(index).map_err(failed);
    let state: String = row.get(4).map_err(failed)?;
    if state == "stopped" {
        return Ok(Claim::Stopped);
    }
    let pid = |index: usize| {
        optional(index)?
            .map(|pid| narrow(pid, "a process id"))
            .transpose()
    };
    let shard: Vec<u8> = row.get(1).map_err(failed)?;
    Ok(Claim::Launched(LaunchedClaim {
        id: AttemptId {
            execution: execution_id(row.get(0).map_err(failed)?)?,
            task_run: TaskRunKey {
                shard: shard_id(&shard)?,
                slot: narrow(number(2)?, "a slot")?,
            },
            attempt: narrow(number(3)?, "an attempt's number")?,
        },
        by: pid(5)?
            .zip(row.get::<_, Option<String>>(6).map_err(failed)?)
            .map(|(pid, boot)| Claimant { pid, boot }),
        process: pid(7)?
            .zip(opt_uint(optional(8)?))
            .map(|(pid, started)| ProcessIdentity { pid, started }),
        container: row.get(9).map_err(failed)?,
        finished: state == "finished",
    }))
}
