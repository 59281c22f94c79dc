//! Failed items are retried: the wish comes over HTTP, and the engine over a cloud in memory carries it out.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::body::Body;
use axum::http::{Method, StatusCode};
use operon_core::exec::Event;
use operon_core::plan::ShardId;
use operon_engine::ports::{EventSink, ExecutionId, Outgoing, QueueName, ShardKey, StoreError};
use operon_engine::wire::{EventMessage, PlanMessage};
use operon_testkit::cloud::{CloudWorld, Fate, MemoryQueues, Shape};
use serde_json::{Value, json};

use crate::world::{Answered, TOKEN, call, request, send, with_sink};

const DAY: u64 = 24 * 60 * 60 * 1000;
const BULK: &str = "/api/v1/executions/bulk";

/// What is asked for goes into the plan queue, as on AWS.
struct ToPlanner(Arc<MemoryQueues>);

#[async_trait::async_trait]
impl EventSink for ToPlanner {
    async fn send(&self, key: &ShardKey, event: &Event) -> Result<(), StoreError> {
        let message = EventMessage::new(key.clone(), event.clone());
        let text = PlanMessage::from(message).encode().unwrap();
        self.0.put(QueueName::Plan, Outgoing::now(text));
        Ok(())
    }
}

struct World {
    cloud: CloudWorld,
    application: Router,
    /// Whether the second item of every loop fails.
    broken: Arc<AtomicBool>,
}

impl World {
    fn new() -> Self {
        let cloud = CloudWorld::default();
        let broken = Arc::new(AtomicBool::new(true));
        let fails = Arc::clone(&broken);
        cloud.ecs.script(move |attempt| {
            let second = attempt.task_run.slot == 1 && attempt.task_run.shard != ShardId::ROOT;
            if second && fails.load(Ordering::Relaxed) {
                Fate::ends(Shape::Exit(3))
            } else {
                Fate::success()
            }
        });
        let sink = Arc::new(ToPlanner(Arc::clone(&cloud.queues)));
        let application = with_sink(&cloud.ports, sink);
        Self {
            cloud,
            application,
            broken,
        }
    }

    async fn deploy(&self, id: &str, source: String) {
        let bearer = format!("Bearer {TOKEN}");
        let headers = [("authorization", bearer.as_str()), ("if-none-match", "*")];
        let path = format!("/api/v1/flows/demo/{id}");
        let put = request(&Method::PUT, &path, &headers, Body::from(source));
        let answer = send(&self.application, put).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text);
    }

    /// Starts an execution, and lets it come to its end.
    async fn executed(&mut self, flow: &str, end: &str) -> ExecutionId {
        let wish = json!({"namespace": "demo", "flow": flow});
        let answer = self.post("/api/v1/executions", &wish).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text);
        let id: ExecutionId = answer.json()["id"].as_str().unwrap().parse().unwrap();
        self.ends(&id, end).await;
        id
    }

    async fn ends(&mut self, id: &ExecutionId, state: &str) {
        assert!(self.cloud.run(id, DAY).await, "{id} has no end");
        assert_eq!(self.get(id, "").await["state"], state, "{id}");
    }

    async fn post(&self, path: &str, body: &Value) -> Answered {
        call(&self.application, Method::POST, path, body).await
    }

    async fn retry(&self, id: &ExecutionId) -> Answered {
        let path = format!("/api/v1/executions/{id}/retry-failed");
        self.post(&path, &Value::Null).await
    }

    async fn get(&self, id: &ExecutionId, below: &str) -> Value {
        let path = format!("/api/v1/executions/{id}{below}");
        let answer = call(&self.application, Method::GET, &path, &Value::Null).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text);
        answer.json()
    }

    /// Attempts of each task run that is executed.
    async fn attempts(&self, id: &ExecutionId) -> BTreeMap<String, usize> {
        let runs = self.get(id, "/task-runs?limit=1000").await;
        let runs = runs["items"].as_array().unwrap().iter();
        runs.map(|run| {
            let count = run["attempts"].as_array().unwrap().len();
            (run["name"].as_str().unwrap().to_owned(), count)
        })
        .filter(|(_, count)| *count > 0)
        .collect()
    }
}

/// Three items, a task that follows them, and so many tasks beside them.
fn flow(id: &str, tolerant: bool, beside: usize) -> String {
    let mut flow = format!(
        "id: {id}\nnamespace: demo\ntasks:\n  - id: each\n    type: foreach\n    values: [a, b, c]\n    \
         allowFailure: {tolerant}\n    tasks:\n      - {{id: align, type: container, containerImage: nextclade}}\n  \
         - {{id: merge, type: log, message: merged, dependsOn: [each]}}\n"
    );
    for task in 0..beside {
        writeln!(flow, "  - {{id: t{task}, type: log, message: hi}}").unwrap();
    }
    flow
}

fn counted(of: &[(&str, usize)]) -> BTreeMap<String, usize> {
    of.iter()
        .map(|(name, count)| ((*name).to_owned(), *count))
        .collect()
}

