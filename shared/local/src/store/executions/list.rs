//! Listing executions: a page costs what it shows, however many executions there are.
//!
//! SQLite uses one index per table of a query, so a query must be one for which there is an index that has its
//! conditions first and the order second: one state at a time, merged here; and of labels, one that drives the
//! query, or none where the state is rarer. Invariant: no list sorts more than pages.

use operon_engine::ports::{ExecutionFilter, ExecutionRow, StoreError};
use rusqlite::types::Value as Column;
use rusqlite::{Connection, params_from_iter};

use super::super::codec::{failed, int};
use super::super::shards::prepare;
use super::{COLUMNS, execution};

/// Conditions of a filter at most, so that a query stays within SQLite's limits.
const CONDITIONS_MAX: usize = 64;
/// A state is rare if fewer executions than this are in it: they are looked through one by one.
const RARE: u32 = 5_000;

/// Executions that match, newest first; oldest first after a cursor that says so.
pub(in crate::store) fn list(
    connection: &Connection,
    filter: &ExecutionFilter,
) -> Result<Vec<ExecutionRow>, StoreError> {
    if filter.states.len() > CONDITIONS_MAX || filter.labels.len() > CONDITIONS_MAX {
        return Err(StoreError::Failed(format!(
            "a filter takes at most {CONDITIONS_MAX} states and as many labels"
        )));
    }
    let mut states: Vec<Option<&str>> = filter.states.iter().map(|s| Some(s.as_str())).collect();
    states.sort_unstable();
    states.dedup();
    if states.is_empty() {
        states.push(None);
    }
    let rarest_first = ordered(connection, filter)?;
    let filter = &rarest_first;
    let mut executions = Vec::new();
    for state in &states {
        branch(connection, filter, *state, &mut executions)?;
    }
    if states.len() > 1 {
        let ascending = filter.after.is_some();
        executions.sort_by(|a, b| {
            let order = (b.meta.created_ms, &b.meta.id).cmp(&(a.meta.created_ms, &a.meta.id));
            if ascending { order.reverse() } else { order }
        });
        executions.truncate(usize::try_from(filter.limit).unwrap_or(usize::MAX));
    }
    Ok(executions)
}

/// The filter with the rarest of its labels first, which is the one that drives the query: behind a common one, every
/// execution that has it would be passed by.
fn ordered(
    connection: &Connection,
    filter: &ExecutionFilter,
) -> Result<ExecutionFilter, StoreError> {
    let mut filter = filter.clone();
    if filter.labels.len() > 1 {
        let sql = "SELECT count(*) FROM (SELECT 1 FROM execution_labels WHERE key = ?1 AND value = ?2 LIMIT ?3)";
        let mut counted = Vec::with_capacity(filter.labels.len());
        for (key, value) in filter.labels {
            let count: u32 = prepare(connection, sql)?
                .query_row((&key, &value, RARE), |row| row.get(0))
                .map_err(failed)?;
            counted.push((count, (key, value)));
        }
        counted.sort_by_key(|(count, _)| *count);
        filter.labels = counted.into_iter().map(|(_, label)| label).collect();
    }
    Ok(filter)
}

/// Executions that match and are in one state.
fn branch(
    connection: &Connection,
    filter: &ExecutionFilter,
    state: Option<&str>,
    into: &mut Vec<ExecutionRow>,
) -> Result<(), StoreError> {
    let by_label = match (filter.labels.is_empty(), state) {
        (true, _) => false,
        (false, None) => filter.parent.is_none(),
        (false, Some(state)) => filter.parent.is_none() && !is_rare(connection, state)?,
    };
    let query = Query::of(filter, state, by_label);
    let mut statement = prepare(connection, &query.sql)?;
    let mut rows = statement
        .query(params_from_iter(query.values))
        .map_err(failed)?;
    while let Some(row) = rows.next().map_err(failed)? {
        into.push(execution(row)?);
    }
    Ok(())
}

fn is_rare(connection: &Connection, state: &str) -> Result<bool, StoreError> {
    let sql = "SELECT count(*) FROM (SELECT 1 FROM executions WHERE state = ?1 LIMIT ?2)";
    let count: u32 = prepare(connection, sql)?
        .query_row((state, RARE), |row| row.get(0))
        .map_err(failed)?;
    Ok(count < RARE)
}

/// A statement and its parameters. Few different texts come out, so they stay prepared.
pub(super) struct Query {
    pub(super) sql: String,
    pub(super) values: Vec<Column>,
}

#[derive(Default)]
struct Conditions {
    texts: Vec<String>,
    values: Vec<Column>,
}

impl Conditions {
    fn add(&mut self, text: impl Into<String>, values: impl IntoIterator<Item = Column>) {
        self.texts.push(text.into());
        self.values.extend(values);
    }
}

