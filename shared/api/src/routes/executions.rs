//! Executions: lists, one with everything about it, its events, metrics, and expressions against it.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use futures_util::Stream;
use operon_core::plan::{Layout, NodeKind, ShardId};
use operon_engine::evaluate::{Overlay, Site};
use operon_engine::last_task::last_tasks;
use operon_engine::metrics::{self, Reservations};
use operon_engine::operations::Snapshot;
use operon_engine::plans::LoadedPlan;
use operon_engine::ports::{
    ExecutionFilter, ExecutionId, ExecutionRow, MetricKind, StateStore, TaskRunKey,
};
use operon_engine::rows::state_name;
use operon_engine::templates::Tree;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::{IntoParams, ToSchema};

use crate::cursor;
use crate::dto::{Cost, ExecutionDetail, ExecutionSummary, Page, PauseSummary};
use crate::extract::{Headers, Json, Path, Query, text};
use crate::history::Spans;
use crate::problem::Problem;
use crate::state::Api;
use crate::stream;

/// Rows looked at in one request that filters by text.
const SCAN_MAX: u32 = 5_000;
/// Attempts looked at for the cost and the metrics of one execution.
const ATTEMPTS_MAX: u32 = 5_000;
/// Subflows shown with an execution.
const CHILDREN_MAX: u32 = 100;
/// States in a filter at most, and labels.
const FILTERS_MAX: usize = 32;
/// Executions that started each other, looked at on the way up.
const ANCESTORS_MAX: usize = 32;
/// Bytes of an expression at most.
const EXPRESSION_MAX: usize = 64 * 1024;

/// Which executions.
#[derive(Debug, Clone, Default, Deserialize, Serialize, IntoParams, ToSchema)]
#[serde(default, rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub(crate) struct ExecutionQuery {
    /// Exact.
    pub(crate) namespace: Option<String>,
    /// Exact.
    pub(crate) flow: Option<String>,
    /// States, with commas between them.
    pub(crate) state: Option<String>,
    /// `key:value`, with commas between several; all must match.
    pub(crate) label: Option<String>,
    /// Created at or after, milliseconds since the epoch.
    pub(crate) from: Option<u64>,
    /// Created before, milliseconds since the epoch.
    pub(crate) to: Option<u64>,
    /// Text in the id, the flow, the namespace, the reason or a label.
    pub(crate) q: Option<String>,
    /// Only subflows of this execution.
    pub(crate) parent: Option<String>,
}

/// A page.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub(crate) struct Paging {
    /// Rows at most, 1 to 1000; 50 without it.
    pub(crate) limit: Option<u32>,
    /// `next` of the page before.
    pub(crate) cursor: Option<String>,
}

/// A filter and a page of what it matches: serde's `flatten` does not read numbers from a query string.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ListQuery {
    namespace: Option<String>,
    flow: Option<String>,
    state: Option<String>,
    label: Option<String>,
    from: Option<u64>,
    to: Option<u64>,
    q: Option<String>,
    parent: Option<String>,
    limit: Option<u32>,
    cursor: Option<String>,
}

impl ExecutionQuery {
    /// As the store takes it.
    pub(crate) fn filter(&self) -> Result<ExecutionFilter, Problem> {
        let parts = |value: &Option<String>| -> Vec<String> {
            let parts = value.as_deref().unwrap_or_default().split(',');
            let parts = parts.map(str::trim).filter(|part| !part.is_empty());
            parts.map(str::to_owned).collect()
        };
        let states = parts(&self.state)
            .iter()
            .map(|s| s.to_uppercase())
            .collect::<Vec<_>>();
        let mut labels = Vec::new();
        for part in parts(&self.label) {
            let (key, value) = part.split_once(':').ok_or_else(|| {
                Problem::bad_request(format!("the label `{part}` must be `key:value`"))
            })?;
            labels.push((key.to_owned(), value.to_owned()));
        }
        if states.len() > FILTERS_MAX || labels.len() > FILTERS_MAX {
            return Err(Problem::bad_request(format!(
                "at most {FILTERS_MAX} states and as many labels are possible"
            )));
        }
        // A filter that cannot be one is a mistake in the request, not a thing that is missing.
        let parent = self.parent.as_deref().map(str::parse).transpose();
        let parent = parent.map_err(Problem::bad_request)?;
        Ok(ExecutionFilter {
            namespace: self.namespace.clone().filter(|name| !name.is_empty()),
            flow: self.flow.clone().filter(|name| !name.is_empty()),
            states,
            labels,
            from_ms: self.from,
            to_ms: self.to,
            parent,
            ..ExecutionFilter::default()
        })
    }

