//! Admission to a lock, read by read and write by write, as the engine does it.

use operon_core::exec::{Lock, RootPhase, Time};

use super::model::{Model, Op};
use super::world::World;

/// The name of an execution as an owner.
fn owner(execution: u8) -> String {
    format!("execution-{execution}")
}

/// Carries out one action and returns what takes its place.
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
            for execution in 0..model.setup.executions {
                let owns = lock
                    .owners()
                    .iter()
                    .any(|o| o.execution == owner(execution));
                if owns && model.root(world, execution).phase == RootPhase::Over {
                    lock.release(&owner(execution), None);
                }
            }
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
                if !lock.acquire(&owner(execution), limit, Time(0)) {
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
        Op::Release(execution) => vec![Op::ReleaseSave {
            execution,
            before: world.lock,
        }],
        Op::ReleaseSave { execution, before } => {
            let mut lock = model.locks.value(before).clone();
            lock.release(&owner(execution), None);
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
