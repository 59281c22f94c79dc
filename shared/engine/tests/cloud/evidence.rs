//! E1 to E15: failures known from public trackers of orchestrators that launch tasks on ECS. Where the harness can take
//! a defence away, a twin of the test shows that it then fails.

use std::sync::Arc;

use operon_core::exec::{Event, Reason};
use operon_engine::fargate;
use operon_engine::ports::{
    AttemptId, ContainerView, Ecs, EcsError, Outgoing, QueueName, TaskRunKey, TaskView,
};
use operon_engine::reconciler::{Probe, Reconciler};
use operon_engine::wire::{self, EventMessage, PlanMessage};
use operon_testkit::cloud::{CloudWorld, Defences, Fate, Shape, Signals, When};

use super::{HOUR, chain, plan};

fn attempt(execution: &str, slot: u16) -> AttemptId {
    AttemptId {
        execution: execution.parse().unwrap(),
        task_run: TaskRunKey {
            shard: "0".parse().unwrap(),
            slot,
        },
        attempt: 1,
    }
}

/// Kills the planner between its write and its sending; without reconciler only redelivery heals. Whether the
/// execution ends.
async fn crash_between_write_and_send(defences: Defences) -> bool {
    let mut cloud = CloudWorld::new(
        Defences {
            reconciler: false,
            ..defences
        },
        Vec::new(),
    );
    let id = cloud.start(&chain(1)).await;
    // The first write of the start is the shard's.
    cloud.faults.kill_at(0, When::After);
    cloud.deliver(QueueName::Plan).await;
    assert!(cloud.faults.fired());
    cloud.run(&id, 4 * 60_000).await
}

#[tokio::test]
async fn e01_a_crash_between_state_and_submit_is_healed_by_redelivery() {
    assert!(crash_between_write_and_send(Defences::default()).await);
    let acknowledge_first = Defences {
        acknowledge_last: false,
        ..Defences::default()
    };
    assert!(!crash_between_write_and_send(acknowledge_first).await);
}

/// A launch whose answer is lost is launched again; how many tasks there are.
async fn lost_answers(tokens: bool) -> usize {
    let mut cloud = CloudWorld::new(
        Defences {
            tokens,
            ..Defences::default()
        },
        Vec::new(),
    );
    cloud.ecs.lose_answer();
    cloud.ecs.lose_answer();
    let id = cloud.start(&chain(1)).await;
    assert!(cloud.run(&id, HOUR).await);
    assert_eq!(cloud.row(&id).await.state, "SUCCESS");
    cloud.ecs.launches().len()
}

#[tokio::test]
async fn e02_a_retried_launch_makes_no_ghost_task() {
    assert_eq!(lost_answers(true).await, 1);
    assert!(lost_answers(false).await > 1);
}

/// The launch message comes ten times; how many tasks there are.
async fn repeated_launch(tokens: bool) -> usize {
    let mut cloud = CloudWorld::new(
        Defences {
            tokens,
            ..Defences::default()
        },
        Vec::new(),
    );
    let id = cloud.start(&chain(1)).await;
    cloud.deliver(QueueName::Plan).await;
    let body = cloud.queues.bodies(QueueName::Launch).remove(0);
    for _ in 0..9 {
        cloud
            .queues
            .put(QueueName::Launch, Outgoing::now(body.clone()));
    }
    assert!(cloud.run(&id, HOUR).await);
    cloud.ecs.launches().len()
}

#[tokio::test]
async fn e03_a_submit_that_comes_again_starts_nothing_more() {
    assert_eq!(repeated_launch(true).await, 1);
    assert!(repeated_launch(false).await > 1);
}

/// The first attempts never start; whether the execution ends well, and by how many launches.
async fn never_starts(shape: Shape, defences: Defences) -> (String, usize) {
    let mut cloud = CloudWorld::new(defences, Vec::new());
    cloud.ecs.script(move |id| {
        if id.attempt < 3 {
            Fate::ends(shape.clone())
        } else {
            Fate::success()
        }
    });
    let id = cloud.start(&chain(1)).await;
    cloud.run(&id, 3 * HOUR).await;
    (cloud.row(&id).await.state, cloud.ecs.launches().len())
}

