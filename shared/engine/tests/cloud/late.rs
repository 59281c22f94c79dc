//! What is late, damaged or of another release: nothing is taken for done, and nothing for gone, that may not be.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use operon_core::exec::{Event, Outcome};
use operon_engine::dead_letters;
use operon_engine::fargate;
use operon_engine::launcher::{LaunchOptions, Launcher};
use operon_engine::plan_queue::{Listener, PlanQueue};
use operon_engine::ports::{
    AttemptRow, ExecutionId, ExecutionRow, Outgoing, QueueName, ShardKey, ShardWrite,
    StateStore as _, StoreError, Write,
};
use operon_engine::reconciler::{Reconciler, handle_launches};
use operon_engine::wire::{self, EventMessage, LaunchMessage, PlanMessage};
use operon_testkit::cloud::{CloudWorld, Fate};
use serde_json::json;

use super::{HOUR, MINUTE, NoNames, chain, plan};

/// Containers that run for half an hour.
fn slow() -> CloudWorld {
    let cloud = CloudWorld::default();
    cloud.ecs.script(|_| Fate {
        runs_ms: 30 * MINUTE,
        ..Fate::success()
    });
    cloud
}

#[tokio::test]
async fn what_an_invocation_has_no_time_for_comes_again_and_fails_nothing() {
    let mut cloud = slow();
    let id = cloud.start(&chain(1)).await;
    cloud.deliver(QueueName::Plan).await;
    let received = cloud.queues.receive(QueueName::Launch, 10);
    let texts: Vec<&str> = received.iter().map(|one| one.body.as_str()).collect();
    let own = || (cloud.ports.ports(), cloud.queues.clone(), cloud.ecs.clone());
    let (ports, queue, ecs) = own();
    let (site, options) = (fargate::Site::default(), LaunchOptions::default());
    let launcher = Launcher::new(ports, queue, ecs, Arc::new(NoNames), site, options);
    let (ports, queue, ecs) = own();
    let reconciler = Reconciler::new(ports, queue, ecs);
    let probe = wire::encode(&LaunchMessage::Probe {
        id: serde_json::from_value(json!({
            "execution": id, "task_run": {"shard": "0", "slot": 0}, "attempt": 1,
        }))
        .unwrap(),
        launched_ms: cloud.now(),
        missed: 0,
    });
    let probe = probe.unwrap();
    let all: Vec<&str> = texts.iter().copied().chain([probe.as_str()]).collect();
    let outcomes = handle_launches(&launcher, &reconciler, &all, cloud.now()).await;
    assert_eq!(outcomes.len(), 2);
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    assert!(cloud.ecs.launches().is_empty(), "there was no time");
    for one in received {
        cloud.queues.delete(QueueName::Launch, one.number);
    }
    assert_eq!(cloud.queues.bodies(QueueName::Launch).len(), 2);
    assert!(cloud.run(&id, 2 * HOUR).await);
    assert_eq!(cloud.row(&id).await.state, "SUCCESS");
    assert_eq!(cloud.ecs.launches().len(), 1);
}

/// Never comes back from one execution, and hears of the others.
struct StuckAt(ExecutionId, Arc<Mutex<Vec<ExecutionId>>>);

#[async_trait]
impl Listener for StuckAt {
    async fn over(&self, row: &ExecutionRow) -> Result<(), StoreError> {
        if row.meta.id == self.0 {
            std::future::pending::<()>().await;
        }
        self.1.lock().unwrap().push(row.meta.id.clone());
        Ok(())
    }
}

#[tokio::test]
async fn one_message_that_takes_for_ever_is_not_the_end_of_its_batch() {
    let mut cloud = CloudWorld::default();
    let flow = plan("tasks:\n  - {id: never, type: container, containerImage: x, when: false}\n");
    let watched = plan(
        "sla: [{id: soon, type: MAX_DURATION, duration: PT60S, behavior: NONE}]\ntasks:\n  - {id: a, type: container, containerImage: x}\n",
    );
    let mut ids = Vec::new();
    for flow in [&flow, &flow, &flow, &flow, &watched] {
        ids.push(cloud.start(flow).await);
    }
    let texts = cloud.queues.bodies(QueueName::Plan);
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let heard = Arc::<Mutex<Vec<ExecutionId>>>::default();
    let stuck = StuckAt(ids[1].clone(), Arc::clone(&heard));
    let planner = PlanQueue::new(cloud.ports.ports(), cloud.queues.clone()).with(Arc::new(stuck));
    // No time: nothing is begun.
    let outcomes = planner.handle_delivered(&texts, &[], cloud.now()).await;
    assert!(outcomes.iter().all(Result::is_err) && heard.lock().unwrap().is_empty());
    // Three seconds are kept for what comes after.
    let deadline = cloud.now() + 9_000;
    let outcomes = planner.handle_delivered(&texts, &[], deadline).await;
    let done: Vec<bool> = outcomes.iter().map(Result::is_ok).collect();
    assert_eq!(done, [true, false, true, true, true]);
    for id in [&ids[0], &ids[2], &ids[3]] {
        assert!(heard.lock().unwrap().contains(id), "{id}");
        assert_eq!(cloud.row(id).await.state, "SUCCESS");
    }
    // One that is alone has all the time there is, once.
    let alone = planner.handle_delivered(&texts[1..2], &[], cloud.now() + 4_000);
    assert!(alone.await[0].is_err());
    // What a cut-off left unsaid is said by the second try: that somebody is to watch an execution that began.
    let said = cloud.queues.bodies(QueueName::Work);
    let begun = ids[4].to_string();
    let tells = said
        .iter()
        .any(|text| text.contains("tell") && text.contains(&begun));
    assert!(tells, "{said:?}");
}

