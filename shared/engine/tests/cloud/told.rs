//! Each end of an execution is measured once and told, whatever is doubled or dies.

use std::collections::BTreeMap;

use operon_engine::notify::{self, Phase};
use operon_engine::ports::{ExecutionId, QueueName};
use operon_engine::settle;
use operon_engine::traces::{ENDPOINT, Exporter, trace_id};
use operon_testkit::cloud::{CloudWorld, Defences, Fate, Shape, When};

use super::{HOUR, chain, plan};

#[path = "../tasks/server.rs"]
mod server;

const TOLD: &str = "notify: [{id: ops, states: [FAILED], email: {to: ops@example.org}}]\n";
/// Somebody is told when it runs longer.
fn watched(limit_s: u64) -> String {
    format!(
        "sla: [{{id: soon, type: MAX_DURATION, duration: PT{limit_s}S, behavior: NONE}}]\n\
         notify: [{{id: ops, states: [SLA], email: {{to: ops@example.org}}}}]\n\
         tasks:\n  - {{id: align, type: container, containerImage: x}}\n"
    )
}

/// How often each execution was measured.
fn measured(cloud: &CloudWorld) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for one in cloud.measures.taken() {
        *counts.entry(one.execution).or_default() += 1;
    }
    counts
}

async fn failing(cloud: &mut CloudWorld, kill_at: u64, when: When) -> ExecutionId {
    cloud.ecs.script(|_| Fate::ends(Shape::Exit(3)));
    let flow = format!("{TOLD}tasks:\n  - {{id: align, type: container, containerImage: x}}\n");
    let id = cloud.start(&plan(&flow)).await;
    cloud.faults.kill_at(kill_at, when);
    assert!(cloud.run(&id, 6 * HOUR).await);
    cloud.wait(HOUR / 2).await;
    id
}

#[tokio::test]
async fn an_end_is_measured_once_although_every_message_comes_twice() {
    let mut cloud = CloudWorld::default();
    let id = cloud.start(&chain(2)).await;
    assert!(cloud.run(&id, 6 * HOUR).await);
    cloud.wait(HOUR).await;
    let taken = cloud.measures.taken();
    assert_eq!(taken.len(), 1);
    assert_eq!(
        (taken[0].execution.as_str(), taken[0].outcome.as_str()),
        (id.as_str(), "SUCCESS")
    );
    assert_eq!(taken[0].values["task_runs"].to_string(), "2");
    // The same is told again and again: by redelivery, to functions that remember nothing.
    for _ in 0..3 {
        let told = format!("{{\"v\":1,\"kind\":\"tell\",\"execution\":\"{id}\"}}");
        cloud
            .queues
            .put(QueueName::Work, operon_engine::ports::Outgoing::now(told));
        cloud.cold_start();
        cloud.settle().await;
    }
    assert_eq!(cloud.measures.taken().len(), 1);
}

#[tokio::test]
async fn whatever_dies_an_end_is_told_once_and_measured_at_most_once() {
    let mut at = 0;
    loop {
        let mut fired = false;
        for when in [When::Before, When::After] {
            let mut cloud = CloudWorld::new(Defences::default(), Vec::new());
            let id = failing(&mut cloud, at, when).await;
            fired |= cloud.faults.fired();
            let what = format!("killed {when:?} write {at} ({})", cloud.faults.last());
            let incidents = notify::incidents(&cloud.ports.ports(), "genomics", None, 10)
                .await
                .unwrap()
                .0;
            assert_eq!(incidents.len(), 1, "{what}");
            assert_eq!(
                (incidents[0].phase, incidents[0].count),
                (Phase::Open, 1),
                "{what}"
            );
            // Nobody sends e-mail here: that it was tried, and why it failed, is on the incident.
            let error = incidents[0].delivery.error.clone().unwrap_or_default();
            assert!(error.contains("sends no e-mail"), "{what}: {error}");
            let counts = measured(&cloud);
            let count = counts.get(id.as_str()).copied().unwrap_or(0);
            // A death between the record and the line loses the line; nothing doubles it.
            let lost = cloud.faults.last() == "write record";
            assert!(
                count == 1 || (lost && count == 0),
                "{what}: measured {count} times"
            );
        }
        if !fired {
            break;
        }
        at += 1;
    }
    assert!(at > 10, "only {at} writes were interrupted");
}

#[tokio::test]
async fn a_missed_service_level_is_told_within_30_seconds() {
    // The second is longer than a queue delays a message.
    for limit_s in [60, 40 * 60] {
        let mut cloud = CloudWorld::default();
        cloud.ecs.script(|_| Fate {
            runs_ms: HOUR,
            ..Fate::success()
        });
        let id = cloud.start(&plan(&watched(limit_s))).await;
        cloud.settle().await;
        let begun = cloud.row(&id).await.started_ms.expect("it runs");
        let tried = |at: u64| (at - begun) / 1000;
        let missed = loop {
            cloud.wait(1_000).await;
            let ports = cloud.ports.ports();
            let incidents = notify::incidents(&ports, "genomics", None, 10)
                .await
                .unwrap()
                .0;
            if incidents
                .iter()
                .any(|incident| incident.delivery.failed > 0)
            {
                break cloud.now();
            }
            assert!(tried(cloud.now()) < limit_s + 600, "nobody looked");
        };
        assert!(cloud.row(&id).await.ended_ms.is_none(), "it still runs");
        let after = tried(missed);
        assert!(
            (limit_s..=limit_s + 30).contains(&after),
            "{limit_s} s, told after {after} s"
        );
    }
}

