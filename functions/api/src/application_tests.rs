#![allow(clippy::unwrap_used, reason = "tests")]

use http_body_util::BodyExt as _;
use operon_engine::dead_letters;
use operon_engine::ports::QueueName;
use operon_engine::triggers::{NoNotices, NoWakeups, NoWiring, Registry, TriggerKey};
use operon_engine::wire::{self, WorkMessage};
use operon_testkit::cloud::CloudWorld;
use serde_json::{Value, json};

use super::*;

const TASKS: &str = "tasks:\n  - {id: say, type: log, message: hi}\n";
const KEY: &str = "abcdefghijklmnopqrst";
const OPS: &str = "arn:aws:sts::1:assumed-role/ops/alice";

/// An answer of the function.
struct Answered {
    status: u16,
    headers: axum::http::HeaderMap,
    body: Value,
}

/// A deployment in memory.
struct Deployment {
    world: CloudWorld,
    api: Api,
}

impl Deployment {
    fn new() -> Self {
        let world = CloudWorld::default();
        let ports = world.ports.ports();
        let flows = Flows::new(&ports, Arc::default());
        let triggers = Triggers {
            evaluator: Evaluator {
                ports: ports.clone(),
                shards: Arc::default(),
                items: Arc::default(),
            },
            sink: Arc::clone(&world.queues) as Arc<_>,
            flows: Arc::new(Registry::new(flows)),
            wakeups: Arc::new(NoWakeups),
            wiring: Arc::new(NoWiring),
            polls: None,
            notices: Arc::new(NoNotices),
            buckets: Vec::new(),
            on_aws: true,
            capacity: 10,
        };
        let config = Config {
            iam_roles: "arn:aws:sts::1:assumed-role/ops/*=editor;arn:aws:iam::1:user/audrey=admin;arn:aws:*::1:*=viewer".to_owned(),
            ..Config::default()
        };
        let made = Parts {
            logs: Arc::clone(&world.ports.logs) as Arc<_>,
            sink: Arc::clone(&world.queues) as Arc<_>,
            queue: Arc::clone(&world.queues) as Arc<_>,
            ports,
            triggers,
        };
        let api = api(made, auth(&config).unwrap());
        Self { world, api }
    }

    /// An event of a function URL, as AWS shapes it; the answer.
    async fn event(&self, event: &Value) -> Answered {
        let request = lambda_http::request::from_str(&event.to_string()).unwrap();
        let response = service(self.api.clone()).oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Answered {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: serde_json::from_slice(&bytes).unwrap_or(Value::Null),
        }
    }

    async fn call(&self, who: Option<&str>, method: &str, path: &str, body: &str) -> Answered {
        self.event(&event(who, method, path, body)).await
    }
}

fn event(who: Option<&str>, method: &str, path: &str, body: &str) -> Value {
    let authorizer = who.map(|arn| {
        json!({"iam": {
            "accessKey": "AKIA", "accountId": "1", "callerId": "AIDA", "cognitoIdentity": null,
            "principalOrgId": null, "userArn": arn, "userId": "AIDA",
        }})
    });
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    json!({
        "version": "2.0", "routeKey": "$default", "rawPath": path, "rawQueryString": query,
        "cookies": [],
        "headers": {"host": "x.lambda-url.eu-central-1.on.aws", "content-type": "application/json",
                    "x-forwarded-proto": "https"},
        "requestContext": {
            "accountId": "1", "apiId": "x", "authentication": null, "authorizer": authorizer,
            "domainName": "x.lambda-url.eu-central-1.on.aws", "domainPrefix": "x",
            "http": {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1",
                     "userAgent": "test"},
            "requestId": "r", "routeKey": "$default", "stage": "$default",
            "time": "12/Mar/2030:19:03:58 +0000", "timeEpoch": 1_899_586_638_000_u64,
        },
        "body": body, "isBase64Encoded": false,
    })
}

#[tokio::test]
async fn who_signed_is_what_aws_says() {
    let deployment = Deployment::new();
    let me = deployment.call(Some(OPS), "GET", "/api/v1/me", "").await;
    assert_eq!((me.status, &me.body["subject"]), (200, &json!(OPS)));
    assert_eq!(me.body["role"], "editor");
    let nobody = deployment.call(None, "GET", "/api/v1/me", "").await;
    assert_eq!(nobody.status, 401);
    let stranger = "arn:aws:iam::2:user/eve";
    let stranger = deployment
        .call(Some(stranger), "GET", "/api/v1/me", "")
        .await;
    assert_eq!(stranger.status, 403);
    // A header is the caller's, whatever it is called.
    let mut forged = event(None, "GET", "/api/v1/me", "");
    forged["headers"]["x-amzn-iam-user-arn"] = json!(OPS);
    forged["headers"]["x-amzn-request-context"] =
        event(Some(OPS), "GET", "/", "")["requestContext"]
            .clone()
            .to_string()
            .into();
    assert_eq!(deployment.event(&forged).await.status, 401);
}

