//! Queues between the functions.

use async_trait::async_trait;

/// Seconds by which a message may be delayed at most (SQS's limit).
pub const DELAY_S_MAX: u32 = 900;

/// Which queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum QueueName {
    /// Events for shards; the planner reads it.
    Plan,
    /// Attempts to be launched, stopped or asked about on ECS; the launcher reads it.
    Launch,
    /// Built-in tasks and subflows; the worker reads it.
    Work,
    /// Events of the world; intake reads it.
    Intake,
}

impl QueueName {
    /// Every queue.
    pub const ALL: [Self; 4] = [Self::Plan, Self::Launch, Self::Work, Self::Intake];

    /// The name in records and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plan => "plan",
            Self::Launch => "launch",
            Self::Work => "work",
            Self::Intake => "intake",
        }
    }
}

/// A message to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// Encoded by [`crate::wire`].
    pub body: String,
    /// Seconds before anybody sees it, at most [`DELAY_S_MAX`].
    pub delay_s: u32,
    /// Who shares the queue fairly with others: a flow, or the backfills of a flow (SQS fair queues). Says
    /// nothing about order.
    pub group: Option<String>,
}

impl Outgoing {
    /// A message to be seen at once.
    #[must_use]
    pub const fn now(body: String) -> Self {
        Self {
            body,
            delay_s: 0,
            group: None,
        }
    }

    /// The same message for that group.
    #[must_use]
    pub fn of(mut self, group: &str) -> Self {
        self.group = Some(group.to_owned());
        self
    }

    /// The same message, seen only after so many seconds, [`DELAY_S_MAX`] at most.
    #[must_use]
    pub fn after(mut self, delay_s: u64) -> Self {
        self.delay_s = u32::try_from(delay_s)
            .unwrap_or(DELAY_S_MAX)
            .min(DELAY_S_MAX);
        self
    }
}

/// Why messages were not all sent. Some may have been: whoever asks sends all of them again.
#[derive(Debug, thiserror::Error)]
#[error("the {queue} queue did not take a message: {reason}")]
pub struct QueueError {
    /// Which.
    pub queue: &'static str,
    /// For people.
    pub reason: String,
}

/// Sends messages.
#[async_trait]
pub trait Queue: Send + Sync {
    /// Delivers each message at least once, at some time, in any order. Durable when it returns. Takes any
    /// number of messages; how many go into one request is its business.
    async fn send(&self, queue: QueueName, messages: Vec<Outgoing>) -> Result<(), QueueError>;
}
