//! E1 to E15: failures known from public trackers of orchestrators that launch tasks on ECS. Each test looks twice: with
//! the defence, and without it, where it must see the failure.

use std::sync::Arc;

use operon_core::exec::{Event, Reason};
use operon_engine::fargate;
use operon_engine::ports::{
    AttemptId, AttemptRow, ContainerView, Ecs, EcsError, Outgoing, QueueName, TaskRunKey, TaskView,
};
use operon_engine::reconciler::{Probe, Reconciler};
use operon_engine::step::Outbox;
use operon_engine::wire::{self, EventMessage, PlanMessage};
use operon_testkit::cloud::{CloudWorld, Defences, Fate, Shape, Signals, When};

use super::{HOUR, NoNames, chain, plan};

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
    // Nobody asks: what is stuck stays stuck until its timeout, and that is no free launch.
    let nobody = Defences { asks: false, ..all };
    let (state, launches) = never_starts(Shape::Stuck, nobody).await;
    assert_eq!((state.as_str(), launches), ("FAILED", 1));
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
    let (state, reasons) = mute(Defences::default()).await;
    assert_eq!(state, "FAILED");
    assert!(reasons.contains(&"lost".to_owned()), "{reasons:?}");
    let trusting = Defences {
        evidence: false,
        ..Defences::default()
    };
    assert_eq!(mute(trusting).await.0, "SUCCESS");
}

/// Every container ended with 0, and nothing was stored or reported: the state and the reasons in the end.
async fn mute(defences: Defences) -> (String, Vec<String>) {
    let mut cloud = CloudWorld::new(defences, Vec::new());
    cloud.ecs.script(|_| Fate::ends(Shape::Mute));
    let id = cloud.start(&chain(1)).await;
    assert!(cloud.run(&id, 5 * HOUR).await);
    let rows = cloud.rows(&id).await;
    let reasons = rows.into_iter().filter_map(|row| row.reason).collect();
    (cloud.row(&id).await.state, reasons)
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
    // All at once: a page of what runs, and 100 tasks a description.
    let launches = cloud.ecs.launches();
    let running: Vec<AttemptId> = launches.into_iter().map(|(id, _)| id).collect();
    assert_eq!(running.len(), 30);
    let probe = |id: &AttemptId| Probe {
        id: id.clone(),
        launched_ms: cloud.now(),
        missed: 0,
    };
    let reconciler = || {
        let queue = Arc::clone(&cloud.queues) as Arc<_>;
        let ecs = Arc::clone(&cloud.ecs) as Arc<dyn Ecs>;
        Reconciler::new(cloud.ports.ports(), queue, ecs)
    };
    let together = running.iter().map(probe).collect();
    reconciler().ask(together).await.unwrap();
    assert!(asked(&cloud) <= 5, "{}", asked(&cloud));
    // One by one it would be calls for each.
    for id in &running {
        reconciler().ask(vec![probe(id)]).await.unwrap();
    }
    assert!(asked(&cloud) > 60, "{}", asked(&cloud));
    // Of those that do not run some are asked for, as fast as this function may; the others come again.
    let before = asked(&cloud);
    let unknown = (0..60).map(|slot| probe(&attempt("gone", slot))).collect();
    reconciler().ask(unknown).await.unwrap();
    assert!(asked(&cloud) - before < 60, "{}", asked(&cloud) - before);
    let again = cloud.queues.bodies(QueueName::Launch);
    assert!(again.len() >= 40, "{}", again.len());
    assert!(cloud.run(&id, 5 * HOUR).await);
    assert_eq!(cloud.row(&id).await.state, "SUCCESS");
}

/// Every attempt vanishes; whether the execution ends all the same, by how many launches, and the last reason.
async fn vanishes(defences: Defences) -> (bool, usize, Option<String>) {
    let mut cloud = CloudWorld::new(defences, Vec::new());
    cloud.ecs.script(|_| Fate::ends(Shape::Vanishes));
    let id = cloud.start(&chain(1)).await;
    let over = cloud.run(&id, 8 * HOUR).await;
    let rows = cloud.rows(&id).await;
    let last = rows.into_iter().rfind(|row| row.task == "t0");
    (
        over,
        cloud.ecs.launches().len(),
        last.and_then(|row| row.reason),
    )
}

