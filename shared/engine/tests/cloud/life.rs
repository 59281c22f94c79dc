//! Whole executions: what should happen, happens.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use operon_core::exec::Event;
use operon_core::plan::Plan;
use operon_engine::dead_letters;
use operon_engine::ports::{
    AttemptId, AttemptRow, ExecutionFilter, ExecutionId, ExecutionRow, Outgoing, Queue, QueueName,
    ShardKey, StateStore as _,
};
use operon_engine::subflow::child_id;
use operon_engine::wire::{self, EventMessage, WorkMessage};
use operon_testkit::cloud::{CloudWorld, Defences, Fate, Shape, Signals};
use serde_json::json;

use super::{HOUR, chain, plan, plan_of};

#[tokio::test]
async fn a_chain_of_containers_succeeds() {
    let mut cloud = CloudWorld::default();
    let id = cloud.start(&chain(3)).await;
    assert!(cloud.run(&id, HOUR).await);
    let row = cloud.row(&id).await;
    assert_eq!(row.state, "SUCCESS");
    assert_eq!(cloud.ecs.launches().len(), 3);
    let rows = cloud.rows(&id).await;
    let t2 = rows.iter().find(|row| row.task == "t2").unwrap();
    assert_eq!((t2.state.as_str(), t2.exit_code), ("SUCCESS", Some(0)));
    assert_eq!(t2.outputs["exitCode"], 0);
    cloud.wait(HOUR).await;
    for queue in QueueName::ALL {
        assert_eq!(
            cloud.queues.bodies(queue),
            Vec::<String>::new(),
            "{queue:?}"
        );
    }
}

#[tokio::test]
async fn built_in_tasks_need_no_container() {
    let mut cloud = CloudWorld::default();
    let flow = plan(
        "tasks:\n  - {id: a, type: return, format: x}\n  - {id: b, type: return, format: \"{{ outputs.a.value }}y\"}\n",
    );
    let id = cloud.start(&flow).await;
    assert!(cloud.run(&id, HOUR).await);
    assert_eq!(cloud.row(&id).await.state, "SUCCESS");
    let rows = cloud.rows(&id).await;
    let b = rows.iter().find(|row| row.task == "b").unwrap();
    assert_eq!(b.outputs["value"], "xy");
    assert_eq!(cloud.ecs.launches().len(), 0);
}

#[tokio::test]
async fn a_loop_is_carried_out_in_its_window() {
    let mut cloud = CloudWorld::default();
    let flow = plan(
        "tasks:\n  - id: each\n    type: foreach\n    values: \"{{ range(0, 299) }}\"\n    concurrencyLimit: 40\n    tasks:\n      - {id: align, type: container, containerImage: x}\n",
    );
    let id = cloud.start(&flow).await;
    assert!(cloud.run(&id, 24 * HOUR).await);
    assert_eq!(cloud.row(&id).await.state, "SUCCESS");
    assert_eq!(cloud.ecs.launches().len(), 300);
    assert!(cloud.ports.store.largest_shard() <= 1024);
}

#[tokio::test]
async fn each_of_the_three_signals_alone_is_enough() {
    // A failure: ECS says so by itself. A success is never said by ECS, so it needs the manifest.
    for (shape, signals, state) in [
        (Shape::Success, (true, false, false), "SUCCESS"),
        (Shape::Success, (false, true, true), "SUCCESS"),
        (Shape::Success, (false, true, false), "SUCCESS"),
        (Shape::Exit(3), (true, false, false), "FAILED"),
        (Shape::Exit(3), (false, false, true), "FAILED"),
        (Shape::Exit(3), (false, false, false), "FAILED"),
    ] {
        let mut cloud = CloudWorld::default();
        let (agent, manifest, event) = signals;
        let fate = Fate {
            shape: shape.clone(),
            runs_ms: 60_000,
            signals: Signals {
                agent,
                manifest,
                event,
            },
        };
        cloud.ecs.script(move |_| fate.clone());
        let id = cloud.start(&chain(1)).await;
        assert!(cloud.run(&id, 2 * HOUR).await, "{shape:?} {signals:?}");
        assert_eq!(cloud.row(&id).await.state, state, "{shape:?} {signals:?}");
        assert_eq!(cloud.ecs.launches().len(), 1, "{shape:?} {signals:?}");
    }
}