    fn matches(&self, row: &ExecutionRow) -> bool {
        let Some(q) = self.q.as_deref().filter(|q| !q.is_empty()) else {
            return true;
        };
        let q = q.to_lowercase();
        let has = |text: &str| text.to_lowercase().contains(&q);
        has(row.meta.id.as_str())
            || has(&row.meta.flow)
            || has(&row.meta.namespace)
            || row.reason.as_deref().is_some_and(has)
            || row
                .meta
                .labels
                .values()
                .chain(row.labels.values())
                .any(|value| has(value))
    }
}

/// An id from a path or body.
pub(crate) fn id_of(text: &str) -> Result<ExecutionId, Problem> {
    text.parse().map_err(Problem::not_found)
}

/// An execution that must be there.
pub(crate) async fn existing(api: &Api, id: &ExecutionId) -> Result<ExecutionRow, Problem> {
    let row = api.ports().store.execution(id).await?;
    row.ok_or_else(|| Problem::not_found(format!("there is no execution `{id}`")))
}

/// The plan of an execution.
pub(crate) async fn plan_of(api: &Api, row: &ExecutionRow) -> Result<Arc<LoadedPlan>, Problem> {
    let store = &*api.ports().store;
    let plan = api.plans().get(store, &row.meta.plan_hash).await;
    plan.map_err(|error| Problem::internal(&error.to_string()))
}

/// Executions that match, with where to go on.
pub(crate) async fn find(
    store: &dyn StateStore,
    query: &ExecutionQuery,
    limit: u32,
    after: Option<(u64, ExecutionId)>,
) -> Result<(Vec<ExecutionRow>, Option<(u64, ExecutionId)>), Problem> {
    let mut filter = query.filter()?;
    filter.before = after;
    let searching = query.q.as_deref().is_some_and(|q| !q.is_empty());
    let wanted = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut found = Vec::new();
    let mut scanned = 0;
    loop {
        filter.limit = if searching { 500 } else { limit };
        let page = store.executions(&filter).await?;
        let full = page.len() >= usize::try_from(filter.limit).unwrap_or(usize::MAX);
        for row in page {
            scanned += 1;
            filter.before = Some((row.meta.created_ms, row.meta.id.clone()));
            if query.matches(&row) {
                found.push(row);
                if found.len() >= wanted {
                    return Ok((found, filter.before));
                }
            }
        }
        if !full {
            return Ok((found, None));
        }
        if scanned >= SCAN_MAX {
            return Ok((found, filter.before));
        }
    }
}

/// Executions, the newest first.
#[utoipa::path(get, path = "/api/v1/executions", params(ExecutionQuery, Paging), tag = "executions",
    responses((status = 200, body = Page<ExecutionSummary>), (status = 400, body = Problem)))]
