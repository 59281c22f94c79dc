//! Triggers: what starts the flow, checked against its inputs.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::super::catalogue::{self, TRIGGER, TypeInfo, elsewhere};
use super::super::cron::Cron;
use super::super::diagnostic::{Diagnostic, Rule};
use super::super::inputs::check_value;
use super::super::limits::TRIGGERS_MAX;
use super::super::model::{Input, Span, Trigger};
use super::super::yaml::{Key, Node};
use super::convert::short;
use super::fields::{Field, Fields, nearest};
use super::inputs::holds_template;
use super::tasks::start_of;
use super::templates::has_template;
use super::{Here, Reader};

/// Characters of a webhook's key: it is all that keeps strangers out.
const WEBHOOK_KEY_CHARS_MIN: usize = 16;
/// Least time between two looks of a polling trigger, in milliseconds.
const POLL_MS_MIN: u64 = 1_000;

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
            return None;
        };
        let defaults = std::rc::Rc::clone(&self.defaults);
        let mut entries: Vec<(&Key, &Node)> =
            entries.iter().map(|(key, value)| (key, value)).collect();
        defaults.merge(&mut entries, &name, info, &[]);
        self.here = Here {
            before: true,
            extra: &["response"],
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

    /// Rules of single types.
    fn trigger_rules(
        &mut self,
        fields: &Fields<'_>,
        info: &TypeInfo,
        props: &Map<String, Value>,
        place: &Span,
    ) {
        if let Some(field) = fields.get("cron") {
            self.cron(field, props.get("withSeconds") == Some(&Value::Bool(true)));
        }
        if let Some(field) = fields.get("timezone") {
            self.timezone(field);
        }
        if let Some(field) = fields.get("regexp") {
            self.pattern(field);
        }
        if let Some(field) = fields.get("dates") {
            self.dates(field, props);
        }
        if let Some(field) = fields
            .get("interval")
            .filter(|_| props.contains_key("interval"))
            && let Some(ms) = self.constant_duration(field.value, "`interval`")
            && ms < POLL_MS_MIN
        {
            self.push(
                Diagnostic::error(
                    Rule::OutOfRange,
                    field.value.span.clone(),
                    "`interval` is too short",
                )
                .with_help("write at least `PT1S`"),
            );
        }
        match info.name.rsplit('.').next() {
            Some("Webhook") => self.webhook(fields),
            Some("Flow") => self.flow_trigger(fields, props, place),
            _ => {}
        }
        if props.get("action") == Some(&Value::from("MOVE")) && !props.contains_key("moveTo") {
            self.push(
                Diagnostic::error(
                    Rule::MissingProperty,
                    place.clone(),
                    "`action: MOVE` has no `moveTo`",
                )
                .with_help("add `moveTo: {bucket: …, key: …}`"),
            );
        }
        if let Some(field) = fields.get("password")
            && field.value.as_str().is_some_and(|text| !has_template(text))
        {
            self.push(
                Diagnostic::warning(
                    Rule::PlainSecret,
                    field.value.span.clone(),
                    "`password` is written in plain text",
                )
                .with_help("store it as a secret and write `\"{{ secret('NAME') }}\"`"),
            );
        }
    }

    fn cron(&mut self, field: Field<'_>, with_seconds: bool) {
        let Some(text) = field.value.as_str() else {
            return;
        };
        if let Err(error) = Cron::parse(text, with_seconds) {
            self.push(
                Diagnostic::error(
                    Rule::InvalidCron,
                    field.value.span.clone(),
                    error.to_string(),
                )
                .with_help("`0 2 * * *` is every day at two"),
            );
        }
    }

    fn timezone(&mut self, field: Field<'_>) {
        let Some(name) = field.value.as_str() else {
            return;
        };
        if jiff::tz::TimeZone::get(name).is_err() {
            let zones: Vec<String> = jiff::tz::db()
                .available()
                .map(|zone| zone.as_str().to_owned())
                .collect();
            let help = nearest(name, zones.iter().map(String::as_str)).map_or_else(
                || "write a name such as `Europe/Zurich` or `Etc/UTC`".to_owned(),
                |near| format!("did you mean `{near}`?"),
            );
            self.push(
                Diagnostic::error(
                    Rule::InvalidValue,
                    field.value.span.clone(),
                    format!("there is no time zone `{}`", short(name)),
                )
                .with_help(help),
            );
        }
    }

    fn pattern(&mut self, field: Field<'_>) {
        let Some(text) = field.value.as_str() else {
            return;
        };
        if regex::Regex::new(text).is_err() {
            self.push(
                Diagnostic::error(
                    Rule::InvalidRegex,
                    field.value.span.clone(),
                    format!("`{}` is not a regular expression", field.key.name),
                )
                .with_help("look-around and back-references are not known; quote the text if it has backslashes"),
            );
        }
    }

    fn dates(&mut self, field: Field<'_>, props: &Map<String, Value>) {
        let zone = props.contains_key("timezone");
        for node in field.value.as_seq().unwrap_or_default() {
            let Some(text) = node.as_str() else { continue };
            let good = text.parse::<jiff::Timestamp>().is_ok()
                || zone && text.parse::<jiff::civil::DateTime>().is_ok();
            if !good {
                self.push(
                    Diagnostic::error(
                        Rule::InvalidValue,
                        node.span.clone(),
                        format!("`{}` is not a date with time and offset", short(text)),
                    )
                    .with_help("write `2030-01-01T00:00:00Z`, or add `timezone`"),
                );
            }
        }
    }

    fn webhook(&mut self, fields: &Fields<'_>) {
        let Some(field) = fields.get("key") else {
            return;
        };
        let Some(text) = field.value.as_str().filter(|text| !has_template(text)) else {
            return;
        };
        let safe = text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '~'));
        if text.chars().count() < WEBHOOK_KEY_CHARS_MIN && fields.get("signature").is_none() {
            self.push(
                Diagnostic::warning(
                    Rule::PlainSecret,
                    field.value.span.clone(),
                    format!("this key has fewer than {WEBHOOK_KEY_CHARS_MIN} characters and can be guessed"),
                )
                .with_help("use a long random one, best `\"{{ secret('NAME') }}\"`, or add `signature`"),
            );
        } else if !safe {
            self.push(
                Diagnostic::error(
                    Rule::InvalidValue,
                    field.value.span.clone(),
                    "the key is part of an address and has characters that cannot stand there",
                )
                .with_help("use letters, digits, `-` and `_`"),
            );
        }
    }

    fn flow_trigger(&mut self, fields: &Fields<'_>, props: &Map<String, Value>, place: &Span) {
        if !props.contains_key("dependsOn") {
            self.push(
                Diagnostic::error(
                    Rule::MissingProperty,
                    place.clone(),
                    "the trigger has no `dependsOn`",
                )
                .with_help("add `dependsOn: [{flowId: …}]`"),
            );
        }
        let at_least = props.get("mode") == Some(&Value::from("AT_LEAST"));
        if at_least != props.contains_key("minSatisfied") {
            let span = fields
                .get("minSatisfied")
                .or_else(|| fields.get("mode"))
                .map_or_else(|| place.clone(), |field| field.key.span.clone());
            self.push(
                Diagnostic::error(
                    Rule::Exclusive,
                    span,
                    "`mode: AT_LEAST` and `minSatisfied` go together",
                )
                .with_help("write both, or neither"),
            );
        }
        if let Some(Value::Object(window)) = props.get("window") {
            let kinds = [
                window.contains_key("deadline"),
                window.contains_key("from") || window.contains_key("to"),
                window.contains_key("every"),
                window.contains_key("lookback"),
            ];
            if kinds.iter().filter(|kind| **kind).count() != 1 {
                let span = fields.get("window").or_else(|| fields.get("preconditions"));
                self.push(
                    Diagnostic::error(
                        Rule::Exclusive,
                        span.map_or_else(|| place.clone(), |field| field.key.span.clone()),
                        "a window is one of `deadline`, `from` and `to`, `every`, `lookback`",
                    )
                    .with_help("keep one"),
                );
            }
        }
    }
}
