//! One attempt of one execution, and the world around it.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;

use operon_core::expr::Masker;
use operon_core::plan::ShardId;
use operon_engine::Ports;
use operon_engine::ports::{
    ArtifactStore as _, ArtifactUri, AttemptId, ExecutionId, ExecutionMeta, ExecutionRow, LogLine,
    StateStore as _, TaskRunKey,
};
use operon_engine::tasks::{self, HttpClients, TaskCall, TaskError, TaskOutput};
use operon_testkit::memory::MemoryPorts;
use serde_json::{Map, Value};

pub(crate) struct World {
    pub(crate) memory: MemoryPorts,
    pub(crate) ports: Ports,
    pub(crate) meta: ExecutionMeta,
    id: AttemptId,
    http: HttpClients,
    masker: Masker,
}

impl World {
    pub(crate) fn new() -> Self {
        let memory = MemoryPorts::default();
        let meta = meta("e1", "genomics", "processing", 0);
        Self {
            ports: memory.ports(),
            id: AttemptId {
                execution: meta.id.clone(),
                task_run: TaskRunKey {
                    shard: ShardId::of_part(0),
                    slot: 3,
                },
                attempt: 1,
            },
            memory,
            meta,
            http: HttpClients::default(),
            masker: Masker::default(),
        }
    }

    pub(crate) fn with_secret(mut self, secret: &str) -> Self {
        self.masker = Masker::new([secret]);
        self
    }

    pub(crate) async fn run(&self, task: &str, props: Value) -> Result<TaskOutput, TaskError> {
        let Value::Object(props) = props else {
            panic!("properties are a map");
        };
        let task_type = format!("io.kestra.plugin.{task}");
        let lines = self.memory.logs.lines(&self.id).len();
        let call = TaskCall {
            task_type: &task_type,
            props,
            id: &self.id,
            meta: &self.meta,
            ports: &self.ports,
            http: &self.http,
            artifact_prefix: "executions/e1/r-3/1/".to_owned(),
            masker: &self.masker,
            lines: AtomicU64::new(u64::try_from(lines).unwrap()),
        };
        sent(tasks::run(call)).await
    }

    pub(crate) fn lines(&self) -> Vec<LogLine> {
        self.memory.logs.lines(&self.id)
    }

    pub(crate) async fn put(&self, key: &str, content: &str) -> String {
        let uri = ArtifactUri::new(key).unwrap();
        let bytes = content.to_owned().into();
        self.memory.artifacts.put(&uri, bytes).await.unwrap();
        uri.to_string()
    }

    /// The artifact that an output names.
    pub(crate) async fn read(&self, uri: &Value) -> String {
        let uri: ArtifactUri = uri.as_str().unwrap().parse().unwrap();
        let bytes = self.memory.artifacts.get(&uri, u64::MAX).await.unwrap();
        String::from_utf8(bytes.into()).unwrap()
    }

    pub(crate) async fn add_execution(&self, meta: ExecutionMeta, state: &str) {
        let row = ExecutionRow {
            meta,
            state: state.to_owned(),
            reason: None,
            started_ms: None,
            ended_ms: None,
            outputs: Map::new(),
            labels: BTreeMap::new(),
        };
        self.memory.store.create(&row, b"").await.unwrap();
    }
}

/// The worker runs tasks on several threads.
fn sent<T: Send>(future: T) -> T {
    future
}

pub(crate) fn meta(id: &str, namespace: &str, flow: &str, created_ms: u64) -> ExecutionMeta {
    let id: ExecutionId = id.parse().unwrap();
    ExecutionMeta {
        id,
        namespace: namespace.to_owned(),
        flow: flow.to_owned(),
        revision: 1,
        plan_hash: "h".to_owned(),
        inputs: Map::new(),
        labels: BTreeMap::new(),
        trigger: Value::Null,
        created_ms,
        parent: None,
        replay_of: None,
        flow_dir: None,
        priority: 0,
    }
}
