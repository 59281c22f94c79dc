//! Queues in memory, as SQS has them: at least once, in any order, with delays, visibility and dead letters.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use operon_core::exec::Event;
use operon_engine::ports::{
    Clock as _, EventSink, Outgoing, Queue, QueueError, QueueName, ShardKey, StoreError,
};
use operon_engine::wire::{EventMessage, PlanMessage};

use super::Faults;
use crate::memory::TestClock;

/// Deliveries after which a message is a dead letter.
const RECEIVES_MAX: u32 = 5;
/// Milliseconds for which a message that was delivered is not delivered again.
const VISIBILITY_MS: u64 = 60_000;

#[derive(Debug, Clone)]
struct Stored {
    number: u64,
    body: String,
    group: Option<String>,
    visible_ms: u64,
    receives: u32,
}

/// A message that was delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// Which, for deleting it.
    pub number: u64,
    /// What it says.
    pub body: String,
    /// It was delivered before.
    pub again: bool,
}

#[derive(Debug, Default)]
struct Inside {
    queues: BTreeMap<QueueName, Vec<Stored>>,
    dead: Vec<(QueueName, String)>,
    served: BTreeMap<(QueueName, String), u64>,
    sent: u64,
}

/// Queues in memory.
#[derive(Debug)]
pub struct MemoryQueues {
    inside: Mutex<Inside>,
    clock: Arc<TestClock>,
    faults: Arc<Faults>,
    /// Whether groups share a queue fairly.
    pub fair: bool,
    /// Whether each message is delivered twice.
    pub twice: bool,
}

impl MemoryQueues {
    /// Empty queues.
    #[must_use]
    pub fn new(clock: Arc<TestClock>, faults: Arc<Faults>) -> Self {
        Self {
            inside: Mutex::default(),
            clock,
            faults,
            fair: true,
            twice: false,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a message in, from outside the functions.
    #[allow(clippy::needless_pass_by_value, reason = "it is put in and gone")]
    pub fn put(&self, queue: QueueName, message: Outgoing) {
        let now = self.clock.now_ms();
        let mut inside = self.lock();
        for _ in 0..=usize::from(self.twice) {
            inside.sent += 1;
            let stored = Stored {
                number: inside.sent,
                body: message.body.clone(),
                group: message.group.clone(),
                visible_ms: now + u64::from(message.delay_s) * 1000,
                receives: 0,
            };
            inside.queues.entry(queue).or_default().push(stored);
        }
    }

    /// A batch of messages that are visible now; what was delivered too often becomes a dead letter instead.
    pub fn receive(&self, queue: QueueName, most: usize) -> Vec<Received> {
        let now = self.clock.now_ms();
        let fair = self.fair;
        let mut guard = self.lock();
        let inside = &mut *guard;
        let stored = inside.queues.entry(queue).or_default();
        let given_up =
            |message: &Stored| message.visible_ms <= now && message.receives >= RECEIVES_MAX;
        for message in stored.iter().filter(|message| given_up(message)) {
            inside.dead.push((queue, message.body.clone()));
        }
        stored.retain(|message| !given_up(message));
        let mut visible: Vec<&mut Stored> = stored
            .iter_mut()
            .filter(|message| message.visible_ms <= now)
            .collect();
        if fair {
            // Whoever has been served least comes first; within a group the older one.
            let served = |group: &Option<String>| {
                let key = (queue, group.clone().unwrap_or_default());
                inside.served.get(&key).copied().unwrap_or(0)
            };
            visible.sort_by_key(|message| (served(&message.group), message.number));
        }
        let mut out = Vec::new();
        for message in visible.into_iter().take(most) {
            message.visible_ms = now + VISIBILITY_MS;
            message.receives += 1;
            let key = (queue, message.group.clone().unwrap_or_default());
            *inside.served.entry(key).or_default() += 1;
            out.push(Received {
                number: message.number,
                body: message.body.clone(),
                again: message.receives > 1,
            });
        }
        out
    }

    /// Removes a message.
    pub fn delete(&self, queue: QueueName, number: u64) {
        let mut inside = self.lock();
        let stored = inside.queues.entry(queue).or_default();
        stored.retain(|message| message.number != number);
    }

    /// The bodies in a queue, visible or not.
    #[must_use]
    pub fn bodies(&self, queue: QueueName) -> Vec<String> {
        let inside = self.lock();
        let stored = inside.queues.get(&queue).into_iter().flatten();
        stored.map(|message| message.body.clone()).collect()
    }

    /// How many messages of a queue can be delivered now.
    #[must_use]
    pub fn visible(&self, queue: QueueName) -> usize {
        let now = self.clock.now_ms();
        let inside = self.lock();
        let stored = inside.queues.get(&queue).into_iter().flatten();
        stored.filter(|message| message.visible_ms <= now).count()
    }

    /// Takes the dead letters.
    pub fn take_dead(&self) -> Vec<(QueueName, String)> {
        std::mem::take(&mut self.lock().dead)
    }

    /// Puts a dead letter back among the dead.
    pub fn put_dead(&self, queue: QueueName, body: String) {
        self.lock().dead.push((queue, body));
    }

    /// When the next message of any of these queues can be seen, milliseconds since the epoch.
    #[must_use]
    pub fn next_visible(&self, queues: &[QueueName]) -> Option<u64> {
        let inside = self.lock();
        let of = queues.iter().filter_map(|queue| inside.queues.get(queue));
        of.flatten().map(|message| message.visible_ms).min()
    }
}

#[async_trait]
impl Queue for MemoryQueues {
    async fn send(&self, queue: QueueName, messages: Vec<Outgoing>) -> Result<(), QueueError> {
        for batch in messages.chunks(10) {
            let put = || batch.iter().for_each(|one| self.put(queue, one.clone()));
            self.faults
                .write("SQS", "send", put)
                .map_err(|reason| QueueError {
                    queue: queue.name(),
                    reason,
                })?;
        }
        Ok(())
    }
}

#[async_trait]
impl EventSink for MemoryQueues {
    async fn send(&self, key: &ShardKey, event: &Event) -> Result<(), StoreError> {
        let message = PlanMessage::from(EventMessage::new(key.clone(), event.clone()));
        let failed = |reason: String| StoreError::Failed(reason);
        let text = message
            .encode()
            .map_err(|error| failed(error.to_string()))?;
        Queue::send(self, QueueName::Plan, vec![Outgoing::now(text)])
            .await
            .map_err(|error| failed(error.to_string()))
    }
}
