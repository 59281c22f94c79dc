//! The `http` trigger against a small server of its own.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use operon_testkit::memory::TestClock;

use super::world::{World, fields, flow};

const MINUTE: u64 = 60_000;

/// What the server answers, and what it was asked.
#[derive(Default)]
struct Server {
    etag: String,
    body: String,
    status: u16,
    extra: String,
    asked: Vec<String>,
    /// How long each answer takes.
    slow: Option<(Arc<TestClock>, u64)>,
}

async fn serve(server: Arc<Mutex<Server>>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut bytes = vec![0; 8_192];
            let read = socket.read(&mut bytes).await.unwrap_or(0);
            let request = String::from_utf8_lossy(&bytes[..read]).to_lowercase();
            let answer = {
                let mut server = server.lock().unwrap();
                server.asked.push(request.clone());
                if let Some((clock, ms)) = &server.slow {
                    clock.advance(*ms);
                }
                let same = !server.etag.is_empty()
                    && request.contains(&format!("if-none-match: {}", server.etag.to_lowercase()));
                let (status, body) = if same {
                    (304, "")
                } else {
                    (server.status, server.body.as_str())
                };
                format!(
                    "HTTP/1.1 {status} X\r\netag: {}\r\ncontent-type: application/json\r\n{}connection: close\r\ncontent-length: {}\r\n\r\n{body}",
                    server.etag,
                    server.extra,
                    body.len()
                )
            };
            let _ = socket.write_all(answer.as_bytes()).await;
        }
    });
    port
}

async fn world(more: &str) -> (World, Arc<Mutex<Server>>) {
    let server = Arc::new(Mutex::new(Server {
        status: 200,
        ..Server::default()
    }));
    let port = serve(Arc::clone(&server)).await;
    let trigger = format!(
        "  - {{id: release, type: http, uri: \"http://127.0.0.1:{port}/version.json\", interval: 10m{more}}}\n"
    );
    let world = World::new(vec![flow("f", &trigger)]);
    world.triggers.arm_all().await.unwrap();
    (world, server)
}

/// Lets the interval pass and looks.
async fn look(world: &World) -> usize {
    world.triggers.look_at_due().await.unwrap();
    world.memory.clock.advance(600_000);
    world.executions().await.len()
}

#[tokio::test]
async fn unchanged_starts_nothing_and_costs_one_conditional_request() {
    let (world, server) = world("").await;
    server.lock().unwrap().etag = "\"1\"".to_owned();
    server.lock().unwrap().body = "{\"version\": 1}".to_owned();
    assert_eq!(look(&world).await, 1);
    assert_eq!(look(&world).await, 1, "not changed");
    let asked = server.lock().unwrap().asked.clone();
    assert!(
        !asked[0].contains("if-none-match") && asked[1].contains("if-none-match: \"1\""),
        "{asked:?}"
    );
    server.lock().unwrap().etag = "\"2\"".to_owned();
    assert_eq!(look(&world).await, 2);
    let rows = world.executions().await;
    assert_eq!(fields(&rows[0])["body"]["version"], 1);
    // Before its time nobody looks.
    world.triggers.look_at_due().await.unwrap();
    let count = server.lock().unwrap().asked.len();
    world.triggers.look_at_due().await.unwrap();
    assert_eq!(server.lock().unwrap().asked.len(), count);
}

#[tokio::test]
async fn a_cursor_in_the_body_tells_what_is_new() {
    let (world, server) = world(", cursor: \"{{ response.body.version }}\"").await;
    for (body, expected) in [
        ("{\"version\": 1, \"at\": 1}", 1),
        ("{\"version\": 1, \"at\": 2}", 1),
        ("{\"version\": 2, \"at\": 3}", 2),
    ] {
        server.lock().unwrap().body = body.to_owned();
        server.lock().unwrap().etag = format!("\"{body}\"").replace(' ', "");
        assert_eq!(look(&world).await, expected, "{body}");
    }
}

#[tokio::test]
async fn a_duplicate_after_a_crash_starts_nothing() {
    for writes in 0..12 {
        let (world, server) = world("").await;
        server.lock().unwrap().etag = "\"1\"".to_owned();
        world.fuse.set(writes);
        let _ = world.triggers.look(&world.key()).await;
        world.fuse.set(i64::MAX);
        world.triggers.look(&world.key()).await.unwrap();
        assert_eq!(
            world.executions().await.len(),
            1,
            "crash after {writes} writes"
        );
    }
}

