//! Shards and locks: bytes with a version, written only by whoever has read that version.

use operon_core::plan::ShardId;
use operon_engine::ports::{ExecutionId, SaveOutcome, ShardKey, ShardRow, ShardWrite, StoreError};
use rusqlite::{CachedStatement, Connection, OptionalExtension, Params, params};

use super::codec::{failed, int, opt_int, opt_uint, shard_id, shard_key, shard_row, uint};

/// Writes a shard if its version is the expected one.
pub(super) fn save(connection: &Connection, write: &ShardWrite) -> Result<SaveOutcome, StoreError> {
    let execution = write.key.execution.as_str();
    let shard = shard_key(&write.key.shard);
    let due = opt_int(write.due_ms);
    let changed = if write.expected == 0 {
        execute(
            connection,
            "INSERT INTO shards (execution, shard, version, due_ms, bytes) VALUES (?1, ?2, 1, ?3, ?4) \
             ON CONFLICT DO NOTHING",
            params![execution, shard, due, write.bytes],
        )?
    } else {
        execute(
            connection,
            "UPDATE shards SET version = version + 1, due_ms = ?3, bytes = ?4 \
             WHERE execution = ?1 AND shard = ?2 AND version = ?5",
            params![execution, shard, due, write.bytes, int(write.expected)],
        )?
    };
    if changed > 0 {
        Ok(SaveOutcome::Saved(write.expected.saturating_add(1)))
    } else {
        read(connection, &write.key).map(SaveOutcome::Conflict)
    }
}

/// One shard.
pub(super) fn read(
    connection: &Connection,
    key: &ShardKey,
) -> Result<Option<ShardRow>, StoreError> {
    prepare(
        connection,
        "SELECT version, bytes FROM shards WHERE execution = ?1 AND shard = ?2",
    )?
    .query_row(
        params![key.execution.as_str(), shard_key(&key.shard)],
        shard_row,
    )
    .optional()
    .map_err(failed)
}

/// All shards of an execution, in the order of their ids.
pub(super) fn read_all(
    connection: &Connection,
    id: &ExecutionId,
) -> Result<Vec<(ShardId, ShardRow)>, StoreError> {
    let mut statement = prepare(
        connection,
        "SELECT version, bytes, shard FROM shards WHERE execution = ?1 ORDER BY shard",
    )?;
    let rows = statement
        .query_map([id.as_str()], |row| {
            Ok((row.get::<_, Vec<u8>>(2)?, shard_row(row)?))
        })
        .map_err(failed)?;
    rows.map(|row| {
        let (key, shard) = row.map_err(failed)?;
        Ok((shard_id(&key)?, shard))
    })
    .collect()
}

/// Shards due at or before `now_ms`, the longest overdue first.
pub(super) fn due(
    connection: &Connection,
    now_ms: u64,
    limit: u32,
) -> Result<Vec<ShardKey>, StoreError> {
    let mut statement = prepare(
        connection,
        "SELECT execution, shard FROM shards WHERE due_ms <= ?1 ORDER BY due_ms LIMIT ?2",
    )?;
    let rows = statement
        .query_map(params![int(now_ms), limit], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, Vec<u8>>(1)?))
        })
        .map_err(failed)?;
    rows.map(|row| {
        let (execution, shard) = row.map_err(failed)?;
        Ok(ShardKey {
            execution: execution_id(execution)?,
            shard: shard_id(&shard)?,
        })
    })
    .collect()
}

/// The earliest due time.
pub(super) fn next_due(connection: &Connection) -> Result<Option<u64>, StoreError> {
    prepare(
        connection,
        "SELECT due_ms FROM shards WHERE due_ms IS NOT NULL ORDER BY due_ms LIMIT 1",
    )?
    .query_row([], |row| row.get(0))
    .optional()
    .map(opt_uint)
    .map_err(failed)
}

