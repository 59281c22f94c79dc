//! What goes on for longer than an answer: events of an execution, lines of logs.
//!
//! A stream asks the store again and again, because nothing tells an HTTP server of another process what happened.
//! It reads shards, which are small, and of task runs only those whose slot changed. Invariant: an event's id says
//! all that is needed to go on after it, so a reader that comes back loses nothing. Invariant: a stream ends
//! after [`Settings::stream_life`](crate::Settings), and the reader comes back: who may no longer read does not.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::response::sse::Event;
use futures_util::{Stream, StreamExt as _, stream};
use operon_core::exec::{RootPhase, Shard, Slot, State};
use operon_core::plan::{Layout, ShardId};
use operon_engine::plans::LoadedPlan;
use operon_engine::ports::{ExecutionId, ExecutionRow, TaskRunKey};
use serde::Serialize;

use crate::dto::{ExecutionSummary, TaskRun};
use crate::merged::{Began, Merge, Place};
use crate::problem::Problem;
use crate::routes::{Attempts, READS_MAX, Wanted, attempts, line_of, task_run};
use crate::state::Api;

/// Between two looks at a small execution.
const PAUSE: Duration = Duration::from_millis(400);
/// Between two looks at one with many shards.
const PAUSE_LARGE: Duration = Duration::from_secs(2);
/// Shards from which on an execution is large, and an id does not hold all their versions any more.
const SHARDS_LARGE: usize = 64;
/// Task runs told at once; when more changed, the reader is told to read the lists again.
const TOLD_MAX: usize = 500;
/// Lines of a log sent in one go.
const LINES: usize = 1000;
/// Bytes of a download sent in one go, about.
const TEXT_BYTES: usize = 64 * 1024;
/// Between two looks at a log.
const LOG_PAUSE: Duration = Duration::from_millis(250);

fn event(name: &str, id: &str, data: &impl Serialize) -> Option<Event> {
    Event::default().event(name).id(id).json_data(data).ok()
}

/// `0=5,0.12/0=9`: versions of shards.
fn read_versions(id: Option<&str>) -> BTreeMap<ShardId, u64> {
    let pairs = id.unwrap_or_default().split(',').take(2 * SHARDS_LARGE);
    pairs
        .filter_map(|pair| {
            let (shard, version) = pair.split_once('=')?;
            Some((shard.parse().ok()?, version.parse().ok()?))
        })
        .collect()
}

fn versions(of: &BTreeMap<ShardId, u64>) -> String {
    let pairs = of.iter().take(SHARDS_LARGE);
    let pairs: Vec<String> = pairs
        .map(|(id, version)| format!("{id}={version}"))
        .collect();
    pairs.join(",")
}

struct Watch {
    api: Api,
    id: ExecutionId,
    plan: Arc<LoadedPlan>,
    row: Option<ExecutionRow>,
    known: BTreeMap<ShardId, u64>,
    shards: HashMap<ShardId, (u64, Shard)>,
    /// Task runs whose slot changed at the last look: their rows may have been written after it.
    again: Vec<TaskRunKey>,
    /// Versions that were seen at the last look.
    seen: String,
    /// Versions whose changes a reader has who has any event of this look: they were told two looks ago, and what was
    /// written late one look ago.
    settled: String,
    told: HashMap<TaskRunKey, TaskRun>,
    queue: VecDeque<Event>,
    begun: Instant,
    first: bool,
    over: bool,
}

/// What changes in an execution.
pub(crate) fn execution(
    api: Api,
    id: ExecutionId,
    plan: Arc<LoadedPlan>,
    last: Option<&str>,
) -> impl Stream<Item = Result<Event, Infallible>> + Send + use<> {
    let known = read_versions(last);
    let settled = versions(&known);
    let watch = Watch {
        api,
        id,
        plan,
        row: None,
        known,
        shards: HashMap::new(),
        again: Vec::new(),
        seen: settled.clone(),
        settled,
        told: HashMap::new(),
        queue: VecDeque::new(),
        begun: Instant::now(),
        first: true,
        over: false,
    };
    stream::unfold(watch, async |mut watch| {
        loop {
            if let Some(event) = watch.queue.pop_front() {
                return Some((Ok(event), watch));
            }
            if watch.over || watch.begun.elapsed() > watch.api.stream_life() {
                return None;
            }
            if watch.first {
                watch.first = false;
            } else {
                let large = watch.shards.len() > SHARDS_LARGE;
                tokio::time::sleep(if large { PAUSE_LARGE } else { PAUSE }).await;
            }
            if watch.look().await.is_err() {
                // The reader comes back when the store answers.
                return None;
            }
        }
    })
}

impl Watch {
    /// Versions of all shards, as long as they are few.
    fn place(&self) -> String {
        let pairs = self.shards.iter();
        let pairs = pairs.map(|(id, (version, _))| (id.clone(), *version));
        versions(&pairs.collect())
    }

