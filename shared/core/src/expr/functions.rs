//! Functions and tests.

use minijinja::Value;
use minijinja::value::ValueKind;

use super::catalog::{Callable, function_of};
use super::error::{Fault, LookupError, bad};
use super::limits::{MAX_DATA_DEPTH, MAX_OUTPUT_BYTES, MAX_RENDER_DEPTH};
use super::ops;
use super::paths::step;
use super::runtime::{Call, Level};
use super::template::Template;
use super::value::{Number, from_json, is_empty, is_true, kind};

type Outcome = Result<Value, Fault>;

pub(super) const FUNCTIONS: &[Callable] = &[
    function_of("currentEachOutput", &["outputs"], 1, current_each_output),
    function_of("fileSize", &["uri"], 1, |call| {
        Ok(Value::from(
            call.runtime.context.resolver().file_size(&call.text(0)?)?,
        ))
    }),
    function_of("fromIon", &["text"], 1, from_lines),
    function_of("fromJson", &["text"], 1, |call| parse_json(&call.text(0)?)),
    function_of("id", &[], 0, |call| Ok(Value::from(short_id(call)))),
    function_of("json", &["text"], 1, |call| parse_json(&call.text(0)?)),
    function_of("kv", &["key", "namespace", "errorOnMissing"], 1, kv),
    function_of("max", &["first", "second", "*"], 2, |call| {
        extreme(call, false)
    }),
    function_of("min", &["first", "second", "*"], 2, |call| {
        extreme(call, true)
    }),
    function_of("now", &["timeZone"], 0, super::dates::now),
    function_of("randomInt", &["lower", "upper"], 2, random_int),
    function_of("range", &["first", "last", "step"], 2, |call| {
        ops::range(
            &call.value(0),
            &call.value(1),
            i128::from(call.int(2)?.unwrap_or(1)),
        )
    }),
    function_of("read", &["path"], 1, read),
    function_of("render", &["text", "recursive"], 1, render),
    function_of("renderOnce", &["text"], 1, |call| render_text(call, false)),
    function_of("secret", &["name", "namespace"], 1, secret),
    function_of("uuid", &[], 0, |call| Ok(Value::from(uuid(call)))),
    function_of("yaml", &["text"], 1, super::yaml::read),
];

