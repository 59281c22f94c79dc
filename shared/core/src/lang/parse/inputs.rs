//! Typed parameters of a flow or a pause, and the values a flow returns.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::super::catalogue::{INPUT, INPUT_DEPENDS_ON, INPUT_TYPES, OUTPUT};
use super::super::diagnostic::{Diagnostic, Rule};
use super::super::inputs::{bound_error, check_value, schema_error};
use super::super::limits::{CHOICES_MAX, ID_CHARS_MAX, INPUTS_MAX, OUTPUTS_MAX};
use super::super::model::{FlowOutput, Input, InputCondition, InputType, Span};
use super::super::yaml::Node;
use super::Reader;
use super::convert::short;
use super::fields::{Fields, nearest};
use super::tasks::start_of;
use super::templates::has_template;

/// Properties that go with some types only.
const ONLY: &[(&str, &[InputType])] = &[
    (
        "min",
        &[
            InputType::Int,
            InputType::Float,
            InputType::Duration,
            InputType::Date,
            InputType::Time,
            InputType::DateTime,
        ],
    ),
    (
        "max",
        &[
            InputType::Int,
            InputType::Float,
            InputType::Duration,
            InputType::Date,
            InputType::Time,
            InputType::DateTime,
        ],
    ),
    ("validator", &[InputType::String, InputType::Secret]),
    ("values", &[InputType::Select, InputType::MultiSelect]),
    ("expression", &[InputType::Select, InputType::MultiSelect]),
    (
        "allowCustomValue",
        &[InputType::Select, InputType::MultiSelect],
    ),
    ("autoSelectFirst", &[InputType::Select]),
    ("allowedFileExtensions", &[InputType::File]),
    ("itemType", &[InputType::Array]),
    ("jsonSchema", &[InputType::Json]),
    ("properties", &[InputType::Object]),
    ("columns", &[InputType::Table]),
    ("rows", &[InputType::Table]),
];

/// Types that a property of an object and a column of a table cannot have, as Kestra has it.
const NOT_INSIDE: &[InputType] = &[
    InputType::Object,
    InputType::Table,
    InputType::Array,
    InputType::File,
    InputType::Secret,
    InputType::Json,
    InputType::Yaml,
];

