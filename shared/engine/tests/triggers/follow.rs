//! Schedules come and go with revisions, switches and removed triggers.

use super::world::{World, flow};

const HOURLY: &str = "  - {id: hourly, type: schedule, cron: \"0 * * * *\"}\n";
const DAILY: &str = "  - {id: daily, type: schedule, cron: \"30 2 * * *\"}\n";
const HOOK: &str = "  - {id: hook, type: webhook, key: abcdefghijklmnopqrst}\n";

fn deployed(world: &World, triggers: &str, disabled: bool) {
    let mut next = flow("f", triggers);
    next.disabled = disabled;
    world.change(|flow| *flow = next);
}

fn ids(world: &World) -> Vec<String> {
    world.schedules.made().into_keys().collect()
}

async fn follow(world: &World) {
    world.triggers.follow("genomics", "f").await.unwrap();
}

#[tokio::test]
async fn schedules_are_those_of_the_revision_that_counts() {
    let world = World::new(vec![flow("f", &format!("{HOURLY}{HOOK}"))]);
    follow(&world).await;
    assert_eq!(ids(&world), ["genomics/f/hourly"]);
    assert!(world.schedules.made()["genomics/f/hourly"].starts_with("cron("));
    deployed(&world, &format!("{DAILY}{HOOK}"), false);
    follow(&world).await;
    assert_eq!(ids(&world), ["genomics/f/daily"]);
    // Rolled back.
    deployed(&world, HOURLY, false);
    follow(&world).await;
    assert_eq!(ids(&world), ["genomics/f/hourly"]);
}

#[tokio::test]
async fn what_is_switched_off_has_no_schedule() {
    let world = World::new(vec![flow("f", &format!("{HOURLY}{DAILY}"))]);
    follow(&world).await;
    assert_eq!(ids(&world).len(), 2);
    let key = operon_engine::triggers::TriggerKey {
        namespace: "genomics".to_owned(),
        flow: "f".to_owned(),
        trigger: "daily".to_owned(),
    };
    world
        .triggers
        .disable(&key, "a person", "for now")
        .await
        .unwrap();
    follow(&world).await;
    assert_eq!(ids(&world), ["genomics/f/hourly"]);
    deployed(&world, &format!("{HOURLY}{DAILY}"), true);
    follow(&world).await;
    assert!(ids(&world).is_empty());
    deployed(&world, &format!("{HOURLY}{DAILY}"), false);
    follow(&world).await;
    assert_eq!(ids(&world), ["genomics/f/hourly"]);
}

#[tokio::test]
async fn what_a_failure_left_out_is_made_good() {
    let world = World::new(vec![flow("f", HOURLY)]);
    follow(&world).await;
    deployed(&world, DAILY, false);
    world.schedules.fail(true);
    assert!(world.triggers.follow("genomics", "f").await.is_err());
    assert_eq!(ids(&world), ["genomics/f/hourly"]);
    world.schedules.fail(false);
    follow(&world).await;
    assert_eq!(ids(&world), ["genomics/f/daily"]);
}

const ALARM: &str = "  - {id: alarm, type: cloudwatch, alarmName: backlog}\n";
const QUEUE: &str =
    "  - {id: queue, type: sqs, queueUrl: \"https://sqs.eu-central-1.amazonaws.com/1/q\"}\n";
const TOPIC: &str =
    "  - {id: topic, type: sns, topicArn: \"arn:aws:sns:eu-central-1:1:releases\"}\n";

fn bus(source: &str) -> String {
    format!("  - {{id: bus, type: eventbridge, eventPattern: {{source: [{source}]}}}}\n")
}

/// What brings events: who asked for it, and its text.
fn feeds(world: &World) -> Vec<(String, String)> {
    let made = world.schedules.feeds().into_iter();
    let mut made: Vec<_> = made
        .map(|(key, feed)| (key, serde_json::to_string(&feed).unwrap()))
        .collect();
    made.sort();
    made
}

