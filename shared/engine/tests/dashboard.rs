//! The dashboard and the alarms in `infra/template.yaml` are those of the code, and what they show is emitted.

#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::LazyLock;

use operon_core::exec::Reason;
use operon_core::lang::{self, plugins::Plugins};
use operon_core::plan::{self, Plan};
use operon_engine::metrics::dashboard::{self, BEGIN, END, OUTCOMES, Wrong};
use operon_engine::metrics::{Alert, Buried, DIMENSIONS, Measurement, Prices};
use operon_engine::ports::ExecutionRow;
use serde_json::{Value, json};

fn template() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../infra/template.yaml")
}

fn parts(text: &str) -> (String, String, String) {
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (section, after) = rest.split_once(END).unwrap();
    let after = after.strip_prefix('\n').unwrap();
    (
        before.to_owned(),
        format!("{BEGIN}{section}{END}\n"),
        after.to_owned(),
    )
}

#[test]
fn the_template_carries_the_dashboard_of_the_code() {
    let text = std::fs::read_to_string(template()).unwrap();
    let (before, section, after) = parts(&text);
    if std::env::var("OPERON_UPDATE_DOCS").is_ok() {
        let new = format!("{before}{}{after}", dashboard::section());
        std::fs::write(template(), new).unwrap();
        return;
    }
    assert!(
        section == dashboard::section(),
        "infra/template.yaml is not up to date: run `OPERON_UPDATE_DOCS=1 cargo test -p operon-engine --test dashboard`"
    );
}

/// The body as CloudWatch gets it.
fn body(text: &str) -> Value {
    let (_, section, _) = parts(text);
    let (_, body) = section.split_once("DashboardBody: !Sub |\n").unwrap();
    let body = body.split(END).next().unwrap();
    let body = body.replace("${Stage}", "main");
    serde_json::from_str(&body).unwrap()
}

fn flow() -> Plan {
    let source = "id: processing\nnamespace: genomics\ntasks:\n  - {id: qc, type: container, containerImage: a/b}\n";
    let parsed = lang::parse(source, &Plugins::default());
    plan::compile(&parsed.flow.unwrap()).unwrap()
}

fn row(state: &str) -> ExecutionRow {
    let meta = json!({
        "id": "e", "namespace": "genomics", "flow": "processing", "revision": 1, "planHash": "",
        "inputs": {}, "labels": {}, "trigger": null, "createdMs": 1, "parent": null, "replayOf": null,
        "flowDir": null, "priority": 0,
    });
    ExecutionRow {
        meta: serde_json::from_value(meta).unwrap(),
        state: state.to_owned(),
        reason: None,
        started_ms: Some(2),
        ended_ms: Some(10),
        outputs: serde_json::Map::new(),
        labels: BTreeMap::new(),
    }
}

type Series = (String, String, Vec<(String, String)>);

static EMITTED: LazyLock<BTreeSet<Series>> = LazyLock::new(emitted);

/// What the code emits over executions of every outcome, retried for every reason, and messages to people.
fn emitted() -> BTreeSet<Series> {
    let plan = flow();
    let mut lines = Vec::new();
    for outcome in OUTCOMES {
        for reason in Reason::ALL.iter().filter(|reason| reason.is_retriable()) {
            let attempt = |number: u8, state: &str, reason: &str| {
                serde_json::from_value(json!({
                    "execution": "e", "taskRun": {"shard": "0", "slot": 1}, "attempt": number, "task": "qc",
                    "name": "qc", "item": null, "parent": null, "state": state, "reason": reason, "message": null,
                    "exitCode": null, "createdMs": 2, "startedMs": 3, "endedMs": 5, "outputs": {},
                    "outputsUri": null, "metrics": [], "usage": {"peakRssBytes": 1, "cpuSeconds": 1.0},
                }))
                .unwrap()
            };
            let attempts = [
                attempt(1, "FAILED", reason.words()),
                attempt(2, "SUCCESS", ""),
            ];
            let measured = Measurement::of(&plan, &row(outcome), &attempts, Prices::FARGATE, 0);
            lines.push(measured.emf("main", 1));
        }
    }
    for sent in [true, false] {
        let alert = Alert {
            namespace: "genomics".to_owned(),
            flow: "processing".to_owned(),
            sent,
        };
        lines.push(alert.emf("main", 1));
    }
    let buried = Buried {
        namespace: "genomics".to_owned(),
        flow: "processing".to_owned(),
    };
    lines.push(buried.emf("main", 1));
    lines.iter().flat_map(series).collect()
}

