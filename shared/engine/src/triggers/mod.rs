//! Triggers: from an event to exactly one execution, one item of one batch, or a rejection that says why.
//!
//! Invariant 1: whatever is repeated, reordered or interrupted between any two writes, an event that a source delivers
//! until it is accepted has exactly one of the three outcomes, and that outcome is kept in a record of the kind
//! `event` (docs/decisions/0040-triggers.md). The id of an execution is derived from the event, so creating it
//! twice creates it once; an event enters a batch by a conditional write of its own record, so it enters one.
//!
//! Sources acknowledge (delete a message, move a cursor) only after [`Triggers::accept`] has returned.

use std::sync::Arc;

use async_trait::async_trait;
use operon_core::plan::Plan;
use operon_core::triggers::{Config, Feed};

use crate::evaluate::Evaluator;
use crate::metrics::{Buried, Measures};
use crate::ports::{EventSink, ExecutionRow, Queue, QueueName, StoreError};
use crate::wire;

mod accept;
mod action;
mod asked;
mod backfill;
mod batches;
mod dead;
mod due;
mod ended;
mod estimates;
mod follow;
mod http;
mod look;
mod poll;
mod postgres;
mod record;
mod registry;
mod render;
pub mod route;
mod schedules;
mod state;
mod view;
pub mod webhook;

pub use accept::Outcome;
pub use asked::{Polls, QueuedPolls};
pub use backfill::{BackfillError, BackfillRange, BackfillState};
pub use batches::ItemOutcome;
pub use dead::{DeadLetter, RedriveError};
pub use follow::NoWiring;
pub use operon_core::triggers::parse::Delivery as EventDelivery;
pub use record::{EventRecord, EventState, ObjectAction, ObjectPlace, TriggerKey};
pub use registry::Registry;
pub use state::{Asked, Disabled, Fed, Missed, TriggerState};
pub use view::TriggerView;

/// A flow that is deployed, with its triggers read.
#[derive(Debug, Clone)]
pub struct DeployedFlow {
    /// Of the current revision.
    pub plan: Plan,
    /// Its number.
    pub revision: u32,
    /// Directory of its namespace files.
    pub flow_dir: Option<String>,
    /// Its triggers.
    pub triggers: Vec<Config>,
    /// Switched off, in its document or by a person.
    pub disabled: bool,
}

impl DeployedFlow {
    /// One of its triggers.
    #[must_use]
    pub fn trigger(&self, id: &str) -> Option<&Config> {
        self.triggers.iter().find(|trigger| trigger.id == id)
    }

    /// The name of one of its triggers.
    #[must_use]
    pub fn key(&self, trigger: &Config) -> TriggerKey {
        TriggerKey {
            namespace: self.plan.namespace.clone(),
            flow: self.plan.flow.clone(),
            trigger: trigger.id.clone(),
        }
    }
}

/// Where deployed flows are found.
#[async_trait]
pub trait Deployed: Send + Sync {
    /// All flows that are deployed.
    async fn deployed(&self) -> Result<Vec<Arc<DeployedFlow>>, StoreError>;
    /// One of them.
    async fn deployed_flow(
        &self,
        namespace: &str,
        flow: &str,
    ) -> Result<Option<Arc<DeployedFlow>>, StoreError>;
}

/// Asks that [`Triggers::look`] is called for a trigger at a time. Only a hint: what is due is also found by
/// [`Triggers::look_at_due`], which somebody calls regularly.
#[async_trait]
pub trait Wakeups: Send + Sync {
    /// Asks for it. May come late, twice or not at all.
    async fn wake(&self, key: &TriggerKey, at_ms: u64) -> Result<(), StoreError>;
}

/// Nobody is asked: for where [`Triggers::look_at_due`] is called every second.
#[derive(Debug, Default)]
pub struct NoWakeups;

#[async_trait]
impl Wakeups for NoWakeups {
    async fn wake(&self, _key: &TriggerKey, _at_ms: u64) -> Result<(), StoreError> {
        Ok(())
    }
}

/// Makes and removes outside of Operon what fires a trigger. Everything may be repeated. Locally nothing is made.
#[async_trait]
pub trait Wiring: Send + Sync {
    /// Makes that the trigger is looked at at its dates, or for its polls; replaces what was there.
    async fn schedule(&self, key: &TriggerKey, trigger: &Config) -> Result<(), StoreError>;
    /// Ends it. Nothing happens when there is nothing.
    async fn unschedule(&self, key: &TriggerKey) -> Result<(), StoreError>;
    /// Makes that events of a service reach the intake; replaces what was there at the same place.
    async fn feed(&self, key: &TriggerKey, feed: &Feed) -> Result<(), StoreError>;
    /// Ends it. Nothing happens when there is nothing.
    async fn unfeed(&self, key: &TriggerKey, feed: &Feed) -> Result<(), StoreError>;
}

/// Hears of what nobody else sees.
#[async_trait]
pub trait Notices: Send + Sync {
    /// An execution was over before it began, so no planner saw it end: people are told, and it is measured. May be
    /// repeated.
    async fn over(&self, row: &ExecutionRow) -> Result<(), StoreError>;
    /// An event or a message became a dead letter.
    fn buried(&self, buried: &Buried, now_ms: u64);
}

/// Nobody hears of anything.
#[derive(Debug, Default)]
pub struct NoNotices;

#[async_trait]
impl Notices for NoNotices {
    async fn over(&self, _: &ExecutionRow) -> Result<(), StoreError> {
        Ok(())
    }

    fn buried(&self, _: &Buried, _: u64) {}
}

/// Has the worker tell people, and counts where everything is measured.
pub struct QueuedNotices {
    /// To the worker.
    pub queue: Arc<dyn Queue>,
    /// Where measurements go.
    pub measures: Arc<dyn Measures>,
}

#[async_trait]
impl Notices for QueuedNotices {
    async fn over(&self, row: &ExecutionRow) -> Result<(), StoreError> {
        let message = wire::telling(&row.meta.id);
        let message = message.map_err(|error| StoreError::Failed(error.to_string()))?;
        let sent = self.queue.send(QueueName::Work, vec![message]);
        sent.await
            .map_err(|error| StoreError::Failed(error.to_string()))
    }

    fn buried(&self, buried: &Buried, now_ms: u64) {
        self.measures.buried(buried, now_ms);
    }
}

/// Triggers over the ports. Cheap to clone.
#[derive(Clone)]
pub struct Triggers {
    /// Creates executions.
    pub evaluator: Evaluator,
    /// Starts them.
    pub sink: Arc<dyn EventSink>,
    /// The flows.
    pub flows: Arc<dyn Deployed>,
    /// Asked when a batch must go.
    pub wakeups: Arc<dyn Wakeups>,
    /// Makes what fires triggers outside, as revisions come and go.
    pub wiring: Arc<dyn Wiring>,
    /// Asked to look at databases and addresses; without it, whoever finds that it is time looks.
    pub polls: Option<Arc<dyn Polls>>,
    /// Hears of executions that are over before they began, and of dead letters.
    pub notices: Arc<dyn Notices>,
    /// Buckets whose uploads are heard of; empty where all are.
    pub buckets: Vec<String>,
    /// AWS delivers messages, events and alarms here. Elsewhere triggers that need them never fire, and say so.
    pub on_aws: bool,
    /// Executions that may be active at once, as far as is known; for choosing the sizes of batches.
    pub capacity: u32,
}

impl std::fmt::Debug for Triggers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Triggers").finish_non_exhaustive()
    }
}

impl Triggers {
    pub(crate) fn now(&self) -> u64 {
        self.evaluator.ports.clock.now_ms()
    }
}
