//! Tasks that evaluate an expression for every JSON line of a file.
//!
//! The expression reaches the task as it was written. It sees the fields of the record by name, the record
//! itself as `item`, and `inputs`, `labels`, `trigger`, `flow` and `execution` where no field has that name.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use operon_core::expr::{Context, ExprError, Template};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use tokio::runtime::Handle;

use super::files::{Scratch, Stop, blocking, io, keep};
use super::records::Records;
use crate::Ports;
use crate::lookups::Lookups;
use crate::ports::ExecutionMeta;
use crate::tasks::props::{Props, any_text};
use crate::tasks::{TaskCall, TaskError, TaskOutput, outputs};

/// Different keys in one `DeduplicateItems`: each takes some 50 bytes of memory.
pub const DEDUPLICATE_KEYS_MAX: usize = 4_000_000;
/// Records after which what `kv()` and `read()` gave is forgotten, so that it does not fill the memory.
const LOOKUPS_RECORDS: u64 = 10_000;

/// What happens to records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Without {
    Fail,
    Include,
    Exclude,
}

/// `core.storage.FilterItems`: keeps the records of `from` for which `filterCondition` holds, or with
/// `filterType: EXCLUDE` the others. Gives `uri`, `processedItemsTotal` and `droppedItemsTotal`.
pub(in crate::tasks) async fn filter(call: &TaskCall<'_>) -> Result<TaskOutput, TaskError> {
    let props = Props::new(&call.props);
    let from = props.required_text("from")?;
    let mut items = Items::new(call, &props, "filterCondition")?;
    let exclude = props.word("filterType", &["INCLUDE", "EXCLUDE"])? == Some("EXCLUDE");
    let without = match props.word("errorOrNullBehavior", &["FAIL", "INCLUDE", "EXCLUDE"])? {
        Some("INCLUDE") => Without::Include,
        Some("EXCLUDE") => Without::Exclude,
        _ => Without::Fail,
    };
    let scratch = Scratch::new()?;
    let file = scratch.local(call, &from).await?;
    let work = Scratch::new()?;
    let path = work.path().join("filtered");
    let to = path.clone();
    let (processed, dropped) = blocking(move |stop| {
        let mut records = Records::open(&file, b"\n")?;
        let mut writer = create(&to)?;
        let (mut processed, mut dropped) = (0_u64, 0_u64);
        while let Some(line) = records.next()? {
            stop.check()?;
            if line.trim_ascii().is_empty() {
                continue;
            }
            processed += 1;
            let line = line.to_vec();
            if items.keeps(&line, records.number(), exclude, without)? {
                write_line(&mut writer, &line)?;
            } else {
                dropped += 1;
            }
        }
        writer.flush().map_err(io("writing the file"))?;
        Ok((processed, dropped))
    })
    .await?;
    let uri = keep(call, &path, "filtered.jsonl").await?;
    Ok(outputs([
        ("uri", json!(uri)),
        ("processedItemsTotal", json!(processed)),
        ("droppedItemsTotal", json!(dropped)),
    ]))
}

/// `core.storage.DeduplicateItems`: keeps of the records of `from` with the same `expr` the last. Gives
/// `uri`, `numKeys`, `processedItemsTotal` and `droppedItemsTotal`.
pub(in crate::tasks) async fn deduplicate(call: &TaskCall<'_>) -> Result<TaskOutput, TaskError> {
    let props = Props::new(&call.props);
    let from = props.required_text("from")?;
    let mut items = Items::new(call, &props, "expr")?;
    let scratch = Scratch::new()?;
    let file = scratch.local(call, &from).await?;
    let work = Scratch::new()?;
    let path = work.path().join("deduplicated");
    let to = path.clone();
    let (processed, keys) = blocking(move |stop| {
        let (processed, last) = last_of_each(&file, &mut items, DEDUPLICATE_KEYS_MAX, &stop)?;
        copy_records(&file, &last, &to, &stop)?;
        Ok((processed, last.len()))
    })
    .await?;
    let uri = keep(call, &path, "deduplicated.jsonl").await?;
    let kept = u64::try_from(keys).unwrap_or(u64::MAX);
    Ok(outputs([
        ("uri", json!(uri)),
        ("numKeys", json!(kept)),
        ("processedItemsTotal", json!(processed)),
        ("droppedItemsTotal", json!(processed.saturating_sub(kept))),
    ]))
}

/// How many records there are, and the numbers of the last of each key, ascending.
fn last_of_each(
    file: &Path,
    items: &mut Items,
    keys_max: usize,
    stop: &Stop,
) -> Result<(u64, Vec<u64>), TaskError> {
    let mut records = Records::open(file, b"\n")?;
    let mut last: HashMap<[u8; 16], u64> = HashMap::new();
    let mut processed = 0_u64;
    while let Some(line) = records.next()? {
        stop.check()?;
        if line.trim_ascii().is_empty() {
            continue;
        }
        processed += 1;
        let line = line.to_vec();
        let number = records.number();
        let key = items
            .render(&line, number, Template::render)?
            .map_err(|error| items.failed(number, &error.to_string()))?;
        let digest = Sha256::digest(any_text(&key.value));
        let mut short = [0; 16];
        short.copy_from_slice(&digest[..16]);
        last.insert(short, number);
        if last.len() > keys_max {
            return Err(TaskError::invalid(format!(
                "`expr` gives more than {keys_max} different keys; split the file first"
            )));
        }
    }
    let mut numbers: Vec<u64> = last.into_values().collect();
    numbers.sort_unstable();
    Ok((processed, numbers))
}

