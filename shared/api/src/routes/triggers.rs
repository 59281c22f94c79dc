//! Triggers, backfills, dead letters and webhooks: answered by whoever keeps them.

use axum::Json as Answer;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::IntoParams;

use super::executions::{existing, id_of};
use crate::cursor;
use crate::dto::Page;
use crate::extract::{Json, Path, Query, Raw};
use crate::hooks::{
    BackfillRequest, BackfillSteer, DeadLetter, DeadLetters, DeliveredEvent, ItemView,
    TriggerAdmin, TriggerEventView, TriggerSummary, WebhookRequest,
};
use crate::mutate::{Change, Who};
use crate::problem::Problem;
use crate::state::Api;

/// Parameters of a webhook's query string at most.
const QUERY_MAX: usize = 100;

/// States of an event.
const EVENT_STATES: [&str; 4] = ["pending", "started", "item", "rejected"];

fn admin(api: &Api) -> Result<&dyn TriggerAdmin, Problem> {
    api.triggers()
        .ok_or_else(|| Problem::not_implemented("this server has no triggers"))
}

fn letters(api: &Api) -> Result<&dyn DeadLetters, Problem> {
    api.dead_letters()
        .ok_or_else(|| Problem::not_implemented("this server has no queues"))
}

/// Which triggers.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub(crate) struct TriggerQuery {
    /// Exact.
    namespace: Option<String>,
    /// Rows at most, 1 to 1000; 50 without it.
    limit: Option<u32>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// Triggers of all flows.
#[utoipa::path(get, path = "/api/v1/triggers", params(TriggerQuery), tag = "triggers",
    responses((status = 200, body = Page<TriggerSummary>), (status = 400, body = Problem)))]
pub(crate) async fn list(
    State(api): State<Api>,
    Query(query): Query<TriggerQuery>,
) -> Result<Answer<Page<TriggerSummary>>, Problem> {
    let limit = cursor::limit(query.limit)?;
    let Some(triggers) = api.triggers() else {
        return Ok(Answer(Page {
            items: Vec::new(),
            next: None,
        }));
    };
    let after: Option<String> = cursor::read(query.cursor.as_deref())?;
    let namespace = query.namespace.as_deref();
    let (items, next) = triggers
        .list(namespace, None, after.as_deref(), limit)
        .await?;
    Ok(Answer(Page {
        items,
        next: next.and_then(|place| cursor::write(&place)),
    }))
}

/// Triggers of a flow with their last and next times.
#[utoipa::path(get, path = "/api/v1/flows/{namespace}/{id}/triggers", tag = "flows",
    params(("namespace" = String, Path), ("id" = String, Path)),
    responses((status = 200, body = Page<TriggerSummary>), (status = 404, body = Problem)))]
pub(crate) async fn of_flow(
    State(api): State<Api>,
    Path((namespace, id)): Path<(String, String)>,
) -> Result<Answer<Page<TriggerSummary>>, Problem> {
    let (_, revision) = api.flows().current(&namespace, &id).await?;
    let items = match api.triggers() {
        Some(triggers) => {
            triggers
                .list(Some(&namespace), Some(&id), None, 1000)
                .await?
                .0
        }
        // What the text says, where nobody keeps more.
        None => revision
            .triggers
            .iter()
            .map(|trigger| TriggerSummary {
                namespace: namespace.clone(),
                flow: id.clone(),
                id: trigger.id.clone(),
                kind: trigger.trigger_type.clone(),
                disabled: trigger.disabled,
                ..TriggerSummary::default()
            })
            .collect(),
    };
    Ok(Answer(Page { items, next: None }))
}

