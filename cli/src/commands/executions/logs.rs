//! `operon executions logs`: of one task run, or of all in the order of time.
//!
//! Invariant: memory grows with the task runs that log at the same time, not with their logs.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use operon_engine::ports::{
    AttemptId, AttemptRow, ExecutionId, LogLevel, LogLine, StateStore, StoreError, TaskRunKey,
};
use operon_engine::replay::Reuse;
use operon_local::logs::LogReader;
use serde_json::{Value, json};

use crate::args::{LogsArgs, Output};
use crate::exit::{Exit, Usage};
use crate::output::Console;
use crate::state::{State, block_on};
use crate::style;

/// Attempts read at once.
const PAGE: u32 = 1000;
/// Lines read at once of one attempt.
const LINES: usize = 100;
/// How often a followed log is looked at.
const FOLLOW: Duration = Duration::from_millis(200);

/// An attempt that may have a log.
struct Source {
    id: AttemptId,
    /// Of a task run that a replay reused: where its log is.
    reuse: Option<Reuse>,
    name: String,
    began_ms: u64,
}

pub(crate) fn logs(args: &LogsArgs, console: &Console) -> anyhow::Result<Exit> {
    possible(args)?;
    let state = State::open(&args.state.dir)?;
    block_on(async {
        state.execution(&args.id).await?;
        let printer = Printer {
            console,
            output: args.output,
            search: args.search.as_ref().map(|text| text.to_lowercase()),
            lines: RefCell::default(),
            // The log of one task run needs no names.
            names: args.task.as_ref().is_none_or(|task| !task.contains('[')),
        };
        if args.follow {
            return follow(args, &state, &printer).await;
        }
        let mut sources = sources(args, &state.store, &args.id).await?;
        if let (Some(task), true) = (&args.task, sources.is_empty()) {
            return Err(unknown(args, task));
        }
        let mut written = Vec::new();
        for source in &mut sources {
            written.push(source.written_as(&state.store).await?);
        }
        match args.tail {
            Some(count) => tail(&state.logs, (&sources, &written), count, &printer)?,
            None => merged(&state.logs, (&sources, &written), &printer)?,
        }
        printer.end();
        Ok(Exit::Success)
    })
}

/// Whether what is asked for can be shown as it is asked for.
pub(crate) fn possible(args: &LogsArgs) -> anyhow::Result<()> {
    if args.follow && args.output == Output::Json {
        let text = "a log that is followed is not shown as one object";
        return Err(Usage::new(text)
            .help("ask for `--output ndjson`: one object per line")
            .into());
    }
    Ok(())
}

fn unknown(args: &LogsArgs, task: &str) -> anyhow::Error {
    Usage::new(format!("execution {} has no task run `{task}`", args.id))
        .help(format!(
            "`operon executions show {}` names those it has",
            args.id
        ))
        .into()
}

/// The attempts that were asked for, in the order in which they began.
async fn sources(
    args: &LogsArgs,
    store: &dyn StateStore,
    id: &ExecutionId,
) -> Result<Vec<Source>, StoreError> {
    let mut found = Vec::new();
    let mut after: Option<(TaskRunKey, u8)> = None;
    loop {
        let page = store.attempts_page(id, after.clone(), PAGE).await?;
        let Some(last) = page.last() else { break };
        after = Some((last.task_run.clone(), last.attempt));
        found.extend(page.into_iter().filter(|row| wanted(args, row)).map(source));
    }
    found.sort_by(|a, b| (a.began_ms, &a.id).cmp(&(b.began_ms, &b.id)));
    Ok(found)
}

fn wanted(args: &LogsArgs, row: &AttemptRow) -> bool {
    let task = args
        .task
        .as_ref()
        .is_none_or(|task| row.task == *task || row.name == *task);
    row.attempt > 0 && task && args.attempt.is_none_or(|attempt| attempt == row.attempt)
}

impl Source {
    /// The attempt under which its log was written.
    async fn written_as(&self, store: &dyn StateStore) -> Result<AttemptId, StoreError> {
        Reuse::written_as(self.reuse.as_ref(), store, &self.id).await
    }
}

fn source(row: AttemptRow) -> Source {
    Source {
        id: row.id(),
        reuse: Reuse::of(&row),
        began_ms: row
            .started_ms
            .map_or(row.created_ms, |started| started.min(row.created_ms)),
        name: row.name,
    }
}

/// One line in the merge: by time, then by attempt, then by number.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Next {
    time_ms: u64,
    source: usize,
    seq: u64,
}

/// A log that is being read.
struct Cursor {
    lines: VecDeque<LogLine>,
    next: u64,
    ended: bool,
}

impl Cursor {
    /// The first line that was not printed.
    fn fill(&mut self, reader: &LogReader, id: &AttemptId) -> std::io::Result<Option<&LogLine>> {
        if self.lines.is_empty() && !self.ended {
            let page = reader.follow(id, self.next, LINES)?;
            self.ended = page.end.is_some() || page.lines.is_empty();
            self.next = page.next;
            self.lines = page.lines.into();
        }
        Ok(self.lines.front())
    }
}

