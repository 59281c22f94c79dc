//! A world of triggers: flows from text, everything in memory, and a store that crashes at the n-th write.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use operon_core::exec::Event;
use operon_core::lang::{Plugins, members, parse};
use operon_core::plan::compile;
use operon_core::triggers::{Config, Source, TriggerEvent};
use operon_testkit::memory::MemoryPorts;
use operon_testkit::memory::MemorySchedules;
use serde_json::{Map, Value, json};

use operon_engine::Ports;
use operon_engine::evaluate::Evaluator;
use operon_engine::metrics::Buried;
use operon_engine::ports::{
    Clock as _, Copied, EventSink, ExecutionFilter, ExecutionRow, Invoked, NoServices, ObjectInfo,
    ObjectName, Record, RecordKey, RecordKind, RecordOutcome, RecordQuery, RecordWrite, Records,
    ServiceError, Services, ShardKey, StateStore as _, StoreError, Write,
};
use operon_engine::triggers::{
    Deployed, DeployedFlow, EventRecord, NoWakeups, Notices, Polls, TriggerKey, Triggers,
};

/// Crashes after a number of writes: that one is made or not, and the caller never hears of it.
#[derive(Debug)]
pub(crate) struct Fuse {
    left: AtomicI64,
}

impl Fuse {
    pub(crate) fn endless() -> Arc<Self> {
        Arc::new(Self {
            left: AtomicI64::new(i64::MAX),
        })
    }

    /// The next writes that go well.
    pub(crate) fn set(&self, writes: i64) {
        self.left.store(writes, Ordering::SeqCst);
    }

    fn burn(&self) -> Result<(), StoreError> {
        if self.left.fetch_sub(1, Ordering::SeqCst) > 0 {
            return Ok(());
        }
        Err(StoreError::Busy("crashed on purpose".to_owned()))
    }
}

struct Crashing {
    inner: Arc<dyn Records>,
    fuse: Arc<Fuse>,
}

#[async_trait]
impl Records for Crashing {
    async fn record(&self, key: &RecordKey, now_ms: u64) -> Result<Option<Record>, StoreError> {
        self.inner.record(key, now_ms).await
    }

    async fn save_record(&self, write: RecordWrite) -> Result<RecordOutcome, StoreError> {
        // Before the write, and after it: both happen.
        self.fuse.burn()?;
        let outcome = self.inner.save_record(write).await?;
        self.fuse.burn()?;
        Ok(outcome)
    }

    async fn delete_record(
        &self,
        key: &RecordKey,
        expected: u64,
    ) -> Result<RecordOutcome, StoreError> {
        self.fuse.burn()?;
        self.inner.delete_record(key, expected).await
    }

    async fn records(
        &self,
        kind: RecordKind,
        partition: &str,
        query: &RecordQuery,
    ) -> Result<Vec<Record>, StoreError> {
        self.inner.records(kind, partition, query).await
    }

    async fn due_records(
        &self,
        kind: RecordKind,
        now_ms: u64,
        limit: u32,
    ) -> Result<Vec<Record>, StoreError> {
        self.inner.due_records(kind, now_ms, limit).await
    }
}

/// Counts the starts of executions.
#[derive(Default)]
struct Starts {
    seen: Mutex<BTreeMap<String, u32>>,
    fuse: Option<Arc<Fuse>>,
}

#[async_trait]
impl EventSink for Starts {
    async fn send(&self, key: &ShardKey, event: &Event) -> Result<(), StoreError> {
        if let Some(fuse) = &self.fuse {
            fuse.burn()?;
        }
        assert!(matches!(event, Event::Start));
        *self
            .seen
            .lock()
            .unwrap()
            .entry(key.execution.to_string())
            .or_default() += 1;
        Ok(())
    }
}

/// Buckets outside: what is in them, by bucket and key, with the content. Removing burns the fuse before and after.
pub(crate) struct Shelf {
    pub(crate) objects: Mutex<BTreeMap<(String, String), String>>,
    fuse: Arc<Fuse>,
    refuses: AtomicBool,
    refusals: AtomicU32,
}

