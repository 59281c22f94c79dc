//! What is said when an execution is over: what came out of it, or what failed and where to look.

use std::collections::BTreeMap;
use std::path::Path;

use operon_core::exec::Reason;
use operon_engine::ports::{AttemptId, AttemptRow, ExecutionRow, StateStore, StoreError};
use operon_local::logs::LogReader;
use serde_json::Value;

use super::json::for_each_task_run;
use crate::output::Console;
use crate::state::state_option;
use crate::style;

/// Failed task runs that are shown; the rest is counted.
const FAILURES_MAX: usize = 5;
/// Lines of the log shown of a failed task run.
const LOG_LINES: usize = 20;
/// Characters of an output's value.
const VALUE_CHARS: usize = 500;

/// An execution that is over, and how its task runs ended.
pub(crate) struct Ended {
    counts: BTreeMap<String, u32>,
    failures: Vec<AttemptRow>,
    failed: u32,
}

/// Where to look.
pub(crate) struct Outlook<'a> {
    pub(crate) store: &'a dyn StateStore,
    pub(crate) logs: &'a LogReader,
    pub(crate) state: &'a Path,
}

impl Ended {
    /// Reads the task runs.
    async fn read(store: &dyn StateStore, row: &ExecutionRow) -> Result<Self, StoreError> {
        let mut ended = Self {
            counts: BTreeMap::new(),
            failures: Vec::new(),
            failed: 0,
        };
        for_each_task_run(store, row, |run| ended.add(run)).await?;
        Ok(ended)
    }

    fn add(&mut self, run: &AttemptRow) {
        // Groups and loops have no attempts; they fail because of what is in them, unless a reason is their own.
        let own = run.attempt > 0
            || matches!(run.state.as_str(), "SKIPPED" | "CANCELLED")
            || (run.state == "FAILED"
                && run.reason.as_deref() != Some(Reason::ChildFailed.words()));
        if own {
            *self.counts.entry(run.state.clone()).or_default() += 1;
        }
        if run.state == "FAILED" && (own || run.message.is_some()) {
            self.failed += 1;
            if self.failures.len() < FAILURES_MAX {
                self.failures.push(run.clone());
            }
        }
    }
}

/// Says how an execution ended, for people.
pub(crate) async fn summary(
    console: &Console,
    look: &Outlook<'_>,
    row: &ExecutionRow,
) -> anyhow::Result<()> {
    let ended = Ended::read(look.store, row).await?;
    let colour = console.colour();
    for run in &ended.failures {
        failure(console, look, row, run)?;
    }
    let more = ended.failed as usize - ended.failures.len().min(ended.failed as usize);
    if more > 0 {
        console.line(&format!("… and {more} more failed task runs\n"));
    }
    let took = match (row.started_ms, row.ended_ms) {
        (Some(started), Some(ended)) => {
            format!(" in {}", style::duration(ended.saturating_sub(started)))
        }
        _ => String::new(),
    };
    let name = format!("{}.{}", row.meta.namespace, row.meta.flow);
    console.line(&format!(
        "{} {} {}{took}{}",
        style::paint(colour, style::BOLD, &name),
        style::paint(colour, style::DIM, row.meta.id.as_str()),
        style::state(colour, &row.state),
        counts(&ended.counts),
    ));
    if let Some(reason) = &row.reason
        && ended.failures.is_empty()
    {
        console.line(&format!("  reason: {}", style::harmless(reason)));
    }
    for (key, value) in &row.outputs {
        console.line(&format!(
            "  {} = {}",
            style::paint(colour, style::BOLD, key),
            style::one_line(&shown(value), VALUE_CHARS)
        ));
    }
    console.flush();
    Ok(())
}

/// `: 12 task runs succeeded, 1 failed`
fn counts(counts: &BTreeMap<String, u32>) -> String {
    let words = [
        ("SUCCESS", "succeeded"),
        ("WARNING", "with warnings"),
        ("FAILED", "failed"),
        ("KILLED", "killed"),
        ("CANCELLED", "cancelled"),
        ("SKIPPED", "skipped"),
    ];
    let parts: Vec<String> = words
        .iter()
        .filter_map(|(state, word)| {
            let count = counts.get(*state)?;
            Some(format!("{count} {word}"))
        })
        .collect();
    if parts.is_empty() {
        String::new()
    } else {
        format!(": task runs: {}", parts.join(", "))
    }
}

