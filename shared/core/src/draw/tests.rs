#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::wildcard_enum_match_arm
)]

use crate::lang::model::{Dynamic, GroupOrder, PauseBehavior, TaskKind};
use crate::plan::builder::{FlowBuilder, task};
use crate::plan::{NodeKind, Plan, compile};

fn flow() -> FlowBuilder {
    FlowBuilder::new("genomics", "qc")
}

fn plan_of(builder: FlowBuilder) -> Plan {
    compile(&builder.build()).unwrap()
}

/// A graph with everything that is drawn in its own way.
fn everything() -> Plan {
    let approval = TaskKind::Pause {
        duration: None,
        behavior: PauseBehavior::Resume,
        on_resume: Vec::new(),
    };
    let wait = TaskKind::Sleep {
        duration: Dynamic::Constant(90_000),
    };
    let flow = flow()
        .task("fetch")
        .retry(3, 1_000)
        .parallel("qc", 2, |f| {
            f.task("nextclade").task("pangolin").task("vadr")
        })
        .after(&["fetch"])
        .looped("per-sample", 10, |f| {
            f.task("count")
                .task("report")
                .errors(|f| f.task("mark-bad"))
        })
        .window(200)
        .when("{{ inputs.samples }}")
        .after(&["fetch"])
        .choice(
            "full-or-quick",
            "{{ inputs.full }}",
            |f| f.task("tree").task("annotate"),
            |f| f.task("subsample"),
        )
        .after(&["qc"])
        .when("{{ inputs.tree }}")
        .task_after("submit", &["full-or-quick", "per-sample", "fetch"])
        .idempotent(false)
        .push(crate::lang::model::Task {
            kind: approval,
            ..task("approve")
        })
        .after(&["submit"])
        .push(crate::lang::model::Task {
            kind: wait,
            ..task("settle")
        })
        .after(&["approve"])
        .allow_failure()
        .errors(|f| f.task("alert"))
        .finally(|f| f.task("clean").task("metrics"))
        .after_execution(|f| f.task("notify"));
    plan_of(flow)
}

