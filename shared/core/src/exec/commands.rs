//! Commands are derived from state, never from what happened: state is the outbox.

use super::view::View;
use super::{Command, Event, Reason, RootPhase, Seen, Shard, State, Time, Truth};
use crate::plan::{NodeIndex, NodeKind, Place, ShardId};

/// Which part of a shard commands are derived for.
#[derive(Debug, Clone, Default)]
pub(super) struct Scope {
    /// Slots, unordered, perhaps repeated.
    slots: Vec<u16>,
    /// All of the shard.
    pub(super) everything: bool,
    /// Ask the runtime and other shards.
    pub(super) probe: bool,
    /// What the chunk has to say to others.
    pub(super) chain: bool,
    /// The execution as a whole.
    root: bool,
    /// Shards that miss facts.
    pub(super) asked: Vec<ShardId>,
}

impl Scope {
    pub(super) fn all(probe: bool) -> Self {
        Self {
            everything: true,
            probe,
            ..Self::default()
        }
    }

    /// Everything in which two states of a shard differ.
    pub(super) fn add_changes(&mut self, before: &Shard, after: &Shard) {
        for (index, slot) in (0_u16..).zip(&after.slots) {
            if before.slots.get(usize::from(index)) != Some(slot) {
                self.slots.push(index);
            }
        }
        self.everything |= before.kill != after.kill
            || before.kill_after != after.kill_after
            || before.round != after.round
            // A shard that opens may hold facts that others miss: those of a replayed execution.
            || before.open != after.open;
        self.root |= before.phase != after.phase;
    }

    /// What an event that changed nothing is about, and what would have followed from it.
    pub(super) fn add_event(&mut self, view: &View<'_>, event: &Event) {
        match event {
            // That an attempt runs has no consequences, so none can be missing, however late it is said.
            Event::Started { slot, .. }
            | Event::Probed {
                slot,
                truth: Truth::Alive | Truth::Absent,
                ..
            } => self.slots.push(*slot),
            Event::Done { slot, .. }
            | Event::Stopped { slot, .. }
            | Event::Probed {
                slot,
                truth: Truth::Ended(_) | Truth::Gone,
                ..
            }
            | Event::Decided { slot, .. }
            | Event::Resume { slot, .. }
            | Event::LoopDone { slot, .. } => {
                if view.has(*slot) {
                    self.add_above(view, *slot);
                    self.add_iterations(view, *slot);
                }
            }
            Event::Start
            | Event::Admitted
            | Event::Refused { .. }
            | Event::Kill { .. }
            | Event::Exit { .. }
            | Event::Restart { .. }
            | Event::Notify { again: true, .. }
            | Event::Ahead { again: true, .. }
            // A tick that changes nothing may be one that comes again after a crash between its write and
            // its commands: a launch after a retry's wait, or the end itself, after which nothing is due.
            | Event::Tick => self.everything = true,
            // See `Event::redelivered`.
            Event::Notify { again: false, .. }
            | Event::Ahead { again: false, .. }
            | Event::Asked { .. } => {}
        }
    }

    /// The task run, and whatever its end may have begun: dependents, and the parent with its next part.
    fn add_above(&mut self, view: &View<'_>, slot: u16) {
        let mut climb = vec![slot];
        while let Some(slot) = climb.pop() {
            if self.slots.contains(&slot) {
                continue;
            }
            self.slots.push(slot);
            self.root |= slot == 0;
            let node = view.node(slot);
            if slot == 0 && view.is_root() && view.slot(slot).state.is_terminal() {
                // The end of the flow begins what comes after it.
                let after = view.slots().find(|&other| {
                    let node = view.node(other);
                    node.parent.is_none() && node.after
                });
                let after = after.map(|after| view.node_index(after));
                self.add_below(view, after.as_slice(), slot);
            }
            let over = view.slot(slot).state.is_terminal();
            let Some(parent) = node.parent else {
                if over {
                    // The body of a loop is a list that nothing in its shard holds.
                    self.add_below(view, &node.dependents, slot);
                }
                continue;
            };
            let parent_node = view.layout.nodes.get(usize::from(parent));
            let bounded = parent_node.is_some_and(
                |node| matches!(node.kind, NodeKind::Group { concurrent, .. } if concurrent > 0),
            );
            if over && bounded {
                self.add_below(
                    view,
                    &parent_node.map_or(Vec::new(), |n| n.children.clone()),
                    slot,
                );
            }
            if over {
                self.add_below(view, &node.dependents, slot);
                if let Some(parent) = view.slot_of(parent, slot) {
                    climb.push(parent);
                    if matches!(view.slot(parent).state, State::Errors | State::Finally) {
                        let children = view.node(parent).children.clone();
                        self.add_below(view, &children, slot);
                    }
                }
            }
        }
    }

