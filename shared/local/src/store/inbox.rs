//! Events that other processes leave for the engine: `operon kill` beside a running `operon serve`.

use operon_core::exec::Event;
use operon_engine::ports::{ShardKey, StoreError};
use rusqlite::{Connection, params};

use super::codec::{failed, from_json, json, shard_id, shard_key};
use super::shards::{execute, execution_id, prepare};

/// An event in the inbox with its number, for acknowledging it.
pub type Posted = (i64, ShardKey, Event);

/// Leaves an event; its number.
pub(super) fn post(
    connection: &Connection,
    key: &ShardKey,
    event: &Event,
) -> Result<i64, StoreError> {
    execute(
        connection,
        "INSERT INTO inbox (execution, shard, event) VALUES (?1, ?2, ?3)",
        params![key.execution.as_str(), shard_key(&key.shard), json(event)?],
    )?;
    Ok(connection.last_insert_rowid())
}

/// The oldest events. They stay until they are acknowledged.
pub(super) fn take(connection: &Connection, limit: u32) -> Result<Vec<Posted>, StoreError> {
    let mut statement = prepare(
        connection,
        "SELECT id, execution, shard, event FROM inbox ORDER BY id LIMIT ?1",
    )?;
    let mut rows = statement.query([limit]).map_err(failed)?;
    let mut events = Vec::new();
    while let Some(row) = rows.next().map_err(failed)? {
        let text = |index: usize| row.get::<_, String>(index).map_err(failed);
        let shard: Vec<u8> = row.get(2).map_err(failed)?;
        let key = ShardKey {
            execution: execution_id(text(1)?)?,
            shard: shard_id(&shard)?,
        };
        let event = from_json(&text(3)?, "an event in the inbox")?;
        events.push((row.get(0).map_err(failed)?, key, event));
    }
    Ok(events)
}

/// Removes events that have been applied.
pub(super) fn ack(connection: &Connection, ids: &[i64]) -> Result<(), StoreError> {
    execute(
        connection,
        "DELETE FROM inbox WHERE id IN (SELECT value FROM json_each(?1))",
        [json(ids)?],
    )?;
    Ok(())
}
