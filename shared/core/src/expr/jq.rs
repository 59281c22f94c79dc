//! The filter `jq`: jq's grammar, read by jaq, evaluated here within limits.
//!
//! jaq's own interpreter has no bound on time or memory, and its `halt` ends the process; a template may
//! do neither. What is left out (definitions, assignment, `input`, `limit` and the like) is an error.

mod builtins;
mod eval;
mod values;

use jaq_core::load::parse::Term;
use minijinja::Value;
use serde_json::Value as Json;

use super::catalog::{Callable, filter_of};
use super::error::{Fault, bad};
use super::functions::parse_json;
use super::limits::{MAX_JQ_BYTES, MAX_JQ_STEPS, MAX_NESTING};
use super::runtime::Call;
use super::value::{from_json, to_json};

pub(super) const FILTERS: &[Callable] = &[filter_of("jq", &["value", "expression"], 2, jq)];

/// Why a program stops.
enum Stop {
    /// An error that `try` and `?` catch.
    Error(Json),
    /// A limit; nothing catches it.
    Limit(String),
}

type Results = Result<Vec<Json>, Stop>;

fn fail<T>(message: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Error(Json::from(message.into())))
}

/// All results of the program, as a list. As in Kestra, a text is read as JSON, which the body of an answer is, and there
/// is nothing to ask of null. A text that is not JSON stays one.
fn jq(call: &Call<'_>) -> Result<Value, Fault> {
    let code = call.text(1)?;
    let program = parse(&code)?;
    let input = match to_json(&call.value(0))? {
        Json::Null => return Ok(Value::from(())),
        Json::String(text) => match parse_json(&text) {
            Ok(value) => to_json(&value)?,
            Err(fault @ Fault::Limit(_)) => return Err(fault),
            Err(_) => Json::String(text),
        },
        other => other,
    };
    let mut machine = eval::Machine::new(call.runtime.jq_steps_left());
    let results = machine.run(&program, &input);
    call.runtime.take_jq_steps(machine.steps());
    match results {
        Ok(results) => Ok(results.iter().map(from_json).collect()),
        Err(Stop::Error(message)) => {
            let message = message
                .as_str()
                .map_or_else(|| message.to_string(), str::to_owned);
            bad(format!("jq: {message}"))
        }
        Err(Stop::Limit(message)) => Err(Fault::Limit(message)),
    }
}

fn parse(code: &str) -> Result<Term<&str>, Fault> {
    if code.len() > MAX_JQ_BYTES {
        return Err(Fault::Limit(format!(
            "a jq program may have {MAX_JQ_BYTES} bytes, not {}; use a task for more",
            code.len()
        )));
    }
    let mut depth = 0_usize;
    for c in code.chars() {
        depth = match c {
            '(' | '[' | '{' => depth + 1,
            ')' | ']' | '}' => depth.saturating_sub(1),
            _ => depth,
        };
        if depth > MAX_NESTING {
            return Err(Fault::Limit(format!(
                "a jq program nests at most {MAX_NESTING} levels"
            )));
        }
    }
    match jaq_core::load::parse(code, |parser| parser.term()) {
        Some(term) => Ok(term),
        None => bad(format!("`{code}` is not a jq program")),
    }
}

/// What is said when the steps are used up.
fn out_of_steps() -> Stop {
    Stop::Limit(format!(
        "the jq programs of a template may take {MAX_JQ_STEPS} steps together; use a task for more"
    ))
}
