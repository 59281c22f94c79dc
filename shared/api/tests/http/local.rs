//! A server on this machine: tokens, cookies, other sites, and a flow from deployment to start.

use axum::Router;
use axum::body::Body;
use axum::http::{Method, StatusCode};
use operon_testkit::memory::MemoryPorts;
use serde_json::{Value, json};

use crate::world::{TOKEN, application, call, local, request, send};

const FLOW: &str = "id: hello\nnamespace: demo\ninputs:\n  - {id: n, type: INT}\ntasks:\n  - id: say\n    type: io.kestra.plugin.core.log.Log\n    message: hi\n";

async fn put(application: &Router, source: &str, header: (&str, &str)) -> crate::world::Answered {
    let bearer = format!("Bearer {TOKEN}");
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/yaml"),
        header,
    ];
    let body = Body::from(source.to_owned());
    send(
        application,
        request(&Method::PUT, "/api/v1/flows/demo/hello", &headers, body),
    )
    .await
}

#[tokio::test]
async fn the_token_becomes_a_cookie_that_other_sites_cannot_use() {
    let application = application(&MemoryPorts::default(), local());
    let wrong = send(
        &application,
        request(&Method::GET, "/?token=guess", &[], Body::empty()),
    )
    .await;
    assert_eq!(wrong.status, StatusCode::UNAUTHORIZED);
    let path = format!("/?token={TOKEN}");
    let answer = send(
        &application,
        request(&Method::GET, &path, &[], Body::empty()),
    )
    .await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    let cookie = answer
        .headers
        .get("set-cookie")
        .unwrap()
        .to_str()
        .unwrap()
        .to_owned();
    assert!(
        cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"),
        "{cookie}"
    );
    assert!(
        !cookie.contains(TOKEN),
        "the token itself goes to no other port"
    );
    let cookie = cookie.split(';').next().unwrap();
    let me = request(
        &Method::GET,
        "/api/v1/me",
        &[("cookie", cookie)],
        Body::empty(),
    );
    assert_eq!(send(&application, me).await.json()["role"], json!("admin"));
    let kill = async |headers: &[(&str, &str)]| {
        let mut all = vec![("cookie", cookie)];
        all.extend(headers);
        let request = request(
            &Method::POST,
            "/api/v1/executions/x/kill",
            &all,
            Body::empty(),
        );
        send(&application, request).await.status
    };
    assert_eq!(kill(&[]).await, StatusCode::FORBIDDEN);
    let ours = ("x-operon-request", "1");
    assert_eq!(kill(&[ours]).await, StatusCode::NOT_FOUND);
    assert_eq!(
        kill(&[ours, ("origin", "http://127.0.0.1:8585")]).await,
        StatusCode::NOT_FOUND
    );
    for foreign in [
        ("origin", "http://evil.example"),
        ("origin", "http://127.0.0.1:1"),
        ("origin", "null"),
        ("sec-fetch-site", "cross-site"),
    ] {
        assert_eq!(
            kill(&[ours, foreign]).await,
            StatusCode::FORBIDDEN,
            "{foreign:?}"
        );
    }
}

#[tokio::test]
async fn a_name_that_leads_here_is_not_ours() {
    let application = application(&MemoryPorts::default(), local());
    let bearer = format!("Bearer {TOKEN}");
    let foreign = axum::http::Request::builder()
        .uri("/api/v1/me")
        .header("host", "evil.example:8585")
        .header("authorization", bearer)
        .body(Body::empty())
        .unwrap();
    assert_eq!(
        send(&application, foreign).await.status,
        StatusCode::FORBIDDEN
    );
}

#[tokio::test]
async fn every_answer_has_the_headers_that_keep_scripts_out() {
    let application = application(&MemoryPorts::default(), local());
    for path in [
        "/",
        "/executions/x",
        "/api/v1/me",
        "/api/v1/health",
        "/nothing.js",
    ] {
        let answer = send(
            &application,
            request(&Method::GET, path, &[], Body::empty()),
        )
        .await;
        let policy = answer
            .headers
            .get("content-security-policy")
            .unwrap()
            .to_str()
            .unwrap();
        assert!(
            policy.contains("script-src 'self';") && policy.contains("default-src 'none'"),
            "{path}"
        );
        assert_eq!(
            answer.headers.get("x-content-type-options").unwrap(),
            "nosniff",
            "{path}"
        );
        assert!(answer.headers.contains_key("cache-control"), "{path}");
    }
}

