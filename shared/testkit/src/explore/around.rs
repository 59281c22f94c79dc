//! What can happen next around the planners: the launcher, the runtime, people.

use operon_core::exec::{Event, Outcome, Reason, RootPhase, State};
use operon_core::plan::ShardId;

use super::Mutant;
use super::model::{Model, Work};
use super::steps::{Next, Step};
use super::world::{Fate, Hand, Place, World};

/// What the launcher does next.
pub(super) fn launcher(model: &mut Model<'_>, world: &World, out: &mut Vec<Next>) {
    let hand = world.launcher;
    let work = hand.input;
    let mut go = |step, world| out.push(Next { step, world });
    let at = |place, work| World {
        launcher: Hand {
            place,
            input: work,
            ..Hand::default()
        },
        ..*world
    };
    match hand.place {
        Place::Idle => {
            for work in world.launch.iter() {
                match *model.work.value(work) {
                    Work::Launch(token) => {
                        let (cell, slot, attempt) = *model.attempts.value(token);
                        let task_run = model.shard(world, cell).slots[usize::from(slot)];
                        let wanted =
                            task_run.state == State::Launching && task_run.attempt == attempt;
                        let pass = wanted
                            || model.mutated(Mutant::NoFence)
                            || model.mutated(Mutant::RandomTokenNoFence);
                        let place = if pass {
                            Place::Read
                        } else {
                            Place::Acknowledge
                        };
                        go(Step::Fence { work, pass }, at(place, work));
                    }
                    Work::Stop(token) => {
                        let mut next = at(Place::Send, work);
                        let token = &mut next.runtime[usize::from(token)];
                        if matches!(token.fate, Fate::Absent | Fate::Alive) {
                            token.fate = Fate::Stopped;
                        }
                        go(Step::Stop { work }, next);
                    }
                }
            }
        }
        Place::Read => {
            let mut next = at(Place::Acknowledge, work);
            if let Work::Launch(token) = *model.work.value(work) {
                launch(model, &mut next, token);
            }
            go(Step::Launch { work }, next);
        }
        Place::Send => {
            let mut next = at(Place::Acknowledge, work);
            if let Work::Stop(token) = *model.work.value(work) {
                let (cell, slot, attempt) = *model.attempts.value(token);
                let message = model.message(cell, Event::Stopped { slot, attempt });
                next.plan = next.plan.with(message);
            }
            go(Step::Stopped { work }, next);
        }
        Place::Acknowledge => {
            let mut next = at(Place::Idle, 0);
            if world.faults.duplicate > 0 {
                let mut again = next;
                again.faults.duplicate -= 1;
                go(Step::LauncherAcknowledgesAgain { work }, again);
            }
            next.launch = next.launch.without(work);
            go(Step::LauncherAcknowledges { work }, next);
        }
    }
    // One that dies before it did anything did nothing.
    if matches!(hand.place, Place::Send | Place::Acknowledge) && world.faults.crash > 0 {
        let mut next = at(Place::Idle, 0);
        next.faults.crash -= 1;
        go(Step::LauncherDies { work }, next);
    }
}

/// The runtime's contract: an attempt is launched at most once while its token lives, and never after it was stopped.
fn launch(model: &mut Model<'_>, world: &mut World, token: u16) {
    let random = model.mutated(Mutant::RandomToken) || model.mutated(Mutant::RandomTokenNoFence);
    let entry = &mut world.runtime[usize::from(token)];
    if entry.fate == Fate::Absent || entry.forgotten || random && entry.started == 1 {
        entry.forgotten = false;
        entry.fate = Fate::Alive;
        entry.started += 1;
        if model.setup.started {
            let (cell, slot, attempt) = *model.attempts.value(token);
            let message = model.message(cell, Event::Started { slot, attempt });
            world.plan = world.plan.with(message);
        }
    }
}

