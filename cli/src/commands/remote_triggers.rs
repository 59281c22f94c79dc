//! Commands about triggers and namespaces of a server.

use std::io::Read as _;
use std::path::Path;
use std::rc::Rc;

use anyhow::Context as _;
use reqwest::Method;
use serde_json::{Value, json};

use super::remote::{choose, pages, show};
use crate::args::{FlowName, NamespacesCommand, ServerChoice, TriggersCommand, ValidateOutput};
use crate::client::part;
use crate::exit::Exit;
use crate::output::Console;
use crate::state::block_on;

/// What is shown of a trigger.
const TRIGGER: &[&str] = &[
    "namespace",
    "flow",
    "id",
    "type",
    "disabled",
    "lastMs",
    "nextMs",
    "late",
    "detail",
    "lastError",
];
/// What is shown of a backfill.
const BACKFILL: &[&str] = &["id", "nextMs", "started", "skipped", "paused", "over"];

pub(crate) fn triggers(command: &TriggersCommand, console: &Rc<Console>) -> anyhow::Result<Exit> {
    let path = |flow: &FlowName, trigger: &str, verb: &str| {
        let (namespace, id) = (part(&flow.namespace), part(&flow.id));
        format!("/triggers/{namespace}/{id}/{}/{verb}", part(trigger))
    };
    block_on(async {
        match command {
            TriggersCommand::List { namespace, server } => {
                let query: Vec<_> = namespace
                    .iter()
                    .map(|name| ("namespace", name.clone()))
                    .collect();
                let answer = pages(&choose(server)?, "/triggers", &query).await?;
                show(console, server, &answer, TRIGGER);
            }
            TriggersCommand::Enable {
                flow,
                trigger,
                server,
            } => {
                let path = path(flow, trigger, "enable");
                let answer: Value = choose(server)?.post(&path, &json!({})).await?;
                show(console, server, &answer, TRIGGER);
            }
            TriggersCommand::Disable {
                flow,
                trigger,
                server,
            } => {
                let path = path(flow, trigger, "disable");
                let answer: Value = choose(server)?.post(&path, &json!({})).await?;
                show(console, server, &answer, TRIGGER);
            }
            TriggersCommand::Backfill {
                flow,
                trigger,
                from,
                to,
                parallel,
                max,
                server,
            } => {
                let body = json!({
                    "fromMs": from.as_millisecond(), "toMs": to.as_millisecond(),
                    "parallel": parallel, "maxExecutions": max,
                });
                let path = path(flow, trigger, "backfill");
                let answer: Value = choose(server)?.post(&path, &body).await?;
                show(console, server, &answer, BACKFILL);
            }
            TriggersCommand::BackfillStatus {
                flow,
                trigger,
                action,
                server,
            } => {
                let client = choose(server)?;
                let path = path(flow, trigger, "backfill");
                let answer: Value = match action {
                    None => client.get(&path, &[]).await?,
                    Some(action) => client.post(&format!("{path}/{action}"), &json!({})).await?,
                };
                show(console, server, &answer, BACKFILL);
            }
            TriggersCommand::Items { execution, server } => {
                let path = format!("/executions/{}/items", part(execution.as_str()));
                let answer = pages(&choose(server)?, &path, &[]).await?;
                show(
                    console,
                    server,
                    &answer,
                    &["item", "state", "identity", "reason"],
                );
            }
            TriggersCommand::Send { file, server } => send(file, server, console).await?,
            TriggersCommand::Events {
                flow,
                trigger,
                only,
                server,
            } => {
                let query: Vec<_> = only.iter().map(|state| ("state", state.clone())).collect();
                let path = path(flow, trigger, "events");
                let answer = pages(&choose(server)?, &path, &query).await?;
                let fields = ["atMs", "state", "execution", "item", "identity", "reason"];
                show(console, server, &answer, &fields);
            }
        }
        Ok(Exit::Success)
    })
}