impl Reader<'_> {
    /// Reads a list of inputs. Those of a flow become known to expressions, those of a pause do not.
    pub(super) fn inputs(&mut self, node: &Node, what: &str, of_flow: bool) -> Vec<Input> {
        let Some(items) = node.as_seq() else {
            if !node.is_null() {
                self.wrong_type(node, what, "a list of inputs");
            }
            return Vec::new();
        };
        if items.len() > INPUTS_MAX {
            self.limit(
                node,
                &format!("{what} has {} inputs", items.len()),
                INPUTS_MAX,
            );
            return Vec::new();
        }
        let mut inputs: Vec<Input> = Vec::new();
        let mut places: BTreeMap<String, Span> = BTreeMap::new();
        for item in items {
            let Some(input) = self.input(item, &inputs) else {
                continue;
            };
            self.unique_input(item, &input.id, &mut places);
            if of_flow {
                self.names.inputs.insert(input.id.clone());
            }
            inputs.push(input);
        }
        inputs
    }

    /// No two inputs have one id, and none is a group of another (`a` and `a.b`).
    fn unique_input(&mut self, item: &Node, id: &str, places: &mut BTreeMap<String, Span>) {
        let place = item
            .get("id")
            .map_or_else(|| start_of(item), |node| node.span.clone());
        let clash = places.iter().find(|(other, _)| {
            *other == id
                || id
                    .strip_prefix(other.as_str())
                    .is_some_and(|rest| rest.starts_with('.'))
                || other
                    .strip_prefix(id)
                    .is_some_and(|rest| rest.starts_with('.'))
        });
        if let Some((other, first)) = clash {
            let message = if other == id {
                format!("two inputs have the id `{id}`")
            } else {
                format!(
                    "input `{id}` and input `{other}` cannot both exist: one would be inside the other"
                )
            };
            let diagnostic = Diagnostic::error(Rule::DuplicateId, place, message)
                .with_label(first.clone(), "the first is here")
                .with_help("choose another name");
            self.push(diagnostic);
        } else {
            places.insert(id.to_owned(), place);
        }
    }

    fn input(&mut self, item: &Node, earlier: &[Input]) -> Option<Input> {
        let fields = self.fields(item, &[INPUT], "an input", &start_of(item))?;
        let id_node = fields.value("id")?;
        let id = self.text(id_node, false, "`id`")?;
        let good = id.split('.').all(|part| {
            part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                && part
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
        });
        self.check_name(
            id_node,
            &id,
            good,
            ID_CHARS_MAX,
            "the id of an input",
            "letters, digits, `_` and `-`, with dots between groups",
        );
        let input_type = self.input_type(fields.value("type")?)?;
        let mut input = Input {
            id,
            input_type,
            required: self.flag(&fields, "required", true),
            defaults: None,
            display_name: self.optional_text(&fields, "displayName"),
            description: self.description(&fields),
            depends_on: fields
                .value("dependsOn")
                .and_then(|node| self.input_condition(node, earlier)),
            min: fields.value("min").map(Node::to_json),
            max: fields.value("max").map(Node::to_json),
            validator: self.optional_text(&fields, "validator"),
            values: Vec::new(),
            expression: fields
                .value("expression")
                .and_then(|node| self.text(node, true, "`expression`")),
            allow_custom_value: self.flag(&fields, "allowCustomValue", false),
            auto_select_first: self.flag(&fields, "autoSelectFirst", false),
            allowed_file_extensions: self.text_list(&fields, "allowedFileExtensions"),
            item_type: fields
                .value("itemType")
                .and_then(|node| self.item_type(node)),
            json_schema: fields.value("jsonSchema").map(Node::to_json),
            properties: Vec::new(),
        };
        if let Some(node) = fields.value("values") {
            input.values = self.choices(node);
        }
        self.parts_of(&fields, &mut input);
        self.input_rules(&fields, &input);
        self.input_default(&fields, &mut input);
        Some(input)
    }

    fn input_type(&mut self, node: &Node) -> Option<InputType> {
        let name = self.one_of(node, INPUT_TYPES, "`type`")?;
        let name = match name {
            "BOOL" => "BOOLEAN",
            "ENUM" => "SELECT",
            "ION" => "JSON",
            other => other,
        };
        serde_json::from_value(Value::from(name)).ok()
    }

    /// The type of an array's items: one that needs nothing beside its name.
    fn item_type(&mut self, node: &Node) -> Option<InputType> {
        let found = self.input_type(node)?;
        if matches!(found, InputType::Object | InputType::Table) {
            self.push(
                Diagnostic::error(
                    Rule::NotForType,
                    node.span.clone(),
                    format!("items of a list cannot be {}", type_name(found)),
                )
                .with_help("write an input of the type TABLE, or `itemType: JSON`"),
            );
        }
        Some(found)
    }

    /// What an object or a row of a table has.
    fn parts_of(&mut self, fields: &Fields<'_>, input: &mut Input) {
        let name = if input.input_type == InputType::Object {
            "properties"
        } else if input.input_type == InputType::Table {
            "columns"
        } else {
            return;
        };
        let Some(field) = fields.get(name) else {
            let place = fields.get("type").map(|field| field.value.span.clone());
            let message = format!("input `{}` has no `{name}`", input.id);
            self.push(
                Diagnostic::error(Rule::MissingProperty, place.unwrap_or_default(), message)
                    .with_help(format!("add `{name}: [{{id: country, type: STRING}}]`")),
            );
            return;
        };
        input.properties = self.inputs(field.value, &format!("`{name}`"), false);
        if input.properties.is_empty() && field.value.as_seq().is_none_or(<[Node]>::is_empty) {
            self.wrong_type(
                field.value,
                &format!("`{name}`"),
                "a list of one input at least",
            );
        }
        for property in &input.properties {
            let why = if NOT_INSIDE.contains(&property.input_type) {
                Some(format!(
                    "{} cannot be inside",
                    type_name(property.input_type)
                ))
            } else if property.defaults.is_some()
                || property.depends_on.is_some()
                || property.expression.is_some()
            {
                Some("`defaults`, `dependsOn` and `expression` cannot be inside".to_owned())
            } else {
                None
            };
            if let Some(why) = why {
                let message = format!("`{}` of input `{}`: {why}", property.id, input.id);
                self.push(
                    Diagnostic::error(Rule::NotForType, field.value.span.clone(), message)
                        .with_help("make it an input of its own, or the whole a JSON input with `jsonSchema`"),
                );
            }
        }
        if let Some(rows) = fields.get("rows").and_then(|field| self.field(field)) {
            input.min = rows.get("min").cloned();
            input.max = rows.get("max").cloned();
        }
    }

    fn optional_text(&mut self, fields: &Fields<'_>, name: &str) -> Option<String> {
        fields
            .value(name)
            .and_then(|node| self.text(node, false, &format!("`{name}`")))
    }

    fn text_list(&mut self, fields: &Fields<'_>, name: &str) -> Vec<String> {
        let value = fields.get(name).and_then(|field| self.field(field));
        let items = value
            .as_ref()
            .and_then(Value::as_array)
            .map(Vec::as_slice)
            .unwrap_or_default();
        items
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect()
    }

    fn choices(&mut self, node: &Node) -> Vec<(String, Option<String>)> {
        let Some(items) = node.as_seq() else {
            self.wrong_type(node, "`values`", "a list of choices");
            return Vec::new();
        };
        if items.len() > CHOICES_MAX {
            self.limit(
                node,
                &format!("`values` has {} choices", items.len()),
                CHOICES_MAX,
            );
            return Vec::new();
        }
        let mut choices: Vec<(String, Option<String>)> = Vec::new();
        for item in items {
            let (value, label) = if item.as_map().is_some() {
                let label = item.get("label").and_then(Node::as_str).map(str::to_owned);
                let Some(value) = item.get("value") else {
                    self.wrong_type(item, "a choice", "a text or `{value: …, label: …}`");
                    continue;
                };
                (value, label)
            } else {
                (item, None)
            };
            let Some(text) = self.text(value, false, "a choice") else {
                continue;
            };
            if choices.iter().any(|(other, _)| *other == text) {
                self.push(Diagnostic::error(
                    Rule::DuplicateId,
                    value.span.clone(),
                    format!("the choice `{}` is given twice", short(&text)),
                ));
            } else {
                choices.push((text, label));
            }
        }
        choices
    }

    fn input_condition(&mut self, node: &Node, earlier: &[Input]) -> Option<InputCondition> {
        let fields = self.fields(node, &[INPUT_DEPENDS_ON], "`dependsOn`", &node.span)?;
        let mut inputs = Vec::new();
        for item in fields
            .value("inputs")
            .and_then(Node::as_seq)
            .unwrap_or_default()
        {
            let Some(name) = self.text(item, false, "`inputs`") else {
                continue;
            };
            if !earlier.iter().any(|input| input.id == name) {
                let near = nearest(&name, earlier.iter().map(|input| input.id.as_str()));
                let diagnostic = Diagnostic::error(
                    Rule::UnknownInput,
                    item.span.clone(),
                    format!("there is no earlier input `{}`", short(&name)),
                );
                let help = near.map_or_else(
                    || "an input depends only on inputs written before it".to_owned(),
                    |near| format!("did you mean `{near}`?"),
                );
                self.push(diagnostic.with_help(help));
            }
            inputs.push(name);
        }
        let condition = fields
            .value("condition")
            .and_then(|node| self.condition(node, "`condition`"));
        Some(InputCondition { inputs, condition })
    }

    /// What must be, and what must not be, with each type.
    fn input_rules(&mut self, fields: &Fields<'_>, input: &Input) {
        for (name, types) in ONLY {
            if let Some(field) = fields.get(name)
                && !types.contains(&input.input_type)
            {
                let types: Vec<_> = types.iter().map(|ty| type_name(*ty)).collect();
                self.push(
                    Diagnostic::error(
                        Rule::NotForType,
                        field.key.span.clone(),
                        format!(
                            "`{}` has no meaning for {}",
                            field.key.name,
                            type_name(input.input_type)
                        ),
                    )
                    .with_help(format!("it goes with {}", types.join(", "))),
                );
            }
        }
        let select = matches!(input.input_type, InputType::Select | InputType::MultiSelect);
        let place = fields
            .get("type")
            .map(|field| field.value.span.clone())
            .unwrap_or_default();
        if select
            && input.values.is_empty()
            && input.expression.is_none()
            && fields.get("values").is_none()
        {
            self.push(
                Diagnostic::error(
                    Rule::MissingProperty,
                    place,
                    format!("input `{}` has no choices", input.id),
                )
                .with_help("add `values: [a, b]` or `expression`"),
            );
        } else if input.input_type == InputType::Array && fields.get("itemType").is_none() {
            self.push(
                Diagnostic::error(
                    Rule::MissingProperty,
                    place,
                    format!("input `{}` has no `itemType`", input.id),
                )
                .with_help("add `itemType: STRING`"),
            );
        }
        if let Some(field) = fields.get("validator")
            && let Some(pattern) = &input.validator
            && let Err(error) = regex::Regex::new(pattern)
        {
            let reason = error.to_string();
            let reason = reason.lines().last().unwrap_or_default().trim().to_owned();
            self.push(
                Diagnostic::error(
                    Rule::InvalidRegex,
                    field.value.span.clone(),
                    format!("`validator` is not a regular expression: {reason}"),
                )
                .with_help("look-around and back-references are not known; quote the text if it has backslashes"),
            );
        }
        for name in ["min", "max"] {
            if let Some(field) = fields.get(name)
                && let Some(error) = bound_error(input.input_type, &field.value.to_json())
            {
                self.push(Diagnostic::error(
                    Rule::InvalidValue,
                    field.value.span.clone(),
                    format!("`{}`: {error}", field.key.name),
                ));
            }
        }
        if let Some(field) = fields.get("jsonSchema")
            && let Some(error) = schema_error(&field.value.to_json())
        {
            self.push(
                Diagnostic::error(
                    Rule::InvalidValue,
                    field.value.span.clone(),
                    format!("`jsonSchema`: {error}"),
                )
                .with_help("check what the schema cannot say in a task"),
            );
        }
    }

    fn input_default(&mut self, fields: &Fields<'_>, input: &mut Input) {
        let Some(field) = fields.get("defaults") else {
            return;
        };
        let Some(value) = self.field(field) else {
            return;
        };
        input.defaults = Some(value.clone());
        if holds_template(&value) || value.is_null() {
            return;
        }
        if input.input_type == InputType::Secret {
            self.push(
                Diagnostic::warning(
                    Rule::PlainSecret,
                    field.value.span.clone(),
                    format!(
                        "the default of the secret `{}` is written in plain text",
                        input.id
                    ),
                )
                .with_help("write `\"{{ secret('NAME') }}\"`"),
            );
        }
        if let Err(reason) = check_value(input, &value, &input.values) {
            self.push(
                Diagnostic::error(
                    Rule::InvalidDefault,
                    field.value.span.clone(),
                    format!("the default of `{}` is not valid: {reason}", input.id),
                )
                .with_help("a default must satisfy what it stands for"),
            );
        }
    }

    /// The values a flow returns.
    pub(super) fn flow_outputs(&mut self, node: &Node) -> Vec<FlowOutput> {
        let Some(items) = node.as_seq() else {
            self.wrong_type(node, "`outputs`", "a list of outputs");
            return Vec::new();
        };
        if items.len() > OUTPUTS_MAX {
            self.limit(
                node,
                &format!("there are {} outputs", items.len()),
                OUTPUTS_MAX,
            );
            return Vec::new();
        }
        let mut outputs: Vec<FlowOutput> = Vec::new();
        for item in items {
            let Some(fields) = self.fields(item, &[OUTPUT], "an output", &start_of(item)) else {
                continue;
            };
            let Some(id_node) = fields.value("id") else {
                continue;
            };
            let Some(id) = self.text(id_node, false, "`id`") else {
                continue;
            };
            self.check_id(id_node, &id, "the id of an output");
            if outputs.iter().any(|output| output.id == id) {
                self.push(Diagnostic::error(
                    Rule::DuplicateId,
                    id_node.span.clone(),
                    format!("two outputs have the id `{id}`"),
                ));
            }
            let output_type = fields.value("type").and_then(|node| self.input_type(node));
            let value = fields.get("value").and_then(|field| self.field(field));
            outputs.push(FlowOutput {
                id,
                output_type: output_type.unwrap_or(InputType::String),
                value: value.unwrap_or_default(),
                required: self.flag(&fields, "required", true),
                description: self.description(&fields),
            });
        }
        outputs
    }
}

/// Whether a value or anything in it is a template.
pub(super) fn holds_template(value: &Value) -> bool {
    match value {
        Value::String(text) => has_template(text),
        Value::Array(items) => items.iter().any(holds_template),
        Value::Object(map) => map_holds_template(map),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

fn map_holds_template(map: &Map<String, Value>) -> bool {
    map.values().any(holds_template)
}

/// The type as it is written.
fn type_name(ty: InputType) -> String {
    serde_json::to_value(ty)
        .ok()
        .and_then(|name| name.as_str().map(str::to_owned))
        .unwrap_or_default()
}
