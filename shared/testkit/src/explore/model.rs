//! What the numbers in a world mean, and what a planner's turn makes of them.
//!
//! Time. The core compares times only with the present. So the explorer keeps no clock: a stored due time
//! is either set or not, and every turn happens at the same instant, before all of them. Time passes by a
//! tick: the sweeper picks one thing that is due some day, and for that turn it lies in the past. Any order
//! of due times is thereby explored, including those that the constants of the core make impossible; an
//! invariant that holds here holds for all durations.

use std::collections::{BTreeMap, HashMap};

use operon_core::exec::{
    Command, Event, Lock, Outcome, Reason, RootPhase, Shard, State, Time, Truth, Verdict, apply,
};
use operon_core::plan::{Layout, Node, NodeKind, Place, Plan, ShardId};

use super::intern::Interner;
use super::world::{Bits, CELLS_MAX, Fate, Faults, Hand, TOKENS_MAX, Token, World};
use super::{Mutant, Setup};

/// The instant of every turn, in milliseconds since the epoch of every shard.
const NOW: Time = Time(100_000_000);
/// A due time that has passed, in units of the shard.
const PAST: u32 = 1;
/// A due time that has not.
const FUTURE: u32 = u32::MAX - 1;

/// A shard of one of the executions.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Cell {
    pub(super) execution: u8,
    pub(super) at: ShardId,
}

/// What the table holds for a cell.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Stored {
    pub(super) cell: u8,
    pub(super) shard: Shard,
    /// Of [`Mutant::DependencyCounter`] only.
    pub(super) counter: u8,
}

/// Something that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Due {
    /// The runtime and other shards are asked again.
    Probe,
    /// The flow's limit, or its next try.
    Deadline,
    /// A task run's own time.
    Slot(u16),
}

/// What a planner has received.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Input {
    /// A message of the plan queue; or, not `queued`, the runtime's answer to a question that some tick
    /// asked.
    Message { message: u16, queued: bool },
    /// A tick. Of ticks, as of answers, only those that come again are in the queue.
    Tick {
        cell: u8,
        due: Option<Due>,
        queued: bool,
    },
    /// A quarantine in the lock has passed. Whoever looks for what is due looks for locks too.
    LockDue,
}

/// An item of the launch queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Work {
    Launch(u16),
    Stop(u16),
}

/// What is recorded of the end of a round, 0 of none. Of a later round it is larger, so that what a slow planner says of
/// an earlier one is seen to be old, as stores see it by the version of the shard.
pub(super) fn recorded(round: u8, state: State) -> u8 {
    round << 5 | (state as u8 + 1)
}

/// Something a planner does after its write, one at a time, with a crash point before each.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Op {
    Tell(u16),
    Work(u16),
    /// Of an execution, what [`recorded`] gives.
    Finish(u8, u8),
    /// Puts an execution into the queue of the lock, or takes it out.
    Queue(u8, bool),
    /// Admission, read by read: the lock, its owners' shards, the queue; then the conditional write.
    Admit,
    AdmitOwners {
        before: u16,
    },
    AdmitQueue {
        before: u16,
        after: u16,
    },
    AdmitSave {
        before: u16,
        after: u16,
        granted: u8,
    },
    /// Whoever has a slot already is told so, wherever the queue stands.
    TakeOver(u8),
    Release(u8),
    ReleaseSave {
        execution: u8,
        before: u16,
    },
}

/// What a turn makes of a stored shard.
#[derive(Debug, Clone, Copy)]
pub(super) struct Turn {
    pub(super) next: u16,
    pub(super) ops: u16,
}

/// An attempt: its cell, slot and number.
pub(super) type Attempt = (u8, u16, u8);

/// The configuration with everything that was numbered so far.
pub(super) struct Model<'s> {
    pub(super) setup: &'s Setup,
    pub(super) mutant: Option<Mutant>,
    pub(super) cells: Vec<Cell>,
    pub(super) stored: Interner<Stored>,
    /// What is due in each stored shard.
    pub(super) dues: Vec<Vec<Due>>,
    pub(super) messages: Interner<(u8, Event)>,
    pub(super) work: Interner<Work>,
    pub(super) inputs: Interner<Input>,
    pub(super) ops: Interner<Vec<Op>>,
    pub(super) attempts: Interner<Attempt>,
    pub(super) locks: Interner<Lock>,
    /// Whether attempts may be stopped.
    pub(super) stops: bool,
    turns: HashMap<(u16, u16), Turn>,
}

