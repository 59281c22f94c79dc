//! `Subflow`: an attempt that is an execution of another flow.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use operon_core::exec::{Event, Outcome, Reason};
use operon_engine::intake::Request;
use operon_engine::launch::Call;
use operon_engine::planner::Active;
use operon_engine::ports::{
    AttemptId, AttemptResult, ExecutionId, ExecutionRow, ShardKey, StateStore as _,
};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use tracing::warn;

use super::attempt::{ended, failed};
use super::{Inner, STORE_PAUSE};

/// Subflows inside subflows at most: a flow that calls itself ends with an error, not with a full disk.
pub(super) const DEPTH_MAX: usize = 20;

/// The execution of a subflow has one name per attempt: launching it twice starts it once.
fn child_id(id: &AttemptId) -> Option<ExecutionId> {
    let mut text = hex::encode(Sha256::digest(id.to_string().as_bytes()));
    text.truncate(22);
    text.parse().ok()
}

impl Inner {
    pub(super) async fn subflow(
        self: &Rc<Self>,
        active: &Arc<Active>,
        id: &AttemptId,
        call: Call,
    ) -> Option<AttemptResult> {
        let started = self.parts.ports.clock.now_ms();
        let child = child_id(id)?;
        let wait = call
            .props
            .get("wait")
            .and_then(Value::as_bool)
            .unwrap_or(true);
        let mut extra = Vec::new();
        match self.start_subflow(active, id, &child, &call).await {
            Ok(warnings) => extra.extend(warnings),
            Err(message) => {
                let now = self.parts.ports.clock.now_ms();
                return Some(failed(started, now, Reason::InvalidInput, message));
            }
        }
        let mut outputs = Map::new();
        outputs.insert("executionId".to_owned(), json!(child));
        let row = if wait {
            let Ok(row) = tokio::time::timeout(call.timeout, self.wait_for(&child)).await else {
                self.kill_execution(&child);
                let now = self.parts.ports.clock.now_ms();
                let message = format!(
                    "execution {child} took longer than {} ms",
                    call.timeout.as_millis()
                );
                return Some(failed(started, now, Reason::Timeout, message));
            };
            Some(row?)
        } else {
            None
        };
        let now = self.parts.ports.clock.now_ms();
        let Some(row) = row else {
            return Some(AttemptResult {
                outputs,
                ..ended(started, now, Outcome::Success)
            });
        };
        outputs.insert("state".to_owned(), json!(row.state));
        outputs.insert("outputs".to_owned(), Value::Object(row.outputs.clone()));
        let transmit = call
            .props
            .get("transmitFailed")
            .and_then(Value::as_bool)
            .unwrap_or(true);
        let outcome = match row.state.as_str() {
            "SUCCESS" => Outcome::Success,
            "WARNING" if transmit => Outcome::Warning,
            _ if transmit => Outcome::Failed(Reason::ChildFailed),
            _ => Outcome::Success,
        };
        let message = matches!(outcome, Outcome::Failed(_)).then(|| {
            format!(
                "execution {child} of flow `{}` ended {}",
                row.meta.flow, row.state
            )
        });
        Some(AttemptResult {
            outputs,
            message,
            ..ended(started, now, outcome)
        })
    }

    async fn start_subflow(
        self: &Rc<Self>,
        active: &Arc<Active>,
        id: &AttemptId,
        child: &ExecutionId,
        call: &Call,
    ) -> Result<Vec<String>, String> {
        if self.execution(child).await.is_some() {
            // Launched before a crash: it goes on by itself.
            return Ok(Vec::new());
        }
        self.check_depth(active).await?;
        let text = |key: &str| {
            call.props
                .get(key)
                .and_then(Value::as_str)
                .map(str::to_owned)
        };
        let namespace = text("namespace").unwrap_or_else(|| active.meta.namespace.clone());
        let flow = text("flowId").ok_or("`flowId` is missing")?;
        let (plan, flow_dir) = self
            .parts
            .flows
            .flow(&namespace, &flow, active.meta.flow_dir.as_deref())
            .await
            .map_err(|error| error.to_string())?;
        let mut labels = BTreeMap::new();
        if call
            .props
            .get("inheritLabels")
            .and_then(Value::as_bool)
            .unwrap_or(false)
        {
            labels.extend(active.row().labels);
        }
        if let Some(Value::Object(own)) = call.props.get("labels") {
            let text = |value: &Value| {
                value
                    .as_str()
                    .map_or_else(|| value.to_string(), str::to_owned)
            };
            labels.extend(own.iter().map(|(key, value)| (key.clone(), text(value))));
        }
        let inputs = match call.props.get("inputs") {
            Some(Value::Object(inputs)) => inputs.clone().into_iter().collect(),
            _ => BTreeMap::new(),
        };
        let request = Request {
            id: child.clone(),
            plan,
            flow_dir,
            inputs,
            labels,
            trigger: json!({
                "executionId": active.meta.id, "flowId": active.meta.flow,
                "namespace": active.meta.namespace, "flowRevision": active.meta.revision,
            }),
            parent: Some((active.meta.id.clone(), id.task_run.clone(), id.attempt)),
            replay_of: None,
            priority: active.meta.priority,
        };
        let created = self
            .evaluator
            .intake(request)
            .await
            .map_err(|error| error.to_string())?;
        let refused = created
            .row
            .reason
            .clone()
            .filter(|_| created.row.ended_ms.is_some());
        if let Some(reason) = refused {
            return Err(reason);
        }
        self.start(&created.row, &created.plan)
            .await
            .map_err(|error| error.to_string())?;
        Ok(created.warnings)
    }

    /// Refuses a flow that calls itself without end.
    async fn check_depth(&self, active: &Active) -> Result<(), String> {
        let mut parent = active.meta.parent.clone();
        for _ in 0..DEPTH_MAX {
            let Some((id, ..)) = parent else {
                return Ok(());
            };
            parent = self.execution(&id).await.and_then(|row| row.meta.parent);
        }
        Err(format!(
            "more than {DEPTH_MAX} subflows inside each other; does the flow call itself?"
        ))
    }

    async fn execution(&self, id: &ExecutionId) -> Option<ExecutionRow> {
        loop {
            match self.parts.store.execution(id).await {
                Ok(row) => return row,
                Err(reason) => {
                    warn!(%reason, execution_id = %id, "the execution cannot be read yet");
                    tokio::time::sleep(STORE_PAUSE).await;
                }
            }
        }
    }

    /// The row of an execution once it is over.
    async fn wait_for(&self, id: &ExecutionId) -> Option<ExecutionRow> {
        let (sender, mut receiver) = tokio::sync::oneshot::channel();
        self.waiters
            .borrow_mut()
            .entry(id.clone())
            .or_default()
            .push(sender);
        let row = self.execution(id).await?;
        if self.running.borrow().contains(id) {
            return receiver.await.ok();
        }
        // It may have ended while its row was read.
        Some(receiver.try_recv().unwrap_or(row))
    }

    pub(super) fn kill_execution(&self, id: &ExecutionId) {
        self.send(operon_engine::planner::Message::new(
            ShardKey::root(id),
            Event::Kill {
                reason: Reason::Kill,
            },
        ));
    }

    /// Kills the child and waits until it is over: invariant 7 holds for children too.
    pub(super) async fn stop_subflow(&self, id: &AttemptId) {
        let Some(child) = child_id(id) else { return };
        if self.execution(&child).await.is_some() && self.running.borrow().contains(&child) {
            self.kill_execution(&child);
            self.wait_for(&child).await;
        }
    }
}
