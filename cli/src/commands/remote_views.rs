//! Commands that show what a server knows besides executions, and actions on many of them.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;
use std::rc::Rc;

use anyhow::Context as _;
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::remote::{choose, pages, show, show_as, table, up_to};
use crate::args::{
    ArtifactsCommand, BulkArgs, BulkVerb, EvaluateArgs, ValidateOutput, ViewArgs, WatchCommand,
};
use crate::client::{Client, part, with_query};
use crate::exit::{Exit, Usage};
use crate::output::Console;
use crate::state::block_on;
use crate::style;

/// Requests of one action on many at most: 100,000 executions.
const BULK_PAGES_MAX: usize = 100;
/// Ids that one request takes.
const BULK_IDS_MAX: usize = 1000;

pub(super) fn artifacts(command: &ArtifactsCommand, console: &Rc<Console>) -> anyhow::Result<Exit> {
    block_on(async {
        match command {
            ArtifactsCommand::List { execution, server } => {
                let path = format!("/executions/{}/artifacts", part(execution.as_str()));
                let answer = pages(&choose(server)?, &path, &[]).await?;
                show(
                    console,
                    server,
                    &answer,
                    &["name", "task", "taskRun", "uri"],
                );
            }
            ArtifactsCommand::Preview { uri, bytes, server } => {
                let query = [("uri", uri.clone()), ("bytes", bytes.to_string())];
                let answer: Value = choose(server)?.get("/artifacts/preview", &query).await?;
                preview(console, server.output, &answer);
            }
            ArtifactsCommand::Download { uri, to, server } => {
                let name = uri.rsplit('/').next().unwrap_or_default();
                let to = to.clone().unwrap_or_else(|| PathBuf::from(name));
                let size = download(&choose(server)?, uri, &to).await?;
                match server.output {
                    ValidateOutput::Json => {
                        let file = to.display().to_string();
                        console.line(&json!({"uri": uri, "file": file, "bytes": size}).to_string());
                    }
                    ValidateOutput::Human => {
                        console.note(&format!(
                            "{} bytes were written to `{}`.",
                            size,
                            to.display()
                        ));
                    }
                }
            }
        }
        Ok(Exit::Success)
    })
}

fn preview(console: &Console, output: ValidateOutput, answer: &Value) {
    if output == ValidateOutput::Json {
        console.line(&answer.to_string());
        return;
    }
    let size = answer
        .get("size")
        .and_then(Value::as_u64)
        .unwrap_or_default();
    match answer.get("text").and_then(Value::as_str) {
        None => console.note(&format!("It is no text; it has {size} bytes.")),
        Some(text) => {
            console.out(&style::harmless(text));
            if !text.ends_with('\n') {
                console.line("");
            }
            if answer.get("truncated") == Some(&json!(true)) {
                console.note(&format!("This is the beginning of {size} bytes."));
            }
        }
    }
}

/// Writes a file as it comes; what is there is not overwritten, and half a file is not left behind.
async fn download(client: &Client, uri: &str, to: &std::path::Path) -> anyhow::Result<u64> {
    let path = with_query("/artifacts/download", &[("uri", uri.to_owned())]);
    let mut answer = client.download(client.request(Method::GET, &path)).await?;
    let shown = to.display();
    let file = OpenOptions::new().write(true).create_new(true).open(to);
    let mut file = file.map_err(|error| {
        Usage::new(format!("`{shown}` cannot be made: {error}"))
            .help("choose another place with `--to FILE`")
    })?;
    let mut size = 0;
    let result: anyhow::Result<()> = async {
        while let Some(chunk) = answer.chunk().await.context("the download broke off")? {
            size += u64::try_from(chunk.len()).unwrap_or_default();
            file.write_all(&chunk)?;
        }
        Ok(())
    }
    .await;
    if let Err(error) = result {
        drop(file);
        let _ = std::fs::remove_file(to);
        return Err(error);
    }
    Ok(size)
}

