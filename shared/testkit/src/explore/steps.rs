//! What can happen next in a world.

use operon_core::exec::{Event, RootPhase, State};

use super::Mutant;
use super::around::{expiries, launcher, people, runtime};
use super::model::{Due, Input, Model, Op};
use super::world::{Fate, Hand, Place, World};

/// Something that happens. Planners are alike and may trade places, so a step says what, not who.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Receive {
        input: u16,
    },
    Write {
        input: u16,
        changed: bool,
    },
    /// A tick that changes nothing: all its commands at once.
    Repeat {
        input: u16,
    },
    Conflict {
        input: u16,
    },
    Effect {
        ops: u16,
    },
    EffectLost {
        ops: u16,
    },
    Acknowledge {
        input: u16,
    },
    AcknowledgeAgain {
        input: u16,
    },
    PlannerDies {
        input: u16,
    },
    Fence {
        work: u16,
        pass: bool,
    },
    Launch {
        work: u16,
    },
    Stop {
        work: u16,
    },
    Stopped {
        work: u16,
    },
    LauncherAcknowledges {
        work: u16,
    },
    LauncherAcknowledgesAgain {
        work: u16,
    },
    LauncherDies {
        work: u16,
    },
    Ends {
        token: u16,
        fate: Fate,
        lost: bool,
    },
    Forgotten {
        token: u16,
    },
    Killed {
        execution: u8,
    },
    Restarted {
        execution: u8,
    },
    QuarantinePasses {
        execution: u8,
    },
    LockDue,
}

/// A step with the world it leads to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Next {
    pub(super) step: Step,
    pub(super) world: World,
}

/// All steps from `world`.
pub(super) fn successors(model: &mut Model<'_>, world: &World, out: &mut Vec<Next>) {
    for which in 0..world.planners.len() {
        // Two planners in the same place do the same: once is enough.
        if which > 0 && world.planners[which] == world.planners[which - 1] {
            continue;
        }
        planner(model, world, which, out);
    }
    launcher(model, world, out);
    runtime(model, world, out);
    expiries(model, world, out);
    people(model, world, out);
}

fn put(world: &World, which: usize, hand: Hand) -> World {
    let mut next = *world;
    next.planners[which] = hand;
    next.planners.sort_unstable();
    next
}

fn planner(model: &mut Model<'_>, world: &World, which: usize, out: &mut Vec<Next>) {
    let hand = world.planners[which];
    match hand.place {
        Place::Idle => receive(model, world, which, out),
        Place::Read => write(model, world, which, out),
        Place::Send | Place::Acknowledge => {
            if model.ops.value(hand.rest).is_empty() {
                acknowledge(model, world, which, out);
            } else {
                effect(model, world, which, out);
            }
        }
    }
    // One that dies before its write did nothing: as if it had received nothing.
    if hand.place == Place::Send && world.faults.crash > 0 {
        let mut next = put(world, which, Hand::default());
        next.faults.crash -= 1;
        if !model.mutated(Mutant::AcknowledgeFirst) {
            // What came without the queue is a message like any other, and nobody deleted it.
            if let Some((message, _)) = queued(model, hand.input) {
                let again = model.again(message);
                next.plan = next.plan.without(message).with(again);
            }
        }
        out.push(Next {
            step: Step::PlannerDies { input: hand.input },
            world: next,
        });
    }
}

/// The message behind an input, if there is one, and whether it is in the queue.
fn queued(model: &mut Model<'_>, input: u16) -> Option<(u16, bool)> {
    match *model.inputs.value(input) {
        Input::Message { message, queued } => Some((message, queued)),
        Input::Tick { cell, queued, .. } => Some((model.message(cell, Event::Tick), queued)),
        Input::LockDue => None,
    }
}

