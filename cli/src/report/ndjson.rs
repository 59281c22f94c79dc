//! One JSON object per change, for programs that follow an execution.

use std::rc::Rc;

use operon_engine::ports::{AttemptRow, ExecutionRow};
use serde_json::{Value, json};

use super::{Report, execution_json, task_run_value};
use crate::output::Console;

/// Lines kept back at most; time keeps them back no longer than a tick.
const LINES_MAX: u32 = 200;

pub(crate) struct Ndjson {
    console: Rc<Console>,
    waiting: u32,
}

impl Ndjson {
    pub(crate) fn new(console: Rc<Console>) -> Self {
        Self {
            console,
            waiting: 0,
        }
    }

    fn line(&mut self, event: &str, object: impl IntoIterator<Item = (String, Value)>) {
        let mut line = serde_json::Map::new();
        line.insert("event".to_owned(), json!(event));
        line.extend(object);
        self.console.line(&Value::Object(line).to_string());
        self.waiting += 1;
        if self.waiting >= LINES_MAX {
            self.tick();
        }
    }
}

impl Report for Ndjson {
    fn execution(&mut self, row: &ExecutionRow) {
        // The last line of a watched execution is written at the end, when its outputs are known.
        if row.ended_ms.is_none() || row.meta.parent.is_some() {
            self.line("execution", execution_json(row));
        }
    }

    fn task_run(&mut self, row: &AttemptRow) {
        let mut object = task_run_value(row);
        object.insert("execution".to_owned(), json!(row.execution));
        object.insert("attempt".to_owned(), json!(row.attempt));
        object.insert("message".to_owned(), json!(row.message));
        self.line("taskRun", object);
    }

    fn note(&mut self, text: &str) {
        self.console.note(text);
    }

    fn tick(&mut self) {
        if self.waiting > 0 {
            self.console.flush();
            self.waiting = 0;
        }
    }

    fn close(&mut self) {
        self.tick();
    }
}
