//! The agent against a metadata endpoint, a bucket and a queue of its own.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::sync::Mutex as StdMutex;

use operon_core::agent::{AgentResult, StageNote};
use operon_core::exec::{Outcome, Reason};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::log::testing;
use crate::store::testing::{MemoryQueue, MemoryStore};

/// A task metadata endpoint: answers with one document after the other, and then with the last.
struct Endpoint {
    uri: String,
    tasks: Arc<StdMutex<Vec<Value>>>,
}

impl Endpoint {
    async fn with(tasks: Vec<Value>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("http://{}/v4/abc", listener.local_addr().unwrap());
        let tasks = Arc::new(StdMutex::new(tasks));
        let answers = tasks.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = vec![0; 4096];
                let got = stream.read(&mut request).await.unwrap();
                let is_stats = request[..got].starts_with(b"GET /v4/abc/task/stats ");
                let body = if is_stats {
                    let sample = json!({
                        "cpu_stats": {"cpu_usage": {"total_usage": 1_500_000_000_u64}},
                        "memory_stats": {"usage": 5 << 20, "stats": {"inactive_file": 1 << 20}},
                    });
                    json!({"m": sample, "a": null})
                } else {
                    let mut answers = answers.lock().unwrap();
                    if answers.len() > 1 {
                        answers.remove(0)
                    } else {
                        answers[0].clone()
                    }
                };
                let body = body.to_string();
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
                let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
            }
        });
        Self { uri, tasks }
    }
}

fn running() -> Value {
    let now = now_ms() / 1_000;
    // A start long ago would be a timeout.
    let started = format!("1970-01-01T00:00:{:02}Z", now % 60);
    task(
        "RUNNING",
        &json!({"KnownStatus": "RUNNING", "StartedAt": started}),
    )
}

fn stopped(code: Option<i32>) -> Value {
    task(
        "RUNNING",
        &json!({"KnownStatus": "STOPPED", "ExitCode": code, "StartedAt": "2026-11-23T09:30:00Z",
            "FinishedAt": "2026-11-23T09:31:00Z"}),
    )
}

fn task(desired: &str, main: &Value) -> Value {
    let mut main = main.clone();
    main["Name"] = json!("main");
    main["DockerId"] = json!("m");
    json!({
        "TaskARN": "arn:task",
        "DesiredStatus": desired,
        "Containers": [
            {"Name": "stage", "KnownStatus": "STOPPED", "ExitCode": 0},
            main,
            {"Name": "agent", "KnownStatus": "RUNNING"},
        ],
    })
}

struct World {
    watch: Watch,
    stop: Notify,
    store: Arc<MemoryStore>,
    queue: Arc<MemoryQueue>,
    written: testing::Written,
    root: tempfile::TempDir,
    endpoint: Endpoint,
}

async fn world(tasks: Vec<Value>, queue: MemoryQueue) -> World {
    let endpoint = Endpoint::with(tasks).await;
    let root = tempfile::tempdir().unwrap();
    let volume = Volume::new(root.path());
    volume.create().unwrap();
    let (store, queue) = (Arc::new(MemoryStore::default()), Arc::new(queue));
    let (log, written) = testing::log(1 << 20);
    let mut spec = testing::spec();
    spec.timeout_ms = u64::MAX;
    spec.output_files = vec!["*.tsv".to_owned()];
    spec.memory_mib = 512;
    spec.reports.started_after_ms = 1;
    spec.reports.heartbeat_ms = 0;
    World {
        watch: Watch {
            spec,
            volume,
            metadata: Metadata::new(&endpoint.uri),
            log: Arc::new(Mutex::new(log)),
            store: store.clone(),
            queue: queue.clone(),
            peak: Peak::default(),
            patience: Duration::ZERO,
        },
        stop: Notify::new(),
        store,
        queue,
        written,
        root,
        endpoint,
    }
}

impl World {
    async fn run(&mut self) -> i32 {
        let seen = self.watch.until_over(&self.stop).await;
        self.watch.finish(seen, None).await
    }

    fn done(&self) -> AgentResult {
        let mut messages = self.queue.messages();
        match messages.pop().expect("a message").said {
            AgentSaid::Done(result) => *result,
            other @ (AgentSaid::Started { .. }
            | AgentSaid::Alive { .. }
            | AgentSaid::Warned { .. }) => panic!("{other:?}"),
        }
    }

