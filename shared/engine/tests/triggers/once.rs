//! One event, one execution or one rejection, whatever happens.

use super::world::{World, fields, flow, object};
use operon_engine::triggers::{EventState, Outcome};

const S3: &str = "  - id: upload\n    type: s3\n    bucket: b\n    inputs: {n: \"{{ trigger.size }}\", value: {key: \"{{ trigger.key }}\"}}\n    labels: {cause: \"{{ trigger.key }}\"}\n";

#[tokio::test]
async fn an_event_starts_one_execution_with_its_inputs_and_labels() {
    let world = World::new(vec![flow("f", S3)]);
    let (flow, event) = (world.flow(), object("a"));
    let first = world
        .triggers
        .accept(&flow, &flow.triggers[0], event.clone())
        .await
        .unwrap();
    let Outcome::Started(id) = &first else {
        panic!("{first:?}")
    };
    for _ in 0..4 {
        let again = world
            .triggers
            .accept(&flow, &flow.triggers[0], event.clone())
            .await
            .unwrap();
        assert!(
            matches!(&again, Outcome::Known(record) if record.execution.as_ref() == Some(id)),
            "{again:?}"
        );
    }
    let rows = world.executions().await;
    assert_eq!(rows.len(), 1);
    assert!(world.was_started(&rows[0]));
    assert_eq!(
        (&rows[0].meta.inputs["n"], rows[0].labels["cause"].as_str()),
        (&10.into(), "a")
    );
    assert_eq!(
        (&fields(&rows[0])["id"], &fields(&rows[0])["type"]),
        (&"upload".into(), &"s3".into())
    );
}

/// Crashes before and after every single write, then the event is delivered again.
#[tokio::test]
async fn a_crash_at_any_write_leaves_one_execution() {
    for trigger in [
        S3.to_owned(),
        "  - {id: upload, type: s3, bucket: b, batch: {maxItems: 1}}\n".to_owned(),
        format!("{S3}    allowConcurrent: false\n"),
    ] {
        let mut crashes = 0;
        for writes in 0..60 {
            let world = World::new(vec![flow("f", &trigger)]);
            let flow = world.flow();
            world.fuse.set(writes);
            let outcome = world.triggers.events(vec![object("a")]).await;
            crashes += usize::from(outcome.is_err());
            world.fuse.set(i64::MAX);
            world.triggers.events(vec![object("a")]).await.unwrap();
            world.pass(2).await;
            let rows = world.executions().await;
            assert_eq!(rows.len(), 1, "crash after {writes} writes\n{trigger}");
            assert!(
                world.was_started(&rows[0]),
                "crash after {writes} writes\n{trigger}"
            );
            let events = world.events().await;
            assert_eq!(events.len(), 1);
            assert_eq!(events[0].execution.as_ref(), Some(&rows[0].meta.id));
            assert_ne!(events[0].state, EventState::Pending, "{flow:?}");
            if outcome.is_ok() {
                break;
            }
        }
        assert!(crashes > 2, "{trigger}");
    }
}

#[tokio::test]
async fn deliveries_at_once_start_one_execution() {
    let world = World::new(vec![flow("f", S3)]);
    let flow = world.flow();
    let deliveries = (0..5).map(|_| world.triggers.accept(&flow, &flow.triggers[0], object("a")));
    for outcome in futures_util::future::join_all(deliveries).await {
        assert!(outcome.unwrap().execution().is_some());
    }
    assert_eq!(world.executions().await.len(), 1);
}

#[tokio::test]
async fn what_starts_nothing_is_kept_with_its_reason() {
    let when = format!("{S3}    when: \"{{{{ trigger.size > 99 }}}}\"\n");
    let world = World::new(vec![flow("f", &when)]);
    world.triggers.events(vec![object("a")]).await.unwrap();
    assert!(world.executions().await.is_empty());
    assert_eq!(
        world.events().await[0].reason.as_deref(),
        Some("`when` does not hold")
    );
    // Nobody has to look at it.
    assert!(
        world
            .triggers
            .dead_letters(None, 10)
            .await
            .unwrap()
            .is_empty()
    );

    let world = World::new(vec![flow("f", S3)]);
    world
        .triggers
        .disable(&world.key(), "somebody", "a test")
        .await
        .unwrap();
    world.triggers.events(vec![object("a")]).await.unwrap();
    assert_eq!(
        world.events().await[0].reason.as_deref(),
        Some("the trigger is disabled: a test")
    );
}