#[test]
fn text_of_a_sequence_needs_no_arrows() {
    let plan = plan_of(flow().task("a").task("b"));
    insta::assert_snapshot!(super::text(&plan), @r#"
    genomics / qc
    ├─ a  (debug.Return)
    └─ b  (debug.Return)
    "#);
}

#[test]
fn text_of_everything() {
    insta::assert_snapshot!(super::text(&everything()), @r#"
    genomics / qc
    ├─ fetch  (debug.Return · 3 attempts)
    ├─ qc  (in parallel · 2 at once)  ← fetch
    │  ├─ nextclade  (debug.Return)
    │  ├─ pangolin  (debug.Return)
    │  └─ vadr  (debug.Return)
    ├─ full-or-quick  (if {{ inputs.full }} · when {{ inputs.tree }})  ← qc
    │  ├─ [then]
    │  │  ├─ tree  (debug.Return)
    │  │  └─ annotate  (debug.Return)
    │  └─ [else]
    │     └─ subsample  (debug.Return)
    ├─ per-sample  (× window 200 · when {{ inputs.samples }})  ← fetch
    │  ├─ count  (debug.Return)
    │  ├─ report  (debug.Return)
    │  └─ [errors]
    │     └─ mark-bad  (debug.Return)
    ├─ submit  (debug.Return · once)  ← fetch, full-or-quick, per-sample
    ├─ approve  (pause)  ← submit
    └─ settle  (sleep 90s · may fail)  ← approve
    errors
    └─ alert  (debug.Return)
    finally
    ├─ clean  (debug.Return)
    └─ metrics  (debug.Return)
    after execution
    └─ notify  (debug.Return)
    "#);
}

#[test]
fn mermaid_of_everything() {
    insta::assert_snapshot!(super::mermaid(&everything()), @r#"
    flowchart TB
      n1["fetch (debug.Return · 3 attempts)"]
      subgraph n2["qc (in parallel · 2 at once)"]
        n3["nextclade (debug.Return)"]
        n4["pangolin (debug.Return)"]
        n5["vadr (debug.Return)"]
      end
      subgraph n6["full-or-quick (if #123;#123; inputs.full #125;#125; · when #123;#123; inputs.tree #125;#125;)"]
        subgraph n7["then"]
          n8["tree (debug.Return)"]
          n9["annotate (debug.Return)"]
          n8 --> n9
        end
        subgraph n10["else"]
          n11["subsample (debug.Return)"]
        end
      end
      subgraph n12["per-sample (× window 200 · when #123;#123; inputs.samples #125;#125;)"]
        n13["count (debug.Return)"]
        n14["report (debug.Return)"]
        n13 --> n14
        subgraph n15["errors"]
          n16["mark-bad (debug.Return)"]
        end
      end
      n17["submit (debug.Return · once)"]
      n18["approve (pause)"]
      n19["settle (sleep 90s · may fail)"]
      n1 --> n2
      n1 --> n12
      n1 --> n17
      n2 --> n6
      n6 --> n17
      n12 --> n17
      n17 --> n18
      n18 --> n19
      subgraph n20["errors"]
        n21["alert (debug.Return)"]
      end
      subgraph n22["finally"]
        n23["clean (debug.Return)"]
        n24["metrics (debug.Return)"]
        n23 --> n24
      end
      subgraph n25["after execution"]
        n26["notify (debug.Return)"]
      end
    "#);
}

#[test]
fn svg_of_everything() {
    insta::assert_snapshot!("everything.svg", super::svg(&everything()));
}

/// A graph of `count` tasks in which each waits for up to three earlier ones, by a fixed rule.
fn web(count: usize) -> Plan {
    let name = |n: usize| format!("task-{n}");
    let mut builder = flow().task(&name(0));
    for n in 1..count {
        let deps = [n - 1 - (n * 31 + 7) % n.min(40), n / 2, n * 7 % n.min(25)];
        let deps: std::collections::BTreeSet<String> = deps.into_iter().map(name).collect();
        let deps: Vec<&str> = deps.iter().map(String::as_str).collect();
        builder = builder.task_after(&name(n), &deps);
    }
    plan_of(builder)
}

#[test]
fn a_thousand_tasks_are_drawn_fast_enough_and_each_once() {
    let wide = plan_of((0..999).fold(flow().task("start"), |f, n| {
        f.task_after(&format!("t{n}"), &["start"])
    }));
    let long = plan_of((0..1_000).fold(flow(), |f, n| f.task(&format!("t{n}"))));
    assert!(
        long.scopes[0]
            .nodes
            .iter()
            .any(|node| node.id.starts_with(".part"))
    );
    assert!(
        !super::text(&long).contains('←'),
        "a sequence, also across hidden groups"
    );
    assert_eq!(super::text(&wide).matches("  ← start\n").count(), 999);
    assert_eq!(super::svg(&wide).matches("class=\"edge\"").count(), 999);
    for plan in [web(1_000), wide, long] {
        let svg = super::svg(&plan);
        assert_eq!(svg.matches("<g class=\"task\"").count(), 1_000);
        assert_eq!(super::text(&plan).lines().count(), 1_001);
        assert_eq!(svg, super::svg(&plan), "equal plans give equal drawings");
    }
}

#[test]
fn hidden_groups_pass_arrows_on() {
    // Two lists too long for one shard, one after the other, between two tasks.
    let many = |prefix: &'static str| {
        move |f: FlowBuilder| (0..150).fold(f, |f, n| f.task(&format!("{prefix}{n}")))
    };
    let plan = plan_of(
        flow()
            .task("first")
            .parallel("all", 0, many("a"))
            .task("last"),
    );
    assert!(
        plan.scopes[0]
            .nodes
            .iter()
            .filter(|n| n.id.starts_with(".part"))
            .count()
            > 1
    );
    let text = super::text(&plan);
    assert!(
        text.contains("\n├─ all  (in parallel)\n│  ├─ a0  (debug.Return)\n"),
        "{text}"
    );
    assert!(
        text.ends_with("│  └─ a149  (debug.Return)\n└─ last  (debug.Return)\n"),
        "{text}"
    );
    let mermaid = super::mermaid(&plan);
    assert_eq!(mermaid.matches(" --> ").count(), 2, "{mermaid}");
}

#[test]
fn neighbours_of_a_hidden_group_meet_its_ends() {
    let group = |f: FlowBuilder| f.task("a").task("b").task("c");
    let mut plan = plan_of(
        flow()
            .task("first")
            .group("g", GroupOrder::Sequential, group)
            .task("last"),
    );
    let node = plan.scopes[0]
        .nodes
        .iter_mut()
        .find(|n| n.id == "g")
        .unwrap();
    node.hidden = true;
    node.id = ".g".into();
    insta::assert_snapshot!(super::mermaid(&plan), @r#"
    flowchart TB
      n1["first (debug.Return)"]
      n2["a (debug.Return)"]
      n3["b (debug.Return)"]
      n4["c (debug.Return)"]
      n5["last (debug.Return)"]
      n1 --> n2
      n2 --> n3
      n3 --> n4
      n4 --> n5
    "#);
}

/// What a flow may contain that a drawing must not be changed by.
const HOSTILE: &str = "\"]--><script>&'\u{1}\u{ffff}`#;{{\n</title>";

#[test]
fn text_from_a_flow_stays_text() {
    let mut plan = plan_of(flow().task("a").when(HOSTILE).choice(
        "b",
        HOSTILE,
        |f| f.task("c"),
        |f| f,
    ));
    plan.flow = HOSTILE.to_owned();
    for node in &mut plan.scopes[0].nodes {
        if !node.hidden {
            node.id = format!("{}{HOSTILE}", node.id);
        }
        if let NodeKind::Choice { cases, .. } = &mut node.kind {
            cases[0] = HOSTILE.to_owned();
        }
    }
    let svg = super::svg(&plan);
    assert!(!svg.contains("<script") && !svg.contains('\u{1}') && !svg.contains('\u{ffff}'));
    for (tag, count) in [
        ("g", 4),
        ("title", 3),
        ("text", 7),
        ("svg", 1),
        ("tspan", 3),
    ] {
        assert_eq!(svg.matches(&format!("</{tag}>")).count(), count, "{tag}");
    }
    let attributes = svg.matches("data-task=\"").count();
    assert_eq!(attributes, 3);
    let text = super::text(&plan);
    assert_eq!(text.lines().count(), 5, "{text}");
    assert!(
        !text.contains(|c: char| c.is_control() && c != '\n'),
        "{text}"
    );
    let mermaid = super::mermaid(&plan);
    assert!(!mermaid.contains("<script") && !mermaid.contains('`'));
    for line in mermaid.lines().filter(|line| line.contains('[')) {
        assert_eq!(line.matches('"').count(), 2, "{line}");
        assert!(line.ends_with("\"]"), "{line}");
    }
}

#[test]
fn nested_loops_and_long_names_fit() {
    let long = "a-task-with-a-name-that-is-much-too-long-to-be-shown-in-full-anywhere";
    let plan = plan_of(
        flow()
            .looped("outer", 3, |f| {
                f.looped("inner", 4, |f| f.task(long)).window(7)
            })
            .task("z")
            .when(&format!("{{{{ {} }}}}", "x".repeat(60))),
    );
    let text = super::text(&plan);
    let rows = [
        "genomics / qc".to_owned(),
        "├─ outer  (× window 1000)".to_owned(),
        "│  └─ inner  (× window 7)".to_owned(),
        format!("│     └─ {long}  (debug.Return)"),
        format!("└─ z  (debug.Return · when {{{{ {}…)", "x".repeat(36)),
    ];
    assert_eq!(text.lines().collect::<Vec<_>>(), rows);
    let svg = super::svg(&plan);
    assert!(
        svg.contains(&format!("data-task=\"{long}\"")) && svg.contains(&format!("<title>{long}:"))
    );
    assert!(
        svg.contains(">a-task-with-a-nam…in-full-anywhere<"),
        "{svg}"
    );
}
