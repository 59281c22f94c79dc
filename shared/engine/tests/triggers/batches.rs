//! Batches: exactly once, in time, with the outcome of every item.

use std::collections::BTreeSet;

use operon_core::triggers::size::Sample;

use super::world::{World, fields, flow, items, object};

const BATCH: &str = "  - {id: upload, type: s3, bucket: b, batch: {maxItems: 100, maxWait: 30s}}\n";

#[tokio::test]
async fn a_burst_of_950_is_ten_executions_none_later_than_thirty_seconds() {
    let world = World::new(vec![flow("f", BATCH)]);
    let begin = world.now();
    for hundred in 0..19 {
        let events = (0..50).map(|n| object(&format!("{hundred}-{n}"))).collect();
        world.triggers.events(events).await.unwrap();
    }
    assert_eq!(world.executions().await.len(), 9, "full ones go at once");
    world.pass(30).await;
    let rows = world.executions().await;
    assert_eq!(rows.len(), 10);
    let mut all = BTreeSet::new();
    for row in &rows {
        assert!(row.meta.created_ms <= begin + 30_000);
        let found = items(&world, row).await;
        assert!(found.len() <= 100);
        all.extend(found);
    }
    assert_eq!(all.len(), 950);
    world.pass(60).await;
    assert_eq!(world.executions().await.len(), 10);
}

#[tokio::test]
async fn ten_thousand_objects_are_ten_thousand_items_with_duplicates_and_reordering() {
    let batch = "  - {id: upload, type: s3, bucket: b, batch: {maxItems: 500, maxWait: 10s}}\n";
    let world = World::new(vec![flow("f", batch)]);
    // Each is delivered twice, the second time in another order and another company.
    let mut deliveries: Vec<usize> = (0..10_000).chain((0..10_000).rev()).collect();
    let step = 7_919; // A prime: visits every place once.
    let length = deliveries.len();
    deliveries = (0..length)
        .map(|at| deliveries[at * step % length])
        .collect();
    for chunk in deliveries.chunks(200) {
        let events = chunk.iter().map(|n| object(&n.to_string())).collect();
        world.triggers.events(events).await.unwrap();
        world.memory.clock.advance(500);
    }
    world.pass(12).await;
    let mut all = Vec::new();
    for row in world.executions().await {
        assert!(world.was_started(&row));
        all.extend(items(&world, &row).await);
    }
    assert_eq!(all.len(), 10_000, "none twice");
    assert_eq!(
        all.iter().collect::<BTreeSet<_>>().len(),
        10_000,
        "none lost"
    );
}

#[tokio::test]
async fn a_crash_at_any_write_loses_no_item_and_repeats_none() {
    let batch = "  - {id: upload, type: s3, bucket: b, batch: {maxItems: 3, maxWait: 5s}}\n";
    let mut crashed = 0;
    for writes in 0..200 {
        let world = World::new(vec![flow("f", batch)]);
        let events = || (0..7).map(|n| object(&n.to_string())).collect::<Vec<_>>();
        world.fuse.set(writes);
        let outcome = world.triggers.events(events()).await;
        crashed += usize::from(outcome.is_err());
        // A second crash somewhere else on the way to the end.
        world.fuse.set(writes % 17);
        let _ = world.triggers.events(events()).await;
        world.fuse.set(i64::MAX);
        world.triggers.events(events()).await.unwrap();
        world.pass(8).await;
        let mut all = Vec::new();
        for row in world.executions().await {
            assert!(world.was_started(&row));
            all.extend(items(&world, &row).await);
        }
        all.sort();
        let expected: Vec<String> = (0..7).map(|n| format!("s3://b/{n}@1")).collect();
        assert_eq!(all, expected, "crash after {writes} writes");
        if outcome.is_ok() {
            break;
        }
    }
    assert!(crashed > 20, "{crashed}");
}

#[tokio::test]
async fn several_who_close_at_once_make_each_batch_once() {
    let world = World::new(vec![flow("f", BATCH)]);
    let flow = world.flow();
    let accepts = (0..250).map(|n| {
        world
            .triggers
            .accept(&flow, &flow.triggers[0], object(&n.to_string()))
    });
    futures_util::future::join_all(accepts).await;
    let closes = (0..8).map(|_| world.triggers.close(&flow, &flow.triggers[0]));
    for closed in futures_util::future::join_all(closes).await {
        closed.unwrap();
    }
    world.pass(30).await;
    let mut all = Vec::new();
    for row in world.executions().await {
        all.extend(items(&world, &row).await);
    }
    assert_eq!(
        (all.len(), all.iter().collect::<BTreeSet<_>>().len()),
        (250, 250)
    );
    assert_eq!(world.executions().await.len(), 3);
}

#[tokio::test]
async fn events_of_a_group_go_together() {
    let grouped = "  - {id: upload, type: s3, bucket: b, batch: {maxItems: 10, maxWait: 5s, groupBy: \"{{ trigger.key | split('/') | first }}\"}}\n";
    let world = World::new(vec![flow("f", grouped)]);
    let events = ["mpox/1", "ebola/1", "mpox/2", "ebola/2"]
        .iter()
        .map(|key| object(key))
        .collect();
    world.triggers.events(events).await.unwrap();
    world.pass(6).await;
    let rows = world.executions().await;
    let groups: BTreeSet<&str> = rows
        .iter()
        .map(|row| fields(row)["group"].as_str().unwrap())
        .collect();
    assert_eq!((rows.len(), groups), (2, BTreeSet::from(["ebola", "mpox"])));
}

