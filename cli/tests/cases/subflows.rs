//! Flows that start flows, and what expressions see of an execution.

use std::fmt::Write as _;

use operon_core::lang::members;
use serde_json::Value;

use super::lab::{Lab, finish};

const PARENT: &str = "tasks:\n  - {id: sub, type: subflow, flowId: child}\n";

/// A flow that is tried again as a new execution until its file has that many lines.
fn flaky(lab: &Lab, succeeds_at: u32, then: &str) -> String {
    format!(
        "retry: {{behavior: CREATE_NEW_EXECUTION, type: constant, interval: PT0.1S, maxAttempts: 3}}\n\
         tasks:\n  - id: flaky\n    type: shell\n    env: {{COUNT: {}}}\n    script: |\n      \
         echo x >> \"$COUNT\"\n      [ \"$(wc -l < \"$COUNT\")\" -ge {succeeds_at} ] || exit 4\n      {then}\n\
         outputs:\n  - {{id: got, type: STRING, value: done}}\n",
        lab.path().join("count").display()
    )
}

/// Executions of the flow `child`, newest first.
fn children(lab: &Lab) -> Vec<Value> {
    let listed = lab.operon(&["executions", "list", "-o", "json", "--flow", "child"]);
    listed.json()["executions"].as_array().unwrap().clone()
}

#[test]
fn a_subflow_that_is_tried_again_answers_as_its_last_try_did() {
    let lab = Lab::new();
    lab.flow("child", &flaky(&lab, 2, "true"));
    lab.flow("parent", PARENT);
    let done = lab.operon(&["run", "parent.yaml", "-o", "json"]);
    assert_eq!(done.code, Some(0), "{done}");
    let outputs = &done.json()["taskRuns"][0]["outputs"];
    let children = children(&lab);
    let states: Vec<&str> = children
        .iter()
        .map(|row| row["state"].as_str().unwrap())
        .collect();
    assert_eq!(states, ["SUCCESS", "RETRIED"], "{children:?}");
    assert_eq!(outputs["executionId"], children[0]["id"]);
    assert_eq!(outputs["outputs"]["got"], "done", "{done}");
}

#[test]
fn a_failed_subflow_is_named_with_its_state_and_its_reason() {
    let lab = Lab::new();
    lab.flow("child", &flaky(&lab, 9, "true"));
    lab.flow("parent", PARENT);
    let done = lab.operon(&["run", "parent.yaml"]);
    assert_eq!(done.code, Some(1), "{done}");
    let children = children(&lab);
    assert_eq!(children.len(), 3, "{children:?}");
    let last = children[0]["id"].as_str().unwrap();
    let text = format!("{}{}", done.out, done.err);
    let named = format!(
        "execution {last} of flow `lab.child` ended FAILED: task `flaky` failed: exit code"
    );
    assert!(text.contains(&named), "{named}\n{done}");
    let parent = lab.operon(&["executions", "list", "-o", "json", "--flow", "parent"]);
    assert_eq!(
        parent.json()["executions"][0]["reason"],
        "task `sub` failed: the execution that it started failed"
    );
}

