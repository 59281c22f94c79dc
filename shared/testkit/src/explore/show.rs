//! Steps and worlds in words.

use operon_core::exec::{Event, State};
use operon_core::plan::Layout;

use super::model::{Due, Input, Model, Op, Work};
use super::steps::{Next, Step};
use super::world::{Fate, World};

pub(super) fn step(model: &Model<'_>, before: &World, next: &Next) -> String {
    match next.step {
        Step::Receive { input: of } => format!("planner receives {}", input(model, of)),
        Step::Write { input: of, changed } => {
            let what = input(model, of);
            if changed {
                format!("planner writes after {what}: {}", cells(model, &next.world))
            } else {
                format!("planner finds nothing to write after {what}")
            }
        }
        Step::Repeat { input: of } => {
            format!("planner repeats commands after {}", input(model, of))
        }
        Step::Conflict { input: of } => {
            format!("planner loses the race to write after {}", input(model, of))
        }
        Step::Effect { ops } => format!("planner does: {}", op(model, &model.ops.value(ops)[0])),
        Step::EffectLost { ops } => {
            format!("LOST: {}", op(model, &model.ops.value(ops)[0]))
        }
        Step::Acknowledge { input: of } => format!("planner deletes {}", input(model, of)),
        Step::AcknowledgeAgain { input: of } => {
            format!(
                "planner deletes {}, WHICH WILL COME AGAIN",
                input(model, of)
            )
        }
        Step::PlannerDies { input: of } => {
            format!(
                "CRASH of a planner after its write, with {}",
                input(model, of)
            )
        }
        Step::Fence { work: of, pass } => {
            let verdict = if pass {
                "still wanted"
            } else {
                "not wanted any more"
            };
            format!("launcher receives {}: {verdict}", work(model, of))
        }
        Step::Launch { work: of } => {
            let what = if before.runtime == next.world.runtime {
                "is refused, as it was launched or stopped before"
            } else {
                "starts"
            };
            format!("runtime: {} {what}", work(model, of))
        }
        Step::Stop { work: of } => format!("runtime carries out {}", work(model, of)),
        Step::Stopped { work: of } => format!("launcher reports {} done", work(model, of)),
        Step::LauncherAcknowledges { work: of } => format!("launcher deletes {}", work(model, of)),
        Step::LauncherAcknowledgesAgain { work: of } => {
            format!(
                "launcher deletes {}, WHICH WILL COME AGAIN",
                work(model, of)
            )
        }
        Step::LauncherDies { work: of } => {
            format!("CRASH of the launcher with {}", work(model, of))
        }
        Step::Ends { token, fate, lost } => {
            let how = match fate {
                Fate::Succeeded => "succeeds",
                Fate::Failed => "FAILS",
                Fate::Interrupted => "IS INTERRUPTED",
                Fate::Absent | Fate::Alive | Fate::Stopped => "ends",
            };
            let report = if lost { ", its report is LOST" } else { "" };
            format!("{} {how}{report}", attempt(model, token))
        }
        Step::Killed { execution } => format!("a person kills execution {execution}"),
        Step::Forgotten { token } => {
            format!("the runtime forgets the token of {}", attempt(model, token))
        }
        Step::Restarted { execution } => format!("a person restarts execution {execution}"),
        Step::QuarantinePasses { execution } => {
            format!("the quarantine of execution {execution} passes")
        }
        Step::LockDue => "a planner sees that the lock is due".to_owned(),
    }
}

/// The table, what waits in queues, what is alive.
pub(super) fn world(model: &Model<'_>, world: &World) -> String {
    let plan: Vec<String> = world.plan.iter().map(|m| message(model, m)).collect();
    let launch: Vec<String> = world.launch.iter().map(|w| work(model, w)).collect();
    let runtime: Vec<String> = (0_u16..)
        .zip(&world.runtime)
        .filter(|(_, token)| token.fate != Fate::Absent)
        .map(|(number, token)| {
            let name = attempt(model, number);
            format!("{name} {:?}, started {}x", token.fate, token.started)
        })
        .collect();
    format!(
        "=> {}; plan queue [{}]; launch queue [{}]; runtime [{}]; lock {:?}, queued {:b}, finished {:?}",
        cells(model, world),
        plan.join(", "),
        launch.join(", "),
        runtime.join(", "),
        model
            .locks
            .value(world.lock)
            .owners()
            .iter()
            .map(|o| &o.execution)
            .collect::<Vec<_>>(),
        world.queued,
        world.finished,
    )
}