#[tokio::test]
async fn e04_a_task_that_never_starts_is_launched_again_for_free() {
    let eni = "Timeout waiting for network interface provisioning to complete.".to_owned();
    let all = Defences::default();
    // The flow has no retry: these attempts are free.
    let said = never_starts(Shape::NeverStarts(eni.clone()), all).await;
    assert_eq!(said, ("SUCCESS".to_owned(), 3));
    // Thirty minutes in PROVISIONING: nobody says anything, the start deadline does.
    let stuck = never_starts(Shape::Stuck, all).await;
    assert_eq!(stuck, ("SUCCESS".to_owned(), 3));
    let deaf = Defences {
        watcher: false,
        reconciler: false,
        ..all
    };
    let (state, _) = never_starts(Shape::Vanishes, deaf).await;
    assert_eq!(state, "SUCCESS", "the shard's own ticks ask too");
}

#[tokio::test]
async fn e05_an_end_without_an_exit_code_is_never_a_success() {
    // Whatever ECS says of a stopped task, it never proves a success.
    let codes = [None, Some(0), Some(75), Some(137)];
    let stop_codes = [
        "TaskFailedToStart",
        "EssentialContainerExited",
        "SpotInterruption",
        "",
    ];
    for stop_code in stop_codes {
        for main in codes {
            for agent in codes {
                let view = |name: &str, exit_code| ContainerView {
                    name: name.to_owned(),
                    exit_code,
                    reason: None,
                };
                let task = TaskView {
                    last_status: "STOPPED".to_owned(),
                    stop_code: Some(stop_code.to_owned()),
                    containers: vec![view("main", main), view("agent", agent)],
                    ..TaskView::default()
                };
                let ended = fargate::ended(&task);
                assert!(!format!("{ended:?}").contains("Success"), "{ended:?}");
            }
        }
    }
    let mut cloud = CloudWorld::default();
    cloud.ecs.script(|_| Fate::ends(Shape::Mute));
    let id = cloud.start(&chain(1)).await;
    assert!(cloud.run(&id, 5 * HOUR).await);
    let row = cloud.row(&id).await;
    assert_eq!(row.state, "FAILED");
    let rows = cloud.rows(&id).await;
    assert!(
        rows.iter().any(|row| row.reason.as_deref() == Some("lost")),
        "{rows:?}"
    );
}

/// The first process is gone and ECS never says so; whether the execution ends in ten minutes, and what is left.
async fn never_stops(agent: bool) -> (bool, usize) {
    let mut cloud = CloudWorld::default();
    cloud.ecs.script(move |_| Fate {
        shape: Shape::NeverStops,
        runs_ms: 60_000,
        signals: Signals {
            agent,
            manifest: false,
            event: true,
        },
    });
    let id = cloud.start(&chain(1)).await;
    let over = cloud.run(&id, 10 * 60_000).await;
    cloud.wait(HOUR).await;
    (over, cloud.ecs.alive())
}

#[tokio::test]
async fn e06_a_task_that_never_stops_ends_by_its_own_report_and_is_stopped() {
    assert_eq!(never_stops(true).await, (true, 0));
    let (over, _) = never_stops(false).await;
    assert!(!over);
}

#[tokio::test]
async fn e07_nobody_polls_and_the_reconciler_reads_100_tasks_a_call() {
    let mut cloud = CloudWorld::default();
    cloud.ecs.script(|_| Fate {
        runs_ms: 4 * 60_000,
        ..Fate::success()
    });
    let flow = plan(
        "tasks:\n  - id: each\n    type: foreach\n    values: \"{{ range(0, 29) }}\"\n    concurrencyLimit: 30\n    tasks:\n      - {id: align, type: container, containerImage: x}\n",
    );
    let id = cloud.start(&flow).await;
    cloud.wait(3 * 60_000).await;
    let asked = |cloud: &CloudWorld| {
        let counts = cloud.faults.counts();
        counts.get(&("ECS", "describe")).copied().unwrap_or(0)
            + counts.get(&("ECS", "list")).copied().unwrap_or(0)
    };
    assert_eq!(asked(&cloud), 0, "the way of a success asks ECS nothing");
    // All at once: a page of the list for each state, and 100 tasks a description.
    let probes = (0..120).map(|_| Probe {
        id: attempt("e1", 1),
        launched_ms: cloud.now(),
        missed: 0,
    });
    let queue = Arc::clone(&cloud.queues) as Arc<_>;
    let ecs = Arc::clone(&cloud.ecs) as Arc<dyn Ecs>;
    let reconciler = Reconciler::new(cloud.ports.ports(), queue, ecs);
    reconciler.ask(probes.collect()).await.unwrap();
    assert!(asked(&cloud) <= 5, "{}", asked(&cloud));
    assert!(cloud.run(&id, 5 * HOUR).await);
    assert_eq!(cloud.row(&id).await.state, "SUCCESS");
}