/// A cloud with a flow `child`, and containers that run for hours.
fn with_long_child() -> CloudWorld {
    let child = plan_of(
        "child",
        "tasks:\n  - {id: long, type: container, containerImage: x}\n",
    );
    let cloud = CloudWorld::new(Defences::default(), vec![child]);
    cloud.ecs.script(|_| Fate {
        runs_ms: 10 * HOUR,
        ..Fate::success()
    });
    cloud
}

#[tokio::test]
async fn a_kill_stops_every_container_children_included() {
    let mut cloud = with_long_child();
    let flow = plan(
        "tasks:\n  - id: both\n    type: parallel\n    tasks:\n      - {id: own, type: container, containerImage: x}\n      - {id: sub, type: subflow, flowId: child, namespace: genomics}\n",
    );
    let id = cloud.start(&flow).await;
    cloud.wait(5 * 60_000).await;
    assert_eq!(cloud.ecs.alive(), 2);
    cloud.kill(&id);
    assert!(cloud.run(&id, HOUR).await);
    assert_eq!(cloud.row(&id).await.state, "KILLED");
    assert_eq!(cloud.ecs.alive(), 0);
}

#[tokio::test]
async fn a_task_that_does_not_stop_is_asked_after_at_the_same_pace_for_ever() {
    Box::pin(asked_after(CloudWorld::default(), &chain(1))).await;
}

#[tokio::test]
async fn so_is_one_in_a_subflow() {
    let flow = plan("tasks:\n  - {id: sub, type: subflow, flowId: child, namespace: genomics}\n");
    Box::pin(asked_after(with_long_child(), &flow)).await;
}

/// Kills an execution whose container does not stop.
async fn asked_after(mut cloud: CloudWorld, flow: &Plan) {
    cloud.ecs.script(|_| Fate {
        runs_ms: 10 * HOUR,
        ..Fate::ends(Shape::Unstoppable)
    });
    let id = cloud.start(flow).await;
    cloud.wait(5 * 60_000).await;
    cloud.kill(&id);
    let mut asked = Vec::new();
    for _ in 0..4 {
        cloud.faults.reset_counts();
        assert!(!cloud.run(&id, HOUR).await);
        asked.push(cloud.faults.count("ECS"));
    }
    // Nothing proves that it is over, so it is not, and somebody looks at least every minute.
    assert_eq!(cloud.row(&id).await.state, "KILLING");
    assert!(asked.iter().all(|count| *count > 60), "{asked:?}");
    let (least, most) = (asked.iter().min().unwrap(), asked.iter().max().unwrap());
    assert!(most - least <= least / 5, "{asked:?}");
}

#[tokio::test]
async fn a_stop_that_comes_once_more_does_not_end_a_subflow_that_was_restarted() {
    let mut cloud = with_long_child();
    let flow = plan("tasks:\n  - {id: sub, type: subflow, flowId: child, namespace: genomics}\n");
    let id = cloud.start(&flow).await;
    cloud.wait(5 * 60_000).await;
    cloud.kill(&id);
    assert!(cloud.run(&id, HOUR).await);
    let rows = cloud.rows(&id).await;
    let sub = rows.iter().find(|row| row.task == "sub").unwrap();
    let attempt = AttemptId {
        execution: id.clone(),
        task_run: sub.task_run.clone(),
        attempt: 1,
    };
    let child = child_id(&attempt).unwrap();
    assert_eq!(cloud.row(&child).await.state, "KILLED");
    let restart = Event::Restart {
        round: 1,
        tolerated: false,
    };
    cloud.tell(EventMessage::new(ShardKey::root(&child), restart));
    cloud.wait(5 * 60_000).await;
    assert_eq!(cloud.ecs.alive(), 1);
    let stop = WorkMessage::Stop {
        id: attempt,
        since_ms: cloud.now(),
        told: false,
    };
    let text = wire::encode(&stop).unwrap();
    cloud.queues.put(QueueName::Work, Outgoing::now(text));
    cloud.wait(5 * 60_000).await;
    assert_eq!(cloud.row(&child).await.state, "RUNNING");
    assert_eq!(cloud.ecs.alive(), 1);
}

