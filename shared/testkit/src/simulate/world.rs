//! What the simulated parts share: the table, the queues, the runtime, the clock and the dice.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::rc::Rc;

use operon_core::exec::{Event, Lock, Outcome, Shard, Time};
use operon_core::plan::{Layout, Plan, ShardId};
use rand::Rng;
use rand::rngs::SmallRng;

use super::script::Script;
use super::{Faults, Report, Violation};

/// A shard of an execution.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key {
    pub(super) execution: usize,
    pub(super) shard: ShardId,
}

/// One attempt of a task run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Attempt {
    pub(super) key: Key,
    pub(super) slot: u16,
    pub(super) attempt: u8,
}

/// What a message asks for.
#[derive(Debug, Clone)]
pub(super) enum Work {
    Plan(Key, Event),
    Launch(Attempt),
    Stop(Attempt),
    Probe(Attempt),
    Acquire(usize),
    Release(usize, Option<Time>),
}

/// A message that has not been acknowledged.
#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) work: Work,
    pub(super) visible_at: u64,
    /// Whether somebody has received it before.
    pub(super) received: bool,
}

/// What happens at some time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Action {
    /// A message reaches a planner or launcher.
    Deliver(u64),
    /// A planner writes.
    Write(u64),
    /// A planner sends commands, from this one on.
    Send(u64, usize),
    /// A launcher calls the runtime after it has passed the fence.
    Run(u64, Attempt),
    /// An attempt reaches its end.
    End(Attempt),
    /// A stopped attempt is down.
    Down(Attempt),
    /// A self-re-arming timer.
    Timer(Key, u64),
    /// The reconciler looks for what is due.
    Sweep,
    /// The source of the execution's event delivers it (again).
    Intake(usize),
    /// A quarantine of the lock is over.
    Admit,
    /// A person kills the execution.
    Kill(usize, bool),
    /// A person answers a pause.
    Resume(Key, u16),
    /// A person restarts the execution in this round.
    Restart(usize, u8),
}

/// What the runtime knows of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Container {
    Alive,
    Ended(Outcome),
    Gone,
    /// Stopped before it was launched: it will not start.
    Tombstone,
}

/// A shard in the table.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) version: u64,
    pub(super) bytes: Vec<u8>,
    pub(super) due: Option<u64>,
    /// Due for something else than asking again.
    pub(super) timer: Option<u64>,
}

/// The world.
pub(super) struct World {
    pub(super) plan: Rc<Plan>,
    pub(super) script: Script,
    pub(super) faults: Faults,
    pub(super) rng: SmallRng,
    pub(super) now: u64,
    pub(super) shards: BTreeMap<Key, Row>,
    pub(super) lock: Lock,
    pub(super) queued: BTreeSet<usize>,
    pub(super) messages: BTreeMap<u64, Message>,
    pub(super) containers: BTreeMap<Attempt, Container>,
    pub(super) report: Report,
    pub(super) violation: Option<Violation>,
    pub(super) trace: Option<Vec<String>>,
    agenda: BinaryHeap<Reverse<(u64, u64, Action)>>,
    next_id: u64,
}

impl World {
    pub(super) fn new(plan: Plan, script: Script, faults: Faults, rng: SmallRng) -> Self {
        Self {
            plan: Rc::new(plan),
            script,
            faults,
            rng,
            now: 1_700_000_000_000,
            shards: BTreeMap::new(),
            lock: Lock::default(),
            queued: BTreeSet::new(),
            messages: BTreeMap::new(),
            containers: BTreeMap::new(),
            report: Report::default(),
            violation: None,
            trace: None,
            agenda: BinaryHeap::new(),
            next_id: 0,
        }
    }

    pub(super) fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    pub(super) fn after(&mut self, ms: u64, action: Action) {
        let id = self.id();
        self.agenda.push(Reverse((self.now + ms, id, action)));
    }

    /// The next action, with the clock set to it.
    pub(super) fn next(&mut self) -> Option<Action> {
        let Reverse((time, _, action)) = self.agenda.pop()?;
        self.now = self.now.max(time);
        Some(action)
    }

    /// Notes what broke, once: the first violation is the cause.
    pub(super) fn violated(&mut self, invariant: &'static str, what: String) {
        self.note(|| format!("VIOLATION of {invariant}: {what}"));
        let at_ms = self.now;
        self.violation.get_or_insert(Violation {
            invariant,
            what,
            at_ms,
        });
    }

