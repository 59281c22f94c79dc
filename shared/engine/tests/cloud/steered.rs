//! The function `api` is killed at everything that a wish writes or sends; whoever asked asks again, or does not.
//!
//! It has no queue that delivers a wish again: the one who asked saw an error. A wish asked again is carried out once,
//! and a wish never asked again is carried out or not, as a whole.

use std::collections::BTreeMap;
use std::sync::Arc;

use operon_core::lang::Plugins;
use operon_engine::evaluate::Evaluator;
use operon_engine::flows::{Deploy, Expected, Flows};
use operon_engine::operations::{OperationError, Operations, Resume, Start};
use operon_engine::ports::ExecutionId;
use operon_testkit::cloud::{CloudWorld, Fate, Shape, When};
use serde_json::Value;

use super::HOUR;

const FLOW: &str = "
id: asked
namespace: genomics
tasks:
  - {id: ask, type: io.kestra.plugin.core.flow.Pause}
  - id: each
    type: foreach
    values: [a, b]
    tasks:
      - {id: align, type: container, containerImage: x}
";
const FIRST: &str = "first";
const REPLAYED: &str = "replayed";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    Deploy,
    Start,
    Resume,
    Kill,
    Restart,
    RetryFailed,
    Replay,
}

struct World {
    cloud: CloudWorld,
    operations: Operations,
}

fn id(text: &str) -> ExecutionId {
    text.parse().unwrap()
}

impl World {
    /// A cloud in which a wish makes sense.
    async fn before(wish: Wish) -> Self {
        let cloud = CloudWorld::default();
        let fails = matches!(wish, Wish::Restart | Wish::RetryFailed | Wish::Replay);
        cloud.ecs.script(move |attempt| {
            let first = attempt.execution == id(FIRST) && attempt.attempt == 1;
            if fails && first && attempt.task_run.slot == 1 {
                return Fate::ends(Shape::Exit(1));
            }
            let minutes = if wish == Wish::Kill { 20 } else { 1 };
            Fate {
                runs_ms: minutes * 60_000,
                ..Fate::success()
            }
        });
        let ports = cloud.ports.ports();
        let operations = Operations {
            flows: Flows::new(&ports, Arc::new(Plugins::default())),
            evaluator: Evaluator {
                ports,
                shards: Arc::default(),
                items: Arc::default(),
            },
            sink: Arc::clone(&cloud.queues) as Arc<_>,
        };
        let mut world = Self { cloud, operations };
        if wish != Wish::Deploy {
            world.ask(Wish::Deploy).await.unwrap();
        }
        if !matches!(wish, Wish::Deploy | Wish::Start) {
            world.ask(Wish::Start).await.unwrap();
            world.cloud.wait(60_000).await;
            assert_eq!(world.state(FIRST), "PAUSED");
        }
        if matches!(wish, Wish::Kill) || fails {
            world.ask(Wish::Resume).await.unwrap();
            world.cloud.wait(5 * 60_000).await;
            let state = if fails { "FAILED" } else { "RUNNING" };
            assert_eq!(world.state(FIRST), state);
        }
        world
    }

    async fn ask(&self, wish: Wish) -> Result<(), OperationError> {
        let operations = &self.operations;
        match wish {
            Wish::Deploy => {
                let deploy = Deploy {
                    source: FLOW,
                    wanted: None,
                    expected: Expected::Any,
                    directory: None,
                    by: "alice",
                    message: None,
                };
                operations.flows.deploy(deploy).await?;
            }
            Wish::Start => {
                let start = Start {
                    id: id(FIRST),
                    namespace: "genomics".to_owned(),
                    flow: "asked".to_owned(),
                    revision: None,
                    inputs: BTreeMap::new(),
                    labels: BTreeMap::new(),
                    trigger: Value::Null,
                    priority: 0,
                };
                operations.start(start).await?;
            }
            Wish::Resume => {
                let resume = Resume {
                    task_run: None,
                    go_on: true,
                    inputs: BTreeMap::new(),
                    by: "alice".to_owned(),
                };
                operations.resume(&id(FIRST), resume).await?;
            }
            Wish::Kill => operations.kill(&id(FIRST)).await?,
            Wish::Restart => operations.restart(&id(FIRST)).await?,
            Wish::RetryFailed => operations.retry_failed(&id(FIRST)).await?,
            Wish::Replay => {
                let from = "each".to_owned();
                operations
                    .replay(id(REPLAYED), id(FIRST), from, None, None)
                    .await?;
            }
        }
        Ok(())
    }

