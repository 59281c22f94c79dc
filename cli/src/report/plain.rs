//! A line per change, for pipes and logs of other systems.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

use operon_engine::ports::{AttemptRow, ExecutionId, ExecutionRow};

use super::Report;
use crate::output::Console;
use crate::style;

/// Characters of a message in a line.
const MESSAGE_CHARS: usize = 300;

pub(crate) struct Plain {
    console: Rc<Console>,
    /// States that were shown of executions that are not over.
    states: HashMap<ExecutionId, String>,
}

impl Plain {
    pub(crate) fn new(console: Rc<Console>) -> Self {
        Self {
            console,
            states: HashMap::new(),
        }
    }
}

impl Report for Plain {
    fn execution(&mut self, row: &ExecutionRow) {
        let id = &row.meta.id;
        // A row also changes when labels or outputs come: that is no news for a line.
        let before = self.states.insert(id.clone(), row.state.clone());
        if before.as_ref() == Some(&row.state) {
            return;
        }
        let colour = self.console.colour();
        self.console.line(&format!(
            "{} {:<8} {}.{} {} {}",
            style::clock(row.ended_ms.unwrap_or_else(now_ms)),
            "flow",
            row.meta.namespace,
            row.meta.flow,
            style::state(colour, &row.state),
            style::paint(colour, style::DIM, id.as_str()),
        ));
    }

    fn task_run(&mut self, row: &AttemptRow) {
        self.console.line(&line(row, self.console.colour()));
    }

    fn note(&mut self, text: &str) {
        self.console.note(text);
    }

    fn tick(&mut self) {
        self.console.flush();
    }

    fn close(&mut self) {
        self.console.flush();
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or_default()
}

/// `14:03:59 task     align[12] FAILED (attempt 2, 3.2s, exit code 1): message`
fn line(row: &AttemptRow, colour: bool) -> String {
    let time = row.ended_ms.or(row.started_ms).unwrap_or(row.created_ms);
    let mut facts = Vec::new();
    if row.attempt > 1 {
        facts.push(format!("attempt {}", row.attempt));
    }
    if let (Some(started), Some(ended)) = (row.started_ms, row.ended_ms)
        && row.attempt > 0
    {
        facts.push(style::duration(ended.saturating_sub(started)));
    }
    if let Some(code) = row.exit_code.filter(|code| *code != 0) {
        facts.push(format!("exit code {code}"));
    } else if let Some(reason) = &row.reason {
        facts.push(reason.clone());
    }
    let facts = if facts.is_empty() {
        String::new()
    } else {
        format!(" ({})", facts.join(", "))
    };
    let message = match &row.message {
        Some(message) => format!(": {}", style::one_line(message, MESSAGE_CHARS)),
        None => String::new(),
    };
    format!(
        "{} {:<8} {} {}{facts}{message}",
        style::clock(time),
        "task",
        row.name,
        style::state(colour, &row.state),
    )
}
