//! Executions, their plans and the numbers of revisions.

use std::collections::BTreeMap;

use operon_engine::ports::{ExecutionId, ExecutionMeta, ExecutionRow, StoreError};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::codec::{failed, from_json, int, json, opt_int, opt_uint};
use super::shards::{execute, prepare};

mod list;

pub(super) use list::list;

/// Stores an execution and its plan unless it exists.
pub(super) fn create(
    connection: &Connection,
    row: &ExecutionRow,
    plan: &[u8],
) -> Result<bool, StoreError> {
    execute(
        connection,
        "INSERT INTO plans (hash, bytes) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
        params![row.meta.plan_hash, plan],
    )?;
    insert(connection, row, "ON CONFLICT DO NOTHING")
}

/// Stores derived state; what is fixed at creation stays as it was.
pub(super) fn put(connection: &Connection, row: &ExecutionRow) -> Result<(), StoreError> {
    insert(
        connection,
        row,
        "ON CONFLICT (id) DO UPDATE SET state = excluded.state, reason = excluded.reason, \
         started_ms = excluded.started_ms, ended_ms = excluded.ended_ms, \
         labels = json_patch(excluded.labels, given_labels), \
         added_labels = excluded.added_labels, outputs = excluded.outputs \
         WHERE (state, reason, started_ms, ended_ms, added_labels, outputs) IS NOT (excluded.state, \
         excluded.reason, excluded.started_ms, excluded.ended_ms, excluded.added_labels, \
         excluded.outputs)",
    )
    .map(drop)
}

fn insert(
    connection: &Connection,
    row: &ExecutionRow,
    on_conflict: &'static str,
) -> Result<bool, StoreError> {
    let meta = &row.meta;
    // Labels added while it ran win over those it was created with.
    let mut labels: BTreeMap<&str, &str> = BTreeMap::new();
    for (key, value) in meta.labels.iter().chain(&row.labels) {
        labels.insert(key, value);
    }
    let sql = format!(
        "INSERT INTO executions (id, namespace, flow, state, reason, created_ms, started_ms, ended_ms, \
         labels, added_labels, meta, outputs) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12) {on_conflict}"
    );
    let changed = execute(
        connection,
        &sql,
        params![
            meta.id.as_str(),
            meta.namespace,
            meta.flow,
            row.state,
            row.reason,
            int(meta.created_ms),
            opt_int(row.started_ms),
            opt_int(row.ended_ms),
            json(&labels)?,
            json(&row.labels)?,
            json(meta)?,
            json(&row.outputs)?,
        ],
    )?;
    Ok(changed > 0)
}

/// The plan with that hash.
pub(super) fn plan(connection: &Connection, hash: &str) -> Result<Option<Vec<u8>>, StoreError> {
    prepare(connection, "SELECT bytes FROM plans WHERE hash = ?1")?
        .query_row([hash], |row| row.get(0))
        .optional()
        .map_err(failed)
}

/// The number of this plan among the plans of its flow; a new one gets the next.
pub(super) fn revision(
    connection: &Connection,
    namespace: &str,
    flow: &str,
    hash: &str,
) -> Result<u32, StoreError> {
    execute(
        connection,
        "INSERT INTO revisions (namespace, flow, hash, revision) VALUES (?1, ?2, ?3, \
         coalesce((SELECT max(revision) FROM revisions WHERE namespace = ?1 AND flow = ?2), 0) + 1) \
         ON CONFLICT (namespace, flow, hash) DO NOTHING",
        params![namespace, flow, hash],
    )?;
    known_revision(connection, namespace, flow, hash)?
        .ok_or_else(|| StoreError::Failed("a revision vanished".to_owned()))
}

/// The number of a plan that has one.
pub(super) fn known_revision(
    connection: &Connection,
    namespace: &str,
    flow: &str,
    hash: &str,
) -> Result<Option<u32>, StoreError> {
    prepare(
        connection,
        "SELECT revision FROM revisions WHERE namespace = ?1 AND flow = ?2 AND hash = ?3",
    )?
    .query_row([namespace, flow, hash], |row| row.get(0))
    .optional()
    .map_err(failed)
}

/// What a person gave an execution as labels; nulls hide those that its tasks gave it.
type Given = BTreeMap<String, Option<String>>;

/// Sets or removes labels that people gave an execution.
pub(super) fn set_labels(
    connection: &Connection,
    id: &ExecutionId,
    labels: &Given,
) -> Result<bool, StoreError> {
    let given: Option<String> = prepare(
        connection,
        "SELECT given_labels FROM executions WHERE id = ?1",
    )?
    .query_row([id.as_str()], |row| row.get(0))
    .optional()
    .map_err(failed)?;
    let Some(given) = given else {
        return Ok(false);
    };
    let mut given: Given = from_json(&given, "labels of an execution")?;
    given.extend(labels.clone());
    execute(
        connection,
        "UPDATE executions SET given_labels = ?2, \
         labels = json_patch(json_patch(json_extract(meta, '$.labels'), added_labels), ?2) WHERE id = ?1",
        params![id.as_str(), json(&given)?],
    )?;
    Ok(true)
}

const COLUMNS: &str = "meta, state, reason, started_ms, ended_ms, outputs, \
     json_patch(added_labels, given_labels)";

/// One execution.
pub(super) fn one(
    connection: &Connection,
    id: &ExecutionId,
) -> Result<Option<ExecutionRow>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM executions WHERE id = ?1");
    let mut statement = prepare(connection, &sql)?;
    let mut rows = statement.query([id.as_str()]).map_err(failed)?;
    rows.next().map_err(failed)?.map(execution).transpose()
}

fn execution(row: &Row<'_>) -> Result<ExecutionRow, StoreError> {
    let text = |index: usize| row.get::<_, String>(index).map_err(failed);
    let meta: ExecutionMeta = from_json(&text(0)?, "the fixed part of an execution")?;
    Ok(ExecutionRow {
        meta,
        state: text(1)?,
        reason: row.get(2).map_err(failed)?,
        started_ms: opt_uint(row.get(3).map_err(failed)?),
        ended_ms: opt_uint(row.get(4).map_err(failed)?),
        outputs: from_json(&text(5)?, "outputs of an execution")?,
        labels: from_json(&text(6)?, "labels of an execution")?,
    })
}
