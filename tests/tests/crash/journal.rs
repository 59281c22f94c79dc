//! What the attempts themselves left on disk, in the order in which it happened.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Iterations of the flow's loop that may be in progress at once.
const WINDOW: usize = 3;
/// Tasks of the loop, by the beginning of their task runs' names.
const LOOP: [&str; 2] = ["measure[", "again["];

/// A task run by execution and name.
pub(crate) type Run = (String, String);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    /// The script began.
    Start,
    /// The script has done everything.
    End,
    /// The script is about to fail on purpose.
    Fail,
    /// It started a process that leaves its group.
    Stray,
}

#[derive(Debug, Clone)]
struct Line {
    what: What,
    engine: u32,
    run: Run,
    attempt: u32,
}

/// One attempt as its own lines tell it; places are line numbers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attempt {
    /// Counted from 1.
    pub(crate) number: u32,
    /// Who launched it.
    pub(crate) engine: u32,
    /// When it began.
    pub(crate) start: usize,
    /// When it had done everything, if it got there.
    pub(crate) end: Option<usize>,
    /// When it failed on purpose, if it did.
    pub(crate) fail: Option<usize>,
}

/// The side effects of all attempts.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    /// Attempts of each task run, in the order in which they began.
    pub(crate) runs: BTreeMap<Run, Vec<Attempt>>,
}

/// The highest engine of which an attempt has begun; 0 when there is none.
pub(crate) fn newest_engine(path: &Path) -> u32 {
    let text = fs::read_to_string(path).unwrap_or_default();
    let complete = text.rfind('\n').map_or("", |end| &text[..end]);
    complete
        .lines()
        .filter_map(|line| line.split(' ').nth(1)?.parse().ok())
        .max()
        .unwrap_or(0)
}

fn parse(line: &str) -> Option<Line> {
    let words: Vec<&str> = line.split(' ').collect();
    let &[what, engine, execution, run, attempt, _pid] = words.as_slice() else {
        return None;
    };
    let what = match what {
        "start" => What::Start,
        "end" => What::End,
        "fail" => What::Fail,
        "stray" => What::Stray,
        _ => return None,
    };
    Some(Line {
        what,
        engine: engine.parse().ok()?,
        run: (execution.to_owned(), run.to_owned()),
        attempt: attempt.parse().ok()?,
    })
}

impl Journal {
    /// Reads the file and checks what must hold whatever the executions came to.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let text = fs::read_to_string(path).unwrap_or_default();
        let mut journal = Self::default();
        let mut newest = 0;
        let mut open: BTreeSet<Run> = BTreeSet::new();
        for (place, line) in text.lines().enumerate() {
            let said =
                |problem: &str| format!("line {} of the journal, `{line}`: {problem}", place + 1);
            let line = parse(line).ok_or_else(|| said("cannot be understood"))?;
            if line.engine < newest {
                return Err(said(&format!(
                    "a process of engine {} is alive although engine {newest} works",
                    line.engine
                )));
            }
            if line.engine > newest {
                // Whatever the engine before had going is over, as was just checked.
                open.clear();
                newest = line.engine;
            }
            journal
                .take(place, &line)
                .map_err(|problem| said(&problem))?;
            match line.what {
                What::Start => {
                    if !open.insert(line.run.clone()) {
                        return Err(said("two attempts of the task run are alive at once"));
                    }
                    if iterations(&open, &line.run.0) > WINDOW {
                        return Err(said(
                            "more iterations are in progress than the window allows",
                        ));
                    }
                }
                What::End | What::Fail => {
                    open.remove(&line.run);
                }
                What::Stray => {}
            }
        }
        Ok(journal)
    }

    fn take(&mut self, place: usize, line: &Line) -> Result<(), String> {
        let attempts = self.runs.entry(line.run.clone()).or_default();
        if line.what == What::Start {
            if let Some(before) = attempts.last() {
                if before.number == line.attempt {
                    return Err("this attempt was started before".to_owned());
                }
                if before.number > line.attempt {
                    return Err(format!("attempt {} was before it", before.number));
                }
                if before.end.is_some() && before.engine == line.engine {
                    return Err(format!("attempt {} had done everything", before.number));
                }
            }
            attempts.push(Attempt {
                number: line.attempt,
                engine: line.engine,
                start: place,
                end: None,
                fail: None,
            });
            return Ok(());
        }
        let current = attempts
            .last_mut()
            .filter(|current| current.number == line.attempt && current.end.is_none())
            .ok_or("it is not the attempt that is in progress")?;
        match line.what {
            What::End => current.end = Some(place),
            What::Fail => current.fail = Some(place),
            What::Start | What::Stray => {}
        }
        Ok(())
    }

    /// The attempts of a task run.
    pub(crate) fn attempts(&self, execution: &str, run: &str) -> &[Attempt] {
        self.runs
            .get(&(execution.to_owned(), run.to_owned()))
            .map_or(&[], Vec::as_slice)
    }

    /// Attempts that did not fail on purpose, and had to be made again.
    pub(crate) fn repeated(&self) -> usize {
        let again = |attempts: &Vec<Attempt>| {
            let earlier = attempts.iter().rev().skip(1);
            earlier.filter(|attempt| attempt.fail.is_none()).count()
        };
        self.runs.values().map(again).sum()
    }
}

/// Iterations of the loop of an execution in which something is in progress.
fn iterations(open: &BTreeSet<Run>, execution: &str) -> usize {
    let numbers: BTreeSet<&str> = open
        .iter()
        .filter(|(of, _)| of == execution)
        .filter_map(|(_, run)| LOOP.iter().find_map(|task| run.strip_prefix(task)))
        .collect();
    numbers.len()
}
