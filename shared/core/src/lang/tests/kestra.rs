//! Flows as they are written for Kestra 0.x, 1.x and 2.0 mean the same as the canonical spelling.

use serde_json::Value;

use super::{findings, plugins};

/// A flow without the places of its tasks, as JSON; what was said about it.
fn meaning(body: &str) -> (String, Vec<String>) {
    let tasks = if body.lines().any(|line| line.starts_with("tasks:")) {
        ""
    } else {
        "tasks:\n  - {id: t, type: log, message: hello}\n"
    };
    let source = format!("id: a\nnamespace: b\n{tasks}{body}");
    let (flow, found) = findings(&source, &plugins());
    let flow = flow.unwrap_or_else(|| panic!("{source}\n{found:#?}"));
    (serde_json::to_string_pretty(&flow).unwrap(), found)
}

/// The order of properties means nothing.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map
                .into_iter()
                .map(|(key, value)| (key, sorted(value)))
                .collect();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(entries.into_iter().collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        scalar @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => scalar,
    }
}

fn same(canonical: &str, others: &[&str]) {
    let (wanted, found) = meaning(canonical);
    assert!(found.is_empty(), "{canonical}\n{found:#?}");
    for other in others {
        let ordered = |text: &str| sorted(serde_json::from_str(text).unwrap());
        assert_eq!(ordered(&meaning(other).0), ordered(&wanted), "{other}");
    }
}

#[test]
fn conditions_on_tasks() {
    same(
        "tasks:\n  - {id: t, type: log, message: x, when: \"{{ true }}\"}\n",
        &[
            "tasks:\n  - {id: t, type: io.kestra.core.tasks.log.Log, message: x, runIf: \"{{ true }}\"}\n",
        ],
    );
}

#[test]
fn retries() {
    same(
        "tasks:\n  - {id: t, type: shell, script: x, retry: {type: constant, interval: PT1M, maxAttempts: 3}}\n",
        &[
            "tasks:\n  - {id: t, type: shell, script: x, retry: {type: constant, interval: 60s, maxAttempt: 3}}\n",
            "tasks:\n  - {id: t, type: shell, script: x, retry: {interval: 1m, maxAttempts: \"3\"}}\n",
        ],
    );
    same(
        "tasks:\n  - {id: t, type: shell, script: x, retry: {maxAttempts: 3, reasons: [OUT_OF_MEMORY]}}\n",
        &[
            "tasks:\n  - {id: t, type: shell, script: x, retry: {maxAttempts: 3, reasons: out_of_memory}}\n",
        ],
    );
}

#[test]
fn defaults_by_type() {
    same(
        "tasks:\n  - {id: t, type: http, uri: https://x, timeout: PT2M, method: POST}\n  - {id: u, type: log, message: x, timeout: PT3M}\n",
        &[
            "pluginDefaults:\n  - {type: io.kestra.plugin.core.http, values: {timeout: PT2M, method: GET}}\n  - {type: io.kestra.plugin.core.http.Request, forced: true, values: {method: POST}}\n  - {type: io.kestra.plugin.core, values: {timeout: PT3M, uri: https://y}}\ntasks:\n  - {id: t, type: http, url: https://x, method: PUT}\n  - {id: u, type: log, message: x}\n",
            "taskDefaults:\n  - {type: http, values: {timeout: PT2M, method: POST}}\n  - {type: log, values: {timeout: PT3M}}\ntasks:\n  - {id: t, type: io.kestra.plugin.fs.http.Request, uri: https://x}\n  - {id: u, type: log, message: x}\n",
        ],
    );
}

#[test]
fn defaults_reach_nested_tasks_and_leave_control_alone() {
    let (flow, _) = meaning(
        "pluginDefaults:\n  - {type: io.kestra.plugin, values: {timeout: PT2M, retry: {maxAttempts: 2}}}\ntasks:\n  - {id: g, type: parallel, tasks: [{id: t, type: log, message: x}]}\n",
    );
    let flow: Value = serde_json::from_str(&flow).unwrap();
    let inner = flow.pointer("/tasks/tasks/0/kind/tasks/tasks/0").unwrap();
    assert_eq!(inner["timeoutMs"], 120_000);
    assert_eq!(inner["retry"]["maxAttempts"], 2);
    assert_eq!(flow.pointer("/tasks/tasks/0/retry"), Some(&Value::Null));
}

