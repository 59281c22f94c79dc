//! The server itself: health, who calls, sessions, the document, the audit trail, locks, metrics.

use axum::Json as Answer;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use operon_core::exec::Lock;
use operon_core::plan::Plan;
use operon_engine::audit::{AuditCursor, AuditEntry, Outcome};
use operon_engine::ports::ExecutionFilter;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use crate::auth::{Auth, session_cookie};
use crate::cursor;
use crate::dto::{LockView, OwnerView, Page};
use crate::extract::{Headers, Query};
use crate::mutate::Who;
use crate::openapi as document;
use crate::problem::Problem;
use crate::state::Api;

/// Executions that wait for a lock, shown at most.
const QUEUE_MAX: u32 = 100;

/// Whether the server works.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(crate) struct Health {
    /// `ok`.
    status: String,
    /// Of Operon.
    version: String,
    /// How one signs in to the console: `issuer` at the issuer, `token` with a token.
    #[serde(rename = "signIn")]
    sign_in: String,
}

/// Whether the server works and reaches its store.
#[utoipa::path(get, path = "/api/v1/health", tag = "server",
    responses((status = 200, body = Health), (status = 503, body = Problem)))]
pub(crate) async fn health(State(api): State<Api>) -> Result<Answer<Health>, Problem> {
    let one = ExecutionFilter {
        limit: 1,
        ..ExecutionFilter::default()
    };
    api.ports()
        .store
        .executions(&one)
        .await
        .map_err(|_| Problem::unavailable("the state store does not answer"))?;
    Ok(Answer(Health {
        status: "ok".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        sign_in: if api.auth().oidc().is_some() {
            "issuer"
        } else {
            "token"
        }
        .to_owned(),
    }))
}

/// Who calls.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(crate) struct Me {
    /// A name that means one person or program.
    subject: String,
    /// `viewer`, `operator`, `editor` or `admin`.
    role: String,
    /// This server is on the caller's machine.
    local: bool,
}

/// Who calls, and what they may do.
#[utoipa::path(get, path = "/api/v1/me", tag = "server",
    responses((status = 200, body = Me), (status = 401, body = Problem)))]
pub(crate) async fn me(State(api): State<Api>, who: Who) -> Answer<Me> {
    Answer(Me {
        subject: who.0.subject,
        role: who.0.role.name().to_owned(),
        local: api.auth().is_local(),
    })
}

/// Keeps the token of this request in a cookie that scripts cannot read, for event streams and downloads.
#[utoipa::path(post, path = "/api/v1/session", tag = "server",
    responses((status = 204), (status = 401, body = Problem)))]
pub(crate) async fn open_session(
    State(api): State<Api>,
    headers: Headers,
) -> Result<Response, Problem> {
    let bearer = headers
        .get("authorization")
        .and_then(|text| text.split_once(' '));
    let (value, secure) = match api.auth() {
        Auth::Local(known) => (known.session().to_owned(), ""),
        Auth::Oidc(_) | Auth::OidcOrIam(..) | Auth::Iam(_) => {
            let (_, token) = bearer.ok_or_else(|| {
                Problem::bad_request("send the token as `Authorization: Bearer <token>`")
            })?;
            (token.trim().to_owned(), "; Secure")
        }
    };
    let cookie = session_cookie(&value, secure);
    let mut response = StatusCode::NO_CONTENT.into_response();
    let value = HeaderValue::from_str(&cookie)
        .map_err(|_| Problem::bad_request("the token has characters that no token has"))?;
    response.headers_mut().insert(header::SET_COOKIE, value);
    Ok(response)
}

/// Forgets the cookie.
#[utoipa::path(delete, path = "/api/v1/session", tag = "server", responses((status = 204)))]
pub(crate) async fn close_session() -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let cookie = session_cookie("", "; Max-Age=0");
    if let Ok(value) = HeaderValue::from_str(&cookie) {
        response.headers_mut().insert(header::SET_COOKIE, value);
    }
    response
}

