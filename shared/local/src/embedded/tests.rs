#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use async_trait::async_trait;
use operon_core::lang::model::Flow;
use operon_core::plan::Plan;
use operon_core::plan::builder::FlowBuilder;
use operon_core::plan::compile;
use operon_engine::intake::Request;
use operon_engine::ports::{AttemptRow, ExecutionRow, StateStore as _};
use serde_json::{Value, json};

use super::*;
use crate::dispatch::Limits;
use crate::laptop::{Laptop, Options};

struct NoFlows;

#[async_trait(?Send)]
impl FlowSource for NoFlows {
    async fn flow(
        &self,
        namespace: &str,
        flow: &str,
        _: Option<u32>,
        _: Option<&str>,
    ) -> Result<(Plan, Option<String>), FlowError> {
        Err(FlowError::Missing {
            namespace: namespace.to_owned(),
            flow: flow.to_owned(),
            searched: String::new(),
        })
    }
}

#[derive(Clone, Default)]
struct Seen(Rc<RefCell<Vec<AttemptRow>>>);

impl Observer for Seen {
    fn execution(&self, _: &ExecutionRow) {}
    fn task_run(&self, row: &AttemptRow) {
        self.0.borrow_mut().push(row.clone());
    }
}

/// Runs a flow to its end and gives its row and the last row of every task run by name.
fn run(flow: &Flow) -> (ExecutionRow, BTreeMap<String, AttemptRow>) {
    run_with(flow, BTreeMap::new())
}

fn run_with(
    flow: &Flow,
    inputs: BTreeMap<String, Value>,
) -> (ExecutionRow, BTreeMap<String, AttemptRow>) {
    let directory = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        let seen = Seen::default();
        let options = Options {
            limits: Limits::of_machine(),
            runner: crate::runner::RunnerChoice::Process,
            secrets: None,
            variables: vec![("OPERON_SECRET_KNOWN".into(), "s3cret-value".into())],
            buckets: BTreeMap::new(),
        };
        let laptop = Laptop::open(
            directory.path(),
            options,
            Box::new(NoFlows),
            Box::new(seen.clone()),
        )
        .await
        .unwrap();
        laptop.engine.recover().await.unwrap();
        let request = Request {
            id: "test".parse().unwrap(),
            plan: compile(flow).unwrap(),
            flow_dir: None,
            inputs,
            labels: BTreeMap::new(),
            trigger: Value::Null,
            parent: None,
            replay_of: None,
            priority: 0,
        };
        let created = laptop.engine.evaluator().intake(request).await.unwrap();
        assert!(
            laptop
                .engine
                .start(&created.row, &created.plan)
                .await
                .unwrap()
        );
        laptop.engine.run_to_end().await.unwrap();
        let row = laptop
            .store
            .execution(&created.row.meta.id)
            .await
            .unwrap()
            .unwrap();
        let mut last = BTreeMap::new();
        for row in seen.0.borrow().iter() {
            last.insert(row.name.clone(), row.clone());
        }
        (row, last)
    })
}

fn states(rows: &BTreeMap<String, AttemptRow>) -> Vec<(&str, &str)> {
    rows.iter()
        .map(|(name, row)| (name.as_str(), row.state.as_str()))
        .collect()
}

fn returns(value: &Value) -> impl FnOnce(&mut operon_core::lang::model::Task) {
    let value = value.clone();
    move |task| {
        "io.kestra.plugin.core.debug.Return".clone_into(&mut task.task_type);
        task.props = serde_json::Map::from_iter([("format".to_owned(), value)]);
    }
}

#[test]
fn a_chain_passes_outputs_on() {
    let flow = FlowBuilder::new("test", "chain")
        .task("a")
        .with(returns(&json!("x")))
        .task("b")
        .with(returns(&json!("{{ outputs.a.value }}y")))
        .build();
    let (row, rows) = run(&flow);
    assert_eq!(row.state, "SUCCESS");
    assert_eq!(rows["b"].outputs["value"], "xy");
}