#[tokio::test]
async fn e08_an_attempt_that_vanished_is_not_polled_for_ever() {
    let mut cloud = CloudWorld::default();
    cloud.ecs.script(|_| Fate::ends(Shape::Vanishes));
    let id = cloud.start(&chain(1)).await;
    assert!(cloud.run(&id, 8 * HOUR).await, "it is still asked for");
    let rows = cloud.rows(&id).await;
    let last = rows.iter().rfind(|row| row.task == "t0").unwrap();
    assert_eq!(last.reason.as_deref(), Some("lost"));
    // Free launches are bounded: the core forgives seven faults of the infrastructure.
    assert_eq!(cloud.ecs.launches().len(), 8);
    // Without the question nobody learns it before the attempt's own deadline, hours later.
    let mut cloud = CloudWorld::default();
    cloud.ecs.script(|_| Fate {
        shape: Shape::NeverStops,
        runs_ms: 60_000,
        signals: Signals {
            agent: false,
            manifest: false,
            event: false,
        },
    });
    let id = cloud.start(&chain(1)).await;
    assert!(!cloud.run(&id, HOUR / 2).await);
}

#[tokio::test]
async fn e09_throttling_in_disguise_is_no_failure() {
    let subnet = "Error retrieving subnet information for [subnet-1]: Rate exceeded (Service: Ec2)";
    let mut cloud = CloudWorld::default();
    cloud.ecs.refuse("InvalidParameterException", subnet);
    cloud.ecs.refuse("ThrottlingException", "Rate exceeded");
    let id = cloud.start(&chain(1)).await;
    assert!(cloud.run(&id, HOUR).await);
    assert_eq!(cloud.row(&id).await.state, "SUCCESS");
    let launches = cloud.ecs.launches();
    assert_eq!(
        (launches.len(), launches[0].0.attempt),
        (1, 1),
        "no attempt was used up"
    );
    // The same code with another text is a mistake that no repetition mends.
    let mut cloud = CloudWorld::default();
    cloud.ecs.refuse(
        "InvalidParameterException",
        "No Container Instances were found",
    );
    let id = cloud.start(&chain(1)).await;
    assert!(cloud.run(&id, HOUR).await);
    assert_eq!(cloud.row(&id).await.state, "FAILED");
}

/// Two launchers that know nothing of each other's registrations but by the record.
async fn registrations(shared: bool) -> usize {
    use operon_engine::launcher::{LaunchOptions, Launcher};
    use operon_engine::ports::{SecretError, SecretNames};

    struct NoNames;
    #[async_trait::async_trait]
    impl SecretNames for NoNames {
        async fn arn(&self, _: &str, name: &str) -> Result<String, SecretError> {
            Ok(name.to_owned())
        }
    }
    let mut cloud = CloudWorld::default();
    let flow = plan(
        "tasks:\n  - id: both\n    type: parallel\n    tasks:\n      - {id: a, type: container, containerImage: x}\n      - {id: b, type: container, containerImage: x}\n",
    );
    let _ = cloud.start(&flow).await;
    cloud.deliver(QueueName::Plan).await;
    let ids: Vec<(AttemptId, u64)> = cloud
        .queues
        .bodies(QueueName::Launch)
        .iter()
        .map(|body| match wire::decode(body).unwrap() {
            wire::LaunchMessage::Launch { id, since_ms } => (id, since_ms),
            other @ (wire::LaunchMessage::Stop { .. } | wire::LaunchMessage::Probe { .. }) => {
                panic!("{other:?}")
            }
        })
        .collect();
    let launcher = |own_records: bool| {
        let mut ports = cloud.ports.ports();
        if own_records {
            ports.records = operon_testkit::memory::MemoryPorts::default().records;
        }
        let queue = Arc::clone(&cloud.queues) as Arc<_>;
        let ecs = Arc::clone(&cloud.ecs) as Arc<_>;
        let site = fargate::Site::default();
        Launcher::new(
            ports,
            queue,
            ecs,
            Arc::new(NoNames),
            site,
            LaunchOptions::default(),
        )
    };
    let (one, other) = (launcher(!shared), launcher(!shared));
    let first = one.launch(&ids[0].0, ids[0].1);
    let second = other.launch(&ids[1].0, ids[1].1);
    let (first, second) = tokio::join!(first, second);
    first.unwrap();
    second.unwrap();
    cloud.ecs.definitions().len()
}