/// Writes a lock if its version is the expected one.
pub(super) fn save_lock(
    connection: &Connection,
    key: &str,
    expected: u64,
    bytes: &[u8],
    due_ms: Option<u64>,
) -> Result<SaveOutcome, StoreError> {
    let due = opt_int(due_ms);
    let changed = if expected == 0 {
        execute(
            connection,
            "INSERT INTO locks (key, version, due_ms, bytes) VALUES (?1, 1, ?2, ?3) \
             ON CONFLICT DO NOTHING",
            params![key, due, bytes],
        )?
    } else {
        execute(
            connection,
            "UPDATE locks SET version = version + 1, due_ms = ?2, bytes = ?3 \
             WHERE key = ?1 AND version = ?4",
            params![key, due, bytes, int(expected)],
        )?
    };
    if changed > 0 {
        Ok(SaveOutcome::Saved(expected.saturating_add(1)))
    } else {
        lock(connection, key).map(SaveOutcome::Conflict)
    }
}

/// One lock.
pub(super) fn lock(connection: &Connection, key: &str) -> Result<Option<ShardRow>, StoreError> {
    prepare(
        connection,
        "SELECT version, bytes FROM locks WHERE key = ?1",
    )?
    .query_row([key], shard_row)
    .optional()
    .map_err(failed)
}

/// Locks due at or before `now_ms`, the longest overdue first, with their due times.
pub(super) fn due_locks(
    connection: &Connection,
    now_ms: u64,
    limit: u32,
) -> Result<Vec<(String, u64)>, StoreError> {
    let mut statement = prepare(
        connection,
        "SELECT key, due_ms FROM locks WHERE due_ms <= ?1 ORDER BY due_ms LIMIT ?2",
    )?;
    let rows = statement
        .query_map(params![int(now_ms), limit], |row| {
            Ok((row.get(0)?, uint(row.get(1)?)))
        })
        .map_err(failed)?;
    rows.collect::<Result<_, _>>().map_err(failed)
}

/// Executions queued for a lock, in the order in which they get it: priority, then age.
pub(super) fn queued(
    connection: &Connection,
    key: &str,
    limit: u32,
) -> Result<Vec<ExecutionId>, StoreError> {
    let mut statement = prepare(
        connection,
        "SELECT execution FROM lock_queue WHERE key = ?1 \
         ORDER BY priority DESC, created_ms, seq LIMIT ?2",
    )?;
    let rows = statement
        .query_map(params![key, limit], |row| row.get(0))
        .map_err(failed)?;
    rows.map(|row| execution_id(row.map_err(failed)?)).collect()
}

/// Enters or removes an execution. Entering again changes its priority and keeps its place.
pub(super) fn set_queued(
    connection: &Connection,
    key: &str,
    id: &ExecutionId,
    priority: i32,
    queued: bool,
) -> Result<(), StoreError> {
    if queued {
        // Age counts from the creation of the execution, not from here: entering may be repeated late.
        execute(
            connection,
            "INSERT INTO lock_queue (key, execution, priority, created_ms) VALUES (?1, ?2, ?3, \
             coalesce((SELECT created_ms FROM executions WHERE id = ?2), 0)) \
             ON CONFLICT (key, execution) DO UPDATE SET priority = excluded.priority",
            params![key, id.as_str(), priority],
        )?;
    } else {
        execute(
            connection,
            "DELETE FROM lock_queue WHERE key = ?1 AND execution = ?2",
            params![key, id.as_str()],
        )?;
    }
    Ok(())
}

/// A statement from the connection's cache.
pub(super) fn prepare<'c>(
    connection: &'c Connection,
    sql: &str,
) -> Result<CachedStatement<'c>, StoreError> {
    connection.prepare_cached(sql).map_err(failed)
}

/// Executes a cached statement; the number of rows it changed.
pub(super) fn execute(
    connection: &Connection,
    sql: &str,
    params: impl Params,
) -> Result<usize, StoreError> {
    prepare(connection, sql)?.execute(params).map_err(failed)
}

/// The id of an execution in a column.
pub(super) fn execution_id(text: String) -> Result<ExecutionId, StoreError> {
    ExecutionId::try_from(text).map_err(StoreError::Corrupt)
}
