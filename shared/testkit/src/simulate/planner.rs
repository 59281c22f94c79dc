//! Planners: receive, read, apply, write on condition, send, acknowledge. Any of them may die in between.

use std::collections::BTreeMap;
use std::rc::Rc;

use operon_core::exec::{self, Command, Event, Shard, State, Time, Verdict};
use operon_core::lang::model::LoopValues;
use operon_core::plan::{Layout, NodeKind, SHARD_BYTES};
use rand::Rng;

use super::world::{Action, Attempt, Key, Row, Work};
use super::{Mutation, Simulation};

/// Messages in one batch at most (aws.md 6.2).
const BATCH_MAX: usize = 10;
/// How often a turn is repeated when another planner wrote first (aws.md 6.2).
const CONFLICTS_MAX: usize = 5;

/// A planner at work on a batch.
#[derive(Debug)]
pub(super) struct Batch {
    messages: Vec<u64>,
    turns: Vec<Turn>,
    conflicts: usize,
    /// Nobody would do again what only a tick begins, so that without a sweeper ticks survive.
    safe: bool,
    /// Commands of turns that are written.
    outbox: Vec<(Key, Command)>,
}

#[derive(Debug)]
struct Turn {
    key: Key,
    events: Vec<Event>,
    version: u64,
    before: Option<Shard>,
    next: Shard,
    commands: Vec<Command>,
}

impl Simulation {
    /// A planner receives a batch: this message and others that are there.
    pub(super) fn plan(&mut self, first: u64) {
        let (now, messages) = (self.world.now, &self.world.messages);
        let others = messages
            .range(first + 1..)
            .take(3 * BATCH_MAX)
            .filter(|(_, message)| {
                message.visible_at <= now + 20 && matches!(message.work, Work::Plan(..))
            })
            .map(|(id, _)| *id);
        let ids: Vec<u64> = std::iter::once(first)
            .chain(others)
            .take(BATCH_MAX)
            .collect();
        let mut groups: BTreeMap<Key, Vec<Event>> = BTreeMap::new();
        for &id in &ids {
            if let Some(message) = self.world.messages.get(&id)
                && let Work::Plan(key, event) = &message.work
            {
                let event = event.clone();
                let answered = self.config.mutation == Some(Mutation::AnswersEveryCopy);
                let event = if message.received || answered {
                    event.redelivered()
                } else {
                    event
                };
                groups.entry(key.clone()).or_default().push(event);
            }
            self.world.receive(id);
        }
        let safe = !self.world.faults.sweeper
            && groups.values().flatten().any(|event| *event == Event::Tick);
        if !safe && self.world.crashes() {
            return;
        }
        let turns = groups
            .into_iter()
            .filter_map(|(key, events)| {
                let stored = self.world.read(&key);
                self.turn(key, events, stored)
            })
            .collect();
        let batch = Batch {
            messages: ids,
            turns,
            conflicts: 0,
            safe,
            outbox: Vec::new(),
        };
        let id = self.world.id();
        self.batches.insert(id, batch);
        let wait = self.world.rng.random_range(2..8);
        self.world.after(wait, Action::Write(id));
    }

    fn turn(
        &mut self,
        key: Key,
        mut events: Vec<Event>,
        (version, before): (u64, Option<Shard>),
    ) -> Option<Turn> {
        let fresh = self.world.fresh(&key)?;
        let current = before.clone().unwrap_or(fresh);
        if self.config.mutation == Some(Mutation::UnfencedCompletion) {
            events.iter_mut().for_each(|event| unfence(event, &current));
        }
        let now = Time(self.world.now);
        let plan = &self.world.plan;
        let (mut next, mut commands) = exec::apply(plan, &key.shard, &current, &events, now);
        loop {
            let decided = self.decide(&key, &next);
            if decided.is_empty() {
                break;
            }
            let plan = &self.world.plan;
            let (decided, further) = exec::apply(plan, &key.shard, &next, &decided, now);
            next = decided;
            for command in further {
                if !commands.contains(&command) {
                    commands.push(command);
                }
            }
        }
        commands.retain(|command| !matches!(command, Command::Evaluate { .. }));
        let unchanged = before.as_ref() == Some(&next);
        if unchanged && self.config.mutation == Some(Mutation::CommandsOnChangeOnly) {
            commands.clear();
        }
        Some(Turn {
            key,
            events,
            version,
            before,
            next,
            commands,
        })
    }

