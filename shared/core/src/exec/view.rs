//! A shard with its plan at hand: reading neighbours, beginning and ending task runs.

use super::apply::{LAUNCH_GRACE_MS, PROBE_INTERVAL_MS, TIMEOUT_UNKNOWN_MS};
use super::{Counts, Outcome, Reason, RootPhase, Shard, Slot, State, Time};
use crate::lang::model::{Dynamic, LoopValues, RetryInterval};
use crate::plan::{Layout, Node, NodeIndex, NodeKind, Place, Plan, ShardId};

/// Milliseconds before the first free attempt; doubled for each further one.
const FREE_DELAY_MS: u64 = 1000;

/// One turn of the planner over one shard.
pub(super) struct View<'a> {
    pub(super) plan: &'a Plan,
    pub(super) at: &'a ShardId,
    pub(super) layout: Layout<'a>,
    pub(super) shard: Shard,
    pub(super) now: Time,
    /// The event being taken is a tick: only that launches what waited for its time, because a tick that is
    /// redelivered says everything again and other events only what is theirs.
    pub(super) ticking: bool,
}

impl<'a> View<'a> {
    pub(super) fn new(
        plan: &'a Plan,
        at: &'a ShardId,
        layout: Layout<'a>,
        shard: Shard,
        now: Time,
    ) -> Self {
        Self {
            plan,
            at,
            layout,
            shard,
            now,
            ticking: false,
        }
    }

    pub(super) fn is_root(&self) -> bool {
        *self.at == ShardId::ROOT
    }

    pub(super) fn is_chunk(&self) -> bool {
        matches!(self.layout.place, Place::Chunk { .. })
    }

    pub(super) fn slots(&self) -> std::ops::Range<u16> {
        0..u16::try_from(self.shard.slots.len()).unwrap_or(u16::MAX)
    }

    pub(super) fn has(&self, slot: u16) -> bool {
        usize::from(slot) < self.shard.slots.len()
    }

    /// The task run in `slot`, which must exist.
    pub(super) fn slot(&self, slot: u16) -> &Slot {
        &self.shard.slots[usize::from(slot)]
    }

    pub(super) fn slot_mut(&mut self, slot: u16) -> &mut Slot {
        &mut self.shard.slots[usize::from(slot)]
    }

    pub(super) fn node_index(&self, slot: u16) -> NodeIndex {
        self.layout.node_of(slot).unwrap_or_default()
    }

