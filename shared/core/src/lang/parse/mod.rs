//! From a YAML document to a checked [`Flow`], with every problem found in one pass.
//!
//! Invariant: no document makes it panic, and a flow is returned only when there is no error.
//! Invariant: what a user wrote is supported, warned about, or an error; nothing is dropped in silence.

mod conditions;
mod control;
mod convert;
mod defaults;
mod document;
mod fields;
mod filters;
mod graph;
mod inputs;
mod launched;
mod loops;
mod notify;
mod policies;
mod references;
mod scalars;
mod script;
mod secrets;
mod tasks;
mod templates;
mod trigger_rules;
mod triggers;
mod types;

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use super::diagnostic::{Diagnostic, Diagnostics, Severity};
use super::model::{Flow, Span};
use super::plugins::Plugins;
use super::yaml::{Document, Limits, Node};

pub(super) use fields::nearest;
pub(super) use templates::has_template;

pub(super) use conditions::renewed;
use defaults::Defaults;
use references::{Names, Use};

/// What came of a document.
#[derive(Debug, Clone)]
pub struct Parsed {
    /// The flow, if there is no error.
    pub flow: Option<Flow>,
    /// Errors and warnings.
    pub diagnostics: Diagnostics,
}

/// Reads and checks a flow document.
#[must_use]
pub fn parse(source: &str, plugins: &Plugins) -> Parsed {
    let document = match Document::parse(source, &Limits::default()) {
        Ok(document) => document,
        Err(found) => {
            let mut diagnostics = Diagnostics::new();
            diagnostics.extend(found);
            return Parsed {
                flow: None,
                diagnostics,
            };
        }
    };
    let mut reader = Reader::new(source, plugins);
    reader.diagnostics.extend(document.warnings.iter().cloned());
    let flow = reader.document(&document.root);
    let diagnostics = reader.diagnostics;
    Parsed {
        flow: flow.filter(|_| !diagnostics.has_errors()),
        diagnostics,
    }
}

/// Checks one task on its own, as if it were the only one of a flow: for plugins and documentation.
pub(super) fn check_task(source: &str, task: &Node, plugins: &Plugins) -> Diagnostics {
    let mut reader = Reader::new(source, plugins);
    "namespace".clone_into(&mut reader.namespace);
    reader.standalone = true;
    reader.task(task, tasks::Parent::ROOT);
    reader.diagnostics
}

/// Where the parser is, and what it has found.
struct Reader<'a> {
    source: &'a str,
    plugins: &'a Plugins,
    diagnostics: Diagnostics,
    defaults: Rc<Defaults>,
    namespace: String,
    /// Ids of all tasks so far and where they are written.
    task_ids: HashMap<String, Span>,
    /// Those that start a flow for every batch of records.
    item_loops: HashSet<String>,
    /// How often the limit of tasks was passed; said once.
    too_many: bool,
    /// Every use of a name in an expression, checked when all names are known.
    uses: Vec<Use>,
    names: Names,
    /// Types of the flow's triggers, by their short names.
    trigger_types: Vec<&'static str>,
    here: Here,
    /// Only one task is checked; the names around it are unknown.
    standalone: bool,
    /// The plugins being expanded, outermost first, with the place of the outermost use.
    expanding: Vec<(String, Span)>,
}

/// What an expression at the current place may use.
#[derive(Debug, Clone, Default)]
struct Here {
    /// The task around it.
    task: Option<String>,
    /// Loops around it.
    loops: usize,
    /// Roots that are known here besides the usual ones.
    extra: &'static [&'static str],
    /// Any name may be a field of a record.
    record: bool,
    /// Not yet part of an execution: inputs, triggers, checks.
    before: bool,
    /// Inside a variable, which is rendered wherever it is used.
    variable: bool,
    /// The trigger around it, by the short name of its type.
    trigger: Option<&'static str>,
}

impl<'a> Reader<'a> {
    fn new(source: &'a str, plugins: &'a Plugins) -> Self {
        Self {
            source,
            plugins,
            diagnostics: Diagnostics::new(),
            defaults: Rc::default(),
            namespace: String::new(),
            task_ids: HashMap::new(),
            item_loops: HashSet::new(),
            too_many: false,
            uses: Vec::new(),
            names: Names::default(),
            trigger_types: Vec::new(),
            here: Here::default(),
            standalone: false,
            expanding: Vec::new(),
        }
    }

    /// Adds a finding; inside a plugin, which one is said and the place is that of its use.
    fn push(&mut self, mut diagnostic: Diagnostic) {
        if let Some((_, place)) = self.expanding.first() {
            let names: Vec<_> = self
                .expanding
                .iter()
                .map(|(name, _)| name.as_str())
                .collect();
            if diagnostic.span == *place {
                diagnostic.message = format!(
                    "in plugin `{}`: {}",
                    names.join("` in `"),
                    diagnostic.message
                );
            }
            // A warning inside a plugin is for its author, who is told when it is loaded.
            if diagnostic.severity == Severity::Warning && diagnostic.span == *place {
                return;
            }
        }
        self.diagnostics.push(diagnostic);
    }
}
