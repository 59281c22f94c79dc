//! Old spellings to those of version 2: the same flow in today's words.

use std::ops::Range;

use super::super::catalogue::{self, TypeInfo};
use super::super::diagnostic::Diagnostic;
use super::super::yaml::{self, Key, Limits, Node, Style, Yaml};

/// Looks up a task or trigger type by any of its names.
type TypeTable = fn(&str) -> Option<&'static TypeInfo>;

/// Rewrites old keys and types where the flow language has them, and nowhere else: a key `runIf` inside
/// `env` is a variable's name.
pub(super) fn to_v2(source: &str) -> Result<String, Vec<Diagnostic>> {
    Ok(apply(source, read(source)?.edits))
}

/// What [`to_v2`] leaves as it is although version 2 has no such thing.
pub(super) fn left(source: &str) -> Result<Vec<Diagnostic>, Vec<Diagnostic>> {
    Ok(read(source)?.notes)
}

fn read(source: &str) -> Result<Renamer<'_>, Vec<Diagnostic>> {
    let root = yaml::parse_unexpanded(source, &Limits::default())?;
    let mut renamer = Renamer {
        source,
        edits: Vec::new(),
        notes: Vec::new(),
        defaults: default_types(&root),
    };
    renamer.flow(&root);
    Ok(renamer)
}

/// The types, or beginnings of types, that `pluginDefaults` are for.
fn default_types(root: &Node) -> Vec<String> {
    ["pluginDefaults", "taskDefaults"]
        .iter()
        .flat_map(|name| items(root.get(name)))
        .filter_map(|entry| entry.get("type")?.as_str().map(str::to_owned))
        .collect()
}

/// Today's name of an old class. Short names stay, and so do names that Kestra still has, also where
/// they mean the same as another.
fn canonical_type(name: &str, table: TypeTable) -> Option<&'static str> {
    let is_old = name.starts_with("io.kestra.") && !name.starts_with("io.kestra.plugin.core.");
    let canonical = table(name).filter(|_| is_old)?.name;
    (canonical != name && canonical.starts_with("io.kestra.")).then_some(canonical)
}

/// Makes the edits, which do not overlap.
fn apply(source: &str, mut edits: Vec<(Range<usize>, String)>) -> String {
    edits.sort_by_key(|(range, _)| (range.start, range.end));
    let mut out = String::with_capacity(source.len());
    let mut at = 0;
    for (range, text) in edits {
        out.push_str(source.get(at..range.start).unwrap_or(""));
        out.push_str(&text);
        at = range.end;
    }
    out.push_str(source.get(at..).unwrap_or(""));
    out
}

pub(super) struct Renamer<'s> {
    pub(super) source: &'s str,
    pub(super) edits: Vec<(Range<usize>, String)>,
    /// What stays although version 2 has no such thing.
    pub(super) notes: Vec<Diagnostic>,
    /// Types that the flow gives defaults for.
    pub(super) defaults: Vec<String>,
}

/// Properties that hold a list of tasks, in a flow and in tasks.
const TASK_LISTS: &[&str] = &[
    "tasks",
    "errors",
    "finally",
    "afterExecution",
    "then",
    "else",
    "defaults",
];

