//! Lists of executions against a list in memory.

use operon_core::plan::ShardId;
use operon_engine::ports::{ExecutionFilter, ExecutionRow, StateStore};

use super::rows::{PLAN, execution, id, run};

const STATES: [&str; 6] = [
    "RUNNING", "SUCCESS", "FAILED", "WARNING", "QUEUED", "KILLED",
];

/// Executions with few distinct values, so that filters hit; some of the same time.
fn executions() -> Vec<ExecutionRow> {
    let rows = (0..36_u64).map(|n| {
        // Ids in another order than the times.
        let mut row = execution(&format!("list{}", (n * 7) % 37), 1000 + n / 2);
        ["x", "x.y", "it's \"z\"/%"][usize::try_from(n % 3).unwrap_or(0)]
            .clone_into(&mut row.meta.namespace);
        ["f", "g"][usize::try_from(n / 3 % 2).unwrap_or(0)].clone_into(&mut row.meta.flow);
        STATES[usize::try_from(n / 2 % 6).unwrap_or(0)].clone_into(&mut row.state);
        row.meta.labels = [(
            "team".to_owned(),
            ["a", "b"][usize::try_from(n % 2).unwrap_or(0)].to_owned(),
        )]
        .into();
        if n % 7 == 0 {
            row.meta.parent = Some((id("parent2"), run(ShardId::ROOT, 0), 1));
        }
        if n % 5 == 0 {
            row.labels = [
                ("team".to_owned(), "c".to_owned()),
                ("a/b".to_owned(), "x".to_owned()),
            ]
            .into();
        }
        row
    });
    rows.collect()
}

fn filters() -> Vec<ExecutionFilter> {
    let mut filters = Vec::new();
    let some = |text: &str| Some(text.to_owned());
    for (namespace, flow) in [
        (None, None),
        (some("x"), None),
        (some("it's \"z\"/%"), some("f")),
        (None, some("g")),
        (some("nobody"), None),
    ] {
        for states in [
            &[][..],
            &["FAILED"],
            &["SUCCESS"],
            &["RUNNING", "QUEUED"],
            &["SUCCESS", "KILLED"],
        ] {
            for labels in [
                &[][..],
                &[("team", "c")],
                &[("team", "a"), ("a/b", "x")],
                &[("a", "b/x")],
            ] {
                filters.push(ExecutionFilter {
                    namespace: namespace.clone(),
                    flow: flow.clone(),
                    states: states.iter().map(|state| (*state).to_owned()).collect(),
                    labels: labels
                        .iter()
                        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                        .collect(),
                    limit: 4,
                    ..ExecutionFilter::default()
                });
            }
        }
    }
    for (from_ms, to_ms) in [
        (Some(1003), None),
        (None, Some(1007)),
        (Some(1003), Some(1009)),
        (Some(9), Some(5)),
    ] {
        for parent in [
            None,
            Some(id("parent")),
            Some(id("parent2")),
            Some(id("none")),
        ] {
            filters.push(ExecutionFilter {
                from_ms,
                to_ms,
                parent,
                limit: 4,
                ..ExecutionFilter::default()
            });
        }
    }
    filters
}

fn matches(row: &ExecutionRow, filter: &ExecutionFilter) -> bool {
    let label = |key: &String| row.labels.get(key).or_else(|| row.meta.labels.get(key));
    let namespace = filter.namespace.as_ref();
    let flow = filter.flow.as_ref();
    namespace.is_none_or(|namespace| *namespace == row.meta.namespace)
        && flow.is_none_or(|flow| *flow == row.meta.flow)
        && (filter.states.is_empty() || filter.states.contains(&row.state))
        && (filter.labels.iter()).all(|(key, value)| label(key) == Some(value))
        && filter
            .from_ms
            .is_none_or(|from| row.meta.created_ms >= from)
        && filter.to_ms.is_none_or(|to| row.meta.created_ms < to)
        && filter
            .parent
            .as_ref()
            .is_none_or(|id| row.meta.parent.as_ref().is_some_and(|p| p.0 == *id))
}

#[allow(clippy::unwrap_used, reason = "a test")]
async fn all_pages(store: &dyn StateStore, mut filter: ExecutionFilter) -> Vec<ExecutionRow> {
    let mut all = Vec::new();
    loop {
        let page = store.executions(&filter).await.unwrap();
        assert!(page.len() <= 4);
        let Some(last) = page.last() else { return all };
        filter.before = Some((last.meta.created_ms, last.meta.id.clone()));
        all.extend(page);
    }
}

#[allow(clippy::unwrap_used, reason = "a test")]
pub(super) async fn lists(store: &dyn StateStore) {
    let rows = executions();
    for row in &rows {
        store.create(row, PLAN).await.unwrap();
    }
    for filter in filters() {
        let mut expected: Vec<_> = rows
            .iter()
            .filter(|row| matches(row, &filter))
            .cloned()
            .collect();
        expected.sort_by_key(|row| std::cmp::Reverse((row.meta.created_ms, row.meta.id.clone())));
        assert_eq!(
            all_pages(store, filter.clone()).await,
            expected,
            "{filter:?}"
        );
    }
}
