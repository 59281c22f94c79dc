//! A new round: which task runs begin again, and which keep what they did.
//!
//! A restart lets everything begin again that has not succeeded. A retry of failed items ([`Event::Restart`] with
//! `tolerated`) also lets begin again what failed inside loops and was tolerated there, and everything that depends
//! on it: what follows a loop has seen its outputs, and would else go on with those of before.
//!
//! Invariant: a task run begins again only if all groups around it do.
//!
//! [`Event::Restart`]: super::Event::Restart

use super::view::View;
use super::{Reason, RootPhase, Shard, Slot, State};
use crate::plan::{Layout, Node, NodeIndex, NodeKind, Phase, Place};

impl View<'_> {
    /// Begins a new round: what has not succeeded waits again, attempts go on counting, and what other
    /// shards said before no longer counts. With `tolerated`, so do the failed items that loops tolerated.
    pub(super) fn reset(&mut self, round: u8, tolerated: bool) {
        self.shard.tolerated = tolerated;
        let mut marks = vec![Again::No; self.shard.slots.len()];
        // A dependency may have a higher slot than its dependent. Marks only grow, so this ends.
        loop {
            let before = marks.clone();
            for slot in self.slots() {
                let mark = self.again(slot, &marks);
                if let Some(place) = marks.get_mut(usize::from(slot)) {
                    *place = mark.max(*place);
                }
            }
            if before == marks {
                break;
            }
        }
        for (slot, mark) in self.slots().zip(marks) {
            if mark != Again::No {
                // A loop that was repeated as often as it may be has nothing left to go on with.
                let spent = self.slot(slot).reason() == Reason::LimitReached;
                self.renew(slot, mark == Again::Afresh || spent);
            }
        }
        self.shard.round = round;
        self.shard.open = false;
        self.shard.kill = false;
        self.shard.kill_after = false;
        self.shard.kill_reason = Reason::None;
        self.shard.exit = None;
        self.shard.stop = false;
        self.shard.next_open = false;
        self.shard.started = 0;
        self.shard.ahead = 0;
        self.shard.deadline = 0;
        self.shard.phase = RootPhase::New;
        self.shard.mirrors.fill(super::Seen::Nothing);
    }

    /// Puts a task run back to its beginning; `afresh` also forgets what a loop has done.
    pub(super) fn renew(&mut self, slot: u16, afresh: bool) {
        let is_loop = matches!(self.node(slot).kind, NodeKind::Loop { .. });
        let task_run = self.slot_mut(slot);
        let attempt = task_run.attempt.saturating_add(u8::from(is_loop && afresh));
        *task_run = Slot {
            attempt,
            detail: if is_loop { 0 } else { attempt },
            ..Slot::default()
        };
    }

    fn again(&self, slot: u16, marks: &[Again]) -> Again {
        let node = self.node(slot);
        let parent = match node.parent {
            None if node.after => return Again::Afresh,
            None => Again::Failed,
            Some(parent) => match self.slot_of(parent, slot) {
                Some(parent) => marks.get(usize::from(parent)).copied().unwrap_or(Again::No),
                None if self.left_out(slot) => Again::Failed,
                None if self.look(parent, slot).state.lets_pass() => Again::No,
                None => Again::Failed,
            },
        };
        match parent {
            Again::No => Again::No,
            Again::Afresh => Again::Afresh,
            Again::Failed if node.after || node.phase != Phase::Body => Again::Afresh,
            Again::Failed if self.follows_an_item(slot, marks) => Again::Afresh,
            Again::Failed if self.shard.tolerated && self.holds_failed_items(slot) => Again::Failed,
            Again::Failed if self.slot(slot).state.lets_pass() && !self.left_some_out(slot) => {
                Again::No
            }
            Again::Failed => Again::Failed,
        }
    }

    /// Whether something it depends on begins again in a retry of failed items.
    fn follows_an_item(&self, slot: u16, marks: &[Again]) -> bool {
        let begins = |&dep: &NodeIndex| {
            let mark = self
                .slot_of(dep, slot)
                .and_then(|dep| marks.get(usize::from(dep)));
            mark.is_some_and(|mark| *mark != Again::No)
        };
        self.shard.tolerated && self.node(slot).deps.iter().any(begins)
    }

    /// Whether an item of a loop failed in it: in a chunk, the task run itself may be what failed.
    fn holds_failed_items(&self, slot: u16) -> bool {
        let node = self.node(slot);
        match &node.kind {
            NodeKind::Loop { .. } => node.item_failed(*self.slot(slot)),
            NodeKind::Group { .. } | NodeKind::Choice { .. } => {
                let mut children = node.children.iter();
                children.any(|&child| {
                    let child = self.slot_of(child, slot);
                    child.is_some_and(|child| self.holds_failed_items(child))
                })
            }
            NodeKind::Task(_)
            | NodeKind::Pause { .. }
            | NodeKind::Sleep { .. }
            | NodeKind::Check(_) => self.is_chunk() && node.item_failed(*self.slot(slot)),
        }
    }

    /// Whether anything failed in the iteration `item` of this chunk, also if that was tolerated.
    pub(super) fn iteration_failed(&self, item: u16) -> bool {
        item_failed(&self.layout, &self.shard, item)
    }

    /// Whether a failure in another part of a large flow left the task run out. Its own part succeeded without it.
    fn left_out(&self, slot: u16) -> bool {
        let (task_run, parent) = (self.slot(slot), self.node(slot).parent);
        let parent = parent.and_then(|parent| self.layout.nodes.get(usize::from(parent)));
        task_run.state == State::Omitted
            && task_run.reason() == Reason::Upstream
            // The flow itself is no part: when that passed, it was ended so.
            && parent.is_some_and(|parent| parent.hidden && parent.parent.is_some())
    }

    /// Whether it is a part of a large flow that succeeded without some of its tasks.
    fn left_some_out(&self, slot: u16) -> bool {
        let node = self.node(slot);
        let omitted = |&child: &NodeIndex| {
            let phase = self.layout.nodes.get(usize::from(child)).map(|n| n.phase);
            phase == Some(Phase::Body) && self.look(child, slot).state == State::Omitted
        };
        let ran = matches!(self.slot(slot).state, State::Success | State::Warning);
        let inside = node.hidden && node.parent.is_some();
        let part = ran && inside && matches!(node.kind, NodeKind::Group { .. });
        part && node.children.iter().any(omitted)
    }
}