/// Bytes of an event that are read; the server takes no more than SQS does.
const EVENT_BYTES_MAX: u64 = 2 * 1024 * 1024;

async fn send(file: &Path, server: &ServerChoice, console: &Rc<Console>) -> anyhow::Result<()> {
    let event = read_event(file)?;
    let answer: Value = choose(server)?.post("/events", &event).await?;
    let fields = [
        "namespace",
        "flow",
        "trigger",
        "state",
        "execution",
        "reason",
    ];
    show(console, server, &answer, &fields);
    if answer["items"].as_array().is_some_and(Vec::is_empty) {
        console.note("the event is meant for no trigger of a deployed flow");
    }
    Ok(())
}

fn read_event(file: &Path) -> anyhow::Result<Value> {
    let mut text = String::new();
    let read = if file == Path::new("-") {
        std::io::stdin()
            .take(EVENT_BYTES_MAX)
            .read_to_string(&mut text)
    } else {
        std::fs::File::open(file)
            .and_then(|file| file.take(EVENT_BYTES_MAX).read_to_string(&mut text))
    };
    read.with_context(|| format!("{} cannot be read", file.display()))?;
    serde_json::from_str(&text)
        .with_context(|| format!("{} is not one event in JSON", file.display()))
}

pub(crate) fn namespaces(
    command: &NamespacesCommand,
    console: &Rc<Console>,
) -> anyhow::Result<Exit> {
    block_on(async {
        match command {
            NamespacesCommand::Notify {
                namespace,
                set,
                remove,
                expect,
                server,
            } => {
                let client = choose(server)?;
                let path = format!("/namespaces/{}/notify", part(namespace));
                let method = match (set, remove) {
                    (Some(_), _) => Method::PUT,
                    (None, true) => Method::DELETE,
                    (None, false) => Method::GET,
                };
                let mut request = client.request(method, &path);
                request = match expect {
                    None => request,
                    Some(0) => request.header("if-none-match", "*"),
                    Some(version) => request.header("if-match", format!("\"{version}\"")),
                };
                if let Some(file) = set {
                    let text = std::fs::read_to_string(file)
                        .with_context(|| format!("{} cannot be read", file.display()))?;
                    request = request
                        .header("content-type", "application/yaml")
                        .body(text);
                }
                let answer: Value = client.ask(request).await?;
                match (server.output, answer.get("source").and_then(Value::as_str)) {
                    (ValidateOutput::Human, Some(source)) if set.is_none() => console.out(source),
                    (ValidateOutput::Human, None) => {}
                    (ValidateOutput::Human, Some(_)) => {
                        show(
                            console,
                            server,
                            &answer,
                            &["namespace", "version", "by", "atMs"],
                        );
                    }
                    (ValidateOutput::Json, _) => console.line(&answer.to_string()),
                }
            }
            NamespacesCommand::Incidents { namespace, server } => {
                let path = format!("/namespaces/{}/incidents", part(namespace));
                let answer = pages(&choose(server)?, &path, &[]).await?;
                let fields = [
                    "id", "phase", "openedMs", "count", "untold", "sent", "failed", "givenUp",
                    "error",
                ];
                show(console, server, &answer, &fields);
            }
            NamespacesCommand::Costs {
                namespace,
                label,
                from,
                to,
                server,
            } => {
                let path = format!("/namespaces/{}/costs", part(namespace));
                let time = |time: &jiff::Timestamp| time.as_millisecond().to_string();
                let mut query = Vec::new();
                query.extend(label.iter().map(|label| ("label", label.clone())));
                query.extend(from.iter().map(|from| ("fromMs", time(from))));
                query.extend(to.iter().map(|to| ("toMs", time(to))));
                let answer: Value = choose(server)?.get(&path, &query).await?;
                let fields = [
                    "key",
                    "executions",
                    "succeeded",
                    "usd",
                    "vcpuSeconds",
                    "gbSeconds",
                ];
                show(console, server, &answer, &fields);
            }
        }
        Ok(Exit::Success)
    })
}
