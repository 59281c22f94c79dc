//! What becomes of an object that is an execution: never before it is one, and then once, whatever crashes.

use bytes::Bytes;
use operon_core::triggers::TriggerEvent;
use operon_engine::ports::{ArtifactStore as _, ArtifactUri};
use operon_engine::triggers::{EventState, Outcome};

use super::world::{World, fields, flow, items};

const MOVE: &str =
    "  - {id: upload, type: s3, bucket: b, prefix: in/, action: MOVE, moveTo: {key: done/}}\n";
const DELETE: &str = "  - {id: upload, type: s3, bucket: b, action: DELETE}\n";

type Change = fn(&mut TriggerEvent);

/// What a flow finds at the URI of its trigger.
async fn content(world: &World, uri: &str) -> Bytes {
    let uri: ArtifactUri = uri.parse().unwrap();
    world.memory.artifacts.get(&uri, 1_000).await.unwrap()
}

#[tokio::test]
async fn an_object_is_moved_or_deleted_after_its_execution_is_stored_which_reads_a_copy() {
    for (trigger, left) in [(MOVE, &["b/done/x"][..]), (DELETE, &[])] {
        let world = World::new(vec![flow("f", trigger)]);
        let event = world.written("in/x", "one");
        world.triggers.events(vec![event.clone()]).await.unwrap();
        assert_eq!(world.shelf.keys(), left);
        let row = world.executions().await.remove(0);
        let uri = fields(&row)["uri"].as_str().unwrap();
        assert_eq!(content(&world, uri).await, "one");
        assert!(uri.ends_with("/x"), "{uri}");
        assert_eq!(fields(&row)["key"], "in/x");
        // Nothing is left to be done; the same event again does nothing more, though the object is gone.
        assert!(world.events().await[0].action.is_none());
        let again = world.triggers.events(vec![event]).await.unwrap();
        assert!(matches!(again[0].1, Outcome::Known(_)), "{again:?}");
        assert_eq!(world.executions().await.len(), 1);
        assert_eq!(world.shelf.keys(), left);
    }
}

/// Crashes before and after every single write, to records and to the bucket; then the event is delivered again.
#[tokio::test]
async fn a_crash_at_any_write_acts_once_and_never_before_the_execution() {
    let batch = "  - {id: upload, type: s3, bucket: b, prefix: in/, action: MOVE, moveTo: {key: done/}, batch: {maxItems: 1}}\n";
    let gate = "  - {id: upload, type: s3, bucket: b, action: DELETE, allowConcurrent: false}\n";
    for trigger in [MOVE, DELETE, batch, gate] {
        let (mut crashes, mut between) = (0, 0);
        for writes in 0..90 {
            let world = World::new(vec![flow("f", trigger)]);
            let event = world.written("in/x", "one");
            world.fuse.set(writes);
            let outcome = world.triggers.events(vec![event.clone()]).await;
            let rows = world.executions().await;
            let there = world.shelf.keys().contains(&"b/in/x".to_owned());
            assert!(
                there || rows.len() == 1,
                "gone without an execution after {writes} writes\n{trigger}"
            );
            let clean = outcome.is_ok() && !there;
            crashes += usize::from(!clean);
            between += usize::from(there && rows.len() == 1);
            world.fuse.set(i64::MAX);
            // What was not acknowledged comes again; what was, does not.
            if outcome.is_err() {
                world.triggers.events(vec![event]).await.unwrap();
            }
            world.pass(10).await;
            let rows = world.executions().await;
            assert_eq!(rows.len(), 1, "crash after {writes} writes\n{trigger}");
            let left: &[&str] = if trigger.contains("MOVE") {
                &["b/done/x"]
            } else {
                &[]
            };
            assert_eq!(
                world.shelf.keys(),
                left,
                "crash after {writes} writes\n{trigger}"
            );
            let event = world.events().await.remove(0);
            assert_eq!((event.action, event.reason), (None, None));
            if clean && outcome.is_ok() {
                break;
            }
        }
        assert!(crashes > 4 && between > 1, "{crashes} {between} {trigger}");
    }
}