/// How attempts end.
pub(super) fn runtime(model: &mut Model<'_>, world: &World, out: &mut Vec<Next>) {
    let endings = [
        (Fate::Succeeded, Outcome::Success),
        (Fate::Failed, Outcome::Failed(Reason::ExitCode)),
        (Fate::Interrupted, Outcome::Failed(Reason::Interrupted)),
    ];
    for token in 0..u16::try_from(model.attempts.len()).unwrap_or(u16::MAX) {
        if world.runtime[usize::from(token)].fate != Fate::Alive {
            continue;
        }
        let (cell, slot, attempt) = *model.attempts.value(token);
        for (fate, outcome) in endings {
            let mut next = *world;
            let budget = match fate {
                Fate::Failed => Some(&mut next.faults.failure),
                Fate::Interrupted => Some(&mut next.faults.infrastructure),
                Fate::Succeeded | Fate::Absent | Fate::Alive | Fate::Stopped => None,
            };
            if let Some(budget) = budget {
                if *budget == 0 {
                    continue;
                }
                *budget -= 1;
            }
            next.runtime[usize::from(token)].fate = fate;
            if world.faults.lost > 0 {
                let mut lost = next;
                lost.faults.lost -= 1;
                out.push(Next {
                    step: Step::Ends {
                        token,
                        fate,
                        lost: true,
                    },
                    world: lost,
                });
            }
            let event = Event::Done {
                slot,
                attempt,
                outcome,
                age_ms: 0,
            };
            next.plan = next.plan.with(model.message(cell, event));
            out.push(Next {
                step: Step::Ends {
                    token,
                    fate,
                    lost: false,
                },
                world: next,
            });
        }
    }
}

/// A token outlives the time in which its attempt may be launched: not before that may it be forgotten.
pub(super) fn expiries(model: &mut Model<'_>, world: &World, out: &mut Vec<Next>) {
    if world.faults.expiry == 0 {
        return;
    }
    let hand = world.launcher;
    for token in 0..u16::try_from(model.attempts.len()).unwrap_or(u16::MAX) {
        let known = world.runtime[usize::from(token)];
        let over = known.started > 0 && known.fate != Fate::Alive && !known.forgotten;
        let (cell, slot, attempt) = *model.attempts.value(token);
        let task_run = model.shard(world, cell).slots[usize::from(slot)];
        let wanted = task_run.state == State::Launching && task_run.attempt == attempt
            || hand.place == Place::Read && *model.work.value(hand.input) == Work::Launch(token);
        if over && !wanted {
            let mut next = *world;
            next.faults.expiry -= 1;
            next.runtime[usize::from(token)].forgotten = true;
            out.push(Next {
                step: Step::Forgotten { token },
                world: next,
            });
        }
    }
}

/// What people do, and what passes by itself.
pub(super) fn people(model: &mut Model<'_>, world: &World, out: &mut Vec<Next>) {
    let execution = 0;
    let root = model.cell(execution, &ShardId::ROOT);
    let (phase, round) = {
        let shard = model.shard(world, root);
        (shard.phase, shard.round)
    };
    if world.faults.kill > 0 && phase != RootPhase::Over {
        let mut next = *world;
        next.faults.kill -= 1;
        let event = Event::Kill {
            reason: Reason::Kill,
            round: Some(round),
        };
        next.plan = next.plan.with(model.message(root, event));
        out.push(Next {
            step: Step::Killed { execution },
            world: next,
        });
    }
    for execution in (0..model.setup.executions).filter(|e| world.resting >> e & 1 == 1) {
        out.push(Next {
            step: Step::QuarantinePasses { execution },
            world: super::locks::quarantine_passes(model, world, execution),
        });
    }
    // Nobody knows that it is over before that is recorded.
    let known = world.finished[usize::from(execution)] >> 5 == round
        && world.finished[usize::from(execution)] > 0;
    if world.faults.restart > 0 && phase == RootPhase::Over && known {
        let mut next = *world;
        next.faults.restart -= 1;
        let event = Event::Restart {
            round: round + 1,
            tolerated: model.setup.tolerated,
        };
        next.plan = next.plan.with(model.message(root, event));
        out.push(Next {
            step: Step::Restarted { execution },
            world: next,
        });
    }
}
