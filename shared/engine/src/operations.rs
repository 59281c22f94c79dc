//! What people ask of executions: start, kill, restart, replay, resume, retry of failed items, labels.
//!
//! The command line, the HTTP interface and the functions share these. Each reads the state, says why something
//! is not possible, and gives events to whoever plans, through an [`EventSink`]; nothing here decides what the
//! events bring about. Invariant: what is refused has changed nothing. Invariant: asking twice is asking once,
//! as far as the execution is concerned: rounds are numbered, ids are given or derived.

mod answers;
mod direct;
mod snapshot;

use std::collections::BTreeMap;
use std::sync::Arc;

use operon_core::exec::{Event, ShardError};
use serde_json::Value;

use crate::evaluate::Evaluator;
use crate::flows::{FlowError, Flows};
use crate::intake::{Created, IntakeError, Origin, Request};
use crate::plans::PlanError;
use crate::ports::{EventSink, ExecutionId, ExecutionRow, ShardKey, StoreError, TaskRunKey};
use crate::replay::{Replay, ReplayError, ReplayRequest};

pub use answers::{ANSWER_BYTES_MAX, answered};
pub use snapshot::{PausedTask, Snapshot, Wishes};

/// A wish to start a deployed flow.
#[derive(Debug, Clone)]
pub struct Start {
    /// The id the execution gets: derived where the wish may be repeated.
    pub id: ExecutionId,
    /// Of the flow.
    pub namespace: String,
    /// Of the flow.
    pub flow: String,
    /// Which; none takes the one that counts.
    pub revision: Option<u32>,
    /// Values by input id.
    pub inputs: BTreeMap<String, Value>,
    /// In addition to the flow's.
    pub labels: BTreeMap<String, String>,
    /// `trigger.*`.
    pub trigger: Value,
    /// Larger goes first among queued executions.
    pub priority: i32,
}

/// An execution that was started.
#[derive(Debug, Clone)]
pub struct Started {
    /// Its row; what is there already when it existed.
    pub row: ExecutionRow,
    /// False when the same wish had started it before.
    pub created: bool,
    /// Guards that do not hold but do not forbid the execution either.
    pub warnings: Vec<String>,
}

/// An answer to a pause.
#[derive(Debug, Clone)]
pub struct Resume {
    /// Which pause; none means every pause of the execution that waits for a person.
    pub task_run: Option<TaskRunKey>,
    /// False ends it as failed.
    pub go_on: bool,
    /// Typed values it asks for.
    pub inputs: BTreeMap<String, Value>,
    /// Who answers.
    pub by: String,
}

