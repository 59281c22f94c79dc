//! The planner's step: a batch of the plan queue in, turns, and what follows from them out.
//!
//! The order never changes: receive, read, apply, one conditional write, send, acknowledge. A message is
//! acknowledged only after everything that follows from it was sent or done, so its redelivery heals every crash
//! in between: an event that changes nothing calls for its commands again (E1).

mod commands;
mod over;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use operon_core::exec::{Command, Event, State};
use operon_core::plan::Layout;
use tracing::warn;

use self::over::tell;
use crate::evaluate::Evaluator;
use crate::notify;
use crate::planner::{Active, Effect, Message, Planner};
use crate::plans::Plans;
use crate::ports::{AttemptId, ExecutionRow, Outgoing, Queue, QueueName, ShardKey, StoreError};
use crate::reports;
use crate::shards::Shards;
use crate::step::{self, Outbox, StepError};
use crate::wire::{self, EventMessage, PlanMessage};
use crate::{Ports, items::LoopItems};

/// Turns that may follow from one batch before the rest goes through the queue: a large loop must not keep one
/// function busy until its deadline.
const ROUNDS_MAX: usize = 16;

/// Milliseconds before the end of an invocation in which nothing is begun: what was done is acknowledged then.
const RESERVE_MS: u64 = 3_000;

/// Hears of executions that are over: flow triggers, notifications.
#[async_trait]
pub trait Listener: Send + Sync {
    /// An execution is over. May be told twice.
    async fn over(&self, row: &ExecutionRow) -> Result<(), StoreError>;
}

#[async_trait]
impl Listener for crate::triggers::Triggers {
    async fn over(&self, row: &ExecutionRow) -> Result<(), StoreError> {
        self.ended(row).await
    }
}

/// The planner over its queue.
pub struct PlanQueue {
    /// Takes turns.
    pub planner: Planner,
    queue: Arc<dyn Queue>,
    listeners: Vec<Arc<dyn Listener>>,
}

/// A message with what it was sent for.
struct Incoming {
    message: Message,
    /// Of a tick: the due time it was sent for; none for one that nobody armed.
    #[allow(
        clippy::option_option,
        reason = "no tick, a tick, a tick with a time: three cases"
    )]
    tick: Option<Option<u64>>,
}

impl PlanQueue {
    /// A planner beside others, over these ports.
    #[must_use]
    pub fn new(ports: Ports, queue: Arc<dyn Queue>) -> Self {
        let evaluator = Evaluator {
            ports,
            shards: Arc::new(Shards::default()),
            items: Arc::<LoopItems>::default(),
        };
        Self {
            planner: Planner::shared(evaluator, Arc::new(Plans::default())),
            queue,
            listeners: Vec::new(),
        }
    }

    /// Tells another of executions that are over.
    #[must_use]
    pub fn with(mut self, listener: Arc<dyn Listener>) -> Self {
        self.listeners.push(listener);
        self
    }

    const fn evaluator(&self) -> &Evaluator {
        &self.planner.evaluator
    }

    fn now_ms(&self) -> u64 {
        self.evaluator().ports.clock.now_ms()
    }

    /// Handles a batch of messages that were not delivered before; one outcome per message, in their order.
    pub async fn handle(&self, texts: &[&str]) -> Vec<Result<(), StepError>> {
        self.handle_delivered(texts, &[], u64::MAX).await
    }

    /// A part of the time that an invocation which ends then has left.
    fn share(&self, deadline_ms: u64, part: usize, of: usize) -> Duration {
        let whole = step::left(self.now_ms(), deadline_ms, RESERVE_MS);
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        whole * count(part) / count(of).max(1)
    }

    /// [`Self::carry`] in so much time. What is cut off may be done, and said by nobody: whoever tries again takes the
    /// messages for such that were delivered before, and nothing that was remembered for true.
    async fn carry_in(&self, time: Duration, messages: &[&Incoming]) -> Result<(), StepError> {
        let done = within(time, self.carry(messages)).await;
        if done.is_err() {
            self.evaluator().shards.retain(&[]);
            self.planner.forget();
        }
        done
    }

