//! Flows: lists, sources, revisions, differences, validation, deployment.

use axum::Json as Answer;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use operon_core::lang::diagnostic::Diagnostic;
use operon_core::lang::model::Span;
use operon_core::lang::rules::Rule;
use operon_core::lang::yaml::DOCUMENT_BYTES_MAX;
use operon_core::plan::content_hash;
use operon_engine::files::{self, Beside};
use operon_engine::flows::{Deploy, Expected, FlowError, FlowHead, Revision, check};
use operon_engine::ports::ExecutionFilter;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use similar::TextDiff;
use utoipa::{IntoParams, ToSchema};

use super::graph;
use super::server::locks_of;
use crate::cursor;
use crate::dto::{Finding, FlowSummary, Graph, LockView, Page, RevisionSummary};
use crate::extract::{Headers, Json, Path, Query, Raw};
use crate::mutate::{Change, Who};
use crate::problem::Problem;
use crate::state::Api;

/// Executions shown with a flow.
const LATEST: u32 = 10;
/// Bytes of a message about a revision at most.
const MESSAGE_MAX: usize = 1000;
/// Lines of a difference at most.
const DIFF_LINES_MAX: usize = 20_000;

/// Which flows.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub(crate) struct FlowQuery {
    /// Exact.
    namespace: Option<String>,
    /// Text in the id, the namespace or the description; of those in this page.
    q: Option<String>,
    /// Rows at most, 1 to 1000; 50 without it.
    limit: Option<u32>,
    /// `next` of the page before.
    cursor: Option<String>,
}

async fn summary(api: &Api, head: &FlowHead) -> Result<FlowSummary, Problem> {
    let filter = ExecutionFilter {
        namespace: Some(head.namespace.clone()),
        flow: Some(head.id.clone()),
        limit: LATEST,
        ..ExecutionFilter::default()
    };
    let latest = api.ports().store.executions(&filter).await?;
    Ok(FlowSummary::of(head, &latest))
}

/// Flows in the order of namespace and id.
#[utoipa::path(get, path = "/api/v1/flows", params(FlowQuery), tag = "flows",
    responses((status = 200, body = Page<FlowSummary>), (status = 400, body = Problem)))]
pub(crate) async fn list(
    State(api): State<Api>,
    Query(query): Query<FlowQuery>,
) -> Result<Answer<Page<FlowSummary>>, Problem> {
    let limit = cursor::limit(query.limit)?;
    let after: Option<(String, String)> = cursor::read(query.cursor.as_deref())?;
    let place = after
        .as_ref()
        .map(|(namespace, id)| (namespace.as_str(), id.as_str()));
    let namespace = query.namespace.as_deref().filter(|name| !name.is_empty());
    let heads = api.flows().flows(namespace, place, limit).await?;
    let full = heads.len() == usize::try_from(limit).unwrap_or(usize::MAX);
    let next = heads.last().filter(|_| full);
    let next = next.and_then(|head| cursor::write(&(&head.namespace, &head.id)));
    let q = query.q.unwrap_or_default().to_lowercase();
    let mut items = Vec::new();
    for head in &heads {
        let has = |text: &str| text.to_lowercase().contains(&q);
        if has(&head.id) || has(&head.namespace) || head.description.as_deref().is_some_and(has) {
            items.push(summary(&api, head).await?);
        }
    }
    Ok(Answer(Page { items, next }))
}

/// One flow.
#[utoipa::path(get, path = "/api/v1/flows/{namespace}/{id}", tag = "flows",
    params(("namespace" = String, Path), ("id" = String, Path)),
    responses((status = 200, body = FlowSummary), (status = 404, body = Problem)))]
pub(crate) async fn show(
    State(api): State<Api>,
    Path((namespace, id)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let head = api.flows().existing(&namespace, &id).await?;
    let mut response = Answer(summary(&api, &head).await?).into_response();
    tag(response.headers_mut(), head.revision);
    Ok(response)
}

fn tag(headers: &mut HeaderMap, revision: u32) {
    if let Ok(value) = HeaderValue::from_str(&format!("\"{revision}\"")) {
        headers.insert(header::ETAG, value);
    }
}

/// The source of the revision that counts, as it was written.
#[utoipa::path(get, path = "/api/v1/flows/{namespace}/{id}/source", tag = "flows",
    params(("namespace" = String, Path), ("id" = String, Path)),
    responses((status = 200, content_type = "application/yaml", body = Object), (status = 404, body = Problem)))]
