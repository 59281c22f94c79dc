//! Sending to queues.

use std::time::Duration;

use operon_aws::{Outgoing, Queue, QueueError};

use crate::world::World;

async fn bodies(world: &World, url: &str, count: usize) -> Vec<String> {
    let mut bodies = Vec::new();
    while bodies.len() < count {
        let answer = world
            .sdk
            .sqs()
            .receive_message()
            .queue_url(url)
            .max_number_of_messages(10)
            .wait_time_seconds(5)
            .send()
            .await
            .unwrap();
        let found = answer.messages.unwrap_or_default();
        assert!(
            !found.is_empty(),
            "{} of {count} messages came",
            bodies.len()
        );
        bodies.extend(found.into_iter().filter_map(|message| message.body));
    }
    bodies.sort();
    bodies
}

#[tokio::test]
async fn messages_arrive_in_batches() {
    let world = World::new().await;
    let created = world
        .sdk
        .sqs()
        .create_queue()
        .queue_name(&world.name)
        .send()
        .await
        .unwrap();
    let url = created.queue_url.unwrap();
    let queue = Queue::new(&world.sdk, &url);
    let _ = world.sdk.meter().take();
    let messages = (10..35).map(|n| Outgoing::now(n.to_string())).collect();
    queue.send_all(messages).await.unwrap();
    assert_eq!(world.sdk.meter().take().of_service("SQS"), 3);
    let expected: Vec<String> = (10..35).map(|n| n.to_string()).collect();
    assert_eq!(bodies(&world, &url, 25).await, expected);
    queue
        .send(Outgoing::after("later", Duration::from_millis(300)))
        .await
        .unwrap();
    assert_eq!(bodies(&world, &url, 1).await, ["later"]);
    queue.send_all(Vec::new()).await.unwrap();
    world
        .sdk
        .sqs()
        .delete_queue()
        .queue_url(&url)
        .send()
        .await
        .unwrap();
    world.end().await;
}

#[tokio::test]
async fn a_queue_that_does_not_exist_is_named_with_a_remedy() {
    let world = World::new().await;
    let created = world
        .sdk
        .sqs()
        .create_queue()
        .queue_name(&world.name)
        .send()
        .await
        .unwrap();
    let url = created.queue_url.unwrap();
    let queue = Queue::new(&world.sdk, &format!("{url}-none"));
    let error = queue.send(Outgoing::now("x")).await.unwrap_err();
    let QueueError::Refused(text) = &error else {
        panic!("{error}")
    };
    assert!(text.contains("check the OPERON_ variables"), "{text}");
    world.end().await;
}
