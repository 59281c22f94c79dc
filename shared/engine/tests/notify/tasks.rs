//! The same messages as tasks of a flow, executed by the worker.

use std::pin::Pin;
use std::sync::Arc;

use operon_core::lang::{Plugins, parse};
use operon_core::plan::compile;
use operon_engine::ports::{AttemptId, AttemptRow, ExecutionRow};
use operon_testkit::cloud::CloudWorld;
use serde_json::{Value, json};

use super::server::{Server, answer};
use super::smtp::{Smtp, body};
use super::{NAMESPACE, SECRET_PATH, bodies, valid};

const HOUR: u64 = 60 * 60 * 1000;

/// An execution of one task, and what it said.
struct Told {
    cloud: CloudWorld,
    execution: ExecutionRow,
    task_run: AttemptRow,
}

impl Told {
    /// All lines of its log.
    fn log(&self) -> String {
        let id = AttemptId {
            execution: self.execution.meta.id.clone(),
            task_run: self.task_run.task_run.clone(),
            attempt: self.task_run.attempt,
        };
        let lines = self.cloud.ports.logs.lines(&id);
        let texts: Vec<String> = lines.into_iter().map(|line| line.text).collect();
        texts.join("\n")
    }

    /// Nothing that is stored for people has it.
    fn hides(&self, secret: &str) {
        let shown = format!("{:?} {:?} {}", self.execution, self.task_run, self.log());
        assert!(!shown.contains(secret), "{shown}");
    }

    fn succeeded(&self) {
        assert_eq!(self.execution.state, "SUCCESS", "{:?}", self.task_run);
    }

    /// It failed for that reason, with a message that says all of this.
    fn failed(&self, reason: &str, words: &[&str]) {
        assert_eq!(self.execution.state, "FAILED");
        assert_eq!(
            self.task_run.reason.as_deref(),
            Some(reason),
            "{:?}",
            self.task_run
        );
        let message = self.task_run.message.clone().unwrap_or_default();
        for word in words {
            assert!(message.contains(word), "`{word}` is not said: {message}");
        }
    }
}

/// Runs a flow of one task in a cloud with secrets. In a box, because a cloud is large.
fn run<'a>(
    cloud: CloudWorld,
    task: &'a Value,
    secrets: &'a [(&'a str, &'a str)],
) -> Pin<Box<dyn Future<Output = Told> + 'a>> {
    Box::pin(executed(cloud, task, secrets))
}

async fn executed(mut cloud: CloudWorld, task: &Value, secrets: &[(&str, &str)]) -> Told {
    for (name, value) in secrets {
        cloud.ports.secrets.set(name, value);
    }
    cloud.cold_start();
    let source = json!({"id": "processing", "namespace": NAMESPACE, "tasks": [task]}).to_string();
    let parsed = parse(&source, &Plugins::default());
    let flow = parsed
        .flow
        .unwrap_or_else(|| panic!("{:?}", parsed.diagnostics));
    let id = cloud.start(&compile(&flow).unwrap()).await;
    assert!(cloud.run(&id, HOUR).await);
    let execution = cloud.row(&id).await;
    let rows = cloud.rows(&id).await;
    let task_run = rows.into_iter().find(|row| row.task == "tell").unwrap();
    Told {
        cloud,
        execution,
        task_run,
    }
}

/// A server that answers everything alike.
async fn server(status: &'static str, said: &'static str) -> Server {
    Server::start(move |_| answer(status, "", said.as_bytes())).await
}

fn slack() -> Value {
    json!({
        "id": "tell", "type": "slack", "url": "{{ secret('HOOK') }}", "channel": "#ops",
        "messageText": "{{ flow.id }} has {{ 1 + 1 }} results",
    })
}

#[tokio::test]
async fn any_service_takes_a_post_of_a_task_and_its_address_and_key_are_hidden() {
    let server = server("200 OK", "ok").await;
    let hook = format!("{}{SECRET_PATH}", server.base);
    let task = json!({
        "id": "tell", "type": "webhook", "url": "{{ secret('HOOK') }}",
        "payload": {"flow": "{{ flow.id }}", "count": "{{ 1 + 1 }}"}, "headers": {"X-Key": "{{ secret('KEY') }}"},
    });
    let secrets = [("HOOK", hook.as_str()), ("KEY", "k-4711-0815")];
    let told = run(CloudWorld::default(), &task, &secrets).await;
    told.succeeded();
    told.hides(SECRET_PATH);
    told.hides("k-4711-0815");
    let asked = server.asked();
    let head = asked[0].head.to_lowercase();
    assert!(
        head.starts_with(&format!("post {} ", SECRET_PATH.to_lowercase())),
        "{head}"
    );
    assert!(head.contains("x-key: k-4711-0815"), "{head}");
    let posted = bodies(&server);
    assert_eq!(posted[0]["flow"], "processing");
    assert_eq!(posted[0]["count"].to_string().trim_matches('"'), "2");
}

