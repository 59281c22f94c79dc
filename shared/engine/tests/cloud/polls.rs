//! Polls of triggers: asked for by intake and the reconciler, done by the worker.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use operon_engine::dead_letters;
use operon_engine::flows::{Deploy, Expected, Flows};
use operon_engine::ports::{ExecutionFilter, ExecutionRow, Queue, QueueName, StateStore as _};
use operon_engine::triggers::{TriggerKey, TriggerState};
use operon_engine::wire::{self, WorkMessage};
use operon_engine::worker::Worker;
use operon_testkit::cloud::{CloudWorld, When};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::HOUR;

/// Time between two looks.
const INTERVAL_MS: u64 = 10 * 60_000;

/// An address whose content never changes; how often it was asked.
async fn address() -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut bytes = vec![0; 8_192];
            let _ = socket.read(&mut bytes).await;
            count.fetch_add(1, Ordering::SeqCst);
            let answer = "HTTP/1.1 200 OK\r\netag: \"1\"\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok";
            let _ = socket.write_all(answer.as_bytes()).await;
        }
    });
    (port, asked)
}

fn key() -> TriggerKey {
    TriggerKey {
        namespace: "genomics".to_owned(),
        flow: "ncbi".to_owned(),
        trigger: "release".to_owned(),
    }
}

/// A cloud in which the flow is deployed.
async fn cloud(port: u16) -> CloudWorld {
    let mut cloud = CloudWorld::default();
    cloud.look();
    let source = format!(
        "id: ncbi\nnamespace: genomics\ntasks:\n  - {{id: t, type: return, format: x}}\ntriggers:\n  - {{id: release, type: http, uri: \"http://127.0.0.1:{port}/v\", interval: 10m}}\n"
    );
    let flows = Flows::new(&cloud.ports.ports(), Arc::default());
    let deploy = Deploy {
        source: &source,
        wanted: None,
        expected: Expected::Any,
        directory: None,
        by: "test",
        message: None,
    };
    flows.deploy(deploy).await.unwrap();
    cloud.triggers().follow("genomics", "ncbi").await.unwrap();
    cloud
}

async fn executions(cloud: &CloudWorld) -> Vec<ExecutionRow> {
    let filter = ExecutionFilter {
        limit: 100,
        ..ExecutionFilter::default()
    };
    cloud.ports.store.executions(&filter).await.unwrap()
}

async fn state(cloud: &CloudWorld) -> TriggerState {
    cloud.triggers().state(&key()).await.unwrap()
}

/// Looks of the work queue.
fn on_their_way(cloud: &CloudWorld) -> usize {
    cloud.queues.bodies(QueueName::Work).len()
}

/// EventBridge Scheduler tells intake that it is time.
async fn told(cloud: &CloudWorld) {
    let own =
        json!({"operon": "look", "namespace": "genomics", "flow": "ncbi", "trigger": "release"});
    let outcome = cloud.triggers().document(&own).await;
    outcome.unwrap();
}

#[tokio::test]
async fn intake_asks_once_and_the_worker_looks() {
    let (port, asked) = address().await;
    let mut cloud = cloud(port).await;
    for _ in 0..3 {
        told(&cloud).await;
        cloud.triggers().look_at_due().await.unwrap();
    }
    assert_eq!(asked.load(Ordering::SeqCst), 0, "intake does not look");
    assert_eq!(on_their_way(&cloud), 1, "one question is enough");
    let body = cloud.queues.bodies(QueueName::Work).remove(0);
    let message = WorkMessage::Poll { trigger: key() };
    assert_eq!(body, wire::encode(&message).unwrap());
    cloud.settle().await;
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    let found = executions(&cloud).await;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].state, "SUCCESS");
    let after = state(&cloud).await;
    assert_eq!((after.asked, after.trouble), (None, None));
    assert_eq!(after.next_ms, Some(cloud.now() + INTERVAL_MS));
    // A duplicate finds that nobody waits any more.
    let outgoing = operon_engine::ports::Outgoing::now(body);
    cloud.queues.put(QueueName::Work, outgoing);
    cloud.settle().await;
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    // A wake-up between two looks asks for nothing; one that is a little early does.
    told(&cloud).await;
    assert_eq!(on_their_way(&cloud), 0);
    cloud.ports.clock.advance(INTERVAL_MS - 3_000);
    told(&cloud).await;
    assert_eq!(on_their_way(&cloud), 1);
    cloud.settle().await;
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    assert_eq!(executions(&cloud).await.len(), 1, "it has not changed");
}