#[tokio::test]
async fn a_kill_before_the_launch_leaves_nothing_to_start() {
    let mut cloud = CloudWorld::default();
    let id = cloud.start(&chain(1)).await;
    cloud.deliver(QueueName::Plan).await; // The launch is on its way.
    cloud.kill(&id);
    cloud.deliver(QueueName::Plan).await;
    assert!(cloud.run(&id, HOUR).await);
    assert_eq!(cloud.row(&id).await.state, "KILLED");
    assert_eq!(cloud.ecs.alive(), 0);
}

#[tokio::test]
async fn a_subflow_answers_the_task_that_waits_for_it() {
    let child = plan_of(
        "child",
        "tasks:\n  - {id: one, type: return, format: x}\noutputs:\n  - {id: got, type: STRING, value: \"{{ outputs.one.value }}\"}\n",
    );
    let mut cloud = CloudWorld::new(Defences::default(), vec![child]);
    let flow = plan("tasks:\n  - {id: sub, type: subflow, flowId: child, namespace: genomics}\n");
    let id = cloud.start(&flow).await;
    assert!(cloud.run(&id, HOUR).await);
    assert_eq!(cloud.row(&id).await.state, "SUCCESS");
    let rows = cloud.rows(&id).await;
    let sub = rows.iter().find(|row| row.task == "sub").unwrap();
    assert_eq!(sub.outputs["outputs"]["got"], "x");
}

/// A flow that is tried again as a new execution, five minutes later, at most twice.
const TRIED_AGAIN: &str = "retry: {behavior: CREATE_NEW_EXECUTION, type: constant, interval: PT5M, maxAttempts: 3}\ntasks:\n  - {id: one, type: container, containerImage: x}\n";

/// The outputs and the message of the task `sub`.
async fn sub(cloud: &CloudWorld, id: &ExecutionId) -> AttemptRow {
    let rows = cloud.rows(id).await;
    rows.into_iter().find(|row| row.task == "sub").unwrap()
}

async fn tries(cloud: &CloudWorld) -> Vec<ExecutionRow> {
    let filter = ExecutionFilter {
        flow: Some("child".to_owned()),
        limit: 10,
        ..ExecutionFilter::default()
    };
    let mut rows = cloud.ports.store.executions(&filter).await.unwrap();
    rows.sort_by_key(|row| row.meta.created_ms);
    rows
}

#[tokio::test]
async fn a_subflow_that_is_tried_again_answers_as_its_last_try_did() {
    for (failures, state) in [(2, "SUCCESS"), (9, "FAILED")] {
        let child = plan_of("child", TRIED_AGAIN);
        let mut cloud = CloudWorld::new(Defences::default(), vec![child]);
        let begun = AtomicU32::new(0);
        cloud.ecs.script(move |_| {
            let before = begun.fetch_add(1, Ordering::SeqCst);
            let exit = (before < failures).then_some(Shape::Exit(4));
            exit.map_or_else(Fate::success, Fate::ends)
        });
        let flow =
            plan("tasks:\n  - {id: sub, type: subflow, flowId: child, namespace: genomics}\n");
        let id = cloud.start(&flow).await;
        assert!(cloud.run(&id, 3 * HOUR).await);
        assert_eq!(cloud.row(&id).await.state, state);
        let tries = tries(&cloud).await;
        let states: Vec<&str> = tries.iter().map(|row| row.state.as_str()).collect();
        assert_eq!(states, ["RETRIED", "RETRIED", state]);
        let sub = sub(&cloud, &id).await;
        let last = &tries[2].meta.id;
        assert_eq!(sub.outputs["executionId"], json!(last));
        if state == "FAILED" {
            let message = sub.message.unwrap();
            let named = format!(
                "execution {last} of flow `genomics.child` ended FAILED: task `one` failed: exit code"
            );
            assert_eq!(message, named);
            let reason = cloud.row(&id).await.reason;
            assert_eq!(
                reason.as_deref(),
                Some("task `sub` failed: the execution that it started failed")
            );
        }
    }
}