fn copy_records(from: &Path, numbers: &[u64], to: &Path, stop: &Stop) -> Result<(), TaskError> {
    let mut records = Records::open(from, b"\n")?;
    let mut writer = create(to)?;
    let mut wanted = numbers.iter().copied().peekable();
    let mut number = 0;
    while let Some(line) = records.next()? {
        stop.check()?;
        number += 1;
        if wanted.next_if_eq(&number).is_some() {
            write_line(&mut writer, line)?;
        }
    }
    writer.flush().map_err(io("writing the file"))
}

fn create(path: &Path) -> Result<BufWriter<File>, TaskError> {
    let file = File::create_new(path).map_err(io("writing the file"))?;
    Ok(BufWriter::with_capacity(256 * 1024, file))
}

fn write_line(writer: &mut impl Write, line: &[u8]) -> Result<(), TaskError> {
    writer.write_all(line).map_err(io("writing the file"))?;
    if !line.ends_with(b"\n") {
        writer.write_all(b"\n").map_err(io("writing the file"))?;
    }
    Ok(())
}

/// Evaluates a property for records.
struct Items {
    property: &'static str,
    template: Template,
    /// What every record sees, as far as the template mentions it.
    roots: Map<String, Value>,
    /// Texts that are rendered by the template may see what it does not mention.
    all: bool,
    lookups: Arc<Lookups>,
    meta: ExecutionMeta,
    ports: Ports,
    runtime: Handle,
}

impl Items {
    fn new(
        call: &TaskCall<'_>,
        props: &Props<'_>,
        property: &'static str,
    ) -> Result<Self, TaskError> {
        let source = props.required_text(property)?;
        let template = Template::parse(&source)
            .map_err(|error| props.wrong(property, &format!("is not a template: {error}")))?;
        let meta = call.meta;
        let roots = json!({
            "inputs": meta.inputs,
            "labels": meta.labels,
            "trigger": meta.trigger,
            "flow": {"id": meta.flow, "namespace": meta.namespace, "revision": meta.revision},
            "execution": {"id": meta.id},
        });
        let all = template
            .calls()
            .iter()
            .any(|call| call.name.starts_with("render"));
        let mut items = Self {
            property,
            template,
            roots: Map::new(),
            all,
            lookups: lookups(call.meta, call.ports, 0),
            meta: meta.clone(),
            ports: call.ports.clone(),
            runtime: Handle::current(),
        };
        if let Value::Object(roots) = roots {
            let mentioned = roots.into_iter().filter(|(name, _)| items.sees(name));
            items.roots = mentioned.collect();
        }
        Ok(items)
    }

    fn sees(&self, name: &str) -> bool {
        let mut references = self.template.references().iter();
        self.all || references.any(|found| found.path.first().is_some_and(|root| root == name))
    }

    /// Whether a record is kept. A condition that fails or gives null is `without` an answer.
    fn keeps(
        &mut self,
        line: &[u8],
        number: u64,
        exclude: bool,
        without: Without,
    ) -> Result<bool, TaskError> {
        let answer = self.render(line, number, |template, context| {
            // Null is false to a condition, and here no answer.
            let holds = template.render_condition(context)?;
            Ok(if holds || !template.render(context)?.value.is_null() {
                Some(holds)
            } else {
                None
            })
        })?;
        match (answer, without) {
            (Ok(Some(holds)), _) => Ok(holds != exclude),
            (Ok(None) | Err(_), Without::Include) => Ok(true),
            (Ok(None) | Err(_), Without::Exclude) => Ok(false),
            (Ok(None), Without::Fail) => Err(self.failed(number, "it gives null")),
            (Err(error), Without::Fail) => Err(self.failed(number, &error.to_string())),
        }
    }

    fn failed(&self, number: u64, why: &str) -> TaskError {
        TaskError::new(
            operon_core::exec::Reason::Expression,
            format!("`{}` fails for line {number}: {why}", self.property),
        )
    }

    /// Renders for one record, in a thread that may block.
    fn render<T>(
        &mut self,
        line: &[u8],
        number: u64,
        mut render: impl FnMut(&Template, &Context) -> Result<T, ExprError>,
    ) -> Result<Result<T, ExprError>, TaskError> {
        if number.is_multiple_of(LOOKUPS_RECORDS) {
            self.lookups = lookups(&self.meta, &self.ports, number);
        }
        let record: Value = serde_json::from_slice(line).map_err(|error| {
            TaskError::invalid(format!("line {number} of the file is not JSON: {error}"))
        })?;
        let mut roots = self.roots.clone();
        if self.sees("item") {
            roots.insert("item".to_owned(), record.clone());
        }
        if let Value::Object(fields) = record {
            roots.extend(fields.into_iter().filter(|(name, _)| self.sees(name)));
        }
        let context = Context::new(roots, Arc::clone(&self.lookups) as Arc<_>);
        let template = &self.template;
        let rendered = self
            .lookups
            .resolve(&self.ports, || render(template, &context));
        Ok(self.runtime.block_on(rendered))
    }
}

fn lookups(meta: &ExecutionMeta, ports: &Ports, seed: u64) -> Arc<Lookups> {
    Arc::new(Lookups::new(
        &meta.namespace,
        meta.flow_dir.as_deref(),
        ports.clock.now_ms(),
        seed,
    ))
}