async fn set_disabled(
    api: &Api,
    who: &Who,
    (namespace, flow, id): (String, String, String),
    disabled: bool,
) -> Result<Answer<TriggerSummary>, Problem> {
    let action = if disabled {
        "trigger.disable"
    } else {
        "trigger.enable"
    };
    let change = Change::new(action, format!("{namespace}/{flow}/{id}"))
        .after(json!({"disabled": disabled}));
    let set = admin(api)?.set_disabled(&namespace, &flow, &id, disabled);
    let before = who.does(api, change, set).await?;
    Ok(Answer(TriggerSummary { disabled, ..before }))
}

/// Lets a trigger fire again.
#[utoipa::path(post, path = "/api/v1/triggers/{namespace}/{flow}/{id}/enable", tag = "triggers",
    params(("namespace" = String, Path), ("flow" = String, Path), ("id" = String, Path)),
    responses((status = 200, body = TriggerSummary), (status = 404, body = Problem)))]
pub(crate) async fn enable(
    State(api): State<Api>,
    who: Who,
    Path(path): Path<(String, String, String)>,
) -> Result<Answer<TriggerSummary>, Problem> {
    set_disabled(&api, &who, path, false).await
}

/// Keeps a trigger from firing. What it started goes on.
#[utoipa::path(post, path = "/api/v1/triggers/{namespace}/{flow}/{id}/disable", tag = "triggers",
    params(("namespace" = String, Path), ("flow" = String, Path), ("id" = String, Path)),
    responses((status = 200, body = TriggerSummary), (status = 404, body = Problem)))]
pub(crate) async fn disable(
    State(api): State<Api>,
    who: Who,
    Path(path): Path<(String, String, String)>,
) -> Result<Answer<TriggerSummary>, Problem> {
    set_disabled(&api, &who, path, true).await
}

/// Makes up for slots of a schedule.
#[utoipa::path(post, path = "/api/v1/triggers/{namespace}/{flow}/{id}/backfill", tag = "triggers",
    params(("namespace" = String, Path), ("flow" = String, Path), ("id" = String, Path)),
    request_body = BackfillRequest,
    responses((status = 202, body = Object), (status = 400, body = Problem), (status = 404, body = Problem),
        (status = 409, body = Problem), (status = 422, body = Problem)))]
pub(crate) async fn backfill(
    State(api): State<Api>,
    who: Who,
    Path((namespace, flow, id)): Path<(String, String, String)>,
    Json(wish): Json<BackfillRequest>,
) -> Result<(StatusCode, Answer<Value>), Problem> {
    if wish.from_ms >= wish.to_ms {
        return Err(Problem::unprocessable("`fromMs` must be before `toMs`"));
    }
    let after = json!({"fromMs": wish.from_ms, "toMs": wish.to_ms});
    let change = Change::new("trigger.backfill", format!("{namespace}/{flow}/{id}")).after(after);
    let backfill = admin(&api)?.backfill(&namespace, &flow, &id, wish);
    let made = who.does(&api, change, backfill).await?;
    Ok((StatusCode::ACCEPTED, Answer(made)))
}

/// The backfill of a schedule, also one that is over.
#[utoipa::path(get, path = "/api/v1/triggers/{namespace}/{flow}/{id}/backfill", tag = "triggers",
    params(("namespace" = String, Path), ("flow" = String, Path), ("id" = String, Path)),
    responses((status = 200, body = Object), (status = 404, body = Problem)))]
pub(crate) async fn backfill_state(
    State(api): State<Api>,
    Path((namespace, flow, id)): Path<(String, String, String)>,
) -> Result<Answer<Value>, Problem> {
    let state = admin(&api)?.backfill_state(&namespace, &flow, &id).await?;
    Ok(Answer(state))
}

/// Pauses a backfill (`pause`), lets it go on (`resume`) or ends it (`end`). What it started goes on.
#[utoipa::path(post, path = "/api/v1/triggers/{namespace}/{flow}/{id}/backfill/{action}", tag = "triggers",
    params(("namespace" = String, Path), ("flow" = String, Path), ("id" = String, Path),
        ("action" = String, Path, description = "`pause`, `resume` or `end`")),
    responses((status = 200, body = Object), (status = 400, body = Problem), (status = 404, body = Problem)))]