pub(super) fn watch(command: &WatchCommand, console: &Rc<Console>) -> anyhow::Result<Exit> {
    block_on(async {
        match command {
            WatchCommand::Overview {
                namespace,
                hours,
                server,
            } => {
                let mut query = vec![("hours", hours.to_string())];
                query.extend(namespace.iter().map(|name| ("namespace", name.clone())));
                let answer: Value = choose(server)?.get("/overview", &query).await?;
                match server.output {
                    ValidateOutput::Json => console.line(&answer.to_string()),
                    ValidateOutput::Human => overview(console, &answer, *hours),
                }
            }
            WatchCommand::Audit { limit, server } => {
                let most = usize::try_from(*limit).unwrap_or(usize::MAX);
                let answer = up_to(&choose(server)?, "/audit", &[], most).await?;
                show(
                    console,
                    server,
                    &answer,
                    &["atMs", "who", "role", "action", "target", "outcome"],
                );
            }
            WatchCommand::Locks { name, server } => {
                let query: Vec<_> = name.iter().map(|name| ("name", name.clone())).collect();
                let client = choose(server)?;
                let answer = if query.is_empty() {
                    pages(&client, "/locks", &[]).await?
                } else {
                    client.get("/locks", &query).await?
                };
                match server.output {
                    ValidateOutput::Json => console.line(&answer.to_string()),
                    ValidateOutput::Human => locks(console, &answer),
                }
            }
        }
        Ok(Exit::Success)
    })
}

fn overview(console: &Console, answer: &Value, hours: u64) {
    let counts = answer.get("counts").and_then(Value::as_object);
    let counts: Vec<String> = counts
        .into_iter()
        .flatten()
        .map(|(state, count)| format!("{count} {state}"))
        .collect();
    let open = answer
        .get("inProgress")
        .and_then(Value::as_u64)
        .unwrap_or_default();
    let counts = if counts.is_empty() {
        "none".to_owned()
    } else {
        counts.join(", ")
    };
    let least = |key: &str| {
        if answer.get(key) == Some(&json!(true)) {
            "at least "
        } else {
            ""
        }
    };
    console.line(&format!(
        "Created in the last {hours} h: {}{counts}",
        least("truncated")
    ));
    console.line(&format!(
        "In progress: {}{open}",
        least("inProgressTruncated")
    ));
    let section = |title: &str, key: &str, fields: &[&str]| {
        let rows = answer.get(key).cloned().unwrap_or_default();
        if rows.as_array().is_some_and(|rows| !rows.is_empty()) {
            console.line("");
            console.line(title);
            table(console, &json!({"items": rows}), fields);
        }
    };
    let execution = ["id", "namespace", "flow", "state", "createdMs", "reason"];
    section("Running", "running", &execution);
    section("Failed", "failures", &execution);
    section(
        "Next",
        "nextSchedules",
        &["nextMs", "namespace", "flow", "id", "late"],
    );
}

fn locks(console: &Console, answer: &Value) {
    let items = answer.get("items").and_then(Value::as_array);
    let mut rows = Vec::new();
    for lock in items.into_iter().flatten() {
        let list = |key: &str| {
            lock.get(key)
                .and_then(Value::as_array)
                .cloned()
                .unwrap_or_default()
        };
        let (owners, queue) = (list("owners"), list("queue"));
        let name = lock.get("name").cloned().unwrap_or_default();
        let limit = lock.get("limit").and_then(Value::as_u64);
        let of = limit.map_or_else(String::new, |limit| format!(" of {limit}"));
        let taken = format!("{}{of}", owners.len());
        rows.push(json!({"lock": name, "execution": null, "what": format!("{taken} taken, {} waiting", queue.len())}));
        for owner in owners {
            let until = owner.get("quarantinedUntilMs").and_then(Value::as_u64);
            let what = until.map_or_else(
                || "holds a slot".to_owned(),
                |ms| format!("outcome unknown: kept until {}", style::time(ms)),
            );
            rows.push(json!({"lock": name, "execution": owner.get("execution"), "what": what}));
        }
        for (index, id) in queue.iter().enumerate() {
            rows.push(json!({"lock": name, "execution": id, "what": format!("waits, place {}", index + 1)}));
        }
    }
    table(
        console,
        &json!({"items": rows}),
        &["lock", "execution", "what"],
    );
}

pub(super) fn evaluate(
    client: &Client,
    args: &EvaluateArgs,
    console: &Console,
) -> anyhow::Result<Exit> {
    block_on(async {
        let path = format!("/executions/{}/evaluate", part(args.id.as_str()));
        let answer: Value = client
            .post(&path, &json!({"expression": args.expression}))
            .await?;
        match (args.output, answer.get("result")) {
            (ValidateOutput::Human, Some(Value::String(text))) => {
                console.line(&style::harmless(text));
            }
            (ValidateOutput::Human, Some(value)) => console.line(&value.to_string()),
            (ValidateOutput::Json, _) | (ValidateOutput::Human, None) => {
                console.line(&answer.to_string());
            }
        }
        Ok(Exit::Success)
    })
}