    /// Writes a line of the trace, if there is one.
    pub(super) fn note(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:>12} {}", self.now - 1_700_000_000_000, line()));
        }
    }

    /// Whether something of that many in a thousand happens now.
    pub(super) fn chance(&mut self, per_thousand: u32) -> bool {
        per_thousand > 0 && self.rng.random_range(0..1000) < per_thousand
    }

    /// Whether a handler dies here.
    pub(super) fn crashes(&mut self) -> bool {
        let crashed = self.chance(self.faults.crash);
        self.report.crashes += u64::from(crashed);
        crashed
    }

    /// From sending to receiving: the measured distribution of SQS to Lambda (aws.md 4.1: p50 16, p90 34,
    /// p99 105 ms), now and then far more.
    fn hop(&mut self) -> u64 {
        if self.chance(self.faults.delay) {
            return self.rng.random_range(1_000..900_000);
        }
        match self.rng.random_range(0..1000) {
            0..500 => self.rng.random_range(8..17),
            500..900 => self.rng.random_range(16..35),
            900..990 => self.rng.random_range(34..106),
            _ => self.rng.random_range(105..1_000),
        }
    }

    /// Sends a message, which may be lost, repeated and late.
    pub(super) fn send(&mut self, work: Work) {
        self.report.messages += 1;
        if self.messages.len() > super::MESSAGES_MAX {
            let what = format!("{} messages wait", self.messages.len());
            self.violated(super::SILENCE, what);
        }
        if self.chance(self.faults.lose) {
            return self.note(|| format!("lost      {work:?}"));
        }
        let copies = 1 + u32::from(self.chance(self.faults.repeat));
        for _ in 0..copies {
            let hop = self.hop();
            let id = self.id();
            let message = Message {
                work: work.clone(),
                visible_at: self.now + hop,
                received: false,
            };
            self.messages.insert(id, message);
            self.after(hop, Action::Deliver(id));
        }
    }

    pub(super) fn send_event(&mut self, key: &Key, event: Event) {
        self.send(Work::Plan(key.clone(), event));
    }

    /// A message has been received: unless it is acknowledged, it comes again.
    pub(super) fn receive(&mut self, id: u64) {
        let visibility = 60_000;
        let again = self.now + visibility;
        if let Some(message) = self.messages.get_mut(&id) {
            message.visible_at = again;
            message.received = true;
        }
        self.after(visibility, Action::Deliver(id));
    }

    /// The shard as stored, with its version; version 0 when there is none.
    pub(super) fn read(&mut self, key: &Key) -> (u64, Option<Shard>) {
        self.report.reads += 1;
        self.look(key)
    }

    /// Reads without being counted: for checks and people.
    pub(super) fn look(&mut self, key: &Key) -> (u64, Option<Shard>) {
        let Some(row) = self.shards.get(key) else {
            return (0, None);
        };
        let version = row.version;
        match Shard::decode(&row.bytes) {
            Ok(shard) => (version, Some(shard)),
            Err(error) => {
                self.violated("encoding", format!("{key:?}: {error}"));
                (version, None)
            }
        }
    }

    pub(super) fn root(execution: usize) -> Key {
        Key {
            execution,
            shard: ShardId::ROOT,
        }
    }

    pub(super) fn root_shard(&mut self, execution: usize) -> Option<Shard> {
        self.look(&Self::root(execution)).1
    }

    pub(super) fn name(&self, key: &Key, slot: u16) -> String {
        self.plan
            .task_run_name(&key.shard, slot)
            .unwrap_or_default()
    }

    /// The shard nothing has happened to.
    pub(super) fn fresh(&self, key: &Key) -> Option<Shard> {
        Layout::of(&self.plan, &key.shard).map(|layout| Shard::fresh(&layout, Time(self.now)))
    }

    /// Whether the agenda holds nothing but what repeats for ever.
    pub(super) fn is_idle(&self) -> bool {
        self.agenda
            .iter()
            .all(|Reverse((_, _, action))| match action {
                Action::Sweep | Action::Admit | Action::Deliver(_) | Action::Timer(..) => true,
                Action::End(attempt) => self.containers.get(attempt) != Some(&Container::Alive),
                Action::Write(_)
                | Action::Send(..)
                | Action::Run(..)
                | Action::Down(_)
                | Action::Intake(_)
                | Action::Kill(..)
                | Action::Resume(..)
                | Action::Restart(..) => false,
            })
    }

    /// Whether no message is under way and no shard is due.
    pub(super) fn is_quiet(&self) -> bool {
        self.messages.is_empty()
            && self.shards.values().all(|row| {
                if self.faults.sweeper {
                    row.due
                } else {
                    row.timer
                }
                .is_none()
            })
    }
}
