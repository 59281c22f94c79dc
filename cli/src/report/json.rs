//! Executions and task runs as JSON: `--output json` and `ndjson`.
//!
//! Invariant: task runs are read and written in pages, so that an execution of any size needs little memory.

use operon_engine::ports::{AttemptRow, ExecutionRow, StateStore, StoreError};
use serde_json::{Map, Value, json};

use crate::output::Console;
use crate::style;

/// Attempts read at once.
const PAGE: u32 = 1000;

/// The object of an execution without its task runs.
pub(crate) fn execution_json(row: &ExecutionRow) -> Map<String, Value> {
    let mut labels = row.meta.labels.clone();
    labels.extend(row.labels.clone());
    let mut object = Map::new();
    let mut put = |key: &str, value: Value| object.insert(key.to_owned(), value);
    put("id", json!(row.meta.id));
    put("namespace", json!(row.meta.namespace));
    put("flow", json!(row.meta.flow));
    put("revision", json!(row.meta.revision));
    put("state", json!(row.state));
    put("reason", json!(row.reason));
    put("started", json!(row.started_ms.map(style::time)));
    put("ended", json!(row.ended_ms.map(style::time)));
    put("outputs", Value::Object(row.outputs.clone()));
    put("labels", json!(labels));
    object
}

/// The object of a task run in `taskRuns`.
pub(crate) fn task_run_value(row: &AttemptRow) -> Map<String, Value> {
    let mut object = Map::new();
    let mut put = |key: &str, value: Value| object.insert(key.to_owned(), value);
    put("id", json!(row.name));
    put("task", json!(row.task));
    put("item", json!(row.item));
    put("parent", json!(row.parent));
    put("state", json!(row.state));
    put("attempts", json!(row.attempt));
    put("exitCode", json!(row.exit_code));
    put("reason", json!(row.reason));
    put("started", json!(row.started_ms.map(style::time)));
    put("ended", json!(row.ended_ms.map(style::time)));
    put("outputs", Value::Object(row.outputs.clone()));
    object
}

/// Writes an execution with its task runs as one object on one line.
pub(crate) async fn write_execution(
    console: &Console,
    store: &dyn StateStore,
    row: &ExecutionRow,
) -> Result<(), StoreError> {
    let head = Value::Object(execution_json(row)).to_string();
    // Without its closing brace: the task runs follow.
    console.out(head.strip_suffix('}').unwrap_or(&head));
    console.out(",\"taskRuns\":[");
    let mut first = true;
    for_each_task_run(store, row, |run| {
        if !first {
            console.out(",");
        }
        first = false;
        let mut object = task_run_value(run);
        if let Some(message) = &run.message {
            object.insert("message".to_owned(), json!(message));
        }
        console.out(&Value::Object(object).to_string());
    })
    .await?;
    console.line("]}");
    Ok(())
}

/// Every task run by its latest attempt, in the order of the plan.
pub(crate) async fn for_each_task_run(
    store: &dyn StateStore,
    execution: &ExecutionRow,
    mut each: impl FnMut(&AttemptRow),
) -> Result<(), StoreError> {
    let mut after = None;
    let mut latest: Option<AttemptRow> = None;
    loop {
        let page = store
            .attempts_page(&execution.meta.id, after.clone(), PAGE)
            .await?;
        let Some(last) = page.last() else { break };
        after = Some((last.task_run.clone(), last.attempt));
        for row in page {
            latest = Some(match latest.take() {
                Some(before) if before.task_run == row.task_run => later(before, row),
                Some(before) => {
                    each(&before);
                    row
                }
                None => row,
            });
        }
    }
    if let Some(row) = latest {
        each(&row);
    }
    Ok(())
}

/// Of two rows of a task run the one that says how it stands. Number 0 belongs to no attempt, and may be the
/// last word: a task run that was cancelled while it waited for its next attempt.
fn later(before: AttemptRow, row: AttemptRow) -> AttemptRow {
    let known = row.ended_ms.or(row.started_ms).unwrap_or(row.created_ms);
    if before.attempt == 0 && before.created_ms > known {
        AttemptRow {
            attempt: row.attempt,
            ..before
        }
    } else {
        row
    }
}
