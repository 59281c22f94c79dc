//! `operon run`: a flow file, from its text to the end of its execution.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use operon_core::lang::model::InputType;
use operon_core::plan::Plan;
use operon_engine::finish::last_try;
use operon_engine::ids::new_execution;
use operon_engine::intake::{IntakeError, Request};
use operon_engine::ports::{ArtifactUri, Clock as _, ExecutionId, ExecutionRow, StateStore as _};
use operon_local::clock::SystemClock;
use operon_local::flows::DirectoryFlows;
use operon_local::laptop::Laptop;
use serde_json::Value;

use crate::args::{EngineArgs, Output, RunArgs};
use crate::engine::{self, End, Shown};
use crate::exit::{Exit, Usage};
use crate::load;
use crate::output::Console;
use crate::report::{self, Outlook};
use crate::state::state_option;

pub(crate) fn run(args: &RunArgs, console: &Rc<Console>) -> anyhow::Result<Exit> {
    let loaded = load::flow(&args.file, console)?;
    if !args.engine.quiet && args.engine.output == Output::Human {
        loaded.checked.show(console);
    }
    let inputs = inputs(args, &loaded.plan)?;
    let id = new_execution(SystemClock.now_ms());
    let request = Request {
        id: id.clone(),
        plan: loaded.plan,
        flow_dir: Some(loaded.directory.display().to_string()),
        inputs,
        labels: args.labels.iter().cloned().collect(),
        trigger: Value::Null,
        parent: None,
        replay_of: None,
        priority: 0,
    };
    let flows = Box::new(DirectoryFlows);
    let shown = Shown::new(report::of_args(&args.engine, console));
    engine::block_on(async {
        let laptop = engine::open(&args.engine, flows, &shown).await?;
        let waiting = take_up(&laptop, console, args).await?;
        let created = laptop.engine.evaluator().intake(request).await;
        let created = created.map_err(refused)?;
        for warning in &created.warnings {
            console.warning(warning);
        }
        laptop.engine.start(&created.row, &created.plan).await?;
        let end =
            engine::work_on_all_but(&waiting, &laptop.engine, &shown, std::slice::from_ref(&id))
                .await?;
        finish(&laptop, &args.engine, console, &shown, &[id], end).await
    })
}

/// Goes on with what an earlier engine left unfinished, as `operon resume` does; those of them that wait for a person,
/// for whom this command does not wait.
async fn take_up(
    laptop: &Laptop,
    console: &Console,
    args: &RunArgs,
) -> anyhow::Result<HashSet<ExecutionId>> {
    let mut waiting = HashSet::new();
    let left = laptop.engine.recover().await?;
    for id in &left {
        let row = laptop.store.execution(id).await?;
        if row.is_some_and(|row| row.state == "PAUSED") {
            waiting.insert(id.clone());
        }
    }
    if !left.is_empty() && !args.engine.quiet {
        console.note(&format!(
            "note: what an earlier engine left unfinished goes on, too: {} execution{}",
            left.len(),
            if left.len() == 1 { "" } else { "s" }
        ));
    }
    Ok(waiting)
}

/// Values of inputs: as they are written, files as absolute paths.
fn inputs(args: &RunArgs, plan: &Plan) -> anyhow::Result<BTreeMap<String, Value>> {
    let mut values = BTreeMap::new();
    let mut put = |key: &str, value: String| {
        let before = values.insert(key.to_owned(), Value::String(value));
        match before {
            Some(_) => Err(Usage::new(format!("the input `{key}` is given twice"))),
            None => Ok(()),
        }
    };
    for (key, value) in &args.inputs {
        let file = plan
            .inputs
            .iter()
            .any(|input| input.id == *key && input.input_type == InputType::File);
        let value = if file && !ArtifactUri::is_uri(value) && !value.contains("://") {
            absolute(Path::new(value))?.display().to_string()
        } else {
            value.clone()
        };
        put(key, value)?;
    }
    for (key, path) in &args.files {
        let path = absolute(Path::new(path))?;
        if let Err((what, help)) = regular(&path) {
            let said = format!("input `{key}`: {what} `{}`", path.display());
            return Err(Usage::new(said).help(help).into());
        }
        put(key, path.display().to_string())?;
    }
    Ok(values)
}

