//! What the store asks of the table, counted: the numbers of `docs/decisions/0020-single-table.md`.

use operon_core::plan::ShardId;
use operon_engine::ports::{ExecutionFilter, ShardKey, StateStore as _, Write};
use operon_testkit::contract::rows::{PLAN, attempt, execution, id, run, shard_write};

use crate::world::World;

fn turn(name: &str, expected: u64, rows: u8) -> Write {
    let mut shard = shard_write(name, ShardId::ROOT, expected, &[7; 1000]);
    shard.due_ms = Some(5_000_000_000_000);
    Write {
        shards: vec![shard],
        attempts: (0..rows)
            .map(|n| attempt(name, run(ShardId::ROOT, 1), n))
            .collect(),
        ..Write::default()
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

/// Every access pattern of a list of executions: a page of 25 is as many requests as the decision says, however many
/// executions there are.
#[tokio::test]
async fn a_page_of_a_list_is_a_few_requests() {
    let world = World::new().await;
    let store = world.store();
    let states = ["SUCCESS", "RUNNING", "FAILED"];
    for number in 0..90_u64 {
        let mut row = execution(&format!("e{number:03}"), 1_000 + number);
        row.meta.flow = format!("flow-{}", number % 2);
        store.create(&row, PLAN).await.unwrap();
        states[usize::try_from(number % 3).unwrap()].clone_into(&mut row.state);
        let id = row.meta.id.as_str().to_owned();
        let write = Write {
            shards: vec![shard_write(&id, ShardId::ROOT, 0, &[7; 900])],
            executions: vec![row],
            ..Write::default()
        };
        store.write(write).await.unwrap();
    }
    let base = ExecutionFilter {
        limit: 25,
        ..ExecutionFilter::default()
    };
    let of = |state: &str| ExecutionFilter {
        states: vec![state.to_owned()],
        ..base.clone()
    };
    let ours = |flow: Option<&str>| ExecutionFilter {
        namespace: Some("genomics".to_owned()),
        flow: flow.map(str::to_owned),
        ..base.clone()
    };
    let cases = [
        ("all", base.clone(), 12),
        ("what failed", of("FAILED"), 4),
        ("what goes on", of("RUNNING"), 4),
        ("of a flow", ours(Some("flow-1")), 2),
        (
            "of a flow, what failed",
            ExecutionFilter {
                states: vec!["FAILED".to_owned()],
                ..ours(Some("flow-1"))
            },
            4,
        ),
        ("of a namespace with two flows", ours(None), 4),
        (
            "subflows of an execution",
            ExecutionFilter {
                parent: Some(id("parent")),
                ..base.clone()
            },
            2,
        ),
        (
            "the next page",
            ExecutionFilter {
                before: Some((1_050, id("e050"))),
                ..base.clone()
            },
            12,
        ),
    ];
    let meter = world.sdk.meter();
    for (what, filter, most) in cases {
        let _ = meter.take();
        let rows = store.executions(&filter).await.unwrap();
        let counts = meter.take();
        println!("{what}: {} rows, {counts:?}", rows.len());
        assert!(rows.len() >= 15, "{what}: {} rows", rows.len());
        assert_eq!(counts.total(), most, "{what}: {counts:?}");
    }
    // The last task of each: the root shards of the page at once.
    let keys: Vec<ShardKey> = (0..25)
        .map(|number| ShardKey::root(&id(&format!("e{number:03}"))))
        .collect();
    let _ = meter.take();
    let shards = store.shards_at(&keys).await.unwrap();
    assert!(shards.iter().all(Option::is_some));
    assert_eq!(meter.take().total(), 1);
    world.end().await;
}
