//! Webhooks: who may call, what a call starts, what it is answered.

use hmac_of::sign;
use serde_json::{Value, json};

use super::world::{World, flow};
use operon_engine::triggers::webhook::{Request, accept};

mod hmac_of {
    /// HMAC-SHA256 by hand, so that the test does not use what it tests.
    pub(crate) fn sign(key: &[u8], text: &[u8]) -> String {
        use sha2::{Digest as _, Sha256};
        let mut block = [0_u8; 64];
        block[..key.len()].copy_from_slice(key);
        let pad = |byte: u8| block.map(|one| one ^ byte);
        let inner = Sha256::new()
            .chain_update(pad(0x36))
            .chain_update(text)
            .finalize();
        hex::encode(
            Sha256::new()
                .chain_update(pad(0x5c))
                .chain_update(inner)
                .finalize(),
        )
    }
}

const KEY: &str = "abcdefghijklmnopqrst";

fn call(
    trigger: &str,
    headers: &[(&str, &str)],
    parameters: &[(&str, &str)],
    body: &str,
) -> Request {
    let owned = |pairs: &[(&str, &str)]| {
        pairs
            .iter()
            .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
            .collect()
    };
    Request {
        namespace: "genomics".to_owned(),
        flow: "f".to_owned(),
        trigger: trigger.to_owned(),
        method: "POST".to_owned(),
        headers: owned(headers),
        parameters: owned(parameters),
        body: body.as_bytes().to_vec(),
    }
}

fn world(more: &str) -> World {
    let trigger = format!("  - {{id: hook, type: webhook, key: {KEY}{more}}}\n");
    let world = World::new(vec![flow("f", &trigger)]);
    world.memory.secrets.set("HOOK", "the secret");
    world
}

async fn status(world: &World, request: Request) -> (u16, Value) {
    let response = accept(&world.triggers, request).await.unwrap();
    (
        response.status,
        serde_json::from_str(&response.body).unwrap_or(Value::Null),
    )
}

/// Nothing of any kind was written.
async fn nothing_is_stored(world: &World) -> bool {
    world.executions().await.is_empty()
        && world.events().await.is_empty()
        && world
            .triggers
            .dead_letters(None, 10)
            .await
            .unwrap()
            .is_empty()
}

#[tokio::test]
async fn without_the_key_nothing_happens() {
    let world = world("");
    for request in [
        call("hook", &[], &[], "{}"),
        call("hook", &[], &[("key", "wrong")], "{}"),
        call("wrong", &[], &[], "{}"),
        Request {
            flow: "other".to_owned(),
            ..call("hook", &[], &[("key", KEY)], "{}")
        },
    ] {
        assert_eq!(status(&world, request).await.0, 401);
    }
    assert!(nothing_is_stored(&world).await);
    // By the trigger's id with the key beside it, or as Kestra has it.
    for request in [
        call("hook", &[], &[("key", KEY)], "{}"),
        call("hook", &[("x-operon-key", KEY)], &[], "{}"),
        call(KEY, &[], &[], "{}"),
    ] {
        assert_eq!(status(&world, request).await.0, 202);
    }
    let rows = world.executions().await;
    assert_eq!(
        rows.len(),
        3,
        "calls without a name are events of their own"
    );
    assert!(!format!("{rows:?}").contains(KEY));
}

#[tokio::test]
async fn github_signs_and_names_its_deliveries() {
    let world = world(", signature: {type: github, secret: HOOK}");
    let body = r#"{"ref":"refs/heads/main"}"#;
    let right = format!("sha256={}", sign(b"the secret", body.as_bytes()));
    let wrong = format!("sha256={}", sign(b"another", body.as_bytes()));
    for headers in [vec![], vec![("x-hub-signature-256", wrong.as_str())]] {
        assert_eq!(
            status(&world, call("hook", &headers, &[], body)).await.0,
            401
        );
    }
    let changed = call(
        "hook",
        &[("x-hub-signature-256", &right)],
        &[],
        r#"{"ref":"refs/heads/evil"}"#,
    );
    assert_eq!(status(&world, changed).await.0, 401);
    assert!(nothing_is_stored(&world).await);
    let headers = [
        ("X-Hub-Signature-256", right.as_str()),
        ("X-GitHub-Delivery", "72d3162e"),
        ("content-type", "application/json"),
    ];
    let (code, first) = status(&world, call("hook", &headers, &[], body)).await;
    assert_eq!((code, &first["duplicate"]), (202, &json!(false)));
    let (code, again) = status(&world, call("hook", &headers, &[], body)).await;
    assert_eq!(
        (code, &again["duplicate"], &again["executionId"]),
        (200, &json!(true), &first["executionId"])
    );
    let rows = world.executions().await;
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].meta.trigger["body"]["ref"], "refs/heads/main");
    assert!(
        rows[0].meta.trigger["headers"]
            .get("x-hub-signature-256")
            .is_none()
    );
}

