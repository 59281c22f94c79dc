//! Tasks that show or return what they are given.

use serde_json::{Map, Value};

use super::props::{Props, any_text};
use super::{TaskCall, TaskError, TaskOutput, outputs};
use crate::ports::LogLevel;

/// `core.log.Log`: writes `message`, a text or a list of texts, at `level`.
pub(super) fn log(call: &TaskCall<'_>) -> Result<TaskOutput, TaskError> {
    let props = Props::new(&call.props);
    let level = level(&props)?;
    match props.value("message") {
        None => return Err(props.wrong("message", "is required and has no value")),
        Some(Value::Array(messages)) => {
            for message in messages {
                call.log(level, &any_text(message));
            }
        }
        Some(message) => call.log(level, &any_text(message)),
    }
    Ok(TaskOutput::default())
}

/// `core.debug.Return`: gives `format` as `value`, with the type it was rendered to.
pub(super) fn give(call: &TaskCall<'_>) -> TaskOutput {
    let value = call.props.get("format").cloned().unwrap_or_default();
    call.log(LogLevel::Debug, &any_text(&value));
    outputs([("value", value)])
}

/// `core.debug.Echo`: writes `format` to the log and gives it as `value`.
pub(super) fn echo(call: &TaskCall<'_>) -> Result<TaskOutput, TaskError> {
    let level = level(&Props::new(&call.props))?;
    let value = call.props.get("format").cloned().unwrap_or_default();
    call.log(level, &any_text(&value));
    Ok(outputs([("value", value)]))
}

/// `core.output.OutputValues`: gives `values`.
pub(super) fn values(call: &TaskCall<'_>) -> Result<TaskOutput, TaskError> {
    let values: Map<String, Value> = Props::new(&call.props).map("values")?.into_owned();
    Ok(outputs([("values", Value::Object(values))]))
}

fn level(props: &Props<'_>) -> Result<LogLevel, TaskError> {
    let word = props.word("level", &["TRACE", "DEBUG", "INFO", "WARN", "ERROR"])?;
    Ok(match word {
        Some("TRACE") => LogLevel::Trace,
        Some("DEBUG") => LogLevel::Debug,
        Some("WARN") => LogLevel::Warn,
        Some("ERROR") => LogLevel::Error,
        _ => LogLevel::Info,
    })
}
