//! Kestra 1.x `conditions` and `preconditions`, as `when`, `dependsOn` and `window` (rule R6).

use serde_json::{Map, Value, json};

use super::super::catalogue::{CONDITIONS, PropType, TypeInfo, find_prop};
use super::super::diagnostic::{Diagnostic, Rule};
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
        let mut flow = Map::new();
        for item in items {
            let Some(type_node) = item.get("type") else {
                self.push(Diagnostic::error(
                    Rule::MissingProperty,
                    start_of(item),
                    "a condition has no `type`",
                ));
                continue;
            };
            let Some(name) = self.text(type_node, false, "`type`") else {
                continue;
            };
            let short_name = PREFIXES
                .iter()
                .find_map(|prefix| name.strip_prefix(prefix))
                .unwrap_or(&name)
                .trim_end_matches("Condition");
            match short_name {
                "Expression" => self.expression_condition(item, props),
                "ExecutionStatus" if of_flow => self.status_condition(item, &mut flow),
                "ExecutionFlow" if of_flow => {
                    self.copy(item, &["namespace", "flowId"], &mut flow);
                }
                "ExecutionNamespace" if of_flow => self.copy(item, &["namespace"], &mut flow),
                other => self.unknown_condition(type_node, other),
            }
        }
        if !flow.is_empty() {
            let list = props.entry("dependsOn").or_insert_with(|| json!([]));
            if let Value::Array(list) = list {
                list.push(Value::Object(flow));
            }
        }
    }

    fn unknown_condition(&mut self, node: &Node, name: &str) {
        let help = match name {
            "Weekend" | "DayWeek" | "DayWeekInMonth" | "PublicHoliday" | "DateTimeBetween"
            | "TimeBetween" => {
                "write `when` with `isWeekend(trigger.date)` and the like, or put the days into `cron`"
                    .to_owned()
            }
            "MultipleCondition" | "Multiple" => {
                "write `dependsOn` with several flows and `window`".to_owned()
            }
            "Or" | "Not" | "Variable" | "ExecutionOutputs" | "ExecutionLabels"
            | "HasRetryAttempt" => "write `when` with an expression over `trigger.*`".to_owned(),
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
        const ENDS: &[&str] = &["SUCCESS", "WARNING", "FAILED", "KILLED", "CANCELLED"];
        let states = |node: Option<&Node>| -> Option<Vec<String>> {
            let names = node?.as_seq()?.iter().filter_map(Node::as_str);
            Some(
                names
                    .map(|name| name.to_ascii_uppercase().replace("CANCELED", "CANCELLED"))
                    .collect(),
            )
        };
        let wanted = states(item.get("in"));
        let unwanted = states(item.get("notIn")).unwrap_or_default();
        let counted: Vec<String> = match wanted {
            Some(wanted) => wanted
                .into_iter()
                .filter(|state| !unwanted.contains(state))
                .collect(),
            None => ENDS
                .iter()
                .filter(|state| !unwanted.iter().any(|other| other == *state))
                .map(ToString::to_string)
                .collect(),
        };
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

    fn copy(&mut self, item: &Node, names: &[&str], flow: &mut Map<String, Value>) {
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
