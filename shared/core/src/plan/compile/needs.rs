//! Which upstream outputs a template mentions.
//!
//! Invariant: never too few. What cannot be told from the text counts as all outputs, [`ALL`].

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::expr::Template;
use crate::lang::model::{Dynamic, LoopValues, Task};
use crate::plan::NodeKind;

/// Stands for the outputs of every task, and for every variable.
const ALL: &str = "*";
/// Functions that render a text, which may mention anything.
const RENDERING: [&str; 2] = ["render", "renderOnce"];

/// Finds what templates need.
pub(super) struct Needs {
    /// What each variable needs, what it takes from other variables included.
    variables: BTreeMap<String, BTreeSet<String>>,
}

/// What one template mentions.
#[derive(Debug, Default)]
struct Mentions {
    outputs: BTreeSet<String>,
    variables: BTreeSet<String>,
}

impl Needs {
    pub(super) fn new(variables: &Map<String, Value>) -> Self {
        let mut found = BTreeMap::new();
        let mut mentioned = BTreeMap::new();
        for (name, value) in variables {
            let mut mentions = Mentions::default();
            strings(value, &mut |text| mentions.add(text));
            found.insert(name.clone(), mentions.outputs);
            mentioned.insert(name, mentions.variables);
        }
        let mut needs = Self { variables: found };
        // Variables mention each other; once nothing is added any more, everything is known.
        let mut changed = true;
        while changed {
            changed = false;
            for (name, others) in &mentioned {
                let mut all = needs.variables.get(*name).cloned().unwrap_or_default();
                let before = all.len();
                needs.of_variables(others, &mut all);
                changed |= all.len() > before;
                needs.variables.insert((*name).clone(), all);
            }
        }
        needs
    }

    fn of_variables(&self, names: &BTreeSet<String>, needs: &mut BTreeSet<String>) {
        if names.contains(ALL) {
            needs.extend(self.variables.values().flatten().cloned());
        } else {
            let known = names.iter().filter_map(|name| self.variables.get(name));
            needs.extend(known.flatten().cloned());
        }
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
                LoopValues::Until(_) => {} // Its check is a node of its own.
            },
            NodeKind::Pause { duration, .. } => {
                if let Some(duration) = duration {
                    self.of_dynamic(duration, &mut needs);
                }
            }
            NodeKind::Sleep { duration } => self.of_dynamic(duration, &mut needs),
            NodeKind::Check(until) => self.of_condition(&until.condition, &mut needs),
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
    pub(super) fn of_condition(&self, text: &str, needs: &mut BTreeSet<String>) {
        if is_literal(text) {
            self.of_template(&format!("{{{{ {text} }}}}"), needs);
        } else {
            self.of_template(text, needs);
        }
    }

    fn of_template(&self, text: &str, needs: &mut BTreeSet<String>) {
        let mut mentions = Mentions::default();
        mentions.add(text);
        needs.append(&mut mentions.outputs);
        self.of_variables(&mentions.variables, needs);
    }
}

impl Mentions {
    fn add(&mut self, text: &str) {
        if is_literal(text) {
            return;
        }
        // The parser has refused templates with errors.
        let Ok(template) = Template::parse(text) else {
            self.outputs.insert(ALL.to_owned());
            return;
        };
        let mut only_variables = true;
        for reference in template.references() {
            let member = || reference.path.get(1).map_or(ALL, String::as_str).to_owned();
            match reference.path.first().map(String::as_str) {
                Some("outputs") => drop(self.outputs.insert(member())),
                Some("vars") => {
                    self.variables.insert(member());
                    continue;
                }
                Some(_) | None => {}
            }
            only_variables = false;
        }
        // The text of a variable is looked at too; that of anything else nobody knows.
        let renders = |name| RENDERING.contains(name);
        if !only_variables && template.calls().iter().any(|call| renders(&call.name)) {
            self.outputs.insert(ALL.to_owned());
        }
        for call in template.calls().iter().filter(|call| renders(&call.name)) {
            if call.argument.as_ref().is_some_and(|text| !is_literal(text)) {
                self.outputs.insert(ALL.to_owned());
            }
        }
    }
}

fn is_literal(text: &str) -> bool {
    !text.contains("{{") && !text.contains("{%")
}

/// `*` makes the other names superfluous.
pub(super) fn simplified(needs: BTreeSet<String>) -> Vec<String> {
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
