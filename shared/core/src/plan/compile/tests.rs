#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::wildcard_enum_match_arm
)]

mod broken;
mod explained;
mod large;
mod random;

use std::fmt::Write as _;

use serde_json::json;

use super::*;
use crate::lang::model::{
    Dynamic, FlowOutput, GroupOrder, InputType, LoopValues, OnFailure, Sla, SlaBehavior, SlaKind,
    TaskKind, TaskList,
};
use crate::plan::builder::{FlowBuilder, task};
use crate::plan::{Node, NodeKind, check};

fn flow() -> FlowBuilder {
    FlowBuilder::new("genomics", "qc")
}

fn plan_of(builder: FlowBuilder) -> Plan {
    let plan = compile(&builder.build()).unwrap();
    check::verify(&plan).unwrap();
    plan
}

fn errors_of(builder: FlowBuilder) -> Vec<String> {
    let errors = compile(&builder.build()).unwrap_err();
    errors.iter().map(ToString::to_string).collect()
}

/// One line per node of a scope: `parent/id <- deps` with phase, branch and kind where they matter.
fn sketch(plan: &Plan, scope: usize) -> String {
    let nodes = &plan.scopes[scope].nodes;
    let name = |at: &u16| nodes[usize::from(*at)].id.as_str();
    let mut text = String::new();
    for node in nodes {
        let parent = node.parent.as_ref().map_or("", name);
        let deps: Vec<&str> = node.deps.iter().map(name).collect();
        let branch = node.branch.map_or_else(String::new, |b| format!("#{b}"));
        let after = if node.after { "!" } else { "" };
        let phase = format!("{:?}", node.phase);
        let kind = match &node.kind {
            NodeKind::Task(_) => "task".to_owned(),
            NodeKind::Group { .. } => "group".to_owned(),
            NodeKind::Choice { .. } => "choice".to_owned(),
            NodeKind::Loop { scope, .. } => format!("loop({scope})"),
            NodeKind::Pause { .. } => "pause".to_owned(),
            NodeKind::Sleep { .. } => "sleep".to_owned(),
            NodeKind::Check(_) => "check".to_owned(),
        };
        let line = format!(
            "{after}{parent}/{phase}{branch}/{} {kind} rank {} <- {}",
            node.id,
            node.rank,
            deps.join(",")
        );
        writeln!(text, "{}", line.trim_end()).unwrap();
    }
    text
}

fn node<'p>(plan: &'p Plan, id: &str) -> &'p Node {
    let mut nodes = plan.scopes.iter().flat_map(|scope| &scope.nodes);
    nodes.find(|node| node.id == id).unwrap()
}

