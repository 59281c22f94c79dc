//! Attempts in real containers. Needs a Docker engine, or podman's socket in `DOCKER_HOST`, and the image
//! named by `OPERON_TEST_IMAGE` (default `busybox`), which must have a shell. Not part of `make test`: it
//! fails, with instructions, where there is no engine.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use operon_core::exec::{Outcome, Reason, Truth};
use operon_core::lang::model::Resources;
use operon_core::plan::ShardId;
use operon_engine::ports::{
    ArtifactError, ArtifactStore, ArtifactUri, AttemptId, AttemptSpec, FileSource, InputFile,
    LogLine, LogSink, RunnerError, TaskRunKey, TaskRunner as _,
};
use operon_local::runner::{Claims as _, DockerRunner, MemoryClaims, RunnerConfig};
use serde_json::{Value, json};
use tempfile::TempDir;

#[derive(Default)]
struct Ports {
    lines: Mutex<Vec<LogLine>>,
    files: Mutex<BTreeMap<String, Vec<u8>>>,
}

impl LogSink for Ports {
    fn line(&self, _: &AttemptId, line: LogLine) {
        self.lines.lock().unwrap().push(line);
    }

    fn end(&self, _: &AttemptId) {}
}

#[async_trait]
impl ArtifactStore for Ports {
    async fn put(&self, uri: &ArtifactUri, bytes: Bytes) -> Result<(), ArtifactError> {
        let mut files = self.files.lock().unwrap();
        files.insert(uri.key().to_owned(), bytes.to_vec());
        Ok(())
    }
    async fn put_file(&self, uri: &ArtifactUri, file: &Path) -> Result<(), ArtifactError> {
        self.put(uri, std::fs::read(file).unwrap().into()).await
    }
    async fn get(&self, uri: &ArtifactUri, _: u64) -> Result<Bytes, ArtifactError> {
        let files = self.files.lock().unwrap();
        let found = files.get(uri.key()).cloned();
        found
            .map(Bytes::from)
            .ok_or(ArtifactError::Missing(uri.clone()))
    }
    async fn get_range(&self, uri: &ArtifactUri, _: Range<u64>) -> Result<Bytes, ArtifactError> {
        self.get(uri, 0).await
    }
    async fn size(&self, uri: &ArtifactUri) -> Result<u64, ArtifactError> {
        Ok(self.get(uri, 0).await?.len() as u64)
    }
    async fn local_path(&self, uri: &ArtifactUri, _: &Path) -> Result<PathBuf, ArtifactError> {
        Err(ArtifactError::Missing(uri.clone()))
    }
    async fn delete(&self, _: &ArtifactUri) -> Result<bool, ArtifactError> {
        Ok(false)
    }
}

struct Bench {
    runner: DockerRunner,
    claims: Arc<MemoryClaims>,
    ports: Arc<Ports>,
    directory: TempDir,
}

/// A runner whose engine answers.
async fn bench() -> Bench {
    let directory = tempfile::tempdir().unwrap();
    let (claims, ports): (Arc<MemoryClaims>, Arc<Ports>) = Default::default();
    let runner = runner(directory.path(), &claims, &ports);
    if let Err(error) = runner.check().await {
        panic!(
            "these tests need a container engine: {error}\nSee docs/testing-containers/README.md."
        );
    }
    Bench {
        runner,
        claims,
        ports,
        directory,
    }
}

fn runner(directory: &Path, claims: &Arc<MemoryClaims>, ports: &Arc<Ports>) -> DockerRunner {
    let mut config = RunnerConfig::new(directory);
    config.grace = Duration::from_secs(1);
    DockerRunner::new(config, claims.clone(), ports.clone(), ports.clone())
}

impl Bench {
    fn texts(&self) -> Vec<String> {
        let lines = self.ports.lines.lock().unwrap();
        lines.iter().map(|line| line.text.clone()).collect()
    }
}

fn spec(slot: u16, script: &str) -> AttemptSpec {
    AttemptSpec {
        id: AttemptId {
            execution: "containers".parse().unwrap(),
            task_run: TaskRunKey {
                shard: ShardId::of_part(0),
                slot,
            },
            attempt: 1,
        },
        name: "align".to_owned(),
        image: Some(std::env::var("OPERON_TEST_IMAGE").unwrap_or_else(|_| "busybox".to_owned())),
        interpreter: None,
        entrypoint: None,
        command: ["sh", "-c", script].map(str::to_owned).to_vec(),
        env: BTreeMap::from([("GREETING".to_owned(), "hello".to_owned())]),
        input_files: Vec::new(),
        output_files: Vec::new(),
        output_prefix: format!("containers/{slot}"),
        shared_directory: None,
        only_files: false,
        timeout: Duration::from_mins(1),
        idempotent: true,
        resources: Resources::default(),
        priority: 0,
        rank: 0,
        runner_options: serde_json::Map::new(),
        registry: None,
        secrets: Vec::new(),
    }
}

