//! The overview: states over time, what runs, what failed, what comes, throughput. Bounded, whatever there is.

use std::collections::BTreeMap;

use axum::Json as Answer;
use axum::extract::State;
use operon_engine::ports::{ExecutionFilter, ExecutionRow};
use operon_engine::rows::OPEN_STATES;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::dto::ExecutionSummary;
use crate::extract::Query;
use crate::hooks::TriggerSummary;
use crate::problem::Problem;
use crate::state::Api;

/// Executions looked at: the newest of the span.
const ROWS_MAX: u32 = 5_000;
/// Bars of the chart.
const BUCKETS: u64 = 48;
/// Hours of the span unless asked otherwise, and at most.
const HOURS_DEFAULT: u64 = 24;
const HOURS_MAX: u64 = 24 * 90;
/// Executions that are not over, counted at most.
const OPEN_MAX: u32 = 1_000;
/// Rows of each list.
const LIST_MAX: u32 = 20;
/// Executions whose metrics are looked at for the throughput.
const MEASURED_MAX: usize = 50;
/// Attempts of each that are looked at.
const ATTEMPTS_MAX: u32 = 200;
const HOUR_MS: u64 = 3_600_000;

/// Which executions.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub(crate) struct OverviewQuery {
    /// Exact.
    namespace: Option<String>,
    /// Exact.
    flow: Option<String>,
    /// How far back; 24 without it, 2160 at most.
    hours: Option<u64>,
    /// The metric whose throughput is shown; every counter whose name has `sequence` in it without one.
    metric: Option<String>,
}

/// How many executions that were created in a span of time are in which state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct StatesAt {
    /// Beginning of the span, milliseconds since the epoch.
    at: u64,
    /// By state.
    counts: BTreeMap<String, u64>,
}

/// How much was counted in a span of time, per minute.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct ValueAt {
    /// Beginning of the span, milliseconds since the epoch.
    at: u64,
    /// Per minute.
    value: f64,
}

/// What is to be seen first.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Overview {
    /// Bars over time, the oldest first.
    states: Vec<StatesAt>,
    /// Executions in the span by state.
    counts: BTreeMap<String, u64>,
    /// Executions that are not over.
    in_progress: u64,
    /// The newest of them.
    running: Vec<ExecutionSummary>,
    /// The newest that failed.
    failures: Vec<ExecutionSummary>,
    /// Schedules that fire next.
    next_schedules: Vec<TriggerSummary>,
    /// Of sequences, or of the metric asked for, over time.
    throughput: Vec<ValueAt>,
    /// There were more executions in the span than are counted here: counts are of the newest, and less than all.
    truncated: bool,
    /// More executions are not over than are counted here.
    in_progress_truncated: bool,
    /// More was executed in the span than the throughput is counted of: it is at least this much.
    throughput_truncated: bool,
}

/// States over time, what runs, what failed, what comes next, throughput.
#[utoipa::path(get, path = "/api/v1/overview", params(OverviewQuery), tag = "overview",
    responses((status = 200, body = Overview), (status = 400, body = Problem)))]
