//! The dialect as a JSON Schema (2020-12), generated from the catalogue and the loaded plugins, so that
//! editors complete and check.
//!
//! It says less than the parser (references, cycles and expressions are beyond a schema), and what it
//! refuses the parser refuses too, with one exception: a property that only `pluginDefaults` gives.

use serde_json::{Map, Value, json};

use super::catalogue::{
    FLOW, INPUT, PropInfo, PropType, Shape, Support, TASK, TRIGGER, TypeInfo, find_prop,
    task_types, trigger_types,
};
use super::plugins::{Plugin, Plugins, PropertyType};
use super::yaml;

/// The schema of a flow document, with these plugins.
#[must_use]
pub fn schema(plugins: &Plugins) -> Value {
    let mut defs = Map::new();
    defs.insert(
        "taskList".to_owned(),
        json!({"type": ["array", "null"], "items": {"$ref": "#/$defs/task"}}),
    );
    defs.insert("dagTaskList".to_owned(), dag_task_list());
    defs.insert("task".to_owned(), task(plugins));
    defs.insert(
        "trigger".to_owned(),
        by_type(trigger_types().map(named_type), "trigger"),
    );
    defs.insert("input".to_owned(), object(&[INPUT], None));
    defs.insert(
        "template".to_owned(),
        json!({"type": "string", "pattern": r"\{[{%]"}),
    );
    defs.insert("duration".to_owned(), duration());
    defs.insert(OF_TASKS.def.to_owned(), object(&[TASK], None));
    defs.insert(OF_TRIGGERS.def.to_owned(), object(&[TRIGGER], None));
    for info in task_types() {
        let mut def = of_type(info, &OF_TASKS);
        if info.shape == Shape::Dag
            && let Some(tasks) = def.pointer_mut("/properties/tasks")
        {
            *tasks = json!({"$ref": "#/$defs/dagTaskList", "description": "The children."});
        }
        defs.insert(format!("task:{}", info.name), def);
    }
    for info in trigger_types() {
        defs.insert(
            format!("trigger:{}", info.name),
            of_type(info, &OF_TRIGGERS),
        );
    }
    for plugin in plugins.iter() {
        defs.insert(format!("task:{}", plugin.name), of_plugin(plugin));
    }
    let mut root = object(&[FLOW], None);
    if let Some(triggers) = root.pointer_mut("/properties/triggers") {
        triggers["items"] = json!({"$ref": "#/$defs/trigger"});
    }
    if let Value::Object(map) = &mut root {
        map.insert(
            "$schema".to_owned(),
            json!("https://json-schema.org/draft/2020-12/schema"),
        );
        map.insert("title".to_owned(), json!("Operon flow"));
        map.insert("$defs".to_owned(), Value::Object(defs));
    }
    root
}

/// Canonical name, other names, and description of a type.
type NamedType = (String, Vec<String>, String);

fn named_type(info: &TypeInfo) -> NamedType {
    let aliases = info.aliases.iter().map(ToString::to_string).collect();
    (info.name.to_owned(), aliases, info.doc.to_owned())
}

fn task(plugins: &Plugins) -> Value {
    let own = plugins
        .iter()
        .map(|p| (p.name.clone(), Vec::new(), p.description.clone()));
    by_type(task_types().map(named_type).chain(own), "task")
}

/// One of many types, told apart by `type`.
fn by_type(types: impl Iterator<Item = NamedType>, kind: &str) -> Value {
    let mut names = Vec::new();
    let mut branches = Vec::new();
    for (name, mut spellings, doc) in types {
        spellings.push(name.clone());
        branches.push(json!({
            "if": {"properties": {"type": {"enum": spellings}}, "required": ["type"]},
            "then": {"$ref": format!("#/$defs/{kind}:{name}")},
        }));
        names.extend(
            spellings
                .iter()
                .map(|name| json!({"const": name, "description": doc})),
        );
    }
    json!({
        "type": "object",
        "required": ["id", "type"],
        "properties": {"type": {"anyOf": names}},
        "allOf": branches,
    })
}

