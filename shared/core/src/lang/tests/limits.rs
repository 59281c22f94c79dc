//! Every limit holds, and what is just below it is accepted.

use std::fmt::Write as _;

use super::findings;
use crate::lang::limits::*;
use crate::lang::plugins::Plugins;

const TASK: &str = "tasks:\n  - {id: t, type: log, message: hello}\n";

fn list(count: usize, line: impl Fn(usize) -> String) -> String {
    (0..count)
        .map(|at| format!("  {}\n", line(at)))
        .collect::<Vec<_>>()
        .concat()
}

fn nested(depth: usize, kind: &str) -> String {
    let mut text = String::from("tasks:\n");
    for level in 0..depth {
        let pad = "  ".repeat(level);
        let values = if kind == "foreach" {
            format!("{pad}  values: [a]\n")
        } else {
            String::new()
        };
        write!(
            text,
            "{pad}- id: g{level}\n{pad}  type: {kind}\n{values}{pad}  tasks:\n"
        )
        .unwrap();
    }
    text + &format!(
        "{}- {{id: leaf, type: log, message: hello}}\n",
        "  ".repeat(depth)
    )
}

/// Accepted with `max` of something, refused with one more.
fn check(what: &str, max: usize, rule: &str, text: impl Fn(usize) -> String) {
    let whole = |count| format!("id: a\nnamespace: b\n{}", text(count));
    let (flow, found) = findings(&whole(max), &Plugins::default());
    assert!(
        flow.is_some(),
        "{what}: {max} must be accepted: {:#?}",
        &found[..found.len().min(3)]
    );
    let (flow, found) = findings(&whole(max + 1), &Plugins::default());
    assert!(flow.is_none(), "{what}: {} must be refused", max + 1);
    assert!(
        found
            .iter()
            .any(|line| line.contains(&format!("error {rule}:"))),
        "{what}: {found:#?}"
    );
}

#[test]
fn numbers_of_things() {
    check("inputs", INPUTS_MAX, "limit", |n| {
        format!(
            "{TASK}inputs:\n{}",
            list(n, |at| format!("- {{id: i{at}, type: STRING}}"))
        )
    });
    check("choices", CHOICES_MAX, "limit", |n| {
        let values: Vec<_> = (0..n).map(|at| format!("v{at}")).collect();
        format!(
            "{TASK}inputs: [{{id: i, type: SELECT, values: [{}]}}]\n",
            values.join(",")
        )
    });
    check("outputs", OUTPUTS_MAX, "limit", |n| {
        format!(
            "{TASK}outputs:\n{}",
            list(n, |at| format!("- {{id: o{at}, type: STRING, value: x}}"))
        )
    });
    check("variables", VARIABLES_MAX, "limit", |n| {
        format!("{TASK}variables:\n{}", list(n, |at| format!("v{at}: x")))
    });
    check("triggers", TRIGGERS_MAX, "limit", |n| {
        format!(
            "{TASK}triggers:\n{}",
            list(n, |at| format!(
                "- {{id: t{at}, type: schedule, cron: \"@daily\"}}"
            ))
        )
    });
    check("labels", LABELS_MAX, "limit", |n| {
        format!("{TASK}labels:\n{}", list(n, |at| format!("l{at}: x")))
    });
    check("checks", POLICIES_MAX, "limit", |n| {
        format!(
            "{TASK}checks:\n{}",
            list(n, |_| "- {when: true, message: x}".to_owned())
        )
    });
    check("service levels", POLICIES_MAX, "limit", |n| {
        format!(
            "{TASK}sla:\n{}",
            list(n, |at| format!(
                "- {{id: s{at}, type: MAX_DURATION, duration: 1h, behavior: FAIL}}"
            ))
        )
    });
    check("defaults", PLUGIN_DEFAULTS_MAX, "limit", |n| {
        format!(
            "{TASK}pluginDefaults:\n{}",
            list(n, |_| "- {type: http, values: {}}".to_owned())
        )
    });
    check("cases", CASES_MAX, "limit", |n| {
        let cases = list(n, |at| {
            format!("    c{at}: [{{id: t{at}, type: log, message: x}}]")
        });
        format!("tasks:\n  - id: s\n    type: switch\n    value: x\n    cases:\n{cases}")
    });
    check("items", ITEMS_MAX, "limit", |n| {
        let values: Vec<_> = (0..n).map(|at| at.to_string()).collect();
        format!(
            "tasks:\n  - {{id: s, type: foreach, values: [{}], tasks: [{{id: t, type: log, message: x}}]}}\n",
            values.join(",")
        )
    });
}

