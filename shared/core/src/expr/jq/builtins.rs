//! jq's named filters.

use jaq_core::load::parse::Term;
use jaq_core::ops::Math;
use serde_json::{Map, Value as Json};

use super::super::error::Fault;
use super::super::limits::MAX_RANGE_ITEMS;
use super::super::text::regex;
use super::eval::{Machine, Vars};
use super::values::{
    children, compare, contains, is_true, math, number_of, one, rounded, split, to_text, type_name,
};
use super::{Results, Stop, fail};

/// Every filter that is called by name.
pub(super) fn call<'a>(
    machine: &mut Machine,
    name: &str,
    args: &[Term<&'a str>],
    vars: &Vars<'a>,
    input: &Json,
) -> Results {
    match (name, args) {
        ("empty", []) => Ok(Vec::new()),
        ("true", []) => one(true),
        ("false", []) => one(false),
        ("null", []) => Ok(vec![Json::Null]),
        ("error", []) => Err(Stop::Error(input.clone())),
        ("map", [filter]) => {
            let mut all = Vec::new();
            for item in children(input)? {
                all.extend(machine.eval(filter, vars, &item)?);
            }
            machine.charge(&all)?;
            one(all)
        }
        ("map_values", [filter]) => map_values(machine, filter, vars, input),
        ("select", [test]) => {
            let keep = machine.eval(test, vars, input)?;
            Ok(keep
                .iter()
                .filter(|value| is_true(value))
                .map(|_| input.clone())
                .collect())
        }
        ("with_entries", [filter]) => {
            let mut entries = Vec::new();
            for entry in to_entries(input)? {
                entries.extend(machine.eval(filter, vars, &entry)?);
            }
            from_entries(&entries)
        }
        ("sort_by" | "group_by" | "unique_by" | "min_by" | "max_by", [key]) => {
            let mut keyed = Vec::new();
            for item in array(name, input)? {
                keyed.push((Json::Array(machine.eval(key, vars, item)?), item.clone()));
            }
            by_key(name.trim_end_matches("_by"), keyed)
        }
        ("sort" | "group" | "unique" | "min" | "max", []) => by_key(
            name,
            array(name, input)?
                .iter()
                .map(|item| (item.clone(), item.clone()))
                .collect(),
        ),
        ("any" | "all", []) => {
            let items = array(name, input)?;
            one(if name == "any" {
                items.iter().any(is_true)
            } else {
                items.iter().all(is_true)
            })
        }
        ("any" | "all", [test]) => {
            let mut found = name == "all";
            for item in children(input)? {
                for result in machine.eval(test, vars, &item)? {
                    found = if name == "any" {
                        found || is_true(&result)
                    } else {
                        found && is_true(&result)
                    };
                }
            }
            one(found)
        }
        ("first", [filter]) => Ok(machine
            .eval(filter, vars, input)?
            .into_iter()
            .take(1)
            .collect()),
        ("last", [filter]) => Ok(machine
            .eval(filter, vars, input)?
            .pop()
            .into_iter()
            .collect()),
        ("recurse", []) => machine.eval(&Term::Recurse, vars, input),
        ("range", [to]) => range(&[0.into()], &machine.eval(to, vars, input)?),
        ("range", [from, to]) => range(
            &machine.eval(from, vars, input)?,
            &machine.eval(to, vars, input)?,
        ),
        (_, []) => plain(name, input),
        (_, [arg]) => {
            let mut all = Vec::new();
            for arg in machine.eval(arg, vars, input)? {
                if matches!(name, "contains" | "inside") {
                    machine.charge_product(input, &arg)?;
                }
                all.push(unary(name, input, &arg)?);
            }
            Ok(all)
        }
        _ => unknown(name, args.len()),
    }
}

fn unknown<T>(name: &str, args: usize) -> Result<T, Stop> {
    fail(format!(
        "`{name}` with {args} arguments is not supported; use another filter or a task"
    ))
}

