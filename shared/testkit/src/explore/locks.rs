//! Admission to a lock, read by read and write by write, as the engine does it, and quarantine.
//!
//! Time, as in [`super::model`]: an execution whose outcome is unknown rests from its end until its quarantine
//! passes, at any later moment. What the lock holds of it lies in the future until then, in the past after.

use operon_core::exec::{Lock, Reason, RootPhase, Slot, Time};

use super::model::{Model, Op};
use super::world::World;

/// The instant of every admission.
const NOW: Time = Time(10);
/// The end of a quarantine that has passed.
const PASSED: Time = Time(1);
/// The end of a quarantine that has not.
const SOME_DAY: Time = Time(100);

/// The name of an execution as an owner.
fn owner(execution: u8) -> String {
    format!("execution-{execution}")
}

/// Whether the execution is over and its slot must stay taken for the plan's quarantine.
pub(super) fn rests(model: &Model<'_>, world: &World, execution: u8) -> bool {
    let root = model.root(world, execution);
    let over = matches!(root.phase, RootPhase::Ended | RootPhase::Over);
    over && model.setup.plan.longest_quarantine_ms() > 0
        && root.slots.first().map(Slot::reason) == Some(Reason::OutcomeUnknown)
}

/// Until when the slot of an execution that is over stays taken.
fn until(model: &Model<'_>, world: &World, execution: u8) -> Option<Time> {
    rests(model, world, execution).then_some(if world.resting >> execution & 1 == 1 {
        SOME_DAY
    } else {
        PASSED
    })
}

/// The world in which the quarantine of an execution that rests has passed.
pub(super) fn quarantine_passes(model: &mut Model<'_>, world: &World, execution: u8) -> World {
    let mut next = *world;
    next.resting &= !(1 << execution);
    let mut lock = Lock::default();
    for held in model.locks.value(world.lock).owners() {
        // Taking each slot anew keeps the order of the owners.
        lock.acquire(&held.execution, u32::MAX, Time(0));
        if let Some(until) = held.quarantined_until {
            let passed = held.execution == owner(execution);
            lock.release(&held.execution, Some(if passed { PASSED } else { until }));
        }
    }
    next.lock = model.lock(lock);
    next
}

/// Whether a quarantine in the lock has passed, so that it is due.
pub(super) fn is_due(model: &Model<'_>, world: &World) -> bool {
    model
        .locks
        .value(world.lock)
        .due()
        .is_some_and(|until| until <= NOW)
}

/// Carries out one action and returns what takes its place.
#[allow(
    clippy::too_many_lines,
    reason = "one story from its beginning to its end"
)]
pub(super) fn step(model: &mut Model<'_>, world: &mut World, op: &Op) -> Vec<Op> {
    let limit = model
        .setup
        .plan
        .concurrency
        .as_ref()
        .map_or(1, |lock| lock.limit);
    match *op {
        Op::Admit => vec![Op::AdmitOwners { before: world.lock }],
        Op::AdmitOwners { before } => {
            let mut lock = model.locks.value(before).clone();
            lock.expire(NOW);
            for execution in 0..model.setup.executions {
                let owns = lock
                    .owners()
                    .iter()
                    .any(|o| o.execution == owner(execution) && o.quarantined_until.is_none());
                if owns && model.root(world, execution).phase == RootPhase::Over {
                    lock.release(&owner(execution), until(model, world, execution));
                }
            }
            lock.expire(NOW);
            let after = model.lock(lock);
            vec![Op::AdmitQueue { before, after }]
        }
        Op::AdmitQueue { before, after } => {
            let mut lock: Lock = model.locks.value(after).clone();
            let mut granted = 0;
            for execution in 0..model.setup.executions {
                let bit = 1 << execution;
                if world.queued & bit == 0 {
                    continue;
                }
                if !lock.acquire(&owner(execution), limit, NOW) {
                    break;
                }
                granted |= bit;
            }
            let after = model.lock(lock);
            vec![Op::AdmitSave {
                before,
                after,
                granted,
            }]
        }
        Op::AdmitSave {
            before,
            after,
            granted,
        } => {
            if before != after && world.lock != before {
                return vec![Op::Admit];
            }
            if before != after {
                world.lock = after;
            }
            let mut then = Vec::new();
            for execution in (0..model.setup.executions).filter(|e| granted >> e & 1 == 1) {
                then.push(Op::Queue(execution, false));
            }
            for execution in (0..model.setup.executions).filter(|e| granted >> e & 1 == 1) {
                let root = model.cell(execution, &operon_core::plan::ShardId::ROOT);
                then.push(Op::Tell(
                    model.message(root, operon_core::exec::Event::Admitted),
                ));
            }
            then
        }
        Op::TakeOver(execution) => {
            let mut lock = model.locks.value(world.lock).clone();
            let queued = world.queued >> execution & 1 == 1;
            if !queued || !lock.take_over(&owner(execution)) {
                return Vec::new();
            }
            world.lock = model.lock(lock);
            let root = model.cell(execution, &operon_core::plan::ShardId::ROOT);
            let admitted = model.message(root, operon_core::exec::Event::Admitted);
            vec![Op::Queue(execution, false), Op::Tell(admitted)]
        }
        Op::Release(execution) => {
            let phase = model.root(world, execution).phase;
            if !matches!(phase, RootPhase::Ended | RootPhase::Over) {
                // A late command of the round before: the execution was restarted and needs its slot.
                return Vec::new();
            }
            vec![Op::ReleaseSave {
                execution,
                before: world.lock,
            }]
        }
        Op::ReleaseSave { execution, before } => {
            let mut lock = model.locks.value(before).clone();
            lock.release(&owner(execution), until(model, world, execution));
            let after = model.lock(lock);
            if after == before {
                return vec![Op::Admit];
            }
            if world.lock != before {
                return vec![Op::Release(execution)];
            }
            world.lock = after;
            vec![Op::Admit]
        }
        Op::Tell(_) | Op::Work(_) | Op::Finish(..) | Op::Queue(..) => Vec::new(),
    }
}