fn json(text: String) -> Response {
    let kind = HeaderValue::from_static("application/json");
    let mut response = text.into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// This document.
#[utoipa::path(get, path = "/api/v1/openapi.json", tag = "server", responses((status = 200, body = Object)))]
pub(crate) async fn openapi() -> Response {
    json(document::JSON.to_owned())
}

/// The JSON Schema of flows, for editors.
#[utoipa::path(get, path = "/api/v1/schema/flow.json", tag = "server", responses((status = 200, body = Object)))]
pub(crate) async fn flow_schema(State(api): State<Api>) -> Response {
    json(operon_core::lang::schema::schema(api.flows().plugins()).to_string())
}

/// A page of the audit trail.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub(crate) struct AuditQuery {
    /// Rows at most, 1 to 1000; 50 without it.
    limit: Option<u32>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// One change.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AuditView {
    /// Milliseconds since the epoch.
    at_ms: u64,
    /// Who.
    who: String,
    /// With which role.
    role: String,
    /// What was done: `execution.kill`, `flow.deploy`, …
    action: String,
    /// To what.
    target: String,
    /// `ASKED` (written before the change), `DONE`, `REFUSED` (nothing was changed) or `FAILED` (it is not known).
    #[schema(value_type = String)]
    outcome: Outcome,
    /// How it was.
    before: Value,
    /// How it is, what was asked for, or why it was refused.
    after: Value,
}

/// Who changed what, the newest first. A change is written down before it is made.
#[utoipa::path(get, path = "/api/v1/audit", params(AuditQuery), tag = "server",
    responses((status = 200, body = Page<AuditView>), (status = 400, body = Problem)))]
pub(crate) async fn audit(
    State(api): State<Api>,
    Query(query): Query<AuditQuery>,
) -> Result<Answer<Page<AuditView>>, Problem> {
    let limit = cursor::limit(query.limit)?;
    let after: Option<AuditCursor> = cursor::read(query.cursor.as_deref())?;
    let (entries, next) = api.audit().entries(after, limit).await?;
    let view = |entry: AuditEntry| AuditView {
        at_ms: entry.at_ms,
        who: entry.who,
        role: entry.role,
        action: entry.action,
        target: entry.target,
        outcome: entry.outcome,
        before: entry.before,
        after: entry.after,
    };
    Ok(Answer(Page {
        items: entries.into_iter().map(view).collect(),
        next: next.and_then(|place| cursor::write(&place)),
    }))
}

/// The locks of a flow that are in use, at most `most` of them; the only one of a flow without a key also when it is not.
pub(super) async fn locks_of(
    api: &Api,
    (namespace, id): (&str, &str),
    plan: &Plan,
    most: usize,
) -> Result<Vec<LockView>, Problem> {
    let Some(concurrency) = &plan.concurrency else {
        return Ok(Vec::new());
    };
    let evaluator = &api.operations().evaluator;
    let quarantine = plan.longest_quarantine_ms();
    let flow = (namespace, id);
    let found = evaluator
        .locks_in_use(api.plans(), flow, concurrency, quarantine, most)
        .await
        .map_err(|error| Problem::internal(&error.to_string()))?;
    let views = found.into_iter().map(async |lock| {
        let view = lock_view(api, &lock.name, Some(concurrency.limit)).await?;
        Ok(LockView {
            key: lock.key,
            ..view
        })
    });
    let views: Result<Vec<LockView>, Problem> = futures_util::future::join_all(views)
        .await
        .into_iter()
        .collect();
    // An execution that has only just begun or ended holds nothing.
    let used =
        |view: &LockView| view.key.is_none() || !view.owners.is_empty() || !view.queue.is_empty();
    Ok(views?.into_iter().filter(used).collect())
}

/// A lock by its name.
async fn lock_view(api: &Api, name: &str, limit: Option<u32>) -> Result<LockView, Problem> {
    let store = &api.ports().store;
    let lock = match store.lock(name).await? {
        None => Lock::default(),
        Some(row) => serde_json::from_slice(&row.bytes)
            .map_err(|error| Problem::internal(&format!("lock `{name}`: {error}")))?,
    };
    let owner = |owner: &operon_core::exec::Owner| OwnerView {
        execution: owner.execution.clone(),
        quarantined_until_ms: owner.quarantined_until.map(|time| time.0),
    };
    let queue = store.queued(name, QUEUE_MAX).await?;
    Ok(LockView {
        name: name.to_owned(),
        key: None,
        limit,
        owners: lock.owners().iter().map(owner).collect(),
        queue: queue.into_iter().map(|id| id.to_string()).collect(),
    })
}