/// What a new round does with a task run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Again {
    /// Nothing: it succeeded.
    No,
    /// It has not succeeded and gets another chance.
    Failed,
    /// It belongs to a handler, or follows an item that begins again: it runs anew whatever it did before.
    Afresh,
}

impl Node {
    /// Whether a task run of this node is, or as a loop has inside, what makes an item a failed one.
    fn item_failed(&self, task_run: Slot) -> bool {
        let reason = task_run.reason();
        match task_run.state {
            State::Failed | State::Killed => true,
            State::Success | State::Warning => match &self.kind {
                NodeKind::Loop { .. } => {
                    matches!(reason, Reason::ChildFailed | Reason::OutcomeUnknown)
                }
                // A task's own warning has no reason, or that it took several attempts.
                NodeKind::Task(_) => {
                    self.allow_failure && !matches!(reason, Reason::None | Reason::Retried)
                }
                NodeKind::Group { .. }
                | NodeKind::Choice { .. }
                | NodeKind::Pause { .. }
                | NodeKind::Sleep { .. }
                | NodeKind::Check(_) => false,
            },
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
            | State::Skipped
            | State::Omitted
            | State::Cancelled => false,
        }
    }
}

fn item_failed(layout: &Layout<'_>, shard: &Shard, item: u16) -> bool {
    let first = usize::from(item) * layout.nodes.len();
    let slots = shard.slots.iter().skip(first);
    let mut both = layout.nodes.iter().zip(slots);
    both.any(|(node, slot)| node.item_failed(*slot))
}

/// How many items of a chunk failed, also if that was tolerated; 0 of a shard that is no chunk.
#[must_use]
pub fn failed_items(layout: &Layout<'_>, shard: &Shard) -> usize {
    match layout.place {
        Place::Static(_) => 0,
        Place::Chunk { .. } => (0..shard.items)
            .filter(|item| item_failed(layout, shard, *item))
            .count(),
    }
}