    /// Handles a batch; one outcome per message, in their order. `again` says of each message whether it was
    /// delivered before (`ApproximateReceiveCount` above 1): see [`Event::redelivered`]. `deadline_ms` is the end of the
    /// invocation: one message that is slow takes its share of the time and makes no dead letters of the others.
    pub async fn handle_delivered(
        &self,
        texts: &[&str],
        again: &[bool],
        deadline_ms: u64,
    ) -> Vec<Result<(), StepError>> {
        let mut outcomes: Vec<Result<(), StepError>> = Vec::with_capacity(texts.len());
        let mut batch: Vec<(usize, Incoming)> = Vec::with_capacity(texts.len());
        let decoded: Vec<_> = texts.iter().map(|text| PlanMessage::decode(text)).collect();
        self.forget_all_but(&decoded);
        for (index, message) in decoded.into_iter().enumerate() {
            let share = self.share(deadline_ms, 1, texts.len() - index + 1);
            let read = match message {
                Ok(message) => within(share, self.read(message)).await,
                Err(error) => Err(error.into()),
            };
            outcomes.push(match read {
                Ok(incoming) => {
                    batch.extend(incoming.map(|mut incoming| {
                        incoming.message.redelivered = again.get(index).is_some_and(|again| *again);
                        (index, incoming)
                    }));
                    Ok(())
                }
                Err(error) => Err(error),
            });
        }
        let all: Vec<&Incoming> = batch.iter().map(|(_, incoming)| incoming).collect();
        // One that is alone has all the time: nothing would be gained by a second try.
        let first = self.share(deadline_ms, 1, if batch.len() > 1 { 2 } else { 1 });
        if self.carry_in(first, &all).await.is_err() {
            for (_, incoming) in &mut batch {
                incoming.message.redelivered = true;
            }
            self.one_by_one(&batch, deadline_ms, &mut outcomes).await;
        }
        outcomes
    }

    /// One message of a batch cannot be handled; the others must not wait for it.
    async fn one_by_one(
        &self,
        batch: &[(usize, Incoming)],
        deadline_ms: u64,
        outcomes: &mut [Result<(), StepError>],
    ) {
        let mut keys: Vec<ShardKey> = Vec::new();
        for (_, incoming) in batch {
            if !keys.contains(&incoming.message.key) {
                keys.push(incoming.message.key.clone());
            }
        }
        let mut left = batch.len();
        for key in keys {
            let own = |(_, incoming): &&(usize, Incoming)| incoming.message.key == key;
            let group: Vec<&(usize, Incoming)> = batch.iter().filter(own).collect();
            let messages: Vec<&Incoming> = group.iter().map(|(_, incoming)| incoming).collect();
            // One that is alone is tried once more, as the last.
            let some = group.len() > 1 && group.len() < batch.len();
            let share = self.share(deadline_ms, group.len(), 2 * left);
            if some && self.carry_in(share, &messages).await.is_ok() {
                left -= group.len();
                continue;
            }
            // What one message of a shard says must not be the end of the others.
            for (index, incoming) in group {
                let share = self.share(deadline_ms, 1, left);
                left -= 1;
                if let Err(error) = self.carry_in(share, &[incoming]).await {
                    warn!(execution_id = %key.execution, shard = %key.shard, %error, "what a message says was not done");
                    if let Some(outcome) = outcomes.get_mut(*index) {
                        *outcome = Err(error);
                    }
                }
            }
        }
    }

    /// What is remembered may be stale. A lone shard may be kept: a conflict corrects it. With several, one could
    /// be read in the evaluation of another.
    fn forget_all_but(&self, messages: &[Result<PlanMessage, wire::WireError>]) {
        let mut keys: Vec<ShardKey> = messages
            .iter()
            .filter_map(|message| match message {
                Ok(PlanMessage::Event(event)) => Some(event.key()),
                Ok(PlanMessage::Agent(message)) => {
                    reports::attempt_of(&message.attempt).map(|id| id.shard_key())
                }
                Err(_) => None,
            })
            .collect();
        keys.sort_unstable();
        keys.dedup();
        if keys.len() > 1 {
            keys.clear();
        }
        self.evaluator().shards.retain(&keys);
    }

