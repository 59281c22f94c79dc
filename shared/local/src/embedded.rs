//! The embedded engine: planner, launcher and timers in one process, over the ports of this machine.
//!
//! Queues are memory. A crash loses them and nothing else: at the start everything pending is derived from
//! state again, and attempts that a crash orphaned are found, ended and reported.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use operon_core::exec::Event;
use operon_engine::Ports;
use operon_engine::evaluate::Evaluator;
use operon_engine::planner::{Message, Planner, TurnError};
use operon_engine::plans::Plans;
use operon_engine::ports::{
    AttemptId, AttemptRow, ExecutionId, ExecutionRow, ShardKey, StateStore as _, StoreError,
    TaskRunner,
};
use operon_engine::shards::Shards;
use operon_engine::tasks::HttpClients;
use tokio::sync::mpsc;
use tracing::{debug, warn};

use crate::store::SqliteStore;

mod attempt;
mod effects;
mod flows;
#[cfg(test)]
mod migration_tests;
mod recovery;
#[cfg(test)]
mod recovery_tests;
#[cfg(test)]
mod replay_tests;
mod subflow;
#[cfg(test)]
mod tests;

pub use flows::{FlowError, FlowSource};

/// Messages applied in one turn at most: one transaction, one sync of the disk.
const TURN_MESSAGES: usize = 1024;
/// How often commands of other processes are looked for.
const INBOX_INTERVAL: Duration = Duration::from_millis(200);
/// Pause before a turn is repeated when the store does not answer.
const STORE_PAUSE: Duration = Duration::from_millis(200);
/// Turns that may fail one after the other before the engine gives up. Nothing is lost then.
const STORE_TRIES: u32 = 50;

/// Hears what happens, in order, after it is durable.
pub trait Observer {
    /// An execution's row changed.
    fn execution(&self, row: &ExecutionRow);
    /// A task run's row changed.
    fn task_run(&self, row: &AttemptRow);
}

/// What the engine is made of.
pub struct Parts {
    /// The world.
    pub ports: Ports,
    /// The same store as in `ports`, with what only this engine needs.
    pub store: Arc<SqliteStore>,
    /// Executes processes and containers, within the machine's resources.
    pub runner: Arc<dyn TaskRunner>,
    /// Finds flows for `Subflow`.
    pub flows: Box<dyn FlowSource>,
    /// Hears what happens.
    pub observer: Box<dyn Observer>,
    /// For built-in HTTP tasks.
    pub http: HttpClients,
}

/// Why the engine stopped.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// A turn failed for good.
    #[error(transparent)]
    Turn(#[from] TurnError),
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The embedded engine. Cheap to clone; lives on one thread.
#[derive(Clone)]
pub struct Engine {
    inner: Rc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) parts: Parts,
    pub(crate) planner: Planner,
    pub(crate) evaluator: Evaluator,
    queue: RefCell<VecDeque<Message>>,
    sender: mpsc::UnboundedSender<Message>,
    receiver: RefCell<Option<mpsc::UnboundedReceiver<Message>>>,
    timers: RefCell<Timers>,
    /// Attempts this process is executing, with what stops the built-in ones.
    pub(crate) attempts: RefCell<HashMap<AttemptId, Option<tokio::task::AbortHandle>>>,
    /// Executions that are not over.
    running: RefCell<HashSet<ExecutionId>>,
    /// Who waits for the end of an execution.
    waiters: RefCell<HashMap<ExecutionId, Vec<tokio::sync::oneshot::Sender<ExecutionRow>>>>,
    /// Told when an execution is over, which may be all the engine waits for.
    wake: tokio::sync::Notify,
    /// Receipts of inbox messages that are being applied.
    receipts: RefCell<HashSet<i64>>,
}

/// Due times of shards, both ways.
#[derive(Debug, Default)]
struct Timers {
    by_time: BTreeSet<(u64, ShardKey)>,
    by_shard: HashMap<ShardKey, u64>,
}