    fn manifest(&self) -> AgentResult {
        let key = "artifacts/e-1/0.3.1/.operon/manifest.json";
        serde_json::from_slice(&self.store.get(key).expect("a manifest")).unwrap()
    }
}

#[tokio::test]
async fn a_success_stores_its_files_and_says_so() {
    let mut world = world(vec![running(), stopped(Some(0))], MemoryQueue::default()).await;
    assert!(world.root.path().is_dir());
    let work = world.watch.volume.work();
    fs::write(work.join("a.tsv"), "x\ty\n").unwrap();
    fs::write(
        world.watch.volume.outputs_file(),
        "n=3\nhook=hunter2-swordfish\n",
    )
    .unwrap();
    assert_eq!(world.run().await, 0);
    let done = world.done();
    assert_eq!((done.outcome, done.exit_code), (Outcome::Success, Some(0)));
    assert_eq!(
        Value::Object(done.outputs.clone()),
        json!({
            "exitCode": 0,
            "vars": {"n": "3", "hook": "******"},
            "outputFiles": {"a.tsv": "operon:///e-1/0.3.1/a.tsv"},
        })
    );
    assert_eq!(done.ended_ms - done.started_ms, 60_000);
    assert_eq!(
        (done.usage.peak_rss_bytes, done.usage.cpu_seconds),
        (4 << 20, 1.5)
    );
    assert_eq!(
        world.store.get("artifacts/e-1/0.3.1/a.tsv").unwrap(),
        "x\ty\n"
    );
    let manifest = world.manifest();
    assert_eq!(manifest.output_files.len(), 1);
    assert_eq!(manifest.output_files[0].bytes, 4);
    assert_eq!(manifest.output_files[0].sha256.len(), 64);
    assert_eq!(done.output_files, []);
    // It ran long enough to be told.
    assert!(matches!(
        world.queue.messages()[0].said,
        AgentSaid::Started { .. }
    ));
}

#[tokio::test]
async fn how_main_ended_becomes_a_reason() {
    let asked = |code: i32| {
        task(
            "STOPPED",
            &json!({"KnownStatus": "STOPPED", "ExitCode": code, "StartedAt": "2026-11-23T09:30:00Z"}),
        )
    };
    let unstarted = task("RUNNING", &json!({"KnownStatus": "STOPPED"}));
    for (last, reason, words) in [
        (stopped(Some(3)), Reason::ExitCode, "exit code 3"),
        (stopped(Some(137)), Reason::OutOfMemory, "512 MiB"),
        (stopped(None), Reason::Lost, "no exit code"),
        (asked(143), Reason::Interrupted, "stopped before"),
        (asked(137), Reason::Interrupted, "stopped before"),
        // Even if it says that all is well: it may have done half.
        (asked(0), Reason::Interrupted, "stopped before"),
        (unstarted, Reason::Launch, "did not start"),
    ] {
        let mut world = world(vec![last.clone()], MemoryQueue::default()).await;
        assert_eq!(world.run().await, 0);
        let done = world.done();
        assert_eq!(done.outcome, Outcome::Failed(reason), "{last}");
        let message = done.message.unwrap();
        assert!(message.contains(words), "{message}");
        assert_eq!(world.manifest().outcome, done.outcome);
    }
}

#[tokio::test]
async fn a_failed_stage_is_told_with_its_reason() {
    let mut failed = task("RUNNING", &json!({"KnownStatus": "PENDING"}));
    failed["Containers"][0]["ExitCode"] = json!(78);
    let mut world = world(vec![failed], MemoryQueue::default()).await;
    let note = StageNote {
        reason: Reason::InvalidInput,
        message: "there is no object s3://a/b".to_owned(),
    };
    world.watch.volume.leave_note(&note).unwrap();
    assert_eq!(world.run().await, 0);
    let done = world.done();
    assert_eq!(done.outcome, Outcome::Failed(Reason::InvalidInput));
    assert_eq!(done.message, Some(note.message));
    assert_eq!(done.exit_code, None);
}

#[tokio::test]
async fn a_missing_output_file_fails_the_attempt() {
    let mut world = world(vec![stopped(Some(0))], MemoryQueue::default()).await;
    world.watch.spec.output_files = vec!["gone.txt".to_owned()];
    assert_eq!(world.run().await, 0);
    assert_eq!(world.done().outcome, Outcome::Failed(Reason::Output));
    assert!(world.done().message.unwrap().contains("gone.txt"));
}

