#![allow(clippy::unwrap_used, reason = "tests")]

use operon_core::agent::{AgentResult, MANIFEST};
use operon_core::exec::Outcome;
use operon_core::plan::ShardId;
use operon_engine::launch::output_prefix;
use operon_engine::ports::{
    ArtifactStore as _, ArtifactUri, AttemptRow, LogLevel, StateStore as _, TaskRunKey, Usage,
    Write,
};
use operon_engine::reports;
use operon_testkit::cloud::{Faults, MemoryEcs};
use operon_testkit::memory::{MemoryLogs, MemoryPorts};

use super::*;

/// Streams in memory with pages of four events, where a token is a position.
#[derive(Default)]
struct Pages {
    events: Mutex<Vec<String>>,
    asked: Mutex<Vec<Option<String>>>,
}

const WIDTH: usize = 4;

impl Pages {
    fn write(&self, numbers: impl IntoIterator<Item = u64>) {
        let lines = numbers.into_iter().map(|seq| {
            let line = LogLine {
                seq,
                time_ms: seq,
                level: LogLevel::Info,
                text: format!("line {seq}"),
            };
            serde_json::to_string(&line).unwrap()
        });
        self.events.lock().unwrap().extend(lines);
    }
}

#[async_trait]
impl Streams for Pages {
    async fn page(
        &self,
        place: &LogPlace,
        token: Option<&str>,
        from_head: bool,
    ) -> Result<StreamPage, StoreError> {
        assert_eq!(place.stream, "operon/agent/1");
        self.asked.lock().unwrap().push(token.map(str::to_owned));
        let events = self.events.lock().unwrap();
        let (first, last) = if from_head {
            let first = token.map_or(0, |token| token[1..].parse().unwrap());
            (first, events.len().min(first + WIDTH))
        } else {
            let last = token.map_or(events.len(), |token| token[1..].parse().unwrap());
            (last.saturating_sub(WIDTH), last)
        };
        Ok(StreamPage {
            events: events[first..last].to_vec(),
            forward: Some(format!("f{last}")),
            backward: Some(format!("b{first}")),
        })
    }
}

fn attempt() -> AttemptId {
    AttemptId {
        execution: "e1".parse().unwrap(),
        task_run: TaskRunKey {
            shard: ShardId::ROOT,
            slot: 1,
        },
        attempt: 1,
    }
}

struct World {
    memory: MemoryPorts,
    pages: Arc<Pages>,
    logs: TaskLogs,
}

impl World {
    async fn new(lines: u64) -> Self {
        let memory = MemoryPorts::default();
        let pages = Arc::<Pages>::default();
        pages.write(0..lines);
        let ecs = MemoryEcs::new(Arc::clone(&memory.clock), Arc::<Faults>::default());
        let logs = TaskLogs::new(
            Arc::<MemoryLogs>::default(),
            memory.ports(),
            Arc::new(ecs),
            Arc::clone(&pages) as Arc<_>,
            "/operon/test/tasks",
        );
        let world = Self {
            memory,
            pages,
            logs,
        };
        world.manifest().await;
        world
    }

    async fn manifest(&self) {
        let id = attempt();
        let result = AgentResult {
            format: operon_core::agent::FORMAT,
            attempt: reports::name_of(&id),
            outcome: Outcome::Success,
            exit_code: Some(0),
            message: None,
            outputs: serde_json::Map::new(),
            outputs_uri: None,
            cache: None,
            output_files: Vec::new(),
            metrics: Vec::new(),
            usage: Usage::default(),
            started_ms: 0,
            ended_ms: 0,
            task_arn: None,
            log: Some(LogPlace {
                group: "/operon/test/tasks".to_owned(),
                stream: "operon/agent/1".to_owned(),
            }),
        };
        let key = format!("{}{MANIFEST}", output_prefix(&id));
        let uri = ArtifactUri::new(&key).unwrap();
        let bytes = serde_json::to_vec(&result).unwrap();
        let stored = self.memory.artifacts.put(&uri, bytes.into()).await;
        stored.unwrap();
    }

