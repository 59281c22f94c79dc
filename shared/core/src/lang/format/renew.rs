//! What has another form in version 2, not only another name: loops, task runners, conditions of triggers.
//!
//! Invariant: only what means the same is rewritten; anything else stays, and is said.

use serde_json::Value;

use super::super::catalogue::{self, RUNNER_DOCKER, RUNNER_PROCESS};
use super::super::diagnostic::{Diagnostic, Rule};
use super::super::parse::renewed;
use super::super::yaml::{Key, Node, Style, Yaml};
use super::rename::Renamer;

/// What each of Kestra's loops before version 2 is called in the catalogue, without its package.
const LOOPS: &[&str] = &["ForEach", "EachSequential", "EachParallel"];
const LOOP: &str = "io.kestra.plugin.core.flow.Loop";
/// Values of the loop in expressions: version 2 has them in `item`.
const LOOP_NAMES: &[&str] = &[
    "taskrun.value",
    "taskrun.iteration",
    "parent.taskrun",
    "parents[",
];

impl Renamer<'_> {
    fn note(&mut self, at: &Node, message: String, help: &str) {
        let found = Diagnostic::warning(Rule::NoNewForm, at.span.clone(), message);
        self.notes.push(found.with_help(help));
    }

    /// A loop of Kestra's before version 2, under its class name; false for any other task.
    pub(super) fn old_loop(&mut self, task: &Node) -> bool {
        let Some(node) = task.get("type") else {
            return false;
        };
        let name = node.as_str().unwrap_or_default();
        let Some(info) = catalogue::task_type(name).filter(|_| name.starts_with("io.kestra."))
        else {
            return false;
        };
        let old = info.name.rsplit('.').next().unwrap_or_default();
        if old == "ForEachItem" {
            self.note(
                node,
                "`ForEachItem` has no equivalent in version 2.0 and stays".to_owned(),
                "Operon goes on knowing it; Kestra 2.0 wants a `Split` of the file and a `Loop` over its parts around \
                 a `Subflow`",
            );
            return false;
        }
        if !LOOPS.contains(&old) || !self.on_one_line(node) {
            return false;
        }
        if self
            .defaults
            .iter()
            .any(|of| info.name.starts_with(of.as_str()) || of == name)
        {
            let message = format!("`{old}` stays: `pluginDefaults` are given for it");
            self.note(
                node,
                message,
                "write what they say into the task, then rewrite it",
            );
            return false;
        }
        self.edits.push((node.span.clone(), LOOP.to_owned()));
        self.rename(task, "value", "values");
        self.rename(task, "concurrent", "concurrencyLimit");
        let limits = ["concurrencyLimit", "concurrent", "window"];
        if old == "EachParallel" && limits.iter().all(|name| task.get(name).is_none()) {
            self.all_at_once(task);
        }
        let source = self.source.get(task.span.clone()).unwrap_or_default();
        if LOOP_NAMES.iter().any(|name| source.contains(name)) {
            self.note(
                node,
                "expressions in this loop name its values as before version 2.0, and stay".to_owned(),
                "Operon goes on knowing them; Kestra 2.0 has `item.value`, `item.index` and `item.parent`",
            );
        }
        true
    }

    /// `EachParallel` has no limit of its own; a loop has one unless it is told otherwise.
    fn all_at_once(&mut self, task: &Node) {
        let Some((values, _)) = task.entry("values").or_else(|| task.entry("value")) else {
            return;
        };
        let at = values.span.start;
        let limit = format!("concurrencyLimit: 0{}", self.between(task, at));
        self.edits.push((at..at, limit));
    }

    /// What separates two entries of a mapping, the second of which begins at this byte.
    fn between(&self, map: &Node, at: usize) -> String {
        if map.style() == Style::Flow {
            ", ".to_owned()
        } else {
            format!("\n{}", self.indent(at))
        }
    }

    /// `runner: DOCKER` becomes `taskRunner: {type: …}`.
    pub(super) fn runner(&mut self, task: &Node) {
        let Some((key, node)) = task.entry("runner") else {
            return;
        };
        let class = match node.as_str() {
            Some("DOCKER") => RUNNER_DOCKER,
            Some("PROCESS") => RUNNER_PROCESS,
            Some(_) | None => return,
        };
        // Kestra takes `docker` with `runner` only, so its options would be lost; an image alone moves.
        let options = task.get("docker").filter(|docker| {
            let only = docker.as_map().unwrap_or(&[]);
            !matches!(only, [(image, value)] if image.name == "image" && matches!(value.value, Yaml::String(_)))
        });
        if options.is_some() || task.get("taskRunner").is_some() || !self.on_one_line(node) {
            self.note(
                node,
                "`runner` stays: what else is said of the container belongs with it".to_owned(),
                "move the options of `docker` into `taskRunner: {type: …}`, and its image into `containerImage`",
            );
            return;
        }
        self.edits.push((key.span.clone(), "taskRunner".to_owned()));
        self.edits
            .push((node.span.clone(), format!("{{type: {class}}}")));
    }

    /// `conditions` and `preconditions` of a trigger become `when`, `dependsOn` and `window`.
    pub(super) fn conditions(&mut self, trigger: &Node) {
        let found: Vec<(&Key, &Node)> = ["conditions", "preconditions"]
            .iter()
            .filter_map(|name| trigger.entry(name))
            .collect();
        let Some((key, node)) = found.first().copied() else {
            return;
        };
        let region = key.span.start..node.span.end;
        let text = self
            .source
            .get(region.clone())
            .unwrap_or_default()
            .trim_end();
        let props = renewed(self.source, trigger, &key.name).filter(|props| !props.is_empty());
        let taken = ["when", "dependsOn", "window"]
            .iter()
            .any(|name| trigger.get(name).is_some());
        // A comment or an anchor in them has no place in the new form.
        let more = text.contains(['#', '&', '*']);
        let Some(props) = props.filter(|_| found.len() == 1 && !taken && !more) else {
            let message = format!(
                "`{}` stay: nothing in version 2.0 says exactly the same",
                key.name
            );
            self.note(
                node,
                message,
                "Operon goes on knowing them; write `when` with one expression over `trigger.*`, or `dependsOn`",
            );
            return;
        };
        let between = self.between(trigger, key.span.start);
        let entries: Vec<String> = props
            .iter()
            .map(|(name, value)| format!("{name}: {}", flow_style(value)))
            .collect();
        let region = region.start..region.start + text.len();
        self.edits.push((region, entries.join(&between)));
    }
}

/// A value on one line.
fn flow_style(value: &Value) -> String {
    match value {
        Value::Object(entries) => {
            let entries: Vec<String> = entries
                .iter()
                .map(|(name, value)| format!("{name}: {}", flow_style(value)))
                .collect();
            format!("{{{}}}", entries.join(", "))
        }
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(flow_style).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
    }
}