/// Locks of one flow in the list of all.
const KEYS_OF_A_FLOW: usize = 20;

/// Which locks.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub(crate) struct LockQuery {
    /// One lock; those of all flows with a limit without it.
    name: Option<String>,
    /// Flows looked at in one page, 1 to 1000; 50 without it.
    limit: Option<u32>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// Locks of flows, who holds their slots, and who waits. Of a flow with `concurrency.key` those that are in use, at most
/// 20, the newest first.
#[utoipa::path(get, path = "/api/v1/locks", params(LockQuery), tag = "server",
    responses((status = 200, body = Page<LockView>), (status = 400, body = Problem)))]
pub(crate) async fn locks(
    State(api): State<Api>,
    Query(query): Query<LockQuery>,
) -> Result<Answer<Page<LockView>>, Problem> {
    if let Some(name) = query.name {
        let lock = lock_view(&api, &crate::extract::text("name", name)?, None).await?;
        return Ok(Answer(Page {
            items: vec![lock],
            next: None,
        }));
    }
    let limit = cursor::limit(query.limit)?;
    let after: Option<(String, String)> = cursor::read(query.cursor.as_deref())?;
    let place = after
        .as_ref()
        .map(|(namespace, id)| (namespace.as_str(), id.as_str()));
    let heads = api.flows().flows(None, place, limit).await?;
    let full = heads.len() == usize::try_from(limit).unwrap_or(usize::MAX);
    let next = heads.last().filter(|_| full);
    let next = next.and_then(|head| cursor::write(&(&head.namespace, &head.id)));
    let mut items = Vec::new();
    for head in heads {
        let revision = api
            .flows()
            .revision(&head.namespace, &head.id, head.revision)
            .await?;
        let flow = (head.namespace.as_str(), head.id.as_str());
        for lock in locks_of(&api, flow, &revision.plan, KEYS_OF_A_FLOW).await? {
            // One that flows share is shown once, with the slots of the first.
            if items.iter().all(|shown: &LockView| shown.name != lock.name) {
                items.push(lock);
            }
        }
    }
    Ok(Answer(Page { items, next }))
}

/// Counts for Prometheus; of a server on one machine only.
#[utoipa::path(get, path = "/api/v1/metrics", tag = "server",
    responses((status = 200, content_type = "text/plain", body = String), (status = 404, body = Problem)))]
pub(crate) async fn metrics(State(api): State<Api>) -> Result<Response, Problem> {
    if !api.auth().is_local() {
        return Err(Problem::not_implemented(
            "on AWS, metrics are in CloudWatch; this route is of a server on one machine",
        ));
    }
    let now = api.ports().clock.now_ms();
    let filter = ExecutionFilter {
        from_ms: Some(now.saturating_sub(3_600_000)),
        limit: 5_000,
        ..ExecutionFilter::default()
    };
    let rows = api.ports().store.executions(&filter).await?;
    let mut counts: std::collections::BTreeMap<&str, u64> = std::collections::BTreeMap::new();
    for row in &rows {
        *counts.entry(row.state.as_str()).or_insert(0) += 1;
    }
    let mut text = String::from(
        "# HELP operon_executions_last_hour Executions created in the last hour, by state.\n\
         # TYPE operon_executions_last_hour gauge\n",
    );
    for (state, count) in counts {
        for part in [
            "operon_executions_last_hour{state=\"",
            state,
            "\"} ",
            &count.to_string(),
            "\n",
        ] {
            text.push_str(part);
        }
    }
    if let Some(totals) = api.totals() {
        text.push_str(&totals.render());
    }
    let mut response = text.into_response();
    let kind = HeaderValue::from_static("text/plain; version=0.0.4");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(response)
}