#[tokio::test]
async fn a_flow_is_deployed_started_and_seen_to_its_end() {
    let mut deployment = Deployment::new();
    let source = format!("id: hello\nnamespace: team\n{TASKS}");
    let viewer = Some("arn:aws:iam::1:user/vera");
    let path = "/api/v1/flows/team/hello";
    let refused = deployment.call(viewer, "PUT", path, &source).await;
    assert_eq!(refused.status, 403);
    let deployed = deployment.call(Some(OPS), "PUT", path, &source).await;
    assert!(
        deployed.status < 300,
        "{} {}",
        deployed.status,
        deployed.body
    );
    let body = json!({"namespace": "team", "flow": "hello"}).to_string();
    let started = deployment
        .call(Some(OPS), "POST", "/api/v1/executions", &body)
        .await;
    assert_eq!(started.status, 201, "{}", started.body);
    // What is to happen is in the plan queue, where the planner finds it.
    assert_eq!(deployment.world.queues.bodies(QueueName::Plan).len(), 1);
    deployment.world.settle().await;
    let id = started.body["id"].as_str().unwrap();
    let path = format!("/api/v1/executions/{id}");
    let shown = deployment.call(viewer, "GET", &path, "").await;
    assert_eq!(shown.body["state"], "SUCCESS", "{}", shown.body);
    let path = format!("{path}/logs?limit=10");
    let logs = deployment.call(viewer, "GET", &path, "").await;
    assert_eq!(logs.body["items"][0]["text"], "hi", "{}", logs.body);
    let audit = deployment.call(viewer, "GET", "/api/v1/audit", "").await;
    assert_eq!(audit.status, 403);
    let admin = Some("arn:aws:iam::1:user/audrey");
    let audit = deployment.call(admin, "GET", "/api/v1/audit", "").await;
    assert_eq!(audit.body["items"][0]["who"], OPS);
}

#[tokio::test]
async fn a_webhook_reaches_its_trigger_without_a_signature_of_aws() {
    let mut deployment = Deployment::new();
    let source = format!(
        "id: hooked\nnamespace: team\n{TASKS}triggers:\n  - {{id: hook, type: webhook, key: {KEY}}}\n"
    );
    let path = "/api/v1/flows/team/hooked";
    let deployed = deployment.call(Some(OPS), "PUT", path, &source).await;
    assert!(deployed.status < 300, "{}", deployed.body);
    let wrong = "/api/v1/webhooks/team/hooked/abcdefghijklmnopqrsu";
    assert_eq!(deployment.call(None, "POST", wrong, "{}").await.status, 401);
    let right = format!("/api/v1/webhooks/team/hooked/{KEY}");
    let taken = deployment.call(None, "POST", &right, "{\"a\": 1}").await;
    assert!(taken.status < 300, "{} {}", taken.status, taken.body);
    deployment.world.settle().await;
    let path = "/api/v1/executions?flow=hooked";
    let listed = deployment.call(Some(OPS), "GET", path, "").await;
    assert_eq!(
        listed.body["items"][0]["state"], "SUCCESS",
        "{}",
        listed.body
    );
}

#[tokio::test]
async fn a_look_that_was_given_up_names_its_trigger_and_is_put_back() {
    let deployment = Deployment::new();
    let trigger = TriggerKey {
        namespace: "genomics".to_owned(),
        flow: "ncbi".to_owned(),
        trigger: "release".to_owned(),
    };
    let text = wire::encode(&WorkMessage::Poll { trigger }).unwrap();
    let (ports, queues) = (deployment.world.ports.ports(), &deployment.world.queues);
    let reason = "delivered 6 times and never handled";
    dead_letters::bury(&ports, &**queues, QueueName::Work, &text, reason)
        .await
        .unwrap();
    let path = "/api/v1/dead-letters";
    let listed = deployment.call(Some(OPS), "GET", path, "").await;
    let letter = &listed.body["items"][0];
    assert_eq!(letter["queue"], "work");
    assert_eq!(
        letter["reason"],
        format!("trigger `genomics/ncbi/release`: {reason}")
    );
    let path = format!("{path}/{}/redrive", letter["id"].as_str().unwrap());
    let put_back = deployment.call(Some(OPS), "POST", &path, "").await;
    assert!(put_back.status < 300, "{}", put_back.body);
    assert_eq!(queues.bodies(QueueName::Work), [text]);
}

#[tokio::test]
async fn bodies_in_base64_and_cookies_arrive() {
    let deployment = Deployment::new();
    let mut base64 = event(Some(OPS), "POST", "/api/v1/flows/validate", "");
    base64["body"] = json!("eyJzb3VyY2UiOiAiaWQ6IHgifQ==");
    base64["isBase64Encoded"] = json!(true);
    let answered = deployment.event(&base64).await;
    assert_eq!(answered.status, 200, "{}", answered.body);
    let page = deployment.call(None, "GET", "/executions", "").await;
    assert_eq!(page.status, 200);
    assert!(page.headers.contains_key("content-security-policy"));
}

#[test]
fn what_is_wrong_with_who_may_call_is_said() {
    let config = |iam: &str, groups: &str| Config {
        iam_roles: iam.to_owned(),
        oidc_issuer: "https://id.example".to_owned(),
        oidc_keys_url: "https://id.example/keys".to_owned(),
        oidc_groups: groups.to_owned(),
        ..Config::default()
    };
    let refused = |iam: &str, groups: &str| auth(&config(iam, groups)).err().unwrap_or_default();
    assert!(refused("arn:x=owner", "").starts_with("OPERON_IAM_ROLES: there is no role `owner`"));
    assert!(refused("", "ops").starts_with("OPERON_OIDC_GROUPS: `ops` is no `group=role`"));
    assert!(matches!(
        auth(&config("", "a=viewer, b=admin")),
        Ok(Auth::Oidc(_))
    ));
    assert!(matches!(
        auth(&config("arn:x=admin", "")),
        Ok(Auth::OidcOrIam(..))
    ));
}
