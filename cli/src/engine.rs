//! Working on executions until they are over, and what Ctrl-C does meanwhile.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use anyhow::Context as _;
use operon_core::exec::{Event, Reason};
use operon_engine::Ports;
use operon_engine::finish::last_try;
use operon_engine::ports::{AttemptRow, ExecutionId, ExecutionRow, ShardKey};
use operon_local::dispatch::Limits;
use operon_local::embedded::{Engine, FlowSource, Observer};
use operon_local::laptop::{Laptop, OpenError, Options, ports_beside};
use operon_local::runner::RunnerChoice;
use operon_local::state_dir::StateDirError;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::args::{EngineArgs, RunnerName};
use crate::exit::Usage;
use crate::report::Report;

/// How often a report may draw.
const TICK: Duration = Duration::from_millis(100);

/// A report that the engine tells everything.
#[derive(Clone)]
pub(crate) struct Shown(Rc<RefCell<Box<dyn Report>>>);

impl Shown {
    pub(crate) fn new(report: Box<dyn Report>) -> Self {
        Self(Rc::new(RefCell::new(report)))
    }

    /// Something to be said between what is shown.
    pub(crate) fn note(&self, text: &str) {
        self.0.borrow_mut().note(text);
    }

    /// The end: nothing is shown after it.
    pub(crate) fn close(&self) {
        self.0.borrow_mut().close();
    }

    fn tick(&self) {
        self.0.borrow_mut().tick();
    }
}

impl Observer for Shown {
    fn execution(&self, row: &ExecutionRow) {
        self.0.borrow_mut().execution(row);
    }

    fn task_run(&self, row: &AttemptRow) {
        self.0.borrow_mut().task_run(row);
    }
}

/// How work came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Everything is over.
    Over,
    /// The user left at once.
    Left,
}

/// Runs `work` with a runtime on this thread, where the engine lives.
pub(crate) fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the runtime cannot be started")?;
    let result = tokio::task::LocalSet::new().block_on(&runtime, work);
    // What still blocks (a file that is being copied) must not keep the process.
    runtime.shutdown_background();
    result
}

/// Opens the state directory with an engine of its own, whose flows are found through its ports.
pub(crate) async fn open_with(
    args: &EngineArgs,
    buckets: BTreeMap<String, PathBuf>,
    flows: impl FnOnce(&Ports) -> Box<dyn FlowSource>,
    observer: Box<dyn Observer>,
) -> anyhow::Result<Laptop> {
    let options = Options {
        buckets,
        ..options(args)
    };
    let opened = Laptop::open_with(&args.state.dir, options, flows, observer);
    opened.await.map_err(explained)
}

async fn opened(
    args: &EngineArgs,
    flows: Box<dyn FlowSource>,
    shown: &Shown,
) -> Result<Laptop, OpenError> {
    Laptop::open(
        &args.state.dir,
        options(args),
        flows,
        Box::new(shown.clone()),
    )
    .await
}

fn options(args: &EngineArgs) -> Options {
    let machine = Limits::of_machine();
    Options {
        limits: Limits {
            cpu_milli: args.cpus.unwrap_or(machine.cpu_milli),
            memory_mib: args.memory.unwrap_or(machine.memory_mib),
            max_parallel: args.max_parallel,
        },
        runner: match args.runner {
            RunnerName::Auto => RunnerChoice::Auto,
            RunnerName::Process => RunnerChoice::Process,
            RunnerName::Docker => RunnerChoice::Docker,
        },
        secrets: args.secrets.clone(),
        variables: std::env::vars_os().collect(),
        buckets: BTreeMap::new(),
    }
}

/// Opens the state directory with an engine of its own.
pub(crate) async fn open(
    args: &EngineArgs,
    flows: Box<dyn FlowSource>,
    shown: &Shown,
) -> anyhow::Result<Laptop> {
    opened(args, flows, shown).await.map_err(explained)
}

/// The ports of a state directory on which another engine works.
pub(crate) fn beside(args: &EngineArgs) -> anyhow::Result<Ports> {
    ports_beside(&args.state.dir, options(args)).map_err(explained)
}

/// [`open`], or nothing when another engine works on the state directory.
pub(crate) async fn try_open(
    args: &EngineArgs,
    flows: Box<dyn FlowSource>,
    shown: &Shown,
) -> anyhow::Result<Option<Laptop>> {
    match opened(args, flows, shown).await {
        Err(OpenError::StateDir(StateDirError::Locked { .. })) => Ok(None),
        result => result.map(Some).map_err(explained),
    }
}

/// What the user can put right, and what not.
fn explained(error: OpenError) -> anyhow::Error {
    match error {
        OpenError::StateDir(_) | OpenError::Secrets(_) | OpenError::Messages(_) => {
            Usage::new(error.to_string()).into()
        }
        OpenError::Store(_)
        | OpenError::Artifacts(_)
        | OpenError::Orphans(_)
        | OpenError::Logs(_) => error.into(),
    }
}

/// Works until every execution is over. The first Ctrl-C kills `watched`, the second leaves.
pub(crate) async fn work(
    engine: &Engine,
    shown: &Shown,
    watched: &[ExecutionId],
) -> anyhow::Result<End> {
    work_on_all_but(&HashSet::new(), engine, shown, watched).await
}

/// [`work`], which does not wait for the end of those of `waiting`.
pub(crate) async fn work_on_all_but(
    waiting: &HashSet<ExecutionId>,
    engine: &Engine,
    shown: &Shown,
    watched: &[ExecutionId],
) -> anyhow::Result<End> {
    let mut interrupts = Interrupts::new()?;
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut over = pin!(engine.run_to_end_of_all_but(waiting));
    let mut killed = false;
    loop {
        tokio::select! {
            biased;
            () = interrupts.next() => {
                if killed {
                    return Ok(End::Left);
                }
                killed = true;
                shown.note("Killing what runs; press Ctrl-C again to leave it and resume later.");
                for id in watched {
                    let store = &engine.evaluator().ports.store;
                    match store.execution(id).await? {
                        // What was tried again runs under another id.
                        Some(row) => kill(engine, &last_try(&**store, row).await?.meta.id),
                        None => kill(engine, id),
                    }
                }
            }
            result = &mut over => return Ok(result.map(|()| End::Over)?),
            _ = ticks.tick() => shown.tick(),
        }
    }
}

/// Asks the engine to kill an execution.
pub(crate) fn kill(engine: &Engine, id: &ExecutionId) {
    let event = Event::Kill {
        reason: Reason::Kill,
        round: None,
    };
    engine.send(ShardKey::root(id), event);
}

/// Ctrl-C, and what asks a process to end.
struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Interrupts {
    fn new() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("signals cannot be received");
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}
