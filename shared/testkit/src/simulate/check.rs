//! What must hold at every write and at the end; the names are those of the invariants of the design.

use std::collections::BTreeSet;
use std::rc::Rc;

use operon_core::exec::{PROBE_INTERVAL_MS, Reason, RootPhase, Shard, Slot, State, Time};
use operon_core::plan::{Layout, NodeKind, Place, ShardId};
use rand::Rng;

use super::oracle::{Oracle, States};
use super::world::{Action, Attempt, Container, Key, World};
use super::{
    ALWAYS_DUE, LOCKS, NO_REPEAT, ONE_ATTEMPT, OUTCOME, STOPPED, Simulation, TERMINAL, WINDOW,
};

impl Simulation {
    /// What must hold between a shard and the one that replaces it.
    pub(super) fn check_write(
        &mut self,
        key: &Key,
        before: Option<&Shard>,
        next: &Shard,
        due: Option<u64>,
    ) {
        let place = || format!("{}/{}", key.execution, key.shard);
        let open = next.slots.iter().any(|slot| !slot.state.is_terminal());
        let over = next.phase == RootPhase::Over && key.shard == ShardId::ROOT;
        let latest = self.world.now + PROBE_INTERVAL_MS + 20;
        if open && !over && due.is_none_or(|due| due > latest) {
            let what = format!("{} is not over and due at {due:?}", place());
            self.world.violated(ALWAYS_DUE, what);
        }
        let Some(before) = before else { return };
        let same = (before.round, before.generation) == (next.round, next.generation);
        for (slot, (was, is)) in (0_u16..).zip(before.slots.iter().zip(&next.slots)) {
            let final_before = was.state.is_terminal() && same;
            // A handler's loop begins from scratch within a round only by a new generation.
            if final_before && was != is {
                let what = format!("{} slot {slot}: {was:?} became {is:?}", place());
                self.world.violated(TERMINAL, what);
            }
            let skips = is.attempt > was.attempt && was.state.is_live() && same;
            let step = is.attempt.checked_sub(was.attempt);
            if skips && step.is_none_or(|step| step > 1) {
                let what = format!("{} slot {slot}: {was:?} became {is:?}", place());
                self.world.violated(ONE_ATTEMPT, what);
            }
        }
        if key.shard == ShardId::ROOT {
            self.check_root(key.execution, before, next);
        }
    }

    fn check_root(&mut self, execution: usize, before: &Shard, next: &Shard) {
        let flow = next.slots.first().copied().unwrap_or_default();
        if before.phase != RootPhase::Ended && next.phase == RootPhase::Ended {
            let alive = self.alive(execution);
            if !alive.is_empty() {
                let what = format!("execution {execution} ended with {alive:?} alive");
                self.world.violated(STOPPED, what);
            }
        }
        if holds(next.phase) && !holds(before.phase) {
            self.check_lock(execution);
        }
        if before.round != next.round {
            self.end_round(execution, before.round);
        }
        // Also by a message that was said in the round before, and by one that came before the round began.
        let unbegun = matches!(before.phase, RootPhase::New | RootPhase::Queued);
        let refused = unbegun && flow.reason() == Reason::Kill;
        if next.kill || next.exit.is_some() || refused {
            self.killed.insert((execution, next.round));
        }
        if next.phase == RootPhase::Over
            && before.phase == RootPhase::Running
            && !flow.state.is_terminal()
        {
            let what = format!("execution {execution} is over in {:?}", flow.state);
            self.world.violated(TERMINAL, what);
        }
    }

    /// Attempts of an execution's tasks, `afterExecution` aside, that run.
    fn alive(&self, execution: usize) -> Vec<Attempt> {
        let of_flow = |attempt: &Attempt| {
            let shard = ShardId::of_part(attempt.key.shard.part());
            let slot = attempt
                .key
                .shard
                .path()
                .first()
                .map_or(attempt.slot, |(slot, _)| *slot);
            Layout::of(&self.world.plan, &shard)
                .and_then(|layout| {
                    let node = usize::from(layout.node_of(slot)?);
                    layout.nodes.get(node).map(|node| !node.after)
                })
                .unwrap_or(true)
        };
        self.world
            .containers
            .iter()
            .filter(|(attempt, container)| {
                attempt.key.execution == execution && **container == Container::Alive
            })
            .map(|(attempt, _)| attempt.clone())
            .filter(of_flow)
            .collect()
    }

