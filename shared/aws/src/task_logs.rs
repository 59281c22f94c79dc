//! Logs of tasks that ran on Fargate, read from `CloudWatch` Logs, and those of built-in tasks from the state table: one
//! [`LogReader`] for the console, the command line and alerts.
//!
//! The agent writes one JSON document per line, numbered without gaps (docs/decisions/0023). `CloudWatch` knows tokens and
//! times, not these numbers, so the reader remembers at which token which number begins and goes on from the nearest.
//! Invariant: lines come in the order of their numbers, each once, however often the service repeats an event.
//! Invariant: a log has ended only when its attempt has, the service has nothing more, and what may still be on its way
//! had its time.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use operon_core::agent::{AgentSaid, LogPlace};
use operon_engine::Ports;
use operon_engine::ports::{
    AttemptId, Ecs, LOG_PAGE_MAX, LogLine, LogLines, LogReader, StoreError,
};
use operon_engine::settle;
use operon_engine::step::StepError;
use operon_engine::wire::PlanMessage;
use serde_json::{Value, json};

use crate::signed::{Service, SignedError};

/// Milliseconds after an attempt's end within which its lines may still come: `awslogs` sends what it holds when a
/// container stops, and the service shows it some seconds later.
const GRACE_MS: u64 = 15_000;
/// Events of one page (the service's limit is 10,000, or 1 MB).
const PAGE: usize = 10_000;
/// Pages read for one answer at most: 50 MB.
const PAGES_MAX: usize = 50;
/// Attempts whose places are remembered.
const KEPT_MAX: usize = 1_000;
/// Tokens remembered for one attempt.
const TOKENS_MAX: usize = 1_000;
/// Stream of a task: the prefix of its definition, the container, the task's id.
const STREAM: &str = "operon/agent/";

/// A page of a log stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StreamPage {
    /// Texts of its events, the oldest first.
    pub events: Vec<String>,
    /// Where to go on; the same token again when there is nothing more.
    pub forward: Option<String>,
    /// Where to go back.
    pub backward: Option<String>,
}

/// Log streams.
#[async_trait]
pub trait Streams: Send + Sync {
    /// A page: from a token, or without one from the beginning or the end. Of a stream that is not there an empty one.
    async fn page(
        &self,
        place: &LogPlace,
        token: Option<&str>,
        from_head: bool,
    ) -> Result<StreamPage, StoreError>;
}

/// `CloudWatch` Logs.
#[derive(Debug, Clone)]
pub struct CloudWatchStreams(pub Service);

#[async_trait]
impl Streams for CloudWatchStreams {
    async fn page(
        &self,
        place: &LogPlace,
        token: Option<&str>,
        from_head: bool,
    ) -> Result<StreamPage, StoreError> {
        let mut body = json!({
            "logGroupName": place.group, "logStreamName": place.stream,
            "startFromHead": from_head, "limit": PAGE,
        });
        if let Some((token, body)) = token.zip(body.as_object_mut()) {
            body.insert("nextToken".to_owned(), json!(token));
        }
        let answer = self.0.ask("Logs_20140328.GetLogEvents", "1.1", &body).await;
        let answer = match answer {
            Ok(answer) => answer,
            // The task has not started, or its log is older than logs are kept.
            Err(error) if error.is("ResourceNotFoundException") => {
                return Ok(StreamPage::default());
            }
            Err(error @ SignedError::Silent { .. }) => {
                return Err(StoreError::Busy(error.to_string()));
            }
            Err(error) => return Err(StoreError::Failed(error.to_string())),
        };
        let text = |name: &str| answer.get(name).and_then(Value::as_str).map(str::to_owned);
        let events = answer.get("events").and_then(Value::as_array);
        let events = events.into_iter().flatten();
        Ok(StreamPage {
            events: events
                .filter_map(|event| event.get("message")?.as_str().map(str::to_owned))
                .collect(),
            forward: text("nextForwardToken"),
            backward: text("nextBackwardToken"),
        })
    }
}

/// What is remembered of an attempt's log.
#[derive(Debug, Clone)]
struct Known {
    place: LogPlace,
    /// The first number that may be on the page behind a token.
    tokens: BTreeMap<u64, String>,
}