impl Shelf {
    /// Whether nothing may be removed from now on.
    pub(crate) fn refuse(&self, refuses: bool) {
        self.refuses.store(refuses, Ordering::SeqCst);
    }

    /// How often something was refused.
    pub(crate) fn refusals(&self) -> u32 {
        self.refusals.load(Ordering::SeqCst)
    }

    /// What is there now.
    pub(crate) fn keys(&self) -> Vec<String> {
        let objects = self.objects.lock().unwrap();
        let keys = objects.keys();
        keys.map(|(bucket, key)| format!("{bucket}/{key}"))
            .collect()
    }
}

#[async_trait]
impl Services for Shelf {
    async fn list(
        &self,
        _: &str,
        _: &str,
        _: Option<&str>,
        _: u32,
    ) -> Result<Vec<ObjectInfo>, ServiceError> {
        Err(NoServices::error())
    }

    async fn copy(&self, _: &ObjectName, _: &ObjectName) -> Result<Copied, ServiceError> {
        Err(NoServices::error())
    }

    async fn delete(&self, _: &ObjectName) -> Result<(), ServiceError> {
        Err(NoServices::error())
    }

    async fn remove(
        &self,
        object: &ObjectName,
        etag: Option<&str>,
        to: Option<&ObjectName>,
    ) -> Result<bool, ServiceError> {
        let burn = || {
            let burnt = self.fuse.burn();
            burnt.map_err(|error| ServiceError::Failed(error.to_string()))
        };
        let named = |name: &ObjectName| (name.bucket.clone(), name.key.clone());
        if self.refuses.load(Ordering::SeqCst) {
            self.refusals.fetch_add(1, Ordering::SeqCst);
            return Err(ServiceError::Failed("S3: forbidden".to_owned()));
        }
        burn()?;
        let there = self.objects.lock().unwrap().get(&named(object)).cloned();
        let Some(content) = there.filter(|content| etag == Some(content)) else {
            return Ok(false);
        };
        if let Some(to) = to {
            self.objects.lock().unwrap().insert(named(to), content);
            // Between the copy and the deletion.
            burn()?;
        }
        burn()?;
        self.objects.lock().unwrap().remove(&named(object));
        burn()?;
        Ok(true)
    }

    async fn invoke(&self, _: &str, _: Vec<u8>) -> Result<Invoked, ServiceError> {
        Err(NoServices::error())
    }
}

/// Who is asked to look, and may refuse.
#[derive(Default)]
pub(crate) struct Asks {
    asked: AtomicU32,
    refuses: AtomicBool,
}

impl Asks {
    /// How often somebody was asked.
    pub(crate) fn count(&self) -> u32 {
        self.asked.load(Ordering::SeqCst)
    }

    /// Whether nobody can be asked from now on.
    pub(crate) fn refuse(&self, refuses: bool) {
        self.refuses.store(refuses, Ordering::SeqCst);
    }
}

#[async_trait]
impl Polls for Asks {
    async fn ask(&self, _: &TriggerKey) -> Result<(), StoreError> {
        if self.refuses.load(Ordering::SeqCst) {
            return Err(StoreError::Busy("the queue takes nothing".to_owned()));
        }
        self.asked.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

struct Flows(Mutex<Vec<Arc<DeployedFlow>>>);

#[async_trait]
impl Deployed for Flows {
    async fn deployed(&self) -> Result<Vec<Arc<DeployedFlow>>, StoreError> {
        Ok(self.0.lock().unwrap().clone())
    }

    async fn deployed_flow(
        &self,
        namespace: &str,
        flow: &str,
    ) -> Result<Option<Arc<DeployedFlow>>, StoreError> {
        let flows = self.0.lock().unwrap();
        let found = flows
            .iter()
            .find(|one| one.plan.namespace == namespace && one.plan.flow == flow);
        Ok(found.cloned())
    }
}

pub(crate) struct World {
    pub(crate) memory: MemoryPorts,
    pub(crate) triggers: Triggers,
    pub(crate) fuse: Arc<Fuse>,
    starts: Arc<Starts>,
    flows: Arc<Flows>,
    pub(crate) schedules: Arc<MemorySchedules>,
    pub(crate) heard: Arc<Heard>,
    pub(crate) shelf: Arc<Shelf>,
}

/// What nobody else sees.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    over: Mutex<Vec<String>>,
    buried: AtomicU32,
}

impl Heard {
    /// Flows of executions that were over at once.
    pub(crate) fn over(&self) -> Vec<String> {
        self.over.lock().unwrap().clone()
    }

