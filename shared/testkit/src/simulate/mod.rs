//! The seeded simulator: random flows through the real compiler and the real [`operon_core::exec::apply`],
//! with everything around them simulated and made to fail.
//!
//! Planners and launchers die at every write, send and acknowledgement; messages are lost, repeated, late and
//! out of order; attempts fail, vanish and hang; people kill, answer and restart. The invariants of the
//! design are asserted at every write and at the end, and the outcome is compared with an independent,
//! sequential reading of the flow ([`oracle`]).
//!
//! Invariant: a seed and a configuration determine everything that happens.

#![allow(
    clippy::wildcard_enum_match_arm,
    clippy::format_push_string,
    clippy::needless_for_each,
    clippy::needless_pass_by_value,
    clippy::struct_field_names,
    reason = "a harness names the few states and events it treats apart, and prints traces for people"
)]

mod check;
mod flows;
pub mod oracle;
mod planner;
mod runtime;
pub mod script;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use operon_core::exec::State;
use operon_core::lang::model::Flow;
use operon_core::plan::compile;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

pub use flows::Shape;
use oracle::States;
use planner::Batch;
use script::Script;
use world::{Action, Key, World};

/// Invariant 2.
pub const ONE_ATTEMPT: &str = "2: a task run has at most one live attempt";
/// Invariant 3.
pub const NO_REPEAT: &str = "3: what is not idempotent is launched once";
/// Invariant 4.
pub const ALWAYS_DUE: &str = "4: whatever is not terminal is due";
/// Invariant 5.
pub const TERMINAL: &str = "5: terminal is final";
/// Invariant 6.
pub const LOCKS: &str = "6: never above the limit, never leaked";
/// Invariant 7.
pub const STOPPED: &str = "7: what is over runs no container";
/// Every execution ends.
pub const TERMINATION: &str = "every execution ends";
/// The outcome does not depend on faults.
pub const OUTCOME: &str = "the outcome is the reference's";
/// A fan-out stays in its window.
pub const WINDOW: &str = "open chunks are bounded by the window";

/// What everybody knows is not said for ever.
pub const SILENCE: &str = "messages do not multiply";

/// Messages that wait at once, after which they are taken to multiply: many times what the largest flow needs.
const MESSAGES_MAX: usize = 200_000;
/// Virtual milliseconds after which an execution that is not over never will be.
const TIME_MAX_MS: u64 = 90 * 24 * 60 * 60 * 1000;
/// Actions after which a simulation is taken to run in circles.
const ACTIONS_MAX: u64 = 20_000_000;

/// What goes wrong, each in how many of a thousand cases.
#[derive(Debug, Clone, Copy)]
pub struct Faults {
    /// A message is lost.
    pub lose: u32,
    /// A message comes twice.
    pub repeat: u32,
    /// A message takes seconds to a quarter of an hour.
    pub delay: u32,
    /// A handler dies, at each of its steps.
    pub crash: u32,
    /// Attempts of 100 that do not succeed.
    pub failing: u64,
    /// The reconciler sends ticks to what is due. Without it only redelivery heals.
    pub sweeper: bool,
}

impl Faults {
    /// Nothing goes wrong: for budgets.
    pub const CALM: Self = Self {
        lose: 0,
        repeat: 0,
        delay: 0,
        crash: 0,
        failing: 0,
        sweeper: true,
    };
    /// Handlers die, messages come twice and late; no message is lost and nobody sweeps (the control of aws.md 6.4).
    pub const CRASHES: Self = Self {
        lose: 0,
        repeat: 50,
        delay: 20,
        crash: 50,
        failing: 15,
        sweeper: false,
    };
    /// Everything.
    pub const STORM: Self = Self {
        lose: 120,
        repeat: 100,
        delay: 60,
        crash: 40,
        failing: 15,
        sweeper: true,
    };

    const fn is_calm(&self) -> bool {
        self.lose + self.repeat + self.delay + self.crash == 0
    }
}

/// A simplification that must not survive: the simulator leaves something out and must notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutation {
    /// An event that changes nothing yields no commands.
    CommandsOnChangeOnly,
    /// A report counts for whatever attempt is live.
    UnfencedCompletion,
    /// Planners overwrite each other.
    UnconditionalWrite,
    /// Nobody looks for what is due.
    NoSweeper,
    /// A shard never asks for facts it misses.
    NobodyAsks,
    /// A launch sent twice runs twice.
    RandomToken,
    /// The lock is given back whoever asks.
    UnfencedRelease,
    /// What shards tell each other is answered at every delivery, not only when it comes again: two shards that
    /// know everything of each other go on talking.
    AnswersEveryCopy,
}