#[tokio::test]
async fn a_question_that_is_lost_is_asked_again_and_people_see_it() {
    let (port, asked) = address().await;
    let mut cloud = cloud(port).await;
    told(&cloud).await;
    for received in cloud.queues.receive(QueueName::Work, 10) {
        cloud.queues.delete(QueueName::Work, received.number);
    }
    // Its message may still come: nobody asks.
    cloud.wait(4 * 60_000).await;
    assert_eq!(asked.load(Ordering::SeqCst), 0);
    assert_eq!(state(&cloud).await.asked.unwrap().times, 1);
    cloud.ports.clock.advance(2 * 60_000);
    cloud.triggers().look_at_due().await.unwrap();
    assert_eq!(on_their_way(&cloud), 1);
    let waits = state(&cloud).await;
    assert_eq!(waits.asked.unwrap().times, 2);
    let trouble = waits.trouble.unwrap();
    assert!(
        trouble
            .message
            .contains("was asked to look 6 minutes ago and has not begun"),
        "{trouble:?}"
    );
    cloud.settle().await;
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    assert_eq!(executions(&cloud).await.len(), 1);
    assert_eq!(state(&cloud).await.trouble, None);
}

#[tokio::test]
async fn a_poll_survives_every_death() {
    let mut at = 0;
    loop {
        let mut fired = false;
        for when in [When::Before, When::After] {
            let (port, _) = address().await;
            let mut cloud = cloud(port).await;
            cloud.faults.kill_at(at, when);
            let what = format!("killed {when:?} write {at}");
            // Two looks, also when the first question was lost.
            cloud.wait(2 * INTERVAL_MS).await;
            fired |= cloud.faults.fired();
            let found = executions(&cloud).await;
            assert_eq!(found.len(), 1, "{what} ({})", cloud.faults.last());
            assert_eq!(found[0].state, "SUCCESS", "{what}");
            let after = state(&cloud).await;
            assert_eq!(after.trouble, None, "{what}");
            assert!(
                after
                    .looked_ms
                    .is_some_and(|looked| looked + INTERVAL_MS + 60_000 > cloud.now()),
                "{what}: nobody looks any more"
            );
        }
        if !fired {
            assert!(at > 8, "only {at} failpoints");
            return;
        }
        at += 1;
    }
}

#[tokio::test]
async fn a_poisoned_poll_ends_as_a_dead_letter_that_names_its_trigger() {
    let (port, asked) = address().await;
    let mut cloud = cloud(port).await;
    told(&cloud).await;
    // Time after time the worker dies.
    let body = cloud.queues.bodies(QueueName::Work).remove(0);
    for received in cloud.queues.receive(QueueName::Work, 10) {
        cloud.queues.delete(QueueName::Work, received.number);
    }
    let ports = cloud.ports.ports();
    let buried = dead_letters::bury(&ports, &*cloud.queues, QueueName::Work, &body, "5 times");
    let letter = buried.await.unwrap();
    assert_eq!(letter.trigger, Some(key()));
    let listed = dead_letters::list(&ports, None, 10).await.unwrap();
    assert_eq!(listed, std::slice::from_ref(&letter));
    // A person puts it back.
    let queue: Arc<dyn Queue> = cloud.queues.clone();
    let back = dead_letters::redrive(&ports, &queue, &letter.id).await;
    assert!(back.unwrap());
    cloud.settle().await;
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_worker_that_cannot_look_does_not_take_the_message() {
    let mut cloud = CloudWorld::default();
    let message = WorkMessage::Poll { trigger: key() };
    let text = wire::encode(&message).unwrap();
    let outgoing = operon_engine::ports::Outgoing::now(text);
    cloud.queues.put(QueueName::Work, outgoing);
    cloud.wait(HOUR).await;
    let ports = cloud.ports.ports();
    let listed = dead_letters::list(&ports, None, 10).await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].trigger, Some(key()));
}

#[tokio::test]
async fn a_look_has_no_more_time_than_its_function() {
    // Somebody listens, and never answers.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let cloud = cloud(port).await;
    told(&cloud).await;
    let ports = cloud.ports.ports();
    let flows = Arc::new(Flows::new(&ports, Arc::default()));
    let worker = Worker::new(ports, Arc::clone(&cloud.queues) as Arc<_>, flows);
    let worker = worker.polling(cloud.triggers());
    let text = cloud.queues.bodies(QueueName::Work).remove(0);
    // Ten seconds are kept for reporting.
    worker.handle(&text, cloud.now() + 11_000).await.unwrap();
    let after = state(&cloud).await;
    assert_eq!(after.asked, None);
    let trouble = after.trouble.unwrap();
    assert!(
        trouble.message.contains("longer than the 1 s that it has"),
        "{trouble:?}"
    );
    // Later than usual, as after every failure.
    assert_eq!(after.next_ms, Some(cloud.now() + 2 * INTERVAL_MS));
    assert_eq!(executions(&cloud).await.len(), 0);
}
