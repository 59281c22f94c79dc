//! Logs: pages by number, streams that go on where a reader was, and downloads.
//!
//! With a task run, lines have the numbers of its attempt. Without one, the logs of all attempts are one, by time. The
//! log of what a replay reused is that of the attempt that was executed.
//!
//! Invariant: a page that stops before the log does says so, and how to go on.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Json as Answer;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::sse::{Event, KeepAlive};
use axum::response::{IntoResponse as _, Response, Sse};
use futures_util::Stream;
use operon_engine::ports::{AttemptId, ExecutionId, LogLevel, LogLine};
use serde::Deserialize;
use utoipa::IntoParams;

use super::executions::{existing, id_of, run_of, run_text};
use crate::cursor;
use crate::dto::{LogLineDto, LogPageDto};
use crate::extract::{Headers, Path, Query, text};
use crate::merged::{Began, Merge, Place};
use crate::problem::Problem;
use crate::state::Api;
use crate::stream;

/// Attempts whose logs are read together at most: all are put in order before the first line is known.
const ATTEMPTS_MAX: usize = 100_000;
/// Lines looked at in one request that filters.
const SCAN_MAX: usize = 50_000;
/// Reads of logs in one request for those of all attempts.
pub(crate) const READS_MAX: usize = 1_000;

/// Which lines.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(default, rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub(crate) struct LogQuery {
    /// `shard:slot`; all task runs without it.
    pub(crate) task_run: Option<String>,
    /// Of the task run; the last one without it.
    pub(crate) attempt: Option<u8>,
    /// Only lines after this number (with `taskRun`).
    after: Option<u64>,
    /// Only the last lines before this number (with `taskRun`); a number beyond the end gives the end of the log.
    before: Option<u64>,
    /// Only lines of this level or above: `TRACE`, `DEBUG`, `INFO`, `WARN`, `ERROR`.
    pub(crate) level: Option<String>,
    /// Only lines with this text.
    pub(crate) q: Option<String>,
    /// Lines at most, 1 to 1000; 50 without it.
    limit: Option<u32>,
    /// `next` of the page before (without `taskRun`).
    cursor: Option<String>,
}

/// Which lines are wanted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wanted {
    level: Option<LogLevel>,
    q: Option<String>,
}

impl Wanted {
    pub(crate) fn of(query: &LogQuery) -> Result<Self, Problem> {
        let level = match query.level.as_deref().filter(|level| !level.is_empty()) {
            None => None,
            Some(name) => Some(level_of(name).ok_or_else(|| {
                Problem::bad_request("`level` is one of TRACE, DEBUG, INFO, WARN, ERROR")
            })?),
        };
        let q = query.q.clone().filter(|q| !q.is_empty());
        let q = q.map(|q| text("q", q)).transpose()?;
        Ok(Self {
            level,
            q: q.map(|q| q.to_lowercase()),
        })
    }

    pub(crate) fn matches(&self, line: &LogLine) -> bool {
        self.level.is_none_or(|level| line.level >= level)
            && self
                .q
                .as_ref()
                .is_none_or(|q| line.text.to_lowercase().contains(q))
    }

    fn is_all(&self) -> bool {
        self.level.is_none() && self.q.is_none()
    }
}

fn level_of(name: &str) -> Option<LogLevel> {
    Some(match name.to_uppercase().as_str() {
        "TRACE" => LogLevel::Trace,
        "DEBUG" => LogLevel::Debug,
        "INFO" => LogLevel::Info,
        "WARN" => LogLevel::Warn,
        "ERROR" => LogLevel::Error,
        _ => return None,
    })
}

const fn level_name(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Trace => "TRACE",
        LogLevel::Debug => "DEBUG",
        LogLevel::Info => "INFO",
        LogLevel::Warn => "WARN",
        LogLevel::Error => "ERROR",
    }
}

pub(crate) fn line_of(attempt: &AttemptId, line: LogLine) -> LogLineDto {
    LogLineDto {
        seq: line.seq,
        time_ms: line.time_ms,
        level: level_name(line.level).to_owned(),
        text: line.text,
        task_run: run_text(&attempt.task_run),
        attempt: attempt.attempt,
    }
}

/// Attempts whose logs are read together.
#[derive(Debug, Clone, Default)]
pub(crate) struct Attempts {
    /// In the order in which they began.
    pub(crate) found: Arc<Vec<Began>>,
    /// What is not among them, and how to read it.
    pub(crate) left_out: Option<String>,
}