fn receive(model: &mut Model<'_>, world: &World, which: usize, out: &mut Vec<Next>) {
    let mut inputs = Vec::new();
    for message in world.plan.iter() {
        let (cell, event) = model.messages.value(message).clone();
        if event == Event::Tick {
            let stored = world.cells[usize::from(cell)];
            let dues = model.dues[usize::from(stored)].clone();
            for due in dues.into_iter().map(Some).chain([None]) {
                inputs.push(Input::Tick {
                    cell,
                    due,
                    queued: true,
                });
            }
        } else {
            // What shards tell each other is invisible to others while a planner has it: a copy of it comes only
            // after that planner died or did not delete it, and is marked.
            let held = world.planners.iter().any(|hand| {
                hand.place != Place::Idle
                    && matches!(*model.inputs.value(hand.input), Input::Message { message: held, .. } if held == message)
            });
            let marked = matches!(event, Event::Notify { .. } | Event::Ahead { .. });
            if held && marked {
                continue;
            }
            inputs.push(Input::Message {
                message,
                queued: true,
            });
        }
    }
    sweep(model, world, &mut inputs);
    for input in inputs {
        receive_one(model, world, which, input, out);
    }
    if super::locks::is_due(model, world) {
        let hand = Hand {
            place: Place::Send,
            input: model.inputs.number(Input::LockDue).0,
            read: 0,
            rest: model.ops.number(vec![Op::Admit]).0,
        };
        out.push(Next {
            step: Step::LockDue,
            world: put(world, which, hand),
        });
    }
}

/// Ticks of all that is due, and all answers that the runtime gave to the questions of former ticks.
fn sweep(model: &mut Model<'_>, world: &World, inputs: &mut Vec<Input>) {
    for cell in 0..model.cell_count() {
        let stored = world.cells[usize::from(cell)];
        for due in model.dues[usize::from(stored)].clone() {
            if due == Due::Probe && !model.setup.sweeper {
                continue;
            }
            inputs.push(Input::Tick {
                cell,
                due: Some(due),
                queued: false,
            });
        }
    }
    if model.mutated(Mutant::NeverAsk) || !model.setup.sweeper {
        return;
    }
    for token in 0..u16::try_from(model.attempts.len()).unwrap_or(u16::MAX) {
        let (cell, slot, attempt) = *model.attempts.value(token);
        // The core asks, and listens to answers, only about the attempt that may be alive.
        let Some(task_run) = model.shard(world, cell).slots.get(usize::from(slot)) else {
            continue;
        };
        if !task_run.state.is_live() || task_run.attempt != attempt {
            continue;
        }
        let mut truths = Model::truths(world.runtime[usize::from(token)]);
        if task_run.state == State::Killing {
            // Not asked any more: only what was asked before.
            truths.pop();
        }
        for truth in truths {
            let event = Event::Probed {
                slot,
                attempt,
                truth,
            };
            inputs.push(Input::Message {
                message: model.message(cell, event),
                queued: false,
            });
        }
    }
}

fn receive_one(
    model: &mut Model<'_>,
    world: &World,
    which: usize,
    input: Input,
    out: &mut Vec<Next>,
) {
    let mut next = *world;
    if let Input::Tick {
        cell,
        due: Some(due),
        ..
    } = input
        && is_limit(model, world, cell, due)
    {
        if world.faults.timeout == 0 {
            return;
        }
        next.faults.timeout -= 1;
    }
    let read = world.cells[usize::from(cell_of(model, &input))];
    let queued = matches!(
        input,
        Input::Message { queued: true, .. } | Input::Tick { queued: true, .. }
    );
    let number = model.inputs.number(input).0;
    let turn = model.turn(read, number);
    let mut repeated = next;
    if !queued && turn.next == read && repeat(model, &mut repeated, turn.ops) {
        if repeated != *world {
            out.push(Next {
                step: Step::Repeat { input: number },
                world: repeated,
            });
        }
        return;
    }
    let hand = Hand {
        place: Place::Read,
        input: number,
        read,
        rest: 0,
    };
    let faults = next.faults;
    next = put(world, which, hand);
    next.faults = faults;
    out.push(Next {
        step: Step::Receive { input: number },
        world: next,
    });
}

/// Sends all of `ops` at once, if they are only messages. A message that is sent later, or lost, is one that
/// waits in its queue, or is sent by another tick; so nothing is missed by not going one by one.
#[allow(
    clippy::wildcard_enum_match_arm,
    reason = "whatever else is among them is not repeated"
)]
fn repeat(model: &Model<'_>, world: &mut World, ops: u16) -> bool {
    for op in model.ops.value(ops) {
        match *op {
            Op::Tell(message) => world.plan = world.plan.with(message),
            Op::Work(work) => world.launch = world.launch.with(work),
            _ => return false,
        }
    }
    true
}

/// Whether the due time limits something that runs, so that its passing is a fault.
fn is_limit(model: &Model<'_>, world: &World, cell: u8, due: Due) -> bool {
    let shard = model.shard(world, cell);
    match due {
        Due::Probe => false,
        Due::Deadline => shard.phase == RootPhase::Running,
        Due::Slot(slot) => shard.slots[usize::from(slot)].state.is_live(),
    }
}

