//! Tasks that decide about their own execution.

use std::collections::BTreeMap;

use operon_core::exec::State;
use serde_json::{Map, Value, json};

use super::props::{Props, scalar_text, shown};
use super::{TaskCall, TaskError, TaskOutput, counter};
use crate::decide::truthy;
use crate::ports::LogLevel;

/// Labels one task may add. A label is for finding executions; each is stored with the execution.
pub const LABELS_MAX: usize = 64;
/// Bytes of a label's key.
pub const LABEL_KEY_BYTES_MAX: usize = 128;
/// Bytes of a label's value.
pub const LABEL_VALUE_BYTES_MAX: usize = 1024;

/// `core.execution.Fail`: fails, always or when `condition` holds.
pub(super) fn fail(call: &TaskCall<'_>) -> Result<TaskOutput, TaskError> {
    let props = Props::new(&call.props);
    let message = props.text("errorMessage")?;
    if call
        .props
        .get("condition")
        .is_some_and(|condition| !truthy(condition))
    {
        return Ok(TaskOutput::default());
    }
    let message = message.unwrap_or_else(|| "the flow fails here (task type `Fail`)".to_owned());
    call.log(LogLevel::Error, &message);
    Err(TaskError::failed(message))
}

/// `core.execution.Exit`: ends the execution in `state`.
pub(super) fn exit(call: &TaskCall<'_>) -> Result<TaskOutput, TaskError> {
    let words = [
        "SUCCESS",
        "WARNING",
        "FAILED",
        "KILLED",
        "CANCELLED",
        "CANCELED",
    ];
    let state = match Props::new(&call.props).word("state", &words)? {
        Some("WARNING") => State::Warning,
        Some("FAILED") => State::Failed,
        Some("KILLED") => State::Killed,
        Some("CANCELLED" | "CANCELED") => State::Cancelled,
        _ => State::Success,
    };
    Ok(TaskOutput {
        exit: Some(state),
        ..TaskOutput::default()
    })
}

/// `core.execution.Assert`: fails unless all of `conditions` hold. Gives `passed` and `failed`, and metrics
/// `success` and `failed`.
pub(super) fn assert(call: &TaskCall<'_>) -> Result<TaskOutput, TaskError> {
    let props = Props::new(&call.props);
    let message = props.text("errorMessage")?;
    let conditions = props
        .list("conditions")?
        .ok_or_else(|| props.wrong("conditions", "is required and has no value"))?;
    let mut failed = Vec::new();
    for (index, condition) in conditions.iter().enumerate() {
        if !truthy(condition) {
            let number = index + 1;
            let text = format!(
                "condition {number} does not hold: it is {}",
                shown(condition)
            );
            call.log(LogLevel::Error, &text);
            failed.push(number);
        }
    }
    let passed = conditions.len() - failed.len();
    let mut outputs = Map::new();
    outputs.insert("passed".to_owned(), json!(passed));
    outputs.insert("failed".to_owned(), json!(failed.len()));
    if failed.is_empty() {
        return Ok(TaskOutput {
            outputs,
            metrics: vec![counter("success", passed), counter("failed", 0)],
            ..TaskOutput::default()
        });
    }
    let numbers: Vec<String> = failed.iter().map(ToString::to_string).collect();
    let which = format!(
        "{} of {} conditions do not hold (number {})",
        failed.len(),
        conditions.len(),
        numbers.join(", ")
    );
    let message = message.map_or_else(|| which.clone(), |text| format!("{text}: {which}"));
    Err(TaskError {
        outputs,
        ..TaskError::failed(message)
    })
}

/// `core.execution.Labels`: adds `labels`, a map or a list of `{key, value}`, to the execution.
pub(super) fn labels(call: &TaskCall<'_>) -> Result<TaskOutput, TaskError> {
    let props = Props::new(&call.props);
    let mut labels = BTreeMap::new();
    for (key, value) in pairs(&props)? {
        let text = scalar_text(&value).ok_or_else(|| {
            let what = format!("must have texts as values; `{key}` is {}", shown(&value));
            props.wrong("labels", &what)
        })?;
        check_label(&props, &key, &text)?;
        labels.insert(key, text);
    }
    if labels.len() > LABELS_MAX {
        let what = format!(
            "has {} labels; at most {LABELS_MAX} are possible",
            labels.len()
        );
        return Err(props.wrong("labels", &what));
    }
    Ok(TaskOutput {
        labels,
        ..TaskOutput::default()
    })
}

fn pairs(props: &Props<'_>) -> Result<Vec<(String, Value)>, TaskError> {
    if !matches!(props.value("labels"), Some(Value::Array(_))) {
        if props.value("labels").is_none() {
            return Err(props.wrong("labels", "is required and has no value"));
        }
        return Ok(props.map("labels")?.into_owned().into_iter().collect());
    }
    let items = props.list("labels")?.unwrap_or_default();
    let mut pairs = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        let key = item.get("key").and_then(scalar_text);
        let (Some(key), Some(value)) = (key, item.get("value")) else {
            let name = format!("labels[{index}]");
            return Err(props.wrong(&name, "must have `key` and `value`"));
        };
        pairs.push((key, value.clone()));
    }
    Ok(pairs)
}

fn check_label(props: &Props<'_>, key: &str, value: &str) -> Result<(), TaskError> {
    let what = if key.is_empty() || key.len() > LABEL_KEY_BYTES_MAX {
        format!(
            "has a key of {} bytes; it may have 1 to {LABEL_KEY_BYTES_MAX}",
            key.len()
        )
    } else if key.starts_with("system.") {
        format!("has the key `{key}`; keys that begin with `system.` are the engine's")
    } else if value.len() > LABEL_VALUE_BYTES_MAX {
        let length = value.len();
        format!("has {length} bytes under `{key}`; at most {LABEL_VALUE_BYTES_MAX} are possible")
    } else {
        return Ok(());
    };
    Err(props.wrong("labels", &what))
}