    /// What a message says; none when it is not to be handled now.
    async fn read(&self, message: PlanMessage) -> Result<Option<Incoming>, StepError> {
        match message {
            PlanMessage::Event(event) => {
                let now = self.now_ms();
                if let Some(at) = event.not_before_ms.filter(|at| *at > now) {
                    let text = PlanMessage::Event(event).encode()?;
                    let later = Outgoing::now(text).after((at - now).div_ceil(1000));
                    self.queue.send(QueueName::Plan, vec![later]).await?;
                    return Ok(None);
                }
                let tick = matches!(event.event, Event::Tick).then_some(event.armed_ms);
                Ok(Some(Incoming {
                    message: (*event).into(),
                    tick,
                }))
            }
            PlanMessage::Agent(message) => {
                let Some(id) = reports::attempt_of(&message.attempt) else {
                    return Ok(None);
                };
                let Some(active) = self.planner.active(&id.execution).await? else {
                    warn!(execution_id = %id.execution, "report for an execution that does not exist");
                    return Ok(None);
                };
                let launched = self.launched_ms(&active, &id).await?;
                let said = self.evaluator().said(&active, &id, message.said, launched);
                let message = said.await?;
                Ok(message.map(|message| Incoming {
                    message,
                    tick: None,
                }))
            }
        }
    }

    async fn launched_ms(
        &self,
        active: &Active,
        id: &AttemptId,
    ) -> Result<Option<u64>, StoreError> {
        let store = &*self.evaluator().ports.store;
        let stored = self.evaluator().shards.get(store, &id.shard_key()).await?;
        let (shard_id, slot) = (&id.task_run.shard, id.task_run.slot);
        let shard = stored.shard.as_deref();
        Ok(shard.and_then(|shard| reports::launched_ms(active, shard_id, slot, shard)))
    }

    /// Turns until nothing follows, then sends.
    async fn carry(&self, batch: &[&Incoming]) -> Result<(), StepError> {
        let mut outbox = Outbox::default();
        let mut messages: Vec<Message> = batch.iter().map(|one| one.message.clone()).collect();
        for round in 0..ROUNDS_MAX {
            if messages.is_empty() {
                break;
            }
            let effects = self.planner.turn(std::mem::take(&mut messages)).await?;
            if round == 0 {
                self.arm(&effects, batch, &mut outbox).await?;
                self.note_again(batch, &mut outbox).await?;
            } else {
                self.arm(&effects, &[], &mut outbox).await?;
            }
            messages = self.perform(effects, &mut outbox).await?;
        }
        for message in messages {
            let text = PlanMessage::from(EventMessage::from(message)).encode()?;
            outbox.push(QueueName::Plan, Outgoing::now(text));
        }
        outbox.send(&*self.queue).await?;
        self.keep_outputs(batch).await
    }

    /// Keeps for reuse what the attempts left that count.
    async fn keep_outputs(&self, batch: &[&Incoming]) -> Result<(), StepError> {
        for Incoming { message, .. } in batch {
            let (Some(row), Some(cache)) = (&message.row, &message.cache) else {
                continue;
            };
            let store = &*self.evaluator().ports.store;
            let stored = self.evaluator().shards.get(store, &message.key).await?;
            let slots = stored.shard.as_deref().map(|shard| &shard.slots);
            let slot = slots.and_then(|slots| slots.get(usize::from(row.task_run.slot)));
            let counts = slot.is_some_and(|slot| {
                slot.attempt == row.attempt && matches!(slot.state, State::Success | State::Warning)
            });
            if counts {
                self.evaluator().keep(row, Some(cache)).await;
            }
        }
        Ok(())
    }

