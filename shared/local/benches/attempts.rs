//! What the process runner costs: microseconds per attempt of `sh -c true`, four at a time, beside plain
//! `spawn` and `wait` on four threads.
//!
//! `cargo bench -p operon-local --bench attempts -- [attempts]`
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    missing_docs,
    reason = "a measurement, not a part of the product"
)]

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use operon_core::exec::Outcome;
use operon_core::lang::model::Resources;
use operon_core::plan::ShardId;
use operon_engine::ports::{
    ArtifactError, ArtifactStore, ArtifactUri, AttemptId, AttemptSpec, LogLine, LogSink,
    TaskRunKey, TaskRunner as _,
};
use operon_local::runner::{Claims, MemoryClaims, ProcessRunner, RunnerConfig};
use operon_local::store::SqliteStore;

/// At once.
const PARALLEL: u32 = 4;

struct Nothing;

impl LogSink for Nothing {
    fn line(&self, _: &AttemptId, _: LogLine) {}
    fn end(&self, _: &AttemptId) {}
}

#[async_trait]
impl ArtifactStore for Nothing {
    async fn put(&self, uri: &ArtifactUri, _: Bytes) -> Result<(), ArtifactError> {
        Err(ArtifactError::Missing(uri.clone()))
    }
    async fn put_file(&self, uri: &ArtifactUri, _: &Path) -> Result<(), ArtifactError> {
        Err(ArtifactError::Missing(uri.clone()))
    }
    async fn get(&self, uri: &ArtifactUri, _: u64) -> Result<Bytes, ArtifactError> {
        Err(ArtifactError::Missing(uri.clone()))
    }
    async fn get_range(&self, uri: &ArtifactUri, _: Range<u64>) -> Result<Bytes, ArtifactError> {
        Err(ArtifactError::Missing(uri.clone()))
    }
    async fn size(&self, uri: &ArtifactUri) -> Result<u64, ArtifactError> {
        Err(ArtifactError::Missing(uri.clone()))
    }
    async fn local_path(&self, uri: &ArtifactUri, _: &Path) -> Result<PathBuf, ArtifactError> {
        Err(ArtifactError::Missing(uri.clone()))
    }
    async fn delete(&self, uri: &ArtifactUri) -> Result<bool, ArtifactError> {
        Err(ArtifactError::Missing(uri.clone()))
    }
}

fn spec(number: u32) -> AttemptSpec {
    AttemptSpec {
        id: AttemptId {
            execution: "bench".parse().unwrap(),
            task_run: TaskRunKey {
                shard: ShardId::of_part(u16::try_from(number / 60_000).unwrap()),
                slot: u16::try_from(number % 60_000).unwrap(),
            },
            attempt: 1,
        },
        name: format!("true[{number}]"),
        image: None,
        interpreter: None,
        entrypoint: None,
        command: ["sh", "-c", "true"].map(str::to_owned).to_vec(),
        env: BTreeMap::new(),
        input_files: Vec::new(),
        output_files: Vec::new(),
        output_prefix: "bench".to_owned(),
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

/// Plain processes with pipes that are read, on as many threads.
fn plain(attempts: u32) -> Duration {
    let start = Instant::now();
    let next = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..PARALLEL {
            scope.spawn(|| {
                while next.fetch_add(1, Ordering::Relaxed) < attempts {
                    let done = Command::new("/bin/sh")
                        .args(["-c", "true"])
                        .stdin(Stdio::null())
                        .output();
                    assert!(done.unwrap().status.success());
                }
            });
        }
    });
    start.elapsed()
}

async fn runner(attempts: u32, directory: &Path, claims: Arc<dyn Claims>) -> Duration {
    let config = RunnerConfig::new(directory);
    let runner = ProcessRunner::new(config, claims, Arc::new(Nothing), Arc::new(Nothing));
    let start = Instant::now();
    let next = Arc::new(AtomicU32::new(0));
    let workers: Vec<_> = (0..PARALLEL)
        .map(|_| {
            let (runner, next) = (runner.clone(), next.clone());
            tokio::spawn(async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= attempts {
                        break;
                    }
                    let result = runner.run(spec(number)).await.unwrap();
                    assert_eq!(result.outcome, Outcome::Success, "{:?}", result.message);
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await.unwrap();
    }
    start.elapsed()
}

#[tokio::main]
async fn main() {
    let attempts = std::env::args()
        .find_map(|text| text.parse().ok())
        .unwrap_or(1000);
    let directory = tempfile::tempdir().unwrap();
    for round in 0..3 {
        let state = |name: &str| directory.path().join(format!("{name}-{round}"));
        let each = |time: Duration| time.as_micros() / u128::from(attempts);
        let plain = plain(attempts);
        let memory: Arc<dyn Claims> = Arc::new(MemoryClaims::default());
        let memory = runner(attempts, &state("memory"), memory).await;
        let sqlite = state("sqlite");
        std::fs::create_dir_all(&sqlite).unwrap();
        let store = SqliteStore::open(&sqlite.join("state.db")).unwrap();
        let sqlite = runner(attempts, &sqlite, Arc::new(store)).await;
        println!(
            "µs per attempt: plain {}, runner {}, runner with durable claims {}",
            each(plain),
            each(memory),
            each(sqlite)
        );
    }
}
