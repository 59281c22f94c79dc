//! What a task run costs, counted; the agent's requests too. `tests/aws/suite/test_requests.py` counts it at the endpoints
//! of the deployed functions.

use operon_testkit::cloud::{CloudWorld, Fate};

use super::{HOUR, chain, plan};

/// The agent's manifest: a request that each attempt makes for itself, however many come together.
const MANIFEST: (&str, &str) = ("S3", "put by agent");

/// Tasks so quick that all end within the five minutes after which a shard asks about what lasts: that question costs
/// the same whether one task run is under way or 128.
fn quick(cloud: &CloudWorld) {
    cloud.ecs.start_after(1_000);
    cloud.ecs.script(|_| Fate {
        runs_ms: 1_000,
        ..Fate::success()
    });
}

/// As [`quick`], and 100 at once are no more than the 20 a second that Fargate launches: what is refused is launched again.
fn steady(cloud: &CloudWorld) {
    cloud.ecs.start_after(3_000);
    cloud.ecs.script(|_| Fate {
        runs_ms: 3_000,
        ..Fate::success()
    });
}

/// Requests per task run beyond those that an execution costs whatever its length.
async fn per_task_run(batch: usize) -> f64 {
    let mut totals = Vec::new();
    for length in [10, 30] {
        let mut cloud = CloudWorld::default();
        cloud.batch = batch;
        quick(&cloud);
        let id = cloud.start(&chain(length)).await;
        cloud.faults.reset_counts();
        assert!(cloud.run(&id, 10 * HOUR).await);
        totals.push(cloud.faults.counts().values().sum::<u64>());
    }
    #[allow(clippy::cast_precision_loss)]
    let (few, many) = (totals[0] as f64, totals[1] as f64);
    (many - few) / 20.0
}

#[tokio::test]
async fn a_task_run_alone_costs_at_most_13_requests() {
    // A chain is never batched: each task run waits for the one before it.
    let requests = per_task_run(1).await;
    assert!(requests <= 13.0, "{requests} requests per task run");
}

#[tokio::test]
async fn in_batches_of_10_it_costs_at_most_4_and_its_manifest() {
    let mut totals: Vec<(u64, std::collections::BTreeMap<_, u64>)> = Vec::new();
    for count in [100, 200] {
        let mut cloud = CloudWorld::default();
        steady(&cloud);
        let flow = plan(&format!(
            "tasks:\n  - id: each\n    type: foreach\n    values: \"{{{{ range(0, {}) }}}}\"\n    concurrencyLimit: 100\n    tasks:\n      - {{id: align, type: container, containerImage: x}}\n",
            count - 1
        ));
        let id = cloud.start(&flow).await;
        cloud.faults.reset_counts();
        assert!(cloud.run(&id, 24 * HOUR).await);
        let counts = cloud.faults.counts();
        totals.push((counts.values().sum(), counts));
    }
    #[allow(clippy::cast_precision_loss)]
    let requests = (totals[1].0 - totals[0].0) as f64 / 100.0;
    assert_eq!(totals[1].1[&MANIFEST] - totals[0].1[&MANIFEST], 100);
    let requests = requests - 1.0;
    assert!(
        requests <= 4.0,
        "{requests} requests per task run: {:?}",
        totals[1].1
    );
}