impl<'s> Model<'s> {
    pub(super) fn new(setup: &'s Setup, mutant: Option<Mutant>) -> Self {
        let mut cells = Vec::new();
        for execution in 0..setup.executions {
            for at in &setup.shards {
                cells.push(Cell {
                    execution,
                    at: at.clone(),
                });
            }
        }
        assert!(
            cells.len() <= CELLS_MAX,
            "the configuration has too many shards"
        );
        Self {
            setup,
            mutant,
            cells,
            stored: Interner::new(),
            dues: Vec::new(),
            messages: Interner::new(),
            work: Interner::new(),
            inputs: Interner::new(),
            ops: Interner::new(),
            attempts: Interner::new(),
            locks: Interner::new(),
            stops: false,
            turns: HashMap::new(),
        }
    }

    pub(super) fn mutated(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    /// Nothing has happened but that the executions were created.
    pub(super) fn first(&mut self, faults: Faults) -> World {
        self.stops = faults.kill > 0 || faults.timeout > 0;
        let mut world = World {
            cells: [0; CELLS_MAX],
            plan: Bits::default(),
            launch: Bits::default(),
            runtime: [Token::default(); TOKENS_MAX],
            planners: <[Hand; super::world::PLANNERS]>::default(),
            launcher: Hand::default(),
            lock: self.lock(Lock::default()),
            queued: 0,
            resting: 0,
            finished: [0; 2],
            faults,
        };
        for cell in 0..self.cell_count() {
            let layout = self.layout(cell);
            let shard = Shard::fresh(&layout, Time(0));
            let counter = joining(&layout).map_or(0, |node| node.1.deps.len());
            world.cells[usize::from(cell)] = self.store(Stored {
                cell,
                shard,
                counter: u8::try_from(counter).unwrap_or(u8::MAX),
            });
            if self.cells[usize::from(cell)].at == ShardId::ROOT {
                world.plan = world.plan.with(self.message(cell, Event::Start));
            }
        }
        world
    }

    pub(super) fn cell_count(&self) -> u8 {
        u8::try_from(self.cells.len()).unwrap_or(u8::MAX)
    }

    pub(super) fn plan(&self) -> &'s Plan {
        &self.setup.plan
    }