/// In a `dag`, `{task: …, dependsOn: …}` is allowed too.
fn dag_task_list() -> Value {
    let wrapper = json!({
        "type": "object",
        "required": ["task"],
        "properties": {
            "task": {"$ref": "#/$defs/task"},
            "dependsOn": {"$ref": "#/$defs/common/properties/dependsOn"},
        },
        "patternProperties": {"^x-": {}},
        "additionalProperties": false,
    });
    json!({
        "type": "array",
        "items": {"if": {"required": ["task"]}, "then": wrapper, "else": {"$ref": "#/$defs/task"}},
    })
}

/// A task or trigger of a type: its own properties and the common ones.
fn of_type(info: &TypeInfo, common: &Shared) -> Value {
    let mut value = object(&[info.props], Some(common));
    if let Value::Object(map) = &mut value {
        map.insert("description".to_owned(), Value::from(info.doc));
        if let Some(example) = example(info.example) {
            map.insert("examples".to_owned(), json!([example]));
        }
    }
    value
}

fn of_plugin(plugin: &Plugin) -> Value {
    let mut value = object(&[], Some(&OF_TASKS));
    let mut required = vec![Value::from("id"), Value::from("type")];
    if let Some(Value::Object(properties)) = value.get_mut("properties") {
        for property in &plugin.properties {
            let mut constant = match property.ty {
                PropertyType::String if !property.choices.is_empty() => {
                    json!({"enum": property.choices})
                }
                PropertyType::String => json!({"type": ["string", "number", "boolean"]}),
                PropertyType::Int => json!({"type": "integer"}),
                PropertyType::Float => json!({"type": "number"}),
                PropertyType::Bool => json!({"type": "boolean"}),
                PropertyType::Duration => json!({"$ref": "#/$defs/duration"}),
                PropertyType::List => json!({"type": "array"}),
                PropertyType::Map => json!({"type": "object"}),
                PropertyType::Any => json!({}),
            };
            if matches!(property.ty, PropertyType::Int | PropertyType::Float) {
                for (key, bound) in [("minimum", property.min), ("maximum", property.max)] {
                    if let Some(bound) = bound {
                        constant[key] = json!(bound);
                    }
                }
            }
            let mut schema = json!({"anyOf": [constant, {"$ref": "#/$defs/template"}]});
            schema["description"] = Value::from(property.description.as_str());
            if let Some(default) = &property.default {
                schema["default"] = default.to_json();
            }
            properties.insert(property.name.clone(), schema);
            if property.required {
                required.push(Value::from(property.name.as_str()));
            }
        }
    }
    value["required"] = Value::Array(required);
    value["description"] = Value::from(plugin.description.as_str());
    value
}

/// Properties that all tasks or all triggers have, and the definition that holds them.
struct Shared {
    table: &'static [PropInfo],
    def: &'static str,
}

const OF_TASKS: Shared = Shared {
    table: TASK,
    def: "common",
};
const OF_TRIGGERS: Shared = Shared {
    table: TRIGGER,
    def: "commonTrigger",
};

