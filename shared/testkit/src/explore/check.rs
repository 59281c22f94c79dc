//! What must hold in every world.

use std::fmt;

use operon_core::exec::{Reason, RootPhase, Shard, State};
use operon_core::plan::{NodeIndex, NodeKind, Place, ShardId};

use super::model::{Model, Work};
use super::steps::{Next, Step};
use super::world::{Fate, Token, World};

/// An invariant of the design.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Invariant {
    /// No attempt starts before the success of what it depends on is accepted.
    DependenciesFirst,
    /// An accepted terminal state is never undone within a round.
    TerminalIsFinal,
    /// At most one runtime task per attempt.
    OneTaskPerAttempt,
    /// At most one live attempt per task run.
    OneLiveAttempt,
    /// From every reachable world the end is reachable.
    EndIsReachable,
    /// The recorded outcome of an attempt is its real one.
    RealOutcome,
    /// What is not idempotent is launched at most once without a person.
    LaunchedOnce,
    /// Whatever is not terminal is due.
    DueUntilTerminal,
    /// The lock is never held by more executions than its limit.
    LockLimit,
    /// Nothing of an execution that is over is alive.
    NothingOutlives,
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DependenciesFirst => "I1 an attempt starts before its dependencies succeeded",
            Self::TerminalIsFinal => "I2 an accepted terminal state is undone",
            Self::OneTaskPerAttempt => "I3 two runtime tasks for one attempt",
            Self::OneLiveAttempt => "I4 two live attempts of one task run",
            Self::EndIsReachable => "I5 the end cannot be reached any more",
            Self::RealOutcome => "I6 the recorded outcome is not the real one",
            Self::LaunchedOnce => "I7 a task that is not idempotent is launched twice",
            Self::DueUntilTerminal => "I8 something is not terminal and not due",
            Self::LockLimit => "I9 more executions run than the lock allows",
            Self::NothingOutlives => "I10 something is alive after the execution is over",
        })
    }
}

/// The invariant that `next` breaks, if any. Only writes and launches can.
#[allow(
    clippy::wildcard_enum_match_arm,
    reason = "only these steps can break an invariant"
)]
pub(super) fn broken(model: &Model<'_>, before: &World, next: &Next) -> Option<Invariant> {
    match next.step {
        Step::Write { changed: true, .. } => written(model, before, &next.world),
        Step::Launch { work } => match *model.work.value(work) {
            Work::Launch(token) => launched(model, before, &next.world, token),
            Work::Stop(_) => None,
        },
        _ => None,
    }
    .or_else(|| match next.step {
        Step::Write { changed: true, .. } | Step::Launch { .. } => everywhere(model, &next.world),
        _ => None,
    })
}

fn written(model: &Model<'_>, before: &World, after: &World) -> Option<Invariant> {
    for cell in 0..model.cell_count() {
        let (was, is) = (model.shard(before, cell), model.shard(after, cell));
        if was == is {
            continue;
        }
        if undone(was, is) {
            return Some(Invariant::TerminalIsFinal);
        }
        let stored = after.cells[usize::from(cell)];
        if model.dues[usize::from(stored)].is_empty() && !is_complete(model, cell, is) {
            return Some(Invariant::DueUntilTerminal);
        }
    }
    let limit = model.plan().concurrency.as_ref().map(|lock| lock.limit);
    // What rests holds its slot too: nobody knows whether something of it is still at work.
    let inside = (0..model.setup.executions)
        .filter(|&execution| {
            let active = matches!(
                model.root(after, execution).phase,
                RootPhase::Running | RootPhase::Retrying | RootPhase::Ended
            );
            active || after.resting >> execution & 1 == 1
        })
        .count();
    let above = limit.is_some_and(|limit| inside > usize::try_from(limit).unwrap_or(usize::MAX));
    above.then_some(Invariant::LockLimit)
}

fn undone(was: &Shard, is: &Shard) -> bool {
    if (was.round, was.generation) != (is.round, is.generation) {
        return (is.round, is.generation) < (was.round, was.generation);
    }
    let over = was.phase == RootPhase::Over && is.phase != RootPhase::Over;
    over || was.slots.iter().enumerate().any(|(index, old)| {
        let new = is.slots.get(index);
        old.state.is_terminal() && new.is_none_or(|new| new.state != old.state)
    })
}

/// Whether nothing can change in the shard within its round; said anew here, not asked from the core.
fn is_complete(model: &Model<'_>, cell: u8, shard: &Shard) -> bool {
    let all_over = shard.slots.iter().all(|slot| slot.state.is_terminal());
    if model.cells[usize::from(cell)].at == ShardId::ROOT {
        return shard.phase == RootPhase::Over && all_over;
    }
    shard.open && all_over && shard.ahead == 0
}