#[tokio::test]
async fn e08_an_attempt_that_vanished_is_not_polled_for_ever() {
    // Free launches are bounded: the core forgives seven faults of the infrastructure.
    let lost = Some("lost".to_owned());
    assert_eq!(vanishes(Defences::default()).await, (true, 8, lost));
    let forgetful = Defences {
        counts_misses: false,
        ..Defences::default()
    };
    // It is asked for until its timeout ends it, and that is no free launch.
    let timeout = Some("timeout".to_owned());
    assert_eq!(vanishes(forgetful).await, (true, 1, timeout));
}

/// The first launches are refused like this; the state in the end, the launches, and the last attempt's number.
async fn refused(texts: bool, errors: &[(&str, &str)]) -> (String, usize, Option<u8>) {
    let defences = Defences {
        texts,
        ..Defences::default()
    };
    let mut cloud = CloudWorld::new(defences, Vec::new());
    for (code, message) in errors {
        cloud.ecs.refuse(code, message);
    }
    let id = cloud.start(&chain(1)).await;
    assert!(cloud.run(&id, HOUR).await);
    let launches = cloud.ecs.launches();
    let attempt = launches.last().map(|(id, _)| id.attempt);
    (cloud.row(&id).await.state, launches.len(), attempt)
}

#[tokio::test]
async fn e09_throttling_in_disguise_is_no_failure() {
    let code = "InvalidParameterException";
    let subnet = "Error retrieving subnet information for [subnet-1]: Rate exceeded (Service: Ec2)";
    let throttled = [(code, subnet), ("ThrottlingException", "Rate exceeded")];
    let (state, launches, attempt) = refused(true, &throttled).await;
    assert_eq!((state.as_str(), launches), ("SUCCESS", 1));
    assert_eq!(attempt, Some(1), "no attempt was used up");
    // By its code alone it is a mistake that no repetition mends, as the same code with another text is.
    assert_eq!(refused(false, &throttled).await.0, "FAILED");
    let mistake = [(code, "No Container Instances were found")];
    assert_eq!(refused(true, &mistake).await.0, "FAILED");
}

/// Two launchers that know nothing of each other's registrations but by the record.
async fn registrations(shared: bool) -> usize {
    use operon_engine::launcher::{LaunchOptions, Launcher};

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
    let mut said = (Outbox::default(), Outbox::default());
    let first = one.launch(&ids[0].0, ids[0].1, &mut said.0);
    let second = other.launch(&ids[1].0, ids[1].1, &mut said.1);
    let (first, second) = tokio::join!(first, second);
    first.unwrap();
    second.unwrap();
    cloud.ecs.definitions().len()
}

#[tokio::test]
async fn e10_a_task_definition_is_registered_once_whoever_needs_it_first() {
    assert_eq!(Box::pin(registrations(true)).await, 1);
    assert_eq!(Box::pin(registrations(false)).await, 2);
}

/// Everything that was ever said is said again, after the end; what is then left in the queues and beside them.
async fn said_again(repeats: bool) -> usize {
    let mut cloud = CloudWorld::new(
        Defences {
            repeats,
            dead_letters: false,
            ..Defences::default()
        },
        Vec::new(),
    );
    let id = cloud.start(&chain(2)).await;
    let mut seen: Vec<(QueueName, String)> = Vec::new();
    let queues = [QueueName::Plan, QueueName::Launch, QueueName::Work];
    for _ in 0..40 {
        for queue in queues {
            for one in queues {
                let bodies = cloud.queues.bodies(one).into_iter();
                for body in bodies.map(|body| (one, body)) {
                    if !seen.contains(&body) {
                        seen.push(body);
                    }
                }
            }
            cloud.deliver(queue).await;
        }
        cloud.wait(10_000).await;
    }
    assert!(cloud.run(&id, HOUR).await);
    let before = cloud.rows(&id).await;
    assert!(seen.len() >= 3, "{}", seen.len());
    for (queue, body) in &seen {
        cloud.queues.put(*queue, Outgoing::now(body.clone()));
    }
    cloud.wait(2 * HOUR).await;
    assert_eq!(cloud.rows(&id).await, before);
    assert_eq!(cloud.ecs.launches().len(), 2);
    let waiting: usize = QueueName::ALL
        .iter()
        .map(|queue| cloud.queues.bodies(*queue).len())
        .sum();
    waiting + cloud.queues.take_dead().len()
}