#[tokio::test]
async fn deliveries_at_once_act_once() {
    let world = World::new(vec![flow("f", MOVE)]);
    let event = world.written("in/x", "one");
    let deliveries = (0..5).map(|_| world.triggers.events(vec![event.clone()]));
    for outcome in futures_util::future::join_all(deliveries).await {
        assert!(outcome.unwrap()[0].1.execution().is_some());
    }
    assert_eq!(world.executions().await.len(), 1);
    assert_eq!(world.shelf.keys(), ["b/done/x"]);
    assert!(
        world
            .triggers
            .dead_letters(None, 10)
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn an_object_that_was_written_again_stays_for_its_own_event() {
    let world = World::new(vec![flow("f", DELETE)]);
    let first = world.written("x", "one");
    // The execution is stored, and the object written again before it is deleted.
    world.fuse.set(3);
    world.triggers.events(vec![first.clone()]).await.ok();
    world.fuse.set(i64::MAX);
    assert_eq!(world.executions().await.len(), 1);
    let second = world.written("x", "two");
    world.triggers.events(vec![first]).await.unwrap();
    world.pass(10).await;
    assert_eq!(world.shelf.keys(), ["b/x"], "it is not the first one's");
    world.triggers.events(vec![second]).await.unwrap();
    assert!(world.shelf.keys().is_empty());
    let rows = world.executions().await;
    assert_eq!(rows.len(), 2);
    let uri = fields(&rows[0])["uri"].as_str().unwrap();
    assert_eq!(content(&world, uri).await, "one");
}

#[tokio::test]
async fn what_is_rejected_or_fails_at_once_keeps_its_object() {
    for trigger in [
        "  - {id: u, type: s3, bucket: b, action: DELETE, when: \"{{ trigger.size > 99 }}\"}\n",
        "  - {id: u, type: s3, bucket: b, action: DELETE, when: \"{{ trigger.key.at.all }}\"}\n",
        "  - {id: u, type: s3, bucket: b, action: DELETE, inputs: {n: \"{{ trigger.key }}\"}}\n",
        "  - {id: u, type: s3, bucket: b, action: DELETE, failOnTriggerError: false, inputs: {n: \"{{ trigger.key }}\"}}\n",
        "  - {id: u, type: s3, bucket: b, action: DELETE, batch: {maxItems: 1}, inputs: {n: \"{{ trigger.count }}x\"}}\n",
    ] {
        let world = World::new(vec![flow("f", trigger)]);
        let event = world.written("x", "one");
        world.triggers.events(vec![event]).await.unwrap();
        world.pass(120).await;
        assert_eq!(world.shelf.keys(), ["b/x"], "{trigger}");
        assert!(world.events().await[0].action.is_none(), "{trigger}");
        let rows = world.executions().await;
        assert!(rows.iter().all(|row| row.state == "FAILED"), "{trigger}");
    }
}

#[tokio::test]
async fn what_cannot_be_taken_is_a_dead_letter_and_stays() {
    let too_large = |event: &mut TriggerEvent| {
        event.fields.insert("size".to_owned(), (6_u64 << 30).into());
    };
    let elsewhere = |event: &mut TriggerEvent| {
        event
            .fields
            .insert("uri".to_owned(), "s3://b/not-readable".into());
    };
    let returns = "  - {id: u, type: s3, bucket: b, prefix: in/, action: MOVE, moveTo: {key: \"{{ trigger.key | split('/') | first }}\"}}\n";
    let cases: [(&str, Change, &str); 3] = [
        (DELETE, too_large, "at most 5368709120"),
        (DELETE, elsewhere, "no object s3://b/not-readable"),
        (returns, |_| {}, "would start the flow again"),
    ];
    for (trigger, change, reason) in cases {
        let world = World::new(vec![flow("f", trigger)]);
        let mut event = world.written("in/x", "one");
        change(&mut event);
        world.triggers.events(vec![event]).await.unwrap();
        let record = world.events().await.remove(0);
        assert_eq!(record.state, EventState::Rejected);
        assert!(
            record.reason.as_ref().unwrap().contains(reason),
            "{record:?}"
        );
        let letters = world.triggers.dead_letters(None, 10).await.unwrap();
        assert_eq!(letters.len(), 1);
        assert_eq!(world.shelf.keys(), ["b/in/x"]);
    }
}

/// A missing permission is told where people look for the event, and tried again while somebody may grant it.
#[tokio::test]
async fn a_refusal_is_visible_and_tried_again() {
    let world = World::new(vec![flow("f", DELETE)]);
    let event = world.written("x", "one");
    world.shelf.refuse(true);
    world.triggers.events(vec![event]).await.unwrap();
    let record = world.events().await.remove(0);
    assert_eq!(record.state, EventState::Started);
    let reason = record.reason.unwrap();
    assert!(reason.contains("not deleted: S3: forbidden"), "{reason}");
    world.shelf.refuse(false);
    world.pass(6).await;
    assert!(world.shelf.keys().is_empty());
    assert_eq!(world.events().await[0].reason, None);
    // Not for ever.
    let event = world.written("y", "one");
    world.shelf.refuse(true);
    world.triggers.events(vec![event]).await.unwrap();
    for _ in 0..40 {
        world.memory.clock.advance(3_600_000);
        world.triggers.look_at_due().await.unwrap();
    }
    assert_eq!(world.shelf.refusals(), 1 + 16);
}

#[tokio::test]
async fn every_object_of_a_batch_is_moved() {
    let batch = "  - {id: upload, type: s3, bucket: b, prefix: in/, action: MOVE, moveTo: {key: \"done/{{ trigger.etag }}\"}, batch: {maxItems: 300}}\n";
    let world = World::new(vec![flow("f", batch)]);
    let events: Vec<_> = (0..600)
        .map(|number| world.written(&format!("in/{number:03}"), &format!("v{number}")))
        .collect();
    for some in events.chunks(50) {
        world.triggers.events(some.to_vec()).await.unwrap();
    }
    world.pass(40).await;
    let keys = world.shelf.keys();
    assert_eq!(keys.len(), 600);
    assert!(keys.contains(&"b/done/v7/007".to_owned()));
    assert!(keys.iter().all(|key| key.starts_with("b/done/")));
    let rows = world.executions().await;
    assert_eq!(rows.len(), 2);
    assert_eq!(items(&world, &rows[0]).await.len(), 300);
}

/// Events of another trigger that wait, and are due because they do, are no reason to leave an object where it is.
#[tokio::test]
async fn many_events_that_wait_hold_back_no_object() {
    let triggers = "  - {id: slow, type: s3, bucket: b, prefix: slow/, allowConcurrent: false}\n  - {id: quick, type: s3, bucket: b, prefix: in/, action: DELETE}\n";
    let world = World::new(vec![flow("f", triggers)]);
    let waiting: Vec<_> = (0..450)
        .map(|number| world.written(&format!("slow/{number:03}"), "one"))
        .collect();
    world.triggers.events(waiting).await.unwrap();
    let waits = |events: &[operon_engine::triggers::EventRecord]| {
        let waiting = events.iter();
        waiting
            .filter(|event| event.state == EventState::Pending)
            .count()
    };
    assert_eq!(waits(&world.events().await), 449, "one at a time");
    world.memory.clock.advance(120_000);
    let event = world.written("in/x", "one");
    world.triggers.events(vec![event]).await.unwrap();
    assert!(!world.shelf.keys().contains(&"b/in/x".to_owned()));
    // The same when a look finds it.
    let event = world.written("in/y", "one");
    world.shelf.refuse(true);
    world.triggers.events(vec![event]).await.unwrap();
    world.shelf.refuse(false);
    world.memory.clock.advance(120_000);
    world.triggers.look_at_due().await.unwrap();
    assert!(!world.shelf.keys().contains(&"b/in/y".to_owned()));
    assert_eq!(waits(&world.events().await), 449);
}

/// Its execution was started while the trigger was there.
#[tokio::test]
async fn an_object_goes_although_its_trigger_has_gone() {
    let world = World::new(vec![flow("f", DELETE)]);
    let event = world.written("x", "one");
    world.shelf.refuse(true);
    world.triggers.events(vec![event]).await.unwrap();
    assert_eq!(world.shelf.keys(), ["b/x"]);
    world.shelf.refuse(false);
    world.change(|flow| flow.triggers.clear());
    world.memory.clock.advance(120_000);
    world.triggers.look_at_due().await.unwrap();
    assert!(world.shelf.keys().is_empty());
}
