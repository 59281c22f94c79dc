//! Loops that are repeated until a condition holds: what is read of them from outside.
//!
//! Their iterations are no values, so nothing is keyed by them: outputs of a task inside are those of the last
//! iteration, as in Kestra, and found from the number of iterations alone, however many there were.

use std::pin::Pin;

use operon_core::exec::{Counts, Event};
use operon_core::lang::model::{LoopValues, Until};
use operon_core::plan::{NodeIndex, NodeKind, Plan, ScopeIndex};
use serde_json::{Map, Value, json};

use crate::evaluate::{Evaluator, Overlay, Site, address};
use crate::planner::Message;
use crate::ports::{AttemptRow, StoreError, TaskRunKey};
use crate::rows;

/// The output that says how often the body ran.
const ITERATIONS: &str = "iterationCount";

/// How a loop is repeated; none for anything else.
#[must_use]
pub fn until(site: Site<'_>) -> Option<&Until> {
    match &site.node()?.2.kind {
        NodeKind::Loop {
            values: LoopValues::Until(until),
            ..
        } => Some(until),
        NodeKind::Loop { .. }
        | NodeKind::Task(_)
        | NodeKind::Group { .. }
        | NodeKind::Choice { .. }
        | NodeKind::Pause { .. }
        | NodeKind::Sleep { .. }
        | NodeKind::Check(_) => None,
    }
}

/// How the iterations of the repeated loop at `site` ended, if the messages say that it is over.
fn ended(site: Site<'_>, messages: &[Message]) -> Option<Counts> {
    until(site)?;
    let mut counts = None;
    for message in messages {
        if let Event::LoopDone {
            slot, counts: own, ..
        } = message.event
            && slot == site.slot
        {
            counts = Some(own);
        }
    }
    counts
}

/// Adds to the row of a repeated loop that ended what its iterations came to.
pub fn complete(row: &mut AttemptRow, site: Site<'_>, messages: &[Message], limit: bool) {
    let Some(counts) = ended(site, messages) else {
        return;
    };
    row.outputs
        .insert(ITERATIONS.to_owned(), json!(counts.total()));
    if limit {
        row.message = Some(format!(
            "the condition did not hold after {} iterations",
            counts.total()
        ));
    }
}

/// Rows of the repeated loops that these messages end, for templates that are evaluated before they are written.
pub fn pending<'a>(site: impl Fn(u16) -> Site<'a>, messages: &[Message]) -> Vec<AttemptRow> {
    let mut found = Vec::new();
    for message in messages {
        if let Event::LoopDone { slot, .. } = message.event {
            let site = site(slot);
            if until(site).is_some()
                && let Some(mut row) = rows::blank(site, 0)
            {
                complete(&mut row, site, messages, false);
                found.push(row);
            }
        }
    }
    found
}

type Located<'f> =
    Pin<Box<dyn Future<Output = Result<Option<TaskRunKey>, StoreError>> + Send + 'f>>;

impl Evaluator {
    /// Address of the instance of a node that the task run at `site` sees: see [`address`], and for what is inside
    /// a repeated loop that does not enclose it, the last iteration.
    pub(crate) fn located<'f>(
        &'f self,
        site: Site<'f>,
        scope: ScopeIndex,
        node: NodeIndex,
        overlay: &'f Overlay,
    ) -> Located<'f> {
        Box::pin(async move {
            if let Some(found) = address(site, scope, node) {
                return Ok(Some(found));
            }
            let plan: &Plan = &site.plan.plan;
            let Some(body) = plan.scopes.get(usize::from(scope)) else {
                return Ok(None);
            };
            let Some((outer, owner)) = body.owner.filter(|_| body.check().is_some()) else {
                return Ok(None);
            };
            let Some(around) = self.located(site, outer, owner, overlay).await? else {
                return Ok(None);
            };
            let Some(last) = self.iterations(site, &around, overlay).await? else {
                return Ok(None);
            };
            let in_chunk = last % body.items_per_shard();
            let slot = usize::try_from(in_chunk)
                .ok()
                .and_then(|item| u16::try_from(item * body.nodes.len()).ok());
            Ok(slot.map(|first| TaskRunKey {
                shard: around
                    .shard
                    .of_loop(around.slot, last / body.items_per_shard()),
                slot: first + node,
            }))
        })
    }

    /// Number of the last iteration of a repeated loop that is over.
    async fn iterations(
        &self,
        site: Site<'_>,
        around: &TaskRunKey,
        overlay: &Overlay,
    ) -> Result<Option<u32>, StoreError> {
        let pending = overlay.rows.get(&(site.meta.id.clone(), around.clone()));
        let outputs: Option<Map<String, Value>> = if let Some(row) = pending {
            Some(row.outputs.clone())
        } else {
            let rows = self.ports.store.attempts(&site.meta.id, around).await?;
            rows.into_iter().next_back().map(|row| row.outputs)
        };
        let count = outputs
            .as_ref()
            .and_then(|outputs| outputs.get(ITERATIONS)?.as_u64());
        Ok(count
            .and_then(|count| u32::try_from(count).ok())
            .and_then(|count| count.checked_sub(1)))
    }
}
