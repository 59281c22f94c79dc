//! What must be true of executions that were killed again and again, once they are over.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use operon_engine::ports::ArtifactUri;
use rusqlite::{Connection, OpenFlags};
use serde_json::Value;

use crate::campaign::Tally;
use crate::journal::{Attempt, Journal};
use crate::processes;

/// Lines of the artifact that every script makes.
const LINES: usize = 2000;
/// Iterations of the loop.
const ITERATIONS: usize = 12;
/// May be launched once only.
const ONCE: [&str; 2] = ["once-early", "once-late"];
/// Task runs of the flow that are no processes.
const NO_PROCESS: [&str; 9] = [
    "prepare", "graph", "items", "outer", "inner", "note", "remember", "recall", "below",
];
/// Processes of the flow outside its loop, each after those it waits for.
const PROCESSES: [(&str, &[&str]); 25] = [
    ("fetch", &[]),
    ("clean", &["fetch"]),
    ("index", &["clean"]),
    ("left", &[]),
    ("right", &[]),
    ("left-more", &["left"]),
    ("right-more", &["right"]),
    ("join", &["left-more", "right-more"]),
    ("one", &[]),
    ("two", &["one"]),
    ("inner-last", &["two"]),
    ("three", &["inner-last"]),
    ("outer-last", &["three"]),
    ("flaky", &[]),
    ("open", &["index"]),
    ("once-early", &[]),
    ("once-late", &["join"]),
    ("stray", &[]),
    ("recite", &["join"]),
    ("above", &[]),
    (
        "last",
        &[
            "index",
            "join",
            "outer-last",
            "flaky",
            "open",
            "stray",
            "recite",
            "above",
        ],
    ),
    (
        "last",
        &["measure[0]", "measure[11]", "again[1]", "again[11]"],
    ),
    ("below-one", &[]),
    ("below-two", &["below-one"]),
    ("below-three", &["below-two"]),
];

/// Checks everything that is left of a campaign. `engine` is the number of its last engine, the only one
/// that ended by itself.
pub(crate) fn check(
    directory: &Path,
    engine: u32,
    executions: &[Value],
    tally: &mut Tally,
) -> Result<(), String> {
    let side = directory.join("side");
    let left = processes::alive(&side);
    if let Some(process) = left.first() {
        return Err(format!("alive after the last engine: {}", process.name));
    }
    integrity(&directory.join("state/state.sqlite"))?;
    let journal = Journal::read(&side.join("journal"))?;
    let mut known = BTreeSet::new();
    for execution in executions {
        let checked = Checked {
            journal: &journal,
            engine,
            id: text(execution, "id"),
            rows: rows(execution)?,
            state: directory.join("state"),
        };
        let unknown = checked
            .check(execution)
            .map_err(|what| format!("execution {}: {what}", checked.id))?;
        tally.unknown += unknown;
        known.insert(checked.id.to_owned());
    }
    if let Some((execution, run)) = journal.runs.keys().find(|(id, _)| !known.contains(id)) {
        return Err(format!("`{run}` ran for {execution}, which is not stored"));
    }
    children(executions)?;
    tally.executions += executions.len();
    tally.attempts += journal.runs.values().map(Vec::len).sum::<usize>();
    tally.repeated += journal.repeated();
    Ok(())
}

fn integrity(database: &Path) -> Result<(), String> {
    let failed = |error: rusqlite::Error| format!("{}: {error}", database.display());
    let connection =
        Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(failed)?;
    let said: String = connection
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .map_err(failed)?;
    if said == "ok" {
        Ok(())
    } else {
        Err(format!("{}: {said}", database.display()))
    }
}

