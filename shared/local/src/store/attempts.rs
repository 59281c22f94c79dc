//! Attempts: the detail items that serve people and expressions.

use std::borrow::Cow;

use operon_engine::ports::{AttemptRow, ExecutionId, Metric, StoreError, TaskRunKey, Usage};
use rusqlite::{Connection, Row, params};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::codec::{
    failed, from_json, int, json, narrow, opt_int, opt_uint, shard_id, shard_key, uint,
};
use super::shards::{execute, execution_id, prepare};

/// The part of an attempt that is only shown. Defaults are left out, so that most rows hold `{}`.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rest<'a> {
    // `Some(null)` is an item whose value is null.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "nullable"
    )]
    item: Option<Cow<'a, Value>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    parent: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    message: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "is_empty_map")]
    outputs: Cow<'a, Map<String, Value>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    outputs_uri: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "is_empty_list")]
    metrics: Cow<'a, [Metric]>,
    #[serde(default, skip_serializing_if = "is_unused")]
    usage: Usage,
}

/// Reads a null as a value, not as the absence of one.
fn nullable<'de, 'a, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Cow<'a, Value>>, D::Error> {
    Value::deserialize(deserializer).map(|value| Some(Cow::Owned(value)))
}

fn is_empty_map(map: &Map<String, Value>) -> bool {
    map.is_empty()
}

fn is_empty_list(list: &[Metric]) -> bool {
    list.is_empty()
}

fn is_unused(usage: &Usage) -> bool {
    *usage == Usage::default()
}

/// Stores an attempt in place of what was known of it. A row that is there already is not written again,
/// so repeated deliveries cost no disk.
pub(super) fn put(connection: &Connection, row: &AttemptRow) -> Result<(), StoreError> {
    let mut metrics = Cow::Borrowed(row.metrics.as_slice());
    if metrics.iter().any(|metric| !metric.value.is_finite()) {
        // JSON has no such numbers: they would make the row unreadable.
        metrics.to_mut().retain(|metric| metric.value.is_finite());
    }
    let mut usage = row.usage;
    if !usage.cpu_seconds.is_finite() {
        usage.cpu_seconds = 0.0;
    }
    let rest = json(&Rest {
        item: row.item.as_ref().map(Cow::Borrowed),
        parent: row.parent.as_deref().map(Cow::Borrowed),
        reason: row.reason.as_deref().map(Cow::Borrowed),
        message: row.message.as_deref().map(Cow::Borrowed),
        outputs: Cow::Borrowed(&row.outputs),
        outputs_uri: row.outputs_uri.as_deref().map(Cow::Borrowed),
        metrics,
        usage,
    })?;
    execute(
        connection,
        "INSERT INTO attempts (execution, shard, slot, attempt, task, name, state, exit_code, \
         created_ms, started_ms, ended_ms, rest) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12) \
         ON CONFLICT (execution, shard, slot, attempt) DO UPDATE SET task = excluded.task, \
         name = excluded.name, state = excluded.state, exit_code = excluded.exit_code, \
         created_ms = excluded.created_ms, started_ms = excluded.started_ms, \
         ended_ms = excluded.ended_ms, rest = excluded.rest \
         WHERE (task, name, state, exit_code, created_ms, started_ms, ended_ms, rest) IS NOT \
         (excluded.task, excluded.name, excluded.state, excluded.exit_code, excluded.created_ms, \
         excluded.started_ms, excluded.ended_ms, excluded.rest)",
        params![
            row.execution.as_str(),
            shard_key(&row.task_run.shard),
            row.task_run.slot,
            row.attempt,
            row.task,
            row.name,
            row.state,
            row.exit_code,
            int(row.created_ms),
            opt_int(row.started_ms),
            opt_int(row.ended_ms),
            rest,
        ],
    )?;
    Ok(())
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT execution, shard, slot, attempt, task, name, state, exit_code, created_ms, \
             started_ms, ended_ms, rest FROM attempts WHERE execution = ?1 ",
            $rest
        )
    };
}

