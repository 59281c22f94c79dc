//! The reference: one round of an execution interpreted directly from the flow, one task after the other.
//!
//! It shares no code with the planner. Where the language lets time decide (a failure stops siblings that
//! have not begun) an expectation says so and allows both endings.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use operon_core::exec::{Outcome, Reason, Slot, State, Verdict};
use operon_core::lang::model::{
    Flow, GroupOrder, LoopValues, OnFailure, PauseBehavior, Task, TaskKind, TaskList, Until,
};

use super::script::{Fate, Script};

/// What is known of the task runs after a round, by name.
pub type States = BTreeMap<String, Slot>;

/// The task type that is a group whose failure is allowed.
const ALLOW_FAILURE: &str = "io.kestra.plugin.core.flow.AllowFailure";

/// What a task run should be when its round is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expected {
    /// Its state.
    pub state: State,
    /// Number of its last attempt; none where attempts mean nothing.
    pub attempt: Option<u8>,
    /// Why its last attempt failed.
    pub reason: Option<Reason>,
    /// A failure beside it may have stopped it before it began.
    pub may_be_stopped: bool,
}

/// Interprets one round.
pub struct Oracle<'a> {
    script: &'a Script,
    execution: usize,
    round: u8,
    before: &'a States,
    out: Vec<(String, Expected)>,
}

/// What a new round does with a task run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// It and everything below stays as it is.
    Kept,
    /// It runs; what succeeded below it is kept.
    Again,
    /// It runs, and everything below it.
    Afresh,
}

/// Whether the part of a group that holds a list runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Live {
    Runs,
    Never,
}

/// Where a list is interpreted.
#[derive(Debug, Clone, Copy)]
struct At<'p> {
    mode: Mode,
    live: Live,
    path: &'p [u32],
}

impl<'a> Oracle<'a> {
    /// What every task run of a round should be, given what was there before it. A round that is `retried` by the
    /// flow's own policy is not the end, so nothing comes after it.
    #[must_use]
    pub fn round(
        flow: &Flow,
        script: &'a Script,
        execution: usize,
        round: u8,
        before: &'a States,
        retried: bool,
    ) -> BTreeMap<String, Expected> {
        let mut oracle = Self {
            script,
            execution,
            round,
            before,
            out: Vec::new(),
        };
        let earlier = before.get(".flow").copied().unwrap_or_default();
        // Restarting what succeeded runs only what comes after it again.
        let kept = earlier.state.lets_pass();
        let at = At {
            mode: if kept { Mode::Kept } else { Mode::Again },
            live: Live::Runs,
            path: &[],
        };
        let body = oracle.list(&flow.tasks, GroupOrder::Sequential, at);
        let state = oracle.finish(body, &flow.errors, &flow.finally, at);
        oracle.record(".flow", at, if kept { earlier.state } else { state });
        let after = At {
            mode: Mode::Afresh,
            live: if retried { Live::Never } else { Live::Runs },
            ..at
        };
        oracle.list(&flow.after_execution, GroupOrder::Sequential, after);
        oracle.out.into_iter().collect()
    }

    fn name(id: &str, path: &[u32]) -> String {
        path.iter().fold(id.to_owned(), |mut name, iteration| {
            // Writing to a string cannot fail.
            let _ = write!(name, "[{iteration}]");
            name
        })
    }

    fn record(&mut self, id: &str, at: At<'_>, state: State) {
        let expected = Expected {
            state,
            attempt: None,
            reason: None,
            may_be_stopped: false,
        };
        self.out.push((Self::name(id, at.path), expected));
    }

    /// What was recorded from `mark` on may also not have begun.
    fn may_be_stopped(&mut self, mark: usize) {
        for (_, expected) in &mut self.out[mark..] {
            expected.may_be_stopped = true;
        }
    }