    /// Sends the tick that wakes a shard when it is due. One is under way for each shard: it is sent when the due
    /// time comes nearer, and when the one that was under way arrived. Others that a redelivery left behind
    /// were sent for a time that has passed, and end with their arrival.
    async fn arm(
        &self,
        effects: &[Effect],
        batch: &[&Incoming],
        outbox: &mut Outbox,
    ) -> Result<(), StepError> {
        let mut told: HashMap<&ShardKey, (Option<u64>, Option<u64>)> = HashMap::new();
        for effect in effects {
            if let Effect::Due(key, due, before) = effect {
                told.insert(key, (*due, *before));
            }
        }
        let mut arrived: HashMap<&ShardKey, Vec<Option<u64>>> = HashMap::new();
        for incoming in batch {
            if let Some(armed) = incoming.tick {
                arrived
                    .entry(&incoming.message.key)
                    .or_default()
                    .push(armed);
            }
        }
        for key in arrived.keys() {
            if !told.contains_key(key) {
                let due = self.due_of(key).await?;
                told.insert(key, (due, due));
            }
        }
        let now = self.now_ms();
        for (key, (due, before)) in told {
            let Some(due) = due else { continue };
            let nearer = before.is_none_or(|before| due < before);
            let live = |armed: &Option<u64>| armed.is_none() || *armed == before;
            let ticked = arrived.get(key).is_some_and(|all| all.iter().any(live));
            if nearer || ticked {
                let tick = EventMessage {
                    armed_ms: Some(due),
                    ..EventMessage::new(key.clone(), Event::Tick)
                };
                let wait_s = due.saturating_sub(now).div_ceil(1000);
                let text = PlanMessage::from(tick).encode()?;
                outbox.push(QueueName::Plan, Outgoing::now(text).after(wait_s));
            }
        }
        Ok(())
    }

    async fn due_of(&self, key: &ShardKey) -> Result<Option<u64>, StepError> {
        let Some(active) = self.planner.active(&key.execution).await? else {
            return Ok(None);
        };
        let store = &*self.evaluator().ports.store;
        let stored = self.evaluator().shards.get(store, key).await?;
        let layout = Layout::of(&active.plan.plan, &key.shard);
        let due = layout.zip(stored.shard.as_deref());
        Ok(due.and_then(|(layout, shard)| shard.due(&layout).map(|time| time.0)))
    }

    /// Carries out what follows from a turn; the events that follow at once.
    async fn perform(
        &self,
        effects: Vec<Effect>,
        outbox: &mut Outbox,
    ) -> Result<Vec<Message>, StepError> {
        let asked: HashSet<(ShardKey, u16, u8)> = effects
            .iter()
            .filter_map(|effect| match effect {
                Effect::Command(key, Command::Probe { slot, attempt }) => {
                    Some((key.clone(), *slot, *attempt))
                }
                Effect::Command(..)
                | Effect::Due(..)
                | Effect::TaskRun(_)
                | Effect::Execution(_) => None,
            })
            .collect();
        let mut follow = Vec::new();
        for effect in effects {
            match effect {
                Effect::Execution(row) => self.note_start(&row, outbox).await?,
                // First the question: only what was never started is launched again (E8).
                Effect::Command(key, Command::Launch { slot, attempt })
                    if asked.contains(&(key.clone(), slot, attempt)) => {}
                Effect::Command(key, command) => {
                    self.command(key, command, outbox, &mut follow).await?;
                }
                Effect::Due(..) | Effect::TaskRun(_) => {}
            }
        }
        Ok(follow)
    }

    /// A message that comes again may have begun an execution, and its function died before it said so.
    async fn note_again(&self, batch: &[&Incoming], outbox: &mut Outbox) -> Result<(), StepError> {
        let mut known = HashSet::new();
        for message in batch.iter().map(|incoming| &incoming.message) {
            let id = &message.key.execution;
            if message.redelivered
                && message.key == ShardKey::root(id)
                && known.insert(id)
                && let Some(active) = self.planner.active(id).await?
            {
                self.note_start(&active.row(), outbox).await?;
            }
        }
        Ok(())
    }

    /// Lets somebody watch an execution that has begun, where a service level that is missed is told at once. May be
    /// repeated.
    async fn note_start(&self, row: &ExecutionRow, outbox: &mut Outbox) -> Result<(), StepError> {
        if row.state != "RUNNING" {
            return Ok(());
        }
        let active = self.planner.active(&row.meta.id).await?;
        if active.is_some_and(|active| notify::watched(&active.plan.plan).is_some()) {
            tell(&row.meta.id, outbox)?;
        }
        Ok(())
    }
}

/// So much time for some work, which is not begun when there is none.
async fn within<T>(
    time: Duration,
    work: impl Future<Output = Result<T, StepError>>,
) -> Result<T, StepError> {
    let late = || StepError::Other("there is no time left for it".to_owned());
    if time.is_zero() {
        return Err(late());
    }
    tokio::time::timeout(time, Box::pin(work))
        .await
        .unwrap_or_else(|_| Err(late()))
}

fn of(message: EventMessage) -> Message {
    message.into()
}
