//! Triggers: what starts the flow, checked against its inputs.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::super::catalogue::{self, TRIGGER, TypeInfo, elsewhere};
use super::super::diagnostic::{Diagnostic, Rule};
use super::super::inputs::check_value;
use super::super::limits::TRIGGERS_MAX;
use super::super::members;
use super::super::model::{Input, Span, Trigger};
use super::super::yaml::{Key, Node};
use super::convert::short;
use super::fields::{Fields, nearest};
use super::inputs::holds_template;
use super::tasks::start_of;
use super::{Here, Reader};

impl Reader<'_> {
    pub(super) fn triggers(&mut self, node: &Node, inputs: &[Input]) -> Vec<Trigger> {
        let Some(items) = node.as_seq() else {
            if !node.is_null() {
                self.wrong_type(node, "`triggers`", "a list of triggers");
            }
            return Vec::new();
        };
        if items.len() > TRIGGERS_MAX {
            self.limit(
                node,
                &format!("there are {} triggers", items.len()),
                TRIGGERS_MAX,
            );
            return Vec::new();
        }
        let mut triggers = Vec::new();
        let mut places: BTreeMap<String, Span> = BTreeMap::new();
        for item in items {
            let Some(trigger) = self.trigger(item, inputs) else {
                continue;
            };
            let place = item
                .get("id")
                .map_or_else(|| start_of(item), |id| id.span.clone());
            if let Some(first) = places.get(&trigger.id) {
                let message = format!("two triggers have the id `{}`", trigger.id);
                self.push(
                    Diagnostic::error(Rule::DuplicateId, place, message)
                        .with_label(first.clone(), "the first is here")
                        .with_help("choose another name"),
                );
            } else {
                places.insert(trigger.id.clone(), place);
            }
            triggers.push(trigger);
        }
        triggers
    }

    fn trigger(&mut self, item: &Node, inputs: &[Input]) -> Option<Trigger> {
        let Some(entries) = item.as_map() else {
            self.wrong_type(item, "a trigger", "a mapping");
            return None;
        };
        let place = item
            .get("id")
            .map_or_else(|| start_of(item), |id| id.span.clone());
        let Some(type_node) = item.get("type") else {
            self.push(
                Diagnostic::error(Rule::MissingProperty, place, "a trigger has no `type`")
                    .with_help("add a type, such as `type: schedule`"),
            );
            return None;
        };
        let name = self.text(type_node, false, "`type`")?;
        let Some(info) = catalogue::trigger_type(&name) else {
            self.unknown_trigger(type_node, &name);
            // Nothing is said of what it would give.
            self.trigger_types.push("");
            return None;
        };
        let defaults = std::rc::Rc::clone(&self.defaults);
        let mut entries: Vec<(&Key, &Node)> =
            entries.iter().map(|(key, value)| (key, value)).collect();
        defaults.merge(&mut entries, &name, info, &[]);
        let mut names = info.aliases.iter().copied();
        let short_name = names.find(|name| members::of_trigger(name).is_some());
        let short_name = short_name.unwrap_or(info.name);
        self.trigger_types.push(short_name);
        self.here = Here {
            before: true,
            extra: &["response"],
            trigger: Some(short_name),
            ..Here::default()
        };
        let trigger = self.known_trigger(&entries, info, &place, inputs);
        self.here = Here::default();
        trigger
    }

    fn unknown_trigger(&mut self, node: &Node, name: &str) {
        if catalogue::task_type(name).is_some() || self.plugins.get(name).is_some() {
            self.push(
                Diagnostic::error(
                    Rule::UnknownType,
                    node.span.clone(),
                    format!("`{}` is a task, not a trigger", short(name)),
                )
                .with_help("write it under `tasks`"),
            );
            return;
        }
        let names: Vec<&str> = catalogue::trigger_types()
            .flat_map(|info| std::iter::once(info.name).chain(info.aliases.iter().copied()))
            .collect();
        let near = nearest(name, names).map(|near| format!("did you mean `{near}`?"));
        let (rule, message) = if elsewhere(name).is_some() || name.starts_with("io.kestra.") {
            (
                Rule::NoRunner,
                format!(
                    "`{}` is a trigger of Kestra that does not exist here",
                    short(name)
                ),
            )
        } else {
            (
                Rule::UnknownType,
                format!("there is no trigger type `{}`", short(name)),
            )
        };
        let help = near.unwrap_or_else(|| {
            "there are `schedule`, `dates`, `flow`, `webhook`, `s3`, `sqs`, `sns`, `eventbridge`, `cloudwatch`, `postgres` and `http`; anything else can call a `webhook`".to_owned()
        });
        self.push(Diagnostic::error(rule, node.span.clone(), message).with_help(help));
    }

    fn known_trigger(
        &mut self,
        entries: &[(&Key, &Node)],
        info: &'static TypeInfo,
        place: &Span,
        inputs: &[Input],
    ) -> Option<Trigger> {
        let fields = self.fields_of(entries, &[info.props, TRIGGER], "the trigger", place);
        let id_node = fields.value("id")?;
        let id = self.text(id_node, false, "`id`")?;
        self.check_id(id_node, &id, "the id of a trigger");
        let mut props = Map::new();
        for &field in &fields.all {
            let name = field.info.name;
            if matches!(
                name,
                "id" | "type"
                    | "disabled"
                    | "description"
                    | "conditions"
                    | "preconditions"
                    | "inputs"
            ) {
                continue;
            }
            if let Some(value) = self.field(field) {
                props.insert(name.to_owned(), value);
            }
        }
        if let Some(field) = fields.get("description")
            && let Some(text) = self.text(field.value, false, "`description`")
        {
            props.insert("description".to_owned(), Value::from(text));
        }
        if let Some(field) = fields.get("conditions") {
            self.conditions(field, info, &mut props);
        }
        if let Some(field) = fields.get("preconditions") {
            self.preconditions(field, &mut props);
        }
        self.trigger_inputs(&fields, inputs, place, &mut props);
        self.trigger_rules(&fields, info, &props, place);
        let disabled = self.flag(&fields, "disabled", false);
        Some(Trigger {
            id,
            trigger_type: info.name.to_owned(),
            disabled,
            props,
        })
    }

    /// The values a trigger gives: for inputs that exist, of their type, and all that are required.
    fn trigger_inputs(
        &mut self,
        fields: &Fields<'_>,
        inputs: &[Input],
        place: &Span,
        props: &mut Map<String, Value>,
    ) {
        let mut given = Map::new();
        if let Some(field) = fields.get("inputs") {
            for (key, node) in field.value.as_map().unwrap_or_default() {
                self.trigger_input(key, node, inputs, &mut given);
            }
            if field.value.as_map().is_none() {
                self.wrong_type(field.value, "`inputs`", "a mapping");
            }
        }
        for input in inputs {
            let optional = !input.required
                || input.defaults.is_some()
                || input.auto_select_first
                || input.depends_on.is_some();
            let is_given = given.keys().any(|key| {
                *key == input.id
                    || input
                        .id
                        .strip_prefix(key.as_str())
                        .is_some_and(|rest| rest.starts_with('.'))
            });
            if !optional && !is_given {
                let span = fields
                    .get("inputs")
                    .map_or_else(|| place.clone(), |field| field.key.span.clone());
                self.push(
                    Diagnostic::error(
                        Rule::TriggerInput,
                        span,
                        format!("the trigger gives no value for the required input `{}`", input.id),
                    )
                    .with_help(format!(
                        "add `inputs: {{{}: \"{{{{ trigger.… }}}}\"}}`, or give the input `defaults`",
                        input.id
                    )),
                );
            }
        }
        if !given.is_empty() {
            props.insert("inputs".to_owned(), Value::Object(given));
        }
    }

    fn trigger_input(
        &mut self,
        key: &Key,
        node: &Node,
        inputs: &[Input],
        given: &mut Map<String, Value>,
    ) {
        let what = format!("input `{}`", short(&key.name));
        let Some(value) = self.convert(node, &catalogue::PropType::Any, true, &what) else {
            return;
        };
        if let Some(input) = inputs.iter().find(|input| input.id == key.name) {
            if !holds_template(&value)
                && input.expression.is_none()
                && let Err(reason) = check_value(input, &value, &input.values)
            {
                self.push(
                    Diagnostic::error(
                        Rule::TriggerInput,
                        node.span.clone(),
                        format!("{what}: {reason}"),
                    )
                    .with_help("the value must be one that the input accepts"),
                );
            }
        } else if !inputs
            .iter()
            .any(|input| input.id.starts_with(&format!("{}.", key.name)))
        {
            let help = nearest(&key.name, inputs.iter().map(|input| input.id.as_str()))
                .map_or_else(
                    || "declare it under `inputs` of the flow".to_owned(),
                    |near| format!("did you mean `{near}`?"),
                );
            self.push(
                Diagnostic::error(
                    Rule::UnknownInput,
                    key.span.clone(),
                    format!("the flow has no input `{}`", short(&key.name)),
                )
                .with_help(help),
            );
        }
        given.insert(key.name.clone(), value);
    }
}
