//! Kestra 1.x `conditions` and `preconditions`, as `when`, `dependsOn` and `window` (rule R6).

use serde_json::{Map, Value, json};

use super::super::catalogue::{self, CONDITIONS, PropType, TRIGGER, TypeInfo, find_prop};
use super::super::diagnostic::{Diagnostic, Diagnostics, Rule};
use super::super::plugins::Plugins;
use super::super::yaml::{Node, Yaml};
use super::Reader;
use super::convert::short;
use super::fields::{Field, nearest};
use super::tasks::start_of;

/// Where Kestra's conditions lived, newest first.
const PREFIXES: &[&str] = &[
    "io.kestra.plugin.core.condition.",
    "io.kestra.core.models.conditions.types.",
];

/// States in which executions end.
const ENDS: &[&str] = &["SUCCESS", "WARNING", "FAILED", "KILLED", "CANCELLED"];

/// The name of a condition without its package and its old ending.
pub(super) fn short_name(name: &str) -> &str {
    PREFIXES
        .iter()
        .find_map(|prefix| name.strip_prefix(prefix))
        .unwrap_or(name)
        .trim_end_matches("Condition")
}

/// Whether a namespace is meant as it stands.
fn is_exact(item: &Node) -> bool {
    let prefix = item
        .get("prefix")
        .is_some_and(|node| matches!(node.value, Yaml::Bool(true)));
    let comparison = item.get("comparison").and_then(Node::as_str);
    !prefix && comparison.is_none_or(|comparison| comparison.eq_ignore_ascii_case("EQUALS"))
}

/// `in` and `notIn` as the states that count.
pub(super) fn states_of(item: &Node) -> Vec<String> {
    let states = |node: Option<&Node>| -> Option<Vec<String>> {
        let names = node?.as_seq()?.iter().filter_map(Node::as_str);
        Some(
            names
                .map(|name| name.to_ascii_uppercase().replace("CANCELED", "CANCELLED"))
                .collect(),
        )
    };
    let unwanted = states(item.get("notIn")).unwrap_or_default();
    let wanted = states(item.get("in"));
    let wanted = wanted.unwrap_or_else(|| ENDS.iter().map(ToString::to_string).collect());
    wanted
        .into_iter()
        .filter(|state| !unwanted.contains(state))
        .collect()
}

/// What `conditions` or `preconditions` of a trigger mean in the words of version 2; none when that cannot be said.
pub(in super::super) fn renewed(
    source: &str,
    trigger: &Node,
    name: &str,
) -> Option<Map<String, Value>> {
    let plugins = Plugins::default();
    let mut reader = Reader::new(source, &plugins);
    let info = catalogue::trigger_type(trigger.get("type")?.as_str()?)?;
    let entries: Vec<_> = trigger
        .as_map()?
        .iter()
        .map(|(key, node)| (key, node))
        .collect();
    let fields = reader.fields_of(
        &entries,
        &[info.props, TRIGGER],
        "the trigger",
        &trigger.span,
    );
    reader.diagnostics = Diagnostics::new();
    let field = fields.get(name)?;
    let mut props = Map::new();
    if name == "conditions" {
        reader.conditions(field, info, &mut props);
    } else {
        reader.preconditions(field, &mut props);
    }
    (!reader.diagnostics.has_errors()).then_some(props)
}