#[test]
fn a_loop_runs_its_body_for_every_value() {
    let flow = FlowBuilder::new("test", "loop")
        .looped_over("each", json!(["p", "q", "r"]), |body| {
            body.task("child")
                .with(returns(&json!("{{ taskrun.value }}{{ item.index }}")))
        })
        .task("after")
        .with(returns(&json!("{{ outputs.child['q'].value }}")))
        .build();
    let (row, rows) = run(&flow);
    assert_eq!(row.state, "SUCCESS", "{rows:#?}");
    assert_eq!(rows["child[2]"].outputs["value"], "r2");
    assert_eq!(rows["after"].outputs["value"], "q1");
}

#[test]
fn a_loop_of_many_chunks_ends() {
    let flow = FlowBuilder::new("test", "wide")
        .looped("each", 1000, |body| {
            body.task("child").with(returns(&json!("{{ item.index }}")))
        })
        .build();
    let (row, rows) = run(&flow);
    assert_eq!(row.state, "SUCCESS");
    assert_eq!(
        rows.values().filter(|row| row.task == "child").count(),
        1000
    );
}

#[test]
fn a_failed_task_leads_to_the_handler_and_the_clean_up() {
    let flow = FlowBuilder::new("test", "handled")
        .task("bad")
        .with(returns(&json!("{{ outputs.nothing.value }}")))
        .task("next")
        .with(returns(&json!("n")))
        .errors(|list| list.task("handler").with(returns(&json!("h"))))
        .finally(|list| list.task("cleanup").with(returns(&json!("c"))))
        .build();
    let (row, rows) = run(&flow);
    assert_eq!(row.state, "FAILED");
    assert_eq!(
        states(&rows),
        [
            ("bad", "FAILED"),
            ("cleanup", "SUCCESS"),
            ("handler", "SUCCESS"),
            ("next", "SKIPPED")
        ]
    );
    assert!(
        rows["bad"].message.as_deref().unwrap().contains("nothing"),
        "{:?}",
        rows["bad"]
    );
}

#[test]
fn a_condition_that_is_false_skips_and_lets_pass() {
    let flow = FlowBuilder::new("test", "when")
        .task("a")
        .with(returns(&json!("1")))
        .when("{{ 1 == 2 }}")
        .task("b")
        .with(returns(&json!("2")))
        .build();
    let (row, rows) = run(&flow);
    assert_eq!(row.state, "SUCCESS");
    assert_eq!(states(&rows), [("a", "SKIPPED"), ("b", "SUCCESS")]);
}

#[test]
fn a_flow_over_several_shards_ends() {
    let flow = layers(5, 60);
    let (row, rows) = run(&flow);
    assert_eq!(row.state, "SUCCESS");
    assert_eq!(rows.len(), 300);
}

fn layers(depth: usize, width: usize) -> Flow {
    let mut flow = FlowBuilder::new("test", "layers");
    for layer in 0..depth {
        for place in 0..width {
            let id = format!("l{layer}-{place}");
            flow = if layer == 0 {
                flow.task_after(&id, &[])
            } else {
                let (a, b) = (
                    format!("l{}-{place}", layer - 1),
                    format!("l{}-{}", layer - 1, (place + 1) % width),
                );
                flow.task_after(&id, &[&a, &b])
            };
            flow = flow.with(returns(&json!(1)));
        }
    }
    flow.build()
}

#[test]
fn a_secret_given_as_an_input_is_refused_and_not_repeated() {
    let source = "{id: f, namespace: t, inputs: [{id: a.token, type: SECRET}], \
                  tasks: [{id: x, type: return, format: '{{ inputs.a.token }}'}]}";
    let parsed = operon_core::lang::parse(source, &operon_core::lang::Plugins::default());
    let flow = parsed.flow.unwrap();
    let given = |name: &str| BTreeMap::from([("a.token".to_owned(), json!(name))]);
    let refused = std::panic::catch_unwind(|| run_with(&flow, given("hunter2"))).unwrap_err();
    let message = refused.downcast_ref::<String>().unwrap();
    assert!(message.contains("name of a secret"), "{message}");
    assert!(!message.contains("hunter2"), "{message}");
    let (row, rows) = run_with(&flow, given("KNOWN"));
    assert_eq!(row.state, "SUCCESS");
    assert_eq!(rows["x"].outputs["value"], "******");
}

