//! `operon executions replay`.

use std::rc::Rc;
use std::sync::Arc;

use operon_core::lang::Plugins;
use operon_core::plan::Plan;
use operon_engine::flows::{FlowError, Flows};
use operon_engine::ids::new_execution;
use operon_engine::ports::{Clock as _, ExecutionId};
use operon_engine::replay::{Replay, ReplayError, ReplayRequest};
use operon_local::clock::SystemClock;
use operon_local::flows::DirectoryFlows;
use operon_local::laptop::Laptop;

use crate::args::{Output, ReplayArgs};
use crate::commands::run::finish;
use crate::engine::{self, Shown};
use crate::exit::{Exit, Usage};
use crate::load;
use crate::output::Console;
use crate::report;
use crate::state::State;

pub(crate) fn replay(args: &ReplayArgs, console: &Rc<Console>) -> anyhow::Result<Exit> {
    let plan = match &args.file {
        Some(file) => {
            let loaded = load::flow(file, console)?;
            let directory = loaded.directory.display().to_string();
            Some((loaded.plan, Some(directory)))
        }
        None => None,
    };
    // Says what is wrong before anything is made.
    State::open(&args.engine.state.dir)?;
    let id = new_execution(SystemClock.now_ms());
    let shown = Shown::new(report::of_args(&args.engine, console));
    engine::block_on(async {
        let laptop = engine::open(&args.engine, Box::new(DirectoryFlows), &shown).await?;
        let plan = match args.revision {
            Some(number) => Some(deployed(&laptop, &args.id, number).await?),
            None => plan,
        };
        let request = ReplayRequest {
            id: id.clone(),
            of: args.id.clone(),
            from: args.from.clone(),
            plan,
        };
        let replay = laptop.engine.evaluator().replay(request).await;
        let replay = replay.map_err(|error| refused(error, &args.id))?;
        say(args, console, &replay);
        let created = &replay.created;
        laptop.engine.start(&created.row, &created.plan).await?;
        let ids = std::slice::from_ref(&id);
        let end = engine::work(&laptop.engine, &shown, ids).await?;
        finish(&laptop, &args.engine, console, &shown, ids, end).await
    })
}

/// A revision of the flow that was deployed here.
async fn deployed(
    laptop: &Laptop,
    id: &ExecutionId,
    number: u32,
) -> anyhow::Result<(Plan, Option<String>)> {
    let ports = &laptop.engine.evaluator().ports;
    let row = ports.store.execution(id).await?;
    let row = row.ok_or_else(|| refused(ReplayError::Missing(id.clone()), id))?;
    let (namespace, flow) = (&row.meta.namespace, &row.meta.flow);
    let flows = Flows::new(ports, Arc::new(Plugins::default()));
    let missing = |error: FlowError| {
        Usage::new(error.to_string())
            .help("`operon server --flows DIR` deploys flows; `--file` takes one from a file")
    };
    let head = flows.existing(namespace, flow).await.map_err(missing)?;
    let revision = flows
        .revision(namespace, flow, number)
        .await
        .map_err(missing)?;
    let place = head.place_of_files(&revision.head);
    Ok((revision.plan.clone(), place))
}

fn say(args: &ReplayArgs, console: &Console, replay: &Replay) {
    for warning in &replay.created.warnings {
        console.warning(warning);
    }
    if !args.engine.quiet && args.engine.output == Output::Human {
        let plural = if replay.reused == 1 { "" } else { "s" };
        console.note(&format!(
            "Replaying {} from task `{}`; {} task run{plural} reused.",
            args.id, args.from, replay.reused
        ));
    }
}

/// Why there is no replay: what the user gave, or the machine.
fn refused(error: ReplayError, id: &ExecutionId) -> anyhow::Error {
    let help = match &error {
        ReplayError::Intake(_)
        | ReplayError::Store(_)
        | ReplayError::Plan(_)
        | ReplayError::Shard(_) => {
            return error.into();
        }
        ReplayError::Missing(_) => "`operon executions list` shows those there are".to_owned(),
        ReplayError::UnknownTask { .. } => format!("`operon executions show {id}` names its tasks"),
        ReplayError::Unfinished { .. } => {
            "wait for its end, kill it, or take it up with `operon resume`".to_owned()
        }
        ReplayError::InLoop { outer, .. } => format!(
            "`operon executions replay {id} --from {outer}` executes all of its iterations again; `operon executions \
             retry-failed {id}` executes those that failed"
        ),
        ReplayError::Handler(_) | ReplayError::OtherFlow(_) => {
            return Usage::new(error.to_string()).into();
        }
    };
    Usage::new(error.to_string()).help(help).into()
}