#[tokio::test]
async fn e11_a_message_that_comes_again_changes_nothing_and_is_acknowledged() {
    assert_eq!(said_again(true).await, 0);
    // Who takes a repeated message for a mistake keeps it until it is a dead letter.
    assert!(said_again(false).await > 0);
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
    // The same report with its outputs by value does not go at all.
    let encoded = |outputs: serde_json::Map<_, _>| {
        let row = AttemptRow {
            outputs,
            ..a.clone()
        };
        let message = EventMessage {
            row: Some(row),
            ..EventMessage::new(a_key(), Event::Tick)
        };
        PlanMessage::from(message).encode()
    };
    assert!(encoded(serde_json::Map::new()).is_ok());
    let by_value = [("value".to_owned(), big.repeat(2).into())];
    assert!(encoded(by_value.into_iter().collect()).is_err());
}

fn a_key() -> operon_engine::ports::ShardKey {
    attempt("e1", 0).shard_key()
}

/// How many of the first hundred launches, which is what Fargate takes at once, come before that of live work which
/// starts when 200 of a backfill wait; none when it is not among them.
async fn behind_a_backfill(fair: bool) -> Option<usize> {
    let defences = Defences {
        fair,
        ..Defences::default()
    };
    let mut cloud = CloudWorld::new(defences, Vec::new());
    for _ in 0..200 {
        cloud.start_with(&chain(1), -1).await;
    }
    while cloud.deliver(QueueName::Plan).await {}
    assert_eq!(cloud.queues.visible(QueueName::Launch), 200);
    // Some of it is under way when the live work comes.
    cloud.deliver(QueueName::Launch).await;
    let live = cloud.start(&chain(1)).await;
    while cloud.deliver(QueueName::Plan).await {}
    for _ in 1..10 {
        cloud.deliver(QueueName::Launch).await;
    }
    let launches = cloud.ecs.launches();
    assert_eq!(launches.len(), 100);
    launches.iter().position(|(id, _)| id.execution == live)
}

#[tokio::test]
async fn e13_a_backfill_does_not_starve_live_work() {
    // One batch was under way, and the live work is in the next.
    let behind = behind_a_backfill(true).await;
    assert!(behind.is_some_and(|launches| launches < 20), "{behind:?}");
    assert_eq!(behind_a_backfill(false).await, None);
}

/// What a fan-out of so many costs for each of them: write units of shards, and those of one item for all.
async fn fan_in(count: u32) -> (f64, f64) {
    let flow = plan(&format!(
        "tasks:\n  - id: each\n    type: foreach\n    values: \"{{{{ range(0, {}) }}}}\"\n    concurrencyLimit: 64\n    tasks:\n      - {{id: align, type: container, containerImage: x}}\n  - {{id: join, type: return, format: done, dependsOn: [each]}}\n",
        count - 1
    ));
    let mut cloud = CloudWorld::default();
    let id = cloud.start(&flow).await;
    assert!(cloud.run(&id, 100 * HOUR).await);
    assert_eq!(cloud.row(&id).await.state, "SUCCESS");
    assert!(cloud.ports.store.largest_shard() <= 1024);
    let units = cloud.ports.store.write_units();
    #[allow(clippy::cast_precision_loss)]
    let each = |units: u64| units as f64 / f64::from(count);
    (each(units.sharded), each(units.in_one_item))
}

#[tokio::test]
async fn e14_a_fan_in_grows_no_item_and_no_history() {
    let (few, many) = (fan_in(200).await, fan_in(1600).await);
    // Eight times as many cost eight times as much ...
    assert!(many.0 <= 2.5, "{many:?}");
    assert!(many.0 <= few.0 * 1.2, "{few:?} {many:?}");
    // ... and sixty-four times as much were all of them one item, written whole for each.
    assert!(many.1 > few.1 * 2.0, "{few:?} {many:?}");
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
    // The twin: one report a batch.
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