/// Every execution of the flow has exactly one below it: its subflow was started once.
fn children(executions: &[Value]) -> Result<(), String> {
    let of = |flow: &str| -> BTreeSet<&str> {
        executions
            .iter()
            .filter(|execution| execution["flow"] == flow)
            .map(|execution| text(execution, "id"))
            .collect()
    };
    let mut named = BTreeSet::new();
    for execution in executions
        .iter()
        .filter(|execution| execution["flow"] == "crash")
    {
        let rows = rows(execution)?;
        let below = rows.get("below").ok_or("a subflow has no row")?;
        named.insert(text(&below["outputs"], "executionId"));
    }
    if named == of("crash-below") && named.len() == of("crash").len() {
        Ok(())
    } else {
        Err(format!(
            "subflows named {named:?}, stored {:?}",
            of("crash-below")
        ))
    }
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// Task runs of an execution by name.
fn rows(execution: &Value) -> Result<BTreeMap<&str, &Value>, String> {
    let mut rows = BTreeMap::new();
    for row in execution["taskRuns"].as_array().into_iter().flatten() {
        if rows.insert(text(row, "id"), row).is_some() {
            return Err(format!("{} is shown twice", row["id"]));
        }
    }
    Ok(rows)
}

/// One execution.
struct Checked<'a> {
    journal: &'a Journal,
    engine: u32,
    id: &'a str,
    rows: BTreeMap<&'a str, &'a Value>,
    state: std::path::PathBuf,
}