    /// Evaluates every expression that the shard waits for.
    fn decide(&self, key: &Key, shard: &Shard) -> Vec<Event> {
        let mut events = Vec::new();
        let Some(layout) = Layout::of(&self.world.plan, &key.shard) else {
            return events;
        };
        for (slot, task_run) in (0_u16..).zip(&shard.slots) {
            let gate = task_run.state == State::Gate;
            if !gate && task_run.state != State::Deciding {
                continue;
            }
            let name = self.world.name(key, slot);
            let script = &self.world.script;
            let node = layout.node_of(slot).map(usize::from);
            let kind = node
                .and_then(|node| layout.nodes.get(node))
                .map(|n| &n.kind);
            let verdict = match kind {
                _ if gate => {
                    let name = name.strip_prefix(".guard.").unwrap_or(&name);
                    script.gate(key.execution, name, shard.round)
                }
                Some(NodeKind::Choice { cases, .. }) => {
                    script.branch(key.execution, &name, shard.round, cases.len())
                }
                Some(NodeKind::Loop {
                    values: LoopValues::Values(values),
                    ..
                }) => Verdict::Count(
                    values
                        .as_u64()
                        .and_then(|count| u32::try_from(count).ok())
                        .unwrap_or(0),
                ),
                Some(NodeKind::Loop {
                    values: LoopValues::Until(until),
                    ..
                }) => Verdict::Count(until.max_iterations),
                Some(NodeKind::Check(_)) => script.holds(key.execution, &name, shard.round),
                _ => Verdict::Error,
            };
            events.push(Event::Decided { slot, verdict });
        }
        events
    }

    /// A planner writes its batch; what another planner wrote first is applied again.
    pub(super) fn write(&mut self, id: u64) {
        let Some(mut batch) = self.batches.remove(&id) else {
            return;
        };
        if !batch.safe && self.world.crashes() {
            return self.world.note(|| format!("crash     before write {id}"));
        }
        let mut again = Vec::new();
        for turn in std::mem::take(&mut batch.turns) {
            if turn.before.as_ref() == Some(&turn.next) {
                batch.outbox.extend(with_key(turn.key, turn.commands));
                continue;
            }
            self.world.report.writes += 1;
            let version = self
                .world
                .shards
                .get(&turn.key)
                .map_or(0, |row| row.version);
            let conditional = self.config.mutation != Some(Mutation::UnconditionalWrite);
            if conditional && version != turn.version {
                self.world.report.conflicts += 1;
                let stored = self.world.look(&turn.key);
                again.extend(self.turn(turn.key, turn.events, stored));
                continue;
            }
            self.store(&turn, version + 1);
            batch.outbox.extend(with_key(turn.key, turn.commands));
        }
        if !again.is_empty() {
            batch.turns = again;
            batch.conflicts += 1;
            if batch.conflicts < CONFLICTS_MAX {
                self.batches.insert(id, batch);
                let wait = self.world.rng.random_range(2..8);
                self.world.after(wait, Action::Write(id));
            }
            return;
        }
        self.batches.insert(id, batch);
        let wait = self.world.rng.random_range(1..9);
        self.world.after(wait, Action::Send(id, 0));
    }