pub(crate) async fn steer_backfill(
    State(api): State<Api>,
    who: Who,
    Path((namespace, flow, id, action)): Path<(String, String, String, String)>,
) -> Result<Answer<Value>, Problem> {
    let steer = BackfillSteer::of(&action).ok_or_else(|| {
        Problem::bad_request(format!("`{action}` is neither `pause`, `resume` nor `end`"))
    })?;
    let change = Change::new("trigger.backfill", format!("{namespace}/{flow}/{id}"))
        .after(json!({"backfill": action}));
    let steered = admin(&api)?.steer_backfill(&namespace, &flow, &id, steer);
    let state = who.does(&api, change, steered).await?;
    Ok(Answer(state))
}

/// Which events of a trigger.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub(crate) struct EventQuery {
    /// Only `pending`, `started`, `item` or `rejected` ones.
    state: Option<String>,
    /// Rows at most, 1 to 1000; 50 without it.
    limit: Option<u32>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// What became of the events that a trigger was given: each is an execution, an item of one, or a rejection with its
/// reason. In no order from page to page; the newest of a page first.
#[utoipa::path(get, path = "/api/v1/triggers/{namespace}/{flow}/{id}/events", tag = "triggers",
    params(("namespace" = String, Path), ("flow" = String, Path), ("id" = String, Path), EventQuery),
    responses((status = 200, body = Page<TriggerEventView>), (status = 400, body = Problem)))]
pub(crate) async fn events(
    State(api): State<Api>,
    Path((namespace, flow, id)): Path<(String, String, String)>,
    Query(query): Query<EventQuery>,
) -> Result<Answer<Page<TriggerEventView>>, Problem> {
    let limit = cursor::limit(query.limit)?;
    let state = query.state.as_deref();
    if let Some(state) = state.filter(|state| !EVENT_STATES.contains(state)) {
        return Err(Problem::bad_request(format!(
            "`{state}` is no state of an event; these are: {}",
            EVENT_STATES.join(", ")
        )));
    }
    let after: Option<String> = cursor::read(query.cursor.as_deref())?;
    let (items, next) = admin(&api)?
        .events(&namespace, &flow, &id, state, after, limit)
        .await?;
    Ok(Answer(Page {
        items,
        next: next.and_then(|place| cursor::write(&place)),
    }))
}

/// Which items.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub(crate) struct ItemQuery {
    /// Rows at most, 1 to 1000; 50 without it.
    limit: Option<u32>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// What became of each item of a batch, in their order. Empty when the execution is not that of a batch.
#[utoipa::path(get, path = "/api/v1/executions/{id}/items", tag = "triggers",
    params(("id" = String, Path), ItemQuery),
    responses((status = 200, body = Page<ItemView>), (status = 400, body = Problem), (status = 404, body = Problem)))]
pub(crate) async fn items(
    State(api): State<Api>,
    Path(id): Path<String>,
    Query(query): Query<ItemQuery>,
) -> Result<Answer<Page<ItemView>>, Problem> {
    let limit = cursor::limit(query.limit)?;
    let row = existing(&api, &id_of(&id)?).await?;
    let after: Option<u32> = cursor::read(query.cursor.as_deref())?;
    let Some(triggers) = api.triggers() else {
        return Ok(Answer(Page {
            items: Vec::new(),
            next: None,
        }));
    };
    let mut items = triggers.items(&row.meta.id).await?;
    items.retain(|item| after.is_none_or(|after| item.item > after));
    let wanted = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = items.len() > wanted;
    items.truncate(wanted);
    let last = items.last().filter(|_| more).map(|item| item.item);
    Ok(Answer(Page {
        items,
        next: last.and_then(|place| cursor::write(&place)),
    }))
}