#[tokio::test]
async fn only_failed_items_begin_again_and_then_what_follows_them() {
    for (tolerant, end, before, after) in [
        // Nothing followed: the loop had failed.
        (false, "FAILED", None, 1),
        // It went on without the item, and goes on once more with it.
        (true, "WARNING", Some(1), 2),
    ] {
        let mut world = World::new();
        world.deploy("align", flow("align", tolerant, 0)).await;
        let id = world.executed("align", end).await;
        let mut attempts = counted(&[("align[0]", 1), ("align[1]", 1), ("align[2]", 1)]);
        attempts.extend(before.map(|count| ("merge".to_owned(), count)));
        assert_eq!(world.attempts(&id).await, attempts, "{end}");
        assert_eq!(world.get(&id, "").await["failedItems"], 1, "{end}");

        world.broken.store(false, Ordering::Relaxed);
        let answer = world.retry(&id).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text);
        assert_eq!(answer.json()["id"], id.as_str());
        world.ends(&id, "SUCCESS").await;
        attempts.extend(counted(&[("align[1]", 2), ("merge", after)]));
        assert_eq!(world.attempts(&id).await, attempts, "{end}");
        assert_eq!(world.get(&id, "").await["failedItems"], 0, "{end}");

        let again = world.retry(&id).await;
        assert_eq!(again.status, StatusCode::CONFLICT, "{}", again.text);
        let said = again.json()["detail"].as_str().unwrap().to_owned();
        assert!(said.contains("has no failed items"), "{said}");
        let none = world.retry(&"none".parse().unwrap()).await;
        assert_eq!(none.status, StatusCode::NOT_FOUND, "{}", none.text);
    }
}

#[tokio::test]
async fn items_that_fail_again_are_retried_again() {
    let mut world = World::new();
    world.deploy("align", flow("align", false, 0)).await;
    let id = world.executed("align", "FAILED").await;
    for attempts in 2..4 {
        assert_eq!(world.retry(&id).await.status, StatusCode::ACCEPTED);
        world.ends(&id, "FAILED").await;
        let found = world.attempts(&id).await;
        assert_eq!(
            (found["align[0]"], found["align[1]"]),
            (1, attempts),
            "{found:?}"
        );
    }
}

#[tokio::test]
async fn an_execution_that_is_not_over_has_nothing_to_retry() {
    let mut world = World::new();
    world.deploy("align", flow("align", false, 0)).await;
    let wish = json!({"namespace": "demo", "flow": "align"});
    let answer = world.post("/api/v1/executions", &wish).await.json();
    let id: ExecutionId = answer["id"].as_str().unwrap().parse().unwrap();
    world.cloud.settle().await;
    let answer = world.retry(&id).await;
    assert_eq!(answer.status, StatusCode::CONFLICT, "{}", answer.text);
    let said = answer.json()["detail"].as_str().unwrap().to_owned();
    assert!(said.contains("only what is over can be retried"), "{said}");
    assert!(said.contains("wait for its end"), "{said}");
}

#[tokio::test]
async fn tolerated_items_of_a_flow_of_several_shards_are_refused_with_what_to_do_instead() {
    let mut world = World::new();
    world.deploy("large", flow("large", true, 200)).await;
    let id = world.executed("large", "WARNING").await;
    let before = world.attempts(&id).await;
    world.broken.store(false, Ordering::Relaxed);
    let answer = world.retry(&id).await;
    assert_eq!(answer.status, StatusCode::CONFLICT, "{}", answer.text);
    let kind = answer.headers.get("content-type").unwrap();
    assert_eq!(kind, "application/problem+json");
    let problem = answer.json();
    assert_eq!(problem["status"], 409);
    let said = problem["detail"].as_str().unwrap();
    for part in [
        format!("execution {id} ended WARNING"),
        "too large to begin again".to_owned(),
        format!("`operon executions replay {id} --from LOOP` runs the loop again"),
    ] {
        assert!(said.contains(&part), "{part:?} is not in {said:?}");
    }
    // What was refused has changed nothing.
    world.cloud.wait(DAY).await;
    assert_eq!(world.get(&id, "").await["state"], "WARNING");
    assert_eq!(world.attempts(&id).await, before);
}

#[tokio::test]
async fn many_are_retried_after_a_preview_that_changes_nothing() {
    let mut world = World::new();
    world.deploy("align", flow("align", false, 0)).await;
    world.deploy("large", flow("large", true, 200)).await;
    let failed = world.executed("align", "FAILED").await;
    let large = world.executed("large", "WARNING").await;
    world.broken.store(false, Ordering::Relaxed);
    let good = world.executed("align", "SUCCESS").await;
    let report = async |world: &World, dry: bool| {
        let wish = json!({"action": "retry-failed", "query": {"namespace": "demo"}, "dryRun": dry});
        let answer = world.post(BULK, &wish).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        let report = answer.json();
        assert_eq!(
            (&report["done"], &report["matched"]),
            (&json!(1), &json!(3))
        );
        let skipped = report["skipped"].as_array().unwrap().iter();
        let skipped = skipped.map(|one| {
            let text = |key: &str| one[key].as_str().unwrap().to_owned();
            (text("id"), text("reason"))
        });
        skipped.collect::<BTreeMap<String, String>>()
    };
    let preview = report(&world, true).await;
    let reason = |id: &ExecutionId| preview[id.as_str()].as_str();
    assert!(reason(&large).contains("too large"), "{preview:?}");
    assert!(reason(&good).contains("no failed items"), "{preview:?}");
    world.cloud.wait(DAY).await;
    assert_eq!(world.get(&failed, "").await["state"], "FAILED");

    assert_eq!(report(&world, false).await, preview);
    world.ends(&failed, "SUCCESS").await;
    assert_eq!(world.attempts(&failed).await["align[1]"], 2);
    assert_eq!(world.get(&large, "").await["state"], "WARNING");
}
