//! What follows for people from the beginning and the end of an execution: it is measured, and they are told.
//!
//! The embedded engine and the worker function do the same by this. Whoever sees an execution begin or end asks
//! [`Alerts::take`]; it may be asked again and again. Invariant: each end of an execution is measured once, whoever
//! sees it and however often: [`metrics::measure`] keeps that on condition that nobody has. Invariant: an alert that
//! is due is a record that is due, so what one process could not send another one does.

use std::sync::Arc;
use std::time::Duration;

use tracing::warn;

use crate::evaluate::Evaluator;
use crate::metrics::{self, Measures, Prices};
use crate::notify::{self, Context, Delivered};
use crate::plans::Plans;
use crate::ports::{AttemptRow, ExecutionId, ExecutionRow, LogReader, StoreError};
use crate::tasks::HttpClients;
use crate::traces::Exporter;

/// How the trace of an execution is sent. What failed is said, and nothing else depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sending {
    /// It is waited for: the process lives no longer than its message.
    Waited,
    /// Beside everything else: the process lives on.
    Beside,
}

/// Before each try that is waited for.
const FEW_WAITS: [Duration; 2] = [Duration::ZERO, Duration::from_secs(1)];
/// Before each try that nobody waits for.
const LONG_WAITS: [Duration; 3] = [
    Duration::ZERO,
    Duration::from_secs(5),
    Duration::from_mins(1),
];

impl Sending {
    /// Before each try.
    const fn waits(self) -> &'static [Duration] {
        match self {
            Self::Waited => &FEW_WAITS,
            Self::Beside => &LONG_WAITS,
        }
    }
}

/// For all tries that are waited for: what people are told must not wait longer for a collector that does not answer.
const TRACE_TIME: Duration = Duration::from_secs(10);

/// Tells people of executions, and measures them.
pub struct Alerts {
    /// Over the ports.
    pub evaluator: Evaluator,
    /// Logs of attempts.
    pub logs: Arc<dyn LogReader>,
    /// Address of the console, without a slash at its end.
    pub console_url: Option<String>,
    /// Where measurements go.
    pub measures: Arc<dyn Measures>,
    /// Plans in memory.
    pub plans: Plans,
    /// Connections of messages.
    pub http: HttpClients,
    /// Where traces go, if anywhere, and how.
    pub traces: Option<(Exporter, Sending)>,
}

impl Alerts {
    /// Over these parts.
    #[must_use]
    pub fn new(
        evaluator: Evaluator,
        logs: Arc<dyn LogReader>,
        console_url: Option<String>,
        measures: Arc<dyn Measures>,
    ) -> Self {
        Self {
            evaluator,
            logs,
            console_url,
            measures,
            plans: Plans::default(),
            http: HttpClients::default(),
            traces: None,
        }
    }

    /// The same, which sends the trace of each execution that is over, where somebody wants it.
    #[must_use]
    pub fn tracing(mut self, traces: Option<Exporter>, sending: Sending) -> Self {
        self.traces = traces.map(|exporter| (exporter, sending));
        self
    }

    /// Takes note of an execution as it is stored: see [`Self::take`].
    pub async fn take_stored(&self, id: &ExecutionId) -> Result<Option<u64>, StoreError> {
        match self.evaluator.ports.store.execution(id).await? {
            Some(row) => self.take(&row).await,
            None => Ok(None),
        }
    }

    /// Takes note of an execution that runs or has ended. When somebody must look again because a service level is
    /// missed then, milliseconds since the epoch.
    pub async fn take(&self, row: &ExecutionRow) -> Result<Option<u64>, StoreError> {
        let ports = &self.evaluator.ports;
        let plan = self.plans.get(&*ports.store, &row.meta.plan_hash).await;
        let plan = plan.map_err(|error| StoreError::Failed(error.to_string()))?;
        let context = Context {
            ports,
            logs: &*self.logs,
            console_url: self.console_url.as_deref(),
        };
        if row.ended_ms.is_none() {
            return context.started(&plan, row).await;
        }
        // First who must be told: that may be repeated.
        context.ended(&plan, row).await?;
        if let Some(measured) = metrics::measure(ports, &plan, row, Prices::FARGATE).await? {
            self.measures.measured(&measured, ports.clock.now_ms());
            self.trace(row).await?;
        }
        Ok(None)
    }

    /// Sends the trace of an execution, if somebody wants it.
    async fn trace(&self, row: &ExecutionRow) -> Result<(), StoreError> {
        let Some((exporter, sending)) = self.traces.clone() else {
            return Ok(());
        };
        let attempts = metrics::measured_attempts(&self.evaluator.ports, row).await?;
        let tries = send(exporter, row.clone(), attempts, sending.waits());
        match sending {
            Sending::Beside => drop(tokio::spawn(tries)),
            Sending::Waited => {
                if tokio::time::timeout(TRACE_TIME, tries).await.is_err() {
                    warn!(execution_id = %row.meta.id, "a trace is given up: the collector does not answer");
                }
            }
        }
        Ok(())
    }

    /// Sends what is due.
    pub async fn deliver(&self) -> Result<Delivered, StoreError> {
        let done = notify::deliver(&self.evaluator, &self.plans, &self.http).await?;
        let now = self.evaluator.ports.clock.now_ms();
        for alert in &done.alerts {
            self.measures.alerted(alert, now);
        }
        Ok(done)
    }
}

async fn send(
    exporter: Exporter,
    row: ExecutionRow,
    attempts: Vec<AttemptRow>,
    waits: &[Duration],
) {
    for wait in waits {
        tokio::time::sleep(*wait).await;
        match exporter.send(&row, &attempts).await {
            Ok(()) => return,
            Err(reason) => {
                warn!(%reason, execution_id = %row.meta.id, "a trace is not taken");
            }
        }
    }
}
