//! Commands that ask a server: what they ask, and how its answers are shown.
//!
//! With `--output json` the answer is printed as it came; for people, a table of what matters.

use std::path::Path;
use std::rc::Rc;

use reqwest::Method;
use serde_json::{Map, Value, json};

use super::beside;
use crate::args::{
    ContextCommand, DeployArgs, FlowName, FlowsCommand, LabelsArgs, ServerChoice, ValidateOutput,
};
use crate::client::{Client, Contexts, Entry, LOCAL, part, region_of, with_query};
use crate::exit::{Exit, Usage};
use crate::output::Console;
use crate::state::block_on;

/// Pages read for one list at most.
const PAGES_MAX: usize = 100;
/// Rows of one page.
const PAGE: usize = 1000;

/// Shows an answer as JSON, or its rows with these fields.
pub(crate) fn show(console: &Console, server: &ServerChoice, answer: &Value, fields: &[&str]) {
    show_as(console, server.output, answer, fields);
}

/// An answer as it came, or its rows.
pub(crate) fn show_as(console: &Console, output: ValidateOutput, answer: &Value, fields: &[&str]) {
    match output {
        ValidateOutput::Json => console.line(&answer.to_string()),
        ValidateOutput::Human => {
            table(console, answer, fields);
            tell_more(console, answer);
        }
    }
}

/// Says so when a list is longer than what is shown.
pub(crate) fn tell_more(console: &Console, answer: &Value) {
    let shown = answer.get("items").and_then(Value::as_array);
    if let (Some(shown), Some(Value::String(_))) = (shown, answer.get("next")) {
        console.note(&format!("There are more than these {}.", shown.len()));
    }
}

/// The rows of an answer, or the answer itself, with these fields.
pub(crate) fn table(console: &Console, answer: &Value, fields: &[&str]) {
    let one = std::slice::from_ref(answer);
    let rows = answer.get("items").and_then(Value::as_array);
    let rows = rows.map_or(one, Vec::as_slice);
    let cell = |row: &Value, field: &str| match row.get(field) {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) if field.ends_with("Ms") => {
            let time = number
                .as_i64()
                .and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
            time.map_or_else(|| number.to_string(), |time| time.to_string())
        }
        Some(other) => other.to_string(),
    };
    let table: Vec<Vec<String>> =
        std::iter::once(fields.iter().map(|f| f.to_uppercase()).collect())
            .chain(
                rows.iter()
                    .map(|row| fields.iter().map(|field| cell(row, field)).collect()),
            )
            .collect();
    let widths: Vec<usize> = (0..fields.len())
        .map(|column| {
            let cells = table.iter().filter_map(|row| row.get(column));
            cells
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or_default()
        })
        .collect();
    for row in table {
        let cells = row.iter().zip(&widths);
        let line: Vec<String> = cells
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        console.line(line.join("  ").trim_end());
    }
}

/// All pages of a list, as one answer.
pub(crate) async fn pages(
    client: &Client,
    path: &str,
    query: &[(&str, String)],
) -> anyhow::Result<Value> {
    up_to(client, path, query, usize::MAX).await
}

/// So many rows of a list, as one answer; `next` says where more would begin.
pub(crate) async fn up_to(
    client: &Client,
    path: &str,
    query: &[(&str, String)],
    limit: usize,
) -> anyhow::Result<Value> {
    let mut items = Vec::new();
    let mut cursor: Option<String> = None;
    for _ in 0..PAGES_MAX {
        let mut query = query.to_vec();
        let rest = limit.saturating_sub(items.len()).min(PAGE);
        query.push(("limit", rest.to_string()));
        if let Some(cursor) = &cursor {
            query.push(("cursor", cursor.clone()));
        }
        let mut page: Value = client.get(path, &query).await?;
        if let Some(Value::Array(found)) = page.get_mut("items") {
            items.append(found);
        }
        cursor = page.get("next").and_then(Value::as_str).map(str::to_owned);
        if cursor.is_none() || items.len() >= limit {
            break;
        }
    }
    Ok(json!({"items": items, "next": cursor}))
}

pub(crate) fn choose(server: &ServerChoice) -> anyhow::Result<Client> {
    Client::choose(server.context.as_deref(), &server.state.dir)
}

fn path_of(flow: &FlowName, rest: &str) -> String {
    format!("/flows/{}/{}{rest}", part(&flow.namespace), part(&flow.id))
}

const FLOW: &[&str] = &[
    "namespace",
    "id",
    "revision",
    "disabled",
    "updatedMs",
    "updatedBy",
];