/// Takes an event as S3, `EventBridge`, SNS, SQS or an alarm delivers it: the notification, the event, the message with its
/// envelope, or what a function is given. An event that was taken before starts nothing a second time. Empty when it is
/// meant for no trigger.
#[utoipa::path(post, path = "/api/v1/events", request_body = Object, tag = "triggers",
    responses((status = 200, body = Page<DeliveredEvent>), (status = 400, body = Problem),
        (status = 422, body = Problem)))]
pub(crate) async fn deliver(
    State(api): State<Api>,
    who: Who,
    Json(event): Json<Value>,
) -> Result<Answer<Page<DeliveredEvent>>, Problem> {
    let size = event.to_string().len();
    let change = Change::new("event.deliver", "events").after(json!({"size": size}));
    let items = who.does(&api, change, admin(&api)?.deliver(&event)).await?;
    for item in &items {
        let target = format!("{}/{}/{}", item.namespace, item.flow, item.trigger);
        let after = json!({"state": item.state, "execution": item.execution});
        who.did(&api, Change::new("event.deliver", target).after(after))
            .await?;
    }
    Ok(Answer(Page { items, next: None }))
}

/// A page of dead letters.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub(crate) struct LetterQuery {
    /// Rows at most, 1 to 1000; 50 without it.
    limit: Option<u32>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// Messages that nobody could handle.
#[utoipa::path(get, path = "/api/v1/dead-letters", params(LetterQuery), tag = "triggers",
    responses((status = 200, body = Page<DeadLetter>), (status = 400, body = Problem)))]
pub(crate) async fn dead_letters(
    State(api): State<Api>,
    Query(query): Query<LetterQuery>,
) -> Result<Answer<Page<DeadLetter>>, Problem> {
    let limit = cursor::limit(query.limit)?;
    let Some(letters) = api.dead_letters() else {
        return Ok(Answer(Page {
            items: Vec::new(),
            next: None,
        }));
    };
    let after: Option<String> = cursor::read(query.cursor.as_deref())?;
    let (items, next) = letters.list(after.as_deref(), limit).await?;
    Ok(Answer(Page {
        items,
        next: next.and_then(|place| cursor::write(&place)),
    }))
}

/// Puts a message back into its queue.
#[utoipa::path(post, path = "/api/v1/dead-letters/{id}/redrive", params(("id" = String, Path)), tag = "triggers",
    responses((status = 202), (status = 404, body = Problem)))]
pub(crate) async fn redrive(
    State(api): State<Api>,
    who: Who,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let change = Change::new("dead-letter.redrive", &id);
    who.does(&api, change, letters(&api)?.redrive(&id)).await?;
    Ok(StatusCode::ACCEPTED)
}

/// A webhook. Outside authentication: who keeps the triggers checks its signature over the bytes as they came.
pub(crate) async fn webhook(
    State(api): State<Api>,
    Path((namespace, flow, trigger)): Path<(String, String, String)>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    Raw(body): Raw,
) -> Result<Response, Problem> {
    let webhooks = api
        .webhooks()
        .ok_or_else(|| Problem::not_implemented("this server takes no webhooks"))?;
    let query: Result<axum::extract::Query<Vec<(String, String)>>, _> =
        axum::extract::Query::try_from_uri(&uri);
    let query = query
        .map_err(|error| Problem::bad_request(error.body_text()))?
        .0;
    if query.len() > QUERY_MAX {
        return Err(Problem::bad_request(format!(
            "at most {QUERY_MAX} query parameters are taken"
        )));
    }
    let request = WebhookRequest {
        namespace,
        flow,
        trigger,
        method,
        headers,
        query,
        body,
    };
    let answer = webhooks.receive(request).await?;
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
    let content_type = HeaderValue::from_str(&answer.content_type);
    let content_type = content_type.unwrap_or(HeaderValue::from_static("text/plain"));
    Ok((status, [(CONTENT_TYPE, content_type)], answer.body).into_response())
}