fn plain(name: &str, input: &Json) -> Results {
    match (name, input) {
        ("not", _) => one(!is_true(input)),
        ("length", Json::Null) => one(0),
        ("length", Json::String(text)) => one(text.chars().count()),
        ("length", Json::Number(number)) => one(number.as_f64().unwrap_or_default().abs()),
        ("length", Json::Array(items)) => one(items.len()),
        ("length", Json::Object(map)) => one(map.len()),
        ("keys" | "keys_unsorted", Json::Object(map)) => {
            let mut keys: Vec<&str> = map.keys().map(String::as_str).collect();
            if name == "keys" {
                keys.sort_unstable();
            }
            one(keys)
        }
        ("keys" | "keys_unsorted", Json::Array(items)) => one((0..items.len()).collect::<Vec<_>>()),
        ("to_entries", _) => one(to_entries(input)?),
        ("from_entries", _) => from_entries(array(name, input)?),
        ("add", _) => {
            let mut sum = Json::Null;
            for item in children(input)? {
                match (&mut sum, item) {
                    (Json::String(sum), Json::String(text)) => sum.push_str(&text),
                    (Json::Array(sum), Json::Array(items)) => sum.extend(items),
                    (_, item) => sum = math(Math::Add, &sum, &item)?.pop().unwrap_or_default(),
                }
            }
            Ok(vec![sum])
        }
        ("first", Json::Array(items)) => Ok(vec![items.first().cloned().unwrap_or_default()]),
        ("last", Json::Array(items)) => Ok(vec![items.last().cloned().unwrap_or_default()]),
        ("flatten", _) => {
            let mut flat = Vec::new();
            flatten(array(name, input)?, &mut flat);
            one(flat)
        }
        ("reverse", Json::Array(items)) => one(items.iter().rev().cloned().collect::<Vec<_>>()),
        ("reverse", Json::String(text)) => one(text.chars().rev().collect::<String>()),
        ("reverse", Json::Null) => one(Vec::<Json>::new()),
        ("type", _) => one(type_name(input)),
        ("tostring", _) => one(to_text(input)),
        ("tojson", _) => one(input.to_string()),
        ("tonumber", Json::Number(_)) => Ok(vec![input.clone()]),
        ("tonumber", Json::String(text)) => match serde_json::from_str(text.trim()) {
            Ok(number @ Json::Number(_)) => Ok(vec![number]),
            _ => fail("the string is not a number"),
        },
        ("fromjson", Json::String(text)) => match serde_json::from_str(text) {
            Ok(value) => Ok(vec![value]),
            Err(_) => fail("the string is not JSON"),
        },
        ("ascii_downcase", Json::String(text)) => one(text.to_ascii_lowercase()),
        ("ascii_upcase", Json::String(text)) => one(text.to_ascii_uppercase()),
        ("floor", Json::Number(number)) => rounded(number.as_f64().unwrap_or_default().floor()),
        ("ceil", Json::Number(number)) => rounded(number.as_f64().unwrap_or_default().ceil()),
        ("round", Json::Number(number)) => rounded(number.as_f64().unwrap_or_default().round()),
        ("sqrt", Json::Number(number)) => number_of(number.as_f64().unwrap_or_default().sqrt()),
        ("values", _) => Ok(if input.is_null() {
            Vec::new()
        } else {
            vec![input.clone()]
        }),
        ("arrays" | "objects" | "strings" | "numbers" | "booleans" | "nulls", _) => {
            let keep = name.trim_end_matches('s') == type_name(input);
            Ok(if keep {
                vec![input.clone()]
            } else {
                Vec::new()
            })
        }
        (
            "length" | "keys" | "keys_unsorted" | "first" | "last" | "reverse" | "tonumber"
            | "fromjson" | "ascii_downcase" | "ascii_upcase" | "floor" | "ceil" | "round" | "sqrt",
            _,
        ) => fail(format!("`{name}` does not apply to {}", type_name(input))),
        _ => unknown(name, 0),
    }
}

fn unary(name: &str, input: &Json, arg: &Json) -> Result<Json, Stop> {
    Ok(match (name, input, arg) {
        ("error", _, _) => return Err(Stop::Error(arg.clone())),
        ("has", Json::Object(map), Json::String(key)) => Json::from(map.contains_key(key)),
        ("has", Json::Array(items), Json::Number(at)) => {
            Json::from(at.as_u64().is_some_and(|at| at < items.len() as u64))
        }
        ("contains", _, _) => Json::from(contains(input, arg)),
        ("inside", _, _) => Json::from(contains(arg, input)),
        ("join", Json::Array(items), Json::String(separator)) => {
            let texts: Vec<String> = items
                .iter()
                .map(|item| {
                    if item.is_null() {
                        String::new()
                    } else {
                        to_text(item)
                    }
                })
                .collect();
            Json::from(texts.join(separator))
        }
        ("split", Json::String(text), Json::String(separator)) => split(text, separator),
        ("startswith", Json::String(text), Json::String(part)) => {
            Json::from(text.starts_with(part.as_str()))
        }
        ("endswith", Json::String(text), Json::String(part)) => {
            Json::from(text.ends_with(part.as_str()))
        }
        ("ltrimstr", Json::String(text), Json::String(part)) => {
            Json::from(text.strip_prefix(part.as_str()).unwrap_or(text))
        }
        ("rtrimstr", Json::String(text), Json::String(part)) => {
            Json::from(text.strip_suffix(part.as_str()).unwrap_or(text))
        }
        ("test", Json::String(text), Json::String(pattern)) => match regex(pattern) {
            Ok(regex) => Json::from(regex.is_match(text)),
            Err(Fault::Limit(message)) => return Err(Stop::Limit(message)),
            Err(_) => return fail(format!("`{pattern}` is not a regular expression")),
        },
        ("index", Json::String(text), Json::String(part)) => text
            .find(part.as_str())
            .map_or(Json::Null, |at| Json::from(text[..at].chars().count())),
        (
            "has" | "join" | "split" | "startswith" | "endswith" | "ltrimstr" | "rtrimstr" | "test"
            | "index",
            _,
            _,
        ) => {
            let (input, arg) = (type_name(input), type_name(arg));
            return fail(format!("`{name}` does not apply to {input} and {arg}"));
        }
        _ => return unknown(name, 1),
    })
}