#[test]
fn a_kill_reaches_the_newest_try_of_a_subflow() {
    let lab = Lab::new();
    lab.flow("child", &flaky(&lab, 2, "echo waiting; sleep 60"));
    lab.flow("parent", PARENT);
    let running = lab.start(&["run", "parent.yaml"]);
    let newest = lab.wait_for_log("waiting");
    let parents = lab.operon(&["executions", "list", "-o", "json", "--flow", "parent"]);
    let parent = parents.json()["executions"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let killed = lab.operon(&["executions", "kill", &parent]);
    assert_eq!(killed.code, Some(0), "{killed}");
    let run = finish(running);
    assert_eq!(run.code, Some(3), "{run}");
    let children = children(&lab);
    assert_eq!(children[0]["id"], newest);
    assert_eq!(children[0]["state"], "KILLED", "{children:?}");
    assert_eq!(children.len(), 2, "{children:?}");
}

#[test]
fn a_subflow_that_a_check_refuses_is_there_as_one_that_failed() {
    let lab = Lab::new();
    lab.flow(
        "child",
        "checks:\n  - {when: \"{{ false }}\", message: not today, behavior: FAIL_EXECUTION}\n\
         tasks:\n  - {id: a, type: log, message: x}\n",
    );
    lab.flow("parent", PARENT);
    let done = lab.operon(&["run", "parent.yaml"]);
    assert_eq!(done.code, Some(1), "{done}");
    let children = children(&lab);
    assert_eq!(children.len(), 1, "{children:?}");
    assert_eq!(
        (&children[0]["state"], &children[0]["reason"]),
        (&"FAILED".into(), &"not today".into())
    );
    let named = format!(
        "execution {} of flow `lab.child` ended FAILED: not today",
        children[0]["id"].as_str().unwrap()
    );
    let text = format!("{}{}", done.out, done.err);
    assert!(text.contains(&named), "{done}");
}

#[test]
fn roots_have_the_members_that_flows_are_checked_against() {
    let lab = Lab::new();
    let roots = [
        ("execution", members::EXECUTION),
        ("flow", members::FLOW),
        ("task", members::TASK),
        ("taskrun", members::TASK_RUN),
        ("item", members::ITEM),
        ("trigger", members::SUBFLOW),
    ];
    let mut tasks = String::new();
    for (root, _) in roots {
        writeln!(
            tasks,
            "      - {{id: of-{root}, type: return, format: \"{{{{ {root} | keys }}}}\"}}"
        )
        .unwrap();
    }
    lab.flow(
        "child",
        &format!(
            "tasks:\n  - id: each\n    type: foreach\n    values: {{k: v}}\n    tasks:\n{tasks}\
             outputs:\n  - {{id: all, type: JSON, value: \"{{{{ outputs }}}}\"}}\n\
             inputs:\n  - {{id: revision, type: INT, defaults: \"{{{{ flow.revision }}}}\"}}\n"
        ),
    );
    lab.flow("parent", PARENT);
    let done = lab.operon(&["run", "parent.yaml", "-o", "json"]);
    assert_eq!(done.code, Some(0), "{done}");
    let all = &done.json()["taskRuns"][0]["outputs"]["outputs"]["all"];
    for (root, names) in roots {
        let by_item = all[format!("of-{root}")]
            .as_object()
            .unwrap_or_else(|| panic!("{root}: {all}"));
        let given = by_item.values().next().unwrap()["value"]
            .as_array()
            .unwrap();
        let mut given: Vec<&str> = given.iter().map(|name| name.as_str().unwrap()).collect();
        let mut names = names.to_vec();
        given.sort_unstable();
        names.sort_unstable();
        assert_eq!(given, names, "{root}");
    }
}

#[test]
fn a_loop_over_a_map_has_its_keys_and_its_values() {
    let lab = Lab::new();
    lab.flow(
        "map",
        "tasks:\n  - id: outer\n    type: io.kestra.plugin.core.flow.Loop\n    values: {a: 1}\n    tasks:\n      \
         - id: inner\n        type: foreach\n        values: [x]\n        tasks:\n          \
         - {id: it, type: return, format: \"{{ item.parent.key }}{{ item.parent.value }}{{ item.value }}\"}\n      \
         - {id: own, type: return, format: \"{{ item.key }}={{ item.value }} {{ taskrun.value.key }}={{ taskrun.value.value }}\"}\n      \
         - {id: read, type: return, format: \"{{ outputs.own[taskrun.value].value }}/{{ currentEachOutput(outputs.own).value }}\"}\n",
    );
    let done = lab.operon(&["run", "map.yaml", "-o", "json"]);
    assert_eq!(done.code, Some(0), "{done}");
    let runs = done.json()["taskRuns"].as_array().unwrap().clone();
    let value = |task: &str| {
        let run = runs.iter().find(|run| run["task"] == task).unwrap();
        run["outputs"]["value"].as_str().unwrap().to_owned()
    };
    assert_eq!(value("own"), "a=1 a=1");
    assert_eq!(value("it"), "a1x");
    assert_eq!(value("read"), "a=1 a=1/a=1 a=1");
}