#[tokio::test]
async fn a_server_in_trouble_is_asked_less_often_and_its_wish_is_heeded() {
    let (world, server) = world("").await;
    server.lock().unwrap().status = 503;
    server.lock().unwrap().extra = "retry-after: 3600\r\n".to_owned();
    world.triggers.look_at_due().await.unwrap();
    let state = world.triggers.state(&world.key()).await.unwrap();
    assert_eq!(state.next_ms, Some(world.now() + 3_600_000));
    assert!(state.trouble.unwrap().message.contains("503"));
    server.lock().unwrap().status = 200;
    world.memory.clock.advance(3_600_000);
    world.triggers.look_at_due().await.unwrap();
    assert!(
        world
            .triggers
            .state(&world.key())
            .await
            .unwrap()
            .trouble
            .is_none()
    );
    assert_eq!(world.executions().await.len(), 1);
}

#[tokio::test]
async fn a_condition_decides_and_large_bodies_are_left_alone() {
    let (world, server) = world(", headersOnly: true, responseCondition: \"{{ response.headers['x-total-records'] == '5' }}\"").await;
    server.lock().unwrap().extra = "x-total-records: 4\r\n".to_owned();
    server.lock().unwrap().body = "x".repeat(3_000_000);
    server.lock().unwrap().etag = "\"1\"".to_owned();
    assert_eq!(look(&world).await, 0);
    server.lock().unwrap().extra = "x-total-records: 5\r\n".to_owned();
    server.lock().unwrap().etag = "\"2\"".to_owned();
    assert_eq!(look(&world).await, 1);
}

/// As it is on AWS: whoever learns that it is time asks the worker.
#[tokio::test]
async fn who_cannot_ask_tries_again_and_pauses_are_waited_out() {
    let (mut world, server) = world("").await;
    let asks = world.asking();
    let key = world.key();
    asks.refuse(true);
    assert!(world.triggers.look(&key).await.is_err(), "it comes again");
    let state = world.triggers.state(&key).await.unwrap();
    assert_eq!(state.asked, None);
    let trouble = state.trouble.unwrap();
    assert!(
        trouble
            .message
            .contains("the worker cannot be asked to look")
            && trouble.message.contains("takes nothing"),
        "{trouble:?}"
    );
    asks.refuse(false);
    world.triggers.look(&key).await.unwrap();
    assert_eq!(asks.count(), 1);
    server.lock().unwrap().status = 503;
    server.lock().unwrap().extra = "retry-after: 3600\r\n".to_owned();
    world
        .triggers
        .poll(&key, world.now() + MINUTE)
        .await
        .unwrap();
    let asked = |server: &Mutex<Server>| server.lock().unwrap().asked.len();
    assert_eq!(asked(&server), 1);
    let state = world.triggers.state(&key).await.unwrap();
    assert!(state.trouble.is_some());
    // The schedule goes on telling that it is time, the last time a second too early. The server's wish is heeded.
    for ms in [600_000, 600_000, 600_000, 600_000, 600_000, 599_000] {
        world.memory.clock.advance(ms);
        world.triggers.look(&key).await.unwrap();
        world.triggers.look_at_due().await.unwrap();
    }
    assert_eq!(asks.count(), 1);
    world.memory.clock.advance(1_000);
    world.triggers.look_at_due().await.unwrap();
    assert_eq!(asks.count(), 2);
    // Switched off meanwhile: the message finds nobody who waits.
    world.triggers.disable(&key, "me", "enough").await.unwrap();
    world
        .triggers
        .poll(&key, world.now() + MINUTE)
        .await
        .unwrap();
    assert_eq!(asked(&server), 1);
    world.memory.clock.advance(3_600_000);
    world.triggers.look(&key).await.unwrap();
    world.triggers.look_at_due().await.unwrap();
    assert_eq!(asks.count(), 2);
}

