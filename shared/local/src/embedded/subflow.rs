//! `Subflow`: an attempt that is an execution of another flow.

use std::rc::Rc;
use std::sync::Arc;

use operon_core::exec::{Event, Reason};
use operon_engine::finish::last_try;
use operon_engine::intake::Request;
use operon_engine::launch::Call;
use operon_engine::planner::Active;
use operon_engine::ports::{
    AttemptId, AttemptResult, ExecutionId, ExecutionRow, ShardKey, StateStore as _,
};
use operon_engine::reports::failed;
use operon_engine::subflow::{self, DEPTH_MAX, child_id};
use tracing::warn;

use super::{Inner, STORE_PAUSE};

impl Inner {
    pub(super) async fn subflow(
        self: &Rc<Self>,
        active: &Arc<Active>,
        id: &AttemptId,
        call: Call,
    ) -> Option<AttemptResult> {
        let started = self.parts.ports.clock.now_ms();
        let child = child_id(id)?;
        let wait = subflow::waits(&call);
        let mut extra = Vec::new();
        match self.start_subflow(active, id, &child, &call).await {
            Ok(warnings) => extra.extend(warnings),
            Err(message) => {
                let now = self.parts.ports.clock.now_ms();
                return Some(failed(started, now, Reason::InvalidInput, message));
            }
        }
        let row = if wait {
            let last = tokio::time::timeout(call.timeout, self.wait_for_last(&child)).await;
            let Ok(row) = last else {
                self.stop_subflow(id).await;
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
        Some(subflow::result(
            &child,
            row.as_ref(),
            &call.props,
            started,
            now,
        ))
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
        let (namespace, flow) = subflow::target(active, call)?;
        let (plan, flow_dir) = self
            .parts
            .flows
            .flow(
                &namespace,
                &flow,
                subflow::revision(call),
                active.meta.flow_dir.as_deref(),
            )
            .await
            .map_err(|error| error.to_string())?;
        let request = Request {
            flow_dir,
            ..subflow::request(active, id, child.clone(), plan, call)
        };
        let created = self
            .evaluator
            .intake(request)
            .await
            .map_err(|error| error.to_string())?;
        // One that a guard of its flow refuses is stored as failed, and its end is the answer.
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

    /// The row of the last try of an execution, once that is over.
    async fn wait_for_last(&self, first: &ExecutionId) -> Option<ExecutionRow> {
        let mut id = first.clone();
        loop {
            let row = self.wait_for(&id).await?;
            let last = self.last_try(row).await;
            if last.meta.id == id {
                return Some(last);
            }
            id = last.meta.id;
        }
    }

    async fn last_try(&self, row: ExecutionRow) -> ExecutionRow {
        loop {
            match last_try(&*self.parts.ports.store, row.clone()).await {
                Ok(last) => return last,
                Err(reason) => {
                    warn!(%reason, execution_id = %row.meta.id, "the last try cannot be read yet");
                    tokio::time::sleep(STORE_PAUSE).await;
                }
            }
        }
    }

    pub(super) fn kill_execution(&self, id: &ExecutionId) {
        self.send(operon_engine::planner::Message::new(
            ShardKey::root(id),
            Event::Kill {
                reason: Reason::Kill,
                round: None,
            },
        ));
    }

    /// Kills the child and waits until it is over, and no try follows it: invariant 7 holds for children too.
    pub(super) async fn stop_subflow(&self, id: &AttemptId) {
        let Some(mut child) = child_id(id) else {
            return;
        };
        while let Some(row) = self.execution(&child).await {
            let last = self.last_try(row).await.meta.id;
            if !self.running.borrow().contains(&last) {
                return;
            }
            self.kill_execution(&last);
            self.wait_for(&last).await;
            child = last;
        }
    }
}