pub(crate) fn flows(command: &FlowsCommand, console: &Rc<Console>) -> anyhow::Result<Exit> {
    block_on(async {
        match command {
            FlowsCommand::List { namespace, server } => {
                let query: Vec<_> = namespace
                    .iter()
                    .map(|name| ("namespace", name.clone()))
                    .collect();
                let answer = pages(&choose(server)?, "/flows", &query).await?;
                show(console, server, &answer, FLOW);
            }
            FlowsCommand::Deploy(args) => deploy(console, args).await?,
            FlowsCommand::Source { flow, server } => {
                let client = choose(server)?;
                let request = client.request(Method::GET, &path_of(flow, "/source"));
                let text = client.bytes(request).await?;
                let text = String::from_utf8_lossy(&text);
                match server.output {
                    ValidateOutput::Json => console.line(&json!({"source": text}).to_string()),
                    ValidateOutput::Human => console.out(&text),
                }
            }
            FlowsCommand::Revisions { flow, server } => {
                let answer = pages(&choose(server)?, &path_of(flow, "/revisions"), &[]).await?;
                let fields = ["revision", "current", "createdMs", "createdBy", "message"];
                show(console, server, &answer, &fields);
            }
            FlowsCommand::Diff {
                flow,
                from,
                to,
                server,
            } => {
                let mut query = Vec::new();
                query.extend(from.map(|number| ("from", number.to_string())));
                query.extend(to.map(|number| ("to", number.to_string())));
                let answer: Value = choose(server)?.get(&path_of(flow, "/diff"), &query).await?;
                if server.output == ValidateOutput::Json {
                    console.line(&answer.to_string());
                } else {
                    for part in ["source", "plan"] {
                        console.out(answer.get(part).and_then(Value::as_str).unwrap_or_default());
                    }
                }
            }
            FlowsCommand::Rollback { flow, to, server } => {
                let body = json!({"revision": to});
                let answer: Value = choose(server)?
                    .post(&path_of(flow, "/rollback"), &body)
                    .await?;
                show(console, server, &answer, FLOW);
            }
            FlowsCommand::Enable { flow, server } => {
                let answer: Value = choose(server)?
                    .post(&path_of(flow, "/enable"), &json!({}))
                    .await?;
                show(console, server, &answer, FLOW);
            }
            FlowsCommand::Disable { flow, server } => {
                let answer: Value = choose(server)?
                    .post(&path_of(flow, "/disable"), &json!({}))
                    .await?;
                show(console, server, &answer, FLOW);
            }
            FlowsCommand::Start {
                flow,
                inputs,
                files,
                labels,
                idempotency_key,
                server,
            } => {
                let client = choose(server)?;
                let values = values_of(&client, inputs, files, idempotency_key.is_some()).await?;
                let body = json!({
                    "namespace": flow.namespace, "flow": flow.id,
                    "inputs": values, "labels": map(labels),
                });
                let mut request = client.request(Method::POST, "/executions").json(&body);
                if let Some(key) = idempotency_key {
                    request = request.header("idempotency-key", key);
                }
                let answer: Value = client.ask(request).await?;
                show(console, server, &answer, &["id", "state"]);
            }
        }
        Ok(Exit::Success)
    })
}

fn map(pairs: &[(String, String)]) -> Map<String, Value> {
    let pairs = pairs.iter();
    pairs
        .map(|(key, value)| (key.clone(), json!(value)))
        .collect()
}

/// The inputs of a start, with the addresses of uploaded files.
async fn values_of(
    client: &Client,
    inputs: &[(String, String)],
    files: &[(String, String)],
    named: bool,
) -> anyhow::Result<Map<String, Value>> {
    if named && !files.is_empty() {
        // Each upload is a file of its own, so the same wish would be another one the second time.
        return Err(Usage::new("`-f` cannot go with `--idempotency-key`")
            .help("upload the file once and give its address: `-i INPUT=s3://…`")
            .into());
    }
    let mut values = map(inputs);
    for (input, path) in files {
        values.insert(input.clone(), uploaded(client, Path::new(path)).await?);
    }
    Ok(values)
}

/// Stores a file on the server; its address there.
async fn uploaded(client: &Client, path: &Path) -> anyhow::Result<Value> {
    let bytes = std::fs::read(path)
        .map_err(|error| Usage::new(format!("{} cannot be read: {error}", path.display())))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // What the server takes as a name.
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let name: String = name
        .chars()
        .map(|c| if plain(c) { c } else { '_' })
        .collect();
    let name = name.trim_start_matches('.').to_owned();
    let path = with_query("/artifacts", &[("name", name)]);
    let answer: Value = client
        .ask(client.request(Method::POST, &path).body(bytes))
        .await?;
    Ok(answer["uri"].clone())
}