pub(crate) async fn source(
    State(api): State<Api>,
    Path((namespace, id)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let (head, revision) = api.flows().current(&namespace, &id).await?;
    let mut response = revision.source.clone().into_response();
    let kind = HeaderValue::from_static("application/yaml; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    tag(response.headers_mut(), head.revision);
    Ok(response)
}

/// Which revisions.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub(crate) struct RevisionQuery {
    /// Rows at most, 1 to 1000; 50 without it.
    limit: Option<u32>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// Revisions of a flow, the newest first.
#[utoipa::path(get, path = "/api/v1/flows/{namespace}/{id}/revisions", tag = "flows",
    params(("namespace" = String, Path), ("id" = String, Path), RevisionQuery),
    responses((status = 200, body = Page<RevisionSummary>), (status = 404, body = Problem)))]
pub(crate) async fn revisions(
    State(api): State<Api>,
    Path((namespace, id)): Path<(String, String)>,
    Query(query): Query<RevisionQuery>,
) -> Result<Answer<Page<RevisionSummary>>, Problem> {
    let limit = cursor::limit(query.limit)?;
    let before: Option<u32> = cursor::read(query.cursor.as_deref())?;
    let head = api.flows().existing(&namespace, &id).await?;
    let found = api
        .flows()
        .revisions(&namespace, &id, before, limit)
        .await?;
    let full = found.len() == usize::try_from(limit).unwrap_or(usize::MAX);
    let next = found.last().filter(|_| full);
    let next = next.and_then(|last| cursor::write(&last.revision));
    let items = found
        .iter()
        .map(|one| RevisionSummary::of(one, head.revision));
    Ok(Answer(Page {
        items: items.collect(),
        next,
    }))
}

/// A revision with its source.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RevisionDetail {
    /// As in lists.
    #[serde(flatten)]
    summary: RevisionSummary,
    /// As it was written.
    source: String,
}

/// One revision.
#[utoipa::path(get, path = "/api/v1/flows/{namespace}/{id}/revisions/{revision}", tag = "flows",
    params(("namespace" = String, Path), ("id" = String, Path), ("revision" = u32, Path)),
    responses((status = 200, body = RevisionDetail), (status = 404, body = Problem)))]
pub(crate) async fn revision(
    State(api): State<Api>,
    Path((namespace, id, number)): Path<(String, String, u32)>,
) -> Result<Answer<RevisionDetail>, Problem> {
    let head = api.flows().existing(&namespace, &id).await?;
    let revision = api.flows().revision(&namespace, &id, number).await?;
    Ok(Answer(RevisionDetail {
        summary: RevisionSummary::of(&revision.head, head.revision),
        source: revision.source.clone(),
    }))
}

/// Which revisions are compared.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub(crate) struct DiffQuery {
    /// The older one; the one before the one that counts without it.
    from: Option<u32>,
    /// The newer one; the one that counts without it.
    to: Option<u32>,
}

/// How two revisions differ.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(crate) struct Difference {
    /// The older one.
    from: u32,
    /// The newer one.
    to: u32,
    /// Of the sources, as a unified difference.
    source: String,
    /// Of the plans, as a unified difference of their explanation: what changes for the engine.
    plan: String,
    /// The plans are the same.
    #[serde(rename = "samePlan")]
    same_plan: bool,
}

fn unified(from: &str, to: &str, names: (&str, &str)) -> Result<String, Problem> {
    if from.lines().count() + to.lines().count() > DIFF_LINES_MAX {
        return Err(Problem::unprocessable(format!(
            "the revisions have more than {DIFF_LINES_MAX} lines; compare them with another program"
        )));
    }
    let diff = TextDiff::configure()
        .timeout(std::time::Duration::from_secs(2))
        .diff_lines(from, to);
    Ok(diff
        .unified_diff()
        .context_radius(3)
        .header(names.0, names.1)
        .to_string())
}

/// How two revisions of a flow differ.
#[utoipa::path(get, path = "/api/v1/flows/{namespace}/{id}/diff", tag = "flows",
    params(("namespace" = String, Path), ("id" = String, Path), DiffQuery),
    responses((status = 200, body = Difference), (status = 404, body = Problem), (status = 422, body = Problem)))]