#[tokio::test]
async fn files_and_values_go_in_and_out() {
    let bench = bench().await;
    let mut attempt = spec(
        1,
        "cat in.txt; echo $GREETING > out.txt; echo warn >&2; echo n=7 > $OPERON_OUTPUTS; exit 0",
    );
    attempt.input_files = vec![InputFile {
        path: "in.txt".to_owned(),
        source: FileSource::Inline("from outside".to_owned()),
        executable: false,
    }];
    attempt.output_files = vec!["*.txt".to_owned()];
    let result = bench.runner.run(attempt).await.unwrap();
    assert_eq!(result.outcome, Outcome::Success, "{:?}", result.message);
    assert_eq!(result.outputs["vars"], json!({"n": "7"}));
    let uri = "operon:///containers/1/out.txt";
    assert_eq!(result.outputs["outputFiles"]["out.txt"], json!(uri));
    let stored = bench.ports.get(&uri.parse().unwrap(), 100).await.unwrap();
    assert_eq!(&stored[..], b"hello\n");
    let texts = bench.texts();
    assert!(texts.iter().any(|text| text == "from outside"), "{texts:?}");
    assert!(texts.iter().any(|text| text == "warn"), "{texts:?}");
    assert_eq!(bench.runner.remove_strays().await.unwrap(), 0);
}

#[tokio::test]
async fn a_large_log_is_complete_and_in_order() {
    let bench = bench().await;
    let attempt = spec(1, "seq 1 20000");
    bench.runner.run(attempt).await.unwrap();
    let texts = bench.texts();
    let numbers: Vec<u32> = texts.iter().filter_map(|text| text.parse().ok()).collect();
    assert_eq!(numbers, (1..=20_000).collect::<Vec<_>>());
}

#[tokio::test]
async fn exit_codes_timeouts_and_memory_become_reasons() {
    let bench = bench().await;
    let failed = bench.runner.run(spec(1, "exit 3")).await.unwrap();
    assert_eq!(failed.outcome, Outcome::Failed(Reason::ExitCode));
    assert_eq!(failed.exit_code, Some(3));
    let mut slow = spec(2, "trap '' TERM; while :; do sleep 1; done");
    slow.timeout = Duration::from_secs(1);
    let start = Instant::now();
    let timed_out = bench.runner.run(slow).await.unwrap();
    assert_eq!(timed_out.outcome, Outcome::Failed(Reason::Timeout));
    assert!(start.elapsed() < Duration::from_secs(20));
    let mut greedy = spec(3, "x=a; while :; do x=$x$x; done");
    greedy.resources.memory_mib = 16;
    let killed = bench.runner.run(greedy).await.unwrap();
    assert_eq!(killed.outcome, Outcome::Failed(Reason::OutOfMemory));
}

#[tokio::test]
async fn an_image_that_is_not_there_cannot_be_pulled() {
    let bench = bench().await;
    let mut attempt = spec(1, "true");
    attempt.image = Some("operon-test-no-such-image:0".to_owned());
    let never = Value::String("NEVER".to_owned());
    attempt
        .runner_options
        .insert("pullPolicy".to_owned(), never);
    let result = bench.runner.run(attempt).await.unwrap();
    assert_eq!(result.outcome, Outcome::Failed(Reason::CannotPull));
}

#[tokio::test]
async fn it_is_launched_once_and_stopped_for_good() {
    let bench = bench().await;
    let attempt = spec(1, "sleep 600");
    let id = attempt.id.clone();
    let running = {
        let (runner, attempt) = (bench.runner.clone(), attempt.clone());
        tokio::spawn(async move { runner.run(attempt).await })
    };
    while bench.claims.look(&id).await.unwrap().mark.is_none() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let again = bench.runner.run(attempt.clone()).await;
    assert!(matches!(again, Err(RunnerError::AlreadyLaunched)));
    bench.runner.stop(&id).await.unwrap();
    let result = running.await.unwrap().unwrap();
    assert_eq!(result.outcome, Outcome::Failed(Reason::Kill));
    assert_eq!(bench.runner.remove_strays().await.unwrap(), 0);
}

#[tokio::test]
async fn the_next_engine_removes_what_is_left() {
    let bench = bench().await;
    let attempt = spec(1, "sleep 600");
    let id = attempt.id.clone();
    let lost = {
        let runner = bench.runner.clone();
        tokio::spawn(async move { runner.run(attempt).await })
    };
    while bench.claims.look(&id).await.unwrap().mark.is_none() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let next = runner(bench.directory.path(), &bench.claims, &bench.ports);
    assert_eq!(next.probe(&id).await.unwrap(), Truth::Alive);
    let orphans = next.recover_orphans().await.unwrap();
    assert_eq!(orphans.len(), 1);
    assert!(orphans[0].was_alive);
    assert_eq!(next.probe(&id).await.unwrap(), Truth::Gone);
    lost.abort();
}