#[tokio::test]
async fn whatever_dies_a_missed_service_level_is_told_in_time() {
    let limit = 40 * 60_000;
    let mut at = 0;
    loop {
        let mut fired = false;
        for when in [When::Before, When::After] {
            let mut cloud = CloudWorld::default();
            cloud.ecs.script(|_| Fate {
                runs_ms: HOUR,
                ..Fate::success()
            });
            let id = cloud.start(&plan(&watched(limit / 1000))).await;
            cloud.faults.kill_at(at, when);
            cloud.settle().await;
            cloud.wait(HOUR / 6).await;
            fired |= cloud.faults.fired();
            let what = format!("killed {when:?} write {at} ({})", cloud.faults.last());
            let begun = cloud.row(&id).await.started_ms.expect("it runs");
            cloud.wait(begun + limit + 30_000 - cloud.now()).await;
            let ports = cloud.ports.ports();
            let incidents = notify::incidents(&ports, "genomics", None, 10)
                .await
                .unwrap()
                .0;
            assert_eq!(incidents.len(), 1, "{what}");
            assert!(incidents[0].delivery.failed > 0, "{what}");
        }
        if !fired || at > 40 {
            break;
        }
        at += 1;
    }
    assert!(at > 5, "only {at} writes were interrupted");
}

#[tokio::test]
async fn a_trace_is_sent_once_by_the_worker_and_nothing_depends_on_the_collector() {
    for (status, asked) in [("200 OK", 1), ("503 Service Unavailable", 2)] {
        let collector = server::Server::start(move |_| server::answer(status, "", b"{}")).await;
        let base = collector.base.clone();
        let exporter = Exporter::of(|name| (name == ENDPOINT).then(|| base.clone()));
        let mut cloud = CloudWorld::default();
        cloud.trace_to(exporter.expect("a collector is named"));
        let id = cloud.start(&chain(2)).await;
        assert!(cloud.run(&id, 6 * HOUR).await);
        // Every message comes twice; the queue is empty long before.
        cloud.wait(HOUR).await;
        assert_eq!(cloud.row(&id).await.state, "SUCCESS", "{status}");
        assert_eq!(measured(&cloud).get(id.as_str()), Some(&1), "{status}");
        let requests = collector.asked();
        assert_eq!(requests.len(), asked, "{status}");
        for request in &requests {
            assert!(request.head.starts_with("POST /v1/traces "));
            assert!(request.body.contains(&trace_id(&id)));
            // The execution, two task runs, their attempts.
            assert_eq!(request.body.matches("\"spanId\"").count(), 5);
        }
    }
}

#[tokio::test]
async fn a_spot_warning_is_shown_with_its_attempt_until_the_end() {
    let mut cloud = CloudWorld::default();
    cloud.ecs.script(|_| Fate {
        runs_ms: HOUR / 2,
        ..Fate::success()
    });
    let flow = "tasks:\n  - {id: align, type: container, containerImage: x}\n";
    let id = cloud.start(&plan(flow)).await;
    cloud.wait(HOUR / 4).await;
    let (attempt, _) = cloud.ecs.launches().remove(0);
    let warning = serde_json::json!({
        "source": "aws.ecs", "detail-type": "ECS Task State Change",
        "detail": {
            "taskArn": "arn:aws:ecs:memory:1:task/operon/1", "lastStatus": "RUNNING",
            "startedBy": settle::started_by(&attempt), "stopCode": "SpotInterruption", "version": 9,
        },
    });
    let warned = async |cloud: &CloudWorld| {
        let rows = cloud.rows(&id).await;
        rows.into_iter()
            .find(|row| row.task == "align")
            .map(|row| (row.state, row.message))
    };
    // Twice, as events come.
    for _ in 0..2 {
        cloud.hear(&warning.to_string()).await;
        cloud.settle().await;
    }
    let (state, message) = warned(&cloud).await.unwrap();
    assert_eq!(state, "RUNNING");
    assert!(message.unwrap().contains("spot capacity"));
    assert!(cloud.run(&id, 6 * HOUR).await);
    assert_eq!(warned(&cloud).await.unwrap(), ("SUCCESS".to_owned(), None));
    // One that comes late changes nothing.
    cloud.hear(&warning.to_string()).await;
    cloud.settle().await;
    assert_eq!(warned(&cloud).await.unwrap().0, "SUCCESS");
}
