//! One turn of the planner: events in; one conditional write; effects out.
//!
//! Expressions that decide about control flow are evaluated inside the turn, before the write, so that a
//! decision and what follows from it are one transition.

mod rows;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use operon_core::agent::CacheEntry;
use operon_core::exec::{self, Command, Event, RootPhase, Shard, Slot, State, Time};
use operon_core::plan::{Layout, ShardId};
use tracing::warn;

use crate::decide::Decision;
use crate::evaluate::{EvaluateError, Evaluator, Overlay, Site};
use crate::finish::may_be_tried_again;
use crate::plans::{LoadedPlan, PlanError, Plans};
use crate::ports::{
    AttemptRow, ExecutionId, ExecutionRow, SaveOutcome, ShardKey, ShardWrite, StoreError, Write,
};
use crate::repeated;
use crate::rows::update_execution;
use crate::shards::Versioned;

/// How often a turn is repeated when another planner wrote first (aws.md 6.2).
const CONFLICTS_MAX: usize = 5;
/// Executions kept in memory at most; the embedded engine lets them go when they are over.
const ACTIVE_KEPT: usize = 20_000;
/// Decisions that may follow each other inside one turn of one shard.
const DECISIONS_MAX: usize = 10_000;

/// An event on its way to a shard.
#[derive(Debug, Clone)]
pub struct Message {
    /// Whom it is for.
    pub key: ShardKey,
    /// What happened.
    pub event: Event,
    /// The detail item of the attempt it reports, stored in the same write.
    pub row: Option<Box<AttemptRow>>,
    /// Where it came from, for acknowledging.
    pub receipt: Option<i64>,
    /// Where the outputs of that attempt are kept for reuse, once it counts.
    pub cache: Option<CacheEntry>,
    /// It has been delivered before: whoever had it may have died after its write.
    pub redelivered: bool,
}

impl Message {
    /// A message without more to it.
    #[must_use]
    pub fn new(key: ShardKey, event: Event) -> Self {
        Self {
            key,
            event,
            row: None,
            receipt: None,
            cache: None,
            redelivered: false,
        }
    }
}

impl Message {
    /// The event as the core is told of it.
    fn delivered(&self) -> Event {
        let event = self.event.clone();
        if self.redelivered {
            event.redelivered()
        } else {
            event
        }
    }
}

/// Something to be done after the write.
#[derive(Debug, Clone)]
pub enum Effect {
    /// A command of the core to be carried out for a shard.
    Command(ShardKey, Command),
    /// When the shard must be looked at again, and when it would have been before this turn; none when it is
    /// complete, or was not there.
    Due(ShardKey, Option<u64>, Option<u64>),
    /// A task run's row was written.
    TaskRun(Box<AttemptRow>),
    /// The execution's row was written.
    Execution(Box<ExecutionRow>),
}

/// Why a turn did not happen. Nothing was written; the messages are to be delivered again.
#[derive(Debug, thiserror::Error)]
pub enum TurnError {
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The plan is missing or damaged.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// Other planners kept writing first.
    #[error("{0} is written by others all the time")]
    Contended(ShardId),
}

/// An execution that is being worked on.
#[derive(Debug)]
pub struct Active {
    /// Its plan.
    pub plan: Arc<LoadedPlan>,
    /// Its row as last written.
    pub row: Mutex<ExecutionRow>,
    /// Its fixed part.
    pub meta: crate::ports::ExecutionMeta,
}

