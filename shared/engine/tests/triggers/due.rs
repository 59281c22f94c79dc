//! Looking at what is due: what cannot be read holds up nothing else. Triggers that nothing fires say so.

use operon_engine::ports::{RecordKey, RecordKind, RecordOutcome, RecordWrite, Records as _};
use serde_json::json;

use super::world::{World, flow};

/// A record of that kind that nobody can read, due before everything else.
async fn unreadable(world: &World, kind: RecordKind, partition: &str, sort: &str) {
    let write = RecordWrite {
        key: RecordKey::new(kind, partition, sort),
        expected: 0,
        value: json!(["of", "another", "release"]),
        due_ms: Some(1),
        expires_ms: None,
    };
    let saved = world.memory.records.save_record(write).await.unwrap();
    assert!(matches!(saved, RecordOutcome::Saved(_)));
}

#[tokio::test]
async fn what_cannot_be_read_holds_up_nothing_else() {
    let triggers = "  - {id: daily, type: schedule, cron: \"0 2 * * *\"}\n  - {id: quick, type: s3, bucket: b, action: DELETE, batch: {maxItems: 9, maxWait: 30s}}\n";
    let world = World::new(vec![flow("f", triggers)]);
    world.triggers.arm_all().await.unwrap();
    let trigger = "genomics/f/quick";
    unreadable(&world, RecordKind::Trigger, "genomics/f", "gone").await;
    unreadable(&world, RecordKind::Batch, trigger, "w/0").await;
    unreadable(&world, RecordKind::Backfill, "genomics/f/daily", "b").await;
    unreadable(&world, RecordKind::Event, trigger, "x").await;
    let event = world.written("one", "1");
    world.triggers.events(vec![event]).await.unwrap();
    assert_eq!(world.executions().await.len(), 0, "it waits for others");
    world.memory.clock.advance(86_400_000);
    world.triggers.look_at_due().await.unwrap();
    let flows = world.executions().await;
    assert_eq!(flows.len(), 2, "the batch and the date: {flows:?}");
    assert!(world.shelf.keys().is_empty(), "the object is dealt with");
    // The event is tried again, later.
    let key = RecordKey::new(RecordKind::Event, trigger, "x");
    let record = world.memory.records.record(&key, world.now()).await;
    assert!(record.unwrap().unwrap().version > 1);
    let due = world
        .memory
        .records
        .due_records(RecordKind::Event, world.now(), 10);
    assert!(due.await.unwrap().is_empty());
}

#[tokio::test]
async fn triggers_that_nothing_fires_here_say_so() {
    let triggers = [
        "{id: q, type: sqs, queueUrl: \"https://sqs.eu-central-1.amazonaws.com/1/q\"}",
        "{id: t, type: sns, topicArn: \"arn:aws:sns:eu-central-1:1:t\"}",
        "{id: e, type: eventbridge, eventPattern: {source: [aws.ecr]}}",
        "{id: a, type: cloudwatch, alarmName: a}",
        "{id: off, type: cloudwatch, alarmName: a, disabled: true}",
        "{id: s, type: s3, bucket: b}",
        "{id: d, type: schedule, cron: \"0 2 * * *\"}",
    ];
    let triggers = triggers.map(|one| format!("  - {one}\n")).concat();
    let mut world = World::new(vec![flow("f", &triggers)]);
    let wrong = |views: Vec<operon_engine::triggers::TriggerView>| {
        let troubled = views.into_iter().filter_map(|view| {
            let message = view.trouble?.message;
            Some((view.key.trigger, message))
        });
        troubled.collect::<Vec<_>>()
    };
    assert_eq!(wrong(world.triggers.list(None).await.unwrap()), []);
    assert_eq!(world.triggers.never_fire(None).await.unwrap(), []);
    world.triggers.on_aws = false;
    let listed = wrong(world.triggers.list(None).await.unwrap());
    let names: Vec<_> = listed.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["q", "t", "e", "a"]);
    assert_eq!(
        listed[0].1,
        "only a deployment on AWS hears of what fires `sqs` triggers; here `operon triggers send` delivers events"
    );
    let found = world.triggers.never_fire(Some(("genomics", "f"))).await;
    let found: Vec<_> = found
        .unwrap()
        .into_iter()
        .map(|(key, reason)| (key.trigger, reason))
        .collect();
    assert_eq!(found, listed);
    let other = world.triggers.never_fire(Some(("genomics", "g"))).await;
    assert_eq!(other.unwrap(), []);
}