    async fn look(&mut self) -> Result<(), Problem> {
        let store = Arc::clone(&self.api.ports().store);
        // Shards first: a row that is over is told after all task runs that made it so.
        let shards = store.shards(&self.id).await?;
        let mut changed = std::mem::take(&mut self.again);
        let mut fresh = Vec::new();
        for (id, stored) in shards {
            let known = self.shards.get(&id).map(|(version, _)| *version);
            if known == Some(stored.version) {
                continue;
            }
            let shard = Shard::decode(&stored.bytes)
                .map_err(|error| Problem::internal(&error.to_string()))?;
            let skipped = known.is_none() && self.known.get(&id) == Some(&stored.version);
            if !skipped {
                let before = self.shards.get(&id).map(|(_, shard)| shard);
                fresh.extend(changes(&self.plan, &id, before, &shard));
            }
            self.shards.insert(id, (stored.version, shard));
        }
        self.again.clone_from(&fresh);
        changed.extend(fresh);
        changed.sort();
        changed.dedup();
        // A reader may lose the connection after any event of this look: the id does not say that it has the others.
        let now = self.place();
        let seen = std::mem::replace(&mut self.seen, now);
        let place = std::mem::replace(&mut self.settled, seen);
        if changed.len() > TOLD_MAX {
            self.queue.extend(event("refresh", &place, &changed.len()));
        } else {
            for run in changed {
                let rows = store.attempts(&self.id, &run).await?;
                let Some(shown) = task_run(&self.plan, &rows) else {
                    continue;
                };
                if self.told.get(&run) != Some(&shown) {
                    self.queue.extend(event("task-run", &place, &shown));
                    if self.told.len() < 10 * TOLD_MAX {
                        self.told.insert(run, shown);
                    }
                }
            }
        }
        self.row(store.execution(&self.id).await?, &place);
        Ok(())
    }

    fn row(&mut self, row: Option<ExecutionRow>, place: &str) {
        let Some(row) = row else {
            self.over = true;
            return;
        };
        let summary = ExecutionSummary::from(&row);
        if self.row.as_ref() != Some(&row) {
            self.queue.extend(event("execution", place, &summary));
        }
        let root = self.shards.get(&ShardId::ROOT);
        let done = root.is_none_or(|(_, root)| root.phase == RootPhase::Over);
        if row.ended_ms.is_some() && done && self.again.is_empty() {
            self.queue.extend(event("end", place, &summary));
            self.over = true;
        }
        self.row = Some(row);
    }
}

/// Task runs whose slot changed.
fn changes(
    plan: &LoadedPlan,
    id: &ShardId,
    before: Option<&Shard>,
    after: &Shard,
) -> Vec<TaskRunKey> {
    let Some(layout) = Layout::of(&plan.plan, id) else {
        return Vec::new();
    };
    let mut changed = Vec::new();
    for (slot, state) in (0_u16..).zip(&after.slots) {
        let was = before.and_then(|shard| shard.slots.get(usize::from(slot)));
        let fresh = was.copied().unwrap_or_else(Slot::default);
        let node = layout.node_of(slot);
        let node = node.and_then(|node| layout.nodes.get(usize::from(node)));
        let same = fresh == *state || (was.is_none() && state.state == State::Waiting);
        if !same && node.is_some_and(|node| !node.hidden) {
            changed.push(TaskRunKey {
                shard: id.clone(),
                slot,
            });
        }
    }
    changed
}

/// The attempts of an execution, as they were when they were last listed.
#[derive(Default)]
struct Listed {
    attempts: Attempts,
    /// When that was, how long it took, and whether the execution was over then.
    last: Option<(Instant, Duration, bool)>,
    /// What they lack has been said.
    told: bool,
}

impl Listed {
    /// Lists them again, unless that was just done: listing many must not become the main work of a server.
    async fn look(&mut self, api: &Api, id: &ExecutionId, over: bool) -> Result<(), Problem> {
        let known = self
            .last
            .is_some_and(|(at, took, was_over)| was_over || (!over && at.elapsed() < took * 5));
        if known {
            return Ok(());
        }
        let begun = Instant::now();
        self.attempts = attempts(api, id).await?;
        if self.told {
            self.attempts.left_out = None;
        }
        self.last = Some((Instant::now(), begun.elapsed(), over));
        Ok(())
    }
}

struct Tail {
    api: Api,
    id: ExecutionId,
    one: Option<Began>,
    all: Listed,
    /// The next line of the one attempt.
    from: u64,
    /// The next lines of all.
    place: Place,
    wanted: Wanted,
    queue: VecDeque<Event>,
    begun: Instant,
    quiet: bool,
    over: bool,
}

