//! One action on many executions: a preview, and a report of what was done and what was not.

use std::collections::BTreeMap;

use axum::Json as Answer;
use axum::extract::State;
use operon_engine::ids;
use operon_engine::operations::{OperationError, Resume, Snapshot};
use operon_engine::ports::ExecutionRow;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::executions::{ExecutionQuery, existing, find, id_of};
use crate::cursor;
use crate::dto::ExecutionSummary;
use crate::extract::Json;
use crate::mutate::{Change, Who};
use crate::problem::Problem;
use crate::state::Api;

/// Executions in one request at most: each is read and written, and the answer names each that was skipped. Of a
/// query that matches more, `next` of the report goes on with those after them.
pub(crate) const BULK_MAX: usize = 1000;
/// Executions shown in a preview.
const PREVIEW_MAX: usize = 20;

/// What is done to each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum BulkAction {
    /// See the route of one.
    Kill,
    /// See the route of one.
    Restart,
    /// See the route of one.
    RetryFailed,
    /// Every pause goes on without values.
    Resume,
    /// Sets or removes `labels`.
    Labels,
    /// A new execution that begins at the task `from`, on the revision of its own or on `revision`.
    Replay,
}

impl BulkAction {
    const fn name(self) -> &'static str {
        match self {
            Self::Kill => "execution.kill",
            Self::Restart => "execution.restart",
            Self::RetryFailed => "execution.retry-failed",
            Self::Resume => "execution.resume",
            Self::Labels => "execution.labels",
            Self::Replay => "execution.replay",
        }
    }
}

/// An action on many executions.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct BulkRequest {
    /// What is done.
    action: BulkAction,
    /// To these; or
    #[serde(default)]
    ids: Option<Vec<String>>,
    /// to all that match, as in the list; at most 1,000 in one request.
    #[serde(default)]
    query: Option<ExecutionQuery>,
    /// `next` of the report before: goes on with those after it that match.
    #[serde(default)]
    cursor: Option<String>,
    /// Of the query at most so many in this request, 1 to 1,000; 1,000 without it.
    #[serde(default)]
    limit: Option<u32>,
    /// Only say what would be done.
    #[serde(default)]
    dry_run: bool,
    /// For the action `labels`.
    #[serde(default)]
    #[schema(value_type = Object)]
    labels: BTreeMap<String, Option<String>>,
    /// For the action `replay`: the first task that is executed again.
    #[serde(default)]
    from: Option<String>,
    /// For the action `replay`: another revision of the flow.
    #[serde(default)]
    revision: Option<u32>,
}

impl BulkRequest {
    /// What does not fit together is refused before anything is done.
    fn check(&self) -> Result<(), Problem> {
        if self.action == BulkAction::Labels {
            let labels = self.labels.iter();
            super::start::check_labels(labels.map(|(key, value)| (key, value.as_ref())))?;
        }
        if (self.action == BulkAction::Replay) != self.from.is_some() {
            return Err(Problem::bad_request(
                "`from` names the first task of the action `replay`, and of no other",
            ));
        }
        if self.revision.is_some() && self.action != BulkAction::Replay {
            return Err(Problem::bad_request(
                "`revision` is for the action `replay`",
            ));
        }
        if self.cursor.is_some() && self.query.is_none() {
            return Err(Problem::bad_request("`cursor` goes on with a `query`"));
        }
        Ok(())
    }
}

/// What was done.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BulkReport {
    /// Executions that were meant.
    matched: usize,
    /// More match than one request takes: ask again, with `next` as `cursor`.
    more: bool,
    /// Where to go on; null when nothing is left.
    next: Option<String>,
    /// Executions to which it was, or would be, done.
    done: usize,
    /// The others.
    skipped: Vec<Skipped>,
    /// In a preview: the first of them.
    preview: Vec<ExecutionSummary>,
    /// Executions that replays made, in the order of those they replay.
    started: Vec<String>,
}

/// An execution to which nothing was done.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(crate) struct Skipped {
    /// Its id.
    id: String,
    /// Why.
    reason: String,
}

/// Executions that one entry of the trail names.
const IDS_OF_AN_ENTRY: usize = 500;

/// Does one thing to many executions, or says what would be done.
#[utoipa::path(post, path = "/api/v1/executions/bulk", request_body = BulkRequest, tag = "executions",
    responses((status = 200, body = BulkReport), (status = 400, body = Problem), (status = 422, body = Problem)))]
pub(crate) async fn bulk(
    State(api): State<Api>,
    who: Who,
    Json(wish): Json<BulkRequest>,
) -> Result<Answer<BulkReport>, Problem> {
    wish.check()?;
    let mut report = BulkReport::default();
    let rows = meant(&api, &wish, &mut report).await?;
    report.matched = rows.len() + report.skipped.len();
    if wish.dry_run {
        let shown = rows.iter().take(PREVIEW_MAX).map(ExecutionSummary::from);
        report.preview = shown.collect();
    }
    if !wish.dry_run {
        // Before any is changed: all that may be, in pieces that an entry holds.
        for rows in rows.chunks(IDS_OF_AN_ENTRY) {
            let ids: Vec<&str> = rows.iter().map(|row| row.meta.id.as_str()).collect();
            let change = Change::new(wish.action.name(), "bulk").after(json!({"ids": ids}));
            who.asks(&api, change).await?;
        }
    }
    for row in rows {
        let id = row.meta.id.clone();
        let result = if wish.dry_run {
            would(&api, &wish, &row).await.map(|()| None)
        } else {
            apply(&api, &who, &wish, &row).await
        };
        match result {
            Ok(started) => {
                report.done += 1;
                report.started.extend(started);
            }
            Err(problem) => report.skipped.push(Skipped {
                id: id.to_string(),
                reason: problem.detail,
            }),
        }
    }
    if !wish.dry_run {
        let after = json!({"done": report.done, "skipped": report.skipped.len()});
        let change = Change::new(wish.action.name(), "bulk").after(after);
        who.did(&api, change).await?;
    }
    Ok(Answer(report))
}

