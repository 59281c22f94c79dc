//! `operon executions kill | resume | restart`.
//!
//! An engine that works on the state directory gets the wish through the inbox of the store, and this process
//! waits for what comes of it. Without one, this process becomes the engine and carries the wish out.

use std::rc::Rc;
use std::time::{Duration, Instant};

use operon_core::exec::{Event, Reason, RootPhase, Shard, State as SlotState};
use operon_core::plan::{Layout, NodeKind, Plan};
use operon_engine::ports::{ExecutionId, ExecutionRow, ShardKey, StateStore as _};
use operon_local::flows::DirectoryFlows;
use operon_local::store::SqliteStore;

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

/// What is sent to which shards.
type Wishes = Vec<(ShardKey, Event)>;

/// What another engine is waited for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    /// The execution is over.
    Over,
    /// The wish was read.
    Heard,
}

pub(crate) fn kill(args: &OneArgs, console: &Rc<Console>) -> anyhow::Result<Exit> {
    let exit = steer(args, console, Until::Over, |_, row| {
        if row.ended_ms.is_some() {
            return Err(Usage::new(format!(
                "execution {} is over: it ended {}",
                row.meta.id, row.state
            )));
        }
        let reason = Reason::Kill;
        Ok(vec![(ShardKey::root(&row.meta.id), Event::Kill { reason })])
    })?;
    // Killed is what was asked for.
    Ok(if exit == Exit::Killed {
        Exit::Success
    } else {
        exit
    })
}

pub(crate) fn restart(args: &OneArgs, console: &Rc<Console>) -> anyhow::Result<Exit> {
    steer(args, console, Until::Heard, |shards, row| {
        let id = &row.meta.id;
        let over = shards.root.phase == RootPhase::Over;
        if row.ended_ms.is_none() || !over {
            return Err(Usage::new(format!(
                "execution {id} is {}; only what is over can be restarted",
                row.state
            ))
            .help("wait for its end, kill it, or take it up with `operon resume`"));
        }
        if row.state == "SUCCESS" {
            return Err(Usage::new(format!(
                "execution {id} succeeded: there is nothing to restart"
            ))
            .help(format!(
                "`operon executions replay {id} --from TASK` runs it again"
            )));
        }
        let round =
            shards.root.round.checked_add(1).ok_or_else(|| {
                Usage::new(format!("execution {id} was restarted 255 times already"))
            })?;
        Ok(vec![(ShardKey::root(id), Event::Restart { round })])
    })
}

pub(crate) fn resume(args: &OneArgs, console: &Rc<Console>) -> anyhow::Result<Exit> {
    steer(args, console, Until::Heard, |shards, row| {
        let wishes = shards.pauses(&row.meta.id);
        if wishes.is_empty() {
            return Err(Usage::new(format!(
                "execution {} is {} and waits in no pause",
                row.meta.id, row.state
            )));
        }
        Ok(wishes)
    })
}

/// The state of an execution, as far as wishes depend on it.
struct Shards {
    plan: Plan,
    root: Shard,
    all: Vec<(operon_core::plan::ShardId, Shard)>,
}

impl Shards {
    async fn read(store: &SqliteStore, row: &ExecutionRow) -> anyhow::Result<Self> {
        let bytes = store.plan(&row.meta.plan_hash).await?;
        let bytes = bytes
            .ok_or_else(|| anyhow::anyhow!("the plan of execution {} is missing", row.meta.id))?;
        let mut all = Vec::new();
        for (id, stored) in store.shards(&row.meta.id).await? {
            all.push((id, Shard::decode(&stored.bytes)?));
        }
        let plan: Plan = serde_json::from_slice(&bytes)?;
        let root = all
            .iter()
            .find(|(id, _)| *id == operon_core::plan::ShardId::ROOT);
        let root = root.map(|(_, shard)| shard.clone()).or_else(|| {
            let layout = Layout::of(&plan, &operon_core::plan::ShardId::ROOT)?;
            Some(Shard::fresh(&layout, operon_core::exec::Time(0)))
        });
        Ok(Self {
            root: root.ok_or_else(|| anyhow::anyhow!("the plan has no root shard"))?,
            plan,
            all,
        })
    }

    /// A wish to go on for every pause that waits for a person.
    fn pauses(&self, id: &ExecutionId) -> Wishes {
        let mut wishes = Vec::new();
        for (shard_id, shard) in &self.all {
            let Some(layout) = Layout::of(&self.plan, shard_id) else {
                continue;
            };
            for (slot, state) in (0_u16..).zip(&shard.slots) {
                let node = layout
                    .node_of(slot)
                    .and_then(|node| layout.nodes.get(usize::from(node)));
                let pause = node.is_some_and(|node| matches!(node.kind, NodeKind::Pause { .. }));
                if pause && state.state == SlotState::Paused {
                    let key = ShardKey {
                        execution: id.clone(),
                        shard: shard_id.clone(),
                    };
                    wishes.push((key, Event::Resume { slot, go_on: true }));
                }
            }
        }
        wishes
    }
}

/// Finds out what is to be sent, and has it carried out by whoever can.
fn steer(
    args: &OneArgs,
    console: &Rc<Console>,
    until: Until,
    wish: impl Fn(&Shards, &ExecutionRow) -> Result<Wishes, Usage>,
) -> anyhow::Result<Exit> {
    let shown = Shown::new(report::of_args(&args.engine, console));
    engine::block_on(async {
        let state = State::open(&args.engine.state.dir)?;
        let row = state.execution(&args.id).await?;
        let shards = Shards::read(&state.store, &row).await?;
        let wishes = wish(&shards, &row)?;
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
async fn theirs(
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
