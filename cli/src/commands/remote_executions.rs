//! `operon executions` of a server: the same commands, asked over HTTP.

use std::rc::Rc;

use serde_json::{Value, json};

use super::remote::{pages, table};
use super::remote_views;
use crate::args::{Executions, ListArgs, LogsArgs, Output, ResumeOneArgs, ValidateOutput};
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
            Executions::Logs(args) => logs(&client, args, console).await?,
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

fn path_of(id: &str, rest: &str) -> String {
    format!("/executions/{}{rest}", part(id))
}

async fn list(client: &Client, args: &ListArgs, console: &Console) -> anyhow::Result<()> {
    let mut query = vec![("limit", args.limit.min(1000).to_string())];
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
    let answer: Value = client.get("/executions", &query).await?;
    match args.output {
        ValidateOutput::Json => console.line(&answer.to_string()),
        ValidateOutput::Human => table(console, &with_last(answer), LIST_FIELDS),
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

/// The task runs that are meant: `align`, or `align[12]`.
async fn runs_of(client: &Client, args: &LogsArgs) -> anyhow::Result<Vec<Option<String>>> {
    let Some(wanted) = &args.task else {
        return Ok(vec![None]);
    };
    let task = wanted.split('[').next().unwrap_or_default().to_owned();
    let path = path_of(args.id.as_str(), "/task-runs");
    let runs = pages(client, &path, &[("task", task)]).await?;
    let items = runs.get("items").and_then(Value::as_array);
    let text = |run: &Value, field: &str| run.get(field).and_then(Value::as_str).map(str::to_owned);
    let found: Vec<Option<String>> = items
        .into_iter()
        .flatten()
        .filter(|run| !wanted.contains('[') || text(run, "name").as_ref() == Some(wanted))
        .map(|run| text(run, "id"))
        .collect();
    if found.is_empty() {
        return Err(Usage::new(format!(
            "execution {} has no task run `{wanted}` yet",
            args.id
        ))
        .help(format!("`operon executions show {}` names them", args.id))
        .into());
    }
    Ok(found)
}

async fn logs(client: &Client, args: &LogsArgs, console: &Console) -> anyhow::Result<()> {
    let runs = runs_of(client, args).await?;
    let print = |line: &Value| {
        let text = |field: &str| line.get(field).and_then(Value::as_str).unwrap_or_default();
        let ms = line
            .get("timeMs")
            .and_then(Value::as_i64)
            .unwrap_or_default();
        let time = jiff::Timestamp::from_millisecond(ms).unwrap_or_default();
        console.line(&format!("{time} {:5} {}", text("level"), text("text")));
    };
    for run in runs {
        let mut query: Vec<(&str, String)> = Vec::new();
        query.extend(run.map(|run| ("taskRun", run)));
        query.extend(args.attempt.map(|attempt| ("attempt", attempt.to_string())));
        if !args.follow {
            let path = path_of(args.id.as_str(), "/logs/download");
            let path = crate::client::with_query(&path, &query);
            let text = client
                .bytes(client.request(reqwest::Method::GET, &path))
                .await?;
            let text = String::from_utf8_lossy(&text);
            let lines: Vec<&str> = text.lines().collect();
            let skipped = args.tail.map_or(0, |tail| lines.len().saturating_sub(tail));
            lines
                .iter()
                .skip(skipped)
                .for_each(|line| console.line(line));
            continue;
        }
        let path = path_of(args.id.as_str(), "/logs/stream");
        let mut last: Option<String> = None;
        'ended: loop {
            let mut events = client.events(&path, &query, last.as_deref()).await?;
            while let Some(event) = events.next().await? {
                match event.name.as_str() {
                    "line" => print(&event.data),
                    "end" => break 'ended,
                    _ => {}
                }
                last = Some(event.id);
                console.flush();
            }
        }
    }
    Ok(())
}
