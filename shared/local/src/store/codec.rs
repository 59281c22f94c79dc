//! How values become columns, and SQLite's errors ours.

use operon_core::plan::ShardId;
use operon_engine::ports::{ShardRow, StoreError};
use rusqlite::{ErrorCode, Row};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// SQLite's integers are signed; times and versions beyond its range are stored as its largest.
pub(super) fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// The way back of [`int`].
pub(super) fn uint(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

/// [`int`] of an optional value.
pub(super) fn opt_int(value: Option<u64>) -> Option<i64> {
    value.map(int)
}

/// [`uint`] of an optional column.
pub(super) fn opt_uint(value: Option<i64>) -> Option<u64> {
    value.map(uint)
}

/// A shard id as bytes that sort like the id: part, then slot and chunk of every loop, big-endian.
///
/// In this order the task runs of one task come in the order of their iterations.
pub(super) fn shard_key(id: &ShardId) -> Vec<u8> {
    let mut key = Vec::with_capacity(2 + 6 * id.path().len());
    key.extend_from_slice(&id.part().to_be_bytes());
    for (slot, chunk) in id.path() {
        key.extend_from_slice(&slot.to_be_bytes());
        key.extend_from_slice(&chunk.to_be_bytes());
    }
    key
}

/// The way back of [`shard_key`].
pub(super) fn shard_id(key: &[u8]) -> Result<ShardId, StoreError> {
    let damaged = || StoreError::Corrupt("a shard has a damaged key".to_owned());
    let (part, path) = key.split_first_chunk::<2>().ok_or_else(damaged)?;
    let mut id = ShardId::of_part(u16::from_be_bytes(*part));
    let (loops, rest) = path.as_chunks::<6>();
    if !rest.is_empty() {
        return Err(damaged());
    }
    for &[s0, s1, c0, c1, c2, c3] in loops {
        id = id.of_loop(
            u16::from_be_bytes([s0, s1]),
            u32::from_be_bytes([c0, c1, c2, c3]),
        );
    }
    Ok(id)
}

/// JSON text of a column.
pub(super) fn json<T: Serialize + ?Sized>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value)
        .map_err(|error| StoreError::Failed(format!("a value cannot be written as JSON: {error}")))
}

/// Reads JSON text; `what` names the column for the error.
pub(super) fn from_json<T: DeserializeOwned>(text: &str, what: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError::Corrupt(format!("{what}: {error}")))
}

/// Reads `version, bytes` from columns 0 and 1.
pub(super) fn shard_row(row: &Row<'_>) -> rusqlite::Result<ShardRow> {
    Ok(ShardRow {
        version: uint(row.get(0)?),
        bytes: row.get(1)?,
    })
}

/// A narrow integer column, or a clear error.
pub(super) fn narrow<T: TryFrom<i64>>(value: i64, what: &str) -> Result<T, StoreError> {
    T::try_from(value).map_err(|_| StoreError::Corrupt(format!("{what} {value} is out of range")))
}

/// SQLite's error as ours.
#[allow(
    clippy::wildcard_enum_match_arm,
    reason = "SQLite's list of errors is open"
)]
#[allow(clippy::needless_pass_by_value, reason = "reads well in map_err")]
pub(super) fn failed(error: rusqlite::Error) -> StoreError {
    let text = error.to_string();
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Busy(format!(
            "another process is writing to the state database ({text}); try again"
        )),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => StoreError::Corrupt(text),
        Some(ErrorCode::DiskFull) => StoreError::Failed(format!(
            "{text}; make room on the disk of the state directory"
        )),
        Some(_) => StoreError::Failed(text),
        // A column of the wrong type: the tables are STRICT, so nobody but damage does that.
        None => match error {
            rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::Utf8Error(..) => StoreError::Corrupt(text),
            _ => StoreError::Failed(text),
        },
    }
}