/// The executions that are meant; those that are not there are skipped at once.
async fn meant(
    api: &Api,
    wish: &BulkRequest,
    report: &mut BulkReport,
) -> Result<Vec<ExecutionRow>, Problem> {
    match (&wish.ids, &wish.query) {
        (Some(ids), None) => {
            if ids.len() > BULK_MAX {
                return Err(Problem::unprocessable(format!(
                    "at most {BULK_MAX} ids are taken at once"
                )));
            }
            let mut rows = Vec::new();
            for text in ids {
                let found = match id_of(text) {
                    Ok(id) => existing(api, &id).await,
                    Err(problem) => Err(problem),
                };
                match found {
                    Ok(row) => rows.push(row),
                    Err(problem) if problem.status == 404 => report.skipped.push(Skipped {
                        id: text.chars().take(64).collect(),
                        reason: problem.detail,
                    }),
                    Err(problem) => return Err(problem),
                }
            }
            Ok(rows)
        }
        (None, Some(query)) => {
            let most = u32::try_from(BULK_MAX).unwrap_or(u32::MAX);
            let limit = wish.limit.unwrap_or(most);
            if !(1..=most).contains(&limit) {
                let text = format!("`limit` must be from 1 to {most}");
                return Err(Problem::bad_request(text));
            }
            let after = cursor::read(wish.cursor.as_deref())?;
            let (rows, next) = find(&*api.ports().store, query, limit, after).await?;
            report.next = next.and_then(|place| cursor::write(&place));
            report.more = report.next.is_some();
            Ok(rows)
        }
        (Some(_), Some(_)) | (None, None) => {
            Err(Problem::bad_request("give either `ids` or `query`"))
        }
    }
}

/// Whether it is possible now.
async fn would(api: &Api, wish: &BulkRequest, row: &ExecutionRow) -> Result<(), Problem> {
    if wish.action == BulkAction::Labels {
        // Always possible: asking for it counts what a query matches.
        return Ok(());
    }
    let snapshot = api.operations().snapshot(&row.meta.id).await?;
    let possible: Result<(), OperationError> = match wish.action {
        BulkAction::Kill => snapshot.kill().map(drop),
        BulkAction::Restart => snapshot.restart().map(drop),
        BulkAction::RetryFailed => snapshot.retry_failed().map(drop),
        BulkAction::Resume => snapshot.pauses(None).map(drop),
        BulkAction::Labels => Ok(()),
        BulkAction::Replay => return replayable(wish, &snapshot),
    };
    Ok(possible?)
}

/// Whether it can begin again at the task: what only the new revision's plan can tell is told when it is done.
fn replayable(wish: &BulkRequest, snapshot: &Snapshot) -> Result<(), Problem> {
    let row = &snapshot.row;
    if row.ended_ms.is_none() {
        return Err(Problem::conflict(format!(
            "execution {} is {}; only what is over can be replayed",
            row.meta.id, row.state
        )));
    }
    let from = wish.from.as_deref().unwrap_or_default();
    let mut nodes = snapshot.plan.scopes.iter().flat_map(|scope| &scope.nodes);
    if wish.revision.is_none() && !nodes.any(|node| !node.hidden && node.id == from) {
        return Err(Problem::unprocessable(format!(
            "execution {} has no task `{from}`",
            row.meta.id
        )));
    }
    Ok(())
}

/// Does it to one; the execution that it made, if it made one.
async fn apply(
    api: &Api,
    who: &Who,
    wish: &BulkRequest,
    row: &ExecutionRow,
) -> Result<Option<String>, Problem> {
    let id = &row.meta.id;
    let operations = api.operations();
    let mut started = None;
    match wish.action {
        BulkAction::Kill => operations.kill(id).await?,
        BulkAction::Restart => operations.restart(id).await?,
        BulkAction::RetryFailed => operations.retry_failed(id).await?,
        BulkAction::Resume => {
            let resume = Resume {
                task_run: None,
                go_on: true,
                inputs: BTreeMap::new(),
                by: who.0.subject.clone(),
            };
            operations.resume(id, resume).await.map(drop)?;
        }
        BulkAction::Labels => {
            api.ports().store.set_labels(id, &wish.labels).await?;
        }
        BulkAction::Replay => {
            let new = ids::new_execution(api.ports().clock.now_ms());
            let from = wish.from.clone().unwrap_or_default();
            operations
                .replay(new.clone(), id.clone(), from, wish.revision, None)
                .await?;
            started = Some(new.to_string());
        }
    }
    let before = json!({"state": row.state});
    let after = started
        .as_ref()
        .map_or(Value::Null, |id| json!({"id": id, "from": wish.from}));
    let change = Change::new(wish.action.name(), id.as_str());
    who.did(api, change.before(before).after(after)).await?;
    Ok(started)
}