/// Why something is not done. Nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum OperationError {
    /// There is no such execution.
    #[error("there is no execution `{0}`")]
    Missing(ExecutionId),
    /// The execution is in no state for it.
    #[error("{what}")]
    Refused {
        /// What is in the way.
        what: String,
        /// What to do instead.
        help: Option<String>,
    },
    /// The flow.
    #[error(transparent)]
    Flow(#[from] FlowError),
    /// The inputs, or a guard.
    #[error(transparent)]
    Intake(#[from] IntakeError),
    /// The replay.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The plan is missing or damaged.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A shard is not what this release understands.
    #[error(transparent)]
    Shard(#[from] ShardError),
}

impl OperationError {
    pub(crate) fn refused(what: impl Into<String>) -> Self {
        Self::Refused {
            what: what.into(),
            help: None,
        }
    }

    pub(crate) fn with_help(self, text: impl Into<String>) -> Self {
        match self {
            Self::Refused { what, .. } => Self::Refused {
                what,
                help: Some(text.into()),
            },
            other @ (Self::Missing(_)
            | Self::Flow(_)
            | Self::Intake(_)
            | Self::Replay(_)
            | Self::Store(_)
            | Self::Plan(_)
            | Self::Shard(_)) => other,
        }
    }
}

/// Carries out what people ask for. Cheap to clone.
#[derive(Clone)]
pub struct Operations {
    /// Reads state, evaluates inputs.
    pub evaluator: Evaluator,
    /// Deployed flows.
    pub flows: Flows,
    /// Whoever plans.
    pub sink: Arc<dyn EventSink>,
}

impl Operations {
    /// Starts an execution of a deployed flow.
    pub async fn start(&self, start: Start) -> Result<Started, OperationError> {
        let store = &*self.evaluator.ports.store;
        if let Some(row) = store.execution(&start.id).await? {
            // A crash between the two writes of the first time: starting twice is starting once.
            if row.state == "CREATED" {
                self.send_start(&start.id).await?;
            }
            return Ok(Started {
                row,
                created: false,
                warnings: Vec::new(),
            });
        }
        let head = self.flows.existing(&start.namespace, &start.flow).await?;
        if head.disabled {
            return Err(FlowError::Disabled {
                namespace: start.namespace,
                flow: start.flow,
            }
            .into());
        }
        let number = start.revision.unwrap_or(head.revision);
        let revision = self
            .flows
            .revision(&start.namespace, &start.flow, number)
            .await?;
        let request = Request {
            id: start.id,
            plan: revision.plan.clone(),
            flow_dir: head.place_of_files(&revision.head),
            inputs: start.inputs,
            labels: start.labels,
            trigger: start.trigger,
            parent: None,
            replay_of: None,
            priority: start.priority,
        };
        let origin = Origin {
            revision: Some(number),
            local_files: false,
        };
        let created = self.evaluator.intake_from(request, origin).await?;
        let Created {
            row,
            plan,
            warnings,
        } = created;
        let new = store.create(&row, &plan).await?;
        if row.ended_ms.is_none() {
            self.send_start(&row.meta.id).await?;
        }
        Ok(Started {
            row,
            created: new,
            warnings,
        })
    }

    async fn send_start(&self, id: &ExecutionId) -> Result<(), StoreError> {
        self.sink.send(&ShardKey::root(id), &Event::Start).await
    }

    /// Kills an execution with everything it started.
    pub async fn kill(&self, id: &ExecutionId) -> Result<(), OperationError> {
        let wishes = self.snapshot(id).await?.kill()?;
        self.deliver(wishes).await
    }

    /// Begins a new round with what has not succeeded.
    pub async fn restart(&self, id: &ExecutionId) -> Result<(), OperationError> {
        let wishes = self.snapshot(id).await?.restart()?;
        self.deliver(wishes).await
    }

    /// Begins a new round with the iterations that have not succeeded.
    pub async fn retry_failed(&self, id: &ExecutionId) -> Result<(), OperationError> {
        let wishes = self.snapshot(id).await?.retry_failed()?;
        self.deliver(wishes).await
    }

    /// Answers one pause, or all that wait for a person; how many.
    pub async fn resume(&self, id: &ExecutionId, resume: Resume) -> Result<usize, OperationError> {
        let snapshot = self.snapshot(id).await?;
        let pauses = snapshot.pauses(resume.task_run.as_ref())?;
        // All of them before the first is answered: what is refused changes nothing.
        let mut answers = Vec::new();
        for pause in &pauses {
            answers.push(self.answer(&snapshot, pause, &resume).await?);
        }
        for answer in answers {
            self.keep_answer(answer).await?;
        }
        let count = pauses.len();
        self.deliver(snapshot.resume(&pauses, resume.go_on)).await?;
        Ok(count)
    }

    /// Starts a new execution that begins at a task and reuses what came before it.
    pub async fn replay(
        &self,
        id: ExecutionId,
        of: ExecutionId,
        from: String,
        revision: Option<u32>,
        inputs: Option<BTreeMap<String, Value>>,
    ) -> Result<Replay, OperationError> {
        let store = &*self.evaluator.ports.store;
        let source = store.execution(&of).await?;
        let source = source.ok_or_else(|| OperationError::Missing(of.clone()))?;
        let plan = match revision {
            Some(number) if number != source.meta.revision => {
                let (namespace, flow) = (&source.meta.namespace, &source.meta.flow);
                let head = self.flows.existing(namespace, flow).await?;
                let revision = self.flows.revision(namespace, flow, number).await?;
                Some((revision.plan.clone(), head.place_of_files(&revision.head)))
            }
            Some(_) | None => None,
        };
        let request = ReplayRequest { id, of, from, plan };
        let origin = Origin {
            revision: Some(revision.unwrap_or(source.meta.revision)),
            local_files: false,
        };
        let replay = self.evaluator.replay_from(request, origin, inputs).await?;
        let Created { row, plan, .. } = &replay.created;
        store.create(row, plan).await?;
        self.send_start(&row.meta.id).await?;
        Ok(replay)
    }

    /// The state of an execution, as far as wishes depend on it.
    pub async fn snapshot(&self, id: &ExecutionId) -> Result<Snapshot, OperationError> {
        let store = &*self.evaluator.ports.store;
        let row = store.execution(id).await?;
        let row = row.ok_or_else(|| OperationError::Missing(id.clone()))?;
        Snapshot::read(store, row).await
    }

    async fn deliver(&self, wishes: Wishes) -> Result<(), OperationError> {
        for (key, event) in &wishes {
            self.sink.send(key, event).await?;
        }
        Ok(())
    }
}