fn cells(model: &Model<'_>, world: &World) -> String {
    let mut parts = Vec::new();
    for cell in 0..model.cell_count() {
        let shard = model.shard(world, cell);
        let slots: Vec<String> = (0_u16..)
            .zip(&shard.slots)
            .filter(|(_, slot)| slot.state != State::Waiting || slot.attempt > 0)
            .map(|(number, slot)| {
                let name = task_run(model, cell, number);
                if slot.attempt > 0 {
                    format!("{name}#{} {:?}", slot.attempt, slot.state)
                } else {
                    format!("{name} {:?}", slot.state)
                }
            })
            .collect();
        let at = &model.cells[usize::from(cell)];
        parts.push(format!(
            "{}{} {:?} [{}]",
            if model.setup.executions > 1 {
                format!("e{}:", at.execution)
            } else {
                String::new()
            },
            at.at,
            shard.phase,
            slots.join(", ")
        ));
    }
    parts.join(" ")
}

fn task_run(model: &Model<'_>, cell: u8, slot: u16) -> String {
    let at = &model.cells[usize::from(cell)];
    let name = Layout::of(model.plan(), &at.at)
        .and_then(|_| model.plan().task_run_name(&at.at, slot))
        .unwrap_or_else(|| format!("slot {slot}"));
    if model.setup.executions > 1 {
        format!("e{}:{name}", at.execution)
    } else {
        name
    }
}

fn attempt(model: &Model<'_>, token: u16) -> String {
    let (cell, slot, attempt) = *model.attempts.value(token);
    format!("{}#{attempt}", task_run(model, cell, slot))
}

fn work(model: &Model<'_>, number: u16) -> String {
    match *model.work.value(number) {
        Work::Launch(token) => format!("launch {}", attempt(model, token)),
        Work::Stop(token) => format!("stop {}", attempt(model, token)),
    }
}

#[allow(
    clippy::wildcard_enum_match_arm,
    reason = "the others are shown as they are"
)]
fn message(model: &Model<'_>, number: u16) -> String {
    let (cell, event) = model.messages.value(number);
    let at = &model.cells[usize::from(*cell)].at;
    match event {
        Event::Started { slot, attempt } => {
            format!("started {}#{attempt}", task_run(model, *cell, *slot))
        }
        Event::Done {
            slot,
            attempt,
            outcome,
            ..
        } => format!(
            "done {}#{attempt} {outcome:?}",
            task_run(model, *cell, *slot)
        ),
        Event::Stopped { slot, attempt } => {
            format!("stopped {}#{attempt}", task_run(model, *cell, *slot))
        }
        Event::Probed {
            slot,
            attempt,
            truth,
        } => format!(
            "probed {}#{attempt} {truth:?}",
            task_run(model, *cell, *slot)
        ),
        other => format!("{other:?} to {at}"),
    }
}

fn input(model: &Model<'_>, number: u16) -> String {
    match model.inputs.value(number) {
        Input::Message {
            message: number, ..
        } => format!("`{}`", message(model, *number)),
        Input::LockDue => "the lock, which is due".to_owned(),
        Input::Tick { cell, due, .. } => {
            let at = &model.cells[usize::from(*cell)].at;
            match due {
                None => format!("a late tick of {at}"),
                Some(Due::Probe) => format!("a tick of {at} (probe due)"),
                Some(Due::Deadline) => format!("a tick of {at} (deadline passed)"),
                Some(Due::Slot(slot)) => {
                    format!("a tick of {at} ({} due)", task_run(model, *cell, *slot))
                }
            }
        }
    }
}

fn op(model: &Model<'_>, op: &Op) -> String {
    match op {
        Op::Tell(number) => format!("send `{}`", message(model, *number)),
        Op::Work(number) => format!("send `{}`", work(model, *number)),
        Op::Finish(execution, record) => {
            let state = State::ALL.get(usize::from(record & 0x1f).wrapping_sub(1));
            format!(
                "record round {} of execution {execution} as {state:?}",
                record >> 5
            )
        }
        Op::Queue(execution, true) => format!("queue execution {execution} for the lock"),
        Op::Queue(execution, false) => format!("take execution {execution} out of the queue"),
        Op::Admit => "admission: read the lock".to_owned(),
        Op::AdmitOwners { .. } => "admission: look whether owners are over".to_owned(),
        Op::AdmitQueue { .. } => "admission: read the queue".to_owned(),
        Op::AdmitSave { granted, .. } => format!("admission: write the lock, grant {granted:b}"),
        Op::TakeOver(execution) => format!("execution {execution} is told of the slot it has"),
        Op::Release(execution) => format!("release of {execution}: read the lock"),
        Op::ReleaseSave { execution, .. } => format!("release of {execution}: write the lock"),
    }
}