/// Lines of one attempt, or of all by time, as they are written.
pub(crate) fn logs(
    api: Api,
    id: ExecutionId,
    one: Option<Began>,
    from: u64,
    wanted: Wanted,
    last: Option<&str>,
) -> impl Stream<Item = Result<Event, Infallible>> + Send + use<> {
    // Of one attempt `0:120` is its line 120, and the one after it is wanted; of all the id is a place.
    let seq = last.and_then(|last| last.split_once(':')?.1.parse::<u64>().ok());
    let place = last.and_then(|last| last.parse().ok());
    let tail = Tail {
        api,
        id,
        one,
        all: Listed::default(),
        from: seq.map_or(from, |seq| seq.saturating_add(1)),
        place: place.unwrap_or_default(),
        wanted,
        queue: VecDeque::new(),
        begun: Instant::now(),
        quiet: false,
        over: false,
    };
    stream::unfold(tail, async |mut tail| {
        loop {
            if let Some(event) = tail.queue.pop_front() {
                return Some((Ok(event), tail));
            }
            if tail.over || tail.begun.elapsed() > tail.api.stream_life() {
                return None;
            }
            if tail.quiet {
                tokio::time::sleep(LOG_PAUSE).await;
            }
            if tail.look().await.is_err() {
                return None;
            }
        }
    })
}

impl Tail {
    async fn look(&mut self) -> Result<(), Problem> {
        let row = self.api.ports().store.execution(&self.id).await?;
        let over = row.is_none_or(|row| row.ended_ms.is_some());
        match self.one.clone() {
            Some(attempt) => self.look_at_one(&attempt, over).await,
            None => self.look_at_all(over).await,
        }
    }

    async fn look_at_one(&mut self, began: &Began, over: bool) -> Result<(), Problem> {
        let written = began.written_as(&*self.api.ports().store).await?;
        let page = self.api.logs().read(&written, self.from, LINES).await?;
        let read = page.lines.len();
        for line in page.lines {
            self.from = line.seq + 1;
            if self.wanted.matches(&line) {
                let id = format!("0:{}", line.seq);
                self.queue
                    .extend(event("line", &id, &line_of(&began.attempt, line)));
            }
        }
        self.quiet = read < LINES;
        // Without an end marker the log of what is over may still have lines that are not visible yet: it is
        // at its end when a look brings none.
        if self.quiet && (page.ended || (over && read == 0)) {
            self.end("1:0");
        }
        Ok(())
    }

    async fn look_at_all(&mut self, over: bool) -> Result<(), Problem> {
        self.all.look(&self.api, &self.id, over).await?;
        let place = std::mem::take(&mut self.place);
        if let Some(text) = self.all.attempts.left_out.take() {
            self.all.told = true;
            let id = place.to_string();
            self.queue.extend(event("left-out", &id, &text));
        }
        let found = Arc::clone(&self.all.attempts.found);
        let mut merge = Merge::new(self.api.clone(), found, place, over).at_most(READS_MAX);
        let mut read = 0;
        while read < LINES {
            let Some((attempt, line)) = merge.next().await? else {
                break;
            };
            read += 1;
            if self.wanted.matches(&line) {
                let id = merge.place().to_string();
                self.queue
                    .extend(event("line", &id, &line_of(&attempt, line)));
            }
        }
        self.quiet = read < LINES && !merge.spent();
        self.place = merge.place().clone();
        if merge.ended() {
            let id = self.place.to_string();
            self.end(&id);
        }
        Ok(())
    }

    fn end(&mut self, id: &str) {
        self.queue.extend(event("end", id, &self.id));
        self.over = true;
    }
}

struct Download {
    merge: Merge,
    wanted: Wanted,
    left_out: Option<String>,
    over: bool,
}

/// Logs as text, as far as they are written.
pub(crate) fn text(
    api: Api,
    attempts: Attempts,
    wanted: Wanted,
) -> impl Stream<Item = Result<Bytes, std::io::Error>> + Send + use<> {
    let download = Download {
        // What is still written is not waited for.
        merge: Merge::new(api, attempts.found, Place::default(), true),
        wanted,
        left_out: attempts.left_out,
        over: false,
    };
    stream::unfold(download, async |mut download| {
        let mut text = String::new();
        while !download.over && text.len() < TEXT_BYTES {
            match download.merge.next().await {
                Ok(None) => {
                    download.over = true;
                    if let Some(left_out) = download.left_out.take() {
                        text.push_str(&left_out);
                        text.push('\n');
                    }
                }
                Ok(Some((attempt, line))) if download.wanted.matches(&line) => {
                    let shown = line_of(&attempt, line);
                    let time = operon_engine::evaluate::rfc3339(shown.time_ms);
                    for part in [&time, " ", &shown.level, " ", &shown.text, "\n"] {
                        text.push_str(part);
                    }
                }
                Ok(Some(_)) => {}
                Err(problem) => {
                    download.over = true;
                    let error = std::io::Error::other(problem.detail);
                    return Some((Err(error), download));
                }
            }
        }
        (!text.is_empty()).then_some((Ok(Bytes::from(text)), download))
    })
    // Whoever compresses it asks once more after its end.
    .fuse()
}