#[tokio::test]
async fn slack_takes_a_message_of_a_task() {
    let server = server("200 OK", "ok").await;
    let hook = format!("{}{SECRET_PATH}", server.base);
    let told = run(CloudWorld::default(), &slack(), &[("HOOK", &hook)]).await;
    told.succeeded();
    let asked = server.asked();
    assert!(asked[0].head.starts_with(&format!("POST {SECRET_PATH} ")));
    assert!(
        asked[0]
            .head
            .to_lowercase()
            .contains("content-type: application/json")
    );
    let [message] = bodies(&server).try_into().unwrap();
    valid("slack", &message);
    let expected = json!({"text": "processing has 2 results", "channel": "#ops"});
    assert_eq!(message, expected);
    assert_eq!(told.log(), "told Slack");
    told.hides("T0SECRET");
}

#[tokio::test]
async fn a_whole_payload_goes_to_slack_as_it_is() {
    let server = server("200 OK", "ok").await;
    let payload = json!({
        "text": "{{ flow.namespace }}",
        "blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": "*{{ flow.id }}*"}}],
    });
    for payload in [payload.clone(), Value::from(payload.to_string())] {
        let task = json!({
            "id": "tell", "type": "slack", "url": "{{ secret('HOOK') }}", "payload": payload,
        });
        let told = run(CloudWorld::default(), &task, &[("HOOK", &server.base)]).await;
        told.succeeded();
    }
    let messages = bodies(&server);
    assert_eq!(messages.len(), 2);
    for message in &messages {
        valid("slack", message);
        assert_eq!(message["text"], NAMESPACE);
        assert_eq!(message["blocks"][0]["text"]["text"], "*processing*");
    }
}

#[tokio::test]
async fn what_slack_refuses_fails_with_what_it_said() {
    for (status, said, reason) in [
        ("400 Bad Request", "invalid_payload", "invalid input"),
        (
            "403 Forbidden",
            "invalid_token of /services/T0SECRET",
            "invalid input",
        ),
        ("503 Service Unavailable", "rollup_error", "task failed"),
    ] {
        let server = server(status, said).await;
        let hook = format!("{}{SECRET_PATH}", server.base);
        let secrets = [("HOOK", hook.as_str()), ("PATH", SECRET_PATH)];
        let mut task = slack();
        task["messageText"] = json!("from {{ secret('PATH') }}");
        let told = run(CloudWorld::default(), &task, &secrets).await;
        let word = said.split(' ').next().unwrap();
        told.failed(reason, &["127.0.0.1", &status[..3], word]);
        told.hides("T0SECRET");
        assert_eq!(
            server.asked().len(),
            1,
            "a task is repeated by its `retry` only"
        );
    }
}

#[tokio::test]
async fn nobody_who_answers_is_a_failure_without_the_address() {
    // Nobody listens there any more.
    let base = server("200 OK", "ok").await.base;
    let port = base.rsplit(':').next().unwrap().parse::<u16>().unwrap();
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    assert_ne!(gone.local_addr().unwrap().port(), port);
    let hook = format!("http://{}{SECRET_PATH}", gone.local_addr().unwrap());
    drop(gone);
    let told = run(CloudWorld::default(), &slack(), &[("HOOK", &hook)]).await;
    told.failed("task failed", &["127.0.0.1", "cannot be reached"]);
    told.hides("T0SECRET");
}

fn pagerduty(server: &Server) -> Value {
    json!({
        "id": "tell", "type": "pagerduty", "url": format!("{}/v2/enqueue", server.base),
        "routingKey": "{{ secret('KEY') }}", "dedupKey": "qc-{{ secret('KEY') }}",
        "summary": "{{ flow.id }} is late", "severity": "warning",
        "customDetails": {"flow": "{{ flow.id }}"},
    })
}

#[tokio::test]
async fn pagerduty_takes_an_event_of_a_task() {
    let server = server("202 Accepted", "{\"status\": \"success\"}").await;
    let told = run(
        CloudWorld::default(),
        &pagerduty(&server),
        &[("KEY", "R0UTING")],
    )
    .await;
    told.succeeded();
    let [event] = bodies(&server).try_into().unwrap();
    valid("pagerduty", &event);
    assert_eq!(event["routing_key"], "R0UTING");
    assert_eq!(event["event_action"], "trigger");
    assert_eq!(event["dedup_key"], "qc-R0UTING");
    assert_eq!(event["payload"]["summary"], "processing is late");
    assert_eq!(event["payload"]["severity"], "warning");
    assert_eq!(
        event["payload"]["custom_details"],
        json!({"flow": "processing"})
    );
    // What was made of a secret is hidden as a whole.
    assert_eq!(told.log(), "told PagerDuty: trigger ******");
    assert!(told.task_run.outputs.contains_key("dedupKey"));
    told.hides("R0UTING");
}