/// Attempts of one task run, ascending.
pub(super) fn of_task_run(
    connection: &Connection,
    id: &ExecutionId,
    run: &TaskRunKey,
) -> Result<Vec<AttemptRow>, StoreError> {
    // An attempt's number is a byte, so this list is bounded by itself.
    let sql = select!("AND shard = ?2 AND slot = ?3 ORDER BY attempt");
    let mut statement = prepare(connection, sql)?;
    collect(
        statement
            .query(params![id.as_str(), shard_key(&run.shard), run.slot])
            .map_err(failed)?,
    )
}

/// Attempts of all task runs of a task, in the order of its iterations, after the row with that key.
pub(super) fn of_task(
    connection: &Connection,
    id: &ExecutionId,
    task: &str,
    after: Option<&(TaskRunKey, u8)>,
    limit: u32,
) -> Result<Vec<AttemptRow>, StoreError> {
    let (shard, slot, attempt) = cursor(after);
    let sql = select!(
        "AND task = ?2 AND (shard, slot, attempt) > (?3, ?4, ?5) ORDER BY shard, slot, attempt LIMIT ?6"
    );
    let mut statement = prepare(connection, sql)?;
    collect(
        statement
            .query(params![id.as_str(), task, shard, slot, attempt, limit])
            .map_err(failed)?,
    )
}

/// Attempts of an execution by shard, slot and number, after the row with that key.
pub(super) fn page(
    connection: &Connection,
    id: &ExecutionId,
    after: Option<&(TaskRunKey, u8)>,
    limit: u32,
) -> Result<Vec<AttemptRow>, StoreError> {
    let (shard, slot, attempt) = cursor(after);
    let sql =
        select!("AND (shard, slot, attempt) > (?2, ?3, ?4) ORDER BY shard, slot, attempt LIMIT ?5");
    let mut statement = prepare(connection, sql)?;
    collect(
        statement
            .query(params![id.as_str(), shard, slot, attempt, limit])
            .map_err(failed)?,
    )
}

/// A key smaller than all when there is none: no shard has an empty key.
fn cursor(after: Option<&(TaskRunKey, u8)>) -> (Vec<u8>, u16, u8) {
    after.map_or((Vec::new(), 0, 0), |(run, attempt)| {
        (shard_key(&run.shard), run.slot, *attempt)
    })
}

fn collect(mut rows: rusqlite::Rows<'_>) -> Result<Vec<AttemptRow>, StoreError> {
    let mut attempts = Vec::new();
    while let Some(row) = rows.next().map_err(failed)? {
        attempts.push(attempt(row)?);
    }
    Ok(attempts)
}

fn attempt(row: &Row<'_>) -> Result<AttemptRow, StoreError> {
    let text = |index: usize| row.get::<_, String>(index).map_err(failed);
    let number = |index: usize| row.get::<_, i64>(index).map_err(failed);
    let optional = |index: usize| row.get::<_, Option<i64>>(index).map_err(failed);
    let rest = row.get_ref(11).map_err(failed)?;
    let rest = rest
        .as_str()
        .map_err(|_| StoreError::Corrupt("an attempt's details are no text".to_owned()))?;
    let rest: Rest<'_> = from_json(rest, "details of an attempt")?;
    let shard: Vec<u8> = row.get(1).map_err(failed)?;
    Ok(AttemptRow {
        execution: execution_id(text(0)?)?,
        task_run: TaskRunKey {
            shard: shard_id(&shard)?,
            slot: narrow(number(2)?, "a slot")?,
        },
        attempt: narrow(number(3)?, "an attempt's number")?,
        task: text(4)?,
        name: text(5)?,
        item: rest.item.map(Cow::into_owned),
        parent: rest.parent.map(Cow::into_owned),
        state: text(6)?,
        reason: rest.reason.map(Cow::into_owned),
        message: rest.message.map(Cow::into_owned),
        exit_code: optional(7)?
            .map(|code| narrow(code, "an exit code"))
            .transpose()?,
        created_ms: uint(number(8)?),
        started_ms: opt_uint(optional(9)?),
        ended_ms: opt_uint(optional(10)?),
        outputs: rest.outputs.into_owned(),
        outputs_uri: rest.outputs_uri.map(Cow::into_owned),
        metrics: rest.metrics.into_owned(),
        usage: rest.usage,
    })
}