const fn test_of(
    name: &'static str,
    takes_missing: bool,
    run: fn(&Call<'_>) -> Outcome,
) -> Callable {
    Callable {
        name,
        kind: "test",
        params: &["value"],
        required: 1,
        takes_missing,
        run,
    }
}

pub(super) const TESTS: &[Callable] = &[
    test_of("defined", true, |call| {
        Ok(Value::from(!call.value(0).is_undefined()))
    }),
    test_of("empty", true, |call| {
        Ok(Value::from(is_empty(&call.value(0))))
    }),
    test_of("even", false, |call| Ok(Value::from(remainder(call)? == 0))),
    test_of("iterable", true, |call| {
        Ok(Value::from(matches!(
            call.value(0).kind(),
            ValueKind::Seq | ValueKind::Iterable
        )))
    }),
    test_of("json", true, |call| {
        Ok(Value::from(
            call.value(0)
                .as_str()
                .is_some_and(|text| parse_json(text).is_ok()),
        ))
    }),
    test_of("map", true, |call| {
        Ok(Value::from(call.value(0).kind() == ValueKind::Map))
    }),
    test_of("null", true, |call| {
        Ok(Value::from(super::value::is_missing(&call.value(0))))
    }),
    test_of("odd", false, |call| Ok(Value::from(remainder(call)? != 0))),
];

fn remainder(call: &Call<'_>) -> Result<i128, Fault> {
    match call.number(0)? {
        Number::Int(value) => Ok(value % 2),
        Number::Float(value) => bad(format!("`{}` needs an integer, not {value}", call.name)),
    }
}

/// Refuses a look-up in a text that the flow's author did not write.
fn allowed(call: &Call<'_>) -> Result<(), Fault> {
    if call.runtime.trusted {
        return Ok(());
    }
    bad(format!(
        "a text that came out of another text may not call `{0}()`; if both are yours, use \
         `render(…, recursive=true)`",
        call.name
    ))
}

/// A secret of the execution's namespace, which the resolver knows.
fn secret(call: &Call<'_>) -> Outcome {
    allowed(call)?;
    if call.given(1).is_some() {
        return bad("secrets come from the execution's own namespace; leave out the namespace");
    }
    let value = call.runtime.context.resolver().secret(&call.text(0)?)?;
    Ok(call.runtime.shared.taint(Value::from(value)))
}

fn kv(call: &Call<'_>) -> Outcome {
    allowed(call)?;
    let key = call.text(0)?;
    let namespace = call.given(1).map(super::value::display).transpose()?;
    match call
        .runtime
        .context
        .resolver()
        .kv(&key, namespace.as_deref())?
    {
        Some(value) => Ok(from_json(&value)),
        None if call.given(2).is_some_and(|required| !is_true(required)) => Ok(Value::from(())),
        None => Err(Fault::Lookup(LookupError::NotFound {
            what: format!("the key `{key}`"),
        })),
    }
}

fn read(call: &Call<'_>) -> Outcome {
    allowed(call)?;
    let path = call.text(0)?;
    let text = call.runtime.context.resolver().read(&path)?;
    if text.len() > MAX_OUTPUT_BYTES {
        return Err(Fault::Limit(format!(
            "the file `{path}` is {} bytes long and may have {MAX_OUTPUT_BYTES}; use `inputFiles`",
            text.len()
        )));
    }
    Ok(Value::from(text))
}

/// Parses JSON, to a bounded depth.
pub(super) fn parse_json(text: &str) -> Outcome {
    let value: serde_json::Value = match serde_json::from_str(text) {
        Ok(value) => value,
        // The parser's message holds a position, never the text: that may be secret.
        Err(error) => return bad(format!("the text is not JSON: {error}")),
    };
    if depth(&value) > MAX_DATA_DEPTH {
        return Err(Fault::Limit(format!(
            "the JSON nests more than {MAX_DATA_DEPTH} levels"
        )));
    }
    Ok(from_json(&value))
}

/// How deep lists and maps nest.
pub(super) fn depth(value: &serde_json::Value) -> usize {
    match value {
        serde_json::Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        serde_json::Value::Object(map) => 1 + map.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// JSON Lines, which take Ion's place here: one line gives its value, several a list.
fn from_lines(call: &Call<'_>) -> Outcome {
    let text = call.text(0)?;
    let mut lines = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| {
            parse_json(line).map_err(|fault| match fault {
                Fault::Value(message) => Fault::Value(format!(
                    "{message}; `fromIon` reads JSON Lines here, one JSON value on each line"
                )),
                fault => fault,
            })
        });
    let Some(first) = lines.next() else {
        return Ok(Value::from(()));
    };
    let mut values = vec![first?];
    for line in lines {
        values.push(line?);
    }
    Ok(if values.len() == 1 {
        values.remove(0)
    } else {
        Value::from(values)
    })
}

/// The output of a task in the same iteration: its outputs under the iteration's value, once for each
/// enclosing loop.
fn current_each_output(call: &Call<'_>) -> Outcome {
    let mut output = call.value(0);
    // Not `taskrun` and `parents`: inside a group the value of the iteration is in both.
    let item = call.runtime.context.root("item");
    let around = item.and_then(|item| item.get_attr("parents").ok());
    let around = around.as_ref().and_then(super::value::items);
    let mut items = around.unwrap_or_default();
    items.reverse();
    items.extend(item.cloned());
    let values: Vec<Value> = items.iter().filter_map(iteration_value).collect();
    for value in values
        .iter()
        .filter(|value| !super::value::is_missing(value))
    {
        let Some(next) = step(&output, value).filter(|next| !next.is_undefined()) else {
            return bad(format!("there is no output for the iteration `{value}`"));
        };
        output = next;
    }
    Ok(output)
}

/// What outputs of an iteration are found by: its value, for a map's entry both key and value.
fn iteration_value(item: &Value) -> Option<Value> {
    let value = item.get_attr("value").ok()?;
    let key = item.get_attr("key").ok().filter(|key| !key.is_undefined());
    Some(match key {
        Some(key) => Value::from_pairs([("key", key), ("value", value)]),
        None => value,
    })
}

fn extreme(call: &Call<'_>, smallest: bool) -> Outcome {
    let mut best = call.number(0)?;
    for slot in (1..call.args.len()).filter(|slot| call.args[*slot].is_some()) {
        let next = call.number(slot)?;
        let less = match (next, best) {
            (Number::Int(a), Number::Int(b)) => a < b,
            (a, b) => a.as_f64() < b.as_f64(),
        };
        if less == smallest && next != best {
            best = next;
        }
    }
    best.value()
}

/// From the first number up to, not including, the second.
fn random_int(call: &Call<'_>) -> Outcome {
    let (Some(lower), Some(upper)) = (call.int(0)?, call.int(1)?) else {
        return bad("`randomInt` needs two integers");
    };
    if lower >= upper {
        return bad(format!(
            "`randomInt({lower}, {upper})` has no number to give"
        ));
    }
    let width = i128::from(upper) - i128::from(lower);
    Number::Int(i128::from(lower) + i128::from(call.runtime.draw()) % width).value()
}

/// A version 4 UUID from the seed.
fn uuid(call: &Call<'_>) -> String {
    let (high, low) = (call.runtime.draw(), call.runtime.draw());
    let high = high & 0xffff_ffff_ffff_0fff | 0x4000;
    let low = low & 0x3fff_ffff_ffff_ffff | 0x8000_0000_0000_0000;
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xffff,
        low >> 48,
        low & 0xffff_ffff_ffff
    )
}

/// 22 characters of 62, from the seed.
fn short_id(call: &Call<'_>) -> String {
    const LETTERS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut number = u128::from(call.runtime.draw()) << 64 | u128::from(call.runtime.draw());
    let mut id = String::new();
    for _ in 0..22 {
        let digit = usize::try_from(number % 62).unwrap_or_default();
        id.push(char::from(LETTERS[digit]));
        number /= 62;
    }
    id
}

fn render(call: &Call<'_>) -> Outcome {
    render_text(call, call.given(1).is_none_or(is_true))
}

/// Renders a text that holds expressions itself; recursively until nothing changes any more.
fn render_text(call: &Call<'_>, recursive: bool) -> Outcome {
    let mut value = call.value(0);
    let runtime = call.runtime;
    if runtime.depth >= MAX_RENDER_DEPTH {
        return Err(Fault::Limit(format!(
            "render() nests more than {MAX_RENDER_DEPTH} levels; does a variable render itself?"
        )));
    }
    let mut level = Level {
        depth: runtime.depth + 1,
        trusted: runtime.trusted,
    };
    for _ in 0..MAX_RENDER_DEPTH {
        let Some(text) = value.as_str() else {
            return if matches!(value.kind(), ValueKind::Seq | ValueKind::Map) {
                bad(format!(
                    "`{}` needs a text, not {}; render its items",
                    call.name,
                    kind(&value)
                ))
            } else {
                Ok(value)
            };
        };
        let template = Template::parse(text).map_err(|error| Fault::Nested(error.into()))?;
        if template.is_literal() {
            return Ok(value);
        }
        runtime.count_render()?;
        let next = template
            .value(&runtime.context, &runtime.shared, level)
            .map_err(|error| Fault::Nested(error.into()))?;
        if !recursive || next == value {
            return Ok(next);
        }
        value = next;
        // What an expression gave may come from anyone, an input say: unless the author asks for it, it
        // is rendered, but cannot fetch secrets.
        level.trusted &= call.given(1).is_some();
    }
    Err(Fault::Limit(format!(
        "the text still holds expressions after {MAX_RENDER_DEPTH} renders; does a variable hold itself?"
    )))
}