/// The series that CloudWatch makes of a line.
fn series(line: &Value) -> Vec<Series> {
    let about = &line["_aws"]["CloudWatchMetrics"][0];
    let mut found = Vec::new();
    for set in about["Dimensions"].as_array().unwrap() {
        let names = set
            .as_array()
            .unwrap()
            .iter()
            .map(|name| name.as_str().unwrap());
        let dimensions: Vec<_> = names
            .map(|name| {
                assert!(DIMENSIONS.contains(&name), "{name} must not be a dimension");
                (name.to_owned(), line[name].as_str().unwrap().to_owned())
            })
            .collect();
        for metric in about["Metrics"].as_array().unwrap() {
            let name = metric["Name"].as_str().unwrap();
            assert!(line[name].is_number(), "{name} has no value");
            let namespace = about["Namespace"].as_str().unwrap();
            found.push((namespace.to_owned(), name.to_owned(), dimensions.clone()));
        }
    }
    found
}

/// Metrics of AWS that are shown, by namespace and dimension.
const OF_AWS: [(&str, &str, &[&str]); 2] = [
    (
        "AWS/SQS",
        "QueueName",
        &[
            "ApproximateAgeOfOldestMessage",
            "ApproximateNumberOfMessagesVisible",
            "NumberOfMessagesReceived",
        ],
    ),
    (
        "AWS/Lambda",
        "FunctionName",
        &["Errors", "Duration", "Throttles", "Invocations"],
    ),
];

fn check(namespace: &str, name: &str, dimensions: &[(String, String)], template: &str) {
    let shown = format!("{namespace} {name} {dimensions:?}");
    let Some((_, dimension, names)) = OF_AWS.iter().find(|(of, ..)| *of == namespace) else {
        // What a filter counts in the log of a function, by the field of that name.
        let filter = format!("\n          MetricName: {name}\n          MetricValue: \"1\"\n");
        if template.contains(&filter) {
            let (dimension, value) = &dimensions[0];
            assert_eq!(dimension, "function", "{shown}");
            assert!(template.contains(&format!(
                "LogGroupName: !Sub \"/operon/${{Stage}}/{value}\""
            )));
            return;
        }
        let series = (namespace.to_owned(), name.to_owned(), dimensions.to_vec());
        assert!(
            EMITTED.contains(&series),
            "{shown} is shown and not emitted"
        );
        return;
    };
    assert!(
        names.contains(&name),
        "{shown} is no metric of AWS that is known here"
    );
    let (at, value) = &dimensions[0];
    assert_eq!(at, dimension, "{shown}");
    let there = match value.strip_prefix("${") {
        Some(resource) => format!("\n  {}:\n", resource.trim_end_matches('}')),
        None => format!("QueueName: !Sub \"{}\"", value.replace("main", "${Stage}")),
    };
    assert!(
        template.contains(&there),
        "{shown} is of nothing that the template makes"
    );
}

#[test]
fn every_widget_shows_what_is_emitted() {
    let text = std::fs::read_to_string(template()).unwrap();
    let body = body(&text);
    let widgets = body["widgets"].as_array().unwrap();
    assert!(widgets.len() >= 12, "{}", widgets.len());
    for widget in widgets {
        let lines = widget["properties"]["metrics"].as_array().unwrap();
        let title = &widget["properties"]["title"];
        let (mut ids, mut expressions) = (BTreeSet::new(), Vec::new());
        for line in lines {
            let (options, parts) = line.as_array().unwrap().split_last().unwrap();
            if let Some(id) = options["id"].as_str() {
                assert!(ids.insert(id.to_owned()), "{title}: {id} twice");
            }
            if let Some(expression) = options["expression"].as_str() {
                expressions.push(expression.to_owned());
                continue;
            }
            let texts: Vec<String> = parts
                .iter()
                .map(|part| part.as_str().unwrap().to_owned())
                .collect();
            let dimensions: Vec<_> = texts[2..]
                .chunks(2)
                .map(|pair| (pair[0].clone(), pair[1].clone()))
                .collect();
            check(&texts[0], &texts[1], &dimensions, &text);
        }
        let mut used = BTreeSet::new();
        for word in expressions
            .iter()
            .flat_map(|text| text.split(|c: char| !c.is_ascii_alphanumeric()))
        {
            if word.starts_with(|c: char| c.is_ascii_lowercase()) {
                used.insert(word.to_owned());
            }
        }
        assert_eq!(
            used, ids,
            "{title} calculates with what is there, and nothing is there for nothing"
        );
    }
}

