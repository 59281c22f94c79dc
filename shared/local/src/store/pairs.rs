//! Key-value pairs of namespaces, and the task cache. What has expired is not there, but is removed only
//! by `purge_expired`.

use operon_engine::ports::{KV_BYTES_MAX, KV_KEY_MAX, KvEntry, StoreError};
use rusqlite::{Connection, OptionalExtension, params};
use serde_json::{Map, Value};

use super::codec::{failed, from_json, int, json, opt_int, opt_uint};
use super::shards::{execute, prepare};

/// A pair, unless it has expired.
pub(super) fn get(
    connection: &Connection,
    namespace: &str,
    key: &str,
    now_ms: u64,
) -> Result<Option<KvEntry>, StoreError> {
    let found: Option<(String, Option<i64>)> = prepare(
        connection,
        "SELECT value, expires_ms FROM pairs WHERE namespace = ?1 AND key = ?2 \
         AND (expires_ms IS NULL OR expires_ms > ?3)",
    )?
    .query_row(params![namespace, key, int(now_ms)], |row| {
        Ok((row.get(0)?, row.get(1)?))
    })
    .optional()
    .map_err(failed)?;
    found
        .map(|(value, expires_ms)| entry(key.to_owned(), &value, expires_ms))
        .transpose()
}

/// Pairs whose key begins with `prefix`, by key.
pub(super) fn list(
    connection: &Connection,
    namespace: &str,
    prefix: &str,
    now_ms: u64,
) -> Result<Vec<KvEntry>, StoreError> {
    let mut statement = prepare(
        connection,
        "SELECT key, value, expires_ms FROM pairs WHERE namespace = ?1 AND key >= ?2 \
         AND (expires_ms IS NULL OR expires_ms > ?3) ORDER BY key",
    )?;
    let mut rows = statement
        .query(params![namespace, prefix, int(now_ms)])
        .map_err(failed)?;
    let mut entries = Vec::new();
    while let Some(row) = rows.next().map_err(failed)? {
        let key: String = row.get(0).map_err(failed)?;
        // Keys with the prefix are neighbours in the order of bytes.
        if !key.starts_with(prefix) {
            break;
        }
        let value: String = row.get(1).map_err(failed)?;
        entries.push(entry(key, &value, row.get(2).map_err(failed)?)?);
    }
    Ok(entries)
}

fn entry(key: String, value: &str, expires_ms: Option<i64>) -> Result<KvEntry, StoreError> {
    Ok(KvEntry {
        value: from_json(value, "a key-value pair")?,
        key,
        expires_ms: opt_uint(expires_ms),
    })
}

/// Sets a pair; false when there is one that has not expired and may not be overwritten.
pub(super) fn set(
    connection: &Connection,
    namespace: &str,
    entry: &KvEntry,
    overwrite: bool,
    now_ms: u64,
) -> Result<bool, StoreError> {
    if entry.key.len() > KV_KEY_MAX {
        return Err(StoreError::Failed(format!(
            "a key has {} bytes; at most {KV_KEY_MAX} are allowed",
            entry.key.len()
        )));
    }
    let changed = execute(
        connection,
        "INSERT INTO pairs (namespace, key, value, expires_ms) VALUES (?1, ?2, ?3, ?4) \
         ON CONFLICT (namespace, key) DO UPDATE SET value = excluded.value, \
         expires_ms = excluded.expires_ms WHERE ?5 OR pairs.expires_ms <= ?6",
        params![
            namespace,
            entry.key,
            limited(json(&entry.value)?)?,
            opt_int(entry.expires_ms),
            overwrite,
            int(now_ms)
        ],
    )?;
    Ok(changed > 0)
}

/// Removes a pair; false when there was none.
pub(super) fn delete(
    connection: &Connection,
    namespace: &str,
    key: &str,
) -> Result<bool, StoreError> {
    let changed = execute(
        connection,
        "DELETE FROM pairs WHERE namespace = ?1 AND key = ?2",
        [namespace, key],
    )?;
    Ok(changed > 0)
}

/// Outputs in the task cache, unless they have expired.
pub(super) fn cached(
    connection: &Connection,
    key: &str,
    now_ms: u64,
) -> Result<Option<Map<String, Value>>, StoreError> {
    let found: Option<String> = prepare(
        connection,
        "SELECT outputs FROM task_cache WHERE key = ?1 \
         AND (expires_ms IS NULL OR expires_ms > ?2)",
    )?
    .query_row(params![key, int(now_ms)], |row| row.get(0))
    .optional()
    .map_err(failed)?;
    found
        .map(|outputs| from_json(&outputs, "cached outputs"))
        .transpose()
}

/// Puts outputs into the task cache.
pub(super) fn put_cached(
    connection: &Connection,
    key: &str,
    outputs: &Map<String, Value>,
    expires_ms: Option<u64>,
) -> Result<(), StoreError> {
    execute(
        connection,
        "INSERT INTO task_cache (key, outputs, expires_ms) VALUES (?1, ?2, ?3) \
         ON CONFLICT (key) DO UPDATE SET outputs = excluded.outputs, expires_ms = excluded.expires_ms",
        params![key, limited(json(outputs)?)?, opt_int(expires_ms)],
    )?;
    Ok(())
}

/// Removes pairs and cached outputs that expired before `now_ms`; how many.
pub(super) fn purge_expired(connection: &Connection, now_ms: u64) -> Result<usize, StoreError> {
    let now = int(now_ms);
    let pairs = execute(
        connection,
        "DELETE FROM pairs WHERE expires_ms <= ?1",
        [now],
    )?;
    let cached = execute(
        connection,
        "DELETE FROM task_cache WHERE expires_ms <= ?1",
        [now],
    )?;
    Ok(pairs + cached)
}

fn limited(text: String) -> Result<String, StoreError> {
    if text.len() <= KV_BYTES_MAX {
        Ok(text)
    } else {
        Err(StoreError::Failed(format!(
            "a value has {} bytes of JSON; at most {KV_BYTES_MAX} can be stored, \
             put larger data into a file",
            text.len()
        )))
    }
}