    /// Never more executions at once than the lock allows, those in quarantine included.
    fn check_lock(&mut self, entering: usize) {
        let Some(limit) = self.world.plan.concurrency.as_ref().map(|c| c.limit) else {
            return;
        };
        let now = Time(self.world.now);
        let mut holders = vec![entering];
        for execution in (0..self.executions).filter(|e| *e != entering) {
            let Some(root) = self.world.root_shard(execution) else {
                continue;
            };
            let resting = self
                .quarantine(execution, &root)
                .is_some_and(|until| until > now);
            if holds(root.phase) || resting {
                holders.push(execution);
            }
        }
        if holders.len() > usize::try_from(limit).unwrap_or(usize::MAX) {
            let what = format!("executions {holders:?} run, {limit} may");
            self.world.violated(LOCKS, what);
        }
    }

    /// Until when an execution that is over keeps its slot.
    pub(super) fn quarantine(&self, execution: usize, root: &Shard) -> Option<Time> {
        let flow = root.slots.first()?;
        let ended = self.ended.get(&execution)?;
        let over = matches!(root.phase, RootPhase::Ended | RootPhase::Over);
        let longest = self.world.plan.longest_quarantine_ms();
        (over && longest > 0 && flow.reason() == Reason::OutcomeUnknown)
            .then(|| Time(*ended).plus(longest))
    }

    /// What people and sources do once they see the new state.
    pub(super) fn after_write(&mut self, key: &Key, before: Option<&Shard>, next: &Shard) {
        for (slot, is) in (0_u16..).zip(&next.slots) {
            let was = before.and_then(|shard| shard.slots.get(usize::from(slot)));
            let asks = is.state == State::Paused && is.due == 0;
            if asks && was.is_none_or(|was| was.state != State::Paused) {
                let wait = self.world.rng.random_range(1_000..1_800_000);
                self.world.after(wait, Action::Resume(key.clone(), slot));
            }
        }
        self.check_window(key, next);
        if key.shard != ShardId::ROOT {
            return;
        }
        let execution = key.execution;
        let was = before.map_or(RootPhase::New, |shard| shard.phase);
        self.check_unknown(execution, was, next);
        // A restart that keeps the flow as it was does not prolong what it left in quarantine.
        let flow = |shard: &Shard| shard.slots.first().is_some_and(|s| s.state.is_terminal());
        if flow(next) && !before.is_some_and(flow) {
            self.ended.insert(execution, self.world.now);
        }
        if next.phase == RootPhase::Over && was != RootPhase::Over {
            let left = self.config.restarts.saturating_sub(next.round);
            if left > 0 && self.world.chance(500) {
                let wait = self.world.rng.random_range(1_000..1_800_000);
                let restart = Action::Restart(execution, next.round + 1);
                self.world.after(wait, restart);
            }
        }
    }

    /// An unknown outcome anywhere in a flow that has just ended is known to the flow, so that its lock is kept.
    fn check_unknown(&mut self, execution: usize, was: RootPhase, root: &Shard) {
        let ended = matches!(root.phase, RootPhase::Ended | RootPhase::Over);
        // Later rounds may leave shards as they were, of loops that are not needed any more.
        if !ended || was != RootPhase::Running || root.round > 0 {
            return;
        }
        let flow = root.slots.first().copied().unwrap_or_default();
        let unknown = self
            .states(execution)
            .into_iter()
            .find(|(_, slot)| slot.reason() == Reason::OutcomeUnknown);
        if let Some((name, _)) = unknown
            && flow.reason() != Reason::OutcomeUnknown
        {
            let what = format!("`{name}` ended unknown, the flow {:?}", flow.reason());
            self.world.violated(LOCKS, what);
        }
    }

