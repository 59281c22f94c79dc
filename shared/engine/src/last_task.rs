//! Where executions of a list have come to: the task that is at work, else the one that failed, else the last that ran.
//!
//! Derived when it is read, from the shards outside loops of a whole page in one batch: an execution's row changes only
//! with its state, and a write of it at each task run would cost more than all lists that are ever looked at.
//!
//! Invariant: a list is shown without it rather than not at all.

use operon_core::exec::{Shard, Slot, State};
use operon_core::plan::{Layout, Node, NodeKind, Plan, ShardId};

use crate::plans::Plans;
use crate::ports::{ExecutionRow, ShardKey, StateStore, StoreError};
use crate::rows::state_name;

/// Shards read for one page at most: of a thousand executions, or of fewer with large flows. Later rows have none.
const SHARDS_MAX: usize = 1_000;

/// Where an execution has come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastTask {
    /// Of the flow; a loop stands for its items.
    pub task: String,
    /// Kestra's name of the task run's state.
    pub state: &'static str,
    /// Its attempts so far; 0 of what has none, such as a loop or a pause.
    pub attempts: u8,
}

/// The last task of each row; none when nothing has begun.
pub async fn last_tasks(
    store: &dyn StateStore,
    plans: &Plans,
    rows: &[ExecutionRow],
) -> Result<Vec<Option<LastTask>>, StoreError> {
    let mut loaded = Vec::with_capacity(rows.len());
    let mut keys = Vec::new();
    for row in rows {
        // A plan that is gone or damaged is told where the execution is shown.
        let plan = plans.get(store, &row.meta.plan_hash).await.ok();
        let parts = plan.as_ref().and_then(|plan| plan.plan.scopes.first());
        let parts = parts.map_or(0, |scope| scope.shards.len());
        if plan.is_none() || keys.len() + parts > SHARDS_MAX {
            loaded.push(None);
            continue;
        }
        let parts = u16::try_from(parts).unwrap_or(u16::MAX);
        keys.extend((0..parts).map(|part| ShardKey {
            execution: row.meta.id.clone(),
            shard: ShardId::of_part(part),
        }));
        loaded.push(plan.map(|plan| (plan, usize::from(parts))));
    }
    let mut stored = keys.iter().zip(store.shards_at(&keys).await?);
    let last = loaded.into_iter().map(|plan| {
        let (plan, parts) = plan?;
        let shards = stored.by_ref().take(parts);
        let shards = shards.filter_map(|(key, stored)| {
            let shard = Shard::decode(&stored?.bytes).ok()?;
            Some((&key.shard, shard))
        });
        last_of(&plan.plan, shards)
    });
    Ok(last.collect())
}

/// The most telling task run of an execution's shards outside loops.
fn last_of<'a>(
    plan: &Plan,
    shards: impl Iterator<Item = (&'a ShardId, Shard)>,
) -> Option<LastTask> {
    let mut best: Option<(Telling, u16, LastTask)> = None;
    for (id, shard) in shards {
        let Some(layout) = Layout::of(plan, id) else {
            continue;
        };
        for (place, slot) in (0_u16..).zip(&shard.slots) {
            let index = layout.node_of(place);
            let node = index.and_then(|index| Some((index, layout.nodes.get(usize::from(index))?)));
            let Some((index, node)) = node else {
                continue;
            };
            let Some(telling) = telling(node, *slot) else {
                continue;
            };
            if best
                .as_ref()
                .is_none_or(|(old, at, _)| (*old, *at) < (telling, index))
            {
                let attempts = match node.kind {
                    NodeKind::Task(_) => slot.attempt,
                    NodeKind::Group { .. }
                    | NodeKind::Choice { .. }
                    | NodeKind::Loop { .. }
                    | NodeKind::Pause { .. }
                    | NodeKind::Sleep { .. }
                    | NodeKind::Check(_) => 0,
                };
                let last = LastTask {
                    task: node.id.clone(),
                    // That an attempt began is told to the shard on AWS only; what was launched is at work.
                    state: state_name(if slot.state == State::Launching {
                        State::Running
                    } else {
                        slot.state
                    }),
                    attempts,
                };
                best = Some((telling, index, last));
            }
        }
    }
    best.map(|(.., last)| last)
}

/// How much a task run says about where its execution is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Telling {
    /// After the end: what tells others about it, mostly.
    After,
    Ended,
    Killed,
    Failed,
    Goes,
}

fn telling(node: &Node, slot: Slot) -> Option<Telling> {
    let shown = !node.hidden
        && match node.kind {
            NodeKind::Task(_)
            | NodeKind::Loop { .. }
            | NodeKind::Pause { .. }
            | NodeKind::Sleep { .. } => true,
            NodeKind::Group { .. } | NodeKind::Choice { .. } | NodeKind::Check(_) => false,
        };
    let telling = match slot.state {
        State::Gate
        | State::Deciding
        | State::Launching
        | State::Running
        | State::RetryWait
        | State::Paused
        | State::Killing
        | State::Body
        | State::Errors
        | State::Finally => Telling::Goes,
        State::Failed => Telling::Failed,
        State::Killed => Telling::Killed,
        State::Success | State::Warning if node.after => Telling::After,
        State::Success | State::Warning => Telling::Ended,
        State::Waiting | State::Skipped | State::Omitted | State::Cancelled => return None,
    };
    shown.then_some(telling)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;
    use operon_core::exec::Time;
    use operon_core::plan::builder::FlowBuilder;
    use operon_core::plan::compile;

    fn last(states: &[(&str, State, u8)]) -> Option<(String, &'static str, u8)> {
        let flow = FlowBuilder::new("genomics", "qc")
            .task("fetch")
            .looped("each", 2, |body| body.task("item"))
            .task("merge")
            .after_execution(|after| after.task("tell"));
        let plan = compile(&flow.build()).unwrap();
        let layout = Layout::of(&plan, &ShardId::ROOT).unwrap();
        let mut shard = Shard::fresh(&layout, Time(0));
        for (task, state, attempt) in states {
            let slot = layout.nodes.iter().position(|node| node.id == *task);
            let slot = &mut shard.slots[slot.unwrap()];
            (slot.state, slot.attempt) = (*state, *attempt);
        }
        let last = last_of(&plan, [(&ShardId::ROOT, shard)].into_iter())?;
        Some((last.task, last.state, last.attempts))
    }

    #[test]
    fn what_is_at_work_says_more_than_what_failed_and_that_more_than_what_ended() {
        use State::{Body, Failed, Running, Success, Waiting};
        let told = |task: &str, state, attempts| Some((task.to_owned(), state, attempts));
        assert_eq!(last(&[("fetch", Waiting, 0)]), None);
        let fetched = ("fetch", Success, 2);
        assert_eq!(last(&[fetched]), told("fetch", "SUCCESS", 2));
        assert_eq!(
            last(&[fetched, ("each", Body, 1)]),
            told("each", "RUNNING", 0)
        );
        assert_eq!(
            last(&[fetched, ("merge", State::Launching, 1)]),
            told("merge", "RUNNING", 1)
        );
        let failed = ("each", Failed, 0);
        let running = ("merge", Running, 3);
        assert_eq!(last(&[fetched, failed]), told("each", "FAILED", 0));
        assert_eq!(last(&[failed, running]), told("merge", "RUNNING", 3));
        let told_others = ("tell", Success, 1);
        assert_eq!(last(&[failed, told_others]), told("each", "FAILED", 0));
        assert_eq!(
            last(&[fetched, ("merge", Success, 1), told_others]),
            told("merge", "SUCCESS", 1)
        );
    }
}