pub(crate) async fn list(
    State(api): State<Api>,
    Query(query): Query<ListQuery>,
) -> Result<Answer<Page<ExecutionSummary>>, Problem> {
    let limit = cursor::limit(query.limit)?;
    let after = cursor::read(query.cursor.as_deref())?;
    let query = ExecutionQuery {
        namespace: query.namespace,
        flow: query.flow,
        state: query.state,
        label: query.label,
        from: query.from,
        to: query.to,
        q: query.q.map(|q| text("q", q)).transpose()?,
        parent: query.parent,
    };
    let store = &*api.ports().store;
    let (rows, next) = find(store, &query, limit, after).await?;
    let last = last_tasks(store, api.plans(), &rows).await?;
    let items = rows.iter().zip(last).map(|(row, last)| ExecutionSummary {
        last_task: last.map(Into::into),
        ..ExecutionSummary::from(row)
    });
    Ok(Answer(Page {
        items: items.collect(),
        next: next.and_then(|place| cursor::write(&place)),
    }))
}

/// One execution.
#[utoipa::path(get, path = "/api/v1/executions/{id}", params(("id" = String, Path)), tag = "executions",
    responses((status = 200, body = ExecutionDetail), (status = 404, body = Problem)))]
pub(crate) async fn show(
    State(api): State<Api>,
    Path(id): Path<String>,
) -> Result<Answer<ExecutionDetail>, Problem> {
    let row = existing(&api, &id_of(&id)?).await?;
    detail(&api, row).await.map(Answer)
}

/// Everything about an execution.
pub(crate) async fn detail(api: &Api, row: ExecutionRow) -> Result<ExecutionDetail, Problem> {
    let store = &*api.ports().store;
    let snapshot = Snapshot::read(store, row).await?;
    let row = &snapshot.row;
    let place = Some((row.meta.created_ms, row.meta.id.clone()));
    let same = ExecutionFilter {
        namespace: Some(row.meta.namespace.clone()),
        flow: Some(row.meta.flow.clone()),
        limit: 1,
        ..ExecutionFilter::default()
    };
    let before = ExecutionFilter {
        before: place.clone(),
        ..same.clone()
    };
    let after = ExecutionFilter {
        after: place,
        ..same
    };
    let children = ExecutionFilter {
        parent: Some(row.meta.id.clone()),
        limit: CHILDREN_MAX,
        ..ExecutionFilter::default()
    };
    let first = |rows: Vec<ExecutionRow>| rows.first().map(|row| row.meta.id.to_string());
    let pauses = snapshot.pauses(None).unwrap_or_default();
    let pause = |pause: operon_engine::operations::PausedTask| PauseSummary {
        task_run: run_text(&pause.task_run),
        task: pause.task,
        name: pause.name,
        inputs: pause.inputs.iter().map(|input| json!(input)).collect(),
    };
    let children = store.executions(&children).await?;
    let (cost, spans) = measured(api, &snapshot).await?;
    Ok(ExecutionDetail {
        summary: ExecutionSummary::from(row),
        inputs: row.meta.inputs.clone(),
        outputs: row.outputs.clone(),
        history: spans.history(row),
        counts: counts(&snapshot),
        cost,
        replay_from: row.meta.replay_of.as_ref().map(|(_, task)| task.clone()),
        correlation_id: first_of(store, row).await?.to_string(),
        previous: first(store.executions(&before).await?),
        next: first(store.executions(&after).await?),
        children: children.iter().map(ExecutionSummary::from).collect(),
        pauses: pauses.into_iter().map(pause).collect(),
        failed_items: u64::try_from(snapshot.failed_items()).unwrap_or(u64::MAX),
        priority: row.meta.priority,
    })
}

/// The first of the executions that started each other as subflows, as far as they are still there.
async fn first_of(store: &dyn StateStore, row: &ExecutionRow) -> Result<ExecutionId, Problem> {
    let mut first = row.meta.id.clone();
    let mut parent = row.meta.parent.as_ref().map(|(id, ..)| id.clone());
    for _ in 0..ANCESTORS_MAX {
        let Some(id) = parent else { break };
        parent = match store.execution(&id).await? {
            Some(row) => row.meta.parent.map(|(id, ..)| id),
            None => None,
        };
        first = id;
    }
    Ok(first)
}