#[tokio::test]
async fn a_stop_that_nobody_handled_proves_nothing() {
    let mut cloud = slow();
    let id = cloud.start(&chain(1)).await;
    cloud.wait(2 * MINUTE).await;
    assert_eq!(cloud.ecs.alive(), 1);
    cloud.kill(&id);
    cloud.deliver(QueueName::Plan).await;
    let received = cloud.queues.receive(QueueName::Launch, 10);
    let stop = received.iter().find(|one| one.body.contains("stop"));
    let body = stop.unwrap().body.clone();
    for one in &received {
        cloud.queues.delete(QueueName::Launch, one.number);
    }
    let ports = cloud.ports.ports();
    let before = cloud.queues.bodies(QueueName::Plan).len();
    let letter = dead_letters::bury(
        &ports,
        &*cloud.queues,
        QueueName::Launch,
        &body,
        "throttled",
    );
    letter.await.unwrap();
    assert_eq!(cloud.queues.bodies(QueueName::Plan).len(), before);
    assert_eq!(cloud.ecs.alive(), 1);
    // The shard still wants it stopped, and says so again.
    assert!(cloud.run(&id, HOUR).await);
    assert_eq!(cloud.row(&id).await.state, "KILLED");
    assert_eq!(cloud.ecs.alive(), 0);
}

#[tokio::test]
async fn an_execution_whose_plan_is_damaged_fails_and_says_so() {
    let mut cloud = CloudWorld::default();
    let id = cloud.start(&chain(1)).await;
    let hash = cloud.row(&id).await.meta.plan_hash;
    cloud.ports.store.damage_plan(&hash);
    cloud.cold_start();
    let body = cloud.queues.bodies(QueueName::Plan).remove(0);
    let ports = cloud.ports.ports();
    let letter = dead_letters::bury(&ports, &*cloud.queues, QueueName::Plan, &body, "again");
    letter.await.unwrap();
    let row = cloud.row(&id).await;
    assert_eq!(row.state, "FAILED");
    assert!(row.reason.unwrap().contains("cannot be read"), "{hash}");
}

#[tokio::test]
async fn a_task_of_a_shard_of_another_release_is_left_alone() {
    let mut cloud = slow();
    let id = cloud.start(&chain(1)).await;
    cloud.wait(2 * MINUTE).await;
    assert_eq!(cloud.ecs.alive(), 1);
    let key = ShardKey::root(&id);
    let stored = cloud.ports.store.shard(&key).await.unwrap().unwrap();
    let foreign = |bytes: Vec<u8>, expected| Write {
        shards: vec![ShardWrite {
            key: key.clone(),
            expected,
            bytes,
            due_ms: None,
        }],
        ..Write::default()
    };
    let store = &cloud.ports.store;
    store
        .write(foreign(vec![0xff; 40], stored.version))
        .await
        .unwrap();
    cloud.wait(20 * MINUTE).await;
    assert_eq!(
        cloud.ecs.alive(),
        1,
        "somebody else may know what it is for"
    );
}

#[tokio::test]
async fn one_message_of_a_shard_that_cannot_be_handled_is_not_the_end_of_the_others() {
    let mut cloud = slow();
    let id = cloud.start(&chain(1)).await;
    cloud.wait(2 * MINUTE).await;
    let key = ShardKey::root(&id);
    let report = |row| {
        let event = Event::Done {
            slot: 1,
            attempt: 1,
            outcome: Outcome::Success,
            age_ms: 1,
        };
        let message = EventMessage {
            row,
            ..EventMessage::new(key.clone(), event)
        };
        Outgoing::now(PlanMessage::from(message).encode().unwrap())
    };
    // The detail item of one of them is not taken by the store.
    let mut large: AttemptRow = serde_json::from_value(json!({
        "execution": id, "taskRun": {"shard": "0", "slot": 1}, "attempt": 1, "task": "t0", "name": "t0",
        "item": null, "parent": null, "state": "SUCCESS", "reason": null, "message": null, "exitCode": null,
        "createdMs": 2, "startedMs": 3, "endedMs": 5, "outputs": {}, "outputsUri": null, "metrics": [],
        "usage": {"peakRssBytes": 1, "cpuSeconds": 1.0},
    }))
    .unwrap();
    large.message = Some("refused".to_owned());
    cloud.ports.store.refuse_rows("refused");
    cloud.queues.put(QueueName::Plan, report(Some(large)));
    cloud.queues.put(QueueName::Plan, report(None));
    cloud.deliver(QueueName::Plan).await;
    assert_eq!(cloud.row(&id).await.state, "SUCCESS");
}