async fn deploy(console: &Rc<Console>, args: &DeployArgs) -> anyhow::Result<()> {
    let (file, server) = (args.file.as_path(), &args.server);
    let source =
        operon_local::flows::read_document(file).map_err(|error| Usage::new(error.to_string()))?;
    // Only to know where it goes: the server checks it with its own plugins, and says what is wrong.
    let named = operon_core::lang::parse(&source, &operon_core::lang::Plugins::default());
    let name = |key: &str| {
        let line = source
            .lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        line.map(|value| {
            value
                .split(" #")
                .next()
                .unwrap_or_default()
                .trim()
                .trim_matches(['"', '\''])
                .to_owned()
        })
    };
    let (namespace, id) = match named.flow {
        Some(flow) => (Some(flow.namespace), Some(flow.id)),
        None => (name("namespace"), name("id")),
    };
    let (Some(namespace), Some(id)) = (namespace, id) else {
        return Err(
            Usage::new(format!("`{}` has no `id` and `namespace`", file.display()))
                .help("`operon validate` says what is wrong with it")
                .into(),
        );
    };
    let client = choose(server)?;
    let flow = FlowName { namespace, id };
    let listing = match &args.files {
        Some(directory) => Some(beside::publish(&client, directory).await?),
        None => None,
    };
    let mut request = client
        .request(Method::PUT, &path_of(&flow, ""))
        .header("content-type", "application/yaml")
        .body(source);
    if let Some(listing) = listing {
        request = request.header("x-operon-files", listing);
    }
    if let Some(revision) = args.expect {
        request = request.header("if-match", format!("\"{revision}\""));
    }
    if let Some(message) = &args.message {
        request = request.header("x-operon-message", message);
    }
    let mut answer: Value = client.ask(request).await?;
    if let Some(answer) = answer.as_object_mut() {
        answer.insert("namespace".to_owned(), json!(flow.namespace));
        answer.insert("id".to_owned(), json!(flow.id));
    }
    show(
        console,
        server,
        &answer,
        &["namespace", "id", "revision", "created", "changed"],
    );
    let warnings = answer.get("warnings").and_then(Value::as_array);
    for warning in warnings.into_iter().flatten() {
        let text = |key: &str| warning.get(key).and_then(Value::as_str);
        let number = |key: &str| warning.get(key).and_then(Value::as_u64).unwrap_or(1);
        let place = (number("line"), number("column"));
        let message = text("message").unwrap_or_default();
        console.warning(&format!(
            "{}:{}:{}: {message}",
            file.display(),
            place.0,
            place.1
        ));
    }
    Ok(())
}

pub(crate) fn labels(
    context: Option<&str>,
    args: &LabelsArgs,
    console: &Rc<Console>,
) -> anyhow::Result<Exit> {
    let mut labels = Map::new();
    labels.extend(
        args.set
            .iter()
            .map(|(key, value)| (key.clone(), json!(value))),
    );
    labels.extend(args.remove.iter().map(|key| (key.clone(), Value::Null)));
    if labels.is_empty() {
        return Err(Usage::new("no label is named")
            .help("write `KEY=VALUE` or `--remove KEY`")
            .into());
    }
    let client = Client::choose(context, &args.state.dir)?;
    block_on(async {
        let path = format!("/executions/{}/labels", part(args.id.as_str()));
        let answer: Value = client.post(&path, &json!({"labels": labels})).await?;
        show_as(
            console,
            args.output,
            &answer,
            &["id", "namespace", "flow", "state", "labels"],
        );
        Ok(Exit::Success)
    })
}

pub(crate) fn context(command: &ContextCommand, console: &Rc<Console>) -> anyhow::Result<Exit> {
    let mut contexts = Contexts::read()?;
    match command {
        ContextCommand::Add {
            name,
            url,
            token_file,
            iam,
            region,
        } => {
            let secure = url.starts_with("https://")
                || ["http://127.0.0.1", "http://localhost", "http://[::1]"]
                    .iter()
                    .any(|local| url.starts_with(local));
            if !secure || name == LOCAL {
                return Err(Usage::new(if secure {
                    format!("`{LOCAL}` means this machine; choose another name")
                } else {
                    format!(
                        "`{url}` is no `https://` address: a token must not travel in the clear"
                    )
                })
                .into());
            }
            let token_file = token_file.as_ref().map(std::path::absolute).transpose()?;
            let named = region.clone().or_else(|| region_of(url).map(str::to_owned));
            if *iam && named.is_none() {
                return Err(Usage::new(format!("`{url}` does not say for which region to sign"))
                    .help("`--region NAME` does; the output `SignedUrl` of a deployment says it itself")
                    .into());
            }
            let entry = Entry {
                url: url.trim_end_matches('/').to_owned(),
                token_file,
                signed_for: named.filter(|_| *iam),
            };
            contexts.contexts.insert(name.clone(), entry);
            contexts.write()?;
        }
        ContextCommand::Use { name } => {
            if name != LOCAL && !contexts.contexts.contains_key(name) {
                return Err(Usage::new(format!("there is no context `{name}`"))
                    .help("`operon context list` shows those there are")
                    .into());
            }
            contexts.current = Some(name.clone());
            contexts.write()?;
        }
        ContextCommand::List => {
            for (name, entry) in &contexts.contexts {
                let mark = if contexts.current.as_ref() == Some(name) {
                    "*"
                } else {
                    " "
                };
                let credential = entry.credential();
                console.line(&format!("{mark} {name}  {}  {credential}", entry.url));
            }
        }
        ContextCommand::Remove { name } => {
            if contexts.contexts.remove(name).is_none() {
                return Err(Usage::new(format!("there is no context `{name}`")).into());
            }
            if contexts.current.as_ref() == Some(name) {
                contexts.current = None;
            }
            contexts.write()?;
        }
    }
    Ok(Exit::Success)
}
