//! Kestra 1.x conditions as expressions of `when`: days, times, what ended, and their combinations.

use jiff::Timestamp;
use jiff::civil::Time;
use serde_json::{Map, Value, json};

use super::super::catalogue::PropType;
use super::super::diagnostic::{Diagnostic, Rule};
use super::super::yaml::{Node, Yaml};
use super::Reader;
use super::conditions::{short_name, states_of};
use super::convert::short;
use super::tasks::start_of;
use crate::expr::calendar;

/// Which of a month.
const PLACES: [&str; 5] = ["FIRST", "SECOND", "THIRD", "FOURTH", "LAST"];
/// Conditions inside conditions.
const DEPTH_MAX: usize = 8;

/// What is inside `{{ … }}`, if that is all there is.
pub(super) fn inner(template: &str) -> Option<&str> {
    let text = template.trim().strip_prefix("{{")?.strip_suffix("}}")?;
    (!text.contains("{{") && !text.contains("{%")).then(|| text.trim())
}

/// A text as a literal of an expression.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

impl Reader<'_> {
    /// A condition as an expression. None after what is wrong was reported.
    pub(super) fn filter(&mut self, item: &Node, depth: usize) -> Option<String> {
        let type_node = item.get("type");
        let Some(type_node) = type_node else {
            self.push(Diagnostic::error(
                Rule::MissingProperty,
                start_of(item),
                "a condition has no `type`",
            ));
            return None;
        };
        let name = self.text(type_node, false, "`type`")?;
        match short_name(&name) {
            "Expression" | "ExecutionOutputs" => self.expression(item),
            "Weekend" => Some(format!("isWeekend({})", self.date(item)?)),
            "DayWeek" => {
                let day = self.word_of(item, "dayOfWeek", &calendar::NAMES)?;
                Some(format!("dayOfWeek({}) == '{day}'", self.date(item)?))
            }
            "DayWeekInMonth" => {
                let day = self.word_of(item, "dayOfWeek", &calendar::NAMES)?;
                let place = self.word_of(item, "dayInMonth", &PLACES)?;
                let date = self.date(item)?;
                Some(format!("isDayWeekInMonth({date}, '{day}', '{place}')"))
            }
            "DateTimeBetween" => self.between(
                item,
                |reader, node| {
                    let text = reader.text(node, false, "the time")?;
                    let good = text.parse::<Timestamp>().is_ok();
                    let moment = good.then(|| format!("({} | timestampMilli)", quoted(&text)));
                    reader.or_wrong(
                        moment,
                        node,
                        "a time with its offset, such as 2026-06-01T00:00:00Z",
                    )
                },
                |date, _| format!("({date} | timestampMilli)"),
            ),
            "TimeBetween" => self.between(
                item,
                |reader, node| {
                    let text = reader.text(node, false, "the time of day")?;
                    let (time, _) = of_day(&text);
                    let time = time
                        .parse::<Time>()
                        .ok()
                        .map(|time| format!("'{}'", time.strftime("%H:%M:%S")));
                    reader.or_wrong(
                        time,
                        node,
                        "a time of day with its offset, such as 02:30:00+02:00",
                    )
                },
                |date, bound| {
                    let (_, offset) = of_day(bound);
                    match offset {
                        Some(offset) => format!("({date} | date('HH:mm:ss', timeZone='{offset}'))"),
                        None => format!("({date} | date('HH:mm:ss'))"),
                    }
                },
            ),
            "ExecutionStatus" => {
                let states = states_of(item);
                let texts: Vec<String> = states.iter().map(|state| quoted(state)).collect();
                Some(format!("trigger.state in [{}]", texts.join(", ")))
            }
            "ExecutionFlow" => {
                let parts = [("namespace", "namespace"), ("flowId", "flowId")];
                let mut terms = Vec::new();
                for (property, field) in parts {
                    if let Some(node) = item.get(property) {
                        let text = self.text(node, false, &format!("`{property}`"))?;
                        terms.push(format!("trigger.{field} == {}", quoted(&text)));
                    }
                }
                self.or_wrong(
                    (!terms.is_empty()).then(|| terms.join(" and ")),
                    item,
                    "a condition with `namespace` and `flowId`",
                )
            }
            "ExecutionNamespace" => self.namespace_holds(item),
            "ExecutionLabels" => self.labels_hold(item),
            "Not" => {
                let terms = self.nested(item, depth)?;
                Some(format!("not ({})", terms.join(" or ")))
            }
            "Or" => self.nested(item, depth).map(|terms| terms.join(" or ")),
            "And" => self.nested(item, depth).map(|terms| terms.join(" and ")),
            other => {
                self.unknown_condition(type_node, other);
                None
            }
        }
    }

    /// `found`, or what was expected at that place.
    fn or_wrong(&mut self, found: Option<String>, node: &Node, expected: &str) -> Option<String> {
        if found.is_none() {
            self.push(Diagnostic::error(
                Rule::InvalidValue,
                start_of(node),
                format!("expected {expected}"),
            ));
        }
        found
    }

    fn lacks(&mut self, item: &Node, name: &str) {
        self.push(Diagnostic::error(
            Rule::MissingProperty,
            start_of(item),
            format!("the condition has no `{name}`"),
        ));
    }

    /// Each of the inner conditions in parentheses.
    fn nested(&mut self, item: &Node, depth: usize) -> Option<Vec<String>> {
        let Some(items) = item.get("conditions").and_then(Node::as_seq) else {
            self.lacks(item, "conditions");
            return None;
        };
        if depth >= DEPTH_MAX {
            return self
                .or_wrong(
                    None,
                    item,
                    &format!("{DEPTH_MAX} conditions inside each other at most"),
                )
                .map(|text| vec![text]);
        }
        let mut terms = Vec::new();
        for item in items {
            terms.push(format!("({})", self.filter(item, depth + 1)?));
        }
        if terms.is_empty() {
            self.lacks(item, "conditions");
            return None;
        }
        Some(terms)
    }

    fn expression(&mut self, item: &Node) -> Option<String> {
        let Some(node) = item.get("expression") else {
            self.lacks(item, "expression");
            return None;
        };
        let text = self.condition(node, "`expression`")?;
        match inner(&text) {
            Some(inner) => Some(inner.to_owned()),
            None if matches!(text.as_str(), "true" | "false") => Some(text),
            None => {
                self.push(
                    Diagnostic::error(
                        Rule::Exclusive,
                        node.span.clone(),
                        "several conditions are given, and this one is not one expression",
                    )
                    .with_help(
                        "write it as one `{{ … }}`, or join all of them with `and` in one `when`",
                    ),
                );
                None
            }
        }
    }

    /// The date that a condition is about: `trigger.date` unless it says otherwise.
    fn date(&mut self, item: &Node) -> Option<String> {
        let Some(node) = item.get("date") else {
            return Some("trigger.date".to_owned());
        };
        let text = self.text(node, true, "`date`")?;
        Some(inner(&text).map_or_else(|| quoted(&text), str::to_owned))
    }

    fn word_of(&mut self, item: &Node, name: &str, words: &[&str]) -> Option<String> {
        let Some(node) = item.get(name) else {
            self.lacks(item, name);
            return None;
        };
        let text = self
            .text(node, false, &format!("`{name}`"))?
            .to_ascii_uppercase();
        let known = words.contains(&text.as_str());
        self.or_wrong(
            known.then_some(text),
            node,
            &format!("one of {}", words.join(", ")),
        )
    }

    /// `after` and `before`, one of them at least.
    fn between(
        &mut self,
        item: &Node,
        bound: impl Fn(&mut Self, &Node) -> Option<String>,
        moment: impl Fn(&str, &str) -> String,
    ) -> Option<String> {
        let date = self.date(item)?;
        let mut terms = Vec::new();
        for (name, sign) in [("after", ">"), ("before", "<")] {
            if let Some(node) = item.get(name) {
                let limit = bound(self, node)?;
                let given = node.as_str().unwrap_or_default();
                terms.push(format!("{} {sign} {limit}", moment(&date, given)));
            }
        }
        if terms.is_empty() {
            self.lacks(item, "after");
            return None;
        }
        Some(terms.join(" and "))
    }

    fn namespace_holds(&mut self, item: &Node) -> Option<String> {
        let Some(node) = item.get("namespace") else {
            self.lacks(item, "namespace");
            return None;
        };
        let text = quoted(&self.text(node, false, "`namespace`")?);
        let comparison = match item.get("comparison") {
            Some(_) => self.word_of(item, "comparison", &["EQUALS", "PREFIX", "SUFFIX"])?,
            None if item
                .get("prefix")
                .is_some_and(|node| matches!(node.value, Yaml::Bool(true))) =>
            {
                "PREFIX".to_owned()
            }
            None => "EQUALS".to_owned(),
        };
        Some(match comparison.as_str() {
            "PREFIX" => format!("(trigger.namespace | startsWith({text}))"),
            "SUFFIX" => format!("(trigger.namespace | endsWith({text}))"),
            _ => format!("trigger.namespace == {text}"),
        })
    }

    /// Kestra's two forms: a map, and a list of `key` and `value`.
    fn labels_hold(&mut self, item: &Node) -> Option<String> {
        let Some(node) = item.get("labels") else {
            self.lacks(item, "labels");
            return None;
        };
        let mut terms = Vec::new();
        let mut term = |key: &str, value: Option<&str>| {
            let value = quoted(value.unwrap_or_default());
            terms.push(format!(
                "(trigger.labels[{}] ?? '') == {value}",
                quoted(key)
            ));
        };
        for (key, value) in node.as_map().unwrap_or_default() {
            term(&key.name, value.as_str());
        }
        for pair in node.as_seq().unwrap_or_default() {
            let key = pair.get("key").and_then(Node::as_str).unwrap_or_default();
            term(key, pair.get("value").and_then(Node::as_str));
        }
        let found = (!terms.is_empty()).then(|| terms.join(" and "));
        self.or_wrong(found, node, "labels with their values")
    }

    /// Kestra 0.x `MultipleCondition`: several flows within a window, as `dependsOn` and `window`.
    pub(super) fn multiple(
        &mut self,
        item: &Node,
        flows: &mut Vec<Value>,
        props: &mut Map<String, Value>,
    ) {
        let Some(entries) = item.get("conditions").and_then(Node::as_map) else {
            self.lacks(item, "conditions");
            return;
        };
        for (_, entry) in entries {
            let name = entry.get("type").and_then(Node::as_str).unwrap_or_default();
            if short_name(name) != "ExecutionFlow" {
                self.push(
                    Diagnostic::error(
                        Rule::NotSupported,
                        start_of(entry),
                        format!(
                            "the condition `{}` inside `MultipleCondition` is not supported",
                            short(name)
                        ),
                    )
                    .with_help(
                        "write `dependsOn` with several flows, each with `states` and `when`",
                    ),
                );
                continue;
            }
            let mut flow = Map::new();
            self.copy(entry, &["namespace", "flowId"], &mut flow);
            flows.push(Value::Object(flow));
        }
        let mut window = Map::new();
        for (from, to) in [("window", "every"), ("windowAdvance", "offset")] {
            if let Some(node) = item.get(from)
                && let Some(value) =
                    self.convert(node, &PropType::Duration, false, &format!("`{from}`"))
            {
                window.insert(to.to_owned(), value);
            }
        }
        if !window.is_empty() {
            props.insert("window".to_owned(), json!(window));
        }
    }

    /// All of these hold, and what `when` says already.
    pub(super) fn all_hold(
        &mut self,
        mut terms: Vec<String>,
        at: &Node,
        props: &mut Map<String, Value>,
    ) {
        if terms.is_empty() {
            return;
        }
        if let Some(when) = props.get("when").and_then(Value::as_str) {
            let Some(inner) = inner(when) else {
                self.push(
                    Diagnostic::error(
                        Rule::Exclusive,
                        start_of(at),
                        "`when` and conditions are given, and `when` is not one expression",
                    )
                    .with_help("write `when` as one `{{ … }}`"),
                );
                return;
            };
            terms.insert(0, inner.to_owned());
        }
        let when = match terms.as_slice() {
            [one] => format!("{{{{ {one} }}}}"),
            many => {
                let many: Vec<String> = many.iter().map(|term| format!("({term})")).collect();
                format!("{{{{ {} }}}}", many.join(" and "))
            }
        };
        props.insert("when".to_owned(), Value::from(when));
    }
}

/// A time of day and its offset, which begins with a sign or is `Z`.
fn of_day(text: &str) -> (&str, Option<&str>) {
    if let Some(time) = text.strip_suffix('Z') {
        return (time, Some("UTC"));
    }
    match text.rfind(['+', '-']) {
        Some(at) => (text.get(..at).unwrap_or(text), text.get(at..)),
        None => (text, None),
    }
}
