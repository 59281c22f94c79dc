//! What the live view shows: executions with their tasks, iterations of loops folded to counts.
//!
//! Invariant: memory grows with the tasks of the flows and with what runs at the moment, not with the number
//! of task runs.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};

use operon_engine::ports::{AttemptRow, ExecutionId, ExecutionRow, TaskRunKey};

use crate::style;

/// Columns of the bars that show when a task ran.
const BAR: usize = 24;
/// Terminals narrower than this get no bars.
const BAR_COLUMNS_MIN: usize = 90;
/// Characters of a name, with its indentation.
const NAME: usize = 36;

/// Room for drawing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size {
    pub(super) columns: usize,
    pub(super) rows: usize,
}

/// Executions in the order of their start.
#[derive(Debug, Default)]
pub(super) struct Tree {
    executions: Vec<ExecutionRow>,
    tasks: Vec<Task>,
    places: HashMap<(ExecutionId, String), usize>,
}

/// All task runs of one task.
#[derive(Debug)]
struct Task {
    execution: ExecutionId,
    name: String,
    parent: Option<String>,
    in_loop: bool,
    /// Of the latest change.
    state: String,
    attempt: u8,
    running: BTreeMap<TaskRunKey, u64>,
    done: u32,
    failed: u32,
    started_ms: Option<u64>,
    ended_ms: Option<u64>,
    said: Option<String>,
}

impl Task {
    fn of(row: &AttemptRow) -> Self {
        Self {
            execution: row.execution.clone(),
            name: row.task.clone(),
            // `outer[3]` is an iteration of the task `outer`.
            parent: row
                .parent
                .as_ref()
                .map(|parent| parent.split('[').next().unwrap_or(parent).to_owned()),
            in_loop: row.name != row.task,
            state: String::new(),
            attempt: 0,
            running: BTreeMap::new(),
            done: 0,
            failed: 0,
            started_ms: None,
            ended_ms: None,
            said: None,
        }
    }

    fn change(&mut self, row: &AttemptRow) {
        let live = matches!(
            row.state.as_str(),
            "RUNNING" | "SUBMITTED" | "PAUSED" | "KILLING"
        );
        let known = self.running.contains_key(&row.task_run);
        self.state.clone_from(&row.state);
        self.attempt = row.attempt;
        let began = row.started_ms.unwrap_or(row.created_ms);
        self.started_ms = Some(self.started_ms.map_or(began, |first| first.min(began)));
        if live {
            if row.attempt > 1 && !known {
                // The attempt before it was counted as failed.
                self.failed = self.failed.saturating_sub(1);
            }
            self.running.insert(row.task_run.clone(), began);
            return;
        }
        self.running.remove(&row.task_run);
        if row.state == "FAILED" {
            self.failed += 1;
        } else if row.state != "RETRYING" {
            self.done += 1;
        }
        self.ended_ms = self.ended_ms.max(row.ended_ms);
        if row.state == "FAILED" && row.message.is_some() {
            self.said.clone_from(&row.message);
        }
        if matches!(row.state.as_str(), "SUCCESS" | "WARNING") && self.failed == 0 {
            self.said = None;
        }
    }

    /// The state of all task runs together.
    fn state(&self) -> &str {
        if !self.in_loop {
            &self.state
        } else if !self.running.is_empty() {
            "RUNNING"
        } else if self.failed > 0 {
            "FAILED"
        } else {
            &self.state
        }
    }

    fn is_active(&self) -> bool {
        !self.running.is_empty() || self.state == "RETRYING" || self.failed > 0
    }
}

impl Tree {
    pub(super) fn execution(&mut self, row: &ExecutionRow) {
        let known = self
            .executions
            .iter_mut()
            .find(|known| known.meta.id == row.meta.id);
        match known {
            Some(known) => known.clone_from(row),
            None => self.executions.push(row.clone()),
        }
    }

    pub(super) fn task_run(&mut self, row: &AttemptRow) {
        let key = (row.execution.clone(), row.task.clone());
        let place = *self.places.entry(key).or_insert(self.tasks.len());
        if place == self.tasks.len() {
            self.tasks.push(Task::of(row));
        }
        if let Some(task) = self.tasks.get_mut(place) {
            task.change(row);
        }
    }

    /// The last line a failed attempt of the task logged.
    pub(super) fn said(&mut self, task: &str, line: &str) {
        if let Some(task) = self.tasks.iter_mut().find(|known| known.name == task) {
            task.said = Some(line.to_owned());
        }
    }

    /// What is drawn. Where there is no room for all tasks, those that are over give way; `last` draws all.
    pub(super) fn lines(&self, now_ms: u64, size: Size, colour: bool, last: bool) -> Vec<String> {
        let mut lines = Vec::new();
        let mut hidden = 0;
        let mut room = if last { usize::MAX } else { size.rows };
        room = room.saturating_sub(self.executions.len() + 1);
        let fits = self.tasks.len() <= room;
        for execution in &self.executions {
            if !last {
                lines.push(head(execution, now_ms, colour));
            }
            for (depth, task) in self.ordered(&execution.meta.id) {
                if !fits && !task.is_active() {
                    hidden += 1;
                    continue;
                }
                if lines.len() >= room && !last {
                    hidden += 1;
                    continue;
                }
                lines.push(line(task, depth, execution, now_ms, size.columns, colour));
            }
        }
        if hidden > 0 {
            let text = format!("  … {hidden} more tasks");
            lines.push(style::paint(colour, style::DIM, &text));
        }
        lines
    }