impl Query {
    pub(super) fn of(filter: &ExecutionFilter, state: Option<&str>, by_label: bool) -> Self {
        let mut conditions = Conditions::default();
        let mut labels = filter.labels.iter();
        let (from, created, id) = if let Some((key, value)) = labels.next().filter(|_| by_label) {
            let values = [key.clone().into(), value.clone().into()];
            conditions.add("label.key = ? AND label.value = ?", values);
            // `CROSS JOIN` keeps this order of tables: the label drives.
            let from = "execution_labels AS label CROSS JOIN executions ON executions.id = label.execution";
            (from, "label.created_ms", "label.execution")
        } else {
            labels = filter.labels.iter();
            ("executions", "created_ms", "id")
        };
        for (column, value) in [
            ("namespace", filter.namespace.as_deref()),
            ("flow", filter.flow.as_deref()),
            ("state", state),
            (
                "parent",
                filter
                    .parent
                    .as_ref()
                    .map(operon_engine::ports::ExecutionId::as_str),
            ),
        ] {
            if let Some(value) = value {
                let value = value.to_owned().into();
                conditions.add(format!("executions.{column} = ?"), [value]);
            }
        }
        for (key, value) in labels {
            conditions.add(
                "EXISTS (SELECT 1 FROM execution_labels AS other WHERE other.key = ? AND other.value = ? \
                 AND other.created_ms = executions.created_ms AND other.execution = executions.id)",
                [key.clone().into(), value.clone().into()],
            );
        }
        for (compare, place) in [("<", &filter.before), (">", &filter.after)] {
            if let Some((ms, execution)) = place {
                let values = [int(*ms).into(), execution.as_str().to_owned().into()];
                conditions.add(format!("({created}, {id}) {compare} (?, ?)"), values);
            }
        }
        for (compare, ms) in [(">=", filter.from_ms), ("<", filter.to_ms)] {
            if let Some(ms) = ms {
                conditions.add(format!("{created} {compare} ?"), [int(ms).into()]);
            }
        }
        let filters = if conditions.texts.is_empty() {
            String::new()
        } else {
            format!("WHERE {}", conditions.texts.join(" AND "))
        };
        let order = if filter.after.is_some() {
            "ASC"
        } else {
            "DESC"
        };
        let mut values = conditions.values;
        values.push(i64::from(filter.limit).into());
        Self {
            sql: format!(
                "SELECT {COLUMNS} FROM {from} {filters} ORDER BY {created} {order}, {id} {order} LIMIT ?"
            ),
            values,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::store::schema::{Role, open};

    /// What SQLite does for a query, one line per step.
    fn plan(filter: &ExecutionFilter, state: Option<&str>, by_label: bool) -> String {
        let directory = tempfile::tempdir().unwrap();
        let connection = open(&directory.path().join("state.sqlite"), Role::Writer).unwrap();
        let query = Query::of(filter, state, by_label);
        let sql = format!("EXPLAIN QUERY PLAN {}", query.sql);
        let mut statement = connection.prepare(&sql).unwrap();
        let rows = statement
            .query_map(params_from_iter(query.values), |row| {
                row.get::<_, String>(3)
            })
            .unwrap();
        rows.map(Result::unwrap).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn every_list_reads_an_index_in_its_order() {
        let text = |text: &str| Some(text.to_owned());
        let namespace = ExecutionFilter {
            namespace: text("n"),
            ..ExecutionFilter::default()
        };
        let flow = ExecutionFilter {
            flow: text("f"),
            ..namespace.clone()
        };
        let parent = ExecutionFilter {
            parent: "p".parse().ok(),
            ..ExecutionFilter::default()
        };
        let label = ExecutionFilter {
            labels: vec![("k".to_owned(), "v".to_owned())],
            ..flow.clone()
        };
        let after = ExecutionFilter {
            after: Some((5, "a".parse().unwrap())),
            from_ms: Some(1),
            to_ms: Some(9),
            ..flow.clone()
        };
        for (filter, state, by_label, index) in [
            (
                &ExecutionFilter::default(),
                None,
                false,
                "executions_created",
            ),
            (
                &ExecutionFilter::default(),
                Some("FAILED"),
                false,
                "executions_state",
            ),
            (&namespace, None, false, "executions_namespace"),
            (
                &namespace,
                Some("FAILED"),
                false,
                "executions_namespace_state",
            ),
            (&flow, None, false, "executions_flow"),
            (&flow, Some("FAILED"), false, "executions_flow_state"),
            (&after, None, false, "executions_flow"),
            (&parent, None, false, "executions_parent"),
            (&label, None, true, "PRIMARY KEY"),
            (&label, Some("FAILED"), false, "executions_flow_state"),
        ] {
            let plan = plan(filter, state, by_label);
            // What has no condition on the index ends with its name.
            let first = format!("{} ", plan.lines().next().unwrap_or_default());
            assert!(first.contains(&format!("{index} ")), "{index}: {plan}");
            assert!(!plan.contains("TEMP B-TREE"), "sorts: {plan}");
        }
    }
}
