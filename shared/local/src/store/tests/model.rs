//! Filters and pages against a list in memory.

use std::collections::BTreeMap;

use operon_core::plan::ShardId;
use operon_engine::ports::{
    AttemptRow, ExecutionFilter, ExecutionRow, StateStore as _, TaskRunKey, Write,
};
use proptest::prelude::*;

use super::{SqliteStore, attempt, execution, fresh, id, run};

const STATES: [&str; 3] = ["RUNNING", "SUCCESS", "FAILED"];
const NAMES: [&str; 3] = ["x", "y", "it's \"z\""];

fn name() -> impl Strategy<Value = String> {
    prop::sample::select(&NAMES[..]).prop_map(str::to_owned)
}

fn labels() -> impl Strategy<Value = BTreeMap<String, String>> {
    prop::collection::btree_map(name(), name(), 0..3)
}

/// Executions with few distinct values, so that filters hit.
fn executions() -> impl Strategy<Value = Vec<ExecutionRow>> {
    let one = (
        0..20_u64,
        name(),
        name(),
        prop::sample::select(&STATES[..]),
        labels(),
        labels(),
    );
    prop::collection::vec(one, 0..30).prop_map(|rows| {
        let rows = rows.into_iter().enumerate();
        rows.map(|(n, (created_ms, namespace, flow, state, fixed, added))| {
            // Ids in another order than the times.
            let mut row = execution(&format!("e{}", (n * 7) % 31), created_ms);
            (row.meta.namespace, row.meta.flow) = (namespace, flow);
            (row.meta.labels, row.labels) = (fixed, added);
            state.clone_into(&mut row.state);
            row
        })
        .collect()
    })
}

fn filter() -> impl Strategy<Value = ExecutionFilter> {
    let states = prop::collection::vec(prop::sample::select(&STATES[..]), 0..3);
    (
        prop::option::of(name()),
        prop::option::of(name()),
        states,
        prop::collection::vec((name(), name()), 0..2),
        1..6_u32,
    )
        .prop_map(|(namespace, flow, states, labels, limit)| ExecutionFilter {
            namespace,
            flow,
            states: states.into_iter().map(str::to_owned).collect(),
            labels,
            limit,
            ..ExecutionFilter::default()
        })
}

fn matches(row: &ExecutionRow, filter: &ExecutionFilter) -> bool {
    let label = |key: &String| row.labels.get(key).or_else(|| row.meta.labels.get(key));
    let namespace = filter.namespace.as_ref();
    let flow = filter.flow.as_ref();
    namespace.is_none_or(|namespace| *namespace == row.meta.namespace)
        && flow.is_none_or(|flow| *flow == row.meta.flow)
        && (filter.states.is_empty() || filter.states.contains(&row.state))
        && (filter.labels.iter()).all(|(key, value)| label(key) == Some(value))
}

async fn all_pages(store: &SqliteStore, mut filter: ExecutionFilter) -> Vec<ExecutionRow> {
    let mut all = Vec::new();
    loop {
        let page = store.executions(&filter).await.unwrap();
        assert!(page.len() <= filter.limit as usize);
        let Some(last) = page.last() else { return all };
        filter.before = Some((last.meta.created_ms, last.meta.id.clone()));
        all.extend(page);
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(future)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn pages_of_a_filter_are_what_matches_newest_first(
        rows in executions(),
        filters in prop::collection::vec(filter(), 1..8),
    ) {
        let (_directory, store) = fresh();
        block_on(async {
            for row in &rows {
                store.create(row, b"").await.unwrap();
            }
            for filter in filters {
                let mut expected: Vec<_> = rows.iter().filter(|row| matches(row, &filter)).cloned().collect();
                expected.sort_by_key(|row| std::cmp::Reverse((row.meta.created_ms, row.meta.id.clone())));
                assert_eq!(all_pages(&store, filter).await, expected);
            }
        });
    }

    #[test]
    fn pages_of_attempts_are_all_of_them_in_the_order_of_their_keys(
        keys in prop::collection::btree_set((0..3_u16, prop::option::of((0..3_u16, 0..300_u32)), 0..4_u16, 0..3_u8), 0..40),
        limit in 1..9_u32,
    ) {
        let rows: Vec<AttemptRow> = keys
            .into_iter()
            .map(|(part, chunk, slot, number)| {
                let shard = ShardId::of_part(part);
                let shard = chunk.map_or(shard.clone(), |(slot, chunk)| shard.of_loop(slot, chunk));
                let mut row = attempt("a", run(shard, slot), number);
                row.task = if slot == 0 { "sort".to_owned() } else { "align".to_owned() };
                row
            })
            .collect();
        let (_directory, store) = fresh();
        block_on(async {
            let mut attempts = rows.clone();
            attempts.reverse();
            attempts.push(attempt("b", run(ShardId::ROOT, 0), 1));
            store.write(Write { attempts, ..Write::default() }).await.unwrap();
            let mut expected = rows.clone();
            expected.sort_by_key(key);
            let mut all: Vec<AttemptRow> = Vec::new();
            loop {
                let page = store.attempts_page(&id("a"), all.last().map(key), limit).await.unwrap();
                if page.is_empty() {
                    break;
                }
                assert!(page.len() <= limit as usize);
                all.extend(page);
            }
            assert_eq!(all, expected);
            for task in ["sort", "align"] {
                let expected: Vec<_> = expected.iter().filter(|row| row.task == task).cloned().collect();
                assert_eq!(store.attempts_of_task(&id("a"), task, 1000).await.unwrap(), expected);
                let first: Vec<_> = expected.iter().take(limit as usize).cloned().collect();
                assert_eq!(store.attempts_of_task(&id("a"), task, limit).await.unwrap(), first);
            }
        });
    }
}

fn key(row: &AttemptRow) -> (TaskRunKey, u8) {
    (row.task_run.clone(), row.attempt)
}