/// What to simulate. What is `None` follows from the seed.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// What goes wrong.
    pub faults: Option<Faults>,
    /// How large the flow is.
    pub shape: Option<Shape>,
    /// The flow itself.
    pub flow: Option<Flow>,
    /// Executions of the flow.
    pub executions: Option<usize>,
    /// Rounds that people may add; each is wanted in half of the cases.
    pub restarts: u8,
    /// What is left out.
    pub mutation: Option<Mutation>,
    /// Keep a trace.
    pub trace: bool,
}

/// What a simulation did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Task runs compared with the reference, over all executions and rounds.
    pub task_runs: usize,
    /// The same of one execution in one round, the most.
    pub largest: usize,
    /// Shards read.
    pub reads: u64,
    /// Shards written, refused writes included.
    pub writes: u64,
    /// Writes refused because another planner wrote first.
    pub conflicts: u64,
    /// Messages sent.
    pub messages: u64,
    /// Attempts launched.
    pub launches: u64,
    /// Questions to the runtime.
    pub probes: u64,
    /// Handlers that died.
    pub crashes: u64,
    /// Bytes of the largest shard.
    pub shard_bytes_max: usize,
    /// Virtual milliseconds until nothing was left to do.
    pub virtual_ms: u64,
    /// States the executions ended in.
    pub ends: Vec<State>,
}

/// An invariant that broke.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub invariant: &'static str,
    /// How.
    pub what: String,
    /// When, in virtual milliseconds.
    pub at_ms: u64,
}

/// A simulation that broke an invariant.
#[derive(Debug, Clone)]
pub struct Failure {
    /// Repeats it.
    pub seed: u64,
    /// Its flow is a large one, see [`Shape::LARGE`].
    pub large: bool,
    /// What broke.
    pub violation: Violation,
    /// What happened until then, if a trace was wanted.
    pub trace: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Violation {
            invariant, what, ..
        } = &self.violation;
        write!(
            f,
            "seed {}: invariant «{invariant}» broke: {what}\nRepeat it: {}OPERON_SEED={} cargo test -p \
             operon-tests --test simulate -- one_seed --nocapture",
            self.seed,
            if self.large { "OPERON_LARGE=1 " } else { "" },
            self.seed
        )
    }
}

impl std::error::Error for Failure {}

/// One simulation.
pub struct Simulation {
    seed: u64,
    config: Config,
    flow: Flow,
    executions: usize,
    world: World,
    batches: BTreeMap<u64, Batch>,
    /// Task runs after the round before, by execution.
    rounds: BTreeMap<usize, States>,
    /// Rounds in which somebody ended the execution.
    killed: BTreeSet<(usize, u8)>,
    /// Rounds that people asked for.
    restarts: BTreeSet<(usize, u8)>,
    /// When each execution's flow ended last.
    ended: BTreeMap<usize, u64>,
    launches: BTreeMap<(usize, String), usize>,
    open_chunks: BTreeMap<(Key, u16), BTreeMap<u32, usize>>,
    finishes: BTreeMap<(usize, u8), State>,
}