pub(crate) async fn overview(
    State(api): State<Api>,
    Query(query): Query<OverviewQuery>,
) -> Result<Answer<Overview>, Problem> {
    let hours = query.hours.unwrap_or(HOURS_DEFAULT);
    if !(1..=HOURS_MAX).contains(&hours) {
        return Err(Problem::bad_request(format!(
            "`hours` must be from 1 to {HOURS_MAX}"
        )));
    }
    let store = &api.ports().store;
    let now = api.ports().clock.now_ms();
    let width = (hours * HOUR_MS / BUCKETS).max(1);
    let begin = (now / width + 1).saturating_sub(BUCKETS) * width;
    let base = ExecutionFilter {
        namespace: query.namespace.clone().filter(|name| !name.is_empty()),
        flow: query.flow.clone().filter(|name| !name.is_empty()),
        ..ExecutionFilter::default()
    };
    let of = |states: &[&str], limit: u32| ExecutionFilter {
        states: states.iter().map(|state| (*state).to_owned()).collect(),
        limit,
        ..base.clone()
    };
    let span = ExecutionFilter {
        from_ms: Some(begin),
        ..of(&[], ROWS_MAX)
    };
    let rows = store.executions(&span).await?;
    let open = store.executions(&of(&OPEN_STATES, OPEN_MAX)).await?;
    let failures = store.executions(&of(&["FAILED"], LIST_MAX)).await?;
    let next_schedules = match api.triggers() {
        Some(triggers) => triggers.next(query.namespace.as_deref(), LIST_MAX).await?,
        None => Vec::new(),
    };
    let summaries = |rows: &[ExecutionRow]| -> Vec<ExecutionSummary> {
        let first = rows
            .iter()
            .take(usize::try_from(LIST_MAX).unwrap_or(usize::MAX));
        first.map(ExecutionSummary::from).collect()
    };
    let mut states: Vec<StatesAt> = (0..BUCKETS)
        .map(|index| StatesAt {
            at: begin + index * width,
            counts: BTreeMap::new(),
        })
        .collect();
    let mut counts = BTreeMap::new();
    for row in &rows {
        *counts.entry(row.state.clone()).or_insert(0) += 1;
        let index = row.meta.created_ms.saturating_sub(begin) / width;
        let bar = usize::try_from(index)
            .ok()
            .and_then(|index| states.get_mut(index));
        if let Some(bar) = bar {
            *bar.counts.entry(row.state.clone()).or_insert(0) += 1;
        }
    }
    let full = |rows: &[ExecutionRow], most: u32| {
        rows.len() >= usize::try_from(most).unwrap_or(usize::MAX)
    };
    let truncated = full(&rows, ROWS_MAX);
    let (throughput, whole) = throughput(&api, &rows, &query, begin, width).await?;
    Ok(Answer(Overview {
        states,
        counts,
        in_progress: u64::try_from(open.len()).unwrap_or(u64::MAX),
        running: summaries(&open),
        failures: summaries(&failures),
        next_schedules,
        throughput,
        truncated,
        in_progress_truncated: full(&open, OPEN_MAX),
        throughput_truncated: truncated || !whole,
    }))
}

/// What the newest executions counted, per minute; whether that is all there is.
async fn throughput(
    api: &Api,
    rows: &[ExecutionRow],
    query: &OverviewQuery,
    begin: u64,
    width: u64,
) -> Result<(Vec<ValueAt>, bool), Problem> {
    let wanted = |name: &str| match &query.metric {
        Some(metric) => metric == name,
        None => name.contains("sequence"),
    };
    let mut sums = BTreeMap::new();
    let mut whole = rows.len() <= MEASURED_MAX;
    for row in rows.iter().take(MEASURED_MAX) {
        let attempts = api
            .ports()
            .store
            .attempts_page(&row.meta.id, None, ATTEMPTS_MAX)
            .await?;
        whole &= attempts.len() < usize::try_from(ATTEMPTS_MAX).unwrap_or(usize::MAX);
        for attempt in attempts {
            let Some(at) = attempt.ended_ms.filter(|at| *at >= begin) else {
                continue;
            };
            let counted: f64 = attempt
                .metrics
                .iter()
                .filter(|metric| wanted(&metric.name))
                .map(|metric| metric.value)
                .sum();
            if counted > 0.0 {
                *sums.entry((at - begin) / width).or_insert(0.0) += counted;
            }
        }
    }
    // Widths are far below 2^53 ms.
    #[allow(clippy::cast_precision_loss)]
    let minutes = width as f64 / 60_000.0;
    let value = |index: u64| sums.get(&index).copied().unwrap_or_default() / minutes;
    let values = (0..BUCKETS).map(|index| ValueAt {
        at: begin + index * width,
        value: value(index),
    });
    Ok((values.collect(), whole))
}