#[test]
fn script_tasks_of_every_age() {
    same(
        "tasks:\n  - id: t\n    type: io.kestra.plugin.scripts.shell.Commands\n    containerImage: x:1\n    commands: [\"a\"]\n    taskRunner: {type: io.kestra.plugin.scripts.runner.docker.Docker, pullPolicy: NEVER}\n    resources: {cpu: 2, memory: 4Gi}\n",
        &[
            "tasks:\n  - id: t\n    type: shell-commands\n    runner: DOCKER\n    docker: {image: \"x:1\", pullPolicy: never, cpu: {cpus: 2}, memory: {memory: 4Gi}}\n    commands: a\n",
            "tasks:\n  - id: t\n    type: io.kestra.core.tasks.scripts.Bash\n    docker.image: x:1\n    commands: [\"a\"]\n    taskRunner: {type: docker, pullPolicy: NEVER, cpu: {cpus: 2}, memory: {memory: 4Gi}}\n",
        ],
    );
}

#[test]
fn secrets_are_looked_up_when_the_task_is_launched() {
    same(
        "tasks:\n  - {id: t, type: shell, script: x, env: {A: b, HOOK: \"{{ secret('SLACK') }}\"}}\n",
        &["tasks:\n  - {id: t, type: shell, script: x, env: {A: b}, secrets: {HOOK: SLACK}}\n"],
    );
}

#[test]
fn graphs_with_and_without_the_wrapper() {
    same(
        "tasks:\n  - id: d\n    type: dag\n    tasks:\n      - {id: a, type: log, message: x}\n      - {id: b, type: log, message: x, dependsOn: [a]}\n",
        &[
            "tasks:\n  - id: d\n    type: io.kestra.core.tasks.flows.Dag\n    tasks:\n      - task: {id: a, type: log, message: x}\n      - task: {id: b, type: log, message: x}\n        dependsOn: a\n",
        ],
    );
}

#[test]
fn loops_of_every_age() {
    let (flow, _) = meaning(
        "tasks:\n  - {id: a, type: foreach, values: [x], tasks: [{id: a1, type: log, message: x}]}\n  - {id: b, type: io.kestra.core.tasks.flows.EachParallel, value: [x], tasks: [{id: b1, type: log, message: x}]}\n  - {id: c, type: io.kestra.plugin.core.flow.ForEachItem, items: f, batch: {rows: 10}, flowId: other, inputs: {f: \"{{ taskrun.items }}\"}}\n",
    );
    let flow: Value = serde_json::from_str(&flow).unwrap();
    let at = |path: &str| {
        flow.pointer(&format!("/tasks/tasks/{path}"))
            .cloned()
            .unwrap_or_default()
    };
    assert_eq!(at("0/kind/concurrency_limit"), 1);
    assert_eq!(at("1/kind/concurrency_limit"), 0);
    assert_eq!(at("2/kind/values/items/rows"), 10);
    assert_eq!(at("2/kind/tasks/tasks/0/id"), "c-subflow");
    assert_eq!(
        at("2/kind/tasks/tasks/0/type"),
        "io.kestra.plugin.core.flow.Subflow"
    );
    assert_eq!(
        at("2/kind/tasks/tasks/0/props/namespace"),
        "b",
        "the flow's own namespace"
    );
}

#[test]
fn pauses_with_a_timeout_fail_and_with_a_duration_go_on() {
    let pause = |props: &str| {
        let (flow, _) = meaning(&format!("tasks:\n  - {{id: p, type: pause{props}}}\n"));
        let flow: Value = serde_json::from_str(&flow).unwrap();
        let kind = flow.pointer("/tasks/tasks/0/kind").unwrap();
        format!(
            "{} {}",
            kind["duration"],
            kind["behavior"].as_str().unwrap()
        )
    };
    assert_eq!(pause(""), "null RESUME");
    assert_eq!(pause(", delay: PT1H"), "3600000 RESUME");
    assert_eq!(pause(", timeout: PT1H"), "3600000 FAIL");
    assert_eq!(
        pause(", pauseDuration: PT1H, timeout: PT2H, behavior: WARN"),
        "3600000 WARN"
    );
    assert_eq!(
        pause(", pauseDuration: PT2H, timeout: PT1H"),
        "3600000 FAIL"
    );
}

#[test]
fn conditions_and_preconditions_of_triggers() {
    same(
        "triggers:\n  - id: x\n    type: flow\n    when: \"{{ trigger.state == 'SUCCESS' }}\"\n    dependsOn: [{flowId: f, namespace: n, states: [SUCCESS]}]\n",
        &[
            "triggers:\n  - id: x\n    type: io.kestra.core.models.triggers.types.Flow\n    conditions:\n      - {type: io.kestra.core.models.conditions.types.ExecutionFlowCondition, namespace: n, flowId: f}\n      - {type: io.kestra.plugin.core.condition.ExecutionStatus, in: [SUCCESS]}\n      - {type: io.kestra.plugin.core.condition.Expression, expression: \"{{ trigger.state == 'SUCCESS' }}\"}\n",
        ],
    );
}