    /// The endings of a list's tasks.
    fn list(&mut self, list: &TaskList, order: GroupOrder, at: At<'_>) -> Vec<State> {
        // What each task waits for; what a disabled one waited for, its dependents wait for.
        let mut waits: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        let mut ends: BTreeMap<&str, State> = BTreeMap::new();
        let graph = list.graph || order == GroupOrder::Dag;
        let mut previous = None;
        // The generator only names earlier tasks, so the order written is an order to run in.
        for task in &list.tasks {
            let mut deps: BTreeSet<&str> = BTreeSet::new();
            if graph {
                for dep in &task.depends_on {
                    match waits.get(dep.as_str()) {
                        Some(of_disabled) => deps.extend(of_disabled),
                        None => _ = deps.insert(dep),
                    }
                }
            } else if order == GroupOrder::Sequential {
                deps.extend(previous);
            }
            if task.disabled {
                waits.insert(&task.id, deps);
                continue;
            }
            previous = Some(task.id.as_str());
            let blocked = deps
                .iter()
                .any(|dep| ends.get(dep).is_some_and(|state| !state.lets_pass()));
            let end = self.task(task, blocked, at);
            ends.insert(&task.id, end);
        }
        ends.into_values().collect()
    }

    /// The state others see of a task.
    fn task(&mut self, task: &Task, blocked: bool, at: At<'_>) -> State {
        match &task.kind {
            TaskKind::Choice {
                errors, finally, ..
            }
            | TaskKind::Loop {
                errors, finally, ..
            } if has_tasks(errors) || has_tasks(finally) => {
                let mut inner = task.clone();
                inner.when = None;
                inner.allow_failure = false;
                inner.allow_warning = false;
                let mut outer = task.clone();
                outer.id = format!(".guard.{}", task.id);
                self.node(&outer, blocked, at, &mut |oracle, at| {
                    let body = oracle.task_bare(&inner, at);
                    oracle.finish(vec![body], errors, finally, at)
                })
            }
            TaskKind::Run
            | TaskKind::Group { .. }
            | TaskKind::Choice { .. }
            | TaskKind::Loop { .. }
            | TaskKind::Pause { .. }
            | TaskKind::Sleep { .. } => {
                self.node(task, blocked, at, &mut |oracle, at| oracle.kind(task, at))
            }
        }
    }

    fn task_bare(&mut self, task: &Task, at: At<'_>) -> State {
        self.node(task, false, at, &mut |oracle, at| oracle.kind(task, at))
    }

