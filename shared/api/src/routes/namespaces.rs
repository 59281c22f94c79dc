//! What belongs to namespaces: who is told of all their flows, incidents, costs.

use std::collections::BTreeMap;

use axum::Json as Answer;
use axum::extract::State;
use axum::http::StatusCode;
use operon_engine::metrics::{By, CostQuery, costs};
use operon_engine::notify::{self, Incident, Policies, PolicyError};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

use crate::cursor;
use crate::dto::{Finding, Page};
use crate::extract::{Headers, Path, Query, Raw, text};
use crate::mutate::{Change, Who};
use crate::problem::Problem;
use crate::state::Api;

/// Thirty days: costs without `fromMs` begin so long ago.
const COSTS_MS: u64 = 30 * 24 * 3600 * 1000;

/// Who is told about executions of a namespace's flows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NotifyView {
    /// Of this namespace and those below it.
    namespace: String,
    /// For `If-Match`.
    version: u64,
    /// As it was written.
    source: String,
    /// What it says; secrets are named, never shown.
    #[schema(value_type = Vec<Object>)]
    notify: Value,
    /// Who wrote it.
    by: String,
    /// When, milliseconds since the epoch.
    at_ms: u64,
}

fn view(namespace: &str, policies: Policies) -> NotifyView {
    NotifyView {
        namespace: namespace.to_owned(),
        version: policies.version,
        notify: json!(policies.notify),
        source: policies.source,
        by: policies.by,
        at_ms: policies.at_ms,
    }
}

fn problem(error: PolicyError, source: &str) -> Problem {
    let detail = error.to_string();
    match error {
        PolicyError::Invalid(found) => Problem {
            errors: Finding::all(source, &found),
            ..Problem::unprocessable(detail)
        },
        PolicyError::Other(_) => Problem::unprocessable(detail),
        PolicyError::TooLarge(_) => Problem::too_large(detail),
        PolicyError::Changed(version) => Problem {
            current: u32::try_from(version).ok(),
            ..Problem::precondition(detail)
        },
        PolicyError::Store(error) => error.into(),
    }
}

fn none(namespace: &str) -> Problem {
    Problem::not_found(format!(
        "namespace `{namespace}` says nothing of notifications"
    ))
}

/// `If-Match: "3"` means version 3; `If-None-Match: *` means none.
fn expected(headers: &Headers) -> Result<Option<u64>, Problem> {
    if headers.get("if-none-match").map(str::trim) == Some("*") {
        return Ok(Some(0));
    }
    match headers.get("if-match").map(str::trim) {
        None | Some("*") => Ok(None),
        Some(text) => text
            .trim_matches('"')
            .parse()
            .map(Some)
            .map_err(|_| Problem::bad_request("`If-Match` must be the number of a version")),
    }
}

/// A namespace as flows may have it.
fn checked(namespace: &str) -> Result<(), Problem> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if namespace.len() > 150 || !namespace.chars().all(good) || namespace.is_empty() {
        return Err(Problem::bad_request(
            "a namespace has up to 150 letters, digits, `.`, `_` and `-`",
        ));
    }
    Ok(())
}

/// Who is told about executions of the namespace's flows.
#[utoipa::path(get, path = "/api/v1/namespaces/{namespace}/notify", tag = "namespaces",
    params(("namespace" = String, Path)),
    responses((status = 200, body = NotifyView), (status = 404, body = Problem)))]
pub(crate) async fn show_notify(
    State(api): State<Api>,
    Path(namespace): Path<String>,
) -> Result<Answer<NotifyView>, Problem> {
    let there = notify::policies(api.ports(), &namespace).await?;
    let there = there.ok_or_else(|| none(&namespace))?;
    Ok(Answer(view(&namespace, there)))
}

/// Says who is told about executions of the namespace's flows: YAML with `notify`, as in a flow.
#[utoipa::path(put, path = "/api/v1/namespaces/{namespace}/notify", tag = "namespaces",
    params(("namespace" = String, Path),
        ("If-Match" = Option<String>, Header, description = "The version that was seen"),
        ("If-None-Match" = Option<String>, Header, description = "`*`: there must be none")),
    request_body(content = String, content_type = "application/yaml"),
    responses((status = 200, body = NotifyView), (status = 400, body = Problem), (status = 412, body = Problem),
        (status = 413, body = Problem), (status = 422, body = Problem)))]
pub(crate) async fn put_notify(
    State(api): State<Api>,
    who: Who,
    Path(namespace): Path<String>,
    headers: Headers,
    Raw(body): Raw,
) -> Result<Answer<NotifyView>, Problem> {
    checked(&namespace)?;
    let source = std::str::from_utf8(&body)
        .map_err(|_| Problem::bad_request("the notifications must be UTF-8 text"))?;
    let ports = api.ports();
    let before = notify::policies(ports, &namespace).await?;
    let by = &who.0.subject;
    let expected = expected(&headers)?;
    let change = Change::new("namespace.notify", &namespace)
        .before(before.map_or(Value::Null, |before| json!(before.source)))
        .after(json!(source));
    let set = async {
        notify::set_policies(ports, &namespace, source, by, expected)
            .await
            .map_err(|error| problem(error, source))
    };
    let after = who.does(&api, change, set).await?;
    Ok(Answer(view(&namespace, after)))
}

/// Tells nobody any more, but whom the flows themselves name.
#[utoipa::path(delete, path = "/api/v1/namespaces/{namespace}/notify", tag = "namespaces",
    params(("namespace" = String, Path),
        ("If-Match" = Option<String>, Header, description = "The version that was seen")),
    responses((status = 204), (status = 400, body = Problem), (status = 404, body = Problem),
        (status = 412, body = Problem)))]