#[tokio::test]
async fn a_kill_reaches_the_newest_try_of_a_subflow() {
    // While the second one runs, and while it waits for its time.
    for wait in [15, 8, 3] {
        let child = plan_of("child", TRIED_AGAIN);
        let mut cloud = CloudWorld::new(Defences::default(), vec![child]);
        let begun = AtomicU32::new(0);
        cloud.ecs.script(move |_| {
            if begun.fetch_add(1, Ordering::SeqCst) == 0 {
                return Fate::ends(Shape::Exit(4));
            }
            Fate {
                runs_ms: 10 * HOUR,
                ..Fate::success()
            }
        });
        let flow =
            plan("tasks:\n  - {id: sub, type: subflow, flowId: child, namespace: genomics}\n");
        let id = cloud.start(&flow).await;
        cloud.wait(wait * 60_000).await;
        cloud.kill(&id);
        assert!(cloud.run(&id, HOUR).await, "{wait}");
        assert_eq!(cloud.row(&id).await.state, "KILLED");
        cloud.wait(2 * HOUR).await;
        assert_eq!(cloud.ecs.alive(), 0, "{wait}");
        let tries = tries(&cloud).await;
        assert_eq!(tries.last().unwrap().state, "KILLED", "{wait}: {tries:?}");
    }
}

#[tokio::test]
async fn a_subflow_that_a_check_refuses_is_there_as_one_that_failed() {
    let child = plan_of(
        "child",
        "checks:\n  - {when: \"{{ false }}\", message: not today, behavior: FAIL_EXECUTION}\ntasks:\n  - {id: one, type: container, containerImage: x}\n",
    );
    let mut cloud = CloudWorld::new(Defences::default(), vec![child]);
    let flow = plan("tasks:\n  - {id: sub, type: subflow, flowId: child, namespace: genomics}\n");
    let id = cloud.start(&flow).await;
    assert!(cloud.run(&id, HOUR).await);
    assert_eq!(cloud.row(&id).await.state, "FAILED");
    let tries = tries(&cloud).await;
    let facts: Vec<_> = tries
        .iter()
        .map(|row| (row.state.as_str(), row.reason.as_deref()))
        .collect();
    assert_eq!(facts, [("FAILED", Some("not today"))]);
    let message = sub(&cloud, &id).await.message.unwrap();
    let named = format!(
        "execution {} of flow `genomics.child` ended FAILED: not today",
        tries[0].meta.id
    );
    assert_eq!(message, named);
    assert_eq!(cloud.ecs.launches().len(), 0);
}

#[tokio::test]
async fn out_of_memory_is_tried_again_with_more() {
    let mut cloud = CloudWorld::default();
    cloud.ecs.script(|id| match id.attempt {
        1 | 2 => Fate::ends(Shape::OutOfMemory),
        _ => Fate::success(),
    });
    let flow = plan(
        "tasks:\n  - {id: a, type: container, containerImage: x, resources: {memory: 1Gi}, retry: {interval: PT1S, maxAttempts: 3, reasons: OUT_OF_MEMORY}}\n",
    );
    let id = cloud.start(&flow).await;
    assert!(cloud.run(&id, HOUR).await);
    assert_eq!(cloud.row(&id).await.state, "SUCCESS");
    let sizes: Vec<u32> = cloud
        .ecs
        .launches()
        .iter()
        .map(|(_, run)| run.memory_mib)
        .collect();
    assert_eq!(sizes, [1024, 2048, 4096]);
}