/// Prints all lines in the order of time. A log is opened when its attempt's time has come.
fn merged(
    reader: &LogReader,
    (sources, written): (&[Source], &[AttemptId]),
    printer: &Printer<'_>,
) -> anyhow::Result<()> {
    let mut heap: BinaryHeap<Reverse<Next>> = BinaryHeap::new();
    let mut open: BTreeMap<usize, Cursor> = BTreeMap::new();
    let mut coming = 0;
    loop {
        while let Some(source) = sources.get(coming) {
            let due = heap
                .peek()
                .is_none_or(|Reverse(next)| next.time_ms >= source.began_ms);
            if !due {
                break;
            }
            let cursor = Cursor {
                lines: VecDeque::new(),
                next: 0,
                ended: false,
            };
            open.insert(coming, cursor);
            enter(reader, written, coming, &mut open, &mut heap)?;
            coming += 1;
        }
        let Some(Reverse(next)) = heap.pop() else {
            return Ok(());
        };
        let line = open
            .get_mut(&next.source)
            .and_then(|cursor| cursor.lines.pop_front());
        if let (Some(line), Some(source)) = (line, sources.get(next.source)) {
            printer.line(source, &line);
        }
        if printer.console.closed() {
            return Ok(());
        }
        enter(reader, written, next.source, &mut open, &mut heap)?;
    }
}

/// Enters the next line of a log into the merge, or closes it.
fn enter(
    reader: &LogReader,
    written: &[AttemptId],
    index: usize,
    open: &mut BTreeMap<usize, Cursor>,
    heap: &mut BinaryHeap<Reverse<Next>>,
) -> std::io::Result<()> {
    let (Some(id), Some(cursor)) = (written.get(index), open.get_mut(&index)) else {
        return Ok(());
    };
    if let Some(line) = cursor.fill(reader, id)? {
        heap.push(Reverse(Next {
            time_ms: line.time_ms,
            source: index,
            seq: line.seq,
        }));
    } else {
        open.remove(&index);
    }
    Ok(())
}

/// The last lines of each attempt.
fn tail(
    reader: &LogReader,
    (sources, written): (&[Source], &[AttemptId]),
    count: usize,
    printer: &Printer<'_>,
) -> anyhow::Result<()> {
    for (source, id) in sources.iter().zip(written) {
        for line in reader.tail(id, count)?.lines {
            printer.line(source, &line);
        }
    }
    Ok(())
}

/// Prints what comes, until the execution is over and its logs have ended.
async fn follow(args: &LogsArgs, state: &State, printer: &Printer<'_>) -> anyhow::Result<Exit> {
    let mut places: BTreeMap<AttemptId, Option<u64>> = BTreeMap::new();
    loop {
        // Asked before the logs are read: what was logged before the end is read after it.
        let row = state.execution(&args.id).await?;
        let over = row.ended_ms.is_some();
        let unattended = !over && state.lock()?.is_some();
        let begun = std::time::Instant::now();
        let mut lines = Vec::new();
        for source in sources(args, &state.store, &args.id).await? {
            let place = places.entry(source.id.clone()).or_insert(Some(0));
            if place.is_none() {
                continue;
            }
            let source = Rc::new(source);
            let id = source.written_as(&state.store).await?;
            while let Some(offset) = *place {
                let page = state.logs.follow(&id, offset, LINES)?;
                *place = page.end.is_none().then_some(page.next);
                let empty = page.lines.is_empty();
                lines.extend(
                    page.lines
                        .into_iter()
                        .map(|line| (Rc::clone(&source), line)),
                );
                if empty {
                    break;
                }
            }
        }
        lines.sort_by_key(|(_, line)| line.time_ms);
        for (source, line) in &lines {
            printer.line(source, line);
        }
        printer.console.flush();
        if over || printer.console.closed() {
            return Ok(Exit::Success);
        }
        if unattended {
            printer.console.note(&format!(
                "Execution {} is {} and no engine works on it; `operon resume` takes it up.",
                args.id, row.state
            ));
            return Ok(Exit::Left);
        }
        // Looking through many task runs must not become the main work of the machine.
        tokio::time::sleep(FOLLOW.max(begun.elapsed() * 5)).await;
    }
}

/// A line as a server gives it.
fn object(source: &Source, line: &LogLine) -> Value {
    let run = &source.id.task_run;
    json!({
        "seq": line.seq, "timeMs": line.time_ms, "level": line.level, "text": line.text,
        "taskRun": format!("{}:{}", run.shard, run.slot), "attempt": source.id.attempt,
    })
}

struct Printer<'a> {
    console: &'a Console,
    names: bool,
    output: Output,
    /// In small letters.
    search: Option<String>,
    /// Of one object at the end.
    lines: RefCell<Vec<Value>>,
}

impl Printer<'_> {
    fn line(&self, source: &Source, line: &LogLine) {
        let hidden = self
            .search
            .as_ref()
            .is_some_and(|text| !line.text.to_lowercase().contains(text));
        if hidden {
            return;
        }
        match self.output {
            Output::Human => self.text(&source.name, line),
            Output::Ndjson => self.console.line(&object(source, line).to_string()),
            Output::Json => self.lines.borrow_mut().push(object(source, line)),
        }
    }

    fn end(&self) {
        if self.output == Output::Json {
            let lines = self.lines.take();
            self.console.line(&json!({"lines": lines}).to_string());
        }
    }

    fn text(&self, name: &str, line: &LogLine) {
        let colour = self.console.colour();
        let text = style::harmless(&line.text);
        let text = match line.level {
            LogLevel::Error => style::paint(colour, style::of_state("FAILED"), &text),
            LogLevel::Warn => style::paint(colour, style::of_state("WARNING"), &text),
            LogLevel::Trace | LogLevel::Debug => style::paint(colour, style::DIM, &text),
            LogLevel::Info => text,
        };
        let clock = style::clock(line.time_ms);
        let time = style::paint(colour, style::DIM, &clock);
        if self.names {
            let name = style::paint(colour, style::of_name(name), name);
            self.console.line(&format!("{time} {name} | {text}"));
        } else {
            self.console.line(&format!("{time} {text}"));
        }
    }
}