/// What is wrong with the path of a file that is given, and what to do about it.
fn regular(path: &Path) -> Result<(), (&'static str, &'static str)> {
    match std::fs::metadata(path) {
        Ok(found) if found.is_file() => Ok(()),
        Ok(found) if found.is_dir() => Err((
            "a file is needed, and this is a directory:",
            "pack it into an archive, or give one of its files",
        )),
        Ok(_) => Err((
            "only a regular file can be given, and this is none:",
            "write its content to a file first",
        )),
        Err(_) => Err((
            "there is no file",
            "the path is relative to the current directory",
        )),
    }
}

fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    Ok(std::path::absolute(path)?)
}

/// Why there is no execution: what the user gave, or the machine.
fn refused(error: IntakeError) -> anyhow::Error {
    match error {
        IntakeError::Store(error) => error.into(),
        IntakeError::Disabled(_)
        | IntakeError::Inputs(_)
        | IntakeError::TooLarge(_)
        | IntakeError::Blocked(_)
        | IntakeError::File { .. } => Usage::new(error.to_string()).into(),
    }
}

/// Shows how executions ended, of one that was tried again how the last one for it did; the exit code is that of the
/// worst.
pub(crate) async fn finish(
    laptop: &Laptop,
    args: &EngineArgs,
    console: &Console,
    shown: &Shown,
    ids: &[ExecutionId],
    end: End,
) -> anyhow::Result<Exit> {
    laptop.logs.flush();
    shown.close();
    let logs = laptop.logs.reader();
    let look = Outlook {
        store: &*laptop.store,
        logs: &logs,
        state: &args.state.dir,
    };
    let mut exit = Exit::Success;
    let mut told = HashSet::new();
    for id in ids {
        let Some(row) = laptop.store.execution(id).await? else {
            continue;
        };
        let row = last_try(&*laptop.store, row).await?;
        if !told.insert(row.meta.id.clone()) {
            continue; // Asked for by its own id, too.
        }
        show_end(console, args, &look, &row).await?;
        exit = exit.worse(Exit::of_state(&row.state));
    }
    if end == End::Left {
        console.note(&format!(
            "Left unfinished; `operon resume{}` takes it up.",
            state_option(&args.state.dir)
        ));
        exit = Exit::Left;
    }
    Ok(exit)
}

/// Shows how one execution ended, or how it was left.
pub(crate) async fn show_end(
    console: &Console,
    args: &EngineArgs,
    look: &Outlook<'_>,
    row: &ExecutionRow,
) -> anyhow::Result<()> {
    match args.output {
        Output::Json => report::write_execution(console, look.store, row).await?,
        Output::Ndjson => {
            let mut line = serde_json::Map::new();
            line.insert("event".to_owned(), Value::String("execution".to_owned()));
            line.extend(report::execution_json(row));
            console.line(&Value::Object(line).to_string());
        }
        Output::Human => {
            let succeeded = Exit::of_state(&row.state) == Exit::Success;
            if !(args.quiet && succeeded) {
                report::summary(console, look, row).await?;
            }
        }
    }
    console.flush();
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn what_is_no_regular_file_is_called_what_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let said = |path: &Path| regular(path).err().map(|(what, _)| what);
        assert!(said(directory.path()).unwrap().contains("a directory"));
        let null = Path::new("/dev/null");
        assert!(said(null).unwrap().contains("only a regular file"));
        let file = directory.path().join("f");
        assert_eq!(said(&file), Some("there is no file"));
        std::fs::write(&file, "x").unwrap();
        assert_eq!(said(&file), None);
    }
}
