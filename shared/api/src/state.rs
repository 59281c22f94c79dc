//! What the application is made of.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use operon_engine::Ports;
use operon_engine::audit::Audit;
use operon_engine::flows::Flows;
use operon_engine::metrics::{Prices, Totals};
use operon_engine::operations::Operations;
use operon_engine::plans::Plans;
use operon_engine::ports::LogReader;

use crate::auth::Auth;
use crate::console::Console;
use crate::hooks::{DeadLetters, TriggerAdmin, Webhooks};

/// What may be chosen about the application.
pub struct Settings {
    /// Executions and flows.
    pub operations: Operations,
    /// Logs of attempts.
    pub logs: Arc<dyn LogReader>,
    /// Who may call.
    pub auth: Auth,
    /// The console's files.
    pub console: Console,
    /// What an hour of a task costs.
    pub prices: Prices,
    /// How long an event stream lives; readers come back by themselves, and who may no longer read does not.
    pub stream_life: Duration,
    /// Answers webhooks; none refuses them.
    pub webhooks: Option<Arc<dyn Webhooks>>,
    /// Lists and steers triggers.
    pub triggers: Option<Arc<dyn TriggerAdmin>>,
    /// Messages that nobody could handle.
    pub dead_letters: Option<Arc<dyn DeadLetters>>,
}

/// The application's state. Cheap to clone.
#[derive(Clone)]
pub struct Api {
    inner: Arc<Inner>,
}

struct Inner {
    settings: Settings,
    audit: Audit,
    plans: Plans,
    totals: OnceLock<Arc<Totals>>,
}

impl Api {
    /// The application over these parts.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let audit = Audit::new(&settings.operations.evaluator.ports);
        Self {
            inner: Arc::new(Inner {
                settings,
                audit,
                plans: Plans::default(),
                totals: OnceLock::new(),
            }),
        }
    }

    /// Shows these totals at `/api/v1/metrics`, from now on.
    pub fn show_totals(&self, totals: Arc<Totals>) {
        // The first ones stay: there is one server in a process.
        let _ = self.inner.totals.set(totals);
    }

    pub(crate) fn totals(&self) -> Option<&Totals> {
        self.inner.totals.get().map(|totals| &**totals)
    }

    pub(crate) fn ports(&self) -> &Ports {
        &self.inner.settings.operations.evaluator.ports
    }

    pub(crate) fn operations(&self) -> &Operations {
        &self.inner.settings.operations
    }

    pub(crate) fn flows(&self) -> &Flows {
        &self.inner.settings.operations.flows
    }

    pub(crate) fn logs(&self) -> &dyn LogReader {
        &*self.inner.settings.logs
    }

    pub(crate) fn auth(&self) -> &Auth {
        &self.inner.settings.auth
    }

    pub(crate) fn stream_life(&self) -> Duration {
        self.inner.settings.stream_life
    }

    pub(crate) fn console(&self) -> &Console {
        &self.inner.settings.console
    }

    pub(crate) fn prices(&self) -> &Prices {
        &self.inner.settings.prices
    }

    pub(crate) fn plans(&self) -> &Plans {
        &self.inner.plans
    }

    pub(crate) fn audit(&self) -> &Audit {
        &self.inner.audit
    }

    pub(crate) fn webhooks(&self) -> Option<&dyn Webhooks> {
        self.inner.settings.webhooks.as_deref()
    }

    pub(crate) fn triggers(&self) -> Option<&dyn TriggerAdmin> {
        self.inner.settings.triggers.as_deref()
    }

    pub(crate) fn dead_letters(&self) -> Option<&dyn DeadLetters> {
        self.inner.settings.dead_letters.as_deref()
    }
}