impl Checked<'_> {
    /// How many task runs of it ended `outcome unknown`.
    fn check(&self, execution: &Value) -> Result<usize, String> {
        let top = execution["flow"] == "crash";
        let mine = |name: &str| name.starts_with("below-") != top;
        let mut expected = BTreeSet::new();
        let mut unknown = 0;
        for (name, before) in PROCESSES.iter().filter(|(name, _)| mine(name)) {
            expected.insert((*name).to_owned());
            if ONCE.contains(name) && text(self.row(name)?, "state") == "FAILED" {
                unknown += usize::from(expected.contains(*name));
                self.unknown(name)?;
            } else {
                self.succeeded(name)?;
            }
            for before in *before {
                self.order(before, name)?;
            }
        }
        if top {
            self.check_loop(&mut expected)?;
            for name in NO_PROCESS {
                expected.insert(name.to_owned());
                self.in_state(name, "SUCCESS")?;
            }
            expected.insert("shut".to_owned());
            self.skipped("shut")?;
        }
        let strange = self.rows.keys().find(|name| !expected.contains(**name));
        if let Some(name) = strange {
            return Err(format!("nobody asked for a task run `{name}`"));
        }
        let state = if unknown > 0 { "FAILED" } else { "SUCCESS" };
        if text(execution, "state") != state {
            return Err(format!("ended {}, not {state}", execution["state"]));
        }
        let uri = text(&execution["outputs"], "file");
        let of = if top { "last" } else { "below-three" };
        if uri != self.uri(of)? {
            return Err(format!("its output is `{uri}`, not the file of `{of}`"));
        }
        Ok(unknown)
    }

    fn check_loop(&self, expected: &mut BTreeSet<String>) -> Result<(), String> {
        for item in 0..ITERATIONS {
            let (measure, again) = (format!("measure[{item}]"), format!("again[{item}]"));
            self.succeeded(&measure)?;
            // The values are 1 to 12, and it runs for the even ones.
            if item % 2 == 1 {
                self.succeeded(&again)?;
                self.order(&measure, &again)?;
            } else {
                self.skipped(&again)?;
            }
            expected.extend([measure, again]);
        }
        Ok(())
    }

    fn row(&self, name: &str) -> Result<&Value, String> {
        let row = self.rows.get(name).copied();
        row.ok_or_else(|| format!("task run `{name}` is lost"))
    }

    fn in_state(&self, name: &str, state: &str) -> Result<(), String> {
        let row = self.row(name)?;
        if text(row, "state") == state {
            Ok(())
        } else {
            Err(format!("`{name}` is not {state}: {row}"))
        }
    }

    fn skipped(&self, name: &str) -> Result<(), String> {
        self.in_state(name, "SKIPPED")?;
        if self.journal.attempts(self.id, name).is_empty() {
            Ok(())
        } else {
            Err(format!("`{name}` is skipped and ran"))
        }
    }

    /// The accepted attempt did everything, and nothing ran after it.
    fn succeeded(&self, name: &str) -> Result<(), String> {
        self.in_state(name, "SUCCESS")?;
        let accepted = self.accepted(name)?;
        let last = self.journal.attempts(self.id, name).last().copied();
        if last.is_none_or(|last| last.number != accepted.number) {
            return Err(format!(
                "`{name}`: {accepted:?} was accepted, {last:?} ran after it"
            ));
        }
        if ONCE.contains(&name) && self.journal.attempts(self.id, name).len() != 1 {
            return Err(format!(
                "`{name}` must be launched once and was launched again"
            ));
        }
        self.artifact(name, accepted.number)
    }

    fn accepted(&self, name: &str) -> Result<Attempt, String> {
        let number = self.row(name)?["attempts"].as_u64().unwrap_or(0);
        let attempts = self.journal.attempts(self.id, name);
        let accepted = attempts
            .iter()
            .find(|attempt| u64::from(attempt.number) == number)
            .ok_or_else(|| format!("`{name}`: attempt {number} was accepted and never ran"))?;
        if accepted.end.is_none() {
            return Err(format!(
                "`{name}`: attempt {number} was accepted before its end"
            ));
        }
        Ok(*accepted)
    }

    /// A task run that may be launched once, and whose engine was killed before its end was accepted.
    fn unknown(&self, name: &str) -> Result<(), String> {
        let row = self.row(name)?;
        if text(row, "reason") != "outcome unknown" {
            return Err(format!(
                "`{name}` failed, and not for its unknown outcome: {row}"
            ));
        }
        let attempts = self.journal.attempts(self.id, name);
        if attempts.len() > 1 || row["attempts"] != 1 {
            return Err(format!(
                "`{name}` was launched more than once: {attempts:?}"
            ));
        }
        // An engine killed between the claim and the script's first line leaves no line; one killed when
        // nothing was left to run is followed by an engine without a line.
        match attempts.first() {
            Some(attempt) if attempt.engine == self.engine => Err(format!(
                "`{name}` ended unknown under engine {}, which was not killed",
                self.engine
            )),
            Some(_) | None => Ok(()),
        }
    }

    /// Whatever `name` was given was there: `before` ended before any attempt of it began.
    fn order(&self, before: &str, name: &str) -> Result<(), String> {
        let Some(first) = self.journal.attempts(self.id, name).first() else {
            return Ok(()); // A task run that may be launched once, killed before its first line.
        };
        let end = self.accepted(before)?.end;
        if end.is_some_and(|end| end < first.start) {
            Ok(())
        } else {
            Err(format!("`{name}` began before `{before}` ended"))
        }
    }

    fn uri(&self, name: &str) -> Result<&str, String> {
        let row = self.row(name)?;
        Ok(text(&row["outputs"]["outputFiles"], "out.txt"))
    }

    /// The artifact is that of the accepted attempt, and complete.
    fn artifact(&self, name: &str, attempt: u32) -> Result<(), String> {
        let uri = self.uri(name)?;
        let parsed: ArtifactUri = uri.parse().map_err(|error| format!("`{name}`: {error}"))?;
        let path = self.state.join("artifacts").join(parsed.key());
        let content = fs::read_to_string(&path).map_err(|error| format!("{uri}: {error}"))?;
        let line = format!("{} {name} {attempt}\n", self.id);
        if content == line.repeat(LINES) {
            Ok(())
        } else {
            let bytes = content.len();
            Err(format!(
                "{uri} of attempt {attempt} of `{name}` is damaged, {bytes} bytes"
            ))
        }
    }
}
