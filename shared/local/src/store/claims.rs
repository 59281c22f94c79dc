//! Claims of attempts, durable: see [`Claims`].
//!
//! Invariant (2, 3 and 7 rest on it): [`Claim::New`] is answered at most once per attempt, ever, whichever
//! process asks, and never after the attempt was stopped.

use async_trait::async_trait;
use operon_engine::ports::{AttemptId, StoreError, TaskRunKey};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::SqliteStore;
use super::codec::{failed, int, narrow, shard_id, shard_key, uint};
use super::shards::{execute, execution_id, prepare};
use crate::runner::{Claim, ClaimRow, Claims, ProcessMark};

#[async_trait]
impl Claims for SqliteStore {
    async fn claim(&self, id: &AttemptId) -> Result<Claim, StoreError> {
        let id = id.clone();
        self.writer
            .run(move |connection| claim(connection, &id))
            .await
    }

    async fn record(&self, id: &AttemptId, mark: &ProcessMark) -> Result<(), StoreError> {
        let (id, mark) = (id.clone(), mark.clone());
        self.writer
            .submit(move |connection| record(connection, &id, &mark))
            .await
    }

    async fn tombstone(&self, id: &AttemptId) -> Result<ClaimRow, StoreError> {
        let id = id.clone();
        self.writer
            .run(move |connection| tombstone(connection, &id))
            .await
    }

    async fn finish(&self, id: &AttemptId) -> Result<(), StoreError> {
        let id = id.clone();
        self.writer
            .submit(move |connection| finish(connection, &id))
            .await
    }

    async fn look(&self, id: &AttemptId) -> Result<ClaimRow, StoreError> {
        let id = id.clone();
        // Behind what was submitted before.
        self.writer
            .run(move |connection| Ok(look(connection, &id)?.unwrap_or_default()))
            .await
    }

    async fn live(&self) -> Result<Vec<(AttemptId, Option<ProcessMark>)>, StoreError> {
        self.writer.run(live).await
    }
}

fn claim(connection: &Connection, id: &AttemptId) -> Result<Claim, StoreError> {
    let changed = execute(
        connection,
        "INSERT INTO claims (execution, shard, slot, attempt, launched) VALUES (?1, ?2, ?3, ?4, TRUE) \
         ON CONFLICT DO NOTHING",
        key(id),
    )?;
    if changed > 0 {
        return Ok(Claim::New);
    }
    let row = look(connection, id)?.unwrap_or_default();
    Ok(if row.launched {
        Claim::Launched(row.mark)
    } else {
        Claim::Stopped
    })
}

fn record(connection: &Connection, id: &AttemptId, mark: &ProcessMark) -> Result<(), StoreError> {
    let (execution, shard, slot, attempt) = key(id);
    execute(
        connection,
        "UPDATE claims SET pid = ?5, started = ?6, boot = ?7 \
         WHERE execution = ?1 AND shard = ?2 AND slot = ?3 AND attempt = ?4",
        params![
            execution,
            shard,
            slot,
            attempt,
            mark.pid,
            int(mark.started),
            mark.boot
        ],
    )?;
    Ok(())
}

fn tombstone(connection: &Connection, id: &AttemptId) -> Result<ClaimRow, StoreError> {
    execute(
        connection,
        "INSERT INTO claims (execution, shard, slot, attempt, stopped) VALUES (?1, ?2, ?3, ?4, TRUE) \
         ON CONFLICT DO UPDATE SET stopped = TRUE",
        key(id),
    )?;
    Ok(look(connection, id)?.unwrap_or_default())
}

fn finish(connection: &Connection, id: &AttemptId) -> Result<(), StoreError> {
    execute(
        connection,
        "UPDATE claims SET finished = TRUE \
         WHERE execution = ?1 AND shard = ?2 AND slot = ?3 AND attempt = ?4",
        key(id),
    )?;
    Ok(())
}

fn look(connection: &Connection, id: &AttemptId) -> Result<Option<ClaimRow>, StoreError> {
    prepare(
        connection,
        "SELECT pid, started, boot, launched, stopped, finished FROM claims \
         WHERE execution = ?1 AND shard = ?2 AND slot = ?3 AND attempt = ?4",
    )?
    .query_row(key(id), |row| {
        Ok(ClaimRow {
            mark: mark(row)?,
            launched: row.get(3)?,
            stopped: row.get(4)?,
            finished: row.get(5)?,
        })
    })
    .optional()
    .map_err(failed)
}

/// As many as ran at once when the last engine ended: the list needs no pages.
fn live(connection: &Connection) -> Result<Vec<(AttemptId, Option<ProcessMark>)>, StoreError> {
    let mut statement = prepare(
        connection,
        "SELECT pid, started, boot, execution, shard, slot, attempt FROM claims \
         WHERE launched AND NOT finished",
    )?;
    let mut rows = statement.query([]).map_err(failed)?;
    let mut claims = Vec::new();
    while let Some(row) = rows.next().map_err(failed)? {
        let number = |index: usize| row.get::<_, i64>(index).map_err(failed);
        let shard: Vec<u8> = row.get(4).map_err(failed)?;
        let id = AttemptId {
            execution: execution_id(row.get(3).map_err(failed)?)?,
            task_run: TaskRunKey {
                shard: shard_id(&shard)?,
                slot: narrow(number(5)?, "a slot")?,
            },
            attempt: narrow(number(6)?, "an attempt's number")?,
        };
        claims.push((id, mark(row).map_err(failed)?));
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
         WHERE executions.ended_ms < ?1 AND (finished OR NOT launched) LIMIT ?2)",
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

/// Reads `pid, started, boot` from columns 0 to 2; all are there or none.
fn mark(row: &Row<'_>) -> rusqlite::Result<Option<ProcessMark>> {
    let pid: Option<u32> = row.get(0)?;
    let started: Option<i64> = row.get(1)?;
    let boot: Option<String> = row.get(2)?;
    Ok(pid
        .zip(started)
        .zip(boot)
        .map(|((pid, started), boot)| ProcessMark {
            pid,
            started: uint(started),
            boot,
        }))
}