pub(crate) async fn diff(
    State(api): State<Api>,
    Path((namespace, id)): Path<(String, String)>,
    Query(query): Query<DiffQuery>,
) -> Result<Answer<Difference>, Problem> {
    let flows = api.flows();
    let head = flows.existing(&namespace, &id).await?;
    let to = query.to.unwrap_or(head.revision);
    let from = if let Some(from) = query.from {
        from
    } else {
        let before = flows.revisions(&namespace, &id, Some(to), 1).await?;
        before.first().map_or(to, |one| one.revision)
    };
    let old = flows.revision(&namespace, &id, from).await?;
    let new = flows.revision(&namespace, &id, to).await?;
    let names = (format!("revision {from}"), format!("revision {to}"));
    let names = (names.0.as_str(), names.1.as_str());
    let explain = |revision: &Revision| operon_core::plan::explain(&revision.plan);
    Ok(Answer(Difference {
        from,
        to,
        source: unified(&old.source, &new.source, names)?,
        plan: unified(&explain(&old), &explain(&new), names)?,
        same_plan: old.head.plan_hash == new.head.plan_hash,
    }))
}

/// Inputs of the revision that counts.
#[utoipa::path(get, path = "/api/v1/flows/{namespace}/{id}/inputs", tag = "flows",
    params(("namespace" = String, Path), ("id" = String, Path)),
    responses((status = 200, body = Object), (status = 404, body = Problem)))]
pub(crate) async fn inputs(
    State(api): State<Api>,
    Path((namespace, id)): Path<(String, String)>,
) -> Result<Answer<Value>, Problem> {
    let (head, revision) = api.flows().current(&namespace, &id).await?;
    Ok(Answer(json!({
        "revision": head.revision,
        "items": revision.plan.inputs,
    })))
}

/// Locks of a flow with a key that are shown at once.
const KEYS_MAX: usize = 100;

/// Slots of a flow's lock.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ConcurrencyView {
    /// Executions at once; null without a limit.
    limit: Option<u32>,
    /// What happens to one too many: `QUEUE`, `CANCEL` or `FAIL`.
    behavior: Option<String>,
    /// The template that names the lock, when there are several.
    key: Option<String>,
    /// The lock itself; null when its name depends on the execution.
    lock: Option<LockView>,
    /// With a key: the locks that are in use, at most 100, those of the newest executions first.
    locks: Vec<LockView>,
}

/// Concurrency of a flow: slots, who holds them, who waits.
#[utoipa::path(get, path = "/api/v1/flows/{namespace}/{id}/concurrency", tag = "flows",
    params(("namespace" = String, Path), ("id" = String, Path)),
    responses((status = 200, body = ConcurrencyView), (status = 404, body = Problem)))]
pub(crate) async fn concurrency(
    State(api): State<Api>,
    Path((namespace, id)): Path<(String, String)>,
) -> Result<Answer<ConcurrencyView>, Problem> {
    let (_, revision) = api.flows().current(&namespace, &id).await?;
    let Some(concurrency) = &revision.plan.concurrency else {
        return Ok(Answer(ConcurrencyView {
            limit: None,
            behavior: None,
            key: None,
            lock: None,
            locks: Vec::new(),
        }));
    };
    let mut locks = locks_of(&api, (&namespace, &id), &revision.plan, KEYS_MAX).await?;
    let lock = match concurrency.key {
        None => locks.pop(),
        Some(_) => None,
    };
    let behavior = json!(concurrency.behavior);
    Ok(Answer(ConcurrencyView {
        limit: Some(concurrency.limit),
        behavior: behavior.as_str().map(str::to_owned),
        key: concurrency.key.clone(),
        lock,
        locks,
    }))
}

/// A source to be checked.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Validate {
    /// The YAML document.
    source: String,
}

/// What was found.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(crate) struct Validated {
    /// By position.
    diagnostics: Vec<Finding>,
    /// Findings that were left out because there are too many.
    omitted: usize,
    /// The flow as a graph, if nothing is wrong with it.
    graph: Option<Graph>,
}

fn check_size(source: &str) -> Result<(), Problem> {
    if source.len() > DOCUMENT_BYTES_MAX {
        return Err(Problem::too_large(format!(
            "a flow has at most {DOCUMENT_BYTES_MAX} bytes; this has {}",
            source.len()
        )));
    }
    Ok(())
}

/// Checks a source as deployment would, and changes nothing.
#[utoipa::path(post, path = "/api/v1/flows/validate", request_body = Validate, tag = "flows",
    responses((status = 200, body = Validated), (status = 413, body = Problem)))]
pub(crate) async fn validate(
    State(api): State<Api>,
    Json(wish): Json<Validate>,
) -> Result<Answer<Validated>, Problem> {
    check_size(&wish.source)?;
    let checked = check(&wish.source, api.flows().plugins());
    Ok(Answer(Validated {
        diagnostics: Finding::all(&wish.source, &checked.findings),
        omitted: checked.omitted,
        graph: checked.flow.map(|(_, plan)| graph::of_plan(&plan)),
    }))
}