    /// In a chunk, what the end of the iteration of `slot` may have begun: later iterations, of which only
    /// those can be missing of which nothing has been heard, and what the chunk says of itself.
    ///
    /// Not all of the shard: most repeated reports are answers to probes, about iterations that go on, and
    /// 128 of them would each repeat up to 128 launches.
    fn add_iterations(&mut self, view: &View<'_>, slot: u16) {
        let item = view.layout.item_of(slot);
        if !view.is_chunk() || view.iteration(item).is_none() {
            return;
        }
        self.chain = true;
        let begun = |slot: &u16| {
            let later = view.layout.item_of(*slot) > item;
            let state = view.slot(*slot).state;
            let pending = matches!(state, State::Gate | State::Deciding | State::Launching);
            later && (pending || state == State::Body)
        };
        self.slots.extend(view.slots().filter(begun));
    }

    /// The nodes and, through what is already over or runs children, everything they may have begun.
    fn add_below(&mut self, view: &View<'_>, nodes: &[NodeIndex], beside: u16) {
        let mut descend: Vec<NodeIndex> = nodes.to_vec();
        let mut seen = vec![false; view.shard.slots.len()];
        while let Some(node) = descend.pop() {
            let Some(slot) = view.slot_of(node, beside) else {
                continue;
            };
            let Some(mark) = seen.get_mut(usize::from(slot)) else {
                continue;
            };
            if std::mem::replace(mark, true) {
                continue;
            }
            self.slots.push(slot);
            let state = view.slot(slot).state;
            if state.is_terminal() {
                descend.extend(&view.node(slot).dependents);
            } else if state.is_active_group() {
                descend.extend(&view.node(slot).children);
            }
        }
    }
}

/// The commands for `scope`, in the order in which they should be sent.
pub(super) fn derive(view: &View<'_>, scope: &Scope) -> Vec<Command> {
    let mut out = Vec::new();
    let mut slots = scope.slots.clone();
    if scope.everything {
        slots = view.slots().collect();
    }
    slots.sort_unstable();
    slots.dedup();
    for slot in slots {
        if view.has(slot) {
            of_slot(view, slot, scope.probe, &mut out);
        }
    }
    if scope.everything || scope.chain {
        out.extend(view.chain());
    }
    if view.is_root() && (scope.everything || scope.root) {
        of_root(view, &mut out);
    }
    for by in &scope.asked {
        answer(view, by, &mut out);
    }
    if scope.probe {
        ask(view, &mut out);
    }
    out
}

fn of_slot(view: &View<'_>, slot: u16, probe: bool, out: &mut Vec<Command>) {
    let task_run = view.slot(slot);
    let attempt = task_run.attempt;
    match task_run.state {
        State::Gate | State::Deciding => out.push(Command::Evaluate { slot }),
        State::Launching => {
            out.push(Command::Launch { slot, attempt });
            if probe {
                out.push(Command::Probe { slot, attempt });
            }
        }
        State::Running => {
            if probe {
                out.push(Command::Probe { slot, attempt });
            }
        }
        State::Killing => out.push(Command::Stop { slot, attempt }),
        State::Body => out.extend(view.open_loop(slot)),
        State::Waiting
        | State::RetryWait
        | State::Paused
        | State::Errors
        | State::Finally
        | State::Success
        | State::Warning
        | State::Failed
        | State::Killed
        | State::Skipped
        | State::Omitted
        | State::Cancelled => {}
    }
    if view.layout.scope == 0 && (Seen::of(task_run) != Seen::Nothing || view.killed(slot)) {
        notify(view, slot, None, out);
    }
}

