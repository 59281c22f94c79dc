//! The watcher's step: what ECS says by itself of its tasks, told to the shards of their attempts.
//!
//! A rule delivers ends that are not plain successes, and the warning that spot capacity is about to be taken away. The
//! warning ends nothing, because the attempt is alive until it has stopped; it is written down with the attempt, so
//! that people see why it will end.
//! Events come twice and out of order: of one task the newest version counts, and a shard takes an end once.

use std::collections::BTreeMap;
use std::sync::Arc;

use operon_core::agent::{AgentMessage, AgentSaid};
use serde::Deserialize;
use tracing::{info, warn};

use crate::Ports;
use crate::fargate;
use crate::launcher::identity_key;
use crate::ports::{AttemptId, ContainerView, Outgoing, Queue, QueueName, StoreError, TaskView};
use crate::reports;
use crate::settle;
use crate::step::StepError;
use crate::wire::PlanMessage;

/// Bytes of an event at most (EventBridge's own limit is 1 MiB).
pub const EVENT_BYTES_MAX: usize = 1024 * 1024;

/// Stop codes of the warning, two minutes before the end.
const SPOT: &str = "SpotInterruption";
const NOTICE: &str = "TerminationNotice";
/// What people read of it.
const WARNING: &str = "Fargate takes its spot capacity away within two minutes; another attempt follows, and this one \
                       does not count";

/// Tells shards what ECS says.
pub struct Watcher {
    ports: Ports,
    queue: Arc<dyn Queue>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Envelope {
    source: String,
    detail_type: String,
    detail: Detail,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Detail {
    task_arn: String,
    #[serde(default)]
    started_by: String,
    #[serde(default)]
    last_status: String,
    #[serde(default)]
    desired_status: String,
    stop_code: Option<String>,
    stopped_reason: Option<String>,
    #[serde(default)]
    containers: Vec<Container>,
    #[serde(default)]
    version: i64,
    created_at: Option<String>,
    started_at: Option<String>,
    stopped_at: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Container {
    #[serde(default)]
    name: String,
    exit_code: Option<i32>,
    reason: Option<String>,
}

fn millis(text: Option<&String>) -> Option<u64> {
    let time: jiff::Timestamp = text?.parse().ok()?;
    u64::try_from(time.as_millisecond()).ok()
}

/// The task that an event describes.
pub fn parse(text: &str) -> Result<TaskView, StepError> {
    if text.len() > EVENT_BYTES_MAX {
        let message = format!(
            "an event has {} bytes; at most {EVENT_BYTES_MAX} are read",
            text.len()
        );
        return Err(StepError::Other(message));
    }
    let envelope: Envelope = serde_json::from_str(text)
        .map_err(|error| StepError::Other(format!("not an event about a task of ECS: {error}")))?;
    if envelope.source != "aws.ecs" || envelope.detail_type != "ECS Task State Change" {
        return Err(StepError::Other(format!(
            "`{}` of `{}` is not what the watcher is for; check the rule that sends it",
            envelope.detail_type, envelope.source
        )));
    }
    let detail = envelope.detail;
    Ok(TaskView {
        created_ms: millis(detail.created_at.as_ref()),
        started_ms: millis(detail.started_at.as_ref()),
        stopped_ms: millis(detail.stopped_at.as_ref()),
        arn: detail.task_arn,
        started_by: detail.started_by,
        last_status: detail.last_status,
        desired_status: detail.desired_status,
        stop_code: detail.stop_code,
        stopped_reason: detail.stopped_reason,
        containers: detail
            .containers
            .into_iter()
            .map(|container| ContainerView {
                name: container.name,
                exit_code: container.exit_code,
                reason: container.reason,
            })
            .collect(),
        version: detail.version,
    })
}

impl Watcher {
    /// A watcher over these ports.
    #[must_use]
    pub fn new(ports: Ports, queue: Arc<dyn Queue>) -> Self {
        Self { ports, queue }
    }

    /// Handles a batch of events; one outcome per event, in their order.
    pub async fn handle(&self, texts: &[&str]) -> Vec<Result<(), StepError>> {
        let parsed: Vec<_> = texts.iter().map(|text| parse(text)).collect();
        let mut newest: BTreeMap<&str, i64> = BTreeMap::new();
        for task in parsed.iter().flatten() {
            let version = newest.entry(&task.arn).or_insert(task.version);
            *version = task.version.max(*version);
        }
        let mut outcomes = Vec::with_capacity(parsed.len());
        for task in &parsed {
            outcomes.push(match task {
                Err(error) => Err(StepError::Other(error.to_string())),
                Ok(task) if newest.get(task.arn.as_str()) > Some(&task.version) => Ok(()),
                Ok(task) => self.tell(task).await,
            });
        }
        outcomes
    }

    async fn tell(&self, task: &TaskView) -> Result<(), StepError> {
        let Some(id) = self.attempt(&task.started_by).await? else {
            info!(task_arn = %task.arn, "a task that Operon did not start");
            return Ok(());
        };
        let now = self.ports.clock.now_ms();
        if !task.is_stopped() {
            if let Some(SPOT | NOTICE) = task.stop_code.as_deref() {
                warn!(execution_id = %id.execution, task_arn = %task.arn, "its spot capacity is about to go");
                let message = PlanMessage::Agent(Box::new(AgentMessage {
                    format: operon_core::agent::FORMAT,
                    attempt: reports::name_of(&id),
                    said: AgentSaid::Warned {
                        at_ms: now,
                        message: WARNING.to_owned(),
                    },
                }));
                let out = Outgoing::now(message.encode()?);
                self.queue.send(QueueName::Plan, vec![out]).await?;
            }
            return Ok(());
        }
        let message = settle::stopped(&*self.ports.artifacts, &id, task, now).await?;
        let out = Outgoing::now(message.encode()?);
        self.queue.send(QueueName::Plan, vec![out]).await?;
        Ok(())
    }

    async fn attempt(&self, started_by: &str) -> Result<Option<AttemptId>, StoreError> {
        attempt(&self.ports, started_by).await
    }
}

/// Whose a task is; none when Operon did not start it.
pub async fn attempt(ports: &Ports, started_by: &str) -> Result<Option<AttemptId>, StoreError> {
    if let Some(id) = fargate::parse_identity(started_by) {
        return Ok(Some(id));
    }
    if !started_by.starts_with("operon/") {
        return Ok(None);
    }
    let now = ports.clock.now_ms();
    let record = ports.records.record(&identity_key(started_by), now).await?;
    Ok(record.and_then(|record| serde_json::from_value(record.value).ok()))
}