    /// What the task run in `slot`, which must exist, is an instance of.
    pub(super) fn node(&self, slot: u16) -> &'a Node {
        &self.layout.nodes[usize::from(self.node_index(slot))]
    }

    /// The slot of `node` in the same iteration as `slot`; none if it lives in another shard.
    pub(super) fn slot_of(&self, node: NodeIndex, beside: u16) -> Option<u16> {
        match self.layout.place {
            Place::Static(part) => part
                .slots
                .binary_search(&node)
                .ok()
                .and_then(|index| u16::try_from(index).ok()),
            Place::Chunk { .. } => {
                let nodes = u16::try_from(self.layout.nodes.len()).unwrap_or(u16::MAX);
                Some(self.layout.item_of(beside) * nodes + node)
            }
        }
    }

    /// State of a neighbour, here or mirrored, with its branch (an active choice) or reason (terminal).
    pub(super) fn look(&self, node: NodeIndex, beside: u16) -> Slot {
        if let Some(slot) = self.slot_of(node, beside) {
            return *self.slot(slot);
        }
        let Place::Static(part) = self.layout.place else {
            return Slot::default();
        };
        let seen = part
            .mirrors
            .binary_search(&node)
            .ok()
            .and_then(|index| self.shard.mirrors.get(index))
            .copied()
            .unwrap_or_default();
        let reason = if seen.is_unknown() {
            Reason::OutcomeUnknown
        } else {
            Reason::None
        };
        Slot {
            state: seen.state(),
            detail: reason as u8,
            ..Slot::default()
        }
    }

    /// Whether the task run is to be killed.
    pub(super) fn killed(&self, slot: u16) -> bool {
        if self.node(slot).after {
            self.shard.kill_after
        } else {
            self.shard.kill
        }
    }

    /// Moves to a terminal state.
    pub(super) fn end(&mut self, slot: u16, state: State, reason: Reason) {
        let node = self.node(slot);
        // One after the other, as Kestra does: a failure that is allowed is a warning, which may be allowed, too.
        let state = if state == State::Failed && node.allow_failure {
            State::Warning
        } else {
            state
        };
        let state = if state == State::Warning && node.allow_warning {
            State::Success
        } else {
            state
        };
        let task_run = self.slot_mut(slot);
        task_run.state = state;
        task_run.detail = reason as u8;
        task_run.due = 0;
    }

    pub(super) fn fail(&mut self, slot: u16, reason: Reason) {
        self.end(slot, State::Failed, reason);
    }

    /// All conditions hold: evaluates `when` if there is one, else begins.
    pub(super) fn enter(&mut self, slot: u16) {
        if self.node(slot).when.is_some() {
            self.slot_mut(slot).state = State::Gate;
        } else {
            self.begin(slot);
        }
    }

    /// Begins what the node is.
    pub(super) fn begin(&mut self, slot: u16) {
        match &self.node(slot).kind {
            NodeKind::Task(_) => self.launch(slot),
            NodeKind::Group { .. } => {
                let task_run = self.slot_mut(slot);
                task_run.state = State::Body;
                task_run.detail = 0;
            }
            NodeKind::Choice { .. } | NodeKind::Loop { .. } | NodeKind::Check(_) => {
                self.slot_mut(slot).state = State::Deciding;
            }
            NodeKind::Pause { duration, .. } => match duration {
                None => self.pause(slot, None),
                Some(Dynamic::Constant(ms)) => self.pause(slot, Some(*ms)),
                Some(Dynamic::Template(_)) => self.slot_mut(slot).state = State::Deciding,
            },
            NodeKind::Sleep { duration } => match duration {
                Dynamic::Constant(ms) => self.pause(slot, Some(*ms)),
                Dynamic::Template(_) => self.slot_mut(slot).state = State::Deciding,
            },
        }
    }

    pub(super) fn pause(&mut self, slot: u16, wait: Option<u64>) {
        let due = wait.map_or(0, |ms| self.shard.tick_of(self.now.plus(ms)));
        let task_run = self.slot_mut(slot);
        task_run.state = State::Paused;
        task_run.due = due;
    }

    /// The next attempt is to be launched.
    pub(super) fn launch(&mut self, slot: u16) {
        let NodeKind::Task(task) = &self.node(slot).kind else {
            return;
        };
        let timeout = match task.timeout_ms {
            Dynamic::Constant(ms) => ms,
            Dynamic::Template(_) => TIMEOUT_UNKNOWN_MS,
        };
        let due = self
            .shard
            .tick_of(self.now.plus(timeout).plus(LAUNCH_GRACE_MS));
        let task_run = self.slot_mut(slot);
        match task_run.attempt.checked_add(1) {
            Some(attempt) => {
                task_run.state = State::Launching;
                task_run.attempt = attempt;
                task_run.due = due;
            }
            // Attempts are numbered by one byte; 255 of one task run are not a plan but a mistake.
            None => self.fail(slot, Reason::Launch),
        }
    }

    /// The live attempt is over.
    pub(super) fn attempt_ended(&mut self, slot: u16, outcome: Outcome, age_ms: u64) {
        let NodeKind::Task(task) = &self.node(slot).kind else {
            return;
        };
        if self.killed(slot) && self.slot(slot).state == State::Killing {
            // Nobody knows how far it came before it was stopped, so its lock is kept for its quarantine.
            let unknown = !task.idempotent && outcome.leaves_unknown();
            let reason = if unknown {
                Reason::OutcomeUnknown
            } else {
                Reason::Kill
            };
            return self.end(slot, State::Killed, reason);
        }
        match outcome {
            Outcome::Success => {
                let task_run = self.slot(slot);
                let retried = task_run.attempt.saturating_sub(task_run.detail) > 1
                    && task
                        .retry
                        .as_ref()
                        .is_some_and(|retry| retry.warning_on_retry);
                if retried {
                    self.end(slot, State::Warning, Reason::Retried);
                } else {
                    self.end(slot, State::Success, Reason::None);
                }
            }
            Outcome::Warning => self.end(slot, State::Warning, Reason::None),
            Outcome::Failed(reason) => self.attempt_failed(slot, reason, age_ms),
        }
    }

    fn attempt_failed(&mut self, slot: u16, reason: Reason, age_ms: u64) {
        let NodeKind::Task(task) = &self.node(slot).kind else {
            return;
        };
        if !task.idempotent {
            let unknown = reason.leaves_outcome_unknown();
            return self.fail(
                slot,
                if unknown {
                    Reason::OutcomeUnknown
                } else {
                    reason
                },
            );
        }
        if self.killed(slot) {
            return self.end(slot, State::Killed, Reason::Kill);
        }
        let task_run = *self.slot(slot);
        if reason.is_infrastructure() && task_run.free < Slot::FREE_MAX {
            let delay = FREE_DELAY_MS << task_run.free;
            self.slot_mut(slot).free += 1;
            return self.retry_at(slot, delay);
        }
        let tries = task_run
            .attempt
            .saturating_sub(task_run.detail)
            .saturating_sub(task_run.free);
        let delay = task
            .retry
            .as_ref()
            .filter(|retry| reason.is_retriable() && retry.takes(reason))
            .and_then(|retry| {
                let delay = self.retry_delay(&retry.interval, tries.max(1), slot);
                let tries_left = retry.max_attempts.is_none_or(|max| tries < max);
                let in_time = retry
                    .max_duration_ms
                    .is_none_or(|max| age_ms.saturating_add(delay) <= max);
                (tries_left && in_time).then_some(delay)
            });
        match delay {
            Some(delay) => self.retry_at(slot, delay),
            None => self.fail(slot, reason),
        }
    }

    fn retry_at(&mut self, slot: u16, delay_ms: u64) {
        let due = self.shard.tick_of(self.now.plus(delay_ms));
        let task_run = self.slot_mut(slot);
        task_run.state = State::RetryWait;
        task_run.due = due;
    }

    /// Milliseconds to wait after the `tries`-th try.
    pub(super) fn retry_delay(&self, interval: &RetryInterval, tries: u8, slot: u16) -> u64 {
        // Executions differ by their epoch.
        let seed = self.shard.epoch.0 ^ u64::from(slot) << 40 ^ u64::from(tries) << 56;
        interval.delay_ms(tries, seed)
    }

    pub(super) fn loop_ended(&mut self, slot: u16, counts: Counts, limit: bool) {
        let NodeKind::Loop {
            transmit_failed,
            values,
            ..
        } = &self.node(slot).kind
        else {
            return;
        };
        // Says to a retry of failed items, and to people, that there are some.
        let tolerated = if counts.failed > 0 || counts.tolerated {
            Reason::ChildFailed
        } else {
            Reason::None
        };
        let (state, reason) = if self.killed(slot) {
            (State::Killed, Reason::Kill)
        } else if counts.failed > 0 && *transmit_failed {
            (State::Failed, Reason::ChildFailed)
        } else if counts.killed > 0 {
            (State::Killed, Reason::Kill)
        } else if counts.cancelled > 0 && counts.failed == 0 {
            (State::Cancelled, Reason::ServiceLevel)
        } else if limit && matches!(values, LoopValues::Until(until) if until.fail_on_max) {
            (State::Failed, Reason::LimitReached)
        } else if counts.warning > 0 || counts.failed > 0 {
            (State::Warning, tolerated)
        } else if limit {
            (State::Success, Reason::LimitReached)
        } else {
            (State::Success, tolerated)
        };
        // Whatever else happened: the lock depends on it.
        let unknown = counts.unknown > 0;
        self.end(
            slot,
            state,
            if unknown {
                Reason::OutcomeUnknown
            } else {
                reason
            },
        );
    }

    /// Sets or clears the time at which the runtime and other shards are asked again (invariant 4).
    pub(super) fn arm_probe(&mut self) {
        if self.is_complete() {
            self.shard.probe = 0;
        } else if self.shard.probe == 0 {
            self.shard.probe = self.shard.tick_of(self.now.plus(PROBE_INTERVAL_MS));
        }
    }

    /// Whether nothing here can change any more in this round.
    pub(super) fn is_complete(&self) -> bool {
        if self.is_root() {
            return self.shard.phase == RootPhase::Over;
        }
        if self.is_chunk() {
            return self.shard.open && self.shard.ahead == 0 && self.unfinished() == 0;
        }
        self.shard.open && self.shard.slots.iter().all(|slot| slot.state.is_terminal())
    }
}