#[tokio::test]
async fn e10_a_task_definition_is_registered_once_whoever_needs_it_first() {
    assert_eq!(registrations(true).await, 1);
    assert_eq!(registrations(false).await, 2);
}

#[tokio::test]
async fn e11_a_message_that_comes_again_changes_nothing_and_is_acknowledged() {
    let mut cloud = CloudWorld::default();
    let id = cloud.start(&chain(2)).await;
    let mut seen: Vec<(QueueName, String)> = Vec::new();
    let queues = [QueueName::Plan, QueueName::Launch, QueueName::Work];
    for _ in 0..40 {
        for queue in queues {
            for body in queues.iter().flat_map(|one| {
                cloud
                    .queues
                    .bodies(*one)
                    .into_iter()
                    .map(|body| (*one, body))
            }) {
                if !seen.contains(&body) {
                    seen.push(body);
                }
            }
            cloud.deliver(queue).await;
        }
        cloud.wait(10_000).await;
    }
    assert!(cloud.run(&id, HOUR).await);
    let before = cloud.rows(&id).await;
    assert!(seen.len() >= 3, "{}", seen.len());
    // Everything that was ever said is said again, after the end.
    for (queue, body) in &seen {
        cloud.queues.put(*queue, Outgoing::now(body.clone()));
    }
    cloud.wait(2 * HOUR).await;
    assert_eq!(cloud.rows(&id).await, before);
    assert_eq!(cloud.ecs.launches().len(), 2);
    for queue in QueueName::ALL {
        assert_eq!(
            cloud.queues.bodies(queue),
            Vec::<String>::new(),
            "{queue:?} is not empty"
        );
    }
    // The twin: a handler that treats a repeated message as a mistake keeps it until it is a dead letter, as
    // garbage does in `life::garbage_becomes_a_dead_letter_and_disturbs_nobody`.
}

#[tokio::test]
async fn e12_what_is_large_goes_by_reference() {
    let mut cloud = CloudWorld::default();
    let big = "x".repeat(200 * 1024);
    let flow = plan(&format!(
        "tasks:\n  - {{id: a, type: return, format: {big}}}\n"
    ));
    let id = cloud.start(&flow).await;
    assert!(cloud.run(&id, HOUR).await);
    assert_eq!(cloud.row(&id).await.state, "SUCCESS");
    let rows = cloud.rows(&id).await;
    let a = rows.iter().find(|row| row.task == "a").unwrap();
    assert!(a.outputs.is_empty() && a.outputs_uri.is_some());
    // By value it would not have gone at all.
    let mut row = a.clone();
    row.message = Some(big.repeat(2));
    let message = EventMessage {
        row: Some(row),
        ..EventMessage::new(a_key(), Event::Tick)
    };
    assert!(PlanMessage::from(message).encode().is_err());
}

fn a_key() -> operon_engine::ports::ShardKey {
    attempt("e1", 0).shard_key()
}