/// Logs of attempts, wherever they ran.
pub struct TaskLogs {
    /// Of built-in tasks.
    built_in: Arc<dyn LogReader>,
    ports: Ports,
    ecs: Arc<dyn Ecs>,
    streams: Arc<dyn Streams>,
    group: String,
    known: Mutex<(HashMap<AttemptId, Known>, VecDeque<AttemptId>)>,
}

impl std::fmt::Debug for TaskLogs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TaskLogs").finish_non_exhaustive()
    }
}

fn failed(error: StepError) -> StoreError {
    match error {
        StepError::Store(error) => error,
        error @ (StepError::Queue(_)
        | StepError::Turn(_)
        | StepError::Wire(_)
        | StepError::Ecs(_)
        | StepError::Throttled
        | StepError::Other(_)) => StoreError::Failed(error.to_string()),
    }
}

/// The lines among events; what the agent did not write as a line has no number and is left out.
fn lines(page: &StreamPage) -> impl DoubleEndedIterator<Item = LogLine> {
    let events = page.events.iter();
    events.filter_map(|text| serde_json::from_str::<LogLine>(text).ok())
}

impl TaskLogs {
    /// Logs of a deployment; `group` is that of its tasks.
    #[must_use]
    pub fn new(
        built_in: Arc<dyn LogReader>,
        ports: Ports,
        ecs: Arc<dyn Ecs>,
        streams: Arc<dyn Streams>,
        group: &str,
    ) -> Self {
        Self {
            built_in,
            ports,
            ecs,
            streams,
            group: group.to_owned(),
            known: Mutex::default(),
        }
    }

    fn known(&self) -> MutexGuard<'_, (HashMap<AttemptId, Known>, VecDeque<AttemptId>)> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where an attempt logs; none while there is no task of it, and when nobody knows any more.
    async fn place(&self, id: &AttemptId) -> Result<Option<LogPlace>, StoreError> {
        if let Some(known) = self.known().0.get(id) {
            return Ok(Some(known.place.clone()));
        }
        let found = match self.of_manifest(id).await? {
            Some(place) => Some(place),
            None => self.of_ecs(id).await?,
        };
        if let Some(place) = &found {
            let mut known = self.known();
            if known.1.len() >= KEPT_MAX
                && let Some(oldest) = known.1.pop_front()
            {
                known.0.remove(&oldest);
            }
            known.1.push_back(id.clone());
            let fresh = Known {
                place: place.clone(),
                tokens: BTreeMap::new(),
            };
            known.0.insert(id.clone(), fresh);
        }
        Ok(found)
    }

    async fn of_manifest(&self, id: &AttemptId) -> Result<Option<LogPlace>, StoreError> {
        let message = settle::manifest(&*self.ports.artifacts, id).await;
        let Some(PlanMessage::Agent(message)) = message.map_err(failed)? else {
            return Ok(None);
        };
        match message.said {
            AgentSaid::Done(result) => Ok(result.log),
            AgentSaid::Started { .. } | AgentSaid::Alive { .. } | AgentSaid::Warned { .. } => {
                Ok(None)
            }
        }
    }

    /// ECS remembers a task for an hour after its end.
    async fn of_ecs(&self, id: &AttemptId) -> Result<Option<LogPlace>, StoreError> {
        let name = settle::started_by(id);
        for stopped in [false, true] {
            let listed = self.ecs.list(Some(&name), stopped, None).await;
            let (arns, _) = listed.map_err(|error| StoreError::Failed(error.to_string()))?;
            let task = arns.first().and_then(|arn| arn.rsplit('/').next());
            if let Some(task) = task {
                return Ok(Some(LogPlace {
                    group: self.group.clone(),
                    stream: format!("{STREAM}{task}"),
                }));
            }
        }
        Ok(None)
    }

    /// Whether nothing of the attempt's log is on its way any more.
    async fn is_quiet(&self, id: &AttemptId) -> Result<bool, StoreError> {
        let store = &self.ports.store;
        let rows = store.attempts(&id.execution, &id.task_run).await?;
        let row = rows.iter().find(|row| row.attempt == id.attempt);
        let now = self.ports.clock.now_ms();
        let ended = row.and_then(|row| row.ended_ms);
        Ok(ended.is_some_and(|ended| now.saturating_sub(ended) >= GRACE_MS))
    }

    /// The token from which to read so that no line from that number on is missed.
    fn token(&self, id: &AttemptId, from: u64) -> Option<String> {
        let known = self.known();
        let tokens = &known.0.get(id)?.tokens;
        let (_, token) = tokens.range(..=from).next_back()?;
        Some(token.clone())
    }