/// A schedule with these conditions is one with this `when`.
fn filtered(conditions: &str, when: &str) {
    let of = |rest: &str| {
        format!("triggers:\n  - id: x\n    type: schedule\n    cron: \"0 2 * * *\"\n{rest}")
    };
    let mut list = "    conditions:\n".to_owned();
    for line in conditions.lines() {
        list.push_str("      - {type: io.kestra.plugin.core.condition.");
        list.push_str(line);
        list.push_str("}\n");
    }
    same(
        &of(&format!("    when: \"{{{{ {when} }}}}\"\n")),
        &[&of(&list)],
    );
}

#[test]
fn conditions_of_days_and_times_become_when() {
    for (condition, when) in [
        ("Weekend", "isWeekend(trigger.date)"),
        (
            "DayWeek, dayOfWeek: monday, date: \"{{ trigger.next }}\"",
            "dayOfWeek(trigger.next) == 'MONDAY'",
        ),
        (
            "DayWeekInMonth, dayOfWeek: MONDAY, dayInMonth: LAST",
            "isDayWeekInMonth(trigger.date, 'MONDAY', 'LAST')",
        ),
        (
            "DateTimeBetween, after: \"2026-01-01T00:00:00Z\", before: \"2027-01-01T00:00:00Z\"",
            "(trigger.date | timestampMilli) > ('2026-01-01T00:00:00Z' | timestampMilli) and \
             (trigger.date | timestampMilli) < ('2027-01-01T00:00:00Z' | timestampMilli)",
        ),
        (
            "TimeBetween, after: \"02:30:00+02:00\"",
            "(trigger.date | date('HH:mm:ss', timeZone='+02:00')) > '02:30:00'",
        ),
        (
            "Not, conditions: [{type: Weekend}, {type: DayWeek, dayOfWeek: FRIDAY}]",
            "not ((isWeekend(trigger.date)) or (dayOfWeek(trigger.date) == 'FRIDAY'))",
        ),
        (
            "Or, conditions: [{type: Weekend}, {type: Expression, expression: \"{{ trigger.backfill }}\"}]",
            "(isWeekend(trigger.date)) or (trigger.backfill)",
        ),
        (
            "Weekend\nExpression, expression: \"{{ trigger.backfill }}\"",
            "(isWeekend(trigger.date)) and (trigger.backfill)",
        ),
    ] {
        filtered(condition, when);
    }
}

#[test]
fn conditions_of_flow_triggers_become_filters() {
    let of = |rest: &str| format!("triggers:\n  - id: x\n    type: flow\n{rest}");
    same(
        &of(
            "    dependsOn: [{flowId: a, namespace: n, states: [SUCCESS]}, {flowId: b, namespace: n, states: [SUCCESS]}]\n    window: {every: PT2H}\n",
        ),
        &[&of(
            "    conditions:\n      - type: io.kestra.plugin.core.condition.MultipleCondition\n        id: m\n        window: PT2H\n        conditions:\n          one: {type: io.kestra.plugin.core.condition.ExecutionFlow, namespace: n, flowId: a}\n          two: {type: io.kestra.plugin.core.condition.ExecutionFlow, namespace: n, flowId: b}\n      - {type: io.kestra.plugin.core.condition.ExecutionStatus, in: [SUCCESS]}\n",
        )],
    );
    same(
        &of(
            "    dependsOn: [{}]\n    when: \"{{ (trigger.namespace | startsWith('genomics')) }}\"\n",
        ),
        &[&of(
            "    conditions:\n      - {type: io.kestra.plugin.core.condition.ExecutionNamespace, namespace: genomics, comparison: PREFIX}\n",
        )],
    );
    same(
        &of(
            "    dependsOn: [{}]\n    when: \"{{ not ((trigger.namespace == 'n' and trigger.flowId == 'f')) }}\"\n",
        ),
        &[&of(
            "    conditions:\n      - {type: Not, conditions: [{type: ExecutionFlow, namespace: n, flowId: f}]}\n",
        )],
    );
    same(
        &of("    dependsOn: [{}]\n    when: \"{{ (trigger.labels['team'] ?? '') == 'ops' }}\"\n"),
        &[&of(
            "    conditions:\n      - {type: ExecutionLabels, labels: {team: ops}}\n",
        )],
    );
}

#[test]
fn windows_of_flow_triggers() {
    same(
        "triggers:\n  - {id: x, type: flow, dependsOn: [{flowId: f}], window: {lookback: PT6H}}\n",
        &[
            "triggers:\n  - id: x\n    type: io.kestra.plugin.core.trigger.Flow\n    preconditions:\n      id: all\n      flows: [{flowId: f}]\n      timeWindow: {type: SLIDING_WINDOW, window: 6h}\n",
        ],
    );
}

