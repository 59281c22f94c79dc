//! Alerts and measurements of a server on this machine: hears of executions from the engine, tells people.
//!
//! Invariant: an end that the server did not hear of, because it was killed, is noted at its next start; an execution
//! is counted once per incident, and measured once, all the same.

use std::sync::Arc;
use std::time::Duration;

use operon_engine::evaluate::Evaluator;
use operon_engine::metrics::{self, Prices, Totals};
use operon_engine::notify::{self, Context};
use operon_engine::plans::Plans;
use operon_engine::ports::{AttemptRow, ExecutionFilter, ExecutionRow, LogReader, StoreError};
use operon_engine::tasks::HttpClients;
use operon_engine::traces::Exporter;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::MissedTickBehavior;
use tracing::warn;

use crate::embedded::Observer;

/// How often messages are looked for that are due.
const INTERVAL: Duration = Duration::from_secs(5);
// A missed service level is told within thirty seconds.
const _: () = assert!(INTERVAL.as_secs() < 30);
/// How far back a start looks for ends that nobody noted, in milliseconds.
const CATCH_UP_MS: u64 = 24 * 3600 * 1000;
/// Executions looked at then.
const CATCH_UP_MAX: u32 = 1000;

/// Before each try to send a trace.
const TRACE_WAITS: [Duration; 3] = [
    Duration::ZERO,
    Duration::from_secs(5),
    Duration::from_mins(1),
];

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
    /// What is reserved costs so much.
    pub prices: Prices,
    /// Where traces go, if anywhere.
    pub traces: Option<Exporter>,
}

impl Alerts {
    /// Works until the engine is gone.
    pub async fn run(self, mut rows: UnboundedReceiver<ExecutionRow>) {
        let (plans, http) = (Plans::default(), HttpClients::default());
        if let Err(reason) = self.catch_up(&plans).await {
            warn!(%reason, "ends of executions before this start are not told");
        }
        let mut tick = tokio::time::interval(INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                row = rows.recv() => {
                    let Some(row) = row else { return };
                    if let Err(reason) = self.take(&plans, &row).await {
                        warn!(%reason, execution_id = %row.meta.id, "an execution's state is not told");
                    }
                    if row.ended_ms.is_none() {
                        continue;
                    }
                }
                _ = tick.tick() => {}
            }
            match notify::deliver(&self.evaluator, &plans, &http).await {
                Ok(done) => done
                    .alerts
                    .iter()
                    .for_each(|alert| self.totals.alert(alert)),
                Err(reason) => warn!(%reason, "alerts wait for the store"),
            }
        }
    }

    async fn take(&self, plans: &Plans, row: &ExecutionRow) -> Result<(), StoreError> {
        let ports = &self.evaluator.ports;
        let plan = plans.get(&*ports.store, &row.meta.plan_hash).await;
        let plan = plan.map_err(|error| StoreError::Failed(error.to_string()))?;
        let context = Context {
            ports,
            logs: &*self.logs,
            console_url: self.console_url.as_deref(),
        };
        if row.ended_ms.is_none() {
            return context.started(&plan, row).await.map(drop);
        }
        if let Some(measured) = metrics::measure(ports, &plan, row, self.prices).await? {
            self.totals.add(&measured);
            self.trace(row).await?;
        }
        context.ended(&plan, row).await
    }

    /// Sends the trace of an execution, if somebody wants it. Nobody waits for it, and what failed is said.
    async fn trace(&self, row: &ExecutionRow) -> Result<(), StoreError> {
        let Some(exporter) = self.traces.clone() else {
            return Ok(());
        };
        let attempts = metrics::measured_attempts(&self.evaluator.ports, row).await?;
        let row = row.clone();
        tokio::spawn(async move {
            for wait in TRACE_WAITS {
                tokio::time::sleep(wait).await;
                match exporter.send(&row, &attempts).await {
                    Ok(()) => return,
                    Err(reason) => {
                        warn!(%reason, execution_id = %row.meta.id, "a trace is not taken");
                    }
                }
            }
        });
        Ok(())
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
            self.take(plans, row).await?;
        }
        Ok(())
    }
}