#[tokio::test]
async fn slack_signs_with_a_time_and_asks_for_its_challenge() {
    let world = world(", signature: {type: slack, secret: HOOK}");
    let now = world.now() / 1_000;
    let signed = |body: &str, at: u64| {
        let at = at.to_string();
        let signature = format!(
            "v0={}",
            sign(b"the secret", format!("v0:{at}:{body}").as_bytes())
        );
        call(
            "hook",
            &[
                ("x-slack-signature", &signature),
                ("x-slack-request-timestamp", &at),
                ("content-type", "application/json"),
            ],
            &[],
            body,
        )
    };
    let body = r#"{"event_id":"Ev1","type":"event_callback"}"#;
    assert_eq!(
        status(&world, signed(body, now - 301)).await.0,
        401,
        "too old"
    );
    assert_eq!(
        status(&world, signed(body, now + 301)).await.0,
        401,
        "from the future"
    );
    assert!(nothing_is_stored(&world).await);
    assert_eq!(status(&world, signed(body, now)).await.0, 202);
    assert_eq!(
        status(&world, signed(body, now + 1)).await.0,
        200,
        "delivered again with a new signature"
    );
    assert_eq!(world.executions().await.len(), 1);
    let challenge = signed(r#"{"type":"url_verification","challenge":"abc"}"#, now);
    assert_eq!(
        status(&world, challenge).await,
        (200, json!({"challenge": "abc"}))
    );
    assert_eq!(world.executions().await.len(), 1);
}

#[tokio::test]
async fn a_repeated_call_with_a_signed_time_is_the_same_call() {
    let world =
        world(", signature: {type: generic, secret: HOOK, header: x-sig, timestampHeader: x-time}");
    let at = (world.now() / 1_000).to_string();
    let signature = sign(b"the secret", format!("{at}.hello").as_bytes());
    let request = || {
        call(
            "hook",
            &[("x-sig", &signature), ("x-time", &at)],
            &[],
            "hello",
        )
    };
    assert_eq!(status(&world, request()).await.0, 202);
    assert_eq!(status(&world, request()).await.0, 200);
    assert_eq!(world.executions().await.len(), 1);
}

#[tokio::test]
async fn large_and_broken_bodies_are_refused() {
    let world = world("");
    let large = "x".repeat(1024 * 1024 + 1);
    assert_eq!(
        status(&world, call("hook", &[], &[("key", KEY)], &large))
            .await
            .0,
        413
    );
    let broken = call(
        "hook",
        &[("content-type", "application/json")],
        &[("key", KEY)],
        "{",
    );
    assert_eq!(status(&world, broken).await.0, 400);
    assert!(nothing_is_stored(&world).await);
}

#[tokio::test]
async fn the_answer_may_wait_for_the_outputs() {
    let world = world(", returnOutputs: true");
    let finish = async {
        loop {
            if let Some(row) = world.executions().await.first() {
                let mut row = row.clone();
                row.outputs.insert("count".to_owned(), json!(7));
                world.end(&row, "SUCCESS").await;
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    let request = call("hook", &[], &[("key", KEY)], "{}");
    let (answer, ()) = tokio::join!(status(&world, request), finish);
    assert_eq!(answer, (200, json!({"count": 7})));
}

#[tokio::test]
async fn calls_can_be_batched() {
    let world = world(", batch: {maxItems: 2, maxWait: 5s}");
    for n in 0..3 {
        let body = format!("{{\"n\":{n}}}");
        let request = call(
            "hook",
            &[("idempotency-key", &n.to_string())],
            &[("key", KEY)],
            &body,
        );
        assert_eq!(
            status(&world, request).await,
            (202, json!({"accepted": true}))
        );
    }
    world.pass(6).await;
    assert_eq!(world.executions().await.len(), 2);
}