/// `shard:slot`.
pub(crate) fn run_text(run: &TaskRunKey) -> String {
    format!("{}:{}", run.shard, run.slot)
}

/// Reads `shard:slot`.
pub(crate) fn run_of(text: &str) -> Result<TaskRunKey, Problem> {
    let wrong = || {
        Problem::bad_request(format!(
            "`{text}` is no task run; expected `shard:slot`, such as `0:3`"
        ))
    };
    let (shard, slot) = text.rsplit_once(':').ok_or_else(wrong)?;
    let shard: ShardId = shard.parse().map_err(|_| wrong())?;
    let slot = slot.parse().map_err(|_| wrong())?;
    Ok(TaskRunKey { shard, slot })
}

fn counts(snapshot: &Snapshot) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for (id, shard) in snapshot.shards() {
        let Some(layout) = Layout::of(&snapshot.plan, id) else {
            continue;
        };
        for (slot, state) in (0_u16..).zip(&shard.slots) {
            let node = layout.node_of(slot);
            let node = node.and_then(|node| layout.nodes.get(usize::from(node)));
            if node.is_some_and(|node| !node.hidden) {
                *counts
                    .entry(state_name(state.state).to_owned())
                    .or_insert(0) += 1;
            }
        }
    }
    counts
}

/// What its attempts cost, and when it did what, as far as they are looked at.
async fn measured(api: &Api, snapshot: &Snapshot) -> Result<(Cost, Spans), Problem> {
    let now = api.ports().clock.now_ms();
    let reservations = Reservations::of(&snapshot.plan, *api.prices());
    let mut cost = metrics::Cost::default();
    let nodes = snapshot.plan.scopes.iter().flat_map(|scope| &scope.nodes);
    let pauses: BTreeSet<&str> = nodes
        .filter(|node| matches!(node.kind, NodeKind::Pause { .. }))
        .map(|node| node.id.as_str())
        .collect();
    let mut spans = Spans::default();
    let mut after = None;
    let mut seen = 0;
    loop {
        let store = &api.ports().store;
        let page = store
            .attempts_page(&snapshot.row.meta.id, after, 1000)
            .await?;
        let Some(last) = page.last() else {
            return Ok((Cost::of(cost, true), spans));
        };
        after = Some((last.task_run.clone(), last.attempt));
        for row in page {
            seen += 1;
            spans.take(&row, pauses.contains(row.task.as_str()));
            cost += reservations.cost(&row, now);
        }
        if seen >= ATTEMPTS_MAX {
            return Ok((Cost::of(cost, false), spans));
        }
    }
}

/// What changes in an execution, as it changes: events `execution`, `task-run`, `refresh` (too much to tell: read
/// the lists again) and `end`. `Last-Event-ID` goes on without a gap.
#[utoipa::path(get, path = "/api/v1/executions/{id}/events", params(("id" = String, Path)), tag = "executions",
    responses((status = 200, content_type = "text/event-stream", body = String), (status = 404, body = Problem)))]
pub(crate) async fn events(
    State(api): State<Api>,
    Path(id): Path<String>,
    headers: Headers,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let row = existing(&api, &id_of(&id)?).await?;
    let last = headers.get("last-event-id").map(str::to_owned);
    let plan = plan_of(&api, &row).await?;
    let changes = stream::execution(api, row.meta.id, plan, last.as_deref());
    Ok(Sse::new(changes).keep_alive(KeepAlive::default()))
}

/// What task runs counted and timed, summed up by name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct MetricTotal {
    /// Of the task in the flow.
    task: String,
    /// Of the metric.
    name: String,
    /// `counter`, `timer` or `gauge`.
    #[serde(rename = "type")]
    kind: String,
    /// Values that were added up.
    count: u64,
    /// Sum of a counter and a timer, last value of a gauge.
    value: f64,
}