pub(super) fn cell_of(model: &Model<'_>, input: &Input) -> u8 {
    match input {
        Input::Message { message, .. } => model.messages.value(*message).0,
        Input::Tick { cell, .. } => *cell,
        // No turn over a shard belongs to it.
        Input::LockDue => 0,
    }
}

fn write(model: &mut Model<'_>, world: &World, which: usize, out: &mut Vec<Next>) {
    let hand = world.planners[which];
    let turn = model.turn(hand.read, hand.input);
    let cell = usize::from(cell_of(model, model.inputs.value(hand.input)));
    let changed = turn.next != hand.read;
    // Comparing contents is comparing versions: whoever read equal contents decides the same.
    let current = world.cells[cell] == hand.read || model.mutated(Mutant::UnconditionalWrite);
    if changed && !current {
        out.push(Next {
            step: Step::Conflict { input: hand.input },
            world: put(world, which, Hand::default()),
        });
        return;
    }
    let mut next = put(
        world,
        which,
        Hand {
            place: Place::Send,
            read: 0,
            rest: turn.ops,
            ..hand
        },
    );
    if changed {
        next.cells[cell] = turn.next;
        // A quarantine begins with the end it follows, and ends for good with a new round.
        for execution in 0..model.setup.executions {
            let bit = 1 << execution;
            let rested = super::locks::rests(model, world, execution);
            match (rested, super::locks::rests(model, &next, execution)) {
                (false, true) => next.resting |= bit,
                (true, false) => next.resting &= !bit,
                (true, true) | (false, false) => {}
            }
        }
    }
    if model.mutated(Mutant::AcknowledgeFirst) {
        delete(model, &mut next, hand.input);
    }
    out.push(Next {
        step: Step::Write {
            input: hand.input,
            changed,
        },
        world: next,
    });
}

fn delete(model: &mut Model<'_>, world: &mut World, input: u16) {
    if let Some((message, true)) = queued(model, input) {
        world.plan = world.plan.without(message);
    }
}

fn acknowledge(model: &mut Model<'_>, world: &World, which: usize, out: &mut Vec<Next>) {
    let input = world.planners[which].input;
    let idle = put(world, which, Hand::default());
    let mut next = idle;
    delete(model, &mut next, input);
    if next.plan != idle.plan && world.faults.duplicate > 0 {
        let mut again = next;
        if let Some((message, _)) = queued(model, input) {
            again.plan = again.plan.with(model.again(message));
        }
        again.faults.duplicate -= 1;
        out.push(Next {
            step: Step::AcknowledgeAgain { input },
            world: again,
        });
    }
    out.push(Next {
        step: Step::Acknowledge { input },
        world: next,
    });
}

#[allow(
    clippy::wildcard_enum_match_arm,
    reason = "only these operations leave more to do"
)]
fn effect(model: &mut Model<'_>, world: &World, which: usize, out: &mut Vec<Next>) {
    let hand = world.planners[which];
    let ops = hand.rest;
    let op = model.ops.value(ops)[0].clone();
    let rest = model.rest(ops);
    let mut next = put(world, which, Hand { rest, ..hand });
    match op {
        Op::Tell(_) | Op::Work(_) if world.faults.lost > 0 => {
            let mut lost = next;
            lost.faults.lost -= 1;
            out.push(Next {
                step: Step::EffectLost { ops },
                world: lost,
            });
        }
        _ => {}
    }
    match op {
        Op::Tell(message) => next.plan = next.plan.with(message),
        Op::Work(work) => next.launch = next.launch.with(work),
        Op::Finish(execution, record) => {
            let there = &mut next.finished[usize::from(execution)];
            if record >> 5 >= *there >> 5 {
                *there = record;
            }
        }
        Op::Queue(execution, wanted) => {
            let bit = 1 << execution;
            next.queued = if wanted {
                next.queued | bit
            } else {
                next.queued & !bit
            };
        }
        Op::Admit
        | Op::AdmitOwners { .. }
        | Op::AdmitQueue { .. }
        | Op::AdmitSave { .. }
        | Op::TakeOver(_)
        | Op::Release(_)
        | Op::ReleaseSave { .. } => {
            let then = super::locks::step(model, &mut next, &op);
            let rest = model.instead(ops, then);
            let lock = next.lock;
            next = put(world, which, Hand { rest, ..hand });
            next.lock = lock;
        }
    }
    out.push(Next {
        step: Step::Effect { ops },
        world: next,
    });
}