#[tokio::test]
async fn a_poison_event_is_a_failed_execution_or_a_dead_letter_that_can_be_redriven() {
    let poison = "  - {id: upload, type: s3, bucket: b, inputs: {n: \"{{ trigger.key }}\"}}\n";
    let world = World::new(vec![flow("f", poison)]);
    world
        .triggers
        .events(vec![object("not-a-number")])
        .await
        .unwrap();
    let rows = world.executions().await;
    assert_eq!(
        (rows[0].state.as_str(), world.was_started(&rows[0])),
        ("FAILED", false)
    );
    assert!(
        rows[0].reason.as_ref().unwrap().contains("`n`"),
        "{:?}",
        rows[0].reason
    );
    assert_eq!(world.heard.over(), ["f"], "people are told");

    let buried = "  - {id: upload, type: s3, bucket: b, failOnTriggerError: false, inputs: {n: \"{{ trigger.key }}\"}}\n";
    let world = World::new(vec![flow("f", buried)]);
    world
        .triggers
        .events(vec![object("not-a-number"), object("7")])
        .await
        .unwrap();
    assert_eq!(world.executions().await.len(), 1, "the engine goes on");
    let letters = world.triggers.dead_letters(None, 10).await.unwrap();
    assert_eq!(letters.len(), 1);
    assert_eq!(world.heard.buried(), 1);
    assert!(
        world.triggers.redrive(&letters[0].id).await.is_err(),
        "nothing has changed"
    );
    assert_eq!(
        world.triggers.dead_letters(None, 10).await.unwrap()[0].redriven,
        1
    );
    // The flow is mended.
    world.change(|flow| flow.triggers[0].inputs.clear());
    let outcomes = world.triggers.redrive(&letters[0].id).await.unwrap();
    assert!(matches!(outcomes[0].1, Outcome::Started(_)));
    assert!(
        world
            .triggers
            .dead_letters(None, 10)
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(world.executions().await.len(), 2);
}

/// What a trigger itself makes fail has the consequences of every failure.
#[tokio::test]
async fn a_failed_execution_of_a_trigger_stops_it_and_fires_what_waits_for_it() {
    let poison = "  - {id: upload, type: s3, bucket: b, stopAfter: [FAILED], inputs: {n: \"{{ trigger.key }}\"}}\n";
    let after =
        "  - {id: after, type: flow, mode: ANY, dependsOn: [{flowId: f, states: [FAILED]}]}\n";
    let world = World::new(vec![flow("f", poison), flow("g", after)]);
    for _ in 0..2 {
        world.triggers.events(vec![object("x")]).await.unwrap();
    }
    let rows = world.executions().await;
    let mut flows: Vec<&str> = rows.iter().map(|row| row.meta.flow.as_str()).collect();
    flows.sort_unstable();
    assert_eq!(flows, ["f", "g"]);
    let state = world.triggers.state(&world.key()).await.unwrap();
    assert_eq!(state.disabled.unwrap().by, "stopAfter");
}

#[tokio::test]
async fn a_crash_while_redriving_loses_no_event() {
    for batch in ["", ", batch: {maxItems: 1, maxWait: 1s}"] {
        for writes in 0..30 {
            let buried = format!(
                "  - {{id: upload, type: s3, bucket: b, failOnTriggerError: false, when: \"{{{{ trigger.key.there }}}}\"{batch}}}\n"
            );
            let world = World::new(vec![flow("f", &buried)]);
            world.triggers.events(vec![object("a")]).await.unwrap();
            let letters = world.triggers.dead_letters(None, 10).await.unwrap();
            assert_eq!(letters.len(), 1);
            world.change(|flow| flow.triggers[0].when = None);
            world.fuse.set(writes);
            let _ = world.triggers.redrive(&letters[0].id).await;
            world.fuse.set(i64::MAX);
            let _ = world.triggers.redrive(&letters[0].id).await;
            // Who waits and was not queued is found within the minute.
            world.pass(65).await;
            let rows = world.executions().await;
            assert_eq!(rows.len(), 1, "crash after {writes} writes{batch}");
            assert!(world.was_started(&rows[0]));
        }
    }
}

#[tokio::test]
async fn a_message_that_nobody_can_read_is_a_dead_letter_once() {
    let world = World::new(vec![flow("f", S3)]);
    let delivery = operon_core::triggers::parse::Delivery {
        body: "{".to_owned(),
        message_id: "m".to_owned(),
        ..Default::default()
    };
    for _ in 0..3 {
        world.triggers.message(&delivery).await.unwrap();
    }
    let letters = world.triggers.dead_letters(None, 10).await.unwrap();
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].body.as_deref(), Some("{"));
    assert!(
        world
            .triggers
            .forget_dead_letter(&letters[0].id)
            .await
            .unwrap()
    );
}

#[tokio::test]
async fn a_long_message_that_nobody_can_read_is_kept_whole() {
    let world = World::new(vec![flow("f", S3)]);
    let delivery = operon_core::triggers::parse::Delivery {
        body: format!("{{\"a\": \"{}\" wrong", "ü".repeat(150_000)),
        message_id: "m".to_owned(),
        ..Default::default()
    };
    world.triggers.message(&delivery).await.unwrap();
    let letter = world
        .triggers
        .dead_letters(None, 10)
        .await
        .unwrap()
        .remove(0);
    let kept = letter.body.unwrap();
    assert!(kept.len() <= 200 * 1024 && delivery.body.starts_with(&kept));
    let artifacts = &world.memory.ports().artifacts;
    let whole = artifacts
        .get(&letter.body_uri.unwrap().parse().unwrap(), 1 << 20)
        .await
        .unwrap();
    assert_eq!(whole, delivery.body.as_bytes());
    // All of it is tried again: it is wrong at the same place.
    let again = world.triggers.redrive(&letter.id).await.unwrap_err();
    assert!(
        again.to_string().contains(&letter.reason),
        "{again}, {}",
        letter.reason
    );
    assert!(letter.reason.contains("300"), "{}", letter.reason);
}