#[tokio::test]
async fn what_brings_events_comes_and_goes_with_triggers() {
    let all = format!("{}{ALARM}{QUEUE}{TOPIC}{HOOK}", bus("aws.ecr"));
    let world = World::new(vec![flow("f", &all)]);
    follow(&world).await;
    let names =
        |world: &World| -> Vec<String> { feeds(world).into_iter().map(|(key, _)| key).collect() };
    let f = |id: &str| format!("genomics/f/{id}");
    assert_eq!(names(&world), ["alarm", "bus", "queue", "topic"].map(f));
    assert!(feeds(&world)[0].1.contains("CloudWatch Alarm State Change"));
    assert!(feeds(&world)[1].1.contains("aws.ecr"));
    // Another pattern takes the place of the former one, and nothing is there twice.
    deployed(&world, &format!("{}{QUEUE}", bus("aws.s3")), false);
    follow(&world).await;
    follow(&world).await;
    assert_eq!(names(&world), ["bus", "queue"].map(f));
    assert!(feeds(&world)[0].1.contains("aws.s3"));
    deployed(&world, &format!("{}{QUEUE}", bus("aws.s3")), true);
    follow(&world).await;
    assert_eq!(names(&world), Vec::<String>::new());
    // A flow that its document switches off has none, either.
    deployed(&world, QUEUE, false);
    world.change(|flow| flow.plan.disabled = true);
    follow(&world).await;
    assert_eq!(names(&world), Vec::<String>::new());
}

#[tokio::test]
async fn a_queue_that_another_trigger_reads_stays() {
    let other = flow("g", &QUEUE.replace("id: queue", "id: also"));
    let world = World::new(vec![flow("f", QUEUE), other]);
    follow(&world).await;
    world.triggers.follow("genomics", "g").await.unwrap();
    assert_eq!(feeds(&world).len(), 1, "both read one queue");
    deployed(&world, HOOK, false);
    follow(&world).await;
    assert_eq!(feeds(&world).len(), 1, "the other one still does");
    let key = operon_engine::triggers::TriggerKey {
        namespace: "genomics".to_owned(),
        flow: "g".to_owned(),
        trigger: "also".to_owned(),
    };
    world.triggers.disable(&key, "a person", "x").await.unwrap();
    world.triggers.follow("genomics", "g").await.unwrap();
    assert_eq!(feeds(&world).len(), 0);
}

#[tokio::test]
async fn what_aws_refuses_is_said_until_it_is_mended() {
    let world = World::new(vec![flow("f", QUEUE)]);
    world.schedules.refuse(Some("the role may not read it"));
    follow(&world).await;
    let wrong = world.triggers.never_fire(None).await.unwrap();
    assert!(wrong[0].1.contains("the role may not read it"), "{wrong:?}");
    let listed = world.triggers.list(None).await.unwrap();
    let trouble = listed[0].trouble.as_ref().unwrap();
    assert!(
        trouble.message.starts_with("no event reaches it:"),
        "{trouble:?}"
    );
    world.schedules.refuse(None);
    follow(&world).await;
    assert_eq!(world.triggers.never_fire(None).await.unwrap(), []);
    assert_eq!(world.triggers.list(None).await.unwrap()[0].trouble, None);
    assert_eq!(feeds(&world).len(), 1);
}

#[tokio::test]
async fn a_message_that_no_trigger_wants_stays_in_its_queue() {
    let world = World::new(vec![flow("f", QUEUE)]);
    let delivery = |arn: &str| operon_engine::triggers::EventDelivery {
        body: "hello".to_owned(),
        message_id: "m".to_owned(),
        queue_arn: Some(arn.to_owned()),
        ..Default::default()
    };
    let meant = delivery("arn:aws:sqs:eu-central-1:1:q");
    assert_eq!(world.triggers.message(&meant).await.unwrap().len(), 1);
    // Nor does it take what comes while it is switched off: that waits.
    world
        .triggers
        .disable(&world.key(), "a person", "x")
        .await
        .unwrap();
    let mut later = meant.clone();
    later.message_id = "m2".to_owned();
    assert!(world.triggers.message(&later).await.is_err());
    assert_eq!(world.events().await.len(), 1, "nothing is kept of it");
    let stray = delivery("arn:aws:sqs:eu-central-1:1:other");
    let error = world.triggers.message(&stray).await.unwrap_err();
    assert!(error.to_string().contains("no trigger reads"), "{error}");
}

#[tokio::test]
async fn a_bucket_that_nobody_tells_of_is_said() {
    let s3 =
        "  - {id: upload, type: s3, bucket: b}\n  - {id: other, type: s3, bucket: elsewhere}\n";
    let mut world = World::new(vec![flow("f", s3)]);
    assert_eq!(world.triggers.never_fire(None).await.unwrap(), []);
    world.triggers.buckets = vec!["b".to_owned(), "c".to_owned()];
    let wrong = world.triggers.never_fire(None).await.unwrap();
    assert_eq!(wrong.len(), 1);
    assert_eq!(wrong[0].0.trigger, "other");
    assert!(wrong[0].1.contains("uploads to b and c only"), "{wrong:?}");
}