/// Metrics of an execution by task and name; of its first 5,000 attempts.
#[utoipa::path(get, path = "/api/v1/executions/{id}/metrics", params(("id" = String, Path)), tag = "executions",
    responses((status = 200, body = Page<MetricTotal>), (status = 404, body = Problem)))]
pub(crate) async fn metrics(
    State(api): State<Api>,
    Path(id): Path<String>,
) -> Result<Answer<Page<MetricTotal>>, Problem> {
    let row = existing(&api, &id_of(&id)?).await?;
    let mut totals: BTreeMap<(String, String), MetricTotal> = BTreeMap::new();
    let mut after = None;
    let mut seen = 0;
    while seen < ATTEMPTS_MAX {
        let page = api
            .ports()
            .store
            .attempts_page(&row.meta.id, after, 1000)
            .await?;
        let Some(last) = page.last() else {
            break;
        };
        after = Some((last.task_run.clone(), last.attempt));
        for row in page {
            seen += 1;
            for metric in row.metrics {
                let key = (row.task.clone(), metric.name.clone());
                let total = totals.entry(key).or_insert_with(|| MetricTotal {
                    task: row.task.clone(),
                    name: metric.name.clone(),
                    kind: kind_name(metric.kind).to_owned(),
                    count: 0,
                    value: 0.0,
                });
                total.count += 1;
                match metric.kind {
                    MetricKind::Counter | MetricKind::Timer => total.value += metric.value,
                    MetricKind::Gauge => total.value = metric.value,
                }
            }
        }
    }
    Ok(Answer(Page {
        items: totals.into_values().collect(),
        next: None,
    }))
}

const fn kind_name(kind: MetricKind) -> &'static str {
    match kind {
        MetricKind::Counter => "counter",
        MetricKind::Timer => "timer",
        MetricKind::Gauge => "gauge",
    }
}

/// An expression to be evaluated.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Evaluate {
    /// Such as `{{ outputs.align.uri }}`.
    expression: String,
}

/// What an expression gives.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(crate) struct Evaluated {
    /// The value; secrets in it are masked.
    result: Value,
}

/// Evaluates an expression against an execution, as its tasks would.
#[utoipa::path(post, path = "/api/v1/executions/{id}/evaluate", params(("id" = String, Path)), tag = "executions",
    request_body = Evaluate,
    responses((status = 200, body = Evaluated), (status = 404, body = Problem), (status = 422, body = Problem)))]
pub(crate) async fn evaluate(
    State(api): State<Api>,
    Path(id): Path<String>,
    Json(wish): Json<Evaluate>,
) -> Result<Answer<Evaluated>, Problem> {
    if wish.expression.len() > EXPRESSION_MAX {
        return Err(Problem::too_large(format!(
            "an expression has at most {EXPRESSION_MAX} bytes"
        )));
    }
    let row = existing(&api, &id_of(&id)?).await?;
    let plan = plan_of(&api, &row).await?;
    let tree = Tree::parse(&Value::String(wish.expression));
    let tree = tree.map_err(|error| Problem::unprocessable(error.to_string()))?;
    let mut secret = false;
    tree.templates(&mut |template| {
        secret |= template.calls().iter().any(|call| call.name == "secret");
    });
    if secret {
        return Err(uses_secret());
    }
    let site = Site::flow(&plan, &row.meta);
    // Not the planner's memory of shards: another process may have written since.
    let evaluator = operon_engine::evaluate::Evaluator {
        ports: api.ports().clone(),
        shards: Arc::default(),
        items: Arc::default(),
    };
    let rendered = evaluator
        .render(site, &tree, &Map::new(), &Overlay::default())
        .await?;
    if !rendered.secrets.is_empty() {
        return Err(uses_secret());
    }
    Ok(Answer(Evaluated {
        result: rendered.value,
    }))
}

/// Also a mere comparison with a secret would tell about it.
fn uses_secret() -> Problem {
    Problem::forbidden("the expression uses a secret, and nothing that depends on one is shown")
}