impl Timers {
    fn set(&mut self, key: &ShardKey, due: Option<u64>) {
        if let Some(before) = self.by_shard.remove(key) {
            self.by_time.remove(&(before, key.clone()));
        }
        if let Some(due) = due {
            self.by_shard.insert(key.clone(), due);
            self.by_time.insert((due, key.clone()));
        }
    }

    fn take_due(&mut self, now: u64) -> Vec<ShardKey> {
        let mut out = Vec::new();
        while let Some(key) = self.by_time.first() {
            if key.0 > now {
                break;
            }
            if let Some((_, key)) = self.by_time.pop_first() {
                self.by_shard.remove(&key);
                out.push(key);
            }
        }
        out
    }

    fn next(&self) -> Option<u64> {
        self.by_time.first().map(|(due, _)| *due)
    }
}

impl Engine {
    /// An engine over these parts. Call [`Engine::recover`] before anything else.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        let evaluator = Evaluator {
            ports: parts.ports.clone(),
            shards: Arc::new(Shards::default()),
            items: Arc::default(),
        };
        let planner = Planner::new(evaluator.clone(), Arc::new(Plans::default()));
        let inner = Inner {
            parts,
            planner,
            evaluator,
            queue: RefCell::default(),
            sender,
            receiver: RefCell::new(Some(receiver)),
            timers: RefCell::default(),
            attempts: RefCell::default(),
            running: RefCell::default(),
            waiters: RefCell::default(),
            wake: tokio::sync::Notify::new(),
            receipts: RefCell::default(),
        };
        Self {
            inner: Rc::new(inner),
        }
    }

    /// Evaluates expressions outside task runs: inputs and guards.
    #[must_use]
    pub fn evaluator(&self) -> &Evaluator {
        &self.inner.evaluator
    }

    /// Stores an execution and starts it; false when it existed already.
    pub async fn start(&self, row: &ExecutionRow, plan: &[u8]) -> Result<bool, EngineError> {
        self.inner.start(row, plan).await
    }

    /// Gives an event to a shard.
    pub fn send(&self, key: ShardKey, event: Event) {
        self.inner
            .running
            .borrow_mut()
            .insert(key.execution.clone());
        self.inner.send(Message::new(key, event));
    }

    /// Works for ever: on what is in progress and on what comes through the inbox. Dropping the future stops it;
    /// nothing is lost.
    pub async fn serve(&self) -> Result<(), EngineError> {
        self.work(|_| false).await
    }

    /// Works until no execution is in progress.
    pub async fn run_to_end(&self) -> Result<(), EngineError> {
        self.run_to_end_of_all_but(&HashSet::new()).await
    }

    /// [`Self::run_to_end`], but does not wait for these: they stay unfinished, with nothing of them being executed.
    pub async fn run_to_end_of_all_but(
        &self,
        waiting: &HashSet<ExecutionId>,
    ) -> Result<(), EngineError> {
        let done = |inner: &Inner| {
            inner.running.borrow().is_subset(waiting) && inner.attempts.borrow().is_empty()
        };
        self.work(done).await
    }

    /// Works until `done` says so. Must run inside a [`tokio::task::LocalSet`].
    async fn work(&self, done: impl Fn(&Inner) -> bool) -> Result<(), EngineError> {
        let inner = &self.inner;
        let Some(mut receiver) = inner.receiver.borrow_mut().take() else {
            return Ok(());
        };
        let mut inbox = tokio::time::interval(INBOX_INTERVAL);
        inbox.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let result = loop {
            while let Ok(message) = receiver.try_recv() {
                inner.queue.borrow_mut().push_back(message);
            }
            // After what is known: an attempt that has ended is not overdue.
            inner.tick();
            if !inner.queue.borrow().is_empty() {
                if let Err(error) = inner.turn().await {
                    break Err(error);
                }
                // Lets attempts that wait for the processor begin before the next turn.
                tokio::task::yield_now().await;
                continue;
            }
            if done(inner) {
                break Ok(());
            }
            let next = inner.timers.borrow().next();
            let now = inner.parts.ports.clock.now_ms();
            let wait = next.map_or(u64::MAX >> 20, |due| due.saturating_sub(now));
            tokio::select! {
                message = receiver.recv() => {
                    inner.queue.borrow_mut().extend(message);
                }
                () = tokio::time::sleep(Duration::from_millis(wait)) => {}
                () = inner.wake.notified() => {}
                _ = inbox.tick() => {
                    inner.read_inbox().await?;
                    inner.free_locks().await?;
                }
            }
        };
        *inner.receiver.borrow_mut() = Some(receiver);
        result
    }
}