#[tokio::test]
async fn large_outputs_become_an_artifact() {
    let mut world = world(vec![stopped(Some(0))], MemoryQueue::default()).await;
    fs::write(
        world.watch.volume.outputs_file(),
        format!("a={}", "x".repeat(5_000)),
    )
    .unwrap();
    assert_eq!(world.run().await, 0);
    let done = world.done();
    assert!(done.outputs.is_empty());
    assert_eq!(
        done.outputs_uri.unwrap(),
        "operon:///e-1/0.3.1/.operon/outputs.json"
    );
    let stored = world
        .store
        .get("artifacts/e-1/0.3.1/.operon/outputs.json")
        .unwrap();
    let stored: Value = serde_json::from_slice(&stored).unwrap();
    assert_eq!(stored["vars"]["a"].as_str().unwrap().len(), 5_000);
}

#[tokio::test]
async fn the_last_words_of_a_failure_are_its_message_without_secrets() {
    let mut world = world(vec![stopped(Some(1))], MemoryQueue::default()).await;
    locked(&world.watch.log).line(true, 1, b"login hunter2-swordfish refused", 0);
    assert_eq!(world.run().await, 0);
    assert_eq!(
        world.done().message.unwrap(),
        "the container ended with exit code 1: login ****** refused"
    );
    assert!(!world.written.texts().concat().contains("hunter2"));
}

#[tokio::test]
async fn after_the_timeout_nothing_is_sent_and_the_task_ends() {
    let mut world = world(vec![running()], MemoryQueue::default()).await;
    world.watch.spec.timeout_ms = 1_000;
    world.watch.spec.reports.started_after_ms = 0;
    assert_eq!(world.run().await, EXIT_TIMED_OUT);
    assert_eq!(world.queue.messages(), []);
    assert_eq!(world.manifest().outcome, Outcome::Failed(Reason::Timeout));
}

#[tokio::test]
async fn told_to_stop_it_waits_for_main_and_then_leaves() {
    let mut world = world(vec![running()], MemoryQueue::default()).await;
    world.watch.spec.reports.started_after_ms = 0;
    let tasks = world.endpoint.tasks.clone();
    world.stop.notify_one();
    let mut ended = task(
        "STOPPED",
        &json!({"KnownStatus": "STOPPED", "ExitCode": 143}),
    );
    ended["Containers"][1]["StartedAt"] = json!("2026-11-23T09:30:00Z");
    tasks.lock().unwrap().push(ended);
    assert_eq!(world.run().await, 0);
    assert_eq!(world.done().outcome, Outcome::Failed(Reason::Interrupted));
}

#[tokio::test]
async fn what_had_succeeded_before_it_was_told_to_stop_has_succeeded() {
    let world = world(vec![stopped(Some(0))], MemoryQueue::default()).await;
    // It ended at 09:31:00.
    let ended_ms = 1_795_426_260_000;
    for (code, after_ms, expected) in [
        (0, 500, Outcome::Success),
        (0, -500, Outcome::Failed(Reason::Interrupted)),
        (143, 500, Outcome::Failed(Reason::Interrupted)),
    ] {
        let task: Task = serde_json::from_value(stopped(Some(code))).unwrap();
        assert_eq!(task.main().unwrap().finished_ms(), Some(ended_ms));
        let told = Told {
            at: Instant::now(),
            ms: ended_ms.saturating_add_signed(after_ms),
        };
        let ending = world.watch.ending(&task, Some(&told));
        assert_eq!(ending.outcome, expected, "{code} {after_ms}");
    }
}

#[tokio::test]
async fn a_result_that_cannot_be_sent_is_in_the_manifest() {
    let world = world(vec![stopped(Some(0))], MemoryQueue::failing(usize::MAX)).await;
    let task: Task = serde_json::from_value(stopped(Some(0))).unwrap();
    let ending = world.watch.ending(&task, None);
    assert_eq!(world.watch.tell(&task, ending).await, EXIT_CANNOT_REPORT);
    assert_eq!(world.manifest().outcome, Outcome::Success);
    assert!(
        world
            .written
            .texts()
            .concat()
            .contains("the result is not sent")
    );
}
