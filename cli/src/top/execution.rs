//! One execution as it is shown: its task runs in the order of their start, and the log of the chosen one.

use std::collections::{HashMap, VecDeque};

use operon_api::dto::{ExecutionDetail, ExecutionSummary, LogLineDto, LogPageDto, TaskRun};

use super::message::Source;

/// Task runs that are kept at most; of more, those that failed can be asked for.
pub(super) const RUNS_MAX: usize = 2000;
/// Lines of a log that are kept at most.
pub(super) const LINES_MAX: usize = 5000;

/// States of task runs in which something went wrong.
pub(super) const FAILED: &str = "FAILED,KILLED";

/// An execution.
#[derive(Debug, Clone)]
pub(super) struct ExecutionPage {
    /// Its id.
    pub(super) id: String,
    /// As in lists; known first, and kept fresh by the stream.
    pub(super) summary: Option<ExecutionSummary>,
    /// Everything about it.
    pub(super) detail: Option<ExecutionDetail>,
    /// Task runs, by their start.
    pub(super) runs: Vec<TaskRun>,
    places: HashMap<String, usize>,
    /// They have come at least once.
    pub(super) loaded: bool,
    /// There are more than these.
    pub(super) more: bool,
    /// Number of the chosen one among those shown.
    pub(super) at: usize,
    /// A person chose it: it stays.
    pub(super) held: bool,
    /// Only task runs that failed are shown.
    pub(super) failed_only: bool,
    /// Only task runs with this text in their name are shown.
    pub(super) needle: String,
    /// They must be read again.
    pub(super) stale: bool,
    /// The stream of changes.
    pub(super) ticket: u64,
    /// The log takes the whole page.
    pub(super) log_large: bool,
    /// The log of the chosen task run.
    pub(super) log: LogPane,
}

/// The log of one attempt.
#[derive(Debug, Clone, Default)]
pub(super) struct LogPane {
    /// Which.
    pub(super) source: Option<Source>,
    /// The attempt that was asked for by hand.
    pub(super) attempt: Option<u8>,
    /// Ascending, without gaps.
    pub(super) lines: VecDeque<LogLineDto>,
    /// Nothing comes after these.
    pub(super) ended: bool,
    /// The first page has come.
    pub(super) loaded: bool,
    /// Earlier lines were asked for.
    pub(super) asking: bool,
    /// Lines between the end of what is shown and the newest; none follows.
    pub(super) back: usize,
    /// Its requests and its stream.
    pub(super) ticket: u64,
    /// When it is asked for: a moment after it was chosen.
    pub(super) due_ms: Option<u64>,
}

impl LogPane {
    /// Lines that came in a page: the end of the log, or what is before the first one.
    pub(super) fn page(&mut self, page: LogPageDto) {
        self.asking = false;
        self.loaded = true;
        if self.lines.is_empty() {
            self.ended = page.ended;
        }
        let first = self.lines.front().map(|line| line.seq);
        let earlier = page
            .items
            .into_iter()
            .filter(|line| first.is_none_or(|first| line.seq < first));
        for line in earlier.collect::<Vec<_>>().into_iter().rev() {
            if self.lines.len() < LINES_MAX {
                self.lines.push_front(line);
            }
        }
    }

    /// A line that was written now.
    pub(super) fn line(&mut self, line: LogLineDto) {
        if self.lines.back().is_some_and(|last| line.seq <= last.seq) {
            return;
        }
        self.lines.push_back(line);
        if self.lines.len() > LINES_MAX {
            self.lines.pop_front();
        }
        // Who reads further up goes on reading there.
        if self.back > 0 {
            self.back = (self.back + 1).min(self.lines.len());
        }
    }
}

fn order(run: &TaskRun) -> (u64, &str) {
    (run.created_ms, &run.id)
}

impl ExecutionPage {
    /// Nothing known yet but what a list knows.
    pub(super) fn new(id: String, summary: Option<ExecutionSummary>, ticket: u64) -> Self {
        Self {
            id,
            summary,
            detail: None,
            runs: Vec::new(),
            places: HashMap::new(),
            loaded: false,
            more: false,
            at: 0,
            held: false,
            failed_only: false,
            needle: String::new(),
            stale: true,
            ticket,
            log_large: false,
            log: LogPane::default(),
        }
    }