#[tokio::test]
async fn what_pagerduty_refuses_fails_with_what_it_said() {
    let said = "{\"status\": \"invalid event\", \"errors\": [\"R0UTING is the wrong length\"]}";
    let server = server("400 Bad Request", said).await;
    let told = run(
        CloudWorld::default(),
        &pagerduty(&server),
        &[("KEY", "R0UTING")],
    )
    .await;
    told.failed(
        "invalid input",
        &["400", "invalid event", "is the wrong length"],
    );
    told.hides("R0UTING");
}

fn email(more: &Value) -> Value {
    let mut task = json!({
        "id": "tell", "type": "email", "to": ["ops@example.org", "lab@example.org"],
        "subject": "{{ flow.id }}: {{ secret('WORD') }}", "plainTextContent": "{{ 3 * 7 }} sequences <b>",
    });
    for (name, value) in more.as_object().unwrap() {
        task[name] = value.clone();
    }
    task
}

/// A cloud that sends e-mail by this server.
fn mailing(server: &Smtp) -> CloudWorld {
    let mut cloud = CloudWorld::default();
    cloud.ports.messages = Arc::new(server.messages("smtp"));
    cloud
}

#[tokio::test]
async fn email_of_a_task_goes_by_the_installations_server() {
    let server = Smtp::start(false).await;
    let secrets = [("WORD", "hunter2"), ("BOSS", "boss@example.org")];
    let task = email(&json!({"cc": "{{ secret('BOSS') }}"}));
    let told = run(mailing(&server), &task, &secrets).await;
    told.succeeded();
    let [mail] = server.taken().try_into().unwrap();
    assert!(mail.from.contains("<operon@example.org>"), "{}", mail.from);
    for address in [
        "<ops@example.org>",
        "<lab@example.org>",
        "<boss@example.org>",
    ] {
        let reached = mail.to.iter().any(|to| to.contains(address));
        assert!(reached, "{address}: {:?}", mail.to);
    }
    assert!(
        mail.data.contains("Subject: processing: hunter2"),
        "{}",
        mail.data
    );
    assert_eq!(body(&mail.data).trim_end(), "21 sequences <b>");
    assert_eq!(told.log(), "sent to ops@example.org, lab@example.org");
    told.hides("hunter2");
    told.hides("boss@");
}

#[tokio::test]
async fn email_of_a_task_goes_by_its_own_server_with_its_own_login() {
    let server = Smtp::start(false).await;
    let task = email(&json!({
        "host": "127.0.0.1", "port": server.port, "transportStrategy": "SMTP", "from": "qc@example.org",
        "username": "me", "password": "{{ secret('PASSWORD') }}", "to": "{{ secret('WORD') }}@example.org",
    }));
    // The installation has no server of its own.
    let mut cloud = CloudWorld::default();
    cloud.ports.messages = Arc::new(operon_engine::smtp::SmtpMessages::default());
    let secrets = [("WORD", "hunter2"), ("PASSWORD", "correct horse")];
    let told = run(cloud, &task, &secrets).await;
    told.succeeded();
    let [mail] = server.taken().try_into().unwrap();
    assert!(mail.from.contains("<qc@example.org>"), "{}", mail.from);
    assert!(
        mail.to[0].contains("<hunter2@example.org>"),
        "{:?}",
        mail.to
    );
    let login = mail.login.unwrap();
    let login = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, login).unwrap();
    assert_eq!(login, b"\0me\0correct horse");
    // Its log names the recipients.
    assert!(told.log().starts_with("sent to "), "{}", told.log());
    told.hides("hunter2");
    told.hides("correct horse");
}

#[tokio::test]
async fn what_a_mail_server_refuses_fails_with_what_it_said() {
    let server = Smtp::start(false).await;
    let secrets = [("WORD", "hunter2"), ("WHO", "nobody@example.org")];
    let task = email(&json!({"to": "{{ secret('WHO') }}"}));
    let told = run(mailing(&server), &task, &secrets).await;
    told.failed("invalid input", &["550", "no such user"]);
    told.hides("nobody@");
    assert!(server.taken().is_empty());

    let busy = Smtp::start(true).await;
    let told = run(mailing(&busy), &email(&json!({})), &secrets).await;
    told.failed("task failed", &["451", "later"]);
    told.hides("hunter2");
    told.hides("p@ss");
}

#[tokio::test]
async fn an_installation_without_a_service_says_what_it_takes() {
    for (task, words) in [
        (email(&json!({})), "OPERON_SMTP_URL"),
        (
            json!({"id": "tell", "type": "sns", "topicArn": "arn:aws:sns:eu-central-1:1:t", "message": "x"}),
            "needs a deployment on AWS",
        ),
    ] {
        let told = run(CloudWorld::default(), &task, &[("WORD", "x")]).await;
        told.failed("invalid input", &[words]);
    }
}