    /// Tasks of an execution, children below what holds them.
    fn ordered(&self, id: &ExecutionId) -> Vec<(usize, &Task)> {
        let own: Vec<&Task> = self
            .tasks
            .iter()
            .filter(|task| task.execution == *id)
            .collect();
        let known: HashMap<&str, &Task> =
            own.iter().map(|task| (task.name.as_str(), *task)).collect();
        let mut children: HashMap<&str, Vec<&Task>> = HashMap::new();
        let mut tops = Vec::new();
        for task in &own {
            match task
                .parent
                .as_deref()
                .filter(|parent| known.contains_key(parent))
            {
                Some(parent) => children.entry(parent).or_default().push(task),
                None => tops.push(*task),
            }
        }
        let mut out = Vec::new();
        let mut todo: Vec<(usize, &Task)> = tops.into_iter().rev().map(|task| (0, task)).collect();
        while let Some((depth, task)) = todo.pop() {
            out.push((depth, task));
            for child in children
                .remove(task.name.as_str())
                .unwrap_or_default()
                .into_iter()
                .rev()
            {
                todo.push((depth + 1, child));
            }
        }
        out
    }
}

fn head(row: &ExecutionRow, now_ms: u64, colour: bool) -> String {
    let name = format!("{}.{}", row.meta.namespace, row.meta.flow);
    let began = row.started_ms.unwrap_or(row.meta.created_ms);
    let took = row.ended_ms.unwrap_or(now_ms).saturating_sub(began);
    format!(
        "{} {} {} {}",
        style::paint(colour, style::BOLD, &name),
        style::paint(colour, style::DIM, row.meta.id.as_str()),
        style::state(colour, &row.state),
        style::duration(took)
    )
}

/// `● align        12/100, 2 failed, 8 running   3.2s   ▁▁▇▇▇▇`
fn line(
    task: &Task,
    depth: usize,
    execution: &ExecutionRow,
    now_ms: u64,
    columns: usize,
    colour: bool,
) -> String {
    let state = task.state();
    let mark = match state {
        "SUCCESS" => "✓",
        "WARNING" => "!",
        "FAILED" => "✗",
        "KILLED" | "CANCELLED" => "×",
        "SKIPPED" => "-",
        "PAUSED" => "‖",
        _ => "●",
    };
    let name = format!(
        "{}{}",
        "  ".repeat(depth),
        style::one_line(&task.name, NAME)
    );
    let mut facts = Vec::new();
    if task.in_loop {
        facts.push(format!("{} done", task.done));
        if task.failed > 0 {
            facts.push(format!("{} failed", task.failed));
        }
        if !task.running.is_empty() {
            facts.push(format!("{} running", task.running.len()));
        }
    } else {
        facts.push(state.to_lowercase());
        if task.attempt > 1 {
            facts.push(format!("attempt {}", task.attempt));
        }
    }
    let until = if task.running.is_empty() {
        task.ended_ms
    } else {
        Some(now_ms)
    };
    let took = match (task.started_ms, until) {
        (Some(began), Some(until)) => style::duration(until.saturating_sub(began)),
        _ => String::new(),
    };
    let said = task
        .said
        .as_ref()
        .filter(|_| task.failed > 0)
        .map_or_else(String::new, |said| {
            format!("  {}", style::one_line(said, 200))
        });
    let bar = if columns >= BAR_COLUMNS_MIN && said.is_empty() {
        bar(task, execution, until, now_ms)
    } else {
        String::new()
    };
    let text = format!(
        "{name:<NAME$} {:<30} {took:>8}  {bar}{said}",
        facts.join(", ")
    );
    let text = style::one_line_keeping(&text, columns.saturating_sub(3));
    format!(
        "{} {text}",
        style::paint(colour, style::of_state(state), mark)
    )
}

/// When the task ran, on the scale of its execution.
fn bar(task: &Task, execution: &ExecutionRow, until: Option<u64>, now_ms: u64) -> String {
    let begun = execution.started_ms.unwrap_or(execution.meta.created_ms);
    let end = execution.ended_ms.unwrap_or(now_ms).max(begun + 1);
    let (Some(from), Some(to)) = (task.started_ms, until) else {
        return String::new();
    };
    let width = u64::try_from(BAR).unwrap_or(1);
    let place = |time: u64| {
        let share = time.clamp(begun, end).saturating_sub(begun) * width / (end - begun);
        usize::try_from(share).unwrap_or(0)
    };
    let (first, last) = (place(from).min(BAR - 1), place(to));
    let filled = last.saturating_sub(first).max(1);
    format!("{}{}", "·".repeat(first), "━".repeat(filled))
}