impl Renamer<'_> {
    fn flow(&mut self, root: &Node) {
        self.rename(root, "taskDefaults", "pluginDefaults");
        self.task_lists(root);
        self.retry(root);
        for trigger in items(root.get("triggers")) {
            self.type_of(trigger, catalogue::trigger_type);
            self.conditions(trigger);
        }
        for input in items(root.get("inputs")) {
            self.rename(input, "name", "id");
        }
        for check in items(root.get("checks")) {
            self.rename(check, "condition", "when");
        }
        for defaults in ["pluginDefaults", "taskDefaults"] {
            for entry in items(root.get(defaults)) {
                self.type_of(entry, catalogue::task_type);
                self.type_of(entry, catalogue::trigger_type);
                if let Some(values) = entry.get("values") {
                    self.task(values);
                }
            }
        }
    }

    fn task_lists(&mut self, parent: &Node) {
        for list in TASK_LISTS {
            for task in items(parent.get(list)) {
                self.task(task);
            }
        }
    }

    fn task(&mut self, task: &Node) {
        // A `Dag` wraps its tasks: `task: {...}`, `dependsOn: [...]`.
        if let Some(wrapped) = task.get("task") {
            self.task(wrapped);
        }
        if !self.old_loop(task) {
            self.type_of(task, catalogue::task_type);
        }
        self.runner(task);
        self.rename(task, "runIf", "when");
        self.rename(task, "docker.image", "containerImage");
        self.docker(task);
        self.retry(task);
        self.task_lists(task);
        for (_, tasks) in task.get("cases").and_then(Node::as_map).unwrap_or(&[]) {
            for task in items(Some(tasks)) {
                self.task(task);
            }
        }
    }

    fn retry(&mut self, parent: &Node) {
        if let Some(retry) = parent.get("retry") {
            self.rename(retry, "maxAttempt", "maxAttempts");
        }
    }

    /// Renames a key, unless the new one is there too: which of the two holds is for a person to say.
    pub(super) fn rename(&mut self, map: &Node, old: &str, new: &str) {
        if let Some((key, _)) = map.entry(old)
            && map.get(new).is_none()
        {
            self.edits.push((key.span.clone(), new.to_owned()));
        }
    }

    pub(super) fn type_of(&mut self, map: &Node, table: TypeTable) {
        let Some(node) = map.get("type") else { return };
        let Some(canonical) = node.as_str().and_then(|name| canonical_type(name, table)) else {
            return;
        };
        if self.on_one_line(node) {
            self.edits.push((node.span.clone(), canonical.to_owned()));
        }
    }

    /// Whether a text can be replaced where it stands.
    pub(super) fn on_one_line(&self, node: &Node) -> bool {
        node.style() == Style::Plain && node.raw(self.source) == node.as_str().unwrap_or("")
            || matches!(node.style(), Style::SingleQuoted | Style::DoubleQuoted)
    }

    /// The spaces before what begins at this byte.
    pub(super) fn indent(&self, at: usize) -> String {
        let line = self.source[..at].rfind('\n').map_or(0, |at| at + 1);
        " ".repeat(at - line)
    }

    /// `docker: {image: x}` with nothing else in it becomes `containerImage: x`.
    fn docker(&mut self, task: &Node) {
        let has_new = task.get("containerImage").or(task.get("docker.image"));
        let (Some((docker, value)), None) = (task.entry("docker"), has_new) else {
            return;
        };
        let Some([(image, reference)]) = value.as_map() else {
            return;
        };
        if image.name != "image" || !matches!(reference.value, Yaml::String(_)) {
            return;
        }
        match value.style() {
            Style::Flow => self.flow_docker(docker, value, reference),
            Style::Plain
            | Style::SingleQuoted
            | Style::DoubleQuoted
            | Style::Literal
            | Style::Folded => self.block_docker(docker, image),
        }
    }

    fn flow_docker(&mut self, docker: &Key, value: &Node, reference: &Node) {
        let before = docker.span.end..reference.span.start;
        let after = reference.span.end..value.span.end;
        // An anchor on the mapping, or a comment in it, has no place in the new spelling.
        let has_more = [&before, &after]
            .iter()
            .any(|range| self.source[(*range).clone()].contains(['#', '&', '!']));
        if !has_more {
            let start = docker.span.start..reference.span.start;
            self.edits.push((start, "containerImage: ".to_owned()));
            self.edits.push((after, String::new()));
        }
    }

    fn block_docker(&mut self, docker: &Key, image: &Key) {
        let between = &self.source[docker.span.end..image.span.start];
        if between.contains(['&', '!']) {
            return;
        }
        let indent = self.indent(docker.span.start);
        let mut text = String::new();
        for comment in between.lines().filter_map(|l| Some(&l[l.find('#')?..])) {
            text.push_str(comment.trim_end());
            text.push('\n');
            text.push_str(&indent);
        }
        text.push_str("containerImage");
        self.edits.push((docker.span.start..image.span.end, text));
    }
}

fn items(list: Option<&Node>) -> &[Node] {
    list.and_then(Node::as_seq).unwrap_or(&[])
}