pub(crate) async fn delete_notify(
    State(api): State<Api>,
    who: Who,
    Path(namespace): Path<String>,
    headers: Headers,
) -> Result<StatusCode, Problem> {
    let expected = expected(&headers)?;
    let ports = api.ports();
    let before = notify::policies(ports, &namespace).await?;
    let before = before.ok_or_else(|| none(&namespace))?;
    let remove = async {
        let removed = notify::remove_policies(ports, &namespace, expected).await;
        let removed = removed.map_err(|error| problem(error, ""))?;
        removed.ok_or_else(|| none(&namespace))
    };
    let change = Change::new("namespace.notify", &namespace).before(json!(before.source));
    who.does(&api, change, remove).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A page of incidents.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub(crate) struct IncidentQuery {
    /// Rows at most, 1 to 1000; 50 without it.
    limit: Option<u32>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// Failures of what one notification watches, and what became of its messages.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct IncidentView {
    /// Of the notification.
    id: String,
    /// `WATCH`, `OPEN` or `CLOSED`.
    #[schema(value_type = String)]
    phase: notify::Phase,
    /// First failure, milliseconds since the epoch.
    opened_ms: u64,
    /// Failures since then.
    count: u32,
    /// Of these, not told yet.
    untold: u32,
    /// Flows that have not succeeded since.
    failing: Vec<String>,
    /// Messages that were taken.
    sent: u32,
    /// Tries since then that were not.
    failed: u32,
    /// Why the last try was not.
    error: Option<String>,
    /// Nobody tries any more, until something new happens.
    given_up: bool,
    /// When the next message may go, milliseconds since the epoch.
    next_ms: Option<u64>,
}

fn incident(incident: Incident) -> IncidentView {
    IncidentView {
        next_ms: incident.due_ms(),
        id: incident.policy.id,
        phase: incident.phase,
        opened_ms: incident.opened_ms,
        count: incident.count,
        untold: incident.untold,
        failing: incident.failing.into_iter().collect(),
        sent: incident.delivery.sent,
        failed: incident.delivery.failed,
        error: incident.delivery.error,
        given_up: incident.delivery.given_up,
    }
}

/// Incidents of a namespace, with messages that nobody took and why.
#[utoipa::path(get, path = "/api/v1/namespaces/{namespace}/incidents", tag = "namespaces",
    params(("namespace" = String, Path), IncidentQuery),
    responses((status = 200, body = Page<IncidentView>), (status = 400, body = Problem)))]
pub(crate) async fn incidents(
    State(api): State<Api>,
    Path(namespace): Path<String>,
    Query(query): Query<IncidentQuery>,
) -> Result<Answer<Page<IncidentView>>, Problem> {
    let limit = cursor::limit(query.limit)?;
    let after: Option<String> = cursor::read(query.cursor.as_deref())?;
    let (found, next) = notify::incidents(api.ports(), &namespace, after, limit).await?;
    Ok(Answer(Page {
        items: found.into_iter().map(incident).collect(),
        next: next.and_then(|place| cursor::write(&place)),
    }))
}

/// Which costs.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(default, rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub(crate) struct CostsQuery {
    /// Adds up by the value of this label; by flow without it.
    label: Option<String>,
    /// Executions created at or after this time, milliseconds since the epoch; thirty days ago without it.
    from_ms: Option<u64>,
    /// Executions created before this time; now without it.
    to_ms: Option<u64>,
}

/// What executions cost together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CostRow {
    /// Flow, or value of the label; empty for executions without it.
    key: String,
    /// Executions that are over.
    executions: u64,
    /// Of these, ended `SUCCESS` or `WARNING`.
    succeeded: u64,
    /// Estimate in US dollars.
    usd: f64,
    /// Virtual CPUs reserved, times seconds.
    vcpu_seconds: f64,
    /// Gigabytes reserved, times seconds.
    gb_seconds: f64,
    /// All that was measured, by name.
    values: BTreeMap<String, f64>,
}

/// Costs of a namespace.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct CostsAnswer {
    /// The most expensive first.
    items: Vec<CostRow>,
    /// False when there were more executions than are read: then it is at least this.
    complete: bool,
}

/// What executions of a namespace that are over cost, by flow or by a label.
#[utoipa::path(get, path = "/api/v1/namespaces/{namespace}/costs", tag = "namespaces",
    params(("namespace" = String, Path), CostsQuery),
    responses((status = 200, body = CostsAnswer), (status = 400, body = Problem)))]
pub(crate) async fn cost(
    State(api): State<Api>,
    Path(namespace): Path<String>,
    Query(query): Query<CostsQuery>,
) -> Result<Answer<CostsAnswer>, Problem> {
    let now = api.ports().clock.now_ms();
    let to_ms = query.to_ms.unwrap_or(now.saturating_add(1));
    let from_ms = query.from_ms.unwrap_or(to_ms.saturating_sub(COSTS_MS));
    if from_ms >= to_ms {
        return Err(Problem::bad_request("`fromMs` must be before `toMs`"));
    }
    let by = match query.label {
        Some(label) => By::Label(text("label", label)?),
        None => By::Flow,
    };
    let query = CostQuery {
        namespace,
        by,
        from_ms,
        to_ms,
    };
    let found = costs(api.ports(), &query).await?;
    let rows = found.groups.into_iter().map(|group| {
        let value = |name: &str| group.values.get(name).copied().unwrap_or_default();
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a count"
        )]
        let executions = value("executions") as u64;
        CostRow {
            executions,
            succeeded: group.succeeded,
            usd: value("cost_usd"),
            vcpu_seconds: value("vcpu_seconds"),
            gb_seconds: value("gb_seconds"),
            key: group.key,
            values: group.values,
        }
    });
    Ok(Answer(CostsAnswer {
        items: rows.collect(),
        complete: found.complete,
    }))
}
