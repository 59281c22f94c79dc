//! `operon executions kill | restart | retry-failed`.
//!
//! An engine that works on the state directory gets the wish through the inbox of the store, and this process
//! waits for what comes of it. Without one, this process becomes the engine and carries the wish out.

use std::rc::Rc;
use std::time::{Duration, Instant};

use operon_engine::operations::{OperationError, Snapshot, Wishes};
use operon_engine::ports::ExecutionId;
use operon_local::flows::DirectoryFlows;

use crate::args::{EngineArgs, OneArgs};
use crate::commands::run::{finish, show_end};
use crate::engine::{self, Shown};
use crate::exit::{Exit, Usage};
use crate::output::Console;
use crate::report::{self, Outlook};
use crate::state::{State, state_option};

/// How often the store is asked whether the other engine has done it.
const POLL: Duration = Duration::from_millis(100);
/// How long another engine may take to kill an execution: longer than any task's grace.
const KILL_MAX: Duration = Duration::from_mins(5);
/// How long another engine may take to hear a wish.
const HEARD_MAX: Duration = Duration::from_secs(30);

/// What another engine is waited for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    /// The execution is over.
    Over,
    /// The wish was read.
    Heard,
}

pub(crate) fn kill(args: &OneArgs, console: &Rc<Console>) -> anyhow::Result<Exit> {
    let exit = steer(args, console, Until::Over, Snapshot::kill)?;
    // Killed is what was asked for.
    Ok(if exit == Exit::Killed {
        Exit::Success
    } else {
        exit
    })
}

pub(crate) fn restart(args: &OneArgs, console: &Rc<Console>) -> anyhow::Result<Exit> {
    steer(args, console, Until::Heard, Snapshot::restart)
}

pub(crate) fn retry_failed(args: &OneArgs, console: &Rc<Console>) -> anyhow::Result<Exit> {
    steer(args, console, Until::Heard, Snapshot::retry_failed)
}

/// What is in the way, as the user is told.
pub(super) fn refused(error: OperationError) -> anyhow::Error {
    match error {
        // Values that a person gave.
        OperationError::Intake(error) => Usage::new(error.to_string()).into(),
        OperationError::Refused { what, help } => {
            let usage = Usage::new(what);
            match help {
                Some(help) => usage.help(help),
                None => usage,
            }
            .into()
        }
        other @ (OperationError::Missing(_)
        | OperationError::Flow(_)
        | OperationError::Replay(_)
        | OperationError::Store(_)
        | OperationError::Plan(_)
        | OperationError::Shard(_)) => other.into(),
    }
}

/// Finds out what is to be sent, and has it carried out by whoever can.
fn steer(
    args: &OneArgs,
    console: &Rc<Console>,
    until: Until,
    wish: impl Fn(&Snapshot) -> Result<Wishes, OperationError>,
) -> anyhow::Result<Exit> {
    let shown = Shown::new(report::of_args(&args.engine, console));
    engine::block_on(async {
        let state = State::open(&args.engine.state.dir)?;
        let row = state.execution(&args.id).await?;
        let snapshot = Snapshot::read(&state.store, row).await.map_err(refused)?;
        let wishes = wish(&snapshot).map_err(refused)?;
        let flows = Box::new(DirectoryFlows);
        let Some(laptop) = engine::try_open(&args.engine, flows, &shown).await? else {
            for (key, event) in &wishes {
                state.store.post(key, event).await?;
            }
            return theirs(&state, &args.engine, console, &args.id, until).await;
        };
        drop(state);
        laptop.engine.recover_tree(&args.id).await?;
        for (key, event) in wishes {
            laptop.engine.send(key, event);
        }
        let ids = std::slice::from_ref(&args.id);
        let end = engine::work(&laptop.engine, &shown, ids).await?;
        finish(&laptop, &args.engine, console, &shown, ids, end).await
    })
}

/// Waits for what another engine does.
pub(super) async fn theirs(
    state: &State,
    args: &EngineArgs,
    console: &Console,
    id: &ExecutionId,
    until: Until,
) -> anyhow::Result<Exit> {
    let begun = Instant::now();
    let limit = match until {
        Until::Over => KILL_MAX,
        Until::Heard => HEARD_MAX,
    };
    loop {
        let row = state.execution(id).await?;
        let heard = state
            .store
            .take_inbox(1000)
            .await?
            .iter()
            .all(|(_, key, _)| key.execution != *id);
        if until == Until::Over && row.ended_ms.is_some() {
            let look = Outlook {
                store: &state.store,
                logs: &state.logs,
                state: &state.path,
            };
            show_end(console, args, &look, &row).await?;
            return Ok(Exit::of_state(&row.state));
        }
        if until == Until::Heard && heard {
            console.note(&format!(
                "The engine that works on `{}` goes on with execution {id}; \
                 `operon executions logs {id} -f{}` follows it.",
                state.path.display(),
                state_option(&state.path)
            ));
            return Ok(Exit::Success);
        }
        if begun.elapsed() > limit {
            let said = if heard { "has heard" } else { "has not heard" };
            anyhow::bail!(
                "after {} s execution {id} is {}; the engine that works on `{}` {said} the wish",
                limit.as_secs(),
                row.state,
                state.path.display()
            );
        }
        tokio::time::sleep(POLL).await;
    }
}
