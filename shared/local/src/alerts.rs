//! Alerts and measurements of a server on this machine: hears of executions from the engine, tells people.
//!
//! Invariant: an end that the server did not hear of, because it was killed, is noted at its next start; an execution
//! is counted once per incident, and measured once, all the same.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use operon_engine::alerts::Alerts;
use operon_engine::metrics::{Buried, Measures};
use operon_engine::ports::{AttemptRow, ExecutionFilter, ExecutionRow, StoreError};
use operon_engine::triggers::Notices;
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

/// Hears of executions and passes them on. Clones go the same way.
#[derive(Debug, Clone)]
pub struct Ends(UnboundedSender<ExecutionRow>);

/// The two ends of the way from the engine to [`run`].
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

/// What only triggers see: executions that were over before they began go the way of all that end.
pub struct Noticed {
    /// To [`run`].
    pub ends: Ends,
    /// Where dead letters are counted.
    pub measures: Arc<dyn Measures>,
}

#[async_trait]
impl Notices for Noticed {
    async fn over(&self, row: &ExecutionRow) -> Result<(), StoreError> {
        self.ends.execution(row);
        Ok(())
    }

    fn buried(&self, buried: &Buried, now_ms: u64) {
        self.measures.buried(buried, now_ms);
    }
}

/// Tells people of executions, and measures them, until the engine is gone.
pub async fn run(alerts: Alerts, mut rows: UnboundedReceiver<ExecutionRow>) {
    if let Err(reason) = catch_up(&alerts).await {
        warn!(%reason, "ends of executions before this start are not told");
    }
    let mut tick = tokio::time::interval(INTERVAL);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            row = rows.recv() => {
                let Some(row) = row else { return };
                if let Err(reason) = alerts.take(&row).await {
                    warn!(%reason, execution_id = %row.meta.id, "an execution's state is not told");
                }
                if row.ended_ms.is_none() {
                    continue;
                }
            }
            _ = tick.tick() => {}
        }
        if let Err(reason) = alerts.deliver().await {
            warn!(%reason, "alerts wait for the store");
        }
    }
}

async fn catch_up(alerts: &Alerts) -> Result<(), StoreError> {
    let ports = &alerts.evaluator.ports;
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
        alerts.take(row).await?;
    }
    Ok(())
}