/// Tells the shards that mirror the node, or only `whom`.
fn notify(view: &View<'_>, slot: u16, whom: Option<&ShardId>, out: &mut Vec<Command>) {
    let Some(scope) = view.plan.scopes.first() else {
        return;
    };
    if scope.shards.len() < 2 {
        return;
    }
    let node = view.node_index(slot);
    for (part, shard) in (0_u16..).zip(&scope.shards) {
        let to = ShardId::of_part(part);
        let wanted = whom.is_none_or(|whom| *whom == to);
        if to != *view.at && wanted && shard.mirrors.binary_search(&node).is_ok() {
            let event = Event::Notify {
                round: view.shard.round,
                node,
                seen: Seen::of(view.slot(slot)),
                kill: view.killed(slot),
                again: false,
            };
            out.push(Command::Send { to, event });
        }
    }
}

fn of_root(view: &View<'_>, out: &mut Vec<Command>) {
    match view.shard.phase {
        RootPhase::Queued => out.push(Command::Acquire),
        RootPhase::Ended | RootPhase::Over => {
            let Some(flow) = view.shard.slots.first() else {
                return;
            };
            out.push(Command::Finish {
                state: flow.state,
                reason: flow.reason(),
            });
            if view.plan.concurrency.is_some() {
                out.push(Command::Release {
                    quarantine_until: quarantine(view, flow.reason()),
                });
            }
        }
        RootPhase::New | RootPhase::Running | RootPhase::Retrying => {}
    }
}

/// Until when the lock stays held: counted from now, by the longest quarantine in the plan, because the
/// flow knows that something inside ended unknown but not what.
fn quarantine(view: &View<'_>, reason: Reason) -> Option<Time> {
    if reason != Reason::OutcomeUnknown {
        return None;
    }
    let longest = view.plan.longest_quarantine_ms();
    (longest > 0).then(|| view.now.plus(longest))
}

/// Facts for a shard that asked.
fn answer(view: &View<'_>, by: &ShardId, out: &mut Vec<Command>) {
    if view.at.next_chunk().as_ref() == Some(by) {
        out.extend(view.chain());
        return;
    }
    if view.at.owner().is_some_and(|(owner, ..)| owner == *by) {
        out.extend(view.loop_asked(by));
        return;
    }
    match by.owner() {
        Some((owner, slot, 0)) if owner == *view.at && view.has(slot) => {
            out.extend(view.open_loop(slot));
        }
        Some(_) => {}
        None => {
            for slot in view.slots() {
                notify(view, slot, Some(by), out);
            }
        }
    }
}

/// Asks for the facts this shard waits for.
fn ask(view: &View<'_>, out: &mut Vec<Command>) {
    let event = || Event::Asked {
        by: view.at.clone(),
    };
    if let Place::Static(part) = view.layout.place {
        let mut homes: Vec<u16> = part
            .mirrors
            .iter()
            .zip(&view.shard.mirrors)
            .filter(|(_, seen)| !seen.state().is_terminal())
            .filter_map(|(node, _)| view.plan.home(*node))
            .map(|(part, _)| part)
            .collect();
        homes.sort_unstable();
        homes.dedup();
        for part in homes {
            out.push(Command::Send {
                to: ShardId::of_part(part),
                event: event(),
            });
        }
    } else if !view.shard.open || view.shard.ahead > 0 {
        out.extend(
            view.predecessor()
                .map(|to| Command::Send { to, event: event() }),
        );
    }
    for slot in view.slots().filter(|&slot| view.is_open_loop(slot)) {
        out.push(Command::Send {
            to: view.at.of_loop(slot, 0),
            event: event(),
        });
    }
}