/// What became of a deployment.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeployedAnswer {
    /// The revision that counts now.
    revision: u32,
    /// It is new.
    created: bool,
    /// Another one counted before, or none.
    changed: bool,
    /// Warnings about the source, and about triggers that never fire on this server.
    warnings: Vec<Finding>,
}

/// `If-Match: "3"` means revision 3; `If-None-Match: *` means none.
fn expected(headers: &Headers) -> Result<Expected, Problem> {
    if headers.get("if-none-match").map(str::trim) == Some("*") {
        return Ok(Expected::Absent);
    }
    match headers.get("if-match").map(str::trim) {
        None | Some("*") => Ok(Expected::Any),
        Some(text) => text
            .trim_matches('"')
            .parse()
            .map(Expected::Revision)
            .map_err(|_| Problem::bad_request("`If-Match` must be the number of a revision")),
    }
}

/// Deploys a source: compiles it, and makes it the revision that counts.
#[utoipa::path(put, path = "/api/v1/flows/{namespace}/{id}", tag = "flows",
    params(("namespace" = String, Path), ("id" = String, Path),
        ("If-Match" = Option<String>, Header, description = "The revision that was seen"),
        ("If-None-Match" = Option<String>, Header, description = "`*`: there must be no such flow"),
        ("X-Operon-Files" = Option<String>, Header,
            description = "URI of the listing of the files beside it; without it they stay as they are"),
        ("X-Operon-Message" = Option<String>, Header, description = "What is said about it")),
    request_body(content = Object, content_type = "application/yaml"),
    responses((status = 200, body = DeployedAnswer), (status = 201, body = DeployedAnswer),
        (status = 412, body = Problem), (status = 413, body = Problem), (status = 422, body = Problem)))]
pub(crate) async fn deploy(
    State(api): State<Api>,
    who: Who,
    Path((namespace, id)): Path<(String, String)>,
    headers: Headers,
    Raw(body): Raw,
) -> Result<(StatusCode, Answer<DeployedAnswer>), Problem> {
    let source = std::str::from_utf8(&body)
        .map_err(|_| Problem::bad_request("the source must be UTF-8 text"))?;
    check_size(source)?;
    let message = headers.get("x-operon-message").map(str::to_owned);
    if message
        .as_ref()
        .is_some_and(|message| message.len() > MESSAGE_MAX)
    {
        return Err(Problem::bad_request(format!(
            "a message has at most {MESSAGE_MAX} bytes"
        )));
    }
    let listing = headers.get("x-operon-files");
    if listing.is_some_and(|place| !files::is_listing(place)) {
        return Err(Problem::bad_request(
            "`X-Operon-Files` must be what `POST /api/v1/files/listings` answered",
        ));
    }
    // It must be there, or every execution fails.
    Beside::load(&*api.ports().artifacts, listing).await?;
    let before = api.flows().flow(&namespace, &id).await?;
    let deploy = Deploy {
        source,
        wanted: Some((&namespace, &id)),
        expected: expected(&headers)?,
        directory: listing.map(str::to_owned),
        by: &who.0.subject,
        message,
    };
    let make = async {
        api.flows().deploy(deploy).await.map_err(|error| {
            let FlowError::Invalid(checked) = error else {
                return Problem::from(error);
            };
            let errors = Finding::all(source, &checked.findings);
            let text = format!("the flow is not valid: {} errors", checked.errors());
            Problem::unprocessable(text).with_errors(errors)
        })
    };
    let before = before.map_or(Value::Null, |head| json!({"revision": head.revision}));
    let change = Change::new("flow.deploy", format!("{namespace}/{id}")).before(before);
    let source_hash = content_hash(source.as_bytes());
    let asked = change.clone().after(json!({"sourceHash": source_hash}));
    let deployed = who.does(&api, asked, make).await?;
    if deployed.changed {
        let after = json!({"revision": deployed.flow.revision});
        who.did(&api, change.after(after)).await?;
    }
    follow(&api, &namespace, &id).await?;
    let mut warnings = deployed.warnings;
    warnings.extend(never_fire(&api, &namespace, &id, source).await?);
    let status = if deployed.new {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Ok((
        status,
        Answer(DeployedAnswer {
            revision: deployed.flow.revision,
            created: deployed.new,
            changed: deployed.changed,
            warnings: Finding::all(source, &warnings),
        }),
    ))
}

async fn set_disabled(
    api: &Api,
    who: &Who,
    namespace: &str,
    id: &str,
    disabled: bool,
) -> Result<Answer<FlowSummary>, Problem> {
    let before = api.flows().existing(namespace, id).await?;
    let by = &who.0.subject;
    let set = api.flows().set_disabled(namespace, id, disabled, by);
    let head = if before.disabled == disabled {
        set.await?
    } else {
        let action = if disabled {
            "flow.disable"
        } else {
            "flow.enable"
        };
        let target = format!("{namespace}/{id}");
        let state = |disabled: bool| json!({"disabled": disabled});
        let change = Change::new(action, target)
            .before(state(before.disabled))
            .after(state(disabled));
        who.does(api, change, set).await?
    };
    follow(api, namespace, id).await?;
    summary(api, &head).await.map(Answer)
}

/// Lets a flow be started again.
#[utoipa::path(post, path = "/api/v1/flows/{namespace}/{id}/enable", tag = "flows",
    params(("namespace" = String, Path), ("id" = String, Path)),
    responses((status = 200, body = FlowSummary), (status = 404, body = Problem)))]
