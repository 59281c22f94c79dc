//! `core.execution.Count`: how many executions there are.

use std::collections::BTreeMap;

use jiff::Timestamp;
use operon_core::lang::catalogue;
use serde_json::{Value, json};

use super::props::{Props, scalar_text, shown};
use super::{TaskCall, TaskError, TaskOutput, outputs};
use crate::ports::ExecutionFilter;

/// Executions that one task looks at. The store is asked page by page; this bounds time and money.
pub const COUNT_EXECUTIONS_MAX: u64 = 100_000;
/// Executions per page.
const PAGE: u32 = 500;
/// Flows and namespaces that one task asks for.
pub const COUNT_FLOWS_MAX: usize = 100;

/// Executions that count.
struct Wanted {
    states: Vec<String>,
    labels: Vec<(String, String)>,
    /// Milliseconds since the epoch, both ends included.
    begin_ms: u64,
    end_ms: u64,
}

/// Counts executions of `executions` (a list of `namespace` and `flowId`) and of `namespaces`; of the
/// execution's own flow when neither is given. Gives `total` and `results`, one entry per flow.
pub(super) async fn count(call: &TaskCall<'_>) -> Result<TaskOutput, TaskError> {
    let props = Props::new(&call.props);
    let wanted = Wanted {
        states: states(&props)?,
        labels: labels(&props)?,
        begin_ms: time_ms(&props, "startDate")?.unwrap_or(0),
        end_ms: time_ms(&props, "endDate")?.unwrap_or(u64::MAX),
    };
    let mut counts: BTreeMap<(String, String), u64> = BTreeMap::new();
    let mut left = COUNT_EXECUTIONS_MAX;
    for (namespace, flow) in places(call, &props)? {
        if let Some(flow) = &flow {
            counts.entry((namespace.clone(), flow.clone())).or_default();
        }
        count_in(call, &namespace, flow, &wanted, &mut left, &mut counts).await?;
    }
    let total: u64 = counts.values().sum();
    let results: Vec<Value> = counts
        .into_iter()
        .map(|((namespace, flow), count)| {
            json!({"namespace": namespace, "flowId": flow, "count": count})
        })
        .collect();
    Ok(outputs([
        ("total", json!(total)),
        ("results", json!(results)),
    ]))
}

async fn count_in(
    call: &TaskCall<'_>,
    namespace: &str,
    flow: Option<String>,
    wanted: &Wanted,
    left: &mut u64,
    counts: &mut BTreeMap<(String, String), u64>,
) -> Result<(), TaskError> {
    let mut filter = ExecutionFilter {
        namespace: Some(namespace.to_owned()),
        flow,
        states: wanted.states.clone(),
        labels: wanted.labels.clone(),
        limit: PAGE,
        ..ExecutionFilter::default()
    };
    loop {
        let rows = call.ports.store.executions(&filter).await?;
        let Some(last) = rows.last() else {
            return Ok(());
        };
        filter.before = Some((last.meta.created_ms, last.meta.id.clone()));
        for row in rows {
            if row.meta.created_ms < wanted.begin_ms {
                return Ok(()); // Newest first: all others are older.
            }
            *left = left.checked_sub(1).ok_or_else(too_many)?;
            if row.meta.created_ms <= wanted.end_ms {
                *counts
                    .entry((row.meta.namespace, row.meta.flow))
                    .or_default() += 1;
            }
        }
    }
}

fn too_many() -> TaskError {
    TaskError::invalid(format!(
        "there are more than {COUNT_EXECUTIONS_MAX} executions to look at; set a later `startDate`"
    ))
}

/// Namespaces to count in, and the flow there if only one counts.
fn places(
    call: &TaskCall<'_>,
    props: &Props<'_>,
) -> Result<Vec<(String, Option<String>)>, TaskError> {
    let mut places = Vec::new();
    for (index, entry) in props
        .list("executions")?
        .unwrap_or_default()
        .iter()
        .enumerate()
    {
        let Some(entry) = entry.as_object() else {
            let name = format!("executions[{index}]");
            let what = format!(
                "must be a map of `namespace` and `flowId`, not {}",
                shown(entry)
            );
            return Err(props.wrong(&name, &what));
        };
        let text = |key: &str| entry.get(key).and_then(scalar_text);
        let namespace = text("namespace").unwrap_or_else(|| call.meta.namespace.clone());
        places.push((namespace, text("flowId")));
    }
    for namespace in props.texts("namespaces")?.unwrap_or_default() {
        places.push((namespace, None));
    }
    if places.len() > COUNT_FLOWS_MAX {
        let what = format!(
            "names {} flows; at most {COUNT_FLOWS_MAX} are possible",
            places.len()
        );
        return Err(props.wrong("executions", &what));
    }
    if places.is_empty() {
        places.push((call.meta.namespace.clone(), Some(call.meta.flow.clone())));
    }
    // A flow whose whole namespace counts must not count twice.
    let whole: Vec<String> = places
        .iter()
        .filter(|(_, flow)| flow.is_none())
        .map(|(namespace, _)| namespace.clone())
        .collect();
    places.retain(|(namespace, flow)| flow.is_none() || !whole.contains(namespace));
    places.sort();
    places.dedup();
    Ok(places)
}

fn states(props: &Props<'_>) -> Result<Vec<String>, TaskError> {
    let texts = props.texts("states")?.unwrap_or_default();
    let states: Vec<String> = texts
        .iter()
        .map(|text| text.trim().to_uppercase())
        .collect();
    for state in &states {
        let known = state_names().contains(&state.as_str());
        if !known {
            let what = format!("has `{state}`, which is not a state of executions");
            return Err(props.wrong("states", &what));
        }
    }
    Ok(states)
}

/// The names that the language accepts.
fn state_names() -> &'static [&'static str] {
    use catalogue::PropType;
    let info = catalogue::task_type("io.kestra.plugin.core.execution.Count");
    let states = info.and_then(|info| info.prop("states"));
    match states.map(|states| states.ty) {
        Some(PropType::List(PropType::Enum(names))) => names,
        _ => &[],
    }
}

fn labels(props: &Props<'_>) -> Result<Vec<(String, String)>, TaskError> {
    let mut labels = Vec::new();
    for (key, value) in props.map("labels")?.iter() {
        let text = scalar_text(value)
            .ok_or_else(|| props.wrong(&format!("labels.{key}"), "must be text"))?;
        labels.push((key.clone(), text));
    }
    Ok(labels)
}

fn time_ms(props: &Props<'_>, name: &str) -> Result<Option<u64>, TaskError> {
    let Some(text) = props.text(name)? else {
        return Ok(None);
    };
    let time: Timestamp = text.trim().parse().map_err(|_| {
        let what = format!("is `{text}`; write a time with offset, such as `2030-01-01T00:00:00Z`");
        props.wrong(name, &what)
    })?;
    Ok(Some(u64::try_from(time.as_millisecond()).unwrap_or(0)))
}