#[test]
fn tasks_and_their_nesting() {
    check("tasks", TASKS_MAX, "limit", |n| {
        format!(
            "tasks:\n{}",
            list(n, |at| format!("- {{id: t{at}, type: log, message: x}}"))
        )
    });
    check("depth", TASK_DEPTH_MAX - 1, "limit", |n| {
        nested(n, "sequential")
    });
    check("loops", LOOP_DEPTH_MAX, "limit", |n| nested(n, "foreach"));
    check("dependencies", DEPENDS_ON_MAX, "limit", |n| {
        let names: Vec<_> = (0..n).map(|at| format!("t{at}")).collect();
        format!(
            "tasks:\n{}  - {{id: last, type: log, message: x, dependsOn: [{}]}}\n",
            list(n, |at| format!(
                "- {{id: t{at}, type: log, message: x, dependsOn: []}}"
            )),
            names.join(",")
        )
    });
}

#[test]
fn lengths_of_texts() {
    check("text", TEXT_BYTES_MAX, "limit", |n| {
        format!(
            "tasks:\n  - {{id: t, type: log, message: {}}}\n",
            "x".repeat(n)
        )
    });
    check("description", DESCRIPTION_BYTES_MAX, "limit", |n| {
        format!("{TASK}description: {}\n", "x".repeat(n))
    });
    check("label", LABEL_BYTES_MAX, "limit", |n| {
        format!("{TASK}labels: {{a: {}}}\n", "x".repeat(n))
    });
    check("id of a task", ID_CHARS_MAX, "invalid-id", |n| {
        format!(
            "tasks:\n  - {{id: {}, type: log, message: x}}\n",
            "x".repeat(n)
        )
    });
    let flow = |id: usize, namespace: usize| {
        let source = format!(
            "id: {}\nnamespace: {}\n{TASK}",
            "x".repeat(id),
            "x".repeat(namespace)
        );
        findings(&source, &Plugins::default()).0.is_some()
    };
    assert!(flow(FLOW_ID_CHARS_MAX, NAMESPACE_CHARS_MAX));
    assert!(!flow(FLOW_ID_CHARS_MAX + 1, 1));
    assert!(!flow(1, NAMESPACE_CHARS_MAX + 1));
}

#[test]
fn plugins_in_number() {
    let files: Vec<_> = (0..=PLUGINS_MAX)
        .map(|at| {
            (
                format!("{at}.yaml"),
                format!("type: a.b{at}\ntask: {{type: log, message: x}}\n"),
            )
        })
        .collect();
    let (plugins, problems) = Plugins::load(
        files
            .iter()
            .map(|(name, text)| (name.as_str(), text.as_str())),
    );
    assert_eq!(plugins.names().count(), PLUGINS_MAX);
    assert_eq!(problems.len(), 1);
}

#[test]
fn a_thousand_lines_are_quick_and_no_order_is_quadratic() {
    // Only that it ends: time is measured by the benchmarks. Every task reads outputs of the first.
    let tasks = list(2_000, |at| {
        let before = at.saturating_sub(1);
        let depends = if at == 0 {
            String::new()
        } else {
            format!("t{before}")
        };
        format!(
            "- {{id: t{at}, type: return, format: \"{{{{ outputs.t0.value ?? 'x' }}}} {{{{ outputs.t{before}.value ?? 1 }}}}\", dependsOn: [{depends}]}}"
        )
    });
    let source = format!("id: a\nnamespace: b\ntasks:\n{tasks}");
    let (flow, found) = findings(&source, &Plugins::default());
    assert!(flow.is_some(), "{:#?}", &found[..found.len().min(3)]);
}
