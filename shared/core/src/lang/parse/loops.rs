//! Loops over values and over the records of files.

use serde_json::{Map, Value};

use super::super::amount::duration_ms;
use super::super::catalogue::{PropType, TypeInfo};
use super::super::diagnostic::{Diagnostic, Rule};
use super::super::limits::{ITEMS_MAX, LOOP_DEPTH_MAX};
use super::super::members::ITEM_SUBFLOW;
use super::super::model::{
    Dynamic, ItemFormat, LoopValues, Resources, Span, Task, TaskKind, TaskList, Until,
};
use super::super::yaml::Node;
use super::Reader;
use super::fields::Fields;
use super::tasks::{Parent, named};
use super::templates::has_template;

/// Kestra's defaults of `checkFrequency`.
const UNTIL_INTERVAL_MS: u64 = 1000;
const UNTIL_ITERATIONS: u32 = 100;
const UNTIL_DURATION_MS: u64 = 3_600_000;

impl Reader<'_> {
    pub(super) fn loop_task(
        &mut self,
        task: &mut Task,
        fields: &Fields<'_>,
        info: &'static TypeInfo,
        place: &Span,
        inside: Parent<'_>,
    ) -> TaskKind {
        let until = info.name.ends_with(".LoopUntil");
        let values = if until {
            LoopValues::Until(Box::new(self.until(fields)))
        } else {
            self.loop_values(fields, &task.id, place)
        };
        let default_limit = match info.name.rsplit('.').next() {
            Some("EachParallel" | "ForEachItem") => 0,
            _ => 1,
        };
        self.here.loops += 1;
        if self.here.loops > LOOP_DEPTH_MAX {
            let diagnostic = Diagnostic::error(
                Rule::Limit,
                place.clone(),
                format!(
                    "loops are nested {} deep; at most {LOOP_DEPTH_MAX}",
                    self.here.loops
                ),
            );
            self.push(
                diagnostic.with_help(
                    "move the inner loop into a flow of its own, started with `subflow`",
                ),
            );
        }
        let tasks = if info.name.ends_with(".ForEachItem") {
            self.item_subflow(task, fields)
        } else {
            self.children(fields, "tasks", inside)
        };
        self.here.loops -= 1;
        let (errors, finally) = self.local_handlers(fields, inside);
        TaskKind::Loop {
            values,
            concurrency_limit: u32::try_from(self.count(fields, "concurrencyLimit", default_limit))
                .unwrap_or(0),
            on_failure: self.on_failure(fields),
            transmit_failed: self.flag(fields, "transmitFailed", true),
            tasks,
            errors,
            finally,
        }
    }

    fn until(&mut self, fields: &Fields<'_>) -> Until {
        let condition = fields
            .value("condition")
            .and_then(|node| self.condition(node, "`condition`"))
            .unwrap_or_default();
        let frequency = match fields.get("checkFrequency").and_then(|f| self.field(f)) {
            Some(Value::Object(frequency)) => frequency,
            _ => Map::new(),
        };
        let time = |name: &str| {
            let text = frequency.get(name).and_then(Value::as_str);
            text.and_then(|text| duration_ms(text).ok())
        };
        let iterations = frequency.get("maxIterations").and_then(Value::as_u64);
        let iterations = iterations.and_then(|most| u32::try_from(most).ok());
        Until {
            condition,
            interval_ms: time("interval").unwrap_or(UNTIL_INTERVAL_MS),
            max_iterations: iterations.unwrap_or(UNTIL_ITERATIONS),
            max_duration_ms: Some(time("maxDuration").unwrap_or(UNTIL_DURATION_MS)),
            fail_on_max: self.flag(fields, "failOnMaxReached", false),
        }
    }

    fn loop_values(&mut self, fields: &Fields<'_>, id: &str, place: &Span) -> LoopValues {
        match (fields.get("values"), fields.get("items")) {
            (Some(values), Some(items)) => self.push(
                Diagnostic::error(
                    Rule::Exclusive,
                    items.key.span.clone(),
                    "`values` and `items` are both given",
                )
                .with_label(values.key.span.clone(), "the values are here")
                .with_help("keep `values` for a list, or `items` for the records of a file"),
            ),
            (None, None) => self.push(
                Diagnostic::error(
                    Rule::MissingProperty,
                    place.clone(),
                    format!("{} has nothing to iterate over", named(id)),
                )
                .with_help("add `values: [a, b]`, or `items: \"{{ inputs.file }}\"` for the records of a file"),
            ),
            (Some(field), None) => {
                for name in ["batch", "format"] {
                    if let Some(extra) = fields.get(name) {
                        self.push(
                            Diagnostic::error(
                                Rule::Exclusive,
                                extra.key.span.clone(),
                                format!("`{name}` goes with `items`, not with `values`"),
                            )
                            .with_help("write `items: <URI of a file>` to iterate over records"),
                        );
                    }
                }
                return LoopValues::Values(self.listed_values(field.value));
            }
            (None, Some(field)) => {
                let items = self.text(field.value, true, "`items`").unwrap_or_default();
                return self.item_values(fields, items);
            }
        }
        LoopValues::Values(Value::Null)
    }

    fn listed_values(&mut self, node: &Node) -> Value {
        let count = node
            .as_seq()
            .map(<[_]>::len)
            .or_else(|| node.as_map().map(<[_]>::len));
        if let Some(count) = count.filter(|count| *count > ITEMS_MAX) {
            self.limit(node, &format!("`values` has {count} items"), ITEMS_MAX);
            return Value::Null;
        }
        let value = self
            .convert(node, &PropType::Any, true, "`values`")
            .unwrap_or_default();
        let listed = match &value {
            Value::Array(_) | Value::Object(_) => true,
            Value::String(text) => {
                has_template(text)
                    || text.contains("://")
                    || matches!(
                        serde_json::from_str::<Value>(text),
                        Ok(Value::Array(_) | Value::Object(_))
                    )
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => false,
        };
        if !listed {
            self.push(
                Diagnostic::error(
                    Rule::WrongType,
                    node.span.clone(),
                    format!(
                        "`values` is {}, not something to iterate over",
                        node.kind_name()
                    ),
                )
                .with_help("write a list, a map, a template, a JSON text or an artifact's URI"),
            );
        }
        value
    }

    fn item_values(&mut self, fields: &Fields<'_>, items: String) -> LoopValues {
        let format = match fields.get("format").and_then(|field| self.field(field)) {
            Some(Value::String(name)) if name == "fasta" => ItemFormat::Fasta,
            _ => ItemFormat::Lines,
        };
        let batch = match fields.get("batch").and_then(|field| self.field(field)) {
            Some(Value::Object(batch)) => batch,
            _ => Map::new(),
        };
        let number = |name: &str| batch.get(name).and_then(Value::as_u64);
        if let (Some(field), true) = (fields.get("batch"), batch.len() > 1) {
            self.push(
                Diagnostic::error(
                    Rule::Exclusive,
                    field.key.span.clone(),
                    "only one of `rows`, `bytes` and `partitions` can be given",
                )
                .with_help("remove the others"),
            );
        }
        LoopValues::Items {
            items,
            format,
            rows: number("rows").unwrap_or(1),
            bytes: number("bytes"),
            partitions: number("partitions"),
        }
    }

    /// The body of a `ForEachItem`: one task that starts the flow.
    fn item_subflow(&mut self, task: &Task, fields: &Fields<'_>) -> TaskList {
        let mut props = Map::new();
        for name in [
            "namespace",
            "flowId",
            "revision",
            "inputs",
            "labels",
            "inheritLabels",
            "wait",
            "transmitFailed",
        ] {
            if let Some(field) = fields.get(name)
                && let Some(value) = self.field(field)
            {
                props.insert(name.to_owned(), value);
            }
        }
        props
            .entry("namespace")
            .or_insert_with(|| Value::from(self.namespace.as_str()));
        self.item_loops.insert(task.id.clone());
        let id = format!("{}{ITEM_SUBFLOW}", task.id);
        if let Some(first) = self.task_ids.insert(id.clone(), task.span.clone()) {
            self.push(
                Diagnostic::error(
                    Rule::DuplicateId,
                    first,
                    format!(
                        "the id `{id}` is taken by the flow that `{}` starts",
                        task.id
                    ),
                )
                .with_help("choose another name"),
            );
        }
        let subflow = Task {
            id,
            task_type: "io.kestra.plugin.core.flow.Subflow".to_owned(),
            plugin: None,
            span: task.span.clone(),
            description: None,
            depends_on: Vec::new(),
            when: None,
            retry: None,
            timeout_ms: Dynamic::Constant(86_400_000),
            allow_failure: false,
            allow_warning: false,
            disabled: false,
            task_cache: None,
            idempotent: true,
            quarantine_ms: 0,
            priority: task.priority,
            resources: Resources::default(),
            props,
            kind: TaskKind::Run,
        };
        TaskList {
            tasks: vec![subflow],
            graph: false,
        }
    }
}
