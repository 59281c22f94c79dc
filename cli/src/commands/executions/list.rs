//! `operon executions list`.

use operon_engine::ports::{ExecutionFilter, ExecutionRow, StateStore as _};
use serde_json::{Value, json};

use crate::args::{ListArgs, ValidateOutput};
use crate::exit::{Exit, Usage};
use crate::output::Console;
use crate::report::execution_json;
use crate::state::{State, block_on};
use crate::style;

/// States an execution may have, as they are stored.
const STATES: [&str; 11] = [
    "CREATED",
    "QUEUED",
    "RUNNING",
    "PAUSED",
    "RETRYING",
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
    let rows = block_on(async { Ok(state.store.executions(&filter).await?) })?;
    match args.output {
        ValidateOutput::Json => {
            let rows: Vec<Value> = rows
                .iter()
                .map(|row| Value::Object(execution_json(row)))
                .collect();
            console.line(&json!({ "executions": rows }).to_string());
        }
        ValidateOutput::Human if rows.is_empty() => console.note("There is none."),
        ValidateOutput::Human => table(console, &rows),
    }
    Ok(Exit::Success)
}

fn table(console: &Console, rows: &[ExecutionRow]) {
    let name = |row: &ExecutionRow| format!("{}.{}", row.meta.namespace, row.meta.flow);
    let ids = rows.iter().map(|row| row.meta.id.as_str().len()).max();
    let names = rows.iter().map(|row| name(row).len()).max();
    let (ids, names) = (ids.unwrap_or(0), names.unwrap_or(0));
    for row in rows {
        let state = format!("{:<9}", row.state);
        let took = match (row.started_ms, row.ended_ms) {
            (Some(started), Some(ended)) => style::duration(ended.saturating_sub(started)),
            _ => "-".to_owned(),
        };
        let reason = row.reason.as_deref().unwrap_or_default();
        console.line(
            format!(
                "{:<ids$}  {}  {:<names$}  {}  {took:>8}  {}",
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
