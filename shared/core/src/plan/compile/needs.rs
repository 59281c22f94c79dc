//! Which upstream outputs a template mentions.
//!
//! Invariant: never too few. What cannot be told from the text counts as all outputs, [`ALL`].

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::lang::model::{Dynamic, LoopValues, Task};
use crate::plan::NodeKind;

/// Stands for the outputs of every task.
const ALL: &str = "*";

/// Finds what templates need.
pub(super) struct Needs {
    /// What the flow's variables, which are templates too, need together. A template that mentions any
    /// variable is taken to need all of it: variables mention outputs rarely, and variables each other.
    variables: BTreeSet<String>,
}

impl Needs {
    pub(super) fn new(variables: &Map<String, Value>) -> Self {
        let mut needs = BTreeSet::new();
        for value in variables.values() {
            strings(value, &mut |text| {
                needs.extend(expressions(text).into_iter().flat_map(outputs));
            });
        }
        Self { variables: needs }
    }

    /// What the planner needs to decide about a node.
    pub(super) fn of_decision(&self, when: Option<&str>, kind: &NodeKind) -> Vec<String> {
        let mut needs = BTreeSet::new();
        if let Some(when) = when {
            self.of_condition(when, &mut needs);
        }
        match kind {
            NodeKind::Task(_) => {}
            NodeKind::Group { props, .. } => {
                for value in props.values() {
                    self.of_value(value, &mut needs);
                }
            }
            NodeKind::Choice { value, .. } => self.of_condition(value, &mut needs),
            NodeKind::Loop { values, .. } => match values {
                LoopValues::Values(value) => self.of_value(value, &mut needs),
                LoopValues::Items { items, .. } => self.of_template(items, &mut needs),
            },
            NodeKind::Pause { duration, .. } => {
                if let Some(duration) = duration {
                    self.of_dynamic(duration, &mut needs);
                }
            }
            NodeKind::Sleep { duration } => self.of_dynamic(duration, &mut needs),
        }
        simplified(needs)
    }

    /// What a task's templates mention, its condition included.
    pub(super) fn of_task(&self, task: &Task) -> Vec<String> {
        let mut needs = BTreeSet::new();
        if let Some(when) = &task.when {
            self.of_condition(when, &mut needs);
        }
        for value in task.props.values() {
            self.of_value(value, &mut needs);
        }
        self.of_dynamic(&task.timeout_ms, &mut needs);
        simplified(needs)
    }

    /// Adds what the strings in a value need.
    pub(super) fn of_value(&self, value: &Value, needs: &mut BTreeSet<String>) {
        strings(value, &mut |text| self.of_template(text, needs));
    }

    fn of_dynamic(&self, value: &Dynamic<u64>, needs: &mut BTreeSet<String>) {
        if let Dynamic::Template(text) = value {
            self.of_template(text, needs);
        }
    }

    /// A condition may be written without braces.
    fn of_condition(&self, text: &str, needs: &mut BTreeSet<String>) {
        if text.contains("{{") || text.contains("{%") {
            self.of_template(text, needs);
        } else {
            self.of_expression(text, needs);
        }
    }

    fn of_template(&self, text: &str, needs: &mut BTreeSet<String>) {
        for expression in expressions(text) {
            self.of_expression(expression, needs);
        }
    }

    fn of_expression(&self, expression: &str, needs: &mut BTreeSet<String>) {
        needs.extend(outputs(expression));
        if !members(expression, "vars").is_empty() {
            needs.extend(self.variables.iter().cloned());
        }
    }
}

/// `*` makes the other names superfluous.
fn simplified(needs: BTreeSet<String>) -> Vec<String> {
    if needs.contains(ALL) {
        return vec![ALL.to_owned()];
    }
    needs.into_iter().collect()
}

/// Calls `visit` with every string in the value.
fn strings(value: &Value, visit: &mut dyn FnMut(&str)) {
    match value {
        Value::String(text) => visit(text),
        Value::Array(items) => items.iter().for_each(|item| strings(item, visit)),
        Value::Object(map) => map.values().for_each(|item| strings(item, visit)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The expressions and statements of a template.
fn expressions(template: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = template;
    while let Some(start) = rest.find("{{").into_iter().chain(rest.find("{%")).min() {
        rest = &rest[start + 2..];
        let end = rest.find("}}").into_iter().chain(rest.find("%}")).min();
        let end = end.unwrap_or(rest.len());
        found.push(&rest[..end]);
        rest = &rest[end..];
    }
    found
}

fn outputs(expression: &str) -> impl Iterator<Item = String> {
    members(expression, "outputs")
        .into_iter()
        .map(|member| member.unwrap_or(ALL).to_owned())
}

/// What follows each mention of the root variable `root`: the name of a member, or none when it cannot
/// be told.
fn members<'t>(expression: &'t str, root: &str) -> Vec<Option<&'t str>> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    expression
        .match_indices(root)
        .filter(|(at, _)| {
            let before = expression[..*at].trim_end().chars().next_back();
            let after = expression[at + root.len()..].chars().next();
            !before.is_some_and(|c| c == '.' || (is_word(c) && expression[..*at].ends_with(c)))
                && !after.is_some_and(is_word)
        })
        .map(|(at, _)| {
            let rest = expression[at + root.len()..].trim_start();
            if let Some(name) = rest.strip_prefix('.') {
                let name = name.trim_start();
                let end = name.find(|c| !is_word(c)).unwrap_or(name.len());
                return (end > 0).then(|| &name[..end]);
            }
            let index = rest.strip_prefix('[')?.trim_start();
            let quote = index.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
            let (name, rest) = index[1..].split_once(quote)?;
            rest.trim_start().starts_with(']').then_some(name)
        })
        .collect()
}