    /// Dead letters.
    pub(crate) fn buried(&self) -> u32 {
        self.buried.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Notices for Heard {
    async fn over(&self, row: &ExecutionRow) -> Result<(), StoreError> {
        self.over.lock().unwrap().push(row.meta.flow.clone());
        Ok(())
    }

    fn buried(&self, _: &Buried, _: u64) {
        self.buried.fetch_add(1, Ordering::SeqCst);
    }
}

/// A flow with inputs that take anything, and these triggers.
pub(crate) fn flow(id: &str, triggers: &str) -> DeployedFlow {
    let source = format!(
        "id: {id}\nnamespace: genomics\ninputs:\n  - {{id: n, type: INT, required: false}}\n  - {{id: value, type: JSON, required: false}}\n\
         tasks:\n  - {{id: t, type: log, message: hello}}\ntriggers:\n{triggers}"
    );
    deployed(&source)
}

pub(crate) fn deployed(source: &str) -> DeployedFlow {
    let parsed = parse(source, &Plugins::default());
    let flow = parsed
        .flow
        .unwrap_or_else(|| panic!("{source}\n{:?}", parsed.diagnostics.into_sorted()));
    let triggers = flow
        .triggers
        .iter()
        .map(|trigger| Config::read(trigger).unwrap())
        .collect();
    DeployedFlow {
        plan: compile(&flow).unwrap(),
        revision: 7,
        flow_dir: None,
        triggers,
        disabled: false,
    }
}

impl World {
    pub(crate) fn new(flows: Vec<DeployedFlow>) -> Self {
        let memory = MemoryPorts::default();
        let fuse = Fuse::endless();
        let records = Arc::new(Crashing {
            inner: memory.records.clone(),
            fuse: Arc::clone(&fuse),
        });
        let shelf = Arc::new(Shelf {
            objects: Mutex::default(),
            fuse: Arc::clone(&fuse),
            refuses: AtomicBool::new(false),
            refusals: AtomicU32::new(0),
        });
        let ports = Ports {
            records,
            services: Arc::clone(&shelf) as Arc<_>,
            ..memory.ports()
        };
        let starts = Arc::new(Starts {
            fuse: Some(Arc::clone(&fuse)),
            ..Starts::default()
        });
        let flows = Arc::new(Flows(Mutex::new(flows.into_iter().map(Arc::new).collect())));
        let schedules = Arc::<MemorySchedules>::default();
        let heard = Arc::<Heard>::default();
        let triggers = Triggers {
            evaluator: Evaluator {
                ports,
                shards: Arc::default(),
                items: Arc::default(),
            },
            sink: Arc::clone(&starts) as Arc<_>,
            flows: Arc::clone(&flows) as Arc<_>,
            wakeups: Arc::new(NoWakeups),
            wiring: Arc::clone(&schedules) as Arc<_>,
            polls: None,
            notices: Arc::clone(&heard) as Arc<_>,
            buckets: Vec::new(),
            on_aws: true,
            capacity: 20,
        };
        Self {
            memory,
            triggers,
            fuse,
            starts,
            flows,
            schedules,
            heard,
            shelf,
        }
    }

    /// Lets somebody else look at databases and addresses.
    pub(crate) fn asking(&mut self) -> Arc<Asks> {
        let asks = Arc::<Asks>::default();
        self.triggers.polls = Some(Arc::clone(&asks) as Arc<_>);
        asks
    }

    pub(crate) fn now(&self) -> u64 {
        self.memory.clock.now_ms()
    }

    pub(crate) fn flow(&self) -> Arc<DeployedFlow> {
        Arc::clone(&self.flows.0.lock().unwrap()[0])
    }

    /// Changes the first flow.
    pub(crate) fn change(&self, change: impl FnOnce(&mut DeployedFlow)) {
        let mut flows = self.flows.0.lock().unwrap();
        change(Arc::make_mut(&mut flows[0]));
    }

    pub(crate) fn key(&self) -> TriggerKey {
        let flow = self.flow();
        flow.key(&flow.triggers[0])
    }

    pub(crate) async fn executions(&self) -> Vec<ExecutionRow> {
        let filter = ExecutionFilter {
            limit: 1_000,
            ..ExecutionFilter::default()
        };
        let mut rows = self.memory.store.executions(&filter).await.unwrap();
        rows.sort_by(|a, b| (a.meta.created_ms, &a.meta.id).cmp(&(b.meta.created_ms, &b.meta.id)));
        rows
    }

    pub(crate) fn was_started(&self, row: &ExecutionRow) -> bool {
        self.starts
            .seen
            .lock()
            .unwrap()
            .contains_key(row.meta.id.as_str())
    }

    /// Every record of the first flow's first trigger.
    pub(crate) async fn events(&self) -> Vec<EventRecord> {
        let mut all: Vec<EventRecord> = Vec::new();
        let mut query = RecordQuery {
            limit: 1_000,
            ..RecordQuery::default()
        };
        loop {
            let page = self
                .memory
                .records
                .records(RecordKind::Event, &self.key().to_string(), &query)
                .await
                .unwrap();
            let Some(last) = page.last() else { return all };
            query.after = Some(last.key.sort.clone());
            all.extend(page.iter().map(|record| {
                serde_json::from_value::<EventRecord>(record.value.clone()).unwrap()
            }));
        }
    }

    /// Writes an object with that content, and gives its event.
    pub(crate) fn written(&self, key: &str, content: &str) -> TriggerEvent {
        let place = ("b".to_owned(), key.to_owned());
        let objects = &self.shelf.objects;
        objects.lock().unwrap().insert(place, content.to_owned());
        let outside = &self.memory.artifacts.outside;
        let uri = format!("s3://b/{key}");
        outside
            .lock()
            .unwrap()
            .insert(uri, content.to_owned().into());
        let mut event = object(key);
        event.identity = format!("s3://b/{key}@{content}");
        event.fields.insert("etag".to_owned(), json!(content));
        event
    }

    /// Ends an execution.
    pub(crate) async fn end(&self, row: &ExecutionRow, state: &str) -> ExecutionRow {
        let mut row = row.clone();
        row.state = state.to_owned();
        row.started_ms = row.started_ms.or(Some(row.meta.created_ms));
        row.ended_ms = Some(self.now());
        let write = Write {
            executions: vec![row.clone()],
            ..Write::default()
        };
        self.memory.store.write(write).await.unwrap();
        row
    }

    /// Lets time pass, with a look every second.
    pub(crate) async fn pass(&self, seconds: u64) {
        for _ in 0..seconds {
            self.memory.clock.advance(1_000);
            self.triggers.look_at_due().await.unwrap();
        }
    }
}

/// An event of an object.
pub(crate) fn object(key: &str) -> TriggerEvent {
    let fields = json!({"uri": format!("s3://b/{key}"), "bucket": "b", "key": key, "size": 10});
    let Value::Object(fields) = fields else {
        panic!()
    };
    TriggerEvent {
        source: Source::Object {
            bucket: "b".to_owned(),
            key: key.to_owned(),
            size: 10,
        },
        identity: format!("s3://b/{key}@1"),
        time_ms: None,
        fields,
    }
}

/// The identities in `trigger.items` of an execution.
pub(crate) async fn items(world: &World, row: &ExecutionRow) -> Vec<String> {
    let outcomes = world.triggers.item_outcomes(&row.meta.id).await.unwrap();
    outcomes
        .into_iter()
        .map(|outcome| outcome.identity)
        .collect()
}

pub(crate) fn fields(row: &ExecutionRow) -> &Map<String, Value> {
    let fields = row.meta.trigger.as_object().unwrap();
    // What flows are checked against before they run.
    let known: Vec<&str> = members::of_trigger(fields["type"].as_str().unwrap())
        .unwrap()
        .collect();
    for name in fields.keys() {
        assert!(known.contains(&name.as_str()), "{name}: {fields:?}");
    }
    fields
}
