//! The end of an execution: its row, its outputs, the next try, whoever waits for it.

use operon_core::exec::{Event, RootPhase};
use operon_core::plan::Layout;

use super::PlanQueue;
use crate::evaluate::{Overlay, Site};
use crate::finish::{failed_by_outputs, last_try};
use crate::planner::Message;
use crate::ports::{AttemptId, ExecutionId, ExecutionRow, Outgoing, QueueName, ShardKey};
use crate::rows;
use crate::step::{Outbox, StepError};
use crate::subflow;
use crate::wire::{self, EventMessage, PlanMessage};

impl PlanQueue {
    /// The execution has ended: its row, its outputs, the next try, whoever waits for it.
    pub(super) async fn finish(
        &self,
        id: &ExecutionId,
        outbox: &mut Outbox,
        follow: &mut Vec<Message>,
    ) -> Result<(), StepError> {
        // Read anew: a crash may have left out the row, and another planner may have written it.
        self.planner.retire(id);
        let Some(active) = self.planner.active(id).await? else {
            return Ok(());
        };
        let store = &*self.evaluator().ports.store;
        let key = ShardKey::root(id);
        let stored = self.evaluator().shards.get(store, &key).await?;
        let Some((root, layout)) = stored.shard.zip(Layout::of(&active.plan.plan, &key.shard))
        else {
            return Ok(());
        };
        if !matches!(root.phase, RootPhase::Ended | RootPhase::Over) {
            return Ok(()); // Restarted meanwhile.
        }
        let mut row = active.row();
        if !failed_by_outputs(&row)
            && rows::update_execution(&mut row, (&active.plan.plan, &layout), &root, self.now_ms())
            && row.state != "RETRIED"
            && active.row().state != "RETRIED"
        {
            let overlay = Overlay::default();
            self.evaluator()
                .put_outputs(&active, &mut row, &overlay)
                .await?;
            self.evaluator().put_row(&row, stored.version).await?;
            self.planner.retire(id);
        }
        let Some(active) = self.planner.active(id).await? else {
            return Ok(());
        };
        let row = self.evaluator().finish(&active, stored.version).await?;
        tell(id, outbox)?;
        if root.phase != RootPhase::Over {
            return Ok(());
        }
        for listener in &self.listeners {
            listener.over(&row).await?;
        }
        if let Some((next, wait_ms)) = self
            .evaluator()
            .next_execution(&active, stored.version)
            .await?
        {
            let start = EventMessage {
                not_before_ms: Some(self.now_ms().saturating_add(wait_ms)),
                ..EventMessage::new(ShardKey::root(&next.meta.id), Event::Start)
            };
            let text = PlanMessage::from(start).encode()?;
            let later = Outgoing::now(text).after(wait_ms.div_ceil(1000));
            outbox.push(QueueName::Plan, later);
        } else {
            follow.extend(self.answer_parent(&row).await?);
        }
        self.planner.retire(id);
        Ok(())
    }

    /// Tells the attempt that waits for an execution how it ended: as its last try did, once that is over.
    pub(super) async fn answer_parent(
        &self,
        child: &ExecutionRow,
    ) -> Result<Option<Message>, StepError> {
        let Some((execution, task_run, attempt)) = child.meta.parent.clone() else {
            return Ok(None);
        };
        let last = last_try(&*self.evaluator().ports.store, child.clone()).await?;
        // A try that failed is `RETRIED` only once it is over, after what comes after it.
        if self.planner.goes_on(&last).await? {
            return Ok(None);
        }
        let child = &last;
        let id = AttemptId {
            execution,
            task_run,
            attempt,
        };
        let Some(active) = self.planner.active(&id.execution).await? else {
            return Ok(None);
        };
        let site = Site::of_attempt(&active, &id);
        let Some((task, mut row)) = site.task().zip(rows::blank(site, attempt)) else {
            return Ok(None);
        };
        row.item = self.evaluator().item(site).await.unwrap_or_default();
        row.created_ms = child.meta.created_ms;
        let now = self.now_ms();
        let started = child.meta.created_ms;
        let result = subflow::result(&child.meta.id, Some(child), &task.props, started, now);
        let message = self.evaluator().done(&id, row, result, &[]).await?;
        Ok(Some(message))
    }
}

/// Lets the worker tell people of an execution, and measure it.
pub(super) fn tell(id: &ExecutionId, outbox: &mut Outbox) -> Result<(), StepError> {
    outbox.push(QueueName::Work, wire::telling(id)?);
    Ok(())
}