impl Active {
    /// A copy of the row.
    #[must_use]
    pub fn row(&self) -> ExecutionRow {
        self.row
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// Takes turns.
pub struct Planner {
    /// Evaluates expressions.
    pub evaluator: Evaluator,
    /// Plans in memory.
    pub plans: Arc<Plans>,
    active: Mutex<HashMap<ExecutionId, Arc<Active>>>,
    /// Nobody else writes: what is in memory is what is stored.
    sole: bool,
}

/// One shard in a turn.
struct Turn {
    key: ShardKey,
    active: Arc<Active>,
    stored: Versioned,
    messages: Vec<Message>,
    next: Shard,
    commands: Vec<Command>,
    failures: BTreeMap<u16, String>,
}

impl Planner {
    /// A planner over these parts that alone writes to its store.
    #[must_use]
    pub fn new(evaluator: Evaluator, plans: Arc<Plans>) -> Self {
        Self {
            evaluator,
            plans,
            active: Mutex::default(),
            sole: true,
        }
    }

    /// A planner beside others. Its memory may be stale: a conflict corrects it when something changes, and
    /// that nothing changes is believed only of what was just read.
    #[must_use]
    pub fn shared(evaluator: Evaluator, plans: Arc<Plans>) -> Self {
        Self {
            sole: false,
            ..Self::new(evaluator, plans)
        }
    }

    /// Whether an execution is not over, or failed and will be tried again.
    pub(crate) async fn goes_on(&self, row: &ExecutionRow) -> Result<bool, TurnError> {
        if row.ended_ms.is_none() {
            return Ok(true);
        }
        let active = self.active(&row.meta.id).await?;
        Ok(active.is_some_and(|active| may_be_tried_again(row, &active.plan.plan)))
    }

    /// The execution with its plan, from memory or the store.
    pub async fn active(&self, id: &ExecutionId) -> Result<Option<Arc<Active>>, TurnError> {
        if let Some(found) = self.lock().get(id) {
            return Ok(Some(Arc::clone(found)));
        }
        let store = &*self.evaluator.ports.store;
        let Some(row) = store.execution(id).await? else {
            return Ok(None);
        };
        let plan = self.plans.get(store, &row.meta.plan_hash).await?;
        let active = Arc::new(Active {
            plan,
            meta: row.meta.clone(),
            row: Mutex::new(row),
        });
        let mut kept = self.lock();
        if kept.len() >= ACTIVE_KEPT
            && let Some(victim) = kept.keys().next().cloned()
        {
            kept.remove(&victim); // Any will do: it is read again.
        }
        kept.insert(id.clone(), Arc::clone(&active));
        drop(kept);
        Ok(Some(active))
    }

    /// Forgets an execution that is over.
    pub fn retire(&self, id: &ExecutionId) {
        self.lock().remove(id);
    }

    /// Forgets all executions, whose rows somebody may have written and not noted.
    pub fn forget(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<ExecutionId, Arc<Active>>> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Applies messages, in order within each shard, writes once, and returns what is to be done.
    pub async fn turn(&self, messages: Vec<Message>) -> Result<Vec<Effect>, TurnError> {
        let mut pending = group(messages);
        let mut effects = Vec::new();
        for _ in 0..CONFLICTS_MAX {
            let mut turns = Vec::with_capacity(pending.len());
            let mut overlay = Overlay::default();
            for (_, messages) in &pending {
                for row in messages.iter().filter_map(|message| message.row.as_deref()) {
                    overlay
                        .rows
                        .insert((row.execution.clone(), row.task_run.clone()), row.clone());
                }
            }
            for (key, messages) in pending {
                turns.extend(self.prepare(key, messages, &mut overlay).await?);
            }
            pending = self.commit(turns, &mut overlay, &mut effects).await?;
            if pending.is_empty() {
                return Ok(effects);
            }
        }
        Err(TurnError::Contended(
            pending
                .into_iter()
                .next()
                .map_or(ShardId::ROOT, |(key, _)| key.shard),
        ))
    }

    async fn prepare(
        &self,
        key: ShardKey,
        messages: Vec<Message>,
        overlay: &mut Overlay,
    ) -> Result<Option<Turn>, TurnError> {
        let store = &*self.evaluator.ports.store;
        let Some(active) = self.active(&key.execution).await? else {
            warn!(execution_id = %key.execution, "message for an execution that does not exist");
            return Ok(None);
        };
        let Some(layout) = Layout::of(&active.plan.plan, &key.shard) else {
            warn!(execution_id = %key.execution, shard = %key.shard, "message for a shard the plan does not have");
            return Ok(None);
        };
        let ended = |slot| Site {
            plan: &active.plan,
            meta: &active.meta,
            shard: &key.shard,
            slot,
            attempt: 0,
        };
        for row in repeated::pending(ended, &messages) {
            let run = row.task_run.clone();
            overlay.rows.insert((row.execution.clone(), run), row);
        }
        let now = Time(self.evaluator.ports.clock.now_ms());
        let events: Vec<Event> = messages.iter().map(Message::delivered).collect();
        let plan = &active.plan.plan;
        let remembered = !self.sole && self.evaluator.shards.has(&key);
        let take = |stored: &Versioned| {
            let current = stored.shard.as_deref().cloned();
            let current = current.unwrap_or_else(|| Shard::fresh(&layout, now));
            let (next, commands) = exec::apply(plan, &key.shard, &current, &events, now);
            (next == current, next, commands)
        };
        let mut stored = self.evaluator.shards.get(store, &key).await?;
        let (mut same, mut next, mut commands) = take(&stored);
        if same && remembered {
            // Perhaps only to a memory that is older than what others wrote meanwhile.
            self.evaluator.shards.forget(&key);
            stored = self.evaluator.shards.get(store, &key).await?;
            (same, next, commands) = take(&stored);
        }
        tracing::trace!(execution_id = %key.execution, shard = %key.shard, same, "applied");
        commands.retain(|command| !matches!(command, Command::Evaluate { .. }));
        let mut turn = Turn {
            key,
            active: Arc::clone(&active),
            stored,
            messages,
            next,
            commands,
            failures: BTreeMap::new(),
        };
        self.decide_all(&mut turn, overlay, now).await?;
        Ok(Some(turn))
    }

    /// Evaluates what the turn calls for, until nothing more is called for.
    async fn decide_all(
        &self,
        turn: &mut Turn,
        overlay: &mut Overlay,
        now: Time,
    ) -> Result<(), TurnError> {
        for _ in 0..DECISIONS_MAX {
            // From state, not from the commands: a decision that a crash left open is made by whatever
            // comes next.
            let open = |(index, slot): (u16, &Slot)| {
                matches!(slot.state, State::Gate | State::Deciding).then_some(index)
            };
            let slots: Vec<u16> = (0_u16..).zip(&turn.next.slots).filter_map(open).collect();
            if slots.is_empty() {
                return Ok(());
            }
            overlay
                .shards
                .insert(turn.key.clone(), Arc::new(turn.next.clone()));
            let mut events = Vec::with_capacity(slots.len());
            for slot in slots {
                let site = Site {
                    plan: &turn.active.plan,
                    meta: &turn.active.meta,
                    shard: &turn.key.shard,
                    slot,
                    attempt: 0,
                };
                let state = turn
                    .next
                    .slots
                    .get(usize::from(slot))
                    .map(|slot| slot.state);
                let gate = state == Some(State::Gate);
                match self.evaluator.decide(site, gate, overlay).await {
                    Ok(Decision { verdict }) => events.push(Event::Decided { slot, verdict }),
                    Err(EvaluateError::Expression(message)) => {
                        turn.failures.insert(slot, message);
                        events.push(Event::Decided {
                            slot,
                            verdict: exec::Verdict::Error,
                        });
                    }
                    Err(EvaluateError::Store(error)) => return Err(error.into()),
                }
            }
            let plan = &turn.active.plan.plan;
            let (next, commands) = exec::apply(plan, &turn.key.shard, &turn.next, &events, now);
            turn.next = next;
            for command in commands {
                let evaluate = matches!(command, Command::Evaluate { .. });
                if !evaluate && !turn.commands.contains(&command) {
                    turn.commands.push(command);
                }
            }
        }
        warn!(execution_id = %turn.key.execution, "decisions go on for ever; the rest waits for a tick");
        Ok(())
    }

    /// Writes all turns at once; returns those that must be repeated.
    async fn commit(
        &self,
        turns: Vec<Turn>,
        overlay: &mut Overlay,
        effects: &mut Vec<Effect>,
    ) -> Result<Vec<(ShardKey, Vec<Message>)>, TurnError> {
        let now_ms = self.evaluator.ports.clock.now_ms();
        Self::show_ends(&turns, overlay);
        let mut write = Write::default();
        let mut written = Vec::new();
        let mut outs = Vec::with_capacity(turns.len());
        for turn in turns {
            let Some(layout) = Layout::of(&turn.active.plan.plan, &turn.key.shard) else {
                continue;
            };
            let due_ms = turn.next.due(&layout).map(|time| time.0);
            let changed = turn.stored.shard.as_deref() != Some(&turn.next);
            if changed {
                written.push(outs.len());
                write.shards.push(ShardWrite {
                    key: turn.key.clone(),
                    expected: turn.stored.version,
                    bytes: turn.next.encode(),
                    due_ms,
                });
            }
            let rows = self.rows_of(&turn, now_ms).await?;
            write.attempts.extend(rows.iter().cloned());
            let mut row = self.row_before(&turn, &layout).await?;
            let execution = turn.key.shard == ShardId::ROOT
                && !is_recorded(&turn, &row)
                && update_execution(
                    &mut row,
                    (&turn.active.plan.plan, &layout),
                    &turn.next,
                    now_ms,
                );
            if execution && row.ended_ms.is_some() {
                // In the same write: what is over is due no more, so nobody would take up a lost `Finish`.
                let active = &turn.active;
                self.evaluator
                    .put_outputs(active, &mut row, overlay)
                    .await?;
            }
            let row = execution.then_some(row);
            write.executions.extend(row.iter().cloned());
            let before_ms = turn.stored.shard.as_deref();
            let before_ms = before_ms.and_then(|shard| shard.due(&layout).map(|time| time.0));
            outs.push((turn, due_ms, before_ms, rows, row));
        }
        let nothing =
            write.shards.is_empty() && write.attempts.is_empty() && write.executions.is_empty();
        let outcomes = if nothing {
            Vec::new()
        } else {
            self.evaluator
                .ports
                .store
                .write(write)
                .await
                .inspect_err(|_| {
                    for (turn, ..) in &outs {
                        self.evaluator.shards.forget(&turn.key);
                    }
                })?
        };
        let mut outcomes: HashMap<usize, SaveOutcome> = written.into_iter().zip(outcomes).collect();
        let mut again = Vec::new();
        for (index, (turn, due_ms, before_ms, rows, row)) in outs.into_iter().enumerate() {
            match outcomes.remove(&index) {
                Some(SaveOutcome::Conflict(row)) => {
                    self.evaluator.shards.remember(&turn.key, row)?;
                    again.push((turn.key, turn.messages));
                    continue;
                }
                Some(SaveOutcome::Saved(version)) => {
                    let shard = Some(Arc::new(turn.next));
                    let complete = due_ms.is_none();
                    self.evaluator
                        .shards
                        .put(&turn.key, Versioned { version, shard }, complete);
                    effects.push(Effect::Due(turn.key.clone(), due_ms, before_ms));
                }
                None => {}
            }
            effects.extend(rows.into_iter().map(|row| Effect::TaskRun(Box::new(row))));
            if let Some(row) = row {
                *turn
                    .active
                    .row
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner) = row.clone();
                effects.push(Effect::Execution(Box::new(row)));
            }
            let key = turn.key;
            effects.extend(
                turn.commands
                    .into_iter()
                    .map(|command| Effect::Command(key.clone(), command)),
            );
        }
        Ok(again)
    }

    /// Lets the outputs of executions that end in this turn see all its shards.
    fn show_ends(turns: &[Turn], overlay: &mut Overlay) {
        let ends = |turn: &&Turn| {
            let over = matches!(turn.next.phase, RootPhase::Ended | RootPhase::Over);
            over && turn.key.shard == ShardId::ROOT && !turn.active.plan.plan.outputs.is_empty()
        };
        let ending: Vec<&ExecutionId> = turns
            .iter()
            .filter(ends)
            .map(|turn| &turn.key.execution)
            .collect();
        for turn in turns {
            if ending.contains(&&turn.key.execution) {
                let shard = Arc::new(turn.next.clone());
                overlay.shards.insert(turn.key.clone(), shard);
            }
        }
    }
}

/// Messages by shard, shards in order of their first message.
fn group(messages: Vec<Message>) -> Vec<(ShardKey, Vec<Message>)> {
    let mut groups: Vec<(ShardKey, Vec<Message>)> = Vec::new();
    let mut places: HashMap<ShardKey, usize> = HashMap::new();
    for message in messages {
        let place = *places.entry(message.key.clone()).or_insert_with(|| {
            groups.push((message.key.clone(), Vec::new()));
            groups.len() - 1
        });
        if let Some((_, group)) = groups.get_mut(place) {
            group.push(message);
        }
    }
    groups
}

/// Whether how an execution ended is recorded: it does not end otherwise, whatever its outputs would be by now.
fn is_recorded(turn: &Turn, row: &ExecutionRow) -> bool {
    let over = |shard: &Shard| matches!(shard.phase, RootPhase::Ended | RootPhase::Over);
    let before = turn.stored.shard.as_deref();
    let still = before
        .is_some_and(|before| over(before) && over(&turn.next) && before.round == turn.next.round);
    still && row.ended_ms.is_some()
}
