//! `--to 2.0` where it is more than other names.

use super::super::left_over;
use super::to_v2;
use crate::lang::Plugins;
use crate::lang::diagnostic::Rule;
use crate::plan::compile;

/// The plan of a flow, as bytes.
fn planned(source: &str) -> Vec<u8> {
    let parsed = crate::lang::parse(source, &Plugins::default());
    let flow = parsed
        .flow
        .unwrap_or_else(|| panic!("{:?}\n{source}", parsed.diagnostics));
    compile(&flow).unwrap().canonical_json()
}

#[test]
fn what_has_another_form_in_version_2_is_rewritten_and_means_the_same() {
    let head = "id: a\nnamespace: b\n";
    for (old, new) in [
        (
            "tasks:\n  - id: e\n    type: io.kestra.core.tasks.flows.EachSequential\n    value: [x]\n    tasks:\n      - {id: t, type: log, message: m}\n",
            "tasks:\n  - id: e\n    type: io.kestra.plugin.core.flow.Loop\n    values: [x]\n    tasks:\n      - {id: t, type: log, message: m}\n",
        ),
        (
            "tasks:\n  - id: e\n    type: io.kestra.plugin.core.flow.EachParallel # all\n    # these\n    value: [x]\n    tasks:\n      - {id: t, type: log, message: m}\n",
            "tasks:\n  - id: e\n    type: io.kestra.plugin.core.flow.Loop # all\n    # these\n    concurrencyLimit: 0\n    values: [x]\n    tasks:\n      - {id: t, type: log, message: m}\n",
        ),
        (
            "tasks:\n  - {id: e, type: io.kestra.core.tasks.flows.EachParallel, value: [x], tasks: [{id: t, type: log, message: m}]}\n  - {id: f, type: io.kestra.plugin.core.flow.EachParallel, value: [x], concurrent: 3, tasks: [{id: u, type: log, message: m}]}\n",
            "tasks:\n  - {id: e, type: io.kestra.plugin.core.flow.Loop, concurrencyLimit: 0, values: [x], tasks: [{id: t, type: log, message: m}]}\n  - {id: f, type: io.kestra.plugin.core.flow.Loop, values: [x], concurrencyLimit: 3, tasks: [{id: u, type: log, message: m}]}\n",
        ),
        (
            "tasks:\n  - id: e\n    type: io.kestra.plugin.core.flow.ForEach\n    values: [x]\n    tasks:\n      - id: t\n        type: io.kestra.plugin.scripts.shell.Script\n        script: ls\n        runner: DOCKER\n        docker:\n          image: x\n",
            "tasks:\n  - id: e\n    type: io.kestra.plugin.core.flow.Loop\n    values: [x]\n    tasks:\n      - id: t\n        type: io.kestra.plugin.scripts.shell.Script\n        script: ls\n        taskRunner: {type: io.kestra.plugin.scripts.runner.docker.Docker}\n        containerImage: x\n",
        ),
        (
            "tasks:\n  - {id: t, type: io.kestra.plugin.scripts.shell.Script, script: ls, runner: PROCESS}\ntriggers:\n  - id: d\n    type: io.kestra.plugin.core.trigger.Schedule\n    cron: \"0 0 * * *\"\n    conditions:\n      - type: io.kestra.plugin.core.condition.Expression\n        expression: \"{{ trigger.date | date('d') == '1' }}\"\n    # later\n    lateMaximumDelay: PT1H\n",
            "tasks:\n  - {id: t, type: io.kestra.plugin.scripts.shell.Script, script: ls, taskRunner: {type: io.kestra.plugin.core.runner.Process}}\n\ntriggers:\n  - id: d\n    type: io.kestra.plugin.core.trigger.Schedule\n    cron: \"0 0 * * *\"\n    when: \"{{ trigger.date | date('d') == '1' }}\"\n    # later\n    lateMaximumDelay: PT1H\n",
        ),
        (
            "tasks:\n  - {id: t, type: log, message: m}\ntriggers:\n  - id: d\n    type: io.kestra.plugin.core.trigger.Flow\n    conditions:\n      - type: io.kestra.plugin.core.condition.ExecutionFlow\n        namespace: b\n        flowId: c\n      - {type: io.kestra.plugin.core.condition.ExecutionStatus, in: [FAILED]}\n",
            "tasks:\n  - {id: t, type: log, message: m}\n\ntriggers:\n  - id: d\n    type: io.kestra.plugin.core.trigger.Flow\n    dependsOn: [{namespace: \"b\", flowId: \"c\", states: [\"FAILED\"]}]\n",
        ),
    ] {
        let source = format!("{head}{old}");
        let renewed = to_v2(&source);
        assert_eq!(renewed, format!("{head}\n{new}"));
        assert_eq!(planned(&source), planned(&renewed), "{renewed}");
        assert!(left_over(&source).is_empty(), "{:?}", left_over(&source));
        assert_eq!(to_v2(&renewed), renewed);
    }
}

#[test]
fn what_has_no_equivalent_in_version_2_stays_and_is_said() {
    for (source, place) in [
        (
            "tasks:\n  - {id: e, type: io.kestra.plugin.core.flow.ForEachItem}\n",
            "io.kestra.plugin.core.flow.ForEachItem",
        ),
        (
            "tasks:\n  - {runner: DOCKER, docker: {image: x, user: root}}\n",
            "DOCKER",
        ),
        (
            "tasks:\n  - {runner: DOCKER, taskRunner: {type: docker}}\n",
            "DOCKER",
        ),
        (
            "pluginDefaults:\n  - {type: io.kestra.plugin.core.flow.EachParallel, values: {concurrent: 2}}\n\ntasks:\n  - {type: io.kestra.plugin.core.flow.EachParallel, value: [x]}\n",
            "io.kestra.plugin.core.flow.EachParallel",
        ),
        (
            "triggers:\n  - type: io.kestra.plugin.core.trigger.Schedule\n    conditions: [{type: io.kestra.plugin.core.condition.PublicHoliday}]\n",
            "[{type: io.kestra.plugin.core.condition.PublicHoliday}]",
        ),
        (
            "triggers:\n  - type: io.kestra.plugin.core.trigger.Schedule\n    when: \"{{ true }}\"\n    conditions: [{type: io.kestra.plugin.core.condition.Weekend}]\n",
            "[{type: io.kestra.plugin.core.condition.Weekend}]",
        ),
    ] {
        assert_eq!(to_v2(source), source);
        let left = left_over(source);
        let places: Vec<&str> = left
            .iter()
            .map(|note| source[note.span.clone()].trim_end())
            .collect();
        assert_eq!(places, [place], "{left:?}");
        assert_eq!(left[0].rule, Rule::NoNewForm);
    }
    let named = "tasks:\n  - {id: e, type: io.kestra.plugin.core.flow.ForEach, values: [x], tasks: [{id: t, type: log, message: \"{{ taskrun.value }}\"}]}\n";
    assert!(to_v2(named).contains("flow.Loop"));
    assert_eq!(left_over(named).len(), 1);
    assert!(left_over("a: [").is_empty());
}