    /// What every node goes through: kept, never, blocked, its condition, then what it is.
    fn node(
        &mut self,
        task: &Task,
        blocked: bool,
        at: At<'_>,
        run: &mut dyn FnMut(&mut Self, At<'_>) -> State,
    ) -> State {
        let name = Self::name(&task.id, at.path);
        let before = self.before.get(&name).copied().unwrap_or_default();
        if at.mode == Mode::Kept || (at.mode == Mode::Again && before.state.lets_pass()) {
            let inside = At {
                mode: Mode::Kept,
                ..at
            };
            // Loops are not entered: what they hold is not looked at again.
            if !matches!(task.kind, TaskKind::Loop { .. } | TaskKind::Run) {
                run(self, inside);
            }
            self.record(&task.id, at, before.state);
            return before.state;
        }
        let mut end = None;
        if at.live == Live::Never || blocked {
            end = Some(State::Omitted);
        } else if task.when.is_some() {
            let key = name.strip_prefix(".guard.").unwrap_or(&name);
            match self.script.gate(self.execution, key, self.round) {
                Verdict::Gate(true) => {}
                Verdict::Gate(false) => end = Some(State::Skipped),
                Verdict::Error | Verdict::Branch(_) | Verdict::Count(_) | Verdict::Wait(_) => {
                    end = Some(allowed(task, State::Failed));
                }
            }
        }
        let at_recorded = self.out.len();
        let state = match end {
            Some(state) => {
                let inside = At {
                    live: Live::Never,
                    ..at
                };
                if !matches!(task.kind, TaskKind::Run) {
                    run(self, inside);
                }
                state
            }
            None => allowed(task, run(self, at)),
        };
        let (mut attempt, mut reason) = (None, None);
        if end.is_none() && matches!(task.kind, TaskKind::Run) {
            // The task left what it did as its own record.
            if let Some((_, own)) = self.out.drain(at_recorded..).next() {
                (attempt, reason) = (own.attempt, own.reason);
            }
        }
        let expected = Expected {
            state,
            attempt,
            reason,
            may_be_stopped: false,
        };
        self.out.push((name, expected));
        state
    }

    fn kind(&mut self, task: &Task, at: At<'_>) -> State {
        match &task.kind {
            TaskKind::Run => self.attempts(task, at),
            TaskKind::Group {
                order,
                tasks,
                errors,
                finally,
                on_failure,
                ..
            } => {
                let mark = self.out.len();
                let body = self.list(tasks, *order, at);
                if *on_failure == OnFailure::Stop && body.contains(&State::Failed) {
                    self.may_be_stopped(mark);
                }
                self.finish(body, errors, finally, at)
            }
            TaskKind::Choice { branches, .. } => self.choice(task, branches, at),
            TaskKind::Loop { .. } => self.iterate(task, at),
            TaskKind::Pause {
                duration: Some(_),
                behavior,
                ..
            } => match behavior {
                PauseBehavior::Resume => State::Success,
                PauseBehavior::Warn => State::Warning,
                PauseBehavior::Cancel => State::Cancelled,
                PauseBehavior::Fail => State::Failed,
            },
            TaskKind::Pause { duration: None, .. } => {
                let name = Self::name(&task.id, at.path);
                if self.script.resumes(self.execution, &name) {
                    State::Success
                } else {
                    State::Failed
                }
            }
            TaskKind::Sleep { .. } => State::Success,
        }
    }

    /// The attempts of a task: infrastructure's faults are forgiven, others cost a try.
    fn attempts(&mut self, task: &Task, at: At<'_>) -> State {
        let name = Self::name(&task.id, at.path);
        let earlier = self.before.get(&name).map_or(0, |slot| slot.attempt);
        let (mut attempt, mut forgiven) = (earlier, 0);
        let (state, reason) = loop {
            attempt += 1;
            let reason = match self.script.fate(self.execution, &name, attempt) {
                Fate::Ends(Outcome::Success) => {
                    let warn = task.retry.as_ref().is_some_and(|r| r.warning_on_retry);
                    let retried = attempt > earlier + 1;
                    break if warn && retried {
                        (State::Warning, Reason::Retried)
                    } else {
                        (State::Success, Reason::None)
                    };
                }
                Fate::Ends(Outcome::Warning) => break (State::Warning, Reason::None),
                Fate::Ends(Outcome::Failed(reason)) => reason,
                Fate::Vanishes => Reason::Lost,
                Fate::Hangs => Reason::Timeout,
            };
            if !task.idempotent {
                let unknown = reason.leaves_outcome_unknown();
                let reason = if unknown {
                    Reason::OutcomeUnknown
                } else {
                    reason
                };
                break (State::Failed, reason);
            }
            if reason.is_infrastructure() && forgiven < Slot::FREE_MAX {
                forgiven += 1;
                continue;
            }
            let tries = attempt - earlier - forgiven;
            let most = task
                .retry
                .as_ref()
                .map_or(1, |retry| retry.max_attempts.unwrap_or(u8::MAX));
            if tries >= most || !reason.is_retriable() {
                break (State::Failed, reason);
            }
        };
        let expected = Expected {
            state,
            attempt: Some(attempt),
            reason: Some(reason),
            may_be_stopped: false,
        };
        self.out.push((name, expected));
        state
    }

    fn choice(&mut self, task: &Task, branches: &[(String, TaskList)], at: At<'_>) -> State {
        let name = Self::name(&task.id, at.path);
        let kept = at.mode == Mode::Kept;
        let verdict = self
            .script
            .branch(self.execution, &name, self.round, branches.len());
        let taken = match verdict {
            Verdict::Branch(taken) if at.live == Live::Runs => taken.map(usize::from),
            Verdict::Branch(_)
            | Verdict::Gate(_)
            | Verdict::Count(_)
            | Verdict::Wait(_)
            | Verdict::Error => None,
        };
        let mut ends = Vec::new();
        for (index, (_, list)) in branches.iter().enumerate() {
            // A branch not taken is omitted, except what succeeded in it in a former round, which stays
            // and counts as it does in every group.
            let live = if kept || taken == Some(index) {
                at.live
            } else {
                Live::Never
            };
            ends.extend(self.list(list, GroupOrder::Sequential, At { live, ..at }));
        }
        if verdict == Verdict::Error {
            State::Failed
        } else {
            result(&ends)
        }
    }

    /// A loop that is repeated until its check says that it is over.
    fn repeat(&mut self, task: &Task, until: &Until, tasks: &TaskList, at: At<'_>) -> State {
        if at.live == Live::Never {
            return State::Omitted;
        }
        let before = self.before.get(&Self::name(&task.id, at.path));
        let spent = before.is_some_and(|slot| slot.reason() == Reason::LimitReached);
        let mode = if spent { Mode::Afresh } else { at.mode };
        let mut ends = Vec::new();
        let mut path = at.path.to_vec();
        for iteration in 0..until.max_iterations {
            path.push(iteration);
            let inside = At {
                mode,
                path: &path,
                ..at
            };
            let own = self.list(tasks, GroupOrder::Sequential, inside);
            ends.extend(&own);
            if own.iter().any(|state| !state.lets_pass()) {
                return result(&ends);
            }
            let check = Self::name(&format!(".until.{}", task.id), &path);
            let kept = self.before.get(&check).map(|slot| slot.state);
            let verdict = match kept {
                Some(State::Success) if mode == Mode::Again => Verdict::Gate(true),
                Some(State::Skipped) if mode == Mode::Again => Verdict::Gate(false),
                _ => self.script.holds(self.execution, &check, self.round),
            };
            match verdict {
                Verdict::Gate(true) => return result(&ends),
                Verdict::Gate(false) => {}
                Verdict::Error | Verdict::Branch(_) | Verdict::Count(_) | Verdict::Wait(_) => {
                    return State::Failed;
                }
            }
            path.pop();
        }
        if until.fail_on_max {
            State::Failed
        } else {
            result(&ends)
        }
    }

    fn iterate(&mut self, task: &Task, at: At<'_>) -> State {
        if let TaskKind::Loop {
            values: LoopValues::Until(until),
            tasks,
            ..
        } = &task.kind
        {
            return self.repeat(task, until, tasks, at);
        }
        let TaskKind::Loop {
            values: LoopValues::Values(values),
            on_failure,
            transmit_failed,
            tasks,
            ..
        } = &task.kind
        else {
            return State::Failed;
        };
        if at.live == Live::Never {
            return State::Omitted;
        }
        let count = u32::try_from(values.as_u64().unwrap_or(0)).unwrap_or(0);
        let mut ends = Vec::new();
        let mut path = at.path.to_vec();
        for iteration in 0..count {
            path.push(iteration);
            let mark = self.out.len();
            let inside = At { path: &path, ..at };
            let end = result(&self.list(tasks, GroupOrder::Sequential, inside));
            if *on_failure == OnFailure::Stop && ends.contains(&State::Failed) {
                self.may_be_stopped(mark);
            }
            ends.push(end);
            path.pop();
        }
        match result(&ends) {
            State::Failed if !transmit_failed => State::Warning,
            state => state,
        }
    }

    /// Handlers of a group whose body has ended, and what the group then is.
    fn finish(
        &mut self,
        mut ends: Vec<State>,
        errors: &TaskList,
        finally: &TaskList,
        at: At<'_>,
    ) -> State {
        let failed = ends.contains(&State::Failed);
        let runs = at.live == Live::Runs;
        let mode = if at.mode == Mode::Again {
            Mode::Afresh
        } else {
            at.mode
        };
        let handler = |live| At { mode, live, ..at };
        let on_errors = if runs && failed {
            Live::Runs
        } else {
            Live::Never
        };
        ends.extend(self.list(errors, GroupOrder::Sequential, handler(on_errors)));
        ends.extend(self.list(finally, GroupOrder::Sequential, handler(at.live)));
        result(&ends)
    }
}

fn has_tasks(list: &TaskList) -> bool {
    list.tasks.iter().any(|task| !task.disabled)
}

fn allowed(task: &Task, state: State) -> State {
    let tolerated = task.allow_failure || task.task_type == ALLOW_FAILURE;
    match state {
        State::Failed if tolerated && task.allow_warning => State::Success,
        State::Failed if tolerated => State::Warning,
        State::Warning if task.allow_warning => State::Success,
        state => state,
    }
}

/// What endings make of what holds them.
fn result(ends: &[State]) -> State {
    let worst = [
        State::Failed,
        State::Killed,
        State::Cancelled,
        State::Warning,
    ];
    worst
        .into_iter()
        .find(|state| ends.contains(state))
        .unwrap_or(State::Success)
}