#[tokio::test]
#[allow(
    clippy::too_many_lines,
    reason = "one story from its beginning to its end"
)]
async fn a_flow_is_validated_deployed_started_once_and_rolled_back() {
    let memory = MemoryPorts::default();
    let application = application(&memory, local());
    let wrong = json!({"source": "id: a\nnamespace: b\ntasks: 5\n"});
    let answer = call(&application, Method::POST, "/api/v1/flows/validate", &wrong)
        .await
        .json();
    assert_eq!(answer["diagnostics"][0]["line"], json!(3));
    assert_eq!(answer["graph"], Value::Null);
    let none = ("if-none-match", "*");
    assert_eq!(
        put(&application, FLOW, none).await.status,
        StatusCode::CREATED
    );
    assert_eq!(
        put(&application, FLOW, none).await.status,
        StatusCode::PRECONDITION_FAILED
    );
    let second = FLOW.replace("hi", "ho");
    assert_eq!(
        put(&application, &second, ("if-match", "\"1\""))
            .await
            .status,
        StatusCode::CREATED
    );
    let late = put(&application, &second, ("if-match", "\"1\"")).await;
    assert_eq!(
        (late.status, &late.json()["current"]),
        (StatusCode::PRECONDITION_FAILED, &json!(2))
    );
    let bad = put(
        &application,
        "id: hello\nnamespace: demo\n",
        ("if-match", "*"),
    )
    .await;
    assert_eq!(bad.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(bad.json()["errors"][0]["message"].is_string());
    let diff = call(
        &application,
        Method::GET,
        "/api/v1/flows/demo/hello/diff",
        &Value::Null,
    )
    .await
    .json();
    assert!(
        diff["source"]
            .as_str()
            .unwrap()
            .contains("+    message: ho"),
        "{diff}"
    );
    let wish = json!({"namespace": "demo", "flow": "hello", "inputs": {"n": 3}});
    let bearer = format!("Bearer {TOKEN}");
    let start = async |body: &Value| {
        let headers = [
            ("authorization", bearer.as_str()),
            ("content-type", "application/json"),
            ("idempotency-key", "k"),
        ];
        let body = Body::from(body.to_string());
        send(
            &application,
            request(&Method::POST, "/api/v1/executions", &headers, body),
        )
        .await
    };
    let (first, again) = (start(&wish).await, start(&wish).await);
    assert_eq!(
        (first.status, again.status),
        (StatusCode::CREATED, StatusCode::OK)
    );
    assert_eq!(first.json()["id"], again.json()["id"]);
    let other = json!({"namespace": "demo", "flow": "hello", "inputs": {"n": 4}});
    assert_eq!(start(&other).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    let missing = json!({"namespace": "demo", "flow": "hello"});
    let missing = call(&application, Method::POST, "/api/v1/executions", &missing).await;
    assert_eq!(missing.json()["errors"][0]["rule"], json!("n"));
    let list = call(
        &application,
        Method::GET,
        "/api/v1/executions?flow=hello&namespace=demo",
        &Value::Null,
    )
    .await;
    assert_eq!(list.json()["items"][0]["revision"], json!(2));
    let back = json!({"revision": 1});
    let back = call(
        &application,
        Method::POST,
        "/api/v1/flows/demo/hello/rollback",
        &back,
    )
    .await;
    assert_eq!(back.json()["revision"], json!(1));
    let audit = call(&application, Method::GET, "/api/v1/audit", &Value::Null)
        .await
        .json();
    let actions: Vec<&str> = audit["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["action"].as_str().unwrap())
        .collect();
    let outcomes = |outcome: &str| {
        let items = audit["items"].as_array().unwrap().iter();
        items.filter(|entry| entry["outcome"] == outcome).count()
    };
    assert_eq!(outcomes("ASKED") - outcomes("REFUSED"), 4, "{audit}");
    for action in ["flow.deploy", "execution.start", "flow.rollback"] {
        assert!(actions.contains(&action), "{actions:?}");
    }
    let who = &audit["items"][0]["who"];
    assert_eq!(who, &json!("tester"));
}

#[tokio::test]
async fn pages_follow_each_other_without_gaps() {
    let memory = MemoryPorts::default();
    let application = application(&memory, local());
    put(&application, FLOW, ("if-none-match", "*")).await;
    for number in 0..5 {
        memory.clock.advance(10);
        let wish = json!({"namespace": "demo", "flow": "hello", "inputs": {"n": number}});
        let answer = call(&application, Method::POST, "/api/v1/executions", &wish).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text);
    }
    let mut seen = Vec::new();
    let mut cursor = String::new();
    loop {
        let path = format!("/api/v1/executions?limit=2&cursor={cursor}");
        let page = call(&application, Method::GET, &path, &Value::Null)
            .await
            .json();
        let items = page["items"].as_array().unwrap().clone();
        seen.extend(items.iter().map(|item| item["createdMs"].as_u64().unwrap()));
        match page["next"].as_str() {
            Some(next) => next.clone_into(&mut cursor),
            None => break,
        }
    }
    let mut sorted = seen.clone();
    sorted.sort_unstable_by(|a, b| b.cmp(a));
    sorted.dedup();
    assert_eq!((seen.len(), &seen), (5, &sorted));
}
