//! Values for inputs: typed, checked, and nested as expressions see them.
//!
//! Invariant: an execution starts only with values that satisfy every declaration, and whoever gave the
//! others learns all that is wrong with them at once.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a value of another shape is wrong, whichever shape that is"
)]

mod check;
mod json_schema;

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::model::{Input, InputType};
use crate::expr::{Context, Template};

pub use check::{bound_error, check_output, check_value};
pub use json_schema::schema_error;

/// What is wrong with one input.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("input `{id}`: {reason}")]
pub struct InputError {
    /// Of the input.
    pub id: String,
    /// What is wrong, and what would be right.
    pub reason: String,
}

/// The values an execution starts with.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Resolved {
    /// By id, nested where ids have dots: what `inputs.*` means.
    pub values: Map<String, Value>,
    /// Ids of those that must never be shown: inputs of type `SECRET`.
    pub secrets: Vec<String>,
}

/// Checks the values given for the inputs of a flow and fills in defaults.
///
/// A text given for another type is read as that type (`"5"` for `INT`, JSON for `ARRAY` and `JSON`,
/// YAML for `YAML`), which is what a command line or a form has. Defaults and choices that are templates
/// are rendered with `context`, whose `inputs` are the values known so far. `FILE` values stay the path
/// or URI they are.
///
/// # Errors
/// Every problem found: unknown, missing and unsatisfying values.
pub fn resolve_inputs(
    declared: &[Input],
    given: &BTreeMap<String, Value>,
    context: &Context,
) -> Result<Resolved, Vec<InputError>> {
    let mut errors: Vec<InputError> = Vec::new();
    let mut resolved = Resolved::default();
    let given = flatten(declared, given, &mut errors);
    for input in declared {
        match one(input, given.get(&input.id), &resolved.values, context) {
            Ok(Some(value)) => {
                if input.input_type == InputType::Secret {
                    resolved.secrets.push(input.id.clone());
                }
                insert_nested(&mut resolved.values, &input.id, value);
            }
            Ok(None) => {}
            Err(reason) => errors.push(InputError {
                id: input.id.clone(),
                reason,
            }),
        }
    }
    if errors.is_empty() {
        Ok(resolved)
    } else {
        Err(errors)
    }
}

/// One input's value: given, default, first choice, or none.
fn one(
    input: &Input,
    given: Option<&Value>,
    known: &Map<String, Value>,
    context: &Context,
) -> Result<Option<Value>, String> {
    let seen = || {
        context
            .clone()
            .with_root("inputs", &Value::Object(known.clone()))
    };
    if let Some(condition) = input
        .depends_on
        .as_ref()
        .and_then(|depends| depends.condition.as_ref())
        && !holds(condition, &seen())?
    {
        return match given {
            Some(_) => Err("is not asked for with these values of other inputs".to_owned()),
            None => Ok(None),
        };
    }
    let choices = match &input.expression {
        Some(expression) if input.values.is_empty() => rendered_choices(expression, &seen())?,
        _ => input.values.clone(),
    };
    let value = match (given, &input.defaults) {
        // An explicit null means that no value is given, not that the default is wanted.
        (Some(Value::Null), _) => None,
        (Some(value), _) => Some(value.clone()),
        (None, Some(default)) => Some(rendered(default, &seen())?).filter(|value| !value.is_null()),
        (None, None) if input.auto_select_first => choices
            .first()
            .map(|(choice, _)| Value::from(choice.as_str())),
        (None, None) => None,
    };
    match value {
        Some(value) => check_value(input, &value, &choices).map(Some),
        None if input.required => Err("is required".to_owned()),
        None => Ok(None),
    }
}

fn holds(condition: &str, context: &Context) -> Result<bool, String> {
    let template = Template::parse(condition).map_err(|error| error.to_string())?;
    template
        .render_condition(context)
        .map_err(|error| error.to_string())
}

fn rendered(value: &Value, context: &Context) -> Result<Value, String> {
    Ok(match value {
        Value::String(text) if super::parse::has_template(text) => {
            let template = Template::parse(text).map_err(|error| error.to_string())?;
            template
                .render(context)
                .map_err(|error| format!("its default cannot be rendered: {error}"))?
                .value
        }
        Value::Array(items) => Value::Array(
            items
                .iter()
                .map(|item| rendered(item, context))
                .collect::<Result<_, _>>()?,
        ),
        Value::Object(map) => {
            let entries = map
                .iter()
                .map(|(key, value)| Ok((key.clone(), rendered(value, context)?)));
            Value::Object(entries.collect::<Result<_, String>>()?)
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    })
}

fn rendered_choices(
    expression: &str,
    context: &Context,
) -> Result<Vec<(String, Option<String>)>, String> {
    let value = rendered(&Value::from(expression), context)?;
    let value = match &value {
        Value::String(text) => serde_json::from_str(text).unwrap_or(value),
        _ => value,
    };
    let Value::Array(items) = value else {
        return Err("`expression` gives no list of choices".to_owned());
    };
    Ok(items
        .iter()
        .map(|item| {
            (
                item.as_str()
                    .map_or_else(|| item.to_string(), str::to_owned),
                None,
            )
        })
        .collect())
}

/// Values by full id: `{a: {b: 1}}` may be given for the input `a.b`.
fn flatten(
    declared: &[Input],
    given: &BTreeMap<String, Value>,
    errors: &mut Vec<InputError>,
) -> BTreeMap<String, Value> {
    let mut flat = BTreeMap::new();
    let mut open: Vec<(String, &Value)> = given
        .iter()
        .map(|(id, value)| (id.clone(), value))
        .collect();
    while let Some((id, value)) = open.pop() {
        let group = declared
            .iter()
            .any(|input| input.id.starts_with(&format!("{id}.")));
        match value {
            _ if declared.iter().any(|input| input.id == id) => {
                flat.insert(id, value.clone());
            }
            Value::Object(map) if group => {
                open.extend(
                    map.iter()
                        .map(|(key, value)| (format!("{id}.{key}"), value)),
                );
            }
            _ => {
                let near =
                    super::parse::nearest(&id, declared.iter().map(|input| input.id.as_str()));
                let reason = near.map_or_else(
                    || "the flow has no such input".to_owned(),
                    |near| format!("the flow has no such input; did you mean `{near}`?"),
                );
                errors.push(InputError { id, reason });
            }
        }
    }
    flat
}

fn insert_nested(values: &mut Map<String, Value>, id: &str, value: Value) {
    match id.split_once('.') {
        None => {
            values.insert(id.to_owned(), value);
        }
        Some((group, rest)) => {
            let inner = values
                .entry(group)
                .or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(inner) = inner {
                insert_nested(inner, rest, value);
            }
        }
    }
}

#[cfg(test)]
mod tests;