impl Reader<'_> {
    /// Lowers a list of conditions: all must hold.
    pub(super) fn conditions(
        &mut self,
        field: Field<'_>,
        info: &TypeInfo,
        props: &mut Map<String, Value>,
    ) {
        let Some(items) = field.value.as_seq() else {
            self.wrong_type(field.value, "`conditions`", "a list");
            return;
        };
        let of_flow = info.name.ends_with(".Flow");
        let (mut flow, mut flows, mut terms) = (Map::new(), Vec::new(), Vec::new());
        let only = items.len() == 1 && !props.contains_key("when");
        for item in items {
            let name = item.get("type").and_then(Node::as_str).unwrap_or_default();
            match short_name(name) {
                // Alone it may be any template.
                "Expression" if only => self.expression_condition(item, props),
                "ExecutionStatus" if of_flow => self.status_condition(item, &mut flow),
                "ExecutionFlow" if of_flow => {
                    self.copy(item, &["namespace", "flowId"], &mut flow);
                }
                "ExecutionNamespace" if of_flow && is_exact(item) => {
                    self.copy(item, &["namespace"], &mut flow);
                }
                "MultipleCondition" | "Multiple" if of_flow => {
                    self.multiple(item, &mut flows, props);
                }
                _ => terms.extend(self.filter(item, 0)),
            }
        }
        self.all_hold(terms, field.value, props);
        if let Some(states) = flow.get("states").cloned().filter(|_| !flows.is_empty()) {
            // What is said of states counts for each of the flows.
            flow.remove("states");
            for one in flows.iter_mut().filter_map(Value::as_object_mut) {
                one.insert("states".to_owned(), states.clone());
            }
        }
        if !flow.is_empty() {
            flows.push(Value::Object(flow));
        }
        if of_flow && flows.is_empty() && !items.is_empty() && !props.contains_key("dependsOn") {
            // Any flow, as far as `when` holds.
            flows.push(json!({}));
        }
        if !flows.is_empty() {
            let list = props.entry("dependsOn").or_insert_with(|| json!([]));
            if let Value::Array(list) = list {
                list.extend(flows);
            }
        }
    }

    pub(super) fn unknown_condition(&mut self, node: &Node, name: &str) {
        let help = match name {
            "PublicHoliday" => {
                "keep the days in `variables` and write `when: \"{{ not (vars.holidays contains (trigger.date | \
                 date('yyyy-MM-dd'))) }}\"`"
                    .to_owned()
            }
            "MultipleCondition" | "Multiple" => {
                "write `dependsOn` with several flows and `window`".to_owned()
            }
            "Variable" | "HasRetryAttempt" | "FlowNamespace" | "Flow" => {
                "write `when` with an expression over `trigger.*`".to_owned()
            }
            _ => nearest(name, CONDITIONS.iter().copied()).map_or_else(
                || "write `when` with an expression over `trigger.*`".to_owned(),
                |near| format!("did you mean `{near}`?"),
            ),
        };
        self.push(
            Diagnostic::error(
                Rule::NotSupported,
                node.span.clone(),
                format!("the condition `{}` is not supported", short(name)),
            )
            .with_help(help),
        );
    }

    fn expression_condition(&mut self, item: &Node, props: &mut Map<String, Value>) {
        let Some(node) = item.get("expression") else {
            self.push(Diagnostic::error(
                Rule::MissingProperty,
                start_of(item),
                "the condition has no `expression`",
            ));
            return;
        };
        let Some(condition) = self.condition(node, "`expression`") else {
            return;
        };
        match props.get("when") {
            Some(_) => self.push(
                Diagnostic::error(
                    Rule::Exclusive,
                    node.span.clone(),
                    "several conditions are given, and `when` is one",
                )
                .with_help("join them with `and` in one `when`"),
            ),
            None => {
                props.insert("when".to_owned(), Value::from(condition));
            }
        }
    }

    /// `in` and `notIn` as the states that count.
    fn status_condition(&mut self, item: &Node, flow: &mut Map<String, Value>) {
        let counted = states_of(item);
        if let Some(wrong) = counted.iter().find(|state| !ENDS.contains(&state.as_str())) {
            self.push(
                Diagnostic::error(
                    Rule::InvalidValue,
                    item.span.clone(),
                    format!(
                        "`{}` is not a state in which an execution ends",
                        short(wrong)
                    ),
                )
                .with_help(format!("there are {}", ENDS.join(", "))),
            );
        }
        flow.insert("states".to_owned(), json!(counted));
    }

    pub(super) fn copy(&mut self, item: &Node, names: &[&str], flow: &mut Map<String, Value>) {
        for name in names {
            if let Some(node) = item.get(name)
                && let Some(text) = self.text(node, false, &format!("`{name}`"))
            {
                flow.insert((*name).to_owned(), Value::from(text));
            }
        }
    }

    /// Kestra 1.x `preconditions` of the `flow` trigger.
    pub(super) fn preconditions(&mut self, field: Field<'_>, props: &mut Map<String, Value>) {
        let Some(PropType::Object(table)) =
            find_prop(std::slice::from_ref(field.info), field.info.name).map(|info| info.ty)
        else {
            return;
        };
        let Some(fields) = self.fields(field.value, &[table], "`preconditions`", &field.value.span)
        else {
            return;
        };
        if let Some(flows) = fields.get("flows")
            && let Some(value) = self.field(flows)
        {
            props.insert("dependsOn".to_owned(), value);
        }
        let mut window = Map::new();
        if let Some(node) = fields.value("timeWindow") {
            self.time_window(node, &mut window);
        }
        if let Some(node) = fields.value("resetOnSuccess")
            && let Yaml::Bool(once) = node.value
        {
            window.insert("fireOnce".to_owned(), Value::Bool(once));
        }
        if window.keys().any(|key| key != "fireOnce") {
            props.insert("window".to_owned(), Value::Object(window));
        }
    }

    fn time_window(&mut self, node: &Node, window: &mut Map<String, Value>) {
        let kind = node
            .get("type")
            .and_then(Node::as_str)
            .unwrap_or("DURATION_WINDOW");
        let pairs: &[(&str, &str)] = match kind {
            "DAILY_TIME_DEADLINE" => &[("deadline", "deadline")],
            "DAILY_TIME_WINDOW" => &[("startTime", "from"), ("endTime", "to")],
            "SLIDING_WINDOW" => &[("window", "lookback")],
            _ => &[("window", "every"), ("windowAdvance", "offset")],
        };
        for (from, to) in pairs {
            let Some(value) = node.get(from) else {
                continue;
            };
            let what = format!("`{from}`");
            let converted = if matches!(*from, "window" | "windowAdvance") {
                self.convert(value, &PropType::Duration, false, &what)
            } else {
                self.text(value, false, &what).map(Value::from)
            };
            if let Some(converted) = converted {
                window.insert((*to).to_owned(), converted);
            }
        }
    }
}
