//! Task runs of an execution, with their attempts.

use axum::Json as Answer;
use axum::extract::State;
use operon_core::exec::Shard;
use operon_core::plan::{Layout, NodeKind};
use operon_engine::plans::LoadedPlan;
use operon_engine::ports::{AttemptRow, ExecutionId, TaskRunKey};
use operon_engine::rows::state_name;
use serde::Deserialize;
use utoipa::IntoParams;

use super::executions::{existing, id_of, plan_of};
use crate::cursor;
use crate::dto::{Page, TaskRun};
use crate::extract::{Path, Query};
use crate::problem::Problem;
use crate::state::Api;

/// Rows looked at in one request.
const SCAN_MAX: usize = 10_000;
/// Rows read at once.
const BLOCK: u32 = 1000;

/// Which task runs.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub(crate) struct TaskRunQuery {
    /// States, with commas between them.
    state: Option<String>,
    /// Of the task in the flow.
    task: Option<String>,
    /// Name of the enclosing group, choice or loop.
    parent: Option<String>,
    /// Rows at most, 1 to 1000; 50 without it.
    limit: Option<u32>,
    /// `next` of the page before.
    cursor: Option<String>,
}

impl TaskRunQuery {
    fn states(&self) -> Vec<String> {
        let states = self.state.as_deref().unwrap_or_default().split(',');
        let states = states.map(str::trim).filter(|state| !state.is_empty());
        states.map(str::to_uppercase).collect()
    }

    fn matches(&self, run: &TaskRun, states: &[String]) -> bool {
        (states.is_empty() || states.contains(&run.state))
            && self.task.as_ref().is_none_or(|task| *task == run.task)
            && self
                .parent
                .as_ref()
                .is_none_or(|parent| run.parent.as_ref() == Some(parent))
    }
}

/// What a node is, in a word, and the type of a task.
pub(crate) fn kind_of(kind: &NodeKind) -> (&'static str, Option<String>) {
    match kind {
        NodeKind::Task(task) => {
            let name = task
                .plugin
                .clone()
                .unwrap_or_else(|| task.task_type.clone());
            ("task", Some(name))
        }
        NodeKind::Group { .. } => ("group", None),
        NodeKind::Choice { .. } => ("choice", None),
        NodeKind::Loop { .. } => ("loop", None),
        NodeKind::Pause { .. } => ("pause", None),
        NodeKind::Sleep { .. } => ("sleep", None),
        NodeKind::Check(_) => ("check", None),
    }
}

/// A task run from its rows.
pub(crate) fn task_run(plan: &LoadedPlan, rows: &[AttemptRow]) -> Option<TaskRun> {
    let task = &rows.first()?.task;
    let node = plan
        .find(task)
        .and_then(|(scope, node)| plan.plan.node(scope, node));
    let (kind, task_type) = node.map_or(("task", None), |node| kind_of(&node.kind));
    TaskRun::of(rows, kind, task_type)
}

/// Task runs that have begun or are over, in the order of the flow and of iterations.
#[utoipa::path(get, path = "/api/v1/executions/{id}/task-runs", params(("id" = String, Path), TaskRunQuery),
    tag = "executions",
    responses((status = 200, body = Page<TaskRun>), (status = 404, body = Problem)))]
pub(crate) async fn list(
    State(api): State<Api>,
    Path(id): Path<String>,
    Query(query): Query<TaskRunQuery>,
) -> Result<Answer<Page<TaskRun>>, Problem> {
    let row = existing(&api, &id_of(&id)?).await?;
    let plan = plan_of(&api, &row).await?;
    let limit = cursor::limit(query.limit)?;
    let after: Option<TaskRunKey> = cursor::read(query.cursor.as_deref())?;
    let states = query.states();
    let scan = Scan {
        api: &api,
        id: &row.meta.id,
        plan: &plan,
        query: &query,
        states: &states,
        limit: usize::try_from(limit).unwrap_or(usize::MAX),
    };
    let (items, next) = if states.is_empty() {
        scan.all(after).await?
    } else {
        scan.in_states(after).await?
    };
    Ok(Answer(Page {
        items,
        next: next.and_then(|place| cursor::write(&place)),
    }))
}

struct Scan<'a> {
    api: &'a Api,
    id: &'a ExecutionId,
    plan: &'a LoadedPlan,
    query: &'a TaskRunQuery,
    states: &'a [String],
    limit: usize,
}

type Found = (Vec<TaskRun>, Option<TaskRunKey>);

impl Scan<'_> {
    /// Reads rows in their order.
    async fn all(&self, after: Option<TaskRunKey>) -> Result<Found, Problem> {
        let mut place = after.map(|run| (run, u8::MAX));
        let mut found = Vec::new();
        let mut group: Vec<AttemptRow> = Vec::new();
        let mut scanned = 0;
        let mut last = None;
        loop {
            let store = &self.api.ports().store;
            let page = store.attempts_page(self.id, place.clone(), BLOCK).await?;
            let full = page.len() == usize::try_from(BLOCK).unwrap_or(usize::MAX);
            scanned += page.len();
            for row in page {
                place = Some((row.task_run.clone(), row.attempt));
                let other = group
                    .first()
                    .is_some_and(|first| first.task_run != row.task_run);
                if other {
                    last = group.first().map(|first| first.task_run.clone());
                    self.take(&mut group, &mut found);
                    if found.len() >= self.limit || scanned > SCAN_MAX {
                        return Ok((found, last));
                    }
                }
                group.push(row);
            }
            if !full {
                self.take(&mut group, &mut found);
                return Ok((found, None));
            }
            if scanned > SCAN_MAX {
                return Ok((found, last));
            }
        }
    }

    fn take(&self, group: &mut Vec<AttemptRow>, found: &mut Vec<TaskRun>) {
        let run = task_run(self.plan, group);
        group.clear();
        found.extend(run.filter(|run| self.query.matches(run, self.states)));
    }

    /// Looks for the states in the shards, and reads only the rows of those that have one of them.
    async fn in_states(&self, after: Option<TaskRunKey>) -> Result<Found, Problem> {
        let store = &self.api.ports().store;
        let mut found = Vec::new();
        let mut scanned = 0;
        for (id, stored) in store.shards(self.id).await? {
            if after.as_ref().is_some_and(|after| id < after.shard) {
                continue;
            }
            let shard = Shard::decode(&stored.bytes)
                .map_err(|error| Problem::internal(&error.to_string()))?;
            let Some(layout) = Layout::of(&self.plan.plan, &id) else {
                continue;
            };
            for (slot, state) in (0_u16..).zip(&shard.slots) {
                let run = TaskRunKey {
                    shard: id.clone(),
                    slot,
                };
                let node = layout.node_of(slot);
                let node = node.and_then(|node| layout.nodes.get(usize::from(node)));
                let wanted = node.is_some_and(|node| {
                    !node.hidden && self.query.task.as_ref().is_none_or(|task| *task == node.id)
                }) && self
                    .states
                    .iter()
                    .any(|name| name == state_name(state.state));
                if !wanted || after.as_ref().is_some_and(|after| run <= *after) {
                    continue;
                }
                scanned += 1;
                let rows = store.attempts(self.id, &run).await?;
                if let Some(shown) = task_run(self.plan, &rows)
                    && self.query.matches(&shown, self.states)
                {
                    found.push(shown);
                }
                if found.len() >= self.limit || scanned >= SCAN_MAX {
                    return Ok((found, Some(run)));
                }
            }
        }
        Ok((found, None))
    }
}
