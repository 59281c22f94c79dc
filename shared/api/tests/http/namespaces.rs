//! What belongs to namespaces: notifications are a versioned record, incidents and costs are shown.

use axum::Router;
use axum::body::Body;
use axum::http::{Method, StatusCode};
use operon_core::lang::{self, Plugins};
use operon_core::plan;
use operon_engine::metrics::{Prices, measure};
use operon_engine::plans::LoadedPlan;
use operon_engine::ports::{RecordKey, RecordKind, RecordWrite};
use operon_testkit::memory::MemoryPorts;
use serde_json::{Value, json};

use crate::world::{Answered, TOKEN, application, call, local, request, send};

const PATH: &str = "/api/v1/namespaces/genomics/notify";
const POLICY: &str =
    "# who is told\nnotify:\n  - {id: ops, slack: {url: \"{{ secret('HOOK') }}\"}}\n";

async fn ask(to: &Router, method: Method, header: (&str, &str), body: &str) -> Answered {
    let bearer = format!("Bearer {TOKEN}");
    let headers = [("authorization", bearer.as_str()), header];
    send(
        to,
        request(&method, PATH, &headers, Body::from(body.to_owned())),
    )
    .await
}

#[tokio::test]
async fn notifications_are_a_record_with_versions_that_is_audited() {
    let memory = MemoryPorts::default();
    let application = application(&memory, local());
    let nothing = call(&application, Method::GET, PATH, &Value::Null).await;
    assert_eq!(nothing.status, StatusCode::NOT_FOUND);
    let made = ask(&application, Method::PUT, ("if-none-match", "*"), POLICY).await;
    assert_eq!(made.status, StatusCode::OK, "{}", made.text);
    let version = made.json()["version"].as_u64().unwrap();
    let there = call(&application, Method::GET, PATH, &Value::Null)
        .await
        .json();
    assert_eq!(
        (&there["source"], &there["by"]),
        (&json!(POLICY), &json!("tester"))
    );
    assert_eq!(there["notify"][0]["channel"]["url"], "{{ secret('HOOK') }}");

    let late = ask(&application, Method::PUT, ("if-none-match", "*"), POLICY).await;
    assert_eq!(late.status, StatusCode::PRECONDITION_FAILED);
    let wrong = ask(
        &application,
        Method::PUT,
        ("if-match", "*"),
        "notify:\n  - {id: ops}\n",
    )
    .await;
    assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(wrong.json()["errors"][0]["line"], 2);
    let long = "#".repeat(65 * 1024);
    let long = ask(&application, Method::PUT, ("if-match", "*"), &long).await;
    assert_eq!(long.status, StatusCode::PAYLOAD_TOO_LARGE);

    let seen = format!("\"{version}\"");
    // Entries of the same millisecond have no order.
    memory.clock.advance(1000);
    let gone = ask(&application, Method::DELETE, ("if-match", &seen), "").await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT, "{}", gone.text);
    let audit = call(&application, Method::GET, "/api/v1/audit", &Value::Null)
        .await
        .json();
    let entries = audit["items"].as_array().unwrap();
    let outcomes = |outcome: &str| {
        let items = entries.iter();
        items.filter(|entry| entry["outcome"] == outcome).count()
    };
    assert_eq!(outcomes("ASKED") - outcomes("REFUSED"), 2, "{entries:?}");
    assert!(
        entries
            .iter()
            .all(|entry| entry["action"] == "namespace.notify")
    );
    assert_eq!(entries[0]["after"], Value::Null);
    let set = |entry: &&Value| entry["after"] == POLICY && entry["before"] == Value::Null;
    assert!(entries.iter().any(|entry| set(&entry)), "{entries:?}");
}

#[tokio::test]
async fn costs_are_shown_by_flow_and_by_label() {
    let memory = MemoryPorts::default();
    let application = application(&memory, local());
    let source =
        "id: processing\nnamespace: genomics\ntasks:\n  - {id: qc, type: log, message: hi}\n";
    let plan = plan::compile(&lang::parse(source, &Plugins::default()).flow.unwrap()).unwrap();
    let hash = plan.hash();
    let plan = LoadedPlan::new(plan, hash);
    let now = memory.ports().clock.now_ms();
    let row = |id: &str, organism: &str| {
        serde_json::from_value(json!({
            "meta": {
                "id": id, "namespace": "genomics", "flow": "processing", "revision": 1, "planHash": "", "inputs": {},
                "labels": {}, "trigger": null, "createdMs": now, "parent": null, "replayOf": null, "flowDir": null,
                "priority": 0,
            },
            "state": "SUCCESS", "reason": null, "startedMs": now, "endedMs": now + 9, "outputs": {},
            "labels": {"organism": organism},
        }))
        .unwrap()
    };
    for (id, organism) in [("a", "mpox"), ("b", "mpox"), ("c", "ebola")] {
        let ports = memory.ports();
        measure(&ports, &plan, &row(id, organism), Prices::FARGATE)
            .await
            .unwrap();
    }
    let path = "/api/v1/namespaces/genomics/costs";
    let by_flow = call(&application, Method::GET, path, &Value::Null)
        .await
        .json();
    assert_eq!(by_flow["items"][0]["key"], "processing");
    assert_eq!(by_flow["items"][0]["executions"], 3);
    let path = format!("{path}?label=organism");
    let by_label = call(&application, Method::GET, &path, &Value::Null)
        .await
        .json();
    let rows = by_label["items"].as_array().unwrap().iter();
    let rows: Vec<_> = rows
        .map(|row| (row["key"].as_str(), row["succeeded"].as_u64()))
        .collect();
    assert_eq!(rows, [(Some("ebola"), Some(1)), (Some("mpox"), Some(2))]);
    let wrong = format!("{path}&fromMs=5&toMs=5");
    let wrong = call(&application, Method::GET, &wrong, &Value::Null).await;
    assert_eq!(wrong.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn incidents_come_in_pages_and_each_once() {
    let memory = MemoryPorts::default();
    let application = application(&memory, local());
    let names: Vec<String> = (0..7).map(|number| format!("policy-{number}")).collect();
    for name in &names {
        let value = json!({
            "format": 1, "phase": "OPEN", "openedMs": 1, "count": 1, "untold": 0, "failures": [], "failing": ["genomics/f"],
            "lastFlow": null, "recovery": true, "delivery": {"sent": 1, "failed": 0, "givenUp": false}, "nextMs": null,
            "remembered": [], "policy": {"id": name, "states": ["FAILED"], "channel": {"kind": "slack", "url": "x"},
                "groupWaitMs": 1, "recovery": true},
        });
        let write = RecordWrite {
            key: RecordKey::new(RecordKind::Incident, "genomics", name.clone()),
            expected: 0,
            value,
            due_ms: None,
            expires_ms: None,
        };
        memory.ports().records.save_record(write).await.unwrap();
    }
    let (mut shown, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("/api/v1/namespaces/genomics/incidents?limit=3{cursor}");
        let page = call(&application, Method::GET, &path, &Value::Null).await;
        assert_eq!(page.status, StatusCode::OK, "{}", page.text);
        let page = page.json();
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= 3);
        shown.extend(
            items
                .iter()
                .map(|item| item["id"].as_str().unwrap().to_owned()),
        );
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(shown, names);
}
