//! `operon executions show`.

use std::rc::Rc;

use operon_engine::ports::AttemptRow;

use crate::args::{ShowArgs, ValidateOutput};
use crate::exit::Exit;
use crate::output::Console;
use crate::report::{self, Outlook};
use crate::state::{State, block_on};
use crate::style;

/// Task runs shown of one execution; the rest is in `--output json`.
const TASK_RUNS_MAX: usize = 1000;

pub(crate) fn show(args: &ShowArgs, console: &Rc<Console>) -> anyhow::Result<Exit> {
    let state = State::open(&args.state.dir)?;
    block_on(async {
        let row = state.execution(&args.id).await?;
        match args.output {
            ValidateOutput::Json => report::write_execution(console, &state.store, &row).await?,
            ValidateOutput::Human => {
                let mut shown = 0;
                report::for_each_task_run(&state.store, &row, |run| {
                    shown += 1;
                    if shown <= TASK_RUNS_MAX {
                        console.line(&line(run, console.colour()));
                    }
                })
                .await?;
                if shown > TASK_RUNS_MAX {
                    console.line(&format!(
                        "… and {} more; `--output json` has all of them",
                        shown - TASK_RUNS_MAX
                    ));
                }
                let look = Outlook {
                    store: &state.store,
                    logs: &state.logs,
                    state: &state.path,
                };
                report::summary(console, &look, &row).await?;
                if let Some((of, task)) = &row.meta.replay_of {
                    console.line(&format!("  replays {of} from task `{task}`"));
                }
                if let Some((of, ..)) = &row.meta.parent {
                    console.line(&format!("  started by execution {of}"));
                }
            }
        }
        Ok(Exit::Success)
    })
}

/// `SUCCESS   align[12]   3.2s  attempt 2`
fn line(run: &AttemptRow, colour: bool) -> String {
    let state = format!("{:<9}", run.state);
    let took = match (run.started_ms, run.ended_ms) {
        (Some(started), Some(ended)) if run.attempt > 0 => {
            style::duration(ended.saturating_sub(started))
        }
        _ => String::new(),
    };
    let mut rest = Vec::new();
    if run.attempt > 1 {
        rest.push(format!("attempt {}", run.attempt));
    }
    if let Some(reason) = &run.reason {
        rest.push(reason.clone());
    }
    if let Some(parent) = &run.parent {
        rest.push(format!("in {parent}"));
    }
    format!(
        "{}  {:<28} {took:>8}  {}",
        style::paint(colour, style::of_state(&run.state), &state),
        run.name,
        rest.join(", ")
    )
    .trim_end()
    .to_owned()
}