/// A mapping with known keys; those that are shared are written once.
fn object(tables: &[&'static [PropInfo]], shared: Option<&Shared>) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    let mut either = Vec::new();
    let own = tables.iter().copied().flatten().map(|info| (info, None));
    let common = shared.into_iter().flat_map(|shared| {
        let new = |info: &&PropInfo| {
            tables
                .iter()
                .all(|table| find_prop(table, info.name).is_none())
        };
        shared
            .table
            .iter()
            .filter(new)
            .map(|info| (info, Some(shared.def)))
    });
    let all = own.chain(common);
    for (info, def) in all.filter(|(info, _)| !matches!(info.support, Support::Rejects(..))) {
        let schema = match def {
            Some(def) => json!({"$ref": format!("#/$defs/{def}/properties/{}", info.name)}),
            None => property(info),
        };
        for alias in info.aliases {
            let mut same = schema.clone();
            same["description"] = Value::from(format!("The same as `{}`. {}", info.name, info.doc));
            properties.insert((*alias).to_owned(), same);
        }
        properties.insert(info.name.to_owned(), schema);
        if info.required && info.aliases.is_empty() {
            required.push(info.name);
        } else if info.required {
            let spellings = std::iter::once(&info.name).chain(info.aliases);
            let spellings: Vec<_> = spellings.map(|name| json!({"required": [name]})).collect();
            either.push(json!({"anyOf": spellings}));
        }
    }
    let mut value = json!({
        "type": "object",
        "properties": properties,
        "patternProperties": {"^x-": {}},
        "additionalProperties": false,
    });
    if !required.is_empty() {
        value["required"] = json!(required);
    }
    if !either.is_empty() {
        value["allOf"] = Value::Array(either);
    }
    value
}

fn property(info: &PropInfo) -> Value {
    let mut schema = of_prop_type(&info.ty);
    let typed = schema.as_object().is_some_and(|map| !map.is_empty());
    if info.dynamic
        && typed
        && !matches!(
            info.ty,
            PropType::String | PropType::Condition | PropType::Duration
        )
    {
        schema = json!({"anyOf": [schema, {"$ref": "#/$defs/template"}]});
    }
    schema["description"] = Value::from(match info.support {
        Support::Warns(reason) => format!("{} Has no effect: {reason}.", info.doc),
        Support::Supported | Support::Rejects(..) => info.doc.to_owned(),
    });
    if matches!(info.support, Support::Warns(_)) {
        schema["deprecated"] = Value::Bool(true);
    }
    if let Some(default) = info.default.and_then(example) {
        schema["default"] = default;
    }
    schema
}

fn of_prop_type(ty: &PropType) -> Value {
    match ty {
        PropType::Any => json!({}),
        PropType::String => json!({"type": ["string", "number", "boolean"]}),
        PropType::Int(min, max) => {
            let mut schema = json!({"type": "integer"});
            if *min > i64::MIN {
                schema["minimum"] = json!(min);
            }
            if *max < i64::MAX {
                schema["maximum"] = json!(max);
            }
            schema
        }
        PropType::Float => json!({"type": "number"}),
        PropType::Bool => json!({"type": "boolean"}),
        PropType::Duration => json!({"$ref": "#/$defs/duration"}),
        PropType::Enum(names) => {
            let mut all: Vec<String> = names.iter().map(ToString::to_string).collect();
            let other_case = names
                .iter()
                .flat_map(|name| [name.to_ascii_lowercase(), name.to_ascii_uppercase()]);
            for name in other_case {
                if !all.contains(&name) {
                    all.push(name);
                }
            }
            json!({"enum": all})
        }
        PropType::Condition => json!({"type": ["string", "boolean"]}),
        PropType::Size | PropType::Cpu => json!({"type": ["string", "number"]}),
        PropType::List(item) => json!({"type": "array", "items": of_prop_type(item)}),
        PropType::OneOrMany(item) => {
            let item = of_prop_type(item);
            json!({"anyOf": [item, {"type": "array", "items": item}]})
        }
        PropType::Map(item) => {
            json!({"type": "object", "additionalProperties": of_prop_type(item)})
        }
        PropType::Labels => json!({"anyOf": [
            {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}},
            {"type": "array", "items": {"type": "object", "required": ["key", "value"]}},
        ]}),
        PropType::Files => json!({"type": ["object", "array", "string"]}),
        PropType::Object(table) => object(&[table], None),
        PropType::OneOf(types) => {
            let types: Vec<_> = types.iter().map(of_prop_type).collect();
            json!({"anyOf": types})
        }
        PropType::Tasks => json!({"$ref": "#/$defs/taskList"}),
        PropType::Cases => {
            json!({"type": "object", "additionalProperties": {"$ref": "#/$defs/taskList"}})
        }
        PropType::Inputs => json!({"type": ["array", "null"], "items": {"$ref": "#/$defs/input"}}),
    }
}

fn duration() -> Value {
    json!({
        "anyOf": [
            {"type": "string", "pattern": r"^\s*([Pp]([0-9]|[Tt][0-9])|[0-9]|\{[{%])"},
            {"type": "number", "minimum": 0},
        ],
        "examples": ["PT15M", "15m"],
    })
}

fn example(text: &str) -> Option<Value> {
    yaml::parse(text, &yaml::Limits::default())
        .ok()
        .map(|node| node.to_json())
}