impl Inner {
    pub(crate) fn send(&self, message: Message) {
        // The receiver lives as long as the engine.
        let _ = self.sender.send(message);
    }

    pub(crate) async fn start(&self, row: &ExecutionRow, plan: &[u8]) -> Result<bool, EngineError> {
        let created = self.parts.store.create(row, plan).await?;
        if created {
            self.parts.observer.execution(row);
        }
        if row.ended_ms.is_some() {
            // A guard of the flow (`checks`) failed it as it was made: nothing of it ever runs.
            return Ok(created);
        }
        self.running.borrow_mut().insert(row.meta.id.clone());
        self.send(Message::new(ShardKey::root(&row.meta.id), Event::Start));
        Ok(created)
    }

    /// Tells every shard whose time has come.
    fn tick(&self) {
        let now = self.parts.ports.clock.now_ms();
        for key in self.timers.borrow_mut().take_due(now) {
            self.queue
                .borrow_mut()
                .push_back(Message::new(key, Event::Tick));
        }
    }

    async fn read_inbox(&self) -> Result<(), EngineError> {
        for (receipt, key, event) in self.parts.store.take_inbox(100).await? {
            if self.receipts.borrow_mut().insert(receipt) {
                debug!(execution_id = %key.execution, "command from another process");
                self.running.borrow_mut().insert(key.execution.clone());
                let mut message = Message::new(key, event);
                message.receipt = Some(receipt);
                self.queue.borrow_mut().push_back(message);
            }
        }
        Ok(())
    }

    /// Frees the slots whose quarantine is over.
    async fn free_locks(&self) -> Result<(), EngineError> {
        let now = self.parts.ports.clock.now_ms();
        for (name, _) in self.parts.store.due_locks(now, 100).await? {
            let limit_of = async |id: &ExecutionId| {
                let active = self.planner.active(id).await.ok().flatten()?;
                active
                    .plan
                    .plan
                    .concurrency
                    .as_ref()
                    .map(|concurrency| concurrency.limit)
            };
            for message in self.evaluator.admit_next(&name, limit_of).await? {
                self.running
                    .borrow_mut()
                    .insert(message.key.execution.clone());
                self.queue.borrow_mut().push_back(message);
            }
        }
        Ok(())
    }

    /// One turn: what is queued is applied, written, and its effects are set going.
    async fn turn(self: &Rc<Self>) -> Result<(), EngineError> {
        let messages: Vec<Message> = {
            let mut queue = self.queue.borrow_mut();
            let count = queue.len().min(TURN_MESSAGES);
            queue.drain(..count).collect()
        };
        let receipts: Vec<i64> = messages
            .iter()
            .filter_map(|message| message.receipt)
            .collect();
        let mut tries = 0;
        let effects = loop {
            match self.planner.turn(messages.clone()).await {
                Ok(effects) => break effects,
                Err(TurnError::Store(StoreError::Busy(reason))) if tries < STORE_TRIES => {
                    warn!(%reason, "the store is busy");
                    tries += 1;
                    tokio::time::sleep(STORE_PAUSE).await;
                }
                Err(error) => return Err(error.into()),
            }
        };
        for effect in effects {
            self.perform(effect);
        }
        if !receipts.is_empty() {
            self.parts.store.ack_inbox(&receipts).await?;
            for receipt in receipts {
                self.receipts.borrow_mut().remove(&receipt);
            }
        }
        Ok(())
    }
}