/// 200 launches of a backfill wait; after how many batches of 10 comes the one of live work.
fn behind_a_backfill(fair: bool) -> usize {
    let cloud = CloudWorld::new(
        Defences {
            fair,
            ..Defences::default()
        },
        Vec::new(),
    );
    let mut meta = operon_engine::ports::ExecutionMeta {
        id: "e1".parse().unwrap(),
        namespace: "genomics".to_owned(),
        flow: "qc".to_owned(),
        revision: 1,
        plan_hash: String::new(),
        inputs: serde_json::Map::new(),
        labels: std::collections::BTreeMap::new(),
        trigger: serde_json::Value::Null,
        created_ms: 0,
        parent: None,
        replay_of: None,
        flow_dir: None,
        priority: -1,
    };
    for _ in 0..200 {
        let message = Outgoing::now("backfill".to_owned()).of(&wire::lane(&meta));
        cloud.queues.put(QueueName::Launch, message);
    }
    // Some of it is under way when the live work comes.
    cloud.queues.receive(QueueName::Launch, 10);
    meta.priority = 0;
    let message = Outgoing::now("live".to_owned()).of(&wire::lane(&meta));
    cloud.queues.put(QueueName::Launch, message);
    for batch in 1.. {
        let received = cloud.queues.receive(QueueName::Launch, 10);
        if received.iter().any(|one| one.body == "live") {
            return batch;
        }
    }
    0
}

#[tokio::test]
async fn e13_a_backfill_does_not_starve_live_work() {
    assert_eq!(behind_a_backfill(true), 1);
    assert!(behind_a_backfill(false) > 10);
}

#[tokio::test]
async fn e14_a_fan_in_grows_no_item_and_no_history() {
    let fan = |count: u32| {
        plan(&format!(
            "tasks:\n  - id: each\n    type: foreach\n    values: \"{{{{ range(0, {}) }}}}\"\n    concurrencyLimit: 64\n    tasks:\n      - {{id: align, type: container, containerImage: x}}\n  - {{id: join, type: return, format: done, dependsOn: [each]}}\n",
            count - 1
        ))
    };
    let mut per_task_run = Vec::new();
    for count in [200, 800] {
        let mut cloud = CloudWorld::default();
        let id = cloud.start(&fan(count)).await;
        cloud.faults.reset_counts();
        assert!(cloud.run(&id, 100 * HOUR).await);
        assert_eq!(cloud.row(&id).await.state, "SUCCESS");
        assert!(cloud.ports.store.largest_shard() <= 1024);
        let counts = cloud.faults.counts();
        let writes: u64 = ["write shard", "write attempt"]
            .iter()
            .filter_map(|what| counts.get(&("DynamoDB", *what)))
            .sum();
        #[allow(clippy::cast_precision_loss)]
        per_task_run.push(writes as f64 / f64::from(count));
    }
    // Four times as many cost four times as much, not sixteen. A join on one item, as in `simulate`'s mutations,
    // writes the whole of it for each member.
    assert!(per_task_run[1] <= 2.5, "{per_task_run:?}");
    assert!(per_task_run[1] <= per_task_run[0] * 1.2, "{per_task_run:?}");
}

/// Reports of 64 parallel task runs come together; how many writes of the shard they cost.
async fn writes_of_64_reports(batch: usize) -> u64 {
    let mut cloud = CloudWorld::default();
    cloud.batch = batch;
    let tasks: String = (0..64)
        .map(|n| format!("      - {{id: t{n}, type: container, containerImage: x}}\n"))
        .collect::<Vec<_>>()
        .concat();
    let flow = plan(&format!(
        "tasks:\n  - id: all\n    type: parallel\n    tasks:\n{tasks}"
    ));
    let id = cloud.start(&flow).await;
    cloud.wait(60_000).await;
    cloud.faults.reset_counts();
    assert!(cloud.run(&id, HOUR).await);
    let counts = cloud.faults.counts();
    counts
        .get(&("DynamoDB", "write shard"))
        .copied()
        .unwrap_or(0)
}

#[tokio::test]
async fn e15_reports_that_come_together_are_one_write() {
    let together = writes_of_64_reports(10).await;
    assert!(together <= 10, "{together}");
    let alone = writes_of_64_reports(1).await;
    assert!(alone >= 64, "{alone}");
}

/// An error that ECS never gives says nothing about the attempt.
#[test]
fn unknown_answers_are_asked_again() {
    let error = EcsError {
        code: "Timeout".to_owned(),
        message: String::new(),
        resource_ids: Vec::new(),
    };
    assert!(matches!(
        fargate::answer(&error),
        fargate::Answer::Unknown(_)
    ));
    assert!(Reason::StartFailed.is_infrastructure());
}