    /// A loop never has more iterations under way than its window, nor more open chunks.
    fn check_window(&mut self, key: &Key, next: &Shard) {
        let plan = Rc::clone(&self.world.plan);
        let (Some(layout), Some((owner, slot, chunk))) =
            (Layout::of(&plan, &key.shard), key.shard.owner())
        else {
            return;
        };
        let Place::Chunk { window, .. } = layout.place else {
            return;
        };
        let name = (
            Key {
                execution: key.execution,
                shard: owner,
            },
            slot,
        );
        let size = layout.nodes.len().max(1);
        let iterations = next.slots.chunks(size).take(usize::from(next.started));
        let is_open = |iteration: &&[Slot]| {
            let mut roots = layout.nodes.iter().zip(iteration.iter());
            roots.any(|(node, slot)| node.parent.is_none() && !slot.state.is_terminal())
        };
        let active = iterations.filter(is_open).count();
        let open = next.open && next.slots.iter().any(|slot| !slot.state.is_terminal());
        let chunks = self.open_chunks.entry(name).or_default();
        if open {
            chunks.insert(chunk, active);
        } else {
            chunks.remove(&chunk);
        }
        let (count, active): (usize, usize) = (chunks.len(), chunks.values().sum());
        let window = usize::try_from(window).unwrap_or(usize::MAX);
        // Every open chunk but the last has an iteration that is not over, and these fit the window.
        if active > window || count > window.saturating_add(1) {
            let what = format!("{active} iterations in {count} chunks at {}", key.shard);
            self.world.violated(WINDOW, what);
        }
    }

    /// A command says that the execution is over, in this state.
    pub(super) fn finished(&mut self, execution: usize, state: State) {
        let Some(root) = self.world.root_shard(execution) else {
            return;
        };
        if state.is_terminal() {
            self.finishes.insert((execution, root.round), state);
        } else {
            let what = format!("execution {execution} finishes as {state:?}");
            self.world.violated(TERMINAL, what);
        }
    }

    /// What must hold when an attempt is launched.
    pub(super) fn check_launch(&mut self, attempt: &Attempt) {
        let beside = |number| Attempt {
            attempt: number,
            ..attempt.clone()
        };
        let alive: Vec<Attempt> = self
            .world
            .containers
            .range(beside(0)..=beside(u8::MAX))
            .filter(|(_, container)| **container == Container::Alive)
            .map(|(other, _)| other.clone())
            .collect();
        if !alive.is_empty() {
            let what = format!("{attempt:?} starts while {alive:?} runs");
            self.world.violated(ONE_ATTEMPT, what);
        }
        let Some(layout) = Layout::of(&self.world.plan, &attempt.key.shard) else {
            return;
        };
        let node = layout.node_of(attempt.slot).map(usize::from);
        let repeatable = !matches!(
            node.and_then(|node| layout.nodes.get(node)).map(|n| &n.kind),
            Some(NodeKind::Task(task)) if !task.idempotent
        );
        let name = self.world.name(&attempt.key, attempt.slot);
        let execution = attempt.key.execution;
        let persons = self.restarts.iter().filter(|(e, _)| *e == execution);
        let allowed = 1 + persons.count();
        let launches = self.launches.entry((execution, name.clone())).or_insert(0);
        *launches += 1;
        if !repeatable && *launches > allowed {
            let what = format!("{execution}:{name} is launched {launches} times");
            self.world.violated(NO_REPEAT, what);
        }
    }

    /// Everything that is stored of an execution's task runs, by name.
    fn states(&mut self, execution: usize) -> States {
        let keys: Vec<Key> = self
            .world
            .shards
            .range(World::root(execution)..World::root(execution + 1))
            .map(|(key, _)| key.clone())
            .collect();
        let mut states = States::new();
        for key in keys {
            let (_, shard) = self.world.look(&key);
            for (slot, task_run) in (0_u16..).zip(shard.iter().flat_map(|shard| &shard.slots)) {
                states.insert(self.world.name(&key, slot), *task_run);
            }
        }
        states
    }

