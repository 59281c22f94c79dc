//! What the steps of the functions have in common: why a message is not acknowledged, and what goes out.

use std::time::Duration;

use crate::planner::TurnError;
use crate::ports::{EcsError, Outgoing, Queue, QueueError, QueueName, StoreError};
use crate::wire::{self, LaunchMessage, PlanMessage, WireError};

/// Why a message is to be delivered again. Whatever was done by then may be done twice.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A queue did not take a message.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// The planner's turn did not happen.
    #[error(transparent)]
    Turn(#[from] TurnError),
    /// The message cannot be read; it ends as a dead letter.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// ECS did not answer.
    #[error(transparent)]
    Ecs(#[from] EcsError),
    /// ECS would be asked faster than this function may.
    #[error("ECS is asked too often; it is asked later")]
    Throttled,
    /// Something else, for people.
    #[error("{0}")]
    Other(String),
}

/// The longest an invocation may last (Lambda), which a clock that is not of this world need not know.
const INVOCATION_MAX: Duration = Duration::from_mins(15);

/// The time that an invocation which ends at `deadline_ms` has left for work, without a reserve for what comes after it.
pub(crate) fn left(now_ms: u64, deadline_ms: u64, reserve_ms: u64) -> Duration {
    let left = deadline_ms
        .saturating_sub(reserve_ms)
        .saturating_sub(now_ms);
    Duration::from_millis(left).min(INVOCATION_MAX)
}

/// Messages to be sent at the end of a step: in as few requests as the queues allow.
#[derive(Debug, Default)]
pub struct Outbox {
    plan: Vec<Outgoing>,
    launch: Vec<Outgoing>,
    work: Vec<Outgoing>,
}

impl Outbox {
    /// Adds a message.
    pub fn push(&mut self, queue: QueueName, message: Outgoing) {
        match queue {
            QueueName::Plan => self.plan.push(message),
            QueueName::Launch => self.launch.push(message),
            QueueName::Work => self.work.push(message),
            // Intake is fed by the world; what the engine itself starts goes through `Evaluator::intake`.
            QueueName::Intake => {}
        }
    }

    /// Adds a message for the planner.
    pub fn say(&mut self, message: &PlanMessage) -> Result<(), WireError> {
        self.push(QueueName::Plan, Outgoing::now(message.encode()?));
        Ok(())
    }

    /// Adds a message for the launcher that is delivered after so many seconds.
    pub fn launch_later(
        &mut self,
        message: &LaunchMessage,
        seconds: u64,
        lane: Option<&str>,
    ) -> Result<(), WireError> {
        let mut out = Outgoing::now(wire::encode(message)?).after(seconds);
        out.group = lane.map(str::to_owned);
        self.push(QueueName::Launch, out);
        Ok(())
    }

    /// Whether there is nothing to send.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.plan.is_empty() && self.launch.is_empty() && self.work.is_empty()
    }

    /// Sends everything.
    pub async fn send(self, queue: &dyn Queue) -> Result<(), QueueError> {
        for (name, messages) in [
            (QueueName::Launch, self.launch),
            (QueueName::Work, self.work),
            (QueueName::Plan, self.plan),
        ] {
            if !messages.is_empty() {
                queue.send(name, messages).await?;
            }
        }
        Ok(())
    }
}