#[test]
fn a_list_without_dependencies_is_a_sequence() {
    let plan = plan_of(flow().task("a").task("b").task("c"));
    insta::assert_snapshot!(sketch(&plan, 0), @r#"
    /Body/.flow group rank 3 <-
    .flow/Body/a task rank 3 <-
    .flow/Body/b task rank 2 <- a
    .flow/Body/c task rank 1 <- b
    "#);
}

#[test]
fn a_list_with_dependencies_is_a_graph_in_which_chains_stay_together() {
    let plan = plan_of(
        flow()
            .task_after("join", &["b1", "a1"])
            .task("a")
            .task("b")
            .task_after("a1", &["a"])
            .task_after("b1", &["b"]),
    );
    insta::assert_snapshot!(sketch(&plan, 0), @r#"
    /Body/.flow group rank 3 <-
    .flow/Body/a task rank 3 <-
    .flow/Body/a1 task rank 2 <- a
    .flow/Body/b task rank 3 <-
    .flow/Body/b1 task rank 2 <- b
    .flow/Body/join task rank 1 <- a1,b1
    "#);
}

#[test]
fn handlers_and_after_execution_are_lists_of_their_own() {
    let plan = plan_of(
        flow()
            .task("a")
            .errors(|f| f.task("alert").task("ticket"))
            .finally(|f| f.task("clean"))
            .after_execution(|f| f.task("report").looped("each", 3, |f| f.task("mail"))),
    );
    insta::assert_snapshot!(sketch(&plan, 0), @r#"
    /Body/.flow group rank 1 <-
    !/Body/.after group rank 2 <-
    .flow/Body/a task rank 1 <-
    .flow/Errors/alert task rank 2 <-
    .flow/Errors/ticket task rank 1 <- alert
    .flow/Finally/clean task rank 1 <-
    !.after/Body/report task rank 2 <-
    !.after/Body/each loop(1) rank 1 <- report
    "#);
    insta::assert_snapshot!(sketch(&plan, 1), @"!/Body/mail task rank 1 <-");
}

#[test]
fn who_depended_on_a_disabled_task_depends_on_its_dependencies() {
    let off = |f: FlowBuilder| f.with(|task| task.disabled = true);
    let sequence = plan_of(off(flow().task("a").task("b")).task("c"));
    insta::assert_snapshot!(sketch(&sequence, 0), @r#"
    /Body/.flow group rank 2 <-
    .flow/Body/a task rank 2 <-
    .flow/Body/c task rank 1 <- a
    "#);
    let graph = off(flow().task("a").task("b").task_after("c", &["a", "b"]));
    let graph = plan_of(off(graph.task_after("d", &["c"])).task_after("e", &["d"]));
    insta::assert_snapshot!(sketch(&graph, 0), @r#"
    /Body/.flow group rank 2 <-
    .flow/Body/a task rank 2 <-
    .flow/Body/b task rank 2 <-
    .flow/Body/e task rank 1 <- a,b
    "#);
}

#[test]
fn conditions_and_allowances_go_to_the_outer_node_of_a_task_with_handlers() {
    let plan = plan_of(
        flow()
            .task("first")
            .looped("each", 3, |f| f.task("x").errors(|f| f.task("oops")))
            .when("{{ outputs.first.go }}")
            .allow_failure()
            .choice(
                "pick",
                "{{ inputs.full }}",
                |f| f.task("full").task("deep"),
                |f| f.task("quick"),
            )
            .with(|pick| {
                if let TaskKind::Choice { finally, .. } = &mut pick.kind {
                    finally.tasks.push(task("sweep"));
                }
            })
            .task("last"),
    );
    insta::assert_snapshot!(sketch(&plan, 0), @r#"
    /Body/.flow group rank 5 <-
    .flow/Body/first task rank 5 <-
    .flow/Body/.guard.each group rank 4 <- first
    .guard.each/Body/each loop(1) rank 4 <-
    .guard.each/Errors/oops task rank 4 <-
    .flow/Body/.guard.pick group rank 3 <- .guard.each
    .guard.pick/Body/pick choice rank 3 <-
    pick/Body#0/full task rank 3 <-
    pick/Body#0/deep task rank 2 <- full
    pick/Body#1/quick task rank 2 <-
    .guard.pick/Finally/sweep task rank 2 <-
    .flow/Body/last task rank 1 <- .guard.pick
    "#);
    let (outer, inner) = (node(&plan, ".guard.each"), node(&plan, "each"));
    assert!(outer.hidden && outer.allow_failure && outer.when.is_some());
    assert!(!inner.hidden && !inner.allow_failure && inner.when.is_none());
    assert_eq!(outer.needs, ["first"]);
    assert!(inner.needs.is_empty());
}

#[test]
fn loops_own_scopes_and_nest() {
    let plan = plan_of(
        flow()
            .looped("outer", 3, |f| {
                f.task("a")
                    .looped("inner", 4, |f| f.task("b").task("c"))
                    .window(7)
            })
            .task("z"),
    );
    let text: Vec<String> = (0..3).map(|scope| sketch(&plan, scope)).collect();
    insta::assert_snapshot!(text.join("--\n"), @r#"
    /Body/.flow group rank 4 <-
    .flow/Body/outer loop(1) rank 4 <-
    .flow/Body/z task rank 1 <- outer
    --
    /Body/a task rank 4 <-
    /Body/inner loop(2) rank 3 <- a
    --
    /Body/b task rank 3 <-
    /Body/c task rank 2 <- b
    "#);
    let window = |id: &str| match &node(&plan, id).kind {
        NodeKind::Loop { window, .. } => *window,
        other => panic!("{other:?}"),
    };
    assert_eq!((window("outer"), window("inner")), (1000, 7));
}

#[test]
fn allow_failure_is_a_group_whose_failure_is_allowed() {
    let builder = flow().group("try", GroupOrder::Sequential, |f| f.task("a"));
    let plan =
        plan_of(builder.with(|t| t.task_type = "io.kestra.plugin.core.flow.AllowFailure".into()));
    assert!(node(&plan, "try").allow_failure && !node(&plan, "a").allow_failure);
}

#[test]
fn needs_name_the_outputs_that_templates_mention() {
    for (text, expected) in [
        ("run {{ outputs.a.uri }} with outputs.b", "a"),
        ("{{ outputs['b'].x ~ outputs[ \"c\" ].y }}", "b c"),
        ("{% for x in outputs.c.list %}{{ x }}{% endfor %}", "c"),
        ("{{ outputs[inputs.which] }} {{ outputs.a }}", "*"),
        ("{{ outputs | json }}", "*"),
        (
            "{{ trigger.outputs.a }} {{ inputs.outputs }} {# outputs.b #}",
            "",
        ),
        ("{{ 'outputs.a' }}", ""),
        ("{{ vars.deep }}", "c"),
        ("{{ vars.shallow }}", ""),
        ("{{ vars }}", "c"),
        ("{{ render(vars.deep) }}", "c"),
        ("{{ render(inputs.template) }}", "*"),
        ("{{ render('{{ outputs.a }}') }}", "*"),
    ] {
        let builder = flow().task("a").task("b").task("c").task("reader");
        let props = [("format".into(), json!({"x": [text]}))];
        let builder = builder.with(|task| task.props = props.into_iter().collect());
        let mut flow = builder.when("{{ inputs.go }}").build();
        for (name, value) in [
            ("deep", "{{ vars.deeper }}"),
            ("deeper", "{{ outputs.c.uri }}"),
            ("shallow", "{{ inputs.x }}"),
        ] {
            flow.variables.insert(name.into(), json!(value));
        }
        let plan = compile(&flow).unwrap();
        check::verify(&plan).unwrap();
        let reader = node(&plan, "reader");
        let NodeKind::Task(task) = &reader.kind else {
            panic!("{reader:?}")
        };
        assert_eq!(task.needs.join(" "), expected, "{text}");
        assert!(reader.needs.is_empty());
    }
    for when in ["outputs.b.ok and inputs.x", "{{ outputs.b.ok }}"] {
        let plan = plan_of(flow().task("b").task("reader").when(when));
        assert_eq!(node(&plan, "reader").needs, ["b"]);
    }
}

#[test]
fn the_hash_is_that_of_equal_plans_and_no_others() {
    let with = |props: serde_json::Value| {
        let props = props.as_object().unwrap().clone();
        plan_of(flow().task("a").with(|task| task.props = props)).hash()
    };
    let hash = with(json!({"x": 1, "y": {"b": 1, "a": 2}}));
    assert_eq!(hash, with(json!({"y": {"a": 2, "b": 1}, "x": 1})));
    assert_ne!(hash, with(json!({"x": 1, "y": {"b": 1, "a": 3}})));
    assert_eq!(hash.len(), 64);
}

#[test]
fn a_plan_survives_storage() {
    let plan = plan_of(wide(20, 30).errors(|f| f.looped("each", 2, |f| f.task("mail"))));
    let read: Plan = serde_json::from_slice(&plan.canonical_json()).unwrap();
    assert_eq!(read, plan);
}

#[test]
fn what_the_parser_should_have_refused_is_refused() {
    let twice = flow()
        .task("a")
        .group("g", GroupOrder::Parallel, |f| f.task("a"));
    insta::assert_snapshot!(errors_of(twice).join("\n"), @"task `a`: another task has the same id. Give each task of the flow an id of its own");
    let unknown = flow().task("a").task_after("b", &["x", "a", "y"]);
    insta::assert_snapshot!(errors_of(unknown).join("\n"), @r#"
    task `b`: `dependsOn` names `x`, which is not in the same task list. Name a task of the same list, or the group that holds it
    task `b`: `dependsOn` names `y`, which is not in the same task list. Name a task of the same list, or the group that holds it
    "#);
    let circle = flow()
        .task("z")
        .task_after("a", &["c", "z"])
        .task_after("b", &["a"])
        .task_after("c", &["b"]);
    insta::assert_snapshot!(errors_of(circle).join("\n"), @"task `b`: `dependsOn` goes in a circle: `b` -> `c` -> `a` -> `b`. Remove one of these dependencies");
}

#[test]
fn limits_are_errors_that_say_what_to_do() {
    let body = flow().looped("each", 2, |f| chain(f, "t", 128));
    insta::assert_snapshot!(errors_of(body).join("\n"), @"task `each`: the loop's body has 128 tasks; at most 127 are possible. Move the body into a subflow");
    plan_of(flow().looped("each", 2, |f| chain(f, "t", 127)));
    let nested = |depth| {
        (0..depth).fold(flow().task("x"), |inner, at| {
            flow().looped(&format!("l{at}"), 1, |_| inner)
        })
    };
    insta::assert_snapshot!(errors_of(nested(9)).join("\n"), @"task `l0`: loops are nested more than 8 deep. Move the inner loop into a subflow");
    plan_of(nested(8));
    insta::assert_snapshot!(errors_of(chain(flow(), "t", 10_001)).join("\n"), @"the flow has 10001 tasks outside loops; at most 10000 are possible. Use a loop for tasks that are alike, or move some into a subflow");
    let deep = (0..70).fold(flow().task("x"), |inner, at| {
        flow().group(&format!("g{at}"), GroupOrder::Sequential, |_| inner)
    });
    insta::assert_snapshot!(errors_of(deep).join("\n"), @"task `g6`: tasks are nested more than 64 deep. Move the inner tasks into a subflow");
    let limited = flow().parallel("p", 5, |f| chain(f, "t", 200));
    insta::assert_snapshot!(errors_of(limited).join("\n"), @"task `p`: the group and its 200 direct tasks must stay together, and at most 109 tasks can. Remove its limit of tasks at once, its working directory or its `onFailure: stop`, use a loop, or move tasks into a subflow");
    let stop = flow()
        .parallel("p", 0, |f| chain(f, "t", 200))
        .stop_on_failure();
    assert_eq!(errors_of(stop).len(), 1);
}

/// `count` tasks `prefix0`, `prefix1` … without dependencies.
fn chain(builder: FlowBuilder, prefix: &str, count: usize) -> FlowBuilder {
    (0..count).fold(builder, |f, at| f.task(&format!("{prefix}{at}")))
}

/// `layers` layers of `width` tasks, each depending on two of the layer above.
fn wide(layers: usize, width: usize) -> FlowBuilder {
    let mut builder = flow();
    for layer in 0..layers {
        for at in 0..width {
            builder = builder.task(&format!("t{layer}-{at}"));
            if let Some(above) = layer.checked_sub(1) {
                let deps = [
                    format!("t{above}-{at}"),
                    format!("t{above}-{}", (at + 1) % width),
                ];
                builder = builder.after(&[&deps[0], &deps[1]]);
            }
        }
    }
    builder
}

#[test]
fn the_flow_itself_needs_what_its_outputs_and_service_levels_mention() {
    let mut flow = flow().task("a").task("b").build();
    flow.outputs.push(FlowOutput {
        id: "uri".into(),
        output_type: InputType::String,
        value: json!({"x": "{{ outputs.b.uri }}"}),
        required: true,
        description: None,
    });
    flow.sla.push(Sla {
        id: "some".into(),
        kind: SlaKind::ExecutionAssertion {
            assert: "{{ outputs.a.count > 0 }}".into(),
        },
        behavior: SlaBehavior::Fail,
        labels: std::collections::BTreeMap::new(),
    });
    let plan = compile(&flow).unwrap();
    check::verify(&plan).unwrap();
    assert_eq!(node(&plan, ".flow").needs, ["a", "b"]);
}
