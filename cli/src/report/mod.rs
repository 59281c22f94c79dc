//! How executions are shown: while they run (`Report`), and at their end (`end`).
//!
//! Invariant: memory does not grow with the number of task runs, except for what a live view folds to counts.

mod end;
mod json;
mod live;
mod ndjson;
mod plain;
mod tree;

use std::rc::Rc;

use operon_engine::ports::{AttemptRow, ExecutionRow};
use operon_local::logs::LogReader;

use crate::args::{EngineArgs, Output};
use crate::output::Console;

pub(crate) use end::{Outlook, summary};
pub(crate) use json::{execution_json, for_each_task_run, task_run_value, write_execution};

/// Hears what happens to executions, in order, and shows it.
pub(crate) trait Report {
    /// An execution changed.
    fn execution(&mut self, row: &ExecutionRow);
    /// A task run changed.
    fn task_run(&mut self, row: &AttemptRow);
    /// Something else to be said.
    fn note(&mut self, text: &str);
    /// Time passed: ten times a second.
    fn tick(&mut self);
    /// The end: what was shown for the moment only is taken away.
    fn close(&mut self);
}

/// What the arguments ask for.
pub(crate) fn of_args(args: &EngineArgs, console: &Rc<Console>) -> Box<dyn Report> {
    match args.output {
        Output::Ndjson => Box::new(ndjson::Ndjson::new(Rc::clone(console))),
        Output::Human if !args.quiet && console.is_terminal() => {
            let logs = LogReader::new(&args.state.dir.join("logs"));
            Box::new(live::Live::new(Rc::clone(console), logs))
        }
        Output::Human if !args.quiet => Box::new(plain::Plain::new(Rc::clone(console))),
        Output::Human | Output::Json => Box::new(Silent(Rc::clone(console))),
    }
}

/// Shows nothing while something runs.
struct Silent(Rc<Console>);

impl Report for Silent {
    fn execution(&mut self, _: &ExecutionRow) {}
    fn task_run(&mut self, _: &AttemptRow) {}
    fn note(&mut self, text: &str) {
        self.0.note(text);
    }
    fn tick(&mut self) {}
    fn close(&mut self) {}
}