#[test]
fn every_alarm_watches_what_is_emitted() {
    let text = std::fs::read_to_string(template()).unwrap();
    let alarms = dashboard::alarms();
    assert!(alarms.len() >= 9);
    for metric in alarms.iter().map(|alarm| &alarm.metric) {
        let dimensions: Vec<_> = metric
            .dimensions
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.replace("${Stage}", "main")))
            .collect();
        let namespace = metric.namespace.replace("${Stage}", "main");
        check(&namespace, &metric.name, &dimensions, &text);
    }
}

/// Functions and queues of the template that an alarm watches by a metric of this name.
fn watched(name: &str) -> BTreeSet<String> {
    let alarms = dashboard::alarms();
    let metrics = alarms.iter().map(|alarm| &alarm.metric);
    metrics
        .filter(|metric| metric.name == name)
        .map(|metric| metric.dimensions[0].1.clone())
        .collect()
}

#[test]
fn nothing_fails_or_waits_unseen() {
    let text = std::fs::read_to_string(template()).unwrap();
    let after = |begin: &str| -> Vec<String> {
        let parts = text.split(begin).skip(1);
        parts
            .map(|rest| rest.split('"').next().unwrap().to_owned())
            .collect()
    };
    let functions = after("FunctionName: !Sub \"operon-${Stage}-");
    assert_eq!(functions.len(), 7);
    let errors = watched("Errors");
    for function in functions {
        let found = errors
            .iter()
            .any(|one| one.to_lowercase() == format!("${{{function}}}"));
        assert!(found, "nobody is told when {function} fails");
    }
    let (dead, read): (BTreeSet<_>, BTreeSet<_>) = after("QueueName: !Sub \"")
        .into_iter()
        .partition(|name| name.ends_with("-dlq"));
    assert_eq!((dead.len(), read.len()), (5, 4));
    assert_eq!(watched("ApproximateAgeOfOldestMessage"), read);
    // Received by the reconciler, and left by one that does not receive.
    assert_eq!(watched("NumberOfMessagesReceived"), dead);
    assert_eq!(watched("ApproximateNumberOfMessagesVisible"), dead);
    assert_eq!(
        watched("Invocations"),
        BTreeSet::from(["${Reconciler}".to_owned()])
    );
}

#[test]
fn a_worker_that_died_once_is_no_alarm() {
    let text = std::fs::read_to_string(template()).unwrap();
    let alarms = dashboard::alarms();
    let alarm = alarms
        .iter()
        .find(|alarm| alarm.id == "WorkQueueWaits")
        .unwrap();
    let queue = "QueueName: !Sub \"operon-${Stage}-work\"\n      VisibilityTimeout: ";
    let (_, rest) = text.split_once(queue).unwrap();
    let visibility: u32 = rest.lines().next().unwrap().parse().unwrap();
    // SQS delays a message by a quarter of an hour at most; then it was received, and came again.
    assert_eq!(alarm.wrong, Wrong::Above(900 + visibility + 300));
}

#[test]
fn every_metric_of_the_code_is_shown_or_watched() {
    let text = std::fs::read_to_string(template()).unwrap();
    let (_, section, _) = parts(&text);
    for definition in operon_engine::metrics::definitions() {
        assert!(
            section.contains(&format!("\"{}\"", definition.name)),
            "{} is on no widget",
            definition.name
        );
    }
}