fn launched(model: &Model<'_>, before: &World, after: &World, token: u16) -> Option<Invariant> {
    let index = usize::from(token);
    if before.runtime[index] == after.runtime[index] {
        return None;
    }
    if after.runtime[index].started > 1 {
        return Some(Invariant::OneTaskPerAttempt);
    }
    let (cell, slot, _) = *model.attempts.value(token);
    let (mut alive, mut started) = (0, 0);
    for number in 0..u16::try_from(model.attempts.len()).unwrap_or(u16::MAX) {
        let other = model.attempts.value(number);
        if (other.0, other.1) == (cell, slot) {
            let token = after.runtime[usize::from(number)];
            alive += u8::from(token.fate == Fate::Alive);
            started += token.started;
        }
    }
    if alive > 1 {
        return Some(Invariant::OneLiveAttempt);
    }
    let layout = model.layout(cell);
    let node = usize::from(layout.node_of(slot).unwrap_or_default());
    if let NodeKind::Task(task) = &layout.nodes[node].kind
        && !task.idempotent
        && started > 1 + model.shard(after, cell).round
    {
        return Some(Invariant::LaunchedOnce);
    }
    (!may_start(model, after, cell, slot)).then_some(Invariant::DependenciesFirst)
}

/// Whether everything a task run waits for is in the table: dependencies that let pass, parents that run,
/// up to the flow.
fn may_start(model: &Model<'_>, world: &World, cell: u8, slot: u16) -> bool {
    let layout = model.layout(cell);
    let mut at = layout.node_of(slot);
    while let Some(index) = at {
        let node = &layout.nodes[usize::from(index)];
        let passed = node
            .deps
            .iter()
            .all(|&dep| state_of(model, world, cell, slot, dep).lets_pass());
        let parent_runs = node
            .parent
            .is_none_or(|parent| state_of(model, world, cell, slot, parent).is_active_group());
        if !passed || !parent_runs {
            return false;
        }
        at = node.parent;
    }
    let here = &model.cells[usize::from(cell)];
    match here.at.owner() {
        None => true,
        Some((owner, loop_slot, _)) => {
            let owner = model.cell(here.execution, &owner);
            let state = model.shard(world, owner).slots[usize::from(loop_slot)].state;
            state == State::Body && may_start(model, world, owner, loop_slot)
        }
    }
}

/// State of a node, in whatever shard it lives, as it is in the table now.
fn state_of(model: &Model<'_>, world: &World, cell: u8, beside: u16, node: NodeIndex) -> State {
    let layout = model.layout(cell);
    let (cell, slot) = match layout.place {
        Place::Static(_) => {
            let (part, slot) = model.plan().home(node).unwrap_or_default();
            let execution = model.cells[usize::from(cell)].execution;
            (model.cell(execution, &ShardId::of_part(part)), slot)
        }
        Place::Chunk { .. } => {
            let nodes = u16::try_from(layout.nodes.len()).unwrap_or(u16::MAX);
            (cell, layout.item_of(beside) * nodes + node)
        }
    };
    model.shard(world, cell).slots[usize::from(slot)].state
}

/// What is recorded agrees with the runtime, and nothing outlives its execution.
fn everywhere(model: &Model<'_>, world: &World) -> Option<Invariant> {
    for cell in 0..model.cell_count() {
        let layout = model.layout(cell);
        let shard = model.shard(world, cell);
        for (slot, task_run) in (0_u16..).zip(&shard.slots) {
            let node = usize::from(layout.node_of(slot).unwrap_or_default());
            if !matches!(layout.nodes[node].kind, NodeKind::Task(_)) {
                continue;
            }
            let waits = task_run.state == State::RetryWait;
            let former = task_run.attempt.saturating_sub(u8::from(!waits));
            let superseded = (1..=former).all(|attempt| {
                let fate = token_of(model, world, cell, slot, attempt).fate;
                // An attempt that is being stopped may succeed in its last moment, and what follows an item that is
                // retried has seen other outputs.
                matches!(fate, Fate::Failed | Fate::Interrupted | Fate::Stopped)
                    || fate == Fate::Succeeded && (model.stops || model.setup.tolerated)
            });
            let fate = token_of(model, world, cell, slot, task_run.attempt).fate;
            let real = match (task_run.state, task_run.reason()) {
                (State::Success, _) => fate == Fate::Succeeded,
                (State::Failed, Reason::ExitCode) => fate == Fate::Failed,
                (State::Failed, Reason::Lost | Reason::Interrupted) => fate == Fate::Interrupted,
                (State::Failed, Reason::OutcomeUnknown) => {
                    matches!(fate, Fate::Interrupted | Fate::Stopped) || model.stops
                }
                (State::Failed | State::Killed, _) if task_run.attempt > 0 => {
                    !matches!(fate, Fate::Absent | Fate::Alive)
                }
                _ => true,
            };
            if !superseded || !real {
                return Some(Invariant::RealOutcome);
            }
        }
    }
    let outlives = (0..u16::try_from(model.attempts.len()).unwrap_or(u16::MAX)).any(|number| {
        let (cell, ..) = *model.attempts.value(number);
        world.runtime[usize::from(number)].fate == Fate::Alive
            && model
                .root(world, model.cells[usize::from(cell)].execution)
                .phase
                == RootPhase::Over
    });
    outlives.then_some(Invariant::NothingOutlives)
}

fn token_of(model: &Model<'_>, world: &World, cell: u8, slot: u16, attempt: u8) -> Token {
    model
        .attempts
        .find(&(cell, slot, attempt))
        .map_or(Token::default(), |number| {
            world.runtime[usize::from(number)]
        })
}
