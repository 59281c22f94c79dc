//! [`apply`]: events in, next state and commands out.

use super::commands::{self, Scope};
use super::view::View;
use super::{Command, Event, Outcome, Reason, RootPhase, Seen, Shard, State, Time, Truth, Verdict};
use crate::lang::model::{FlowRetryBehavior, PauseBehavior, SlaBehavior, SlaKind};
use crate::plan::{Layout, NodeKind, Place, Plan, ShardId};

/// Milliseconds after which the runtime and other shards are asked again (aws.md 6.2: much less than the
/// hour for which ECS remembers a stopped task).
pub const PROBE_INTERVAL_MS: u64 = 5 * 60 * 1000;

/// Milliseconds beyond its timeout that an attempt gets to be placed, pulled and reported.
pub const LAUNCH_GRACE_MS: u64 = 15 * 60 * 1000;

/// Milliseconds an attempt gets when its timeout is an expression; the runner enforces the real one.
pub const TIMEOUT_UNKNOWN_MS: u64 = 24 * 60 * 60 * 1000;

/// Applies `events` to the shard `at` of an execution of `plan` and returns the next state and the commands
/// it calls for.
///
/// When an event changes nothing (it came twice, or late), the commands of its task run and of those that
/// follow are derived from state again: redelivery heals a crash between the write and the sending.
/// Events that name what the plan does not have change nothing.
#[must_use]
pub fn apply(
    plan: &Plan,
    at: &ShardId,
    shard: &Shard,
    events: &[Event],
    now: Time,
) -> (Shard, Vec<Command>) {
    let Some(layout) = Layout::of(plan, at) else {
        return (shard.clone(), Vec::new());
    };
    let mut turn = View::new(plan, at, layout, shard.clone(), now);
    let mut scope = Scope::default();
    let told = turn.chain();
    for event in events {
        let before = turn.shard.clone();
        turn.ticking = matches!(event, Event::Tick);
        turn.take(event, &mut scope);
        turn.settle();
        scope.add_changes(&before, &turn.shard);
        if before == turn.shard {
            scope.add_event(&turn, event);
        }
    }
    turn.arm_probe();
    scope.chain |= turn.chain() != told;
    let commands = commands::derive(&turn, &scope);
    (turn.shard, commands)
}

/// The commands that the whole shard calls for, derived from its state alone. With `probe`, the runtime is
/// asked for every attempt that may be alive, and other shards for every fact that is missing: what an
/// engine does when it starts, and what a tick does when the probe is due.
#[must_use]
pub fn commands_of(plan: &Plan, at: &ShardId, shard: &Shard, probe: bool) -> Vec<Command> {
    let Some(layout) = Layout::of(plan, at) else {
        return Vec::new();
    };
    let view = View::new(plan, at, layout, shard.clone(), shard.epoch);
    commands::derive(&view, &Scope::all(probe))
}