pub(super) fn metrics(client: &Client, args: &ViewArgs, console: &Console) -> anyhow::Result<Exit> {
    block_on(async {
        let path = format!("/executions/{}/metrics", part(args.id.as_str()));
        let answer: Value = client.get(&path, &[]).await?;
        show_as(
            console,
            args.output,
            &answer,
            &["task", "name", "type", "count", "value"],
        );
        Ok(Exit::Success)
    })
}

/// One action on many: page by page, with one report of all.
pub(super) fn bulk(client: &Client, args: &BulkArgs, console: &Console) -> anyhow::Result<Exit> {
    let any = !args.states.is_empty()
        || args.flow.is_some()
        || args.namespace.is_some()
        || !args.labels.is_empty();
    if args.ids.is_empty() && !any {
        return Err(Usage::new("neither executions nor a filter are named")
            .help("name them, or write `--flow`, `--namespace`, `--state-is` or `--label`")
            .into());
    }
    block_on(async {
        let mut report = json!({"matched": 0, "done": 0, "skipped": [], "preview": [], "started": [], "more": false});
        for ids in args.ids.chunks(BULK_IDS_MAX) {
            let mut body = wish(args);
            body.insert("ids".to_owned(), json!(ids));
            add(
                &mut report,
                &client
                    .post("/executions/bulk", &Value::Object(body))
                    .await?,
            );
        }
        let mut cursor = Value::Null;
        for page in 0..BULK_PAGES_MAX {
            if any {
                let mut body = wish(args);
                body.insert("query".to_owned(), query(args));
                body.insert("cursor".to_owned(), cursor.clone());
                let answer: Value = client
                    .post("/executions/bulk", &Value::Object(body))
                    .await?;
                add(&mut report, &answer);
                cursor = answer.get("next").cloned().unwrap_or_default();
            }
            if cursor.is_null() {
                break;
            }
            if page + 1 == BULK_PAGES_MAX {
                report["more"] = json!(true);
            }
        }
        match args.output {
            ValidateOutput::Json => console.line(&report.to_string()),
            ValidateOutput::Human => told(console, args, &report),
        }
        Ok(Exit::Success)
    })
}

fn wish(args: &BulkArgs) -> Map<String, Value> {
    let action = match args.action {
        BulkVerb::Kill => "kill",
        BulkVerb::Restart => "restart",
        BulkVerb::RetryFailed => "retry-failed",
        BulkVerb::Resume => "resume",
        BulkVerb::Replay => "replay",
    };
    let mut body = Map::new();
    body.insert("action".to_owned(), json!(action));
    body.insert("dryRun".to_owned(), json!(args.dry_run));
    body.insert("from".to_owned(), json!(args.from));
    body.insert("revision".to_owned(), json!(args.revision));
    body
}

fn query(args: &BulkArgs) -> Value {
    let labels = args
        .labels
        .iter()
        .map(|(key, value)| format!("{key}:{value}"));
    let labels = labels.collect::<Vec<_>>().join(",");
    json!({
        "state": (!args.states.is_empty()).then(|| args.states.join(",")),
        "flow": args.flow, "namespace": args.namespace,
        "label": (!labels.is_empty()).then_some(labels),
    })
}

/// Adds the report of a page.
fn add(report: &mut Value, page: &Value) {
    for key in ["matched", "done"] {
        let number = |value: &Value| value.get(key).and_then(Value::as_u64).unwrap_or_default();
        report[key] = json!(number(report) + number(page));
    }
    for key in ["skipped", "preview", "started"] {
        let more = page
            .get(key)
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        if let Some(list) = report.get_mut(key).and_then(Value::as_array_mut) {
            list.extend(more);
        }
    }
}

fn told(console: &Console, args: &BulkArgs, report: &Value) {
    let count = |key: &str| report.get(key).and_then(Value::as_u64).unwrap_or_default();
    let skipped = report
        .get("skipped")
        .and_then(Value::as_array)
        .map_or(0, Vec::len);
    let would = if args.dry_run {
        "would be done"
    } else {
        "done"
    };
    console.line(&format!(
        "{} matched, {} {would}, {skipped} skipped",
        count("matched"),
        count("done")
    ));
    if skipped > 0 {
        let rows = report.get("skipped").cloned().unwrap_or_default();
        table(console, &json!({"items": rows}), &["id", "reason"]);
    }
    if report.get("more") == Some(&json!(true)) {
        console.note("More match than one command takes: ask again.");
    }
}