#[tokio::test]
async fn two_interruptions_lead_to_capacity_on_demand() {
    let mut cloud = CloudWorld::default();
    cloud.ecs.script(|id| match id.attempt {
        1 | 2 => Fate::ends(Shape::Spot),
        _ => Fate::success(),
    });
    let id = cloud.start(&chain(1)).await;
    assert!(cloud.run(&id, HOUR).await);
    assert_eq!(cloud.row(&id).await.state, "SUCCESS");
    let spot: Vec<bool> = cloud
        .ecs
        .launches()
        .iter()
        .map(|(_, run)| run.spot)
        .collect();
    assert_eq!(spot, [true, true, false]);
}

#[tokio::test]
async fn what_is_not_idempotent_is_launched_once_and_never_on_spare_capacity() {
    let mut cloud = CloudWorld::default();
    cloud.ecs.script(|_| Fate::ends(Shape::Spot));
    let flow =
        plan("tasks:\n  - {id: submit, type: container, containerImage: x, idempotent: false}\n");
    let id = cloud.start(&flow).await;
    assert!(cloud.run(&id, HOUR).await);
    let row = cloud.row(&id).await;
    assert_eq!(
        (row.state.as_str(), row.reason.as_deref()),
        ("FAILED", Some("outcome unknown"))
    );
    let launches = cloud.ecs.launches();
    assert_eq!(launches.len(), 1);
    assert!(!launches[0].1.spot);
}

#[tokio::test]
async fn no_room_on_spare_capacity_leads_to_capacity_on_demand() {
    let mut cloud = CloudWorld::default();
    cloud
        .ecs
        .fail("Capacity is unavailable at this time. Please try again later.");
    let id = cloud.start(&chain(1)).await;
    assert!(cloud.run(&id, HOUR).await);
    let launches = cloud.ecs.launches();
    assert_eq!(launches.len(), 1);
    assert!(!launches[0].1.spot);
}

#[tokio::test]
async fn a_poisoned_message_ends_as_a_poisoned_task_run_and_can_be_put_back() {
    let mut cloud = CloudWorld::default();
    let id = cloud.start(&chain(1)).await;
    cloud.deliver(QueueName::Plan).await;
    let body = cloud.queues.bodies(QueueName::Launch).remove(0);
    // The launcher cannot read what it needs, time after time.
    for received in cloud.queues.receive(QueueName::Launch, 10) {
        cloud.queues.delete(QueueName::Launch, received.number);
    }
    let ports = cloud.ports.ports();
    let buried = dead_letters::bury(&ports, &*cloud.queues, QueueName::Launch, &body, "no role");
    let letter = buried.await.unwrap();
    assert!(cloud.run(&id, HOUR).await);
    let row = cloud.row(&id).await;
    assert_eq!(row.state, "FAILED");
    let rows = cloud.rows(&id).await;
    let t0 = rows.iter().find(|row| row.task == "t0").unwrap();
    assert_eq!(t0.reason.as_deref(), Some("poisoned"));
    assert!(t0.message.as_deref().unwrap().contains("no role"));
    let listed = dead_letters::list(&ports, None, 10).await.unwrap();
    assert_eq!(listed, std::slice::from_ref(&letter));
    let queue: Arc<dyn Queue> = cloud.queues.clone();
    let back = dead_letters::redrive(&ports, &queue, &letter.id).await;
    assert!(back.unwrap());
    assert_eq!(cloud.queues.bodies(QueueName::Launch).len(), 1);
    let back = dead_letters::redrive(&ports, &queue, "q-none").await;
    assert!(!back.unwrap());
    // The fence drops it: the task run is over.
    cloud.wait(HOUR).await;
    assert_eq!(cloud.ecs.launches().len(), 0);
}

