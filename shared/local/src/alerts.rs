//! Alerts and measurements of a server on this machine: hears of executions from the engine, tells people.
//!
//! Invariant: an end that the server did not hear of, because it was killed, is noted at its next start; an execution
//! is counted once per incident all the same.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use operon_engine::evaluate::Evaluator;
use operon_engine::metrics::{Measurement, Totals};
use operon_engine::notify::{self, Context};
use operon_engine::plans::Plans;
use operon_engine::ports::{
    AttemptRow, ExecutionFilter, ExecutionId, ExecutionRow, LogReader, StoreError, TaskRunKey,
};
use operon_engine::tasks::HttpClients;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::MissedTickBehavior;
use tracing::warn;

use crate::embedded::Observer;

/// How often messages are looked for that are due.
const INTERVAL: Duration = Duration::from_secs(5);
/// How far back a start looks for ends that nobody noted, in milliseconds.
const CATCH_UP_MS: u64 = 24 * 3600 * 1000;
/// Executions looked at then.
const CATCH_UP_MAX: u32 = 1000;
/// Ends remembered, because the engine may tell each of them more than once.
const ENDS_MAX: usize = 10_000;
/// Attempts of one execution that are measured.
const ATTEMPTS_MAX: usize = 100_000;
/// Attempts read at once.
const PAGE: u32 = 1000;

/// Hears of executions and passes them on.
#[derive(Debug)]
pub struct Ends(UnboundedSender<ExecutionRow>);

/// The two ends of the way from the engine to [`Alerts`].
#[must_use]
pub fn ends() -> (Ends, UnboundedReceiver<ExecutionRow>) {
    let (sender, receiver) = unbounded_channel();
    (Ends(sender), receiver)
}

impl Observer for Ends {
    fn execution(&self, row: &ExecutionRow) {
        if row.ended_ms.is_some() || row.state == "RUNNING" {
            // Without a receiver the server is ending; its next start catches up.
            let _ = self.0.send(row.clone());
        }
    }

    fn task_run(&self, _: &AttemptRow) {}
}

/// Ends that were measured, the newest of them.
#[derive(Debug, Default)]
struct Seen(VecDeque<(ExecutionId, Option<u64>)>);

impl Seen {
    /// Whether this end is told for the first time. A restarted execution ends anew.
    fn is_new(&mut self, row: &ExecutionRow) -> bool {
        let end = (row.meta.id.clone(), row.ended_ms);
        if self.0.iter().rev().any(|known| *known == end) {
            return false;
        }
        if self.0.len() >= ENDS_MAX {
            self.0.pop_front();
        }
        self.0.push_back(end);
        true
    }
}

/// Tells people of executions, and measures them.
pub struct Alerts {
    /// Over the server's ports.
    pub evaluator: Evaluator,
    /// Logs of attempts.
    pub logs: Arc<dyn LogReader>,
    /// Address of the console.
    pub console_url: Option<String>,
    /// Where measurements are added up.
    pub totals: Arc<Totals>,
}

impl Alerts {
    /// Works until the engine is gone.
    pub async fn run(self, mut rows: UnboundedReceiver<ExecutionRow>) {
        let (plans, http) = (Plans::default(), HttpClients::default());
        if let Err(reason) = self.catch_up(&plans).await {
            warn!(%reason, "ends of executions before this start are not told");
        }
        let mut seen = Seen::default();
        let mut tick = tokio::time::interval(INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                row = rows.recv() => {
                    let Some(row) = row else { return };
                    let measure = seen.is_new(&row);
                    if let Err(reason) = self.take(&plans, &row, measure).await {
                        warn!(%reason, execution_id = %row.meta.id, "an execution's state is not told");
                    }
                    if row.ended_ms.is_none() {
                        continue;
                    }
                }
                _ = tick.tick() => {}
            }
            if let Err(reason) = notify::deliver(&self.evaluator, &plans, &http).await {
                warn!(%reason, "alerts wait for the store");
            }
        }
    }

    async fn take(
        &self,
        plans: &Plans,
        row: &ExecutionRow,
        measure: bool,
    ) -> Result<(), StoreError> {
        let ports = &self.evaluator.ports;
        let plan = plans.get(&*ports.store, &row.meta.plan_hash).await;
        let plan = plan.map_err(|error| StoreError::Failed(error.to_string()))?;
        let context = Context {
            ports,
            logs: &*self.logs,
            console_url: self.console_url.as_deref(),
        };
        if row.ended_ms.is_none() {
            return context.started(&plan, row).await;
        }
        if measure {
            let attempts = self.attempts(row).await?;
            self.totals.add(&Measurement::of(row, &attempts));
        }
        context.ended(&plan, row).await
    }

    async fn attempts(&self, row: &ExecutionRow) -> Result<Vec<AttemptRow>, StoreError> {
        let store = &self.evaluator.ports.store;
        let mut attempts: Vec<AttemptRow> = Vec::new();
        let mut after: Option<(TaskRunKey, u8)> = None;
        while attempts.len() < ATTEMPTS_MAX {
            let page = store.attempts_page(&row.meta.id, after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = Some((last.task_run.clone(), last.attempt));
            attempts.extend(page);
        }
        Ok(attempts)
    }

    async fn catch_up(&self, plans: &Plans) -> Result<(), StoreError> {
        let ports = &self.evaluator.ports;
        let now = ports.clock.now_ms();
        let filter = ExecutionFilter {
            limit: CATCH_UP_MAX,
            from_ms: Some(now.saturating_sub(CATCH_UP_MS)),
            ..ExecutionFilter::default()
        };
        let mut rows = ports.store.executions(&filter).await?;
        // In the order of their ends: a failure before a success is over.
        rows.retain(|row| row.ended_ms.is_some());
        rows.sort_by_key(|row| row.ended_ms);
        for row in &rows {
            self.take(plans, row, false).await?;
        }
        Ok(())
    }
}
