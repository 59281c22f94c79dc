//! Executions that end, a server that is told, and the time.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use operon_core::lang::Plugins;
use operon_core::plan::ShardId;
use operon_core::{lang, plan};
use operon_engine::evaluate::Evaluator;
use operon_engine::notify::{self, Context, Delivered, Incident};
use operon_engine::plans::{LoadedPlan, Plans};
use operon_engine::ports::{
    AttemptId, AttemptRow, ExecutionMeta, ExecutionRow, LogLevel, LogLine, LogLines, LogReader,
    StateStore as _, StoreError, TaskRunKey, Usage, Write,
};
use operon_engine::shards::Shards;
use operon_engine::tasks::HttpClients;
use operon_testkit::memory::{MemoryLogs, MemoryPorts};
use serde_json::{Map, Value};

pub(crate) const NAMESPACE: &str = "genomics";
/// The webhook's path in every test: part of a secret.
pub(crate) const SECRET_PATH: &str = "/services/T0SECRET";

pub(crate) struct World {
    pub(crate) memory: MemoryPorts,
    pub(crate) evaluator: Evaluator,
    plans: Plans,
    loaded: LoadedPlan,
    http: HttpClients,
}

struct Logs(Arc<MemoryLogs>);

#[async_trait]
impl LogReader for Logs {
    async fn read(
        &self,
        attempt: &AttemptId,
        from: u64,
        limit: usize,
    ) -> Result<LogLines, StoreError> {
        let lines = self.0.lines(attempt);
        let lines = lines
            .into_iter()
            .filter(|line| line.seq >= from)
            .take(limit)
            .collect();
        Ok(LogLines { lines, ended: true })
    }

    async fn tail(
        &self,
        attempt: &AttemptId,
        before: Option<u64>,
        count: usize,
    ) -> Result<LogLines, StoreError> {
        let mut lines = self.0.lines(attempt);
        lines.retain(|line| before.is_none_or(|before| line.seq < before));
        let lines = lines.split_off(lines.len().saturating_sub(count));
        Ok(LogLines { lines, ended: true })
    }
}

impl World {
    /// A flow with `notify` and `rest`, which is YAML at its top level; `webhook` is the address of the secret.
    pub(crate) fn new(rest: &str, webhook: &str) -> Self {
        let source = format!(
            "id: processing\nnamespace: {NAMESPACE}\ntasks:\n  - {{id: qc, type: log, message: hello}}\n{rest}"
        );
        let parsed = lang::parse(&source, &Plugins::default());
        let flow = parsed
            .flow
            .unwrap_or_else(|| panic!("{:?}", parsed.diagnostics));
        let plan = plan::compile(&flow).unwrap();
        let memory = MemoryPorts::default();
        memory.secrets.set("HOOK", webhook);
        memory.clock.set(1_000_000);
        let hash = plan.hash();
        Self {
            evaluator: Evaluator {
                ports: memory.ports(),
                shards: Arc::new(Shards::default()),
                items: Arc::default(),
            },
            plans: Plans::default(),
            loaded: LoadedPlan::new(plan, hash),
            http: HttpClients::default(),
            memory,
        }
    }

    fn row(&self, id: &str, state: &str) -> ExecutionRow {
        let now = operon_engine::ports::Clock::now_ms(&*self.memory.clock);
        let labels = BTreeMap::from([("organism".to_owned(), "mpox".to_owned())]);
        ExecutionRow {
            meta: ExecutionMeta {
                id: id.parse().unwrap(),
                namespace: NAMESPACE.to_owned(),
                flow: "processing".to_owned(),
                revision: 3,
                plan_hash: self.loaded.hash.clone(),
                inputs: Map::new(),
                labels: labels.clone(),
                trigger: Value::Null,
                created_ms: now,
                parent: None,
                replay_of: None,
                flow_dir: None,
                priority: 0,
            },
            state: state.to_owned(),
            reason: None,
            started_ms: Some(now),
            ended_ms: (state != "RUNNING").then_some(now),
            outputs: Map::new(),
            labels,
        }
    }

    /// An execution with a failed task and 30 lines of log, if it failed.
    pub(crate) async fn execution(&self, id: &str, state: &str) -> ExecutionRow {
        let row = self.row(id, state);
        let plan = self.loaded.plan.canonical_json();
        self.memory.store.create(&row, &plan).await.unwrap();
        if state == "FAILED" {
            self.fail(&row).await;
        }
        row
    }

    async fn fail(&self, row: &ExecutionRow) {
        let id = AttemptId {
            execution: row.meta.id.clone(),
            task_run: TaskRunKey {
                shard: ShardId::ROOT,
                slot: 1,
            },
            attempt: 1,
        };
        let ports = self.memory.ports();
        for seq in 0..30 {
            let line = LogLine {
                seq,
                time_ms: 0,
                level: LogLevel::Info,
                text: format!("line {seq} <b>"),
            };
            ports.logs.line(&id, line);
        }
        let attempt = AttemptRow {
            execution: id.execution,
            task_run: id.task_run,
            attempt: 1,
            task: "qc".to_owned(),
            name: "qc[3]".to_owned(),
            item: None,
            parent: None,
            state: "FAILED".to_owned(),
            reason: Some("out of memory".to_owned()),
            message: Some("used more than 2 GB".to_owned()),
            exit_code: Some(137),
            created_ms: 0,
            started_ms: Some(0),
            ended_ms: row.ended_ms,
            outputs: Map::new(),
            outputs_uri: None,
            metrics: vec![],
            usage: Usage::default(),
        };
        let write = Write {
            attempts: vec![attempt],
            ..Write::default()
        };
        self.memory.store.write(write).await.unwrap();
    }

    pub(crate) async fn ended(&self, row: &ExecutionRow) {
        let (ports, logs) = (self.memory.ports(), Logs(self.memory.logs.clone()));
        let context = Context {
            ports: &ports,
            logs: &logs,
            console_url: Some("https://operon.example.org"),
        };
        context.ended(&self.loaded, row).await.unwrap();
    }

    pub(crate) async fn started(&self, row: &ExecutionRow) {
        let (ports, logs) = (self.memory.ports(), Logs(self.memory.logs.clone()));
        let context = Context {
            ports: &ports,
            logs: &logs,
            console_url: None,
        };
        context.started(&self.loaded, row).await.unwrap();
    }

    /// An execution that ends so, noted and told.
    pub(crate) async fn end(&self, id: &str, state: &str) {
        let row = self.execution(id, state).await;
        self.ended(&row).await;
        self.deliver().await;
    }

    pub(crate) async fn deliver(&self) -> Delivered {
        notify::deliver(&self.evaluator, &self.plans, &self.http)
            .await
            .unwrap()
    }

    pub(crate) async fn incidents(&self) -> Vec<Incident> {
        let ports = self.memory.ports();
        let found = notify::incidents(&ports, NAMESPACE, None, 100).await;
        found.unwrap().0
    }
}