#[tokio::test]
async fn a_dead_letter_that_was_put_back_says_so_until_it_comes_again() {
    let mut cloud = CloudWorld::default();
    cloud.start(&chain(1)).await;
    let body = cloud.queues.bodies(QueueName::Plan).remove(0);
    let queue: Arc<dyn Queue> = cloud.queues.clone();
    let ports = cloud.ports.ports();
    let bury = async |reason: &str| {
        let buried = dead_letters::bury(&ports, &*queue, QueueName::Plan, &body, reason);
        let id = buried.await.unwrap().id;
        let listed = dead_letters::list(&ports, None, 10).await.unwrap();
        assert_eq!(listed.len(), 1);
        assert_eq!((&listed[0].id, listed[0].redriven_ms), (&id, None));
        (id, listed[0].reason.clone())
    };
    let (id, _) = bury("first").await;
    // It leaves its queue only after it was kept, so it may be kept twice.
    assert_eq!(bury("again").await.1, "again");
    assert!(dead_letters::redrive(&ports, &queue, &id).await.unwrap());
    let listed = dead_letters::list(&ports, None, 10).await.unwrap();
    assert_eq!(listed[0].redriven_ms, Some(cloud.now()));
    assert_eq!(bury("in vain").await.1, "in vain");
}

#[tokio::test]
async fn an_event_of_ecs_that_nobody_took_is_told_to_the_shard_it_is_about() {
    let mut cloud = CloudWorld::default();
    cloud.start(&chain(1)).await;
    cloud.deliver(QueueName::Plan).await;
    cloud.deliver(QueueName::Launch).await;
    let started_by = cloud.ecs.launches()[0].1.started_by.clone();
    let event = json!({
        "source": "aws.ecs", "detail-type": "ECS Task State Change",
        "detail": {
            "taskArn": "arn:t", "startedBy": started_by, "lastStatus": "STOPPED", "desiredStatus": "STOPPED",
            "containers": [{"name": "main", "exitCode": 3}], "version": 5,
        },
    });
    let queue: Arc<dyn Queue> = cloud.queues.clone();
    let ports = cloud.ports.ports();
    // As EventBridge keeps it, and as Lambda does when the watcher failed.
    let failed = json!({"version": "1.0", "requestPayload": event});
    for body in [event.to_string(), failed.to_string()] {
        let before = cloud.queues.bodies(QueueName::Plan).len();
        let buried = dead_letters::bury(&ports, &*queue, QueueName::Intake, &body, "no answer");
        let letter = buried.await.unwrap();
        let back = dead_letters::redrive(&ports, &queue, &letter.id).await;
        assert!(back.unwrap());
        assert_eq!(cloud.queues.bodies(QueueName::Plan).len(), before + 1);
        assert!(cloud.queues.bodies(QueueName::Intake).is_empty());
    }
}

#[tokio::test]
async fn garbage_becomes_a_dead_letter_and_disturbs_nobody() {
    let mut cloud = CloudWorld::default();
    cloud
        .queues
        .put(QueueName::Plan, Outgoing::now("{not json".to_owned()));
    let id = cloud.start(&chain(1)).await;
    assert!(cloud.run(&id, HOUR).await);
    assert_eq!(cloud.row(&id).await.state, "SUCCESS");
    cloud.wait(HOUR).await;
    let listed = dead_letters::list(&cloud.ports.ports(), None, 10)
        .await
        .unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].execution, None);
}

#[tokio::test]
async fn an_execution_whose_start_is_poisoned_fails_and_says_so() {
    let mut cloud = CloudWorld::default();
    let id = cloud.start(&chain(1)).await;
    let body = cloud.queues.bodies(QueueName::Plan).remove(0);
    let ports = cloud.ports.ports();
    let buried = dead_letters::bury(&ports, &*cloud.queues, QueueName::Plan, &body, "again");
    buried.await.unwrap();
    assert!(cloud.run(&id, HOUR).await);
    let row = cloud.row(&id).await;
    assert!(matches!(row.state.as_str(), "FAILED" | "KILLED"), "{row:?}");
    assert!(
        cloud
            .ports
            .store
            .shard(&ShardKey::root(&id))
            .await
            .unwrap()
            .is_some()
    );
}

#[tokio::test]
async fn an_execution_that_was_only_stored_is_started() {
    let mut cloud = CloudWorld::default();
    let id = cloud.start(&chain(1)).await;
    for received in cloud.queues.receive(QueueName::Plan, 10) {
        cloud.queues.delete(QueueName::Plan, received.number); // Its start is lost.
    }
    assert!(cloud.run(&id, HOUR).await);
    assert_eq!(cloud.row(&id).await.state, "SUCCESS");
}