#[tokio::test]
async fn a_key_of_ones_own_makes_events_the_same() {
    let keyed = format!("{S3}    idempotencyKey: \"{{{{ trigger.bucket }}}}\"\n");
    let world = World::new(vec![flow("f", &keyed)]);
    world
        .triggers
        .events(vec![object("a"), object("c")])
        .await
        .unwrap();
    assert_eq!(world.executions().await.len(), 1);
}

#[tokio::test]
async fn a_secret_does_not_reach_what_is_stored() {
    let leaking = "  - {id: upload, type: s3, bucket: b, inputs: {value: \"{{ secret('TOKEN') | upper }}\"}}\n";
    let world = World::new(vec![flow("f", leaking)]);
    world.memory.secrets.set("TOKEN", "hunter2");
    world.triggers.events(vec![object("a")]).await.unwrap();
    let rows = world.executions().await;
    assert_eq!(rows[0].state, "FAILED");
    let stored = format!("{rows:?} {:?}", world.events().await);
    assert!(!stored.to_lowercase().contains("hunter2"), "{stored}");
}

#[tokio::test]
async fn events_wait_while_an_execution_is_active_and_none_is_lost() {
    let serial = format!("{S3}    allowConcurrent: false\n");
    let world = World::new(vec![flow("f", &serial)]);
    for key in ["a", "b", "c"] {
        world.memory.clock.advance(10);
        world.triggers.events(vec![object(key)]).await.unwrap();
    }
    let mut order = Vec::new();
    for count in 1..=3 {
        world.pass(3).await;
        let rows = world.executions().await;
        assert_eq!(rows.len(), count, "never two at once");
        let last = rows.last().unwrap();
        order.push(last.labels["cause"].clone());
        let ended = world.end(last, "SUCCESS").await;
        world.triggers.ended(&ended).await.unwrap();
    }
    assert_eq!(order, ["a", "b", "c"]);
}

#[tokio::test]
async fn a_trigger_stops_after_a_state() {
    let stops = format!("{S3}    stopAfter: [FAILED]\n");
    let world = World::new(vec![flow("f", &stops)]);
    world.triggers.events(vec![object("a")]).await.unwrap();
    let row = world.executions().await.remove(0);
    world
        .triggers
        .ended(&world.end(&row, "SUCCESS").await)
        .await
        .unwrap();
    assert!(
        world
            .triggers
            .state(&world.key())
            .await
            .unwrap()
            .disabled
            .is_none()
    );
    world
        .triggers
        .ended(&world.end(&row, "FAILED").await)
        .await
        .unwrap();
    let state = world.triggers.state(&world.key()).await.unwrap();
    assert_eq!(state.disabled.unwrap().by, "stopAfter");
}

#[tokio::test]
async fn a_large_event_is_kept_beside_the_execution() {
    let hook = "  - {id: hook, type: sqs, queueUrl: \"arn:aws:sqs:r:1:q\", inputs: {n: \"{{ trigger.body | length }}\"}}\n";
    let world = World::new(vec![flow("f", hook)]);
    let delivery = operon_core::triggers::parse::Delivery {
        body: "x".repeat(900_000),
        message_id: "m".to_owned(),
        queue_arn: Some("arn:aws:sqs:r:1:q".to_owned()),
        ..Default::default()
    };
    world.triggers.message(&delivery).await.unwrap();
    let rows = world.executions().await;
    assert_eq!(rows[0].meta.inputs["n"], 900_000);
    assert!(rows[0].meta.trigger.to_string().len() < 10_000);
    assert!(fields(&rows[0]).contains_key("payloadUri"));
}

/// Servers and functions hand futures from thread to thread.
#[tokio::test]
async fn what_is_awaited_can_move_between_threads() {
    fn is_send<T: Send>(_: &T) {}
    let world = World::new(vec![flow("f", S3)]);
    let triggers = &world.triggers;
    let (key, delivery) = (
        world.key(),
        operon_core::triggers::parse::Delivery::default(),
    );
    is_send(&triggers.message(&delivery));
    is_send(&triggers.look(&key));
    is_send(&triggers.look_at_due());
    is_send(&triggers.listen(&key));
    is_send(&triggers.redrive("m"));
    let request = operon_engine::triggers::webhook::Request::default();
    is_send(&operon_engine::triggers::webhook::accept(triggers, request));
}
