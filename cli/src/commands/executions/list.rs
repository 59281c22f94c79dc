//! `operon executions list`.

use operon_engine::last_task::{LastTask, last_tasks};
use operon_engine::plans::Plans;
use operon_engine::ports::{ExecutionFilter, ExecutionRow, StateStore as _};
use serde_json::{Value, json};

use crate::args::{ListArgs, ValidateOutput};
use crate::commands::last_task;
use crate::exit::{Exit, Usage};
use crate::output::Console;
use crate::report::execution_json;
use crate::state::{State, block_on};
use crate::style;

/// Characters of the last task at most.
const LAST_MAX: usize = 40;

/// States an execution may have, as they are stored.
const STATES: [&str; 12] = [
    "CREATED",
    "QUEUED",
    "RUNNING",
    "PAUSED",
    "RETRYING",
    "RETRIED",
    "KILLING",
    "SUCCESS",
    "WARNING",
    "FAILED",
    "KILLED",
    "CANCELLED",
];

pub(crate) fn list(args: &ListArgs, console: &Console) -> anyhow::Result<Exit> {
    let states: Vec<String> = args
        .states
        .iter()
        .map(|state| state.to_uppercase())
        .collect();
    if let Some(unknown) = states
        .iter()
        .find(|state| !STATES.contains(&state.as_str()))
    {
        return Err(
            Usage::new(format!("no execution is ever in state `{unknown}`"))
                .help(format!("states are {}", STATES.join(", ")))
                .into(),
        );
    }
    let filter = ExecutionFilter {
        namespace: args.namespace.clone(),
        flow: args.flow.clone(),
        states,
        labels: args.labels.clone(),
        limit: args.limit,
        ..ExecutionFilter::default()
    };
    let state = State::open(&args.state.dir)?;
    let (rows, last) = block_on(async {
        let rows = state.store.executions(&filter).await?;
        let last = last_tasks(&state.store, &Plans::default(), &rows).await?;
        Ok((rows, last))
    })?;
    match args.output {
        ValidateOutput::Json => {
            let rows: Vec<Value> = (rows.iter().zip(&last))
                .map(|(row, last)| {
                    let mut object = execution_json(row);
                    let last = last.as_ref().map(|last| {
                        json!({"task": last.task, "state": last.state, "attempts": last.attempts})
                    });
                    object.insert("lastTask".to_owned(), json!(last));
                    Value::Object(object)
                })
                .collect();
            console.line(&json!({ "executions": rows }).to_string());
        }
        ValidateOutput::Human if rows.is_empty() => console.note("There is none."),
        ValidateOutput::Human => table(console, &rows, &last),
    }
    Ok(Exit::Success)
}

fn table(console: &Console, rows: &[ExecutionRow], last: &[Option<LastTask>]) {
    let name = |row: &ExecutionRow| format!("{}.{}", row.meta.namespace, row.meta.flow);
    let ids = rows.iter().map(|row| row.meta.id.as_str().len()).max();
    let names = rows.iter().map(|row| name(row).len()).max();
    let (ids, names) = (ids.unwrap_or(0), names.unwrap_or(0));
    let last: Vec<String> = (last.iter())
        .map(|last| {
            let words = last
                .as_ref()
                .map(|last| last_task(&last.task, last.state, u64::from(last.attempts)));
            style::one_line(&words.unwrap_or_else(|| "-".to_owned()), LAST_MAX)
        })
        .collect();
    let lasts = last.iter().map(|last| last.chars().count()).max();
    let lasts = lasts.unwrap_or(0);
    for (row, last) in rows.iter().zip(&last) {
        let state = format!("{:<9}", row.state);
        let took = match (row.started_ms, row.ended_ms) {
            (Some(started), Some(ended)) => style::duration(ended.saturating_sub(started)),
            _ => "-".to_owned(),
        };
        let reason = row.reason.as_deref().unwrap_or_default();
        console.line(
            format!(
                "{:<ids$}  {}  {:<names$}  {}  {took:>8}  {last:<lasts$}  {}",
                row.meta.id.as_str(),
                style::paint(console.colour(), style::of_state(&row.state), &state),
                name(row),
                style::time(row.meta.created_ms),
                style::one_line(reason, 80),
            )
            .trim_end(),
        );
    }
}