    fn remember(&self, id: &AttemptId, number: u64, token: &str) {
        if let Some(known) = self.known().0.get_mut(id)
            && known.tokens.len() < TOKENS_MAX
        {
            known.tokens.insert(number, token.to_owned());
        }
    }

    /// Lines from a number on, and whether the stream has no more now.
    async fn forward(
        &self,
        id: &AttemptId,
        place: &LogPlace,
        from: u64,
        limit: usize,
    ) -> Result<(Vec<LogLine>, bool), StoreError> {
        let mut found: Vec<LogLine> = Vec::new();
        let mut token = self.token(id, from);
        for _ in 0..PAGES_MAX {
            let page = self.streams.page(place, token.as_deref(), true).await?;
            let mut last = None;
            for line in lines(&page) {
                last = Some(line.seq);
                let next = found.last().map_or(from, |last| last.seq + 1);
                if line.seq < next {
                    continue;
                }
                if found.len() >= limit {
                    return Ok((found, false));
                }
                found.push(line);
            }
            let Some(forward) = page.forward else {
                return Ok((found, true));
            };
            if token.as_ref() == Some(&forward) {
                return Ok((found, true));
            }
            if let Some(last) = last {
                self.remember(id, last + 1, &forward);
            }
            token = Some(forward);
        }
        Ok((found, false))
    }

    /// The last lines of a stream.
    async fn backward(&self, place: &LogPlace, count: usize) -> Result<Vec<LogLine>, StoreError> {
        let mut found: VecDeque<LogLine> = VecDeque::new();
        let mut token: Option<String> = None;
        for _ in 0..PAGES_MAX {
            let page = self.streams.page(place, token.as_deref(), false).await?;
            for line in lines(&page).rev() {
                if found.front().is_some_and(|first| line.seq >= first.seq) {
                    continue;
                }
                if found.len() >= count {
                    return Ok(found.into());
                }
                found.push_front(line);
            }
            match page.backward {
                Some(backward) if token.as_ref() != Some(&backward) => token = Some(backward),
                Some(_) | None => break,
            }
        }
        Ok(found.into())
    }
}

#[async_trait]
impl LogReader for TaskLogs {
    async fn read(
        &self,
        attempt: &AttemptId,
        from: u64,
        limit: usize,
    ) -> Result<LogLines, StoreError> {
        let stored = self.built_in.read(attempt, from, limit).await?;
        if stored.ended || !stored.lines.is_empty() {
            return Ok(stored);
        }
        // Asked first: what comes between this and the reading is read.
        let quiet = self.is_quiet(attempt).await?;
        let Some(place) = self.place(attempt).await? else {
            return Ok(LogLines {
                lines: Vec::new(),
                ended: quiet,
            });
        };
        let limit = limit.min(LOG_PAGE_MAX);
        let (lines, all) = self.forward(attempt, &place, from, limit).await?;
        Ok(LogLines {
            lines,
            ended: quiet && all,
        })
    }

    async fn tail(
        &self,
        attempt: &AttemptId,
        before: Option<u64>,
        count: usize,
    ) -> Result<LogLines, StoreError> {
        let stored = self.built_in.tail(attempt, before, count).await?;
        if stored.ended || !stored.lines.is_empty() {
            return Ok(stored);
        }
        let quiet = self.is_quiet(attempt).await?;
        let Some(place) = self.place(attempt).await? else {
            return Ok(LogLines {
                lines: Vec::new(),
                ended: quiet && before.is_none(),
            });
        };
        let count = count.min(LOG_PAGE_MAX);
        let end = self.backward(&place, count).await?;
        let beyond = end.last().map_or(0, |last| last.seq + 1);
        let Some(before) = before.filter(|before| *before < beyond) else {
            return Ok(LogLines {
                lines: end,
                ended: quiet && before.is_none(),
            });
        };
        // Numbers have no gaps, so the first of them is known.
        let wide = u64::try_from(count).unwrap_or(u64::MAX);
        let first = before.saturating_sub(wide);
        let (mut lines, _) = self.forward(attempt, &place, first, count).await?;
        lines.retain(|line| line.seq < before);
        Ok(LogLines {
            lines,
            ended: false,
        })
    }
}

#[cfg(test)]
#[path = "task_logs_tests.rs"]
mod tests;