impl View<'_> {
    fn take(&mut self, event: &Event, scope: &mut Scope) {
        match event {
            Event::Start => self.on_start(),
            Event::Admitted => {
                if self.shard.phase == RootPhase::Queued {
                    self.run_flow();
                }
            }
            Event::Refused { state } => self.on_refused(*state),
            Event::Started { slot, attempt } => {
                if self.live(*slot, *attempt) && self.slot(*slot).state == State::Launching {
                    self.slot_mut(*slot).state = State::Running;
                }
            }
            Event::Done {
                slot,
                attempt,
                outcome,
                age_ms,
            } => {
                if self.live(*slot, *attempt) {
                    self.attempt_ended(*slot, *outcome, *age_ms);
                }
            }
            Event::Stopped { slot, attempt } => {
                if self.live(*slot, *attempt) && self.slot(*slot).state == State::Killing {
                    self.attempt_ended(*slot, Outcome::Failed(Reason::Timeout), 0);
                }
            }
            Event::Probed {
                slot,
                attempt,
                truth,
            } => self.on_probed(*slot, *attempt, *truth),
            Event::Decided { slot, verdict } => self.on_decided(*slot, *verdict),
            Event::Resume { slot, go_on } => {
                let waits = self.has(*slot) && self.slot(*slot).state == State::Paused;
                if waits && !matches!(self.node(*slot).kind, NodeKind::Check(_)) {
                    if *go_on {
                        self.end(*slot, State::Success, Reason::None);
                    } else {
                        self.end(*slot, State::Failed, Reason::TaskFailed);
                    }
                }
            }
            Event::Notify {
                round,
                node,
                seen,
                kill,
                again: _,
            } => self.on_notify(*round, *node, *seen, *kill),
            Event::Ahead { .. } => self.on_ahead(event),
            Event::LoopDone {
                round,
                generation,
                slot,
                counts,
                limit,
            } => {
                let current = *round == self.shard.round
                    && self.has(*slot)
                    && self.slot(*slot).attempt == *generation
                    && self.shard.is_loop_body(&self.layout, usize::from(*slot));
                if current {
                    self.loop_ended(*slot, *counts, *limit);
                }
            }
            Event::Asked { by } => scope.asked.push(by.clone()),
            Event::Tick => self.on_tick(scope),
            Event::Kill { reason, round } => {
                if self.is_meant(*round) {
                    self.on_kill(*reason);
                }
            }
            Event::Exit { state, round } => {
                let running = self.shard.phase == RootPhase::Running;
                if state.is_terminal() && running && self.is_meant(*round) {
                    self.on_kill(Reason::None);
                    self.shard.exit = Some(*state);
                }
            }
            Event::Restart { round, tolerated } => {
                let over = self.shard.phase == RootPhase::Over;
                if over && self.shard.round.checked_add(1) == Some(*round) {
                    self.reset(*round, *tolerated && self.plan.is_one_shard());
                    self.on_start();
                }
            }
        }
    }

    /// Whether `attempt` of the task run is the one that may be alive: the fence of invariant 2.
    fn live(&self, slot: u16, attempt: u8) -> bool {
        self.has(slot) && {
            let slot = self.slot(slot);
            slot.state.is_live() && slot.attempt == attempt
        }
    }

    /// Whether an event that may name a round means the present one.
    fn is_meant(&self, round: Option<u8>) -> bool {
        round.is_none_or(|round| round == self.shard.round)
    }

    fn on_start(&mut self) {
        if !self.is_root() || self.shard.phase != RootPhase::New {
            return;
        }
        self.shard.open = true;
        if self.plan.concurrency.is_some() {
            self.shard.phase = RootPhase::Queued;
        } else {
            self.run_flow();
        }
    }

    /// The flow begins: its deadline is the earliest of its timeout and the service levels that end it.
    fn run_flow(&mut self) {
        self.shard.phase = RootPhase::Running;
        self.shard.deadline = self
            .limit()
            .map_or(0, |(ms, _)| self.shard.tick_of(self.now.plus(ms)));
    }

    /// The earliest limit on the execution's duration in milliseconds, and what exceeding it means.
    fn limit(&self) -> Option<(u64, Reason)> {
        let timeout = self
            .plan
            .timeout_ms
            .map(|ms| (ms, Reason::ExecutionTimeout));
        let levels = self
            .plan
            .sla
            .iter()
            .filter_map(|sla| match (&sla.kind, sla.behavior) {
                (SlaKind::MaxDuration { duration_ms }, SlaBehavior::Fail) => {
                    Some((*duration_ms, Reason::ExecutionTimeout))
                }
                (SlaKind::MaxDuration { duration_ms }, SlaBehavior::Cancel) => {
                    Some((*duration_ms, Reason::ServiceLevel))
                }
                (SlaKind::MaxDuration { .. } | SlaKind::ExecutionAssertion { .. }, _) => None,
            });
        timeout.into_iter().chain(levels).min_by_key(|(ms, _)| *ms)
    }

    fn on_refused(&mut self, state: State) {
        if self.shard.phase == RootPhase::Queued {
            let state = if state == State::Failed {
                state
            } else {
                State::Cancelled
            };
            self.never_begins(state, Reason::ConcurrencyLimit);
        }
    }

    /// Ends a round that was only queued. What an earlier round finished stays as it is.
    fn never_begins(&mut self, state: State, reason: Reason) {
        for slot in self.slots() {
            let end = if slot == 0 { state } else { State::Cancelled };
            if !self.slot(slot).state.is_terminal() {
                self.end(slot, end, reason);
            }
        }
        self.shard.phase = RootPhase::Over;
    }

    fn on_probed(&mut self, slot: u16, attempt: u8, truth: Truth) {
        if !self.live(slot, attempt) {
            return;
        }
        match (self.slot(slot).state, truth) {
            (State::Launching, Truth::Alive) => self.slot_mut(slot).state = State::Running,
            (_, Truth::Ended(outcome)) => self.attempt_ended(slot, outcome, 0),
            (State::Killing, Truth::Gone) => {
                self.attempt_ended(slot, Outcome::Failed(Reason::Timeout), 0);
            }
            (_, Truth::Gone) => {
                self.attempt_ended(slot, Outcome::Failed(Reason::Lost), 0);
            }
            // Running or being stopped is what the core believes already; an absent attempt is launched, or
            // stopped for good, once more under the same name. An attempt known to run was absent when the
            // question was older than its launch: taking it for lost would start a second one beside it.
            (_, Truth::Alive | Truth::Absent) => {}
        }
    }

    fn on_decided(&mut self, slot: u16, verdict: Verdict) {
        if !self.has(slot) {
            return;
        }
        let state = self.slot(slot).state;
        if state != State::Gate && state != State::Deciding {
            return;
        }
        let kind = &self.node(slot).kind;
        match (state, verdict, kind) {
            (_, Verdict::Error, _) => self.fail(slot, Reason::Expression),
            (State::Gate, Verdict::Gate(true), _) => self.begin(slot),
            (State::Gate, Verdict::Gate(false), _) => {
                self.end(slot, State::Skipped, Reason::None);
            }
            (State::Deciding, Verdict::Branch(branch), NodeKind::Choice { .. }) => {
                // Without a branch it still waits for its tasks to be omitted, and counts what a former
                // round left in them: a warning there may hold an unknown outcome, and with it the lock.
                let slot = self.slot_mut(slot);
                slot.state = State::Body;
                slot.detail = branch.unwrap_or(u8::MAX);
            }
            (State::Deciding, Verdict::Count(count), NodeKind::Loop { .. }) => {
                if count == 0 {
                    self.end(slot, State::Success, Reason::None);
                } else {
                    let slot = self.slot_mut(slot);
                    slot.state = State::Body;
                    slot.due = count;
                }
            }
            (
                State::Deciding,
                Verdict::Wait(wait),
                NodeKind::Pause { .. } | NodeKind::Sleep { .. },
            ) => self.pause(slot, wait),
            (State::Deciding, Verdict::Gate(holds), NodeKind::Check(until)) => {
                self.checked(slot, holds, until);
            }
            // A verdict of the wrong kind is a stale answer to another question.
            (_, _, _) => {}
        }
    }

    fn on_notify(&mut self, round: u8, node: u16, seen: Seen, kill: bool) {
        let Place::Static(part) = self.layout.place else {
            return;
        };
        let Ok(index) = part.mirrors.binary_search(&node) else {
            return;
        };
        if round > self.shard.round {
            self.reset(round, false);
        }
        if round < self.shard.round {
            return;
        }
        self.shard.open = true;
        if let Some(mirror) = self.shard.mirrors.get_mut(index) {
            // States only grow, except that a choice of words for the same terminal state is final.
            if !mirror.state().is_terminal() {
                *mirror = (*mirror).max(seen);
            }
        }
        if kill {
            let after = self
                .layout
                .nodes
                .get(usize::from(node))
                .is_some_and(|node| node.after);
            if after {
                self.shard.kill_after = true;
            } else {
                self.shard.kill = true;
            }
        }
    }

    fn on_tick(&mut self, scope: &mut Scope) {
        let now = self.shard.tick_of(self.now);
        if self.is_root() && self.shard.deadline != 0 && self.shard.deadline <= now {
            match self.shard.phase {
                RootPhase::Running => {
                    let reason = self
                        .limit()
                        .map_or(Reason::ExecutionTimeout, |(_, reason)| reason);
                    self.on_kill(reason);
                }
                RootPhase::Retrying => {
                    if let Some(round) = self.shard.round.checked_add(1) {
                        self.reset(round, false);
                        self.run_flow();
                    }
                }
                RootPhase::New | RootPhase::Queued | RootPhase::Ended | RootPhase::Over => {
                    self.shard.deadline = 0;
                }
            }
        }
        for slot in self.slots() {
            let task_run = *self.slot(slot);
            if task_run.due == 0 || task_run.due > now {
                continue;
            }
            match task_run.state {
                State::Launching | State::Running => {
                    let task_run = self.slot_mut(slot);
                    task_run.state = State::Killing;
                    task_run.due = 0;
                }
                State::Paused => self.pause_over(slot),
                State::Waiting
                | State::Gate
                | State::Deciding
                | State::RetryWait
                | State::Killing
                | State::Body
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
        }
        if self.shard.probe != 0 && self.shard.probe <= now {
            self.shard.probe = 0;
            scope.everything = true;
            scope.probe = true;
        }
    }

    /// The duration of a pause or sleep has passed.
    fn pause_over(&mut self, slot: u16) {
        match &self.node(slot).kind {
            NodeKind::Pause { behavior, .. } => match behavior {
                PauseBehavior::Resume => self.end(slot, State::Success, Reason::None),
                PauseBehavior::Warn => self.end(slot, State::Warning, Reason::Timeout),
                PauseBehavior::Fail => self.fail(slot, Reason::Timeout),
                PauseBehavior::Cancel => self.end(slot, State::Cancelled, Reason::ServiceLevel),
            },
            NodeKind::Sleep { .. } => self.end(slot, State::Success, Reason::None),
            // The next iteration's time has come.
            NodeKind::Check(_) => self.end(slot, State::Skipped, Reason::None),
            NodeKind::Task(_)
            | NodeKind::Group { .. }
            | NodeKind::Choice { .. }
            | NodeKind::Loop { .. } => {}
        }
    }

    fn on_kill(&mut self, reason: Reason) {
        if !self.is_root() {
            return;
        }
        match self.shard.phase {
            RootPhase::New | RootPhase::Queued => {
                self.never_begins(State::Killed, Reason::Kill);
            }
            RootPhase::Retrying => {
                self.shard.phase = RootPhase::Running;
                self.shard.kill = true;
                self.shard.kill_reason = reason;
                self.shard.deadline = 0;
            }
            RootPhase::Running => {
                if !self.shard.kill {
                    self.shard.kill = true;
                    self.shard.kill_reason = reason;
                    self.shard.deadline = 0;
                }
            }
            RootPhase::Ended => self.shard.kill_after = true,
            RootPhase::Over => {}
        }
    }

    /// Whether a failed flow is tried again in the same execution; if so, after how many milliseconds.
    pub(super) fn flow_retry(&self) -> Option<u64> {
        let policy = self.plan.retry.as_ref()?;
        let tries = self.shard.round.checked_add(1)?;
        // Nobody but a person may launch again what is not idempotent (invariant 3), and the flow does not
        // know which of its tasks were launched.
        let allowed = policy.behavior == FlowRetryBehavior::RetryFailedTask
            && self.plan.is_repeatable()
            && policy.retry.max_attempts.is_none_or(|max| tries < max);
        let delay = self.retry_delay(&policy.retry.interval, tries, 0);
        let in_time = policy.retry.max_duration_ms.is_none_or(|max| {
            self.now
                .0
                .saturating_sub(self.shard.epoch.0)
                .saturating_add(delay)
                <= max
        });
        (allowed && in_time).then_some(delay)
    }
}