#[test]
fn what_is_refused_may_be_written_where_it_asks_for_nothing() {
    same(
        "tasks:\n  - {id: t, type: shell, script: x, containerImage: y}\n",
        &[
            "listeners: []\nquotas: []\ntasks:\n  - {id: t, type: shell, script: x, docker: {image: y, privileged: false, volumes: []}, pluginDefaultsRef: null}\n",
        ],
    );
}

#[test]
fn defaults_of_plugins_and_lists_of_labels_and_secrets() {
    same(
        "labels: {team: ops}\ntasks:\n  - {id: t, type: genomics.nextclade, organism: ebola, timeout: PT5M}\n  - {id: u, type: shell, script: x, secrets: {A: A, B: B}}\n",
        &[
            "labels: [{key: team, value: ops}]\npluginDefaults:\n  - {type: genomics, values: {organism: ebola, timeout: 5m}}\ntasks:\n  - {id: t, type: genomics.nextclade}\n  - {id: u, type: shell, script: x, secrets: [A, B]}\n",
        ],
    );
}

#[test]
fn loops_until_a_condition_holds() {
    let body = "tasks: [{id: a, type: log, message: x}]";
    same(
        &format!(
            "tasks:\n  - {{id: t, type: loop-until, condition: \"{{{{ true }}}}\", checkFrequency: {{interval: PT2S, maxIterations: 7}}, {body}}}\n"
        ),
        &[
            &format!(
                "tasks:\n  - {{id: t, type: io.kestra.plugin.core.flow.LoopUntil, condition: \"{{{{ true }}}}\", failOnMaxReached: false, checkFrequency: {{interval: 2s, maxIterations: 7, maxDuration: PT1H}}, {body}}}\n"
            ),
            &format!(
                "tasks:\n  - {{id: t, type: io.kestra.plugin.core.flow.WaitFor, condition: \"{{{{ true }}}}\", checkFrequency: {{interval: PT2S, maxIterations: 7}}, {body}}}\n"
            ),
            &format!(
                "tasks:\n  - {{id: t, type: io.kestra.core.tasks.flows.WaitFor, condition: \"{{{{ true }}}}\", checkFrequency: {{interval: PT2S, maxIterations: 7}}, {body}}}\n"
            ),
        ],
    );
    let (flow, _) = meaning(&format!(
        "tasks:\n  - {{id: t, type: loop-until, condition: \"{{{{ true }}}}\", checkFrequency: {{interval: PT2S, maxIterations: 7, maxDuration: PT2M}}, {body}}}\n"
    ));
    for said in [
        "\"intervalMs\": 2000",
        "\"maxIterations\": 7",
        "\"maxDurationMs\": 120000",
    ] {
        assert!(flow.contains(said), "{said}\n{flow}");
    }
}

#[test]
fn classes_without_a_runner_have_advice_and_no_spelling_guess() {
    for (class, advice) in [
        (
            "io.kestra.plugin.core.execution.SetVariables",
            "`outputs.<task>.values.<name>`",
        ),
        (
            "io.kestra.plugin.core.execution.UnsetVariables",
            "do not change",
        ),
        ("io.kestra.plugin.core.execution.Resume", "through the API"),
        ("io.kestra.core.tasks.executions.Resume", "through the API"),
        (
            "io.kestra.plugin.core.execution.PurgeExecutions",
            "expire by themselves",
        ),
        (
            "io.kestra.core.tasks.storages.PurgeExecution",
            "expire by themselves",
        ),
        ("io.kestra.plugin.core.execution.Kill", "`state: KILLED`"),
        (
            "io.kestra.plugin.core.log.PurgeLogs",
            "expire by themselves",
        ),
        ("io.kestra.plugin.core.log.Fetch", "command line or the API"),
        (
            "io.kestra.plugin.core.templating.TemplatedTask",
            "may be templates",
        ),
        ("io.kestra.plugin.scripts.go.Script", "an image that has Go"),
        (
            "io.kestra.plugin.scripts.go.Commands",
            "an image that has Go",
        ),
    ] {
        let source = format!("id: a\nnamespace: b\ntasks:\n  - {{id: t, type: {class}}}\n");
        let (_, found) = findings(&source, &plugins());
        assert_eq!(found.len(), 1, "{found:#?}");
        assert!(
            found[0].contains("no-runner") && found[0].contains(advice),
            "{found:#?}"
        );
    }
}

#[test]
fn the_task_runner_of_a_process_has_two_class_names() {
    let flow = |runner: &str| {
        format!("tasks:\n  - {{id: t, type: shell, script: x, taskRunner: {{type: {runner}}}}}\n")
    };
    same(
        &flow("process"),
        &[
            &flow("io.kestra.plugin.core.runner.Process"),
            &flow("io.kestra.plugin.core.runner.ProcessTaskRunner"),
        ],
    );
}