    fn store(&mut self, turn: &Turn, version: u64) {
        let plan = Rc::clone(&self.world.plan);
        let Some(layout) = Layout::of(&plan, &turn.key.shard) else {
            return;
        };
        let bytes = turn.next.encode();
        let largest = &mut self.world.report.shard_bytes_max;
        *largest = (*largest).max(bytes.len());
        if bytes.len() > SHARD_BYTES {
            let what = format!("{:?} takes {} bytes", turn.key, bytes.len());
            self.world.violated("a shard fits 1 KiB", what);
        }
        if Shard::decode(&bytes).as_ref() != Ok(&turn.next) {
            let what = format!("{:?} is not read as it was written", turn.key);
            self.world.violated("encoding", what);
        }
        let due = turn.next.due(&layout).map(|time| time.0);
        let unprobed = Shard {
            probe: 0,
            ..turn.next.clone()
        };
        let timer = unprobed.due(&layout).map(|time| time.0);
        self.check_write(&turn.key, turn.before.as_ref(), &turn.next, due);
        self.world.note(|| describe(turn));
        let row = Row {
            version,
            bytes,
            due,
            timer,
        };
        self.world.shards.insert(turn.key.clone(), row);
        if let Some(at) = timer {
            let wait = at.saturating_sub(self.world.now);
            self.world.after(wait, Action::Timer(turn.key.clone(), at));
        }
        self.after_write(&turn.key, turn.before.as_ref(), &turn.next);
    }

    /// A planner sends its commands one by one, then acknowledges.
    pub(super) fn send(&mut self, id: u64, from: usize) {
        let Some(batch) = self.batches.remove(&id) else {
            return;
        };
        for (key, command) in batch.outbox.iter().skip(from) {
            if !batch.safe && self.world.crashes() {
                return self.world.note(|| format!("crash     sending {id}"));
            }
            self.command(key, command.clone());
        }
        if !batch.safe && self.world.crashes() {
            return self.world.note(|| format!("crash     before ack {id}"));
        }
        for message in batch.messages {
            self.world.messages.remove(&message);
        }
    }

    fn command(&mut self, key: &Key, command: Command) {
        let attempt = |slot, attempt| Attempt {
            key: key.clone(),
            slot,
            attempt,
        };
        let execution = key.execution;
        let work = match command {
            Command::Evaluate { .. } => return,
            Command::Launch { slot, attempt: n } => Work::Launch(attempt(slot, n)),
            Command::Stop { slot, attempt: n } => Work::Stop(attempt(slot, n)),
            Command::Probe { slot, attempt: n } => Work::Probe(attempt(slot, n)),
            Command::Acquire => Work::Acquire(execution),
            Command::Release { quarantine_until } => Work::Release(execution, quarantine_until),
            Command::Send { to, event } => {
                let unheard = self.config.mutation == Some(Mutation::NobodyAsks)
                    && matches!(event, Event::Asked { .. });
                if unheard {
                    return;
                }
                let to = Key {
                    execution,
                    shard: to,
                };
                Work::Plan(to, event)
            }
            Command::Finish { state, .. } => return self.finished(execution, state),
        };
        self.world.send(work);
    }
}

fn with_key(key: Key, commands: Vec<Command>) -> impl Iterator<Item = (Key, Command)> {
    commands
        .into_iter()
        .map(move |command| (key.clone(), command))
}

/// Makes a report about any attempt one about the present attempt.
fn unfence(event: &mut Event, shard: &Shard) {
    if let Event::Done { slot, attempt, .. }
    | Event::Stopped { slot, attempt }
    | Event::Probed { slot, attempt, .. } = event
        && let Some(task_run) = shard.slots.get(usize::from(*slot))
    {
        *attempt = task_run.attempt;
    }
}

fn describe(turn: &Turn) -> String {
    let mut line = format!("write     {}/{}", turn.key.execution, turn.key.shard);
    for event in &turn.events {
        line.push_str(&format!(" {event:?}"));
    }
    line.push_str(" =>");
    for (index, slot) in turn.next.slots.iter().enumerate() {
        let was = turn
            .before
            .as_ref()
            .and_then(|shard| shard.slots.get(index));
        if was != Some(slot) && (was.is_some() || slot.state != State::Waiting) {
            line.push_str(&format!(" {index}:{:?}({})", slot.state, slot.attempt));
        }
    }
    line.push_str(&format!(
        " phase={:?} round={}; {:?}",
        turn.next.phase, turn.next.round, turn.commands
    ));
    line
}