fn parsed(tasks: &str) -> Flow {
    let source = format!("id: f\nnamespace: t\ntasks:\n{tasks}");
    let parsed = operon_core::lang::parse(&source, &operon_core::lang::Plugins::default());
    parsed
        .flow
        .unwrap_or_else(|| panic!("{:#?}", parsed.diagnostics))
}

#[test]
fn outputs_of_nested_loops_have_the_values_of_all_loops() {
    let (row, rows) = run(&parsed(
        r#"
  - id: outer
    type: io.kestra.plugin.core.flow.ForEach
    values: [a, 2]
    tasks:
      - id: inner
        type: io.kestra.plugin.core.flow.ForEach
        values: [x, y]
        tasks:
          - {id: deep, type: return, format: "{{ parent.taskrun.value }}-{{ taskrun.value }}"}
          - id: read
            type: return
            format: "{{ outputs.deep[parent.taskrun.value][taskrun.value].value }} {{ currentEachOutput(outputs.deep).value }} {{ outputs.deep.value }}"
          - {id: each, type: return, format: "{{ currentEachOutput(outputs.deep).value }}"}
      - {id: beside, type: return, format: "{{ outputs.deep[taskrun.value]['y'].value }}"}
  - id: after
    type: return
    format: "{{ outputs.deep['a']['y'].value }} {{ outputs.deep['2']['x'].value }} {{ outputs.beside['2'].value }}"
"#,
    ));
    assert_eq!(row.state, "SUCCESS", "{rows:#?}");
    let value = |name: &str| rows[name].outputs["value"].clone();
    assert_eq!(value("read[0][1]"), "a-y a-y a-y");
    assert_eq!(value("read[1][0]"), "2-x 2-x 2-x");
    assert_eq!(value("each[1][1]"), "2-y");
    assert_eq!(value("beside[0]"), "a-y");
    assert_eq!(value("after"), "a-y 2-x 2-y");
}

#[test]
fn of_iterations_with_equal_values_the_last_counts() {
    let (row, rows) = run(&parsed(
        r#"
  - id: each
    type: foreach
    values: [a, a]
    tasks:
      - {id: child, type: return, format: "{{ item.index }}"}
  - {id: after, type: return, format: "{{ outputs.child | jq('[keys[], .a.value]') }}"}
"#,
    ));
    assert_eq!(row.state, "SUCCESS", "{rows:#?}");
    assert_eq!(rows["after"].outputs["value"], json!([["a", 1]]));
}

#[test]
fn a_group_in_a_loop_is_the_parent_that_has_the_value() {
    let (row, rows) = run(&parsed(
        r#"
  - id: outer
    type: io.kestra.plugin.core.flow.ForEach
    values: [a, b]
    tasks:
      - id: both
        type: parallel
        tasks:
          - id: inner
            type: io.kestra.plugin.core.flow.ForEach
            values: [x]
            tasks:
              - {id: direct, type: return, format: "{{ parent.taskrun.value }}{{ parents | length }}"}
              - id: choice
                type: if
                condition: "{{ taskrun.value == 'x' }}"
                then:
                  - id: nested
                    type: sequential
                    tasks:
                      - id: leaf
                        type: return
                        format: "{{ parent.taskrun.value }}{{ parents[1].taskrun.value }}{{ taskrun.value }}{{ item.value }}{{ item.parent.value }}"
                      - {id: each, type: return, format: "{{ currentEachOutput(outputs.leaf).value }}"}
"#,
    ));
    assert_eq!(row.state, "SUCCESS", "{rows:#?}");
    let value = |name: &str| rows[name].outputs["value"].clone();
    assert_eq!(value("direct[1][0]"), "b1");
    assert_eq!(value("leaf[1][0]"), "xbxxb");
    assert_eq!(value("each[0][0]"), "xaxxa");
}

#[test]
fn what_cannot_be_rendered_in_a_loop_says_for_which_item() {
    let (row, rows) = run(&parsed(
        r#"
  - id: each
    type: foreach
    values: [p, q]
    tasks:
      - {id: child, type: return, format: "{{ item.value.nothing }}"}
"#,
    ));
    assert_eq!(row.state, "FAILED");
    assert_eq!(rows["child[1]"].state, "FAILED");
    assert_eq!(rows["child[1]"].item, Some(json!("q")));
}