#[tokio::test]
async fn many_items_are_a_file_that_a_loop_reads() {
    let batch = "  - {id: upload, type: s3, bucket: b, batch: {maxItems: 2000, maxWait: 5s}}\n";
    let world = World::new(vec![flow("f", batch)]);
    world
        .triggers
        .events((0..2_000).map(|n| object(&n.to_string())).collect())
        .await
        .unwrap();
    let rows = world.executions().await;
    assert_eq!(fields(&rows[0])["count"], 2_000);
    assert!(operon_engine::ports::ArtifactUri::is_uri(
        fields(&rows[0])["items"].as_str().unwrap()
    ));
    assert_eq!(items(&world, &rows[0]).await.len(), 2_000);
}

#[tokio::test]
async fn outcomes_of_items_are_those_of_their_iterations() {
    use operon_engine::ports::{AttemptRow, StateStore as _, TaskRunKey, Usage, Write};
    let world = World::new(vec![flow(
        "f",
        "  - {id: upload, type: s3, bucket: b, batch: {maxItems: 2}}\n",
    )]);
    world
        .triggers
        .events(vec![object("a"), object("b")])
        .await
        .unwrap();
    let row = world.executions().await.remove(0);
    let list = fields(&row)["items"].as_array().unwrap().clone();
    let attempt = |slot: u16, state: &str| AttemptRow {
        execution: row.meta.id.clone(),
        task_run: TaskRunKey {
            shard: operon_core::plan::ShardId::ROOT,
            slot,
        },
        attempt: 1,
        task: "align".to_owned(),
        name: format!("align[{slot}]"),
        item: Some(list[usize::from(slot)].clone()),
        parent: None,
        state: state.to_owned(),
        reason: None,
        message: (state == "FAILED").then(|| "exit code 3".to_owned()),
        exit_code: None,
        created_ms: 0,
        started_ms: None,
        ended_ms: None,
        outputs: serde_json::Map::new(),
        outputs_uri: None,
        metrics: Vec::new(),
        usage: Usage::default(),
    };
    let write = Write {
        attempts: vec![attempt(0, "SUCCESS"), attempt(1, "FAILED")],
        ..Write::default()
    };
    world.memory.store.write(write).await.unwrap();
    world.end(&row, "FAILED").await;
    let outcomes = world.triggers.item_outcomes(&row.meta.id).await.unwrap();
    let states: Vec<(&str, Option<&str>)> = outcomes
        .iter()
        .map(|one| (one.state.as_str(), one.reason.as_deref()))
        .collect();
    assert_eq!(states, [("SUCCESS", None), ("FAILED", Some("exit code 3"))]);
}

#[tokio::test]
async fn sizes_follow_what_was_measured() {
    let dynamic = "  - {id: upload, type: s3, bucket: b, batch: {target: 5m, min: 2, max: 1000, maxWait: 5s}}\n";
    let world = World::new(vec![flow("f", dynamic)]);
    world
        .triggers
        .events((0..200).map(|n| object(&n.to_string())).collect())
        .await
        .unwrap();
    let rows = world.executions().await;
    assert_eq!(rows.len(), 2, "nothing is known: hundreds");
    // 100 items in 50 s after 60 s of overhead.
    for row in &rows {
        let mut ended = world.end(row, "SUCCESS").await;
        ended.started_ms = Some(ended.meta.created_ms + 60_000);
        ended.ended_ms = Some(ended.meta.created_ms + 110_000);
        world.triggers.ended(&ended).await.unwrap();
    }
    let estimate = world.triggers.estimate(&world.flow(), None).await.unwrap();
    let expected = operon_core::triggers::size::Estimate::default();
    let sample = Sample {
        items: 100,
        overhead_ms: 60_000,
        work_ms: 50_000,
    };
    assert_eq!(estimate, expected.with(sample).with(sample));
    world.pass(6).await;
    let before = world.executions().await.len();
    // 60 s x 2 items/s x 4: fewer would mostly pay the overhead.
    world
        .triggers
        .events((1000..1480).map(|n| object(&n.to_string())).collect())
        .await
        .unwrap();
    let rows = world.executions().await;
    let largest = rows
        .iter()
        .filter_map(|row| fields(row)["count"].as_u64())
        .max();
    assert_eq!((rows.len() - before, largest), (1, Some(480)));
}

#[tokio::test]
async fn a_sized_batch_fills_while_nothing_is_free() {
    let dynamic = "  - {id: upload, type: s3, bucket: b, batch: {target: 5m, maxWait: 5s}}\nconcurrency: {limit: 1}\n";
    let world = World::new(vec![flow("f", dynamic)]);
    world.triggers.events(vec![object("first")]).await.unwrap();
    world.pass(6).await;
    for n in 0..3 {
        world
            .triggers
            .events(vec![object(&n.to_string())])
            .await
            .unwrap();
        world.pass(10).await;
    }
    let rows = world.executions().await;
    assert_eq!(rows.len(), 1, "its execution would only queue");
    let ended = world.end(&rows[0], "SUCCESS").await;
    world.triggers.ended(&ended).await.unwrap();
    world.pass(1).await;
    let counts: Vec<_> = world
        .executions()
        .await
        .iter()
        .map(|row| fields(row)["count"].clone())
        .collect();
    assert_eq!(counts, [1, 3]);
}

#[tokio::test]
async fn bytes_of_large_events_count_whole() {
    let batch = "  - {id: upload, type: s3, bucket: b, batch: {maxItems: 100, maxBytes: 250KB, maxWait: 5s}}\n";
    let world = World::new(vec![flow("f", batch)]);
    let large = |n: u32| {
        let mut event = object(&n.to_string());
        event
            .fields
            .insert("pad".to_owned(), "x".repeat(100_000).into());
        event
    };
    world
        .triggers
        .events((0..4).map(large).collect())
        .await
        .unwrap();
    world.pass(8).await;
    let rows = world.executions().await;
    assert_eq!(rows.len(), 2, "two of 100 kB fit into 250 kB");
}
