//! Every function is killed at everything it writes or sends; redelivery and the reconciler heal it.

use operon_core::plan::Plan;
use operon_engine::dead_letters;
use operon_engine::ports::{Outgoing, QueueName};
use operon_testkit::cloud::{CloudWorld, Defences, Fate, Shape, When};

use super::{HOUR, chain, plan, plan_of};

async fn world(kill: Option<(u64, When)>, flow: &Plan, child: &Plan) -> (CloudWorld, String) {
    let mut cloud = CloudWorld::new(Defences::default(), vec![child.clone()]);
    cloud
        .ecs
        .script(|id| match (id.task_run.slot % 3, id.attempt) {
            (1, 1) => Fate::ends(Shape::Exit(1)),
            (2, 1) => Fate::ends(Shape::Spot),
            _ => Fate::success(),
        });
    let id = cloud.start(flow).await;
    if let Some((at, when)) = kill {
        cloud.faults.kill_at(at, when);
    }
    let over = cloud.run(&id, 6 * HOUR).await;
    let state = cloud.row(&id).await.state;
    assert!(
        over,
        "killed at {kill:?} ({}): still {state}",
        cloud.faults.last()
    );
    (cloud, state)
}

async fn swept(flow: &Plan, child: &Plan, expected: &str) -> u64 {
    let (_, state) = world(None, flow, child).await;
    assert_eq!(state, expected);
    let mut at = 0;
    loop {
        let mut fired = false;
        for when in [When::Before, When::After] {
            let (mut cloud, state) = world(Some((at, when)), flow, child).await;
            let what = format!("killed {when:?} write {at} ({})", cloud.faults.last());
            assert_eq!(state, expected, "{what}");
            fired |= cloud.faults.fired();
            // Never twice: one task per attempt, and nothing left alive.
            let mut attempts: Vec<_> = cloud.ecs.launches().into_iter().map(|(id, _)| id).collect();
            let launched = attempts.len();
            attempts.sort();
            attempts.dedup();
            assert_eq!(
                attempts.len(),
                launched,
                "{what}: an attempt was launched twice"
            );
            cloud.wait(2 * HOUR).await;
            assert_eq!(cloud.ecs.alive(), 0, "{what}: a task is alive");
        }
        if !fired {
            return at;
        }
        at += 1;
    }
}

#[tokio::test]
async fn a_chain_survives_every_death() {
    let flow = plan(
        "tasks:\n  - {id: a, type: container, containerImage: x, retry: {interval: PT5S, maxAttempts: 3}}\n  - {id: b, type: return, format: x}\n  - {id: c, type: container, containerImage: x, retry: {interval: PT5S, maxAttempts: 3}}\n",
    );
    let points = swept(&flow, &chain(1), "SUCCESS").await;
    assert!(points > 15, "only {points} failpoints");
}

#[tokio::test]
async fn subflows_locks_and_outputs_survive_every_death() {
    let child = plan_of(
        "child",
        "tasks:\n  - {id: one, type: container, containerImage: x, retry: {interval: PT5S, maxAttempts: 3}}\noutputs:\n  - {id: got, type: STRING, value: \"{{ outputs.one.exitCode }}\"}\n",
    );
    let flow = plan(
        "concurrency: {limit: 1}\ntasks:\n  - {id: sub, type: subflow, flowId: child, namespace: genomics}\n",
    );
    let points = swept(&flow, &child, "SUCCESS").await;
    assert!(points > 15, "only {points} failpoints");
}

#[tokio::test]
async fn large_outputs_and_loops_survive_every_death() {
    // Longer than what goes with a message: it is an artifact.
    let long = "x".repeat(5000);
    let flow = plan(&format!(
        "tasks:\n  - {{id: long, type: return, format: {long}}}\n  - id: each\n    type: foreach\n    values: [1, 2, 3, 4]\n    concurrencyLimit: 2\n    tasks:\n      - {{id: align, type: container, containerImage: x, retry: {{interval: PT5S, maxAttempts: 3}}, env: {{LONG: \"{{{{ outputs.long.value }}}}\"}}}}\n"
    ));
    let points = swept(&flow, &chain(1), "SUCCESS").await;
    assert!(points > 25, "only {points} failpoints");
}

#[tokio::test]
async fn a_dead_letter_survives_every_death() {
    let mut at = 0;
    loop {
        let mut fired = false;
        for when in [When::Before, When::After] {
            let mut cloud = CloudWorld::default();
            let id = cloud.start(&chain(1)).await;
            // What nobody can read, longer than what is kept with its record.
            let garbage = "{not json".repeat(10_000);
            cloud.queues.put(QueueName::Plan, Outgoing::now(garbage));
            cloud.faults.kill_at(at, when);
            let what = format!("killed {when:?} write {at}");
            assert!(cloud.run(&id, 2 * HOUR).await, "{what}");
            cloud.wait(2 * HOUR).await;
            fired |= cloud.faults.fired();
            let ports = cloud.ports.ports();
            let listed = dead_letters::list(&ports, None, 10).await.unwrap();
            assert_eq!(listed.len(), 1, "{what}: {listed:?}");
            assert!(listed[0].body_uri.is_some(), "{what}");
        }
        if !fired {
            assert!(at > 8, "only {at} failpoints");
            return;
        }
        at += 1;
    }
}

#[tokio::test]
async fn a_kill_survives_every_death() {
    let flow = chain(2);
    let mut at = 0;
    loop {
        let mut fired = false;
        for when in [When::Before, When::After] {
            let mut cloud = CloudWorld::default();
            cloud.ecs.script(|_| Fate {
                runs_ms: 20 * HOUR,
                ..Fate::success()
            });
            let id = cloud.start(&flow).await;
            cloud.wait(2 * 60_000).await;
            cloud.faults.kill_at(at, when);
            cloud.kill(&id);
            assert!(cloud.run(&id, 2 * HOUR).await, "killed {when:?} write {at}");
            assert_eq!(cloud.row(&id).await.state, "KILLED");
            assert_eq!(cloud.ecs.alive(), 0, "killed {when:?} write {at}");
            fired |= cloud.faults.fired();
        }
        if !fired {
            assert!(at > 3, "only {at} failpoints");
            return;
        }
        at += 1;
    }
}