impl Simulation {
    /// A simulation that follows from the seed and the configuration.
    ///
    /// # Panics
    /// When the compiler refuses the flow, which is a defect of the generator.
    #[must_use]
    pub fn new(seed: u64, config: Config) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut faults = config
            .faults
            .unwrap_or_else(|| match rng.random_range(0..4) {
                0 => Faults::CRASHES,
                _ => Faults::STORM,
            });
        let shape = config.shape.unwrap_or_else(|| shape(&mut rng));
        let (flow, plan) = match &config.flow {
            Some(flow) => (flow.clone(), compile(flow)),
            None => random_flow(&mut rng, shape),
        };
        #[allow(clippy::panic, reason = "a defect of the generator")]
        let plan = plan.unwrap_or_else(|errors| panic!("seed {seed}: no plan: {errors:?}"));
        let executions = config.executions.unwrap_or_else(|| {
            if plan.concurrency.is_some() {
                rng.random_range(2..6)
            } else {
                1
            }
        });
        let script = Script::new(rng.random(), faults.failing, faults.sweeper);
        if config.mutation == Some(Mutation::NoSweeper) {
            faults.sweeper = false;
        }
        let mut world = World::new(plan, script, faults, rng);
        world.trace = config.trace.then(Vec::new);
        Self {
            seed,
            config,
            flow,
            executions,
            world,
            batches: BTreeMap::new(),
            rounds: BTreeMap::new(),
            killed: BTreeSet::new(),
            restarts: BTreeSet::new(),
            ended: BTreeMap::new(),
            launches: BTreeMap::new(),
            open_chunks: BTreeMap::new(),
            finishes: BTreeMap::new(),
        }
    }

    /// The flow that is executed.
    #[must_use]
    pub const fn flow(&self) -> &Flow {
        &self.flow
    }

    /// Runs until nothing is left to do.
    ///
    /// # Errors
    /// The first invariant that broke.
    pub fn run(mut self) -> Result<Report, Box<Failure>> {
        let begin = self.world.now;
        for execution in 0..self.executions {
            let wait = self.world.rng.random_range(0..60_000);
            self.world.after(wait, Action::Intake(execution));
            if !self.world.faults.is_calm() && self.world.chance(150) {
                let wait = self.world.rng.random_range(0..1_u64 << 23);
                let exit = self.world.chance(300);
                self.world.after(wait, Action::Kill(execution, exit));
            }
        }
        if self.world.faults.sweeper {
            self.world.after(60_000, Action::Sweep);
        }
        let mut actions = 0_u64;
        while self.world.violation.is_none() {
            let Some(action) = self.world.next() else {
                break;
            };
            let sweeping = action == Action::Sweep;
            self.act(action);
            actions += 1;
            if sweeping && self.is_done() {
                break;
            }
            if self.world.now > begin + TIME_MAX_MS || actions > ACTIONS_MAX {
                break;
            }
        }
        if self.world.violation.is_none() {
            self.check_end();
        }
        self.world.report.virtual_ms = self.world.now - begin;
        match self.world.violation {
            None => Ok(self.world.report),
            Some(violation) => Err(Box::new(Failure {
                seed: self.seed,
                large: self.config.shape.is_some(),
                violation,
                trace: self.world.trace.unwrap_or_default(),
            })),
        }
    }

    fn is_done(&self) -> bool {
        let begun = (0..self.executions).all(|e| self.world.shards.contains_key(&World::root(e)));
        begun && self.batches.is_empty() && self.world.is_quiet() && self.world.is_idle()
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Deliver(id) => self.deliver(id),
            Action::Write(id) => self.write(id),
            Action::Send(id, from) => self.send(id, from),
            Action::Run(id, attempt) => self.run_task(id, attempt),
            Action::End(attempt) => self.end(attempt),
            Action::Down(attempt) => self.down(&attempt),
            Action::Timer(key, at) => self.timer(&key, at),
            Action::Sweep => self.sweep(),
            Action::Admit => _ = self.admit(),
            Action::Intake(execution) => self.intake(execution),
            Action::Kill(execution, exit) => self.kill(execution, exit),
            Action::Resume(key, slot) => self.resume(key, slot),
            Action::Restart(execution, round) => self.restart(execution, round),
        }
    }
}

/// Mostly small flows, sometimes large ones.
fn shape(rng: &mut SmallRng) -> Shape {
    let task_runs = match rng.random_range(0..100) {
        0..60 => rng.random_range(1..30),
        60..85 => rng.random_range(30..150),
        85..99 => rng.random_range(150..600),
        _ => rng.random_range(600..3_000),
    };
    Shape {
        task_runs,
        list: rng.random_range(3..16),
        waits: true,
    }
}

/// The plan of the flow that a seed stands for: for tests that want flows of every kind.
#[must_use]
pub fn random_plan(seed: u64, shape: Shape) -> Option<operon_core::plan::Plan> {
    random_flow(&mut SmallRng::seed_from_u64(seed), shape)
        .1
        .ok()
}

fn random_flow(
    rng: &mut SmallRng,
    shape: Shape,
) -> (
    Flow,
    Result<operon_core::plan::Plan, Vec<operon_core::plan::CompileError>>,
) {
    loop {
        let flow = flows::Maker::new(rng, shape).flow();
        match compile(&flow) {
            // A body may have become too large, which a user must change.
            Err(errors)
                if errors
                    .iter()
                    .all(|error| error.what.contains("loop's body has")) => {}
            plan => return (flow, plan),
        }
    }
}