    /// All task runs.
    pub(super) fn replace(&mut self, runs: Vec<TaskRun>, more: bool) {
        let chosen = self.current().map(|run| run.id.clone());
        self.runs = runs;
        self.more = more;
        self.loaded = true;
        self.stale = false;
        self.arrange(chosen);
    }

    /// One task run, as it is now.
    pub(super) fn change(&mut self, run: TaskRun) {
        let chosen = self.current().map(|run| run.id.clone());
        let place = self.places.get(&run.id).copied();
        if let Some(known) = place.and_then(|place| self.runs.get_mut(place)) {
            let same = known.created_ms == run.created_ms;
            *known = run;
            if same {
                self.choose(chosen);
                return;
            }
        } else if self.runs.len() < RUNS_MAX {
            self.runs.push(run);
        } else {
            self.more = true;
            return;
        }
        self.arrange(chosen);
    }

    fn arrange(&mut self, chosen: Option<String>) {
        self.runs.sort_by(|a, b| order(a).cmp(&order(b)));
        let places = self.runs.iter().enumerate();
        self.places = places.map(|(place, run)| (run.id.clone(), place)).collect();
        self.choose(chosen);
    }

    /// Keeps what a person chose; else chooses what failed first, else what runs.
    fn choose(&mut self, chosen: Option<String>) {
        let at = self.place(chosen);
        self.at = at;
    }

    fn place(&self, chosen: Option<String>) -> usize {
        let shown = self.shown();
        let is = |run: &&TaskRun, state: &str| run.state == state && !run.attempts.is_empty();
        let wanted = if self.held {
            chosen
        } else {
            let failed = shown.iter().find(|run| is(run, "FAILED"));
            let running = || shown.iter().rfind(|run| is(run, "RUNNING"));
            let last = || shown.iter().rfind(|run| !run.attempts.is_empty());
            failed
                .or_else(running)
                .or_else(last)
                .map(|run| run.id.clone())
        };
        let at = wanted.and_then(|id| shown.iter().position(|run| run.id == id));
        at.unwrap_or(self.at).min(shown.len().saturating_sub(1))
    }

    /// Task runs that the filter lets through.
    pub(super) fn shown(&self) -> Vec<&TaskRun> {
        let needle = self.needle.to_lowercase();
        let runs = self.runs.iter();
        runs.filter(|run| !self.failed_only || matches!(run.state.as_str(), "FAILED" | "KILLED"))
            .filter(|run| needle.is_empty() || run.name.to_lowercase().contains(&needle))
            .collect()
    }

    /// The chosen task run.
    pub(super) fn current(&self) -> Option<&TaskRun> {
        self.shown().get(self.at).copied()
    }

    /// Chooses another task run.
    pub(super) fn step(&mut self, by: isize) {
        self.held = true;
        self.log.attempt = None;
        let last = self.shown().len().saturating_sub(1);
        self.at = self.at.saturating_add_signed(by).min(last);
    }

    /// The log that belongs to what is chosen.
    pub(super) fn wanted_log(&self) -> Option<Source> {
        let run = self.current()?;
        let last = run.attempts.last()?.attempt;
        Some(Source {
            execution: self.id.clone(),
            run: run.id.clone(),
            attempt: self.log.attempt.unwrap_or(last),
        })
    }

    /// Shows the log of another attempt.
    pub(super) fn step_attempt(&mut self, later: bool) {
        let Some(run) = self.current() else {
            return;
        };
        let numbers: Vec<u8> = run.attempts.iter().map(|attempt| attempt.attempt).collect();
        let now = self.log.attempt.or(numbers.last().copied());
        let Some(at) = numbers.iter().position(|number| Some(*number) == now) else {
            return;
        };
        let at = if later { at + 1 } else { at.saturating_sub(1) };
        self.log.attempt = numbers.get(at).copied().or(now);
        self.held = true;
    }

    /// The state, as far as it is known.
    pub(super) fn state(&self) -> &str {
        self.summary.as_ref().map_or("", |summary| &summary.state)
    }

    /// It is over.
    pub(super) fn over(&self) -> bool {
        self.summary
            .as_ref()
            .is_some_and(|summary| summary.ended_ms.is_some())
    }
}
