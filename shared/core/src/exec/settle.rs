//! Consequences: what may begin, what is over, until nothing changes any more.
//!
//! Every rule looks at states only, never at the event that came: that is what makes lost, repeated and
//! reordered events harmless.

use super::view::View;
use super::{Reason, RootPhase, Slot, State};
use crate::lang::model::OnFailure;
use crate::plan::{NodeIndex, NodeKind, Phase};

/// How children ended, as far as it matters to what holds them.
#[derive(Debug, Clone, Copy, Default)]
struct Children {
    failed: bool,
    killed: bool,
    cancelled: bool,
    warning: bool,
    unknown: bool,
}

impl Children {
    fn add(&mut self, child: Slot) {
        self.unknown |= child.reason() == Reason::OutcomeUnknown;
        match child.state {
            State::Failed => self.failed = true,
            State::Killed => self.killed = true,
            State::Cancelled => self.cancelled = true,
            State::Warning => self.warning = true,
            State::Waiting
            | State::Gate
            | State::Deciding
            | State::Launching
            | State::Running
            | State::RetryWait
            | State::Paused
            | State::Killing
            | State::Body
            | State::Errors
            | State::Finally
            | State::Success
            | State::Skipped
            | State::Omitted => {}
        }
    }

    /// What holds them is. That an outcome inside is unknown is told whatever else happened: the lock depends on
    /// it.
    fn result(self) -> (State, Reason) {
        let unknown = |reason| {
            if self.unknown {
                Reason::OutcomeUnknown
            } else {
                reason
            }
        };
        if self.failed {
            (State::Failed, unknown(Reason::ChildFailed))
        } else if self.killed {
            (State::Killed, unknown(Reason::Kill))
        } else if self.cancelled {
            (State::Cancelled, unknown(Reason::ServiceLevel))
        } else if self.warning {
            (State::Warning, unknown(Reason::None))
        } else {
            (State::Success, unknown(Reason::None))
        }
    }
}