/// Attempts of an execution.
pub(crate) async fn attempts(api: &Api, id: &ExecutionId) -> Result<Attempts, Problem> {
    let mut found = Vec::new();
    let mut left_out = None;
    let mut after = None;
    loop {
        let page = api.ports().store.attempts_page(id, after, 1000).await?;
        let Some(last) = page.last() else {
            break;
        };
        after = Some((last.task_run.clone(), last.attempt));
        let rows = page.iter().filter(|row| row.attempt > 0);
        found.extend(rows.map(Began::of));
        if found.len() > ATTEMPTS_MAX {
            found.truncate(ATTEMPTS_MAX);
            left_out = Some(format!(
                "the execution has more than {ATTEMPTS_MAX} attempts, and these are the lines of the first \
                 {ATTEMPTS_MAX} in the order of the flow; choose a `taskRun` for those of another one"
            ));
            break;
        }
    }
    found.sort();
    Ok(Attempts {
        found: Arc::new(found),
        left_out,
    })
}

/// The attempt that is meant.
pub(crate) async fn attempt_of(
    api: &Api,
    id: &ExecutionId,
    run: &str,
    number: Option<u8>,
) -> Result<Began, Problem> {
    let task_run = run_of(run)?;
    let rows = api.ports().store.attempts(id, &task_run).await?;
    let row = match number {
        Some(number) => rows.iter().find(|row| row.attempt == number),
        None => rows.iter().rfind(|row| row.attempt > 0),
    };
    Ok(row.map_or_else(
        || {
            Began::unknown(AttemptId {
                execution: id.clone(),
                task_run,
                attempt: number.unwrap_or(1),
            })
        },
        Began::of,
    ))
}

/// A page of the log of one task run, or of all.
#[utoipa::path(get, path = "/api/v1/executions/{id}/logs", params(("id" = String, Path), LogQuery),
    tag = "executions",
    responses((status = 200, body = LogPageDto), (status = 404, body = Problem), (status = 422, body = Problem)))]
pub(crate) async fn page(
    State(api): State<Api>,
    Path(id): Path<String>,
    Query(query): Query<LogQuery>,
) -> Result<Answer<LogPageDto>, Problem> {
    let row = existing(&api, &id_of(&id)?).await?;
    let limit = usize::try_from(cursor::limit(query.limit)?).unwrap_or(usize::MAX);
    let wanted = Wanted::of(&query)?;
    match &query.task_run {
        Some(run) => {
            let attempt = attempt_of(&api, &row.meta.id, run, query.attempt).await?;
            of_one(&api, &attempt, &query, &wanted, limit).await
        }
        None => {
            of_all(
                &api,
                &row.meta.id,
                row.ended_ms.is_some(),
                &query,
                &wanted,
                limit,
            )
            .await
        }
    }
    .map(Answer)
}

async fn of_one(
    api: &Api,
    began: &Began,
    query: &LogQuery,
    wanted: &Wanted,
    limit: usize,
) -> Result<LogPageDto, Problem> {
    let written = &began.written_as(&*api.ports().store).await?;
    let attempt = &began.attempt;
    if let Some(before) = query.before {
        return before_line(api, (attempt, written), before, wanted, limit).await;
    }
    let mut from = query.after.map_or(0, |after| after.saturating_add(1));
    let mut out = LogPageDto::default();
    let mut scanned = 0;
    loop {
        let count = if wanted.is_all() {
            limit - out.items.len()
        } else {
            1000
        };
        let page = api.logs().read(written, from, count).await?;
        let read = page.lines.len();
        for line in page.lines {
            scanned += 1;
            from = line.seq + 1;
            if wanted.matches(&line) {
                out.items.push(line_of(attempt, line));
                if out.items.len() >= limit {
                    break;
                }
            }
        }
        if out.items.len() >= limit || scanned >= SCAN_MAX || page.ended || read < count {
            // The marker counts only when everything before it was given.
            let rest = api.logs().read(written, from, 1).await?;
            out.ended = rest.ended && rest.lines.is_empty();
            out.more = !rest.lines.is_empty();
            out.next = from.checked_sub(1).map(|seq| seq.to_string());
            out.searched_up_to = from.checked_sub(1).filter(|_| out.more);
            return Ok(out);
        }
    }
}