pub(crate) async fn enable(
    State(api): State<Api>,
    who: Who,
    Path((namespace, id)): Path<(String, String)>,
) -> Result<Answer<FlowSummary>, Problem> {
    set_disabled(&api, &who, &namespace, &id, false).await
}

/// Forbids a flow to be started, by triggers and by people. What runs goes on.
#[utoipa::path(post, path = "/api/v1/flows/{namespace}/{id}/disable", tag = "flows",
    params(("namespace" = String, Path), ("id" = String, Path)),
    responses((status = 200, body = FlowSummary), (status = 404, body = Problem)))]
pub(crate) async fn disable(
    State(api): State<Api>,
    who: Who,
    Path((namespace, id)): Path<(String, String)>,
) -> Result<Answer<FlowSummary>, Problem> {
    set_disabled(&api, &who, &namespace, &id, true).await
}

/// The revision that is to count.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rollback {
    /// Its number.
    revision: u32,
}

/// Makes an earlier revision count again.
#[utoipa::path(post, path = "/api/v1/flows/{namespace}/{id}/rollback", tag = "flows", request_body = Rollback,
    params(("namespace" = String, Path), ("id" = String, Path),
        ("If-Match" = Option<String>, Header, description = "The revision that was seen")),
    responses((status = 200, body = FlowSummary), (status = 404, body = Problem), (status = 412, body = Problem)))]
pub(crate) async fn rollback(
    State(api): State<Api>,
    who: Who,
    Path((namespace, id)): Path<(String, String)>,
    headers: Headers,
    Json(wish): Json<Rollback>,
) -> Result<Answer<FlowSummary>, Problem> {
    let expected = expected(&headers)?;
    let before = api.flows().existing(&namespace, &id).await?;
    let by = &who.0.subject;
    let to = wish.revision;
    let rollback = api.flows().rollback(&namespace, &id, to, expected, by);
    let head = if before.revision == to {
        rollback.await?
    } else {
        let state = |revision: u32| json!({"revision": revision});
        let change = Change::new("flow.rollback", format!("{namespace}/{id}"))
            .before(state(before.revision))
            .after(state(to));
        who.does(&api, change, rollback).await?
    };
    follow(&api, &namespace, &id).await?;
    summary(&api, &head).await.map(Answer)
}

/// Warnings about triggers that never fire on this server.
async fn never_fire(
    api: &Api,
    namespace: &str,
    id: &str,
    source: &str,
) -> Result<Vec<Diagnostic>, Problem> {
    let Some(triggers) = api.triggers() else {
        return Ok(Vec::new());
    };
    let key = "triggers";
    let line = source.find("\ntriggers:").map_or(0, |before| before + 1);
    let span: Span = line..(line + key.len()).min(source.len());
    let sentences = triggers.never_fire(namespace, id).await?;
    let warning = |sentence: String| Diagnostic::warning(Rule::NoEffect, span.clone(), sentence);
    Ok(sentences.into_iter().map(warning).collect())
}

/// Lets triggers follow what was changed about their flow. Also when nothing changed: whoever did it before may have
/// died in between.
async fn follow(api: &Api, namespace: &str, id: &str) -> Result<(), Problem> {
    let Some(triggers) = api.triggers() else {
        return Ok(());
    };
    let followed = triggers.follow(namespace, id).await;
    followed.map_err(|problem| {
        let reason = problem.detail;
        tracing::error!(
            flow = id,
            reason,
            "the triggers of a flow do not follow it yet"
        );
        Problem::unavailable(
            "the flow is changed, but what fires its triggers does not follow it yet; do the same again",
        )
    })
}