    async fn end(&self) {
        let now = self.memory.ports().clock.now_ms();
        let id = attempt();
        let row = AttemptRow {
            execution: id.execution,
            task_run: id.task_run,
            attempt: 1,
            task: "t".to_owned(),
            name: "t".to_owned(),
            item: None,
            parent: None,
            state: "SUCCESS".to_owned(),
            reason: None,
            message: None,
            exit_code: Some(0),
            created_ms: now,
            started_ms: Some(now),
            ended_ms: Some(now),
            outputs: serde_json::Map::new(),
            outputs_uri: None,
            metrics: Vec::new(),
            usage: Usage::default(),
        };
        let write = Write {
            attempts: vec![row],
            ..Write::default()
        };
        self.memory.store.write(write).await.unwrap();
    }

    async fn read(&self, from: u64, limit: usize) -> (Vec<u64>, bool) {
        let found = self.logs.read(&attempt(), from, limit).await.unwrap();
        (numbers(&found), found.ended)
    }

    async fn tail(&self, before: Option<u64>, count: usize) -> Vec<u64> {
        let found = self.logs.tail(&attempt(), before, count).await.unwrap();
        numbers(&found)
    }
}

fn numbers(found: &LogLines) -> Vec<u64> {
    found.lines.iter().map(|line| line.seq).collect()
}

#[tokio::test]
async fn a_log_is_read_by_numbers_each_line_once() {
    let world = World::new(10).await;
    assert_eq!(world.read(0, 3).await, (vec![0, 1, 2], false));
    assert_eq!(world.read(3, 100).await, ((3..10).collect(), false));
    // What the service repeats, and what no agent wrote, is left out.
    world.pages.write([8, 9, 10]);
    world
        .pages
        .events
        .lock()
        .unwrap()
        .push("panicked".to_owned());
    world.pages.write([11]);
    assert_eq!(world.read(10, 100).await, (vec![10, 11], false));
    assert_eq!(world.read(12, 100).await, (Vec::new(), false));
}

#[tokio::test]
async fn a_reader_that_follows_does_not_begin_anew() {
    let world = World::new(40).await;
    world.read(0, 100).await;
    world.pages.asked.lock().unwrap().clear();
    world.pages.write([40]);
    assert_eq!(world.read(40, 100).await.0, [40]);
    let asked = world.pages.asked.lock().unwrap().clone();
    assert_eq!(asked.first(), Some(&Some("f40".to_owned())));
    assert!(asked.len() <= 2, "{asked:?}");
}

#[tokio::test]
async fn the_end_is_told_when_nothing_can_follow() {
    let world = World::new(3).await;
    world.end().await;
    assert_eq!(world.read(0, 100).await, (vec![0, 1, 2], false));
    // A line that came late.
    world.pages.write([3]);
    world.memory.clock.advance(GRACE_MS);
    assert_eq!(world.read(3, 0).await, (Vec::new(), false), "one is left");
    assert_eq!(world.read(3, 100).await, (vec![3], true));
}

#[tokio::test]
async fn the_last_lines_and_those_before_a_number() {
    let world = World::new(11).await;
    assert_eq!(world.tail(None, 5).await, [6, 7, 8, 9, 10]);
    assert_eq!(world.tail(Some(6), 4).await, [2, 3, 4, 5]);
    assert_eq!(world.tail(Some(2), 4).await, [0, 1]);
    assert_eq!(world.tail(Some(100), 2).await, [9, 10]);
    assert_eq!(world.tail(None, 50).await.len(), 11);
}

#[tokio::test]
async fn an_attempt_that_nobody_knows_has_an_empty_log() {
    let world = World::new(0).await;
    let other = AttemptId {
        attempt: 2,
        ..attempt()
    };
    let found = world.logs.read(&other, 0, 10).await.unwrap();
    assert_eq!(found, LogLines::default());
}