/// The last lines before a number.
async fn before_line(
    api: &Api,
    (attempt, written): (&AttemptId, &AttemptId),
    before: u64,
    wanted: &Wanted,
    limit: usize,
) -> Result<LogPageDto, Problem> {
    let end = api.logs().tail(written, None, 1).await?;
    let last = end.lines.last().map_or(0, |line| line.seq + 1);
    let mut at = before.min(last);
    let mut lines = Vec::new();
    let mut scanned = 0;
    while at > 0 && lines.len() < limit && scanned < SCAN_MAX {
        let count = if wanted.is_all() {
            limit - lines.len()
        } else {
            1000
        };
        let page = api.logs().tail(written, Some(at), count).await?;
        let Some(first) = page.lines.first().map(|line| line.seq) else {
            break;
        };
        scanned += page.lines.len();
        at = first;
        for line in page.lines.into_iter().rev() {
            if lines.len() >= limit {
                // Lines before the last one that was found are not looked at.
                break;
            }
            if wanted.matches(&line) {
                if lines.len() + 1 == limit {
                    at = line.seq;
                }
                lines.push(line_of(attempt, line));
            }
        }
    }
    lines.reverse();
    let begin = api.logs().read(written, 0, 1).await?;
    let more = begin.lines.first().is_some_and(|line| line.seq < at);
    Ok(LogPageDto {
        items: lines,
        next: last.checked_sub(1).map(|seq| seq.to_string()),
        ended: end.ended && before >= last,
        more,
        searched_up_to: more.then_some(at),
        left_out: None,
    })
}

async fn of_all(
    api: &Api,
    id: &ExecutionId,
    over: bool,
    query: &LogQuery,
    wanted: &Wanted,
    limit: usize,
) -> Result<LogPageDto, Problem> {
    let place: Option<String> = cursor::read(query.cursor.as_deref())?;
    let place = place.map_or(Ok(Place::default()), |text| {
        let wrong = |()| {
            Problem::bad_request("`cursor` is none of a log's; take `next` of the page before")
        };
        text.parse().map_err(wrong)
    })?;
    let attempts = attempts(api, id).await?;
    let mut merge = Merge::new(api.clone(), attempts.found, place, over).at_most(READS_MAX);
    let mut out = LogPageDto {
        left_out: attempts.left_out,
        ..LogPageDto::default()
    };
    let mut drained = false;
    let mut scanned = 0;
    while out.items.len() < limit && scanned < SCAN_MAX {
        let Some((attempt, line)) = merge.next().await? else {
            drained = !merge.spent();
            break;
        };
        scanned += 1;
        if wanted.matches(&line) {
            out.items.push(line_of(&attempt, line));
        }
    }
    out.ended = merge.ended();
    out.more = !out.ended && !drained;
    if drained && merge.waits() {
        out.left_out.get_or_insert_with(|| {
            "later attempts follow once earlier ones have ended; read those of one task run, or the download".to_owned()
        });
    }
    out.next = cursor::write(&merge.place().to_string());
    Ok(out)
}

/// Lines as they are written: events `line` and `end`. `Last-Event-ID` goes on without a gap; `after` begins there.
#[utoipa::path(get, path = "/api/v1/executions/{id}/logs/stream", params(("id" = String, Path), LogQuery),
    tag = "executions",
    responses((status = 200, content_type = "text/event-stream", body = String), (status = 404, body = Problem)))]
pub(crate) async fn stream(
    State(api): State<Api>,
    Path(id): Path<String>,
    Query(query): Query<LogQuery>,
    headers: Headers,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let row = existing(&api, &id_of(&id)?).await?;
    let wanted = Wanted::of(&query)?;
    let last = headers.get("last-event-id").map(str::to_owned);
    let one = match &query.task_run {
        Some(run) => Some(attempt_of(&api, &row.meta.id, run, query.attempt).await?),
        None => None,
    };
    let from = query.after.map_or(0, |after| after.saturating_add(1));
    let lines = stream::logs(api, row.meta.id, one, from, wanted, last.as_deref());
    Ok(Sse::new(lines).keep_alive(KeepAlive::default()))
}

/// A log as text.
#[utoipa::path(get, path = "/api/v1/executions/{id}/logs/download", params(("id" = String, Path), LogQuery),
    tag = "executions",
    responses((status = 200, content_type = "text/plain", body = String), (status = 404, body = Problem)))]
pub(crate) async fn download(
    State(api): State<Api>,
    Path(id): Path<String>,
    Query(query): Query<LogQuery>,
) -> Result<Response, Problem> {
    let row = existing(&api, &id_of(&id)?).await?;
    let wanted = Wanted::of(&query)?;
    let attempts = match &query.task_run {
        Some(run) => Attempts {
            found: Arc::new(vec![
                attempt_of(&api, &row.meta.id, run, query.attempt).await?,
            ]),
            left_out: None,
        },
        None => attempts(&api, &row.meta.id).await?,
    };
    let name = format!("attachment; filename=\"{}.log\"", row.meta.id);
    let body = Body::from_stream(stream::text(api, attempts, wanted));
    let mut response = body.into_response();
    let headers = response.headers_mut();
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    headers.insert(header::CONTENT_TYPE, kind);
    if let Ok(value) = HeaderValue::from_str(&name) {
        headers.insert(header::CONTENT_DISPOSITION, value);
    }
    Ok(response)
}
