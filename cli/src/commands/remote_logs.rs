//! `operon executions logs` of a server.
//!
//! Invariant: a search goes on until all lines were looked at, however many requests that takes.

use std::collections::VecDeque;

use serde_json::{Value, json};

use super::remote::pages;
use super::remote_executions::path_of;
use crate::args::{LogsArgs, Output};
use crate::client::Client;
use crate::exit::Usage;
use crate::output::Console;

/// Lines of one request.
const LINES: u32 = 1000;

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

/// Prints lines in the way that is asked for.
struct Printer<'a> {
    console: &'a Console,
    output: Output,
    /// The last lines, when only these are wanted.
    tail: Option<usize>,
    kept: VecDeque<Value>,
}

impl Printer<'_> {
    fn take(&mut self, line: Value) {
        match (self.tail, self.output) {
            (Some(tail), _) => {
                self.kept.push_back(line);
                if self.kept.len() > tail {
                    self.kept.pop_front();
                }
            }
            (None, Output::Json) => self.kept.push_back(line),
            (None, Output::Human | Output::Ndjson) => self.print(&line),
        }
    }

    fn print(&self, line: &Value) {
        if self.output != Output::Human {
            self.console.line(&line.to_string());
            return;
        }
        let text = |field: &str| line.get(field).and_then(Value::as_str).unwrap_or_default();
        let ms = line.get("timeMs").and_then(Value::as_i64);
        let time = jiff::Timestamp::from_millisecond(ms.unwrap_or_default()).unwrap_or_default();
        let words = crate::style::harmless(text("text"));
        self.console
            .line(&format!("{time} {:5} {words}", text("level")));
    }

    /// What was kept of one task run.
    fn end(&mut self) {
        if self.output != Output::Json {
            for line in std::mem::take(&mut self.kept) {
                self.print(&line);
            }
        }
    }
}

pub(super) async fn logs(
    client: &Client,
    args: &LogsArgs,
    console: &Console,
) -> anyhow::Result<()> {
    super::executions::possible(args)?;
    let runs = runs_of(client, args).await?;
    let mut lines = Vec::new();
    for run in runs {
        let mut query: Vec<(&str, String)> = Vec::new();
        query.extend(run.map(|run| ("taskRun", run)));
        query.extend(args.attempt.map(|attempt| ("attempt", attempt.to_string())));
        query.extend(args.search.iter().map(|text| ("q", text.clone())));
        let mut printer = Printer {
            console,
            output: args.output,
            tail: args.tail.filter(|_| !args.follow),
            kept: VecDeque::new(),
        };
        if args.follow {
            follow(client, args, &query, &mut printer).await?;
        } else {
            whole(client, args, &query, &mut printer).await?;
        }
        printer.end();
        lines.extend(printer.kept);
    }
    if args.output == Output::Json {
        console.line(&json!({"lines": lines}).to_string());
    }
    Ok(())
}

/// As far as it is written.
async fn whole(
    client: &Client,
    args: &LogsArgs,
    query: &[(&str, String)],
    printer: &mut Printer<'_>,
) -> anyhow::Result<()> {
    let path = path_of(args.id.as_str(), "/logs");
    let one = query.iter().any(|(key, _)| *key == "taskRun");
    let mut place: Option<String> = None;
    loop {
        let mut query = query.to_vec();
        query.push(("limit", LINES.to_string()));
        query.extend(
            place
                .take()
                .map(|place| (if one { "after" } else { "cursor" }, place)),
        );
        let mut page: Value = client.get(&path, &query).await?;
        if let Some(Value::Array(items)) = page.get_mut("items") {
            for line in items.drain(..) {
                printer.take(line);
            }
        }
        let text = |field: &str| page.get(field).and_then(Value::as_str).map(str::to_owned);
        place = text("next");
        if page.get("more") != Some(&json!(true)) || place.is_none() {
            if let Some(said) = text("leftOut") {
                printer.console.note(&said);
            }
            return Ok(());
        }
        if printer.console.closed() {
            return Ok(());
        }
    }
}

/// Until the execution is over.
async fn follow(
    client: &Client,
    args: &LogsArgs,
    query: &[(&str, String)],
    printer: &mut Printer<'_>,
) -> anyhow::Result<()> {
    let path = path_of(args.id.as_str(), "/logs/stream");
    let mut last: Option<String> = None;
    loop {
        let mut events = client.events(&path, query, last.as_deref()).await?;
        while let Some(event) = events.next().await? {
            match event.name.as_str() {
                "line" => printer.take(event.data),
                "left-out" => printer
                    .console
                    .note(event.data.as_str().unwrap_or_default()),
                "end" => return Ok(()),
                _ => {}
            }
            last = Some(event.id);
            printer.console.flush();
        }
        if printer.console.closed() {
            return Ok(());
        }
    }
}
