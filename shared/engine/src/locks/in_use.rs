//! Which locks of a flow are in use, when `concurrency.key` gives it several.
//!
//! Nobody keeps a list of keys: it would grow with every key there ever was. Who holds or waits is an execution that is
//! not over, or that ended a quarantine ago, so the names are rendered anew from those.

use operon_core::lang::model::Concurrency;

use crate::evaluate::{EvaluateError, Evaluator};
use crate::plans::Plans;
use crate::ports::{ExecutionFilter, ExecutionRow};
use crate::rows::OPEN_STATES;

/// Executions looked at per flow, and as many again where outcomes can be unknown.
const LOOK: u32 = 500;
/// States in which an execution can end with an unknown outcome.
const UNWELL: [&str; 4] = ["FAILED", "KILLED", "WARNING", "CANCELLED"];

/// A lock that some execution of a flow holds or waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockInUse {
    /// Of the lock.
    pub name: String,
    /// What `concurrency.key` gave; none of a flow with one lock.
    pub key: Option<String>,
}

impl Evaluator {
    /// Locks of the flow that are in use, at most `most`: those of the newest executions first. A flow without a key
    /// has one lock, in use or not.
    pub async fn locks_in_use(
        &self,
        plans: &Plans,
        (namespace, flow): (&str, &str),
        concurrency: &Concurrency,
        quarantine_ms: u64,
        most: usize,
    ) -> Result<Vec<LockInUse>, EvaluateError> {
        if concurrency.key.is_none() {
            return Ok(vec![LockInUse {
                name: format!("{namespace}/{flow}"),
                key: None,
            }]);
        }
        let mut found: Vec<LockInUse> = Vec::new();
        for row in self.who_may_hold(namespace, flow, quarantine_ms).await? {
            if found.len() >= most {
                break;
            }
            let Ok(plan) = plans.get(&*self.ports.store, &row.meta.plan_hash).await else {
                continue;
            };
            // Of its own revision, whose key may be another one. One that cannot be rendered holds nothing.
            let Some(own) = &plan.plan.concurrency else {
                continue;
            };
            let Ok(name) = self.lock_name(&plan, &row.meta, own).await else {
                continue;
            };
            if found.iter().all(|lock| lock.name != name) {
                let rest = name.strip_prefix(namespace);
                let rest = rest.and_then(|rest| rest.strip_prefix('/'));
                let own = rest.and_then(|rest| rest.strip_prefix(flow)?.strip_prefix(':'));
                let key = own.or(rest).map(str::to_owned);
                found.push(LockInUse { name, key });
            }
        }
        Ok(found)
    }

    async fn who_may_hold(
        &self,
        namespace: &str,
        flow: &str,
        quarantine_ms: u64,
    ) -> Result<Vec<ExecutionRow>, EvaluateError> {
        let of = |states: &[&str]| ExecutionFilter {
            namespace: Some(namespace.to_owned()),
            flow: Some(flow.to_owned()),
            states: states.iter().map(|state| (*state).to_owned()).collect(),
            limit: LOOK,
            ..ExecutionFilter::default()
        };
        let mut rows = self.ports.store.executions(&of(&OPEN_STATES)).await?;
        if quarantine_ms > 0 {
            let since = self.ports.clock.now_ms().saturating_sub(quarantine_ms);
            let ended = self.ports.store.executions(&of(&UNWELL)).await?;
            let rests = |row: &ExecutionRow| row.ended_ms.is_some_and(|ended| ended >= since);
            rows.extend(ended.into_iter().filter(rests));
        }
        Ok(rows)
    }
}