impl View<'_> {
    /// Draws all consequences.
    pub(super) fn settle(&mut self) {
        loop {
            let mut changed = false;
            for slot in self.slots() {
                changed |= self.step(slot);
            }
            changed |= self.step_chunk();
            changed |= self.step_root();
            if !changed {
                return;
            }
        }
    }

    /// One task run; whether anything changed.
    fn step(&mut self, slot: u16) -> bool {
        let before = *self.slot(slot);
        match before.state {
            State::Waiting => self.step_waiting(slot),
            State::Gate | State::Deciding | State::Paused => {
                if self.killed(slot) {
                    self.end(slot, State::Killed, Reason::Kill);
                }
            }
            State::RetryWait => {
                if self.killed(slot) {
                    self.end(slot, State::Killed, Reason::Kill);
                } else if self.ticking && before.due <= self.shard.tick_of(self.now) {
                    self.launch(slot);
                }
            }
            State::Launching | State::Running => {
                if self.killed(slot) {
                    let task_run = self.slot_mut(slot);
                    task_run.state = State::Killing;
                    task_run.due = 0;
                }
            }
            State::Body | State::Errors | State::Finally => self.step_group(slot),
            State::Killing
            | State::Success
            | State::Warning
            | State::Failed
            | State::Killed
            | State::Skipped
            | State::Omitted
            | State::Cancelled => {}
        }
        before != *self.slot(slot)
    }

    fn step_waiting(&mut self, slot: u16) {
        let node = self.node(slot);
        if !self.parent_allows(slot) {
            return;
        }
        if self.killed(slot) {
            return self.end(slot, State::Cancelled, Reason::Kill);
        }
        let mut ready = true;
        for dep in &node.deps {
            let dep = self.look(*dep, slot).state;
            if dep.is_terminal() && !dep.lets_pass() {
                return self.end(slot, State::Omitted, Reason::Upstream);
            }
            ready &= dep.is_terminal();
        }
        if let Some(parent) = node.parent
            && node.phase == Phase::Body
            && let Some(NodeKind::Group {
                concurrent,
                on_failure,
                ..
            }) = self
                .layout
                .nodes
                .get(usize::from(parent))
                .map(|parent| &parent.kind)
        {
            if *on_failure == OnFailure::Stop && self.sibling_failed(parent, slot) {
                return self.end(slot, State::Cancelled, Reason::SiblingFailed);
            }
            ready &=
                *concurrent == 0 || self.siblings_active(parent, slot) < usize::from(*concurrent);
        }
        if ready {
            self.enter(slot);
        }
    }

    /// Whether the part of the parent this task run belongs to is running. Ends the task run when that
    /// part will never run.
    fn parent_allows(&mut self, slot: u16) -> bool {
        let node = self.node(slot);
        let Some(parent) = node.parent else {
            return if self.is_chunk() {
                self.layout.item_of(slot) < self.shard.started
            } else if node.after {
                self.shard.phase == RootPhase::Ended
            } else {
                self.shard.phase == RootPhase::Running
            };
        };
        let parent_state = self.look(parent, slot);
        let (runs, over) = match (node.phase, parent_state.state) {
            (Phase::Body, State::Body) => {
                let choice = matches!(
                    self.layout
                        .nodes
                        .get(usize::from(parent))
                        .map(|parent| &parent.kind),
                    Some(NodeKind::Choice { .. })
                );
                let taken = !choice || node.branch == Some(parent_state.detail);
                (taken, !taken)
            }
            (Phase::Errors, State::Errors) | (Phase::Finally, State::Finally) => (true, false),
            (Phase::Body, State::Errors | State::Finally) | (Phase::Errors, State::Finally) => {
                (false, true)
            }
            (Phase::Body | Phase::Errors | Phase::Finally, state) => (false, state.is_terminal()),
        };
        if over {
            self.end(slot, State::Omitted, Reason::NotTaken);
        }
        runs
    }

    fn children_of(&self, parent: NodeIndex) -> &[NodeIndex] {
        self.layout
            .nodes
            .get(usize::from(parent))
            .map_or(&[], |node| &node.children)
    }

    fn sibling_failed(&self, parent: NodeIndex, slot: u16) -> bool {
        self.children_of(parent)
            .iter()
            .any(|&child| self.look(child, slot).state == State::Failed)
    }

    /// Siblings that have begun and are not over.
    fn siblings_active(&self, parent: NodeIndex, slot: u16) -> usize {
        let active = |&&child: &&NodeIndex| {
            let state = self.look(child, slot).state;
            state != State::Waiting && !state.is_terminal()
        };
        self.children_of(parent).iter().filter(active).count()
    }

    fn step_group(&mut self, slot: u16) {
        if matches!(self.node(slot).kind, NodeKind::Loop { .. }) {
            return; // Its chunks say when it is over.
        }
        let state = self.slot(slot).state;
        let running = if state == State::Errors {
            Phase::Errors
        } else if state == State::Finally {
            Phase::Finally
        } else {
            Phase::Body
        };
        let mut children = Children::default();
        let (mut has_errors, mut has_finally) = (false, false);
        for &child in &self.node(slot).children {
            let phase = self
                .layout
                .nodes
                .get(usize::from(child))
                .map_or(Phase::Body, |n| n.phase);
            let child = self.look(child, slot);
            if phase == running && !child.state.is_terminal() {
                return;
            }
            has_errors |= phase == Phase::Errors;
            has_finally |= phase == Phase::Finally;
            children.add(child);
        }
        let next = if self.killed(slot) {
            None
        } else {
            match running {
                Phase::Body if children.failed && has_errors => Some(State::Errors),
                Phase::Body | Phase::Errors if has_finally => Some(State::Finally),
                Phase::Body | Phase::Errors | Phase::Finally => None,
            }
        };
        match next {
            Some(next) => self.slot_mut(slot).state = next,
            None => self.end_group(slot, children),
        }
    }

    fn end_group(&mut self, slot: u16, children: Children) {
        if !self.killed(slot) {
            let (state, reason) = children.result();
            return self.end(slot, state, reason);
        }
        if self.is_root() && slot == 0 {
            let cause = self.shard.kill_reason;
            let (state, reason) = if let Some(state) = self.shard.exit {
                (state, Reason::None)
            } else if matches!(cause, Reason::ExecutionTimeout | Reason::Poisoned) {
                (State::Failed, cause)
            } else if cause == Reason::ServiceLevel {
                (State::Cancelled, cause)
            } else {
                (State::Killed, Reason::Kill)
            };
            // An unknown outcome inside must keep the lock for its quarantine whatever else happened.
            let reason = if children.unknown {
                Reason::OutcomeUnknown
            } else {
                reason
            };
            return self.end(slot, state, reason);
        }
        let reason = if children.unknown {
            Reason::OutcomeUnknown
        } else {
            Reason::Kill
        };
        self.end(slot, State::Killed, reason);
    }

    /// The result of one iteration of a chunk; none while it is not over.
    pub(super) fn iteration(&self, item: u16) -> Option<(State, bool)> {
        let nodes = u16::try_from(self.layout.nodes.len()).unwrap_or(u16::MAX);
        let mut children = Children::default();
        // A body whose tasks are all disabled has nothing that could be cancelled.
        let mut began = nodes == 0;
        for (index, node) in (0_u16..).zip(self.layout.nodes) {
            if node.parent.is_none() {
                let root = self.slot(item * nodes + index);
                if !root.state.is_terminal() {
                    return None;
                }
                began |= root.state != State::Cancelled;
                children.add(*root);
            }
        }
        let state = if began {
            children.result().0
        } else {
            State::Cancelled
        };
        Some((state, children.unknown))
    }

    /// The execution as a whole.
    fn step_root(&mut self) -> bool {
        if !self.is_root() {
            return false;
        }
        let Some(flow) = self.shard.slots.first().copied() else {
            return false;
        };
        match self.shard.phase {
            RootPhase::Running if flow.state.is_terminal() => {
                let retry = (flow.state == State::Failed && !self.shard.kill)
                    .then(|| self.flow_retry())
                    .flatten();
                if let Some(delay) = retry {
                    self.shard.phase = RootPhase::Retrying;
                    self.shard.deadline = self.shard.tick_of(self.now.plus(delay));
                } else {
                    self.shard.phase = RootPhase::Ended;
                    self.shard.deadline = 0;
                }
                true
            }
            RootPhase::Ended => {
                let after = self
                    .slots()
                    .find(|&slot| self.node(slot).parent.is_none() && self.node(slot).after);
                if after.is_none_or(|slot| self.slot(slot).state.is_terminal()) {
                    self.shard.phase = RootPhase::Over;
                    return true;
                }
                false
            }
            RootPhase::New
            | RootPhase::Queued
            | RootPhase::Running
            | RootPhase::Retrying
            | RootPhase::Over => false,
        }
    }
}
