//! `operon executions` of a server: the same commands, asked over HTTP.

use std::rc::Rc;

use serde_json::{Value, json};

use super::remote::{pages, table, tell_more, up_to};
use super::{remote_logs, remote_views};
use crate::args::{Executions, ListArgs, Output, ResumeOneArgs, ValidateOutput};
use crate::client::{Client, part};
use crate::exit::{Exit, Usage};
use crate::output::Console;
use crate::state::block_on;

const FIELDS: &[&str] = &[
    "id",
    "namespace",
    "flow",
    "revision",
    "state",
    "createdMs",
    "endedMs",
    "reason",
];
const LIST_FIELDS: &[&str] = &[
    "id",
    "namespace",
    "flow",
    "revision",
    "state",
    "createdMs",
    "endedMs",
    "lastTask",
    "reason",
];
const RUNS: &[&str] = &[
    "name",
    "state",
    "attempts",
    "startedMs",
    "endedMs",
    "message",
];

/// Asks the server of a context.
pub(crate) fn executions(
    context: Option<&str>,
    command: &Executions,
    console: &Rc<Console>,
) -> anyhow::Result<Exit> {
    let client = Client::choose(context, std::path::Path::new(crate::state::DEFAULT))?;
    match command {
        Executions::Bulk(args) => return remote_views::bulk(&client, args, console),
        Executions::Evaluate(args) => return remote_views::evaluate(&client, args, console),
        Executions::Metrics(args) => return remote_views::metrics(&client, args, console),
        Executions::List(_)
        | Executions::Show(_)
        | Executions::Logs(_)
        | Executions::Kill(_)
        | Executions::Resume(_)
        | Executions::Restart(_)
        | Executions::RetryFailed(_)
        | Executions::Labels(_)
        | Executions::Replay(_) => {}
    }
    block_on(async {
        match command {
            Executions::List(args) => list(&client, args, console).await?,
            Executions::Show(args) => {
                let path = path_of(args.id.as_str(), "");
                let mut answer: Value = client.get(&path, &[]).await?;
                let runs = pages(&client, &format!("{path}/task-runs"), &[]).await?;
                if let Some(answer) = answer.as_object_mut() {
                    let runs = runs.get("items").cloned().unwrap_or_default();
                    answer.insert("taskRuns".to_owned(), runs);
                }
                if args.output == ValidateOutput::Json {
                    console.line(&answer.to_string());
                } else {
                    table(console, &answer, FIELDS);
                    table(console, &runs, RUNS);
                }
            }
            Executions::Logs(args) => remote_logs::logs(&client, args, console).await?,
            Executions::Kill(args) => {
                steer(
                    &client,
                    args.id.as_str(),
                    "kill",
                    &json!({}),
                    args.engine.output,
                    console,
                )
                .await?;
            }
            Executions::Resume(args) => answer(&client, args, console).await?,
            Executions::Restart(args) => {
                steer(
                    &client,
                    args.id.as_str(),
                    "restart",
                    &json!({}),
                    args.engine.output,
                    console,
                )
                .await?;
            }
            Executions::RetryFailed(args) => {
                let id = args.id.as_str();
                steer(
                    &client,
                    id,
                    "retry-failed",
                    &json!({}),
                    args.engine.output,
                    console,
                )
                .await?;
            }
            // Answered above.
            Executions::Bulk(_) | Executions::Evaluate(_) | Executions::Metrics(_) => {}
            Executions::Labels(args) => return super::remote::labels(context, args, console),
            Executions::Replay(args) => {
                if args.file.is_some() {
                    return Err(Usage::new("a server replays deployed revisions, not files")
                        .help("deploy the file with `operon flows deploy`, and name its revision with `--revision`")
                        .into());
                }
                let body = json!({"from": args.from, "revision": args.revision});
                steer(
                    &client,
                    args.id.as_str(),
                    "replay",
                    &body,
                    args.engine.output,
                    console,
                )
                .await?;
            }
        }
        Ok(Exit::Success)
    })
}

/// Asks the server that works on the state directory of this machine to answer pauses.
pub(super) fn resume_here(args: &ResumeOneArgs, console: &Rc<Console>) -> anyhow::Result<Exit> {
    let client = Client::choose(Some(crate::client::LOCAL), &args.engine.state.dir)?;
    block_on(async {
        answer(&client, args, console).await?;
        Ok(Exit::Success)
    })
}

/// Answers pauses with what was given.
async fn answer(client: &Client, args: &ResumeOneArgs, console: &Console) -> anyhow::Result<()> {
    let inputs = args.inputs.iter();
    let inputs: serde_json::Map<String, Value> = inputs
        .map(|(key, value)| (key.clone(), json!(value)))
        .collect();
    let body = json!({"taskRun": args.task_run, "goOn": !args.stop, "inputs": inputs});
    let (id, output) = (args.id.as_str(), args.engine.output);
    steer(client, id, "resume", &body, output, console).await
}

pub(super) fn path_of(id: &str, rest: &str) -> String {
    format!("/executions/{}{rest}", part(id))
}

async fn list(client: &Client, args: &ListArgs, console: &Console) -> anyhow::Result<()> {
    let mut query = Vec::new();
    query.extend(
        args.namespace
            .iter()
            .map(|name| ("namespace", name.clone())),
    );
    query.extend(args.flow.iter().map(|name| ("flow", name.clone())));
    if !args.states.is_empty() {
        query.push(("state", args.states.join(",")));
    }
    if !args.labels.is_empty() {
        let pairs = args
            .labels
            .iter()
            .map(|(key, value)| format!("{key}:{value}"));
        query.push(("label", pairs.collect::<Vec<_>>().join(",")));
    }
    let most = usize::try_from(args.limit).unwrap_or(usize::MAX);
    let answer = up_to(client, "/executions", &query, most).await?;
    match args.output {
        ValidateOutput::Json => console.line(&answer.to_string()),
        ValidateOutput::Human => {
            tell_more(console, &answer);
            table(console, &with_last(answer), LIST_FIELDS);
        }
    }
    Ok(())
}

/// The answer with where each execution has come to in one word.
fn with_last(mut answer: Value) -> Value {
    let items = answer.get_mut("items").and_then(Value::as_array_mut);
    for item in items.into_iter().flatten() {
        let text = |field: &str| item.pointer(field).and_then(Value::as_str);
        if let (Some(task), Some(state)) = (text("/lastTask/task"), text("/lastTask/state")) {
            let attempts = item.pointer("/lastTask/attempts").and_then(Value::as_u64);
            let words = super::last_task(task, state, attempts.unwrap_or_default());
            if let Some(item) = item.as_object_mut() {
                item.insert("lastTask".to_owned(), Value::String(words));
            }
        }
    }
    answer
}

async fn steer(
    client: &Client,
    id: &str,
    verb: &str,
    body: &Value,
    output: Output,
    console: &Console,
) -> anyhow::Result<()> {
    let answer: Value = client.post(&path_of(id, &format!("/{verb}")), body).await?;
    match output {
        Output::Json | Output::Ndjson => console.line(&answer.to_string()),
        Output::Human => {
            let new = answer.get("id").and_then(Value::as_str).unwrap_or(id);
            console.note(&format!(
                "{} has the wish; `operon executions logs {new} -f` follows it.",
                client.url()
            ));
        }
    }
    Ok(())
}
