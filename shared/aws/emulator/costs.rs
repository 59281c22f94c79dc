//! What the store asks of the table, counted: the numbers of `docs/decisions/0020-single-table.md`.

use operon_core::plan::ShardId;
use operon_engine::ports::{StateStore as _, Write};
use operon_testkit::contract::rows::{PLAN, attempt, execution, run, shard_write};

use crate::world::World;

fn turn(name: &str, expected: u64, rows: u8) -> Write {
    let mut shard = shard_write(name, ShardId::ROOT, expected, &[7; 1000]);
    shard.due_ms = Some(5_000_000_000_000);
    Write {
        shards: vec![shard],
        attempts: (0..rows)
            .map(|n| attempt(name, run(ShardId::ROOT, 1), n))
            .collect(),
        executions: Vec::new(),
    }
}

#[tokio::test]
async fn a_transition_is_one_write_of_the_shard_and_one_of_the_attempt() {
    let world = World::new().await;
    let store = world.store();
    let meter = world.sdk.meter();
    let execution = |name: &str| {
        let mut row = execution(name, 1);
        // A subflow has one entry more.
        row.meta.parent = None;
        row
    };
    store.create(&execution("a"), PLAN).await.unwrap();
    let first = meter.take();
    println!("creating the first execution of a flow: {first:?}");
    store.create(&execution("b"), PLAN).await.unwrap();
    let next = meter.take();
    println!("creating the next: {next:?}");
    assert_eq!(next.of_service("DynamoDB"), 3);
    assert_eq!(next.of_service("S3"), 0);

    store.write(turn("a", 0, 1)).await.unwrap();
    let _ = meter.take();
    store.write(turn("a", 1, 1)).await.unwrap();
    let counts = meter.take();
    println!("one transition: {counts:?}");
    assert_eq!(counts.total(), 2);

    // A lost race brings what is there with it.
    store.write(turn("a", 1, 0)).await.unwrap();
    assert_eq!(meter.take().total(), 1);
    world.end().await;
}
