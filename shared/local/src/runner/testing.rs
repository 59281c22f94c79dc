//! Ports in memory for the tests of the runners.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use operon_core::lang::model::Resources;
use operon_core::plan::ShardId;
use operon_engine::ports::{
    ArtifactError, ArtifactStore, ArtifactUri, AttemptId, AttemptSpec, LogLine, LogSink, TaskRunKey,
};

/// Artifacts in a directory.
pub(crate) struct Files(pub(crate) PathBuf);

impl Files {
    fn path(&self, uri: &ArtifactUri) -> PathBuf {
        self.0.join(uri.key())
    }
}

#[async_trait]
impl ArtifactStore for Files {
    async fn put(&self, uri: &ArtifactUri, bytes: Bytes) -> Result<(), ArtifactError> {
        let path = self.path(uri);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
        Ok(())
    }

    async fn put_file(&self, uri: &ArtifactUri, file: &Path) -> Result<(), ArtifactError> {
        self.put(uri, fs::read(file).unwrap().into()).await
    }

    async fn get(&self, uri: &ArtifactUri, _limit: u64) -> Result<Bytes, ArtifactError> {
        let read = fs::read(self.path(uri));
        read.map(Bytes::from)
            .map_err(|_| ArtifactError::Missing(uri.clone()))
    }

    async fn get_range(&self, _: &ArtifactUri, _: Range<u64>) -> Result<Bytes, ArtifactError> {
        Err(ArtifactError::Failed("not needed".to_owned()))
    }

    async fn size(&self, uri: &ArtifactUri) -> Result<u64, ArtifactError> {
        Ok(self.get(uri, 0).await?.len() as u64)
    }

    async fn local_path(&self, uri: &ArtifactUri, _: &Path) -> Result<PathBuf, ArtifactError> {
        let path = self.path(uri);
        if path.exists() {
            Ok(path)
        } else {
            Err(ArtifactError::Missing(uri.clone()))
        }
    }

    async fn delete(&self, _: &ArtifactUri) -> Result<bool, ArtifactError> {
        Ok(false)
    }
}

/// Logs in memory; asserts that lines are numbered without gaps and that nothing follows the end.
#[derive(Default)]
pub(crate) struct Logs {
    lines: Mutex<HashMap<AttemptId, Vec<LogLine>>>,
    ended: Mutex<HashSet<AttemptId>>,
}

impl Logs {
    pub(crate) fn of(&self, id: &AttemptId) -> Vec<LogLine> {
        self.lines
            .lock()
            .unwrap()
            .get(id)
            .cloned()
            .unwrap_or_default()
    }

    pub(crate) fn texts(&self, id: &AttemptId) -> Vec<String> {
        self.of(id).into_iter().map(|line| line.text).collect()
    }

    pub(crate) fn has_ended(&self, id: &AttemptId) -> bool {
        self.ended.lock().unwrap().contains(id)
    }
}

impl LogSink for Logs {
    fn line(&self, attempt: &AttemptId, line: LogLine) {
        assert!(!self.has_ended(attempt), "a line after the end");
        let mut lines = self.lines.lock().unwrap();
        let lines = lines.entry(attempt.clone()).or_default();
        assert_eq!(line.seq, lines.len() as u64, "a gap in the log");
        assert!(line.text.len() <= LogLine::TEXT_MAX);
        lines.push(line);
    }

    fn end(&self, attempt: &AttemptId) {
        assert!(
            self.ended.lock().unwrap().insert(attempt.clone()),
            "ended twice"
        );
    }
}

/// The id of the first attempt of a task run.
pub(crate) fn attempt_id(slot: u16) -> AttemptId {
    AttemptId {
        execution: "exec-1".parse().unwrap(),
        task_run: TaskRunKey {
            shard: ShardId::of_part(0),
            slot,
        },
        attempt: 1,
    }
}

/// An attempt that runs `command`.
pub(crate) fn spec(slot: u16, command: &[&str]) -> AttemptSpec {
    AttemptSpec {
        id: attempt_id(slot),
        name: format!("align[{slot}]"),
        image: None,
        interpreter: None,
        entrypoint: None,
        command: command.iter().map(|&part| part.to_owned()).collect(),
        env: BTreeMap::new(),
        input_files: Vec::new(),
        output_files: Vec::new(),
        output_prefix: format!("exec-1/align/{slot}"),
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

/// An attempt that runs a shell script.
pub(crate) fn shell(slot: u16, script: &str) -> AttemptSpec {
    spec(slot, &["sh", "-c", script])
}

/// Artifacts in `directory`, and logs.
pub(crate) fn ports(directory: &Path) -> (Arc<Files>, Arc<Logs>) {
    let files = Files(directory.join("artifacts"));
    (Arc::new(files), Arc::default())
}