fn map_values<'a>(
    machine: &mut Machine,
    filter: &Term<&'a str>,
    vars: &Vars<'a>,
    input: &Json,
) -> Results {
    let Json::Object(map) = input else {
        return call(machine, "map", std::slice::from_ref(filter), vars, input);
    };
    let mut mapped = Map::new();
    for (key, value) in map {
        if let Some(value) = machine.eval(filter, vars, value)?.into_iter().next() {
            mapped.insert(key.clone(), value);
        }
    }
    one(mapped)
}

/// What is sorted, grouped or chosen by a key.
fn by_key(what: &str, mut keyed: Vec<(Json, Json)>) -> Results {
    keyed.sort_by(|(a, _), (b, _)| compare(a, b));
    match what {
        "min" => Ok(vec![
            keyed
                .into_iter()
                .next()
                .map_or(Json::Null, |(_, item)| item),
        ]),
        "max" => Ok(vec![keyed.pop().map_or(Json::Null, |(_, item)| item)]),
        "sort" => one(keyed.into_iter().map(|(_, item)| item).collect::<Vec<_>>()),
        _ => {
            let mut groups: Vec<Vec<Json>> = Vec::new();
            let mut last: Option<Json> = None;
            for (key, item) in keyed {
                match groups.last_mut() {
                    Some(group)
                        if last
                            .as_ref()
                            .is_some_and(|last| compare(last, &key).is_eq()) =>
                    {
                        group.push(item);
                    }
                    _ => groups.push(vec![item]),
                }
                last = Some(key);
            }
            if what == "unique" {
                return one(groups
                    .into_iter()
                    .filter_map(|group| group.into_iter().next())
                    .collect::<Vec<_>>());
            }
            one(groups.into_iter().map(Json::from).collect::<Vec<_>>())
        }
    }
}

fn array<'v>(name: &str, value: &'v Json) -> Result<&'v [Json], Stop> {
    match value {
        Json::Array(items) => Ok(items),
        _ => fail(format!("`{name}` needs an array, not {}", type_name(value))),
    }
}

fn to_entries(input: &Json) -> Results {
    match input {
        Json::Object(map) => Ok(map
            .iter()
            .map(|(key, value)| serde_json::json!({"key": key, "value": value}))
            .collect()),
        _ => fail(format!(
            "`to_entries` needs an object, not {}",
            type_name(input)
        )),
    }
}

fn from_entries(entries: &[Json]) -> Results {
    let mut map = Map::new();
    for entry in entries {
        let key = ["key", "k", "name"]
            .iter()
            .find_map(|name| entry.get(name))
            .unwrap_or(&Json::Null);
        let value = ["value", "v"].iter().find_map(|name| entry.get(name));
        map.insert(to_text(key), value.cloned().unwrap_or_default());
    }
    one(map)
}

fn flatten(items: &[Json], flat: &mut Vec<Json>) {
    for item in items {
        match item {
            Json::Array(items) => flatten(items, flat),
            item => flat.push(item.clone()),
        }
    }
}

fn range(from: &[Json], to: &[Json]) -> Results {
    let mut all = Vec::new();
    for (from, to) in from
        .iter()
        .flat_map(|from| to.iter().map(move |to| (from, to)))
    {
        let (Some(from), Some(to)) = (from.as_i64(), to.as_i64()) else {
            return fail("`range` needs integers");
        };
        let count = i128::from(to) - i128::from(from);
        if count > MAX_RANGE_ITEMS as i128 || all.len() > MAX_RANGE_ITEMS {
            return Err(Stop::Limit(format!(
                "a range may have {MAX_RANGE_ITEMS} items"
            )));
        }
        all.extend((from..to).map(Json::from));
    }
    Ok(all)
}
