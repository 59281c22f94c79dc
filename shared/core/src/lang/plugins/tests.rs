#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fmt::Write as _;

use serde_json::json;

use super::*;
use crate::lang::model::{Flow, TaskKind};
use crate::lang::parse;

const NEXTCLADE: &str = r#"
type: genomics.nextclade
description: Aligns sequences.
properties:
  dataset: {type: string, default: mpox, pattern: "[a-z/]+"}
  jobs: {type: int, default: 2, min: 1, max: 16}
  sequences: {type: any}
task:
  type: container
  containerImage: "nextstrain/nextclade:{{ props.jobs }}"
  command: [nextclade, "--jobs", "{{ props.jobs }}", "{{ props.sequences }}"]
  env:
    DATASET: "{{ props.dataset }}"
    UPPER: "{{ props.dataset | upper }}"
  resources: {cpu: "{{ props.jobs }}"}
  timeout: PT2H
"#;

fn load(sources: &[&str]) -> (Plugins, Vec<String>) {
    let files: Vec<_> = sources
        .iter()
        .enumerate()
        .map(|(at, source)| (format!("{at}.yaml"), *source))
        .collect();
    let (plugins, problems) =
        Plugins::load(files.iter().map(|(name, source)| (name.as_str(), *source)));
    (
        plugins,
        problems
            .into_iter()
            .map(|p| format!("{}: {}", p.file, p.diagnostic.message))
            .collect(),
    )
}

fn flow(plugins: &Plugins, tasks: &str) -> Result<Flow, Vec<String>> {
    let parsed = parse(&format!("id: a\nnamespace: b\ntasks:\n{tasks}"), plugins);
    parsed.flow.ok_or_else(|| {
        parsed
            .diagnostics
            .into_sorted()
            .into_iter()
            .map(|d| d.message)
            .collect()
    })
}

#[test]
fn properties_become_typed_values_texts_and_literals() {
    let (plugins, problems) = load(&[NEXTCLADE]);
    assert_eq!(problems, Vec::<String>::new());
    let flow = flow(
        &plugins,
        "  - {id: qc, type: genomics.nextclade, jobs: 4, sequences: \"{{ execution.id }}\", timeout: 10m, when: \"{{ true }}\"}\n",
    )
    .unwrap();
    let task = &flow.tasks.tasks[0];
    assert_eq!(task.plugin.as_deref(), Some("genomics.nextclade"));
    assert_eq!(task.task_type, "container");
    assert_eq!(task.props["containerImage"], "nextstrain/nextclade:4");
    assert_eq!(
        task.props["command"],
        json!(["nextclade", "--jobs", "4", "{{ execution.id }}"])
    );
    assert_eq!(
        task.props["env"],
        json!({"DATASET": "mpox", "UPPER": "{{ 'mpox' | upper }}"})
    );
    assert_eq!(task.resources.cpu_milli, 4_000);
    assert_eq!(
        serde_json::to_value(&task.timeout_ms).unwrap(),
        600_000,
        "the use wins"
    );
    assert!(task.when.is_some());
}

#[test]
fn a_property_without_value_leaves_no_trace() {
    let (plugins, _) = load(&[NEXTCLADE]);
    let flow = flow(&plugins, "  - {id: qc, type: genomics.nextclade}\n").unwrap();
    assert_eq!(
        flow.tasks.tasks[0].props["command"],
        json!(["nextclade", "--jobs", "2"])
    );
}

#[test]
fn uses_are_checked() {
    let (plugins, _) = load(&[NEXTCLADE]);
    for (task, message) in [
        ("jobs: 20", "`jobs` is above 16"),
        ("jobs: many", "`jobs` is a string, not of type `int`"),
        ("dataset: MPOX", "`dataset` does not match `^(?:[a-z/]+)$`"),
        (
            "datset: x",
            "plugin `genomics.nextclade` has no property `datset`",
        ),
    ] {
        let errors = flow(
            &plugins,
            &format!("  - {{id: qc, type: genomics.nextclade, {task}}}\n"),
        )
        .unwrap_err();
        assert_eq!(errors, [message]);
    }
}

#[test]
fn a_plugin_may_be_a_group_whose_tasks_take_the_name_of_the_use() {
    let group = r#"
type: demo.twice
properties:
  word: {required: true}
task:
  type: sequential
  tasks:
    - {id: one, type: return, format: "{{ props.word }}"}
    - {id: two, type: log, message: "{{ outputs.one.value ~ outputs['one'].value ~ 'outputs.one' }}", dependsOn: [one]}
"#;
    let (plugins, problems) = load(&[group]);
    assert_eq!(problems, Vec::<String>::new());
    let flow = flow(
        &plugins,
        "  - {id: a, type: demo.twice, word: x}\n  - {id: b, type: demo.twice, word: y}\n",
    )
    .unwrap();
    let TaskKind::Group { tasks, .. } = &flow.tasks.tasks[1].kind else {
        panic!("not a group")
    };
    assert_eq!(tasks.tasks[0].id, "b-one");
    assert_eq!(tasks.tasks[1].depends_on, ["b-one"]);
    assert_eq!(
        tasks.tasks[1].props["message"],
        json!("{{ outputs['b-one'].value ~ outputs['b-one'].value ~ 'outputs.one' }}")
    );
}

#[test]
fn wrong_plugins_are_left_out_and_reported() {
    let wrong = [
        "type: nodots\ntask: {type: log, message: x}\n",
        "type: a.b\n",
        "type: a.b\ntask: {type: log, message: x, id: y}\n",
        "type: a.b\ntask: {type: lgo, message: x}\n",
        "type: a.b\ntask: {type: log}\n",
        "type: a.b\ntask: {type: log, message: \"{{ props.x }}\"}\n",
        "type: a.b\nproperties: {x: {}}\ntask: {type: shell, script: \"echo {{ props.x }}\"}\n",
        "type: a.b\nproperties: {when: {}}\ntask: {type: log, message: x}\n",
        "type: a.b\nproperties: {x: {type: int, default: y}}\ntask: {type: log, message: x}\n",
        "type: a.b\nproperties: {x: {typ: int}}\ntask: {type: log, message: x}\n",
        "type: a.b\nproperties: {x: {pattern: '('}}\ntask: {type: log, message: x}\n",
        "type: io.kestra.mine\ntask: {type: log, message: x}\n",
        "type: a.b\ntask: {type: a.b}\n",
        "- a\n",
        "type: a.b\ntaks: {type: log, message: x}\ntask: {type: log, message: x}\n",
    ];
    let mut all = String::new();
    for source in wrong {
        let (plugins, problems) = load(&[source]);
        assert_eq!(plugins.names().count(), 0, "{source}");
        writeln!(all, "{source}=> {}\n", problems.join(" | ")).unwrap();
    }
    insta::assert_snapshot!(all);
    let (plugins, problems) = load(&[NEXTCLADE, NEXTCLADE]);
    assert_eq!(plugins.names().count(), 1, "the first file wins");
    assert_eq!(
        problems,
        ["1.yaml: the plugin `genomics.nextclade` is defined in `0.yaml` too"]
    );
}
