#![allow(clippy::unwrap_used, clippy::expect_used)]

use operon_core::plan::ShardId;
use operon_engine::ports::{ExecutionMeta, Usage};
use serde_json::{Map, Value};

use super::*;

fn execution() -> ExecutionRow {
    ExecutionRow {
        meta: ExecutionMeta {
            id: "abc".parse().unwrap(),
            namespace: "lab".to_owned(),
            flow: "demo".to_owned(),
            revision: 1,
            plan_hash: String::new(),
            inputs: Map::new(),
            labels: BTreeMap::new(),
            trigger: Value::Null,
            created_ms: 0,
            parent: None,
            replay_of: None,
            flow_dir: None,
            priority: 0,
        },
        state: "RUNNING".to_owned(),
        reason: None,
        started_ms: Some(1000),
        ended_ms: None,
        outputs: Map::new(),
        labels: BTreeMap::new(),
    }
}

fn row(task: &str, name: &str, slot: u16, state: &str) -> AttemptRow {
    AttemptRow {
        execution: "abc".parse().unwrap(),
        task_run: TaskRunKey {
            shard: ShardId::ROOT,
            slot,
        },
        attempt: 1,
        task: task.to_owned(),
        name: name.to_owned(),
        item: None,
        parent: (name != task).then(|| "each".to_owned()),
        state: state.to_owned(),
        reason: None,
        message: (state == "FAILED").then(|| "it broke".to_owned()),
        exit_code: None,
        created_ms: 1000,
        started_ms: Some(1000),
        ended_ms: (state != "RUNNING").then_some(3000),
        outputs: Map::new(),
        outputs_uri: None,
        metrics: Vec::new(),
        usage: Usage::default(),
    }
}

const ROOM: Size = Size {
    columns: 120,
    rows: 24,
};

#[test]
fn loops_are_folded_to_counts_below_their_task() {
    let mut tree = Tree::default();
    tree.execution(&execution());
    tree.task_run(&row("first", "first", 1, "SUCCESS"));
    tree.task_run(&row("each", "each", 2, "RUNNING"));
    for index in 0..5 {
        let name = format!("child[{index}]");
        tree.task_run(&row("child", &name, 10 + index, "RUNNING"));
    }
    tree.task_run(&row("child", "child[0]", 10, "SUCCESS"));
    tree.task_run(&row("child", "child[1]", 11, "FAILED"));
    let lines = tree.lines(5000, ROOM, false, false);
    assert_eq!(lines.len(), 4, "{lines:#?}");
    assert_eq!(lines[0], "lab.demo abc RUNNING 4.0s");
    assert!(lines[1].starts_with("✓ first "), "{lines:#?}");
    assert!(lines[1].ends_with("2.0s  ━━━━━━━━━━━━"), "{lines:#?}");
    assert!(lines[3].starts_with("●   child "), "{lines:#?}");
    assert!(
        lines[3].contains("1 done, 1 failed, 3 running"),
        "{lines:#?}"
    );
    assert!(lines[3].ends_with("it broke"), "{lines:#?}");
}

#[test]
fn a_retried_task_run_is_not_counted_as_failed() {
    let mut tree = Tree::default();
    tree.execution(&execution());
    tree.task_run(&row("child", "child[0]", 1, "FAILED"));
    let again = AttemptRow {
        attempt: 2,
        ..row("child", "child[0]", 1, "RUNNING")
    };
    tree.task_run(&again);
    let over = AttemptRow {
        attempt: 2,
        ..row("child", "child[0]", 1, "SUCCESS")
    };
    tree.task_run(&over);
    let lines = tree.lines(5000, ROOM, false, false);
    assert!(lines[1].contains("1 done"), "{lines:#?}");
    assert!(!lines[1].contains("failed"), "{lines:#?}");
}

#[test]
fn what_is_over_gives_way_to_what_runs() {
    let mut tree = Tree::default();
    tree.execution(&execution());
    for index in 0..40 {
        let name = format!("t{index}");
        tree.task_run(&row(&name, &name, index, "SUCCESS"));
    }
    tree.task_run(&row("late", "late", 50, "RUNNING"));
    let lines = tree.lines(5000, ROOM, false, false);
    assert!(lines.len() <= ROOM.rows, "{lines:#?}");
    assert!(
        lines.iter().any(|line| line.starts_with("● late")),
        "{lines:#?}"
    );
    assert_eq!(lines.last().unwrap(), "  … 40 more tasks");
    assert_eq!(tree.lines(5000, ROOM, false, true).len(), 41);
    let narrow = Size {
        columns: 60,
        rows: 24,
    };
    let lines = tree.lines(5000, narrow, false, false);
    assert!(
        lines.iter().all(|line| line.chars().count() <= 60),
        "{lines:#?}"
    );
}
