//! Filters on lists and maps.

use std::cmp::Ordering;

use minijinja::Value;

use super::catalog::{Callable, filter_of};
use super::error::{Fault, bad};
use super::limits::{MAX_OUTPUT_BYTES, MAX_RANGE_ITEMS};
use super::runtime::Call;
use super::value::{Number, display, is_empty, is_missing, items, kind, weight};

type Outcome = Result<Value, Fault>;

pub(super) const FILTERS: &[Callable] = &[
    filter_of("chunk", &["value", "size"], 2, chunk),
    Callable {
        name: "default",
        kind: "filter",
        params: &["value", "default"],
        required: 2,
        takes_missing: true,
        run: |call| {
            Ok(if is_empty(&call.value(0)) {
                call.value(1)
            } else {
                call.value(0)
            })
        },
    },
    filter_of("distinct", &["value"], 1, distinct),
    filter_of("first", &["value"], 1, |call| end_of(call, false)),
    filter_of("flatten", &["value"], 1, flatten),
    filter_of("join", &["value", "separator"], 1, join),
    filter_of("keys", &["value"], 1, keys),
    filter_of("last", &["value"], 1, |call| end_of(call, true)),
    Callable {
        name: "length",
        kind: "filter",
        params: &["value"],
        required: 1,
        takes_missing: true,
        run: length,
    },
    filter_of("merge", &["value", "items"], 2, merge),
    filter_of("reverse", &["value"], 1, reverse),
    filter_of("rsort", &["value"], 1, |call| sorted(call, true)),
    filter_of("slice", &["value", "from", "to"], 2, slice),
    filter_of("sort", &["value"], 1, |call| sorted(call, false)),
    filter_of("values", &["value"], 1, |call| {
        Ok(call.map(0)?.into_iter().map(|(_, value)| value).collect())
    }),
];

fn chunk(call: &Call<'_>) -> Outcome {
    let list = call.list(0)?;
    match call.count(1, 0, MAX_RANGE_ITEMS)? {
        0 => bad("`chunk` needs a size of 1 or more"),
        size => Ok(list
            .chunks(size)
            .map(|part| Value::from(part.to_vec()))
            .collect()),
    }
}

fn distinct(call: &Call<'_>) -> Outcome {
    let mut seen = std::collections::HashSet::new();
    let mut kept = Vec::new();
    for item in call.list(0)? {
        if seen.insert(super::value::json_text(&item)?) {
            kept.push(item);
        }
    }
    Ok(Value::from(kept))
}

fn end_of(call: &Call<'_>, at_end: bool) -> Outcome {
    let value = call.value(0);
    if let Some(text) = value.as_str() {
        let c = if at_end {
            text.chars().next_back()
        } else {
            text.chars().next()
        };
        return Ok(c.map_or(Value::from(()), |c| Value::from(c.to_string())));
    }
    let items = call.list(0)?;
    let item = if at_end { items.last() } else { items.first() };
    Ok(item.cloned().unwrap_or_else(|| Value::from(())))
}

/// One level, as in Kestra.
fn flatten(call: &Call<'_>) -> Outcome {
    let mut flat = Vec::new();
    for item in call.list(0)? {
        match items(&item) {
            Some(inner) => flat.extend(inner),
            None => flat.push(item),
        }
    }
    Ok(Value::from(flat))
}

fn join(call: &Call<'_>) -> Outcome {
    let separator = call.text_or(1, "")?;
    let mut joined = String::new();
    for (index, item) in call.list(0)?.iter().enumerate() {
        if index > 0 {
            joined.push_str(&separator);
        }
        joined.push_str(&display(item)?);
        if joined.len() > MAX_OUTPUT_BYTES {
            return Err(Fault::Limit(format!(
                "`join` gives more than {MAX_OUTPUT_BYTES} bytes"
            )));
        }
    }
    Ok(Value::from(joined))
}

/// The keys of a map, or the places of a list.
fn keys(call: &Call<'_>) -> Outcome {
    match items(&call.value(0)) {
        Some(list) => Ok((0..list.len()).map(Value::from).collect()),
        None => Ok(call.map(0)?.into_iter().map(|(key, _)| key).collect()),
    }
}

/// Characters of a text, items of a list or map; 0 for null.
fn length(call: &Call<'_>) -> Outcome {
    let value = call.value(0);
    if is_missing(&value) {
        return Ok(Value::from(0));
    }
    match value.as_str() {
        Some(text) => Ok(Value::from(text.chars().count())),
        None => match value.len() {
            Some(length) => Ok(Value::from(length)),
            None => bad(format!(
                "`length` needs a text, list or map, not {}",
                kind(&value)
            )),
        },
    }
}

/// Two lists after each other, or two maps with the second's values where both have a key.
fn merge(call: &Call<'_>) -> Outcome {
    if let Some(mut list) = items(&call.value(0)) {
        list.extend(call.list(1)?);
        return Ok(Value::from(list));
    }
    let mut merged = call.map(0)?;
    for (key, value) in call.map(1)? {
        match merged.iter_mut().find(|(known, _)| *known == key) {
            Some(entry) => entry.1 = value,
            None => merged.push((key, value)),
        }
        if merged.len() > MAX_RANGE_ITEMS {
            return Err(Fault::Limit(format!(
                "`merge` gives a map of more than {MAX_RANGE_ITEMS} entries"
            )));
        }
    }
    Ok(Value::from_pairs(merged))
}

fn reverse(call: &Call<'_>) -> Outcome {
    if let Some(text) = call.value(0).as_str() {
        return Ok(Value::from(text.chars().rev().collect::<String>()));
    }
    let mut list = call.list(0)?;
    list.reverse();
    Ok(Value::from(list))
}

/// Numbers by size, texts by their characters; a list must hold one kind.
fn sorted(call: &Call<'_>, descending: bool) -> Outcome {
    let mut list = call.list(0)?;
    let numbers = list
        .iter()
        .filter(|item| Number::of(item).is_some())
        .count();
    let texts = list.iter().filter(|item| item.as_str().is_some()).count();
    if numbers != list.len() && texts != list.len() {
        return bad(format!(
            "`{}` needs a list of numbers or a list of texts; for others use `jq('sort_by(…)')`",
            call.name
        ));
    }
    list.sort_by(compare);
    if descending {
        list.reverse();
    }
    Ok(Value::from(list))
}

fn compare(a: &Value, b: &Value) -> Ordering {
    match (Number::of(a), Number::of(b)) {
        (Some(Number::Int(a)), Some(Number::Int(b))) => a.cmp(&b),
        (Some(a), Some(b)) => a.as_f64().total_cmp(&b.as_f64()),
        _ => a.as_str().cmp(&b.as_str()),
    }
}

/// From one place up to, not including, another.
fn slice(call: &Call<'_>) -> Outcome {
    let value = call.value(0);
    let length = value
        .as_str()
        .map_or_else(|| weight(&value), |text| text.chars().count());
    let from = call.count(1, 0, usize::MAX)?;
    let to = call.count(2, length, usize::MAX)?;
    if from > to {
        return bad(format!(
            "`slice` from {from} to {to} has its ends exchanged"
        ));
    }
    if let Some(text) = value.as_str() {
        return Ok(Value::from(
            text.chars().skip(from).take(to - from).collect::<String>(),
        ));
    }
    Ok(call
        .list(0)?
        .into_iter()
        .skip(from)
        .take(to - from)
        .collect())
}