    #[allow(
        clippy::expect_used,
        reason = "a configuration that names a shard its plan lacks is a mistake"
    )]
    pub(super) fn layout(&self, cell: u8) -> Layout<'s> {
        Layout::of(&self.setup.plan, &self.cells[usize::from(cell)].at)
            .expect("the configuration names a shard that its plan does not have")
    }

    /// The cell of a shard of an execution.
    #[allow(
        clippy::expect_used,
        reason = "a configuration that lacks a shard is a mistake"
    )]
    pub(super) fn cell(&self, execution: u8, at: &ShardId) -> u8 {
        let found = self
            .cells
            .iter()
            .position(|cell| cell.execution == execution && cell.at == *at)
            .expect("a command names a shard that the configuration does not list");
        u8::try_from(found).unwrap_or(u8::MAX)
    }

    pub(super) fn message(&mut self, cell: u8, event: Event) -> u16 {
        self.messages.number((cell, event)).0
    }

    /// The message as it is when it is delivered once more.
    pub(super) fn again(&mut self, message: u16) -> u16 {
        let (cell, event) = self.messages.value(message).clone();
        self.message(cell, event.redelivered())
    }

    pub(super) fn lock(&mut self, lock: Lock) -> u16 {
        self.locks.number(lock).0
    }

    pub(super) fn attempt(&mut self, cell: u8, slot: u16, attempt: u8) -> u16 {
        let number = self.attempts.number((cell, slot, attempt)).0;
        assert!(
            usize::from(number) < TOKENS_MAX,
            "the configuration has too many attempts"
        );
        number
    }

    /// The rest of `ops` after its first.
    pub(super) fn rest(&mut self, ops: u16) -> u16 {
        let rest = self.ops.value(ops)[1..].to_vec();
        self.ops.number(rest).0
    }

    /// `ops` with its first replaced.
    pub(super) fn instead(&mut self, ops: u16, first: impl IntoIterator<Item = Op>) -> u16 {
        let mut all: Vec<Op> = first.into_iter().collect();
        all.extend_from_slice(&self.ops.value(ops)[1..]);
        self.ops.number(all).0
    }

    /// Stores a shard whose due times are `PAST`, `FUTURE` or anything: all become "some day".
    pub(super) fn store(&mut self, mut stored: Stored) -> u16 {
        let layout = self.layout(stored.cell);
        let mut due = Vec::new();
        let shard = &mut stored.shard;
        for (slot, task_run) in (0_u16..).zip(&mut shard.slots) {
            // The `due` of a loop that runs counts its iterations.
            let counts = task_run.state == State::Body;
            if task_run.due != 0 && !counts {
                task_run.due = FUTURE;
                due.push(Due::Slot(slot));
            }
        }
        for (tick, kind) in [
            (&mut shard.deadline, Due::Deadline),
            (&mut shard.probe, Due::Probe),
        ] {
            if *tick != 0 {
                *tick = FUTURE;
                due.push(kind);
            }
        }
        assert_eq!(
            due.is_empty(),
            shard.due(&layout).is_none(),
            "the explorer and the core disagree about what is due"
        );
        let (number, new) = self.stored.number(stored);
        if new {
            self.dues.push(due);
        }
        number
    }

    /// What `input` makes of the stored shard `read`.
    pub(super) fn turn(&mut self, read: u16, input: u16) -> Turn {
        if let Some(turn) = self.turns.get(&(read, input)) {
            return *turn;
        }
        let turn = self.take_turn(read, input);
        self.turns.insert((read, input), turn);
        turn
    }

    fn take_turn(&mut self, read: u16, input: u16) -> Turn {
        let mut stored = self.stored.value(read).clone();
        let mut event = match self.inputs.value(input) {
            Input::Message { message, .. } => self.messages.value(*message).1.clone(),
            Input::Tick { due, .. } => {
                match due {
                    Some(Due::Probe) => stored.shard.probe = PAST,
                    Some(Due::Deadline) => stored.shard.deadline = PAST,
                    Some(Due::Slot(slot)) => stored.shard.slots[usize::from(*slot)].due = PAST,
                    None => {}
                }
                Event::Tick
            }
            Input::LockDue => Event::Tick,
        };
        if self.mutated(Mutant::UnfencedCompletion)
            && let Event::Done { slot, attempt, .. } = &mut event
        {
            *attempt = stored.shard.slots[usize::from(*slot)].attempt;
        }
        let Cell { execution, at } = self.cells[usize::from(stored.cell)].clone();
        let plan = self.plan();
        let (mut shard, mut commands) =
            apply(plan, &at, &stored.shard, std::slice::from_ref(&event), NOW);
        self.decide(&at, &mut shard, &mut commands);
        let before = stored.shard;
        stored.shard = shard;
        if self.mutated(Mutant::DependencyCounter) {
            self.count_dependency(&mut stored, &event, &mut commands);
        }
        if self.mutated(Mutant::SendOnChangeOnly) && before == stored.shard {
            commands.clear();
        }
        let (cell, round) = (stored.cell, stored.shard.round);
        let next = self.store(stored);
        let ops: Vec<Op> = commands
            .into_iter()
            .flat_map(|command| self.ops_of((execution, round), cell, command))
            .collect();
        let ops = self.ops.number(ops).0;
        Turn { next, ops }
    }

    /// Evaluates expressions inside the turn, before the write, as the planner of the engine does.
    fn decide(&self, at: &ShardId, shard: &mut Shard, commands: &mut Vec<Command>) {
        loop {
            let mut events = Vec::new();
            commands.retain(|command| {
                let Command::Evaluate { slot } = command else {
                    return true;
                };
                events.push(Event::Decided {
                    slot: *slot,
                    verdict: self.verdict(at, *slot, shard.slots[usize::from(*slot)].state),
                });
                false
            });
            if events.is_empty() {
                return;
            }
            let (next, more) = apply(self.plan(), at, shard, &events, NOW);
            *shard = next;
            for command in more {
                if !commands.contains(&command) {
                    commands.push(command);
                }
            }
        }
    }

    fn verdict(&self, at: &ShardId, slot: u16, state: State) -> Verdict {
        let node = Layout::of(self.plan(), at)
            .and_then(|layout| layout.nodes.get(usize::from(layout.node_of(slot)?)));
        let id = node.map_or("", |node| node.id.as_str());
        let gate = state == State::Gate;
        let verdicts: &BTreeMap<String, Verdict> = if gate {
            &self.setup.gates
        } else {
            &self.setup.verdicts
        };
        verdicts.get(id).copied().unwrap_or(Verdict::Error)
    }

    /// The mutant that starts the joining task when as many reports came as it has dependencies.
    fn count_dependency(
        &mut self,
        stored: &mut Stored,
        event: &Event,
        commands: &mut Vec<Command>,
    ) {
        let layout = self.layout(stored.cell);
        let Some((join, node)) = joining(&layout) else {
            return;
        };
        let Event::Done {
            slot,
            outcome: Outcome::Success,
            ..
        } = event
        else {
            return;
        };
        if layout
            .node_of(*slot)
            .is_some_and(|from| node.deps.contains(&from))
        {
            stored.counter = stored.counter.saturating_sub(1);
        }
        let task_run = &mut stored.shard.slots[usize::from(join)];
        if stored.counter == 0 && task_run.state == State::Waiting {
            task_run.state = State::Launching;
            task_run.attempt = 1;
            task_run.due = FUTURE;
            commands.push(Command::Launch {
                slot: join,
                attempt: 1,
            });
        }
    }

    fn ops_of(&mut self, (execution, round): (u8, u8), cell: u8, command: Command) -> Vec<Op> {
        match command {
            // Evaluated inside the turn.
            Command::Evaluate { .. } => Vec::new(),
            Command::Launch { slot, attempt } => {
                let token = self.attempt(cell, slot, attempt);
                vec![Op::Work(self.work.number(Work::Launch(token)).0)]
            }
            Command::Stop { slot, attempt } => {
                let token = self.attempt(cell, slot, attempt);
                vec![Op::Work(self.work.number(Work::Stop(token)).0)]
            }
            // The answer may come at any time, see `super::steps`.
            Command::Probe { slot, attempt } => {
                self.attempt(cell, slot, attempt);
                Vec::new()
            }
            Command::Send { to, event } => {
                let to = self.cell(execution, &to);
                vec![Op::Tell(self.message(to, event))]
            }
            Command::Acquire => vec![
                Op::Queue(execution, true),
                Op::Admit,
                Op::TakeOver(execution),
            ],
            Command::Release { .. } => vec![Op::Queue(execution, false), Op::Release(execution)],
            Command::Finish { state, .. } => vec![Op::Finish(execution, recorded(round, state))],
        }
    }

    pub(super) fn shard(&self, world: &World, cell: u8) -> &Shard {
        &self.stored.value(world.cells[usize::from(cell)]).shard
    }

    pub(super) fn root(&self, world: &World, execution: u8) -> &Shard {
        self.shard(world, self.cell(execution, &ShardId::ROOT))
    }

    /// Whether nothing is left to do, and everybody has been told.
    ///
    /// The lock may still name an execution that is over: one that was granted late. The next admission
    /// frees it, so what counts is that no execution waits for ever.
    pub(super) fn is_over(&self, world: &World) -> bool {
        let over = |execution| {
            let root = self.root(world, execution);
            let record = world.finished[usize::from(execution)];
            root.phase == RootPhase::Over && record == recorded(root.round, root.slots[0].state)
        };
        (0..self.setup.executions).all(over)
    }

    /// What the runtime has answered so far when it was asked about an attempt, the present answer last.
    pub(super) fn truths(token: Token) -> Vec<Truth> {
        let mut truths = vec![Truth::Absent];
        if token.started > 0 {
            truths.push(Truth::Alive);
            truths.extend(match token.fate {
                Fate::Absent | Fate::Alive => None,
                Fate::Succeeded => Some(Truth::Ended(Outcome::Success)),
                Fate::Failed => Some(Truth::Ended(Outcome::Failed(Reason::ExitCode))),
                Fate::Interrupted | Fate::Stopped => Some(Truth::Gone),
            });
        }
        truths
    }
}

/// The slot and node of the task that joins others: the one with most dependencies.
fn joining<'p>(layout: &Layout<'p>) -> Option<(u16, &'p Node)> {
    let Place::Static(part) = layout.place else {
        return None;
    };
    (0_u16..)
        .zip(&part.slots)
        .filter_map(|(slot, node)| Some((slot, layout.nodes.get(usize::from(*node))?)))
        .filter(|(_, node)| matches!(node.kind, NodeKind::Task(_)) && !node.deps.is_empty())
        .max_by_key(|(_, node)| node.deps.len())
}