    /// The state of an execution, or that there is none.
    fn state(&self, name: &str) -> String {
        let row = self.cloud.ports.store.peek(&id(name));
        row.map_or_else(|| "NONE".to_owned(), |row| row.state)
    }

    /// Whether the flow is there, with the one revision that was deployed.
    async fn deployed(&self) -> bool {
        let flows = &self.operations.flows;
        let revisions = flows.revisions("genomics", "asked", None, 10).await;
        assert!(revisions.unwrap().len() <= 1, "one flow is one revision");
        flows.flow("genomics", "asked").await.unwrap().is_some()
    }
}

/// Where a wish leads to: which execution it is about, its state if it was carried out, and if it was not.
const fn outcome(wish: Wish) -> (&'static str, &'static str, &'static str) {
    match wish {
        Wish::Deploy => (FIRST, "NONE", "NONE"),
        Wish::Start => (FIRST, "PAUSED", "NONE"),
        Wish::Resume => (FIRST, "SUCCESS", "PAUSED"),
        Wish::Kill => (FIRST, "KILLED", "SUCCESS"),
        Wish::Restart | Wish::RetryFailed => (FIRST, "SUCCESS", "FAILED"),
        Wish::Replay => (REPLAYED, "SUCCESS", "NONE"),
    }
}

/// Kills the function at a write of a wish; whether it came to that write.
async fn killed(wish: Wish, at: u64, when: When, again: bool) -> bool {
    let mut world = Box::pin(World::before(wish)).await;
    world.cloud.faults.kill_at(at, when);
    let answer = world.ask(wish).await;
    let fired = world.cloud.faults.fired();
    let what = format!(
        "{wish:?} killed {when:?} write {at} ({}), again: {again}",
        world.cloud.faults.last()
    );
    assert_eq!(answer.is_err(), fired, "{what}: {answer:?}");
    world.cloud.faults.revive();
    if !fired {
        return false;
    }
    if again {
        match world.ask(wish).await {
            // What the first asking did is seen by the second.
            Ok(()) | Err(OperationError::Refused { .. }) => {}
            Err(error) => panic!("{what}: {error}"),
        }
    }
    world.cloud.wait(4 * HOUR).await;
    let (about, done, undone) = outcome(wish);
    let state = world.state(about);
    assert!(
        state == done || (!again && state == undone),
        "{what}: {state}"
    );
    if wish == Wish::Deploy {
        // A revision that no flow names yet is numbered once, and cannot be started.
        let deployed = world.deployed().await;
        assert!(deployed || !again, "{what}: not deployed");
        let started = world.ask(Wish::Start).await;
        assert_eq!(started.is_ok(), deployed, "{what}: {started:?}");
    }
    let launches = world.cloud.ecs.launches();
    let mut attempts: Vec<_> = launches.iter().map(|(id, _)| id).collect();
    attempts.sort();
    attempts.dedup();
    assert_eq!(
        attempts.len(),
        launches.len(),
        "{what}: an attempt was launched twice"
    );
    assert_eq!(world.cloud.ecs.alive(), 0, "{what}: a task is alive");
    true
}

async fn swept(wish: Wish) -> u64 {
    let mut at = 0;
    loop {
        let mut fired = false;
        for when in [When::Before, When::After] {
            for again in [true, false] {
                fired |= Box::pin(killed(wish, at, when, again)).await;
            }
        }
        if !fired {
            return at;
        }
        at += 1;
    }
}

#[tokio::test]
async fn every_wish_survives_every_death() {
    for (wish, least) in [
        (Wish::Deploy, 2),
        (Wish::Start, 2),
        (Wish::Resume, 2),
        (Wish::Kill, 1),
        (Wish::Restart, 1),
        (Wish::RetryFailed, 1),
        (Wish::Replay, 2),
    ] {
        let points = Box::pin(swept(wish)).await;
        assert!(points >= least, "{wish:?}: only {points} failpoints");
    }
}
