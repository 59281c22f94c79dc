//! Records: versioned documents beside executions.

use operon_engine::ports::{
    RECORD_PAGE_MAX, Record, RecordKey, RecordKind, RecordOutcome, RecordQuery, RecordWrite,
    StoreError,
};
use rusqlite::{Connection, Row, params};

use super::codec::{failed, from_json, int, opt_int, opt_uint, uint};
use super::shards::{execute, prepare};

/// A record as its columns have it: the value is still text.
struct Raw {
    partition: String,
    sort: String,
    version: i64,
    value: String,
    due_ms: Option<i64>,
    expires_ms: Option<i64>,
}

const COLUMNS: &str = "partition, sort, version, value, due_ms, expires_ms";

fn raw(row: &Row<'_>) -> rusqlite::Result<Raw> {
    Ok(Raw {
        partition: row.get(0)?,
        sort: row.get(1)?,
        version: row.get(2)?,
        value: row.get(3)?,
        due_ms: row.get(4)?,
        expires_ms: row.get(5)?,
    })
}

fn record(kind: RecordKind, raw: Raw) -> Result<Record, StoreError> {
    Ok(Record {
        value: from_json(&raw.value, "a record")?,
        key: RecordKey::new(kind, raw.partition, raw.sort),
        version: uint(raw.version),
        due_ms: opt_uint(raw.due_ms),
        expires_ms: opt_uint(raw.expires_ms),
    })
}

fn collect(
    connection: &Connection,
    sql: &str,
    kind: RecordKind,
    params: impl rusqlite::Params,
) -> Result<Vec<Record>, StoreError> {
    let mut statement = prepare(connection, sql)?;
    let rows = statement.query_map(params, raw).map_err(failed)?;
    rows.map(|row| record(kind, row.map_err(failed)?)).collect()
}

/// A record, unless it has expired.
pub(super) fn get(
    connection: &Connection,
    key: &RecordKey,
    now_ms: u64,
) -> Result<Option<Record>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM records WHERE kind = ?1 AND partition = ?2 AND sort = ?3 \
         AND (expires_ms IS NULL OR expires_ms > ?4)"
    );
    let found = collect(
        connection,
        &sql,
        key.kind,
        params![key.kind.name(), key.partition, key.sort, int(now_ms)],
    )?;
    Ok(found.into_iter().next())
}

/// Writes if the version is the expected one. What has expired counts as gone.
pub(super) fn save(
    connection: &Connection,
    write: &RecordWrite,
    now_ms: u64,
) -> Result<RecordOutcome, StoreError> {
    let text = write.checked()?;
    let key = &write.key;
    let there = get(connection, key, now_ms)?;
    if there.as_ref().map_or(0, |record| record.version) != write.expected {
        return Ok(RecordOutcome::Conflict(there.map(Box::new)));
    }
    let version = write.expected + 1;
    execute(
        connection,
        "INSERT OR REPLACE INTO records (kind, partition, sort, version, value, due_ms, expires_ms) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![
            key.kind.name(),
            key.partition,
            key.sort,
            int(version),
            text,
            opt_int(write.due_ms),
            opt_int(write.expires_ms)
        ],
    )?;
    Ok(RecordOutcome::Saved(version))
}

/// Removes if the version is the expected one, or nothing is there.
pub(super) fn delete(
    connection: &Connection,
    key: &RecordKey,
    expected: u64,
) -> Result<RecordOutcome, StoreError> {
    match get(connection, key, 0)? {
        Some(there) if there.version != expected => {
            Ok(RecordOutcome::Conflict(Some(Box::new(there))))
        }
        _ => {
            execute(
                connection,
                "DELETE FROM records WHERE kind = ?1 AND partition = ?2 AND sort = ?3",
                params![key.kind.name(), key.partition, key.sort],
            )?;
            Ok(RecordOutcome::Saved(0))
        }
    }
}

/// A page of a partition.
pub(super) fn list(
    connection: &Connection,
    kind: RecordKind,
    partition: &str,
    query: &RecordQuery,
) -> Result<Vec<Record>, StoreError> {
    // Sort keys are compared by bytes, so those with a prefix lie between it and it followed by the last character.
    let end = format!("{}\u{10ffff}", query.prefix);
    let (compare, order) = if query.descending {
        ("<", "DESC")
    } else {
        (">", "ASC")
    };
    let sql = format!(
        "SELECT {COLUMNS} FROM records WHERE kind = ?1 AND partition = ?2 AND sort >= ?3 AND sort < ?4 \
         AND (?5 IS NULL OR sort {compare} ?5) ORDER BY sort {order} LIMIT ?6"
    );
    collect(
        connection,
        &sql,
        kind,
        params![
            kind.name(),
            partition,
            query.prefix,
            end,
            query.after,
            query.limit.min(RECORD_PAGE_MAX)
        ],
    )
}

/// Records of a kind that are due.
pub(super) fn due(
    connection: &Connection,
    kind: RecordKind,
    now_ms: u64,
    limit: u32,
) -> Result<Vec<Record>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM records WHERE kind = ?1 AND due_ms <= ?2 ORDER BY due_ms LIMIT ?3"
    );
    collect(
        connection,
        &sql,
        kind,
        params![kind.name(), int(now_ms), limit.min(RECORD_PAGE_MAX)],
    )
}

/// Removes records that expired before `now_ms`; how many.
pub(super) fn purge_expired(connection: &Connection, now_ms: u64) -> Result<usize, StoreError> {
    execute(
        connection,
        "DELETE FROM records WHERE expires_ms <= ?1",
        [int(now_ms)],
    )
}
