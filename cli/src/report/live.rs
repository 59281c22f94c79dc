//! The live view of a terminal: a tree of tasks with their times, redrawn in place.
//!
//! What is drawn comes from `tree`; here is when and where. The view takes no keys and changes no mode of the
//! terminal, so that nothing has to be put right when the process is killed.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

use operon_engine::ports::{AttemptId, AttemptRow, ExecutionRow};
use operon_local::logs::LogReader;

use super::Report;
use super::tree::{Size, Tree};
use crate::output::Console;

/// Failed attempts whose last line is looked for at once.
const LOOKUPS_MAX: usize = 16;

pub(crate) struct Live {
    console: Rc<Console>,
    logs: LogReader,
    tree: Tree,
    /// Lines on the screen that belong to the view.
    drawn: usize,
    /// Failed attempts whose last line is not known yet, with the ticks they have waited.
    failed: BTreeMap<AttemptId, (String, u32)>,
}

impl Live {
    pub(crate) fn new(console: Rc<Console>, logs: LogReader) -> Self {
        Self {
            console,
            logs,
            tree: Tree::default(),
            drawn: 0,
            failed: BTreeMap::new(),
        }
    }

    /// Takes the view off the screen.
    fn erase(&mut self) {
        if self.drawn > 0 {
            self.console.out(&format!("\x1b[{}A\r\x1b[J", self.drawn));
            self.drawn = 0;
        }
    }

    fn draw(&mut self, last: bool) {
        let (columns, rows) = self.console.size();
        let size = Size {
            columns: usize::from(columns),
            // The line below the view belongs to the cursor.
            rows: usize::from(rows).saturating_sub(2).max(3),
        };
        let lines = self.tree.lines(now_ms(), size, self.console.colour(), last);
        // Terminals that know this show the frame at once; others ignore it.
        self.console.out("\x1b[?2026h");
        self.erase();
        for line in &lines {
            self.console.line(line);
        }
        self.console.out("\x1b[?2026l");
        self.drawn = if last { 0 } else { lines.len() };
        self.console.flush();
    }

    /// Logs reach their files within a tick or two.
    fn look_up(&mut self) {
        let ids: Vec<AttemptId> = self.failed.keys().take(LOOKUPS_MAX).cloned().collect();
        for id in ids {
            let Ok(page) = self.logs.tail(&id, 1) else {
                self.failed.remove(&id);
                continue;
            };
            let Some((task, waited)) = self.failed.get_mut(&id) else {
                continue;
            };
            if let Some(line) = page.lines.last() {
                self.tree.said(task, &line.text);
            }
            *waited += 1;
            if page.end.is_some() || *waited > 5 {
                self.failed.remove(&id);
            }
        }
    }
}

impl Report for Live {
    fn execution(&mut self, row: &ExecutionRow) {
        self.tree.execution(row);
    }

    fn task_run(&mut self, row: &AttemptRow) {
        self.tree.task_run(row);
        if row.state == "FAILED" && row.attempt > 0 && self.failed.len() < LOOKUPS_MAX {
            self.failed.insert(row.id(), (row.task.clone(), 0));
        }
    }

    fn note(&mut self, text: &str) {
        self.erase();
        self.console.note(text);
    }

    fn tick(&mut self) {
        self.look_up();
        self.draw(false);
    }

    fn close(&mut self) {
        self.look_up();
        self.draw(true);
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or_default()
}