    /// Compares a round that is over with the reference.
    pub(super) fn end_round(&mut self, execution: usize, round: u8) {
        let states = self.states(execution);
        let before = self.rounds.remove(&execution).unwrap_or_default();
        let root = self.world.root_shard(execution);
        let flow = states.get(".flow").copied().unwrap_or_default();
        let refused = flow.reason() == Reason::ConcurrencyLimit;
        if let Some(root) = root.filter(|_| !refused) {
            let retried = root.phase == RootPhase::Retrying;
            let script = &self.world.script;
            let expected = Oracle::round(&self.flow, script, execution, round, &before, retried);
            let killed = self.killed.contains(&(execution, round));
            let report = &mut self.world.report;
            report.task_runs += expected.len();
            report.largest = report.largest.max(expected.len());
            for (name, expected) in expected {
                let is = states.get(&name).copied().unwrap_or_default();
                let kept = killed && before.get(&name) == Some(&is);
                if !kept && !agrees(&name, expected, is, killed) {
                    let what = format!(
                        "execution {execution}, round {round}, `{name}` is {:?} ({:?}, attempt {}) and \
                         should be {expected:?}",
                        is.state,
                        is.reason(),
                        is.attempt
                    );
                    self.world.violated(OUTCOME, what);
                    break;
                }
            }
        }
        self.rounds.insert(execution, states);
    }

    /// What must hold when nothing happens any more.
    pub(super) fn check_end(&mut self) {
        let mut states = BTreeSet::new();
        for execution in 0..self.executions {
            let Some(root) = self.world.root_shard(execution) else {
                let what = format!("execution {execution} never began");
                return self.world.violated(super::TERMINATION, what);
            };
            if root.phase != RootPhase::Over {
                let what = format!("execution {execution} stays {:?}", root.phase);
                return self.world.violated(super::TERMINATION, what);
            }
            let flow = root.slots.first().copied().unwrap_or_default();
            states.insert(flow.state);
            self.end_round(execution, root.round);
            self.check_retries(execution, &root);
        }
        let alive = (0..self.executions).flat_map(|execution| self.alive(execution));
        if let Some(attempt) = alive.into_iter().next() {
            let what = format!("{attempt:?} runs and nothing waits for it");
            self.world.violated(STOPPED, what);
        }
        let held = self
            .world
            .lock
            .owners()
            .iter()
            .filter(|owner| owner.quarantined_until.is_none())
            .count();
        if held > 0 && self.world.faults.is_calm() {
            let what = format!("{held} slots are held by executions that are over");
            self.world.violated(LOCKS, what);
        }
        self.world.report.ends = states.into_iter().collect();
    }

    /// A failed flow with tries left is tried again.
    fn check_retries(&mut self, execution: usize, root: &Shard) {
        let repeatable = self.world.plan.is_repeatable();
        let Some(policy) = self.world.plan.retry.as_ref().filter(|_| repeatable) else {
            return;
        };
        let flow = root.slots.first().copied().unwrap_or_default();
        let natural =
            !self.killed.contains(&(execution, root.round)) && flow.reason() == Reason::ChildFailed;
        let tries = root.round + 1;
        let left = policy.retry.max_attempts.is_some_and(|max| tries < max);
        if flow.state == State::Failed && natural && left {
            let what = format!(
                "execution {execution} failed in round {} for good",
                root.round
            );
            self.world.violated("a failed flow is retried", what);
        }
    }
}

/// Whether an execution in this phase holds its lock.
fn holds(phase: RootPhase) -> bool {
    matches!(phase, RootPhase::Running | RootPhase::Retrying)
}

/// Whether a task run is what the reference says.
fn agrees(name: &str, expected: super::oracle::Expected, is: Slot, killed: bool) -> bool {
    let never = matches!(is.state, State::Omitted | State::Cancelled | State::Waiting);
    if killed {
        // What a kill leaves of a group or of the flow is whatever its parts were by then.
        let leaf = expected.attempt.is_some();
        return !leaf || never || is.state == State::Killed || is.state == expected.state;
    }
    if name.starts_with('.') && name != ".flow" {
        return true;
    }
    if expected.may_be_stopped && never {
        return true;
    }
    // A task run that never was may not have been told so, or may have no shard.
    if matches!(expected.state, State::Omitted | State::Cancelled) {
        return never;
    }
    if !expected.state.is_terminal() {
        return true;
    }
    is.state == expected.state
        && expected.attempt.is_none_or(|attempt| attempt == is.attempt)
        && expected.reason.is_none_or(|reason| reason == is.reason())
}