fn shown(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

/// Why a task run failed, its last lines, and the command that shows the rest.
fn failure(
    console: &Console,
    look: &Outlook<'_>,
    row: &ExecutionRow,
    run: &AttemptRow,
) -> anyhow::Result<()> {
    let colour = console.colour();
    let mut facts = Vec::new();
    if let Some(code) = run.exit_code {
        facts.push(format!("exit code {code}"));
    }
    // The exit code is the reason, then.
    if let (None, Some(reason)) = (run.exit_code, &run.reason) {
        facts.push(reason.clone());
    }
    if run.attempt > 1 {
        facts.push(format!("attempt {}", run.attempt));
    }
    let facts = if facts.is_empty() {
        String::new()
    } else {
        format!(" ({})", facts.join(", "))
    };
    console.line(&format!(
        "\n{} {}{facts}",
        style::state(colour, &run.state),
        style::paint(colour, style::BOLD, &run.name),
    ));
    if let Some(item) = &run.item {
        console.line(&format!(
            "  item: {}",
            style::one_line(&shown(item), VALUE_CHARS)
        ));
    }
    if let Some(message) = &run.message {
        for line in style::harmless(message).lines() {
            console.line(&format!("  {line}"));
        }
    }
    let attempt = AttemptId {
        execution: run.execution.clone(),
        task_run: run.task_run.clone(),
        attempt: run.attempt,
    };
    let page = look.logs.tail(&attempt, LOG_LINES)?;
    if let Some(first) = page.lines.first() {
        let dropped = if first.seq > 0 { " (last lines)" } else { "" };
        console.line(&style::paint(
            colour,
            style::DIM,
            &format!("  log{dropped}:"),
        ));
        for line in &page.lines {
            console.line(&format!("  │ {}", style::harmless(&line.text)));
        }
    }
    if run.attempt > 0 {
        console.line(&format!(
            "  → operon executions logs {} '{}'{}\n",
            row.meta.id,
            run.name,
            state_option(look.state)
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use operon_core::plan::ShardId;
    use operon_engine::ports::{TaskRunKey, Usage};
    use serde_json::Map;

    use super::*;

    fn row(task: &str, attempt: u8, state: &str, reason: Option<&str>) -> AttemptRow {
        AttemptRow {
            execution: "abc".parse().unwrap(),
            task_run: TaskRunKey {
                shard: ShardId::ROOT,
                slot: 1,
            },
            attempt,
            task: task.to_owned(),
            name: task.to_owned(),
            item: None,
            parent: None,
            state: state.to_owned(),
            reason: reason.map(str::to_owned),
            message: None,
            exit_code: None,
            created_ms: 1000,
            started_ms: None,
            ended_ms: Some(3000),
            outputs: Map::new(),
            outputs_uri: None,
            metrics: Vec::new(),
            usage: Usage::default(),
        }
    }

    #[test]
    fn what_failed_by_itself_is_counted_and_shown_and_what_holds_it_is_not() {
        let mut ended = Ended {
            counts: BTreeMap::new(),
            failures: Vec::new(),
            failed: 0,
        };
        let timeout = Reason::Timeout.words();
        let held = Reason::ChildFailed.words();
        for run in [
            row("pause", 0, "FAILED", Some(timeout)),
            row("group", 0, "FAILED", Some(held)),
            row("done", 1, "SUCCESS", None),
            row("group", 0, "SUCCESS", None),
        ] {
            ended.add(&run);
        }
        let shown: Vec<&str> = ended.failures.iter().map(|run| run.task.as_str()).collect();
        assert_eq!(shown, ["pause"]);
        assert_eq!(ended.failed, 1);
        assert_eq!(counts(&ended.counts), ": task runs: 1 succeeded, 1 failed");
    }
}