#[tokio::test]
async fn a_look_that_takes_most_of_its_interval_is_not_followed_by_another_at_once() {
    let (mut world, server) = world("").await;
    let asks = world.asking();
    let key = world.key();
    server.lock().unwrap().slow = Some((Arc::clone(&world.memory.clock), 400_000));
    world.triggers.look(&key).await.unwrap();
    let began = world.now();
    let deadline = began + 15 * MINUTE;
    world.triggers.poll(&key, deadline).await.unwrap();
    assert_eq!(world.now(), began + 400_000);
    assert_eq!(asks.count(), 1, "the interval has not passed");
    // The schedule is a little early: that is on time.
    world.memory.clock.advance(199_000);
    world.triggers.look(&key).await.unwrap();
    assert_eq!(asks.count(), 2);
    // A look that takes longer than its interval: the next one is late already.
    server.lock().unwrap().slow = Some((Arc::clone(&world.memory.clock), 601_000));
    let deadline = world.now() + 15 * MINUTE;
    world.triggers.poll(&key, deadline).await.unwrap();
    assert_eq!(asks.count(), 3);
}

#[tokio::test]
async fn one_question_is_one_event_whatever_dies_and_comes_twice() {
    let mut writes = 0;
    loop {
        let (mut world, _) = world(", onChange: false").await;
        let asks = world.asking();
        let key = world.key();
        world.triggers.look(&key).await.unwrap();
        let deadline = world.now() + 2 * MINUTE;
        // The worker dies after so many writes: before the event was accepted, or after.
        world.fuse.set(writes);
        let _ = world.triggers.poll(&key, deadline).await;
        world.fuse.set(i64::MAX);
        if world.triggers.state(&key).await.unwrap().asked.is_none() {
            assert_eq!(world.executions().await.len(), 1);
            assert!(writes >= 6, "only {writes} writes");
            return;
        }
        // Nobody answers: it is asked again, and then both messages come.
        world.memory.clock.advance(11 * MINUTE);
        world.triggers.look_at_due().await.unwrap();
        assert_eq!(asks.count(), 2, "dead after {writes} writes");
        let deadline = world.now() + 2 * MINUTE;
        let twice = (
            world.triggers.poll(&key, deadline),
            world.triggers.poll(&key, deadline),
        );
        let twice = tokio::join!(twice.0, twice.1);
        twice.0.unwrap();
        twice.1.unwrap();
        let what = format!("dead after {writes} writes");
        assert_eq!(world.executions().await.len(), 1, "{what}");
        assert_eq!(
            world.triggers.state(&key).await.unwrap().asked,
            None,
            "{what}"
        );
        // Another question is another event.
        world.memory.clock.advance(10 * MINUTE);
        let before = asks.count();
        world.triggers.look(&key).await.unwrap();
        assert_eq!(asks.count(), before + 1, "{what}");
        let deadline = world.now() + 2 * MINUTE;
        world.triggers.poll(&key, deadline).await.unwrap();
        assert_eq!(world.executions().await.len(), 2, "{what}");
        writes += 1;
    }
}

#[tokio::test]
async fn a_long_queue_is_not_a_dead_worker_and_who_began_late_is_waited_for() {
    let (mut world, _) = world("").await;
    let asks = world.asking();
    let key = world.key();
    world.triggers.look(&key).await.unwrap();
    // Nobody has begun: the queue may be long.
    world.memory.clock.advance(6 * MINUTE);
    world.triggers.look_at_due().await.unwrap();
    assert_eq!(asks.count(), 2);
    let state = world.triggers.state(&key).await.unwrap();
    let message = state.trouble.unwrap().message;
    assert!(
        message.contains("asked to look 6 minutes ago and has not begun"),
        "{message}"
    );
    assert!(!message.contains("dead letters"), "{message}");
    // Somebody begins a minute before the question counts as lost, and dies much later.
    world.memory.clock.advance(9 * MINUTE);
    let deadline = world.now() + 15 * MINUTE;
    world.fuse.set(2);
    let _ = world.triggers.poll(&key, deadline).await;
    world.fuse.set(i64::MAX);
    world.memory.clock.advance(14 * MINUTE);
    world.triggers.look_at_due().await.unwrap();
    assert_eq!(asks.count(), 2, "it may still look");
    world.memory.clock.advance(MINUTE);
    world.triggers.look_at_due().await.unwrap();
    assert_eq!(asks.count(), 3);
    let state = world.triggers.state(&key).await.unwrap();
    let message = state.trouble.unwrap().message;
    assert!(
        message.contains("began to look 15 minutes ago and gave no answer")
            && message.contains("dead letters"),
        "{message}"
    );
}
