//! Every type has an example that compiles, and every property does what its table says.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::findings;
use crate::lang::catalogue::{
    self, FLOW, PropInfo, PropType, Support, TASK, TRIGGER, TypeInfo, task_type, task_types,
    trigger_types,
};
use crate::lang::members;
use crate::lang::model::{Task, TaskKind};
use crate::lang::plugins::Plugins;
use crate::plan::compile;

const INPUTS: &str = "inputs:\n  - {id: go, type: BOOLEAN, defaults: true}\n  - {id: count, type: INT, defaults: 1}\n  - {id: organism, type: STRING, defaults: mpox}\n  - {id: file, type: FILE, required: false}\n  - {id: first, type: STRING, defaults: x}\n";

fn indent(text: &str, first: &str, rest: &str) -> String {
    let lines: Vec<String> = text
        .lines()
        .enumerate()
        .map(|(at, line)| format!("{}{line}", if at == 0 { first } else { rest }))
        .collect();
    lines.join("\n") + "\n"
}

pub(super) fn with_task(task: &str) -> String {
    // It belongs there and nowhere else.
    let task = if is_local_files(task) {
        let inner = indent(task, "      - ", "        ");
        format!("  - id: around\n    type: working-directory\n    tasks:\n{inner}")
    } else {
        indent(task, "  - ", "    ")
    };
    format!("id: a\nnamespace: b\n{INPUTS}tasks:\n{task}")
}

fn is_local_files(task: &str) -> bool {
    let of = |line: &str| {
        line.split_once("type: ")
            .and_then(|(_, name)| task_type(name))
    };
    task.lines()
        .filter_map(of)
        .any(|info| info.name.ends_with(".LocalFiles"))
}

pub(super) fn with_trigger(trigger: &str) -> String {
    format!(
        "id: a\nnamespace: b\n{INPUTS}tasks:\n  - {{id: t, type: log, message: hello}}\ntriggers:\n{}",
        indent(trigger, "  - ", "    ")
    )
}

#[test]
fn names_and_aliases_are_unique() {
    for types in [task_types().collect::<Vec<_>>(), trigger_types().collect()] {
        let mut names = BTreeSet::new();
        for info in types {
            for name in std::iter::once(&info.name).chain(info.aliases) {
                assert!(names.insert(*name), "{name} twice");
            }
        }
    }
    let tables = task_types()
        .chain(trigger_types())
        .map(|info| info.props)
        .chain([TASK, TRIGGER, FLOW]);
    for table in tables {
        let mut names = BTreeSet::new();
        for name in table
            .iter()
            .flat_map(|p| std::iter::once(&p.name).chain(p.aliases))
        {
            assert!(names.insert(*name), "{name} twice");
        }
    }
}

#[test]
fn every_example_compiles_without_a_word() {
    for info in task_types() {
        let (flow, found) = findings(&with_task(info.example), &Plugins::default());
        assert!(
            flow.is_some() && found.is_empty(),
            "{}: {found:#?}",
            info.name
        );
        let flow = flow.unwrap();
        assert_eq!(compile(&flow).err(), None, "{}", info.name);
        let task = match &flow.tasks.tasks[0] {
            Task {
                kind: TaskKind::Group { tasks, .. },
                ..
            } if is_local_files(info.example) => &tasks.tasks[0],
            task => task,
        };
        assert_eq!(task.task_type, info.name);
    }
    for info in trigger_types() {
        let (flow, found) = findings(&with_trigger(info.example), &Plugins::default());
        assert!(
            flow.is_some() && found.is_empty(),
            "{}: {found:#?}",
            info.name
        );
        assert_eq!(flow.unwrap().triggers[0].trigger_type, info.name);
    }
}

#[test]
fn every_alias_means_its_type() {
    for info in task_types() {
        for alias in info.aliases {
            assert_eq!(task_type(alias).unwrap().name, info.name);
            let line = info
                .example
                .lines()
                .find(|line| line.starts_with("type:"))
                .unwrap();
            let source = with_task(&info.example.replace(line, &format!("type: {alias}")));
            assert!(
                findings(&source, &Plugins::default()).0.is_some(),
                "{alias}"
            );
        }
    }
}

/// The example of a type with one property set to its own example, and whatever excludes it removed.
pub(super) fn with_property(info: &TypeInfo, prop: &PropInfo, key: &str) -> String {
    with_value(info, prop, key, prop.example_yaml())
}

/// [`with_property`] with a value of its own.
fn with_value(info: &TypeInfo, prop: &PropInfo, key: &str, value: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    let mut skipping = false;
    let excluded: &[&str] = match prop.name {
        "commands" => &["script", "command"],
        "script" => &["commands", "command"],
        "command" => &["script", "commands"],
        "items" => &["values", "value"],
        "values" if info.name.contains(".flow.") => &["items"],
        "bytes" | "partitions" => &["rows"],
        "preconditions" => &["dependsOn"],
        "docker" => &["containerImage"],
        _ => &[],
    };
    for line in info.example.lines() {
        let top = line
            .split(':')
            .next()
            .filter(|_| !line.starts_with([' ', '-']));
        if let Some(top) = top {
            let same = catalogue::find_prop(info.props, top)
                .or_else(|| catalogue::find_prop(TASK, top))
                .is_some_and(|other| other.name == prop.name);
            skipping = same || excluded.contains(&top);
        }
        if !skipping {
            lines.push(line.to_owned());
        }
    }
    let mut extra = format!("{key}: {value}");
    match (prop.name, info.name) {
        ("batch" | "format", name)
            if name.contains(".flow.") && !info.example.contains("items:") =>
        {
            lines.retain(|line| !line.starts_with("values:") && !line.starts_with("value:"));
            extra.push_str("\nitems: \"{{ inputs.file }}\"");
        }
        ("taskRunner", "container") => "taskRunner: {type: docker}".clone_into(&mut extra),
        ("runner", "container") => "runner: DOCKER".clone_into(&mut extra),
        ("mode", _) => extra = "mode: ANY".to_owned(),
        ("moveTo", _) => extra.push_str("\naction: MOVE"),
        ("minSatisfied", _) => extra.push_str("\nmode: AT_LEAST"),
        ("behavior", _) => extra.push_str("\npauseDuration: PT1H"),
        _ => {}
    }
    let position = usize::from(prop.name != "id");
    lines.insert(position.min(lines.len()), extra);
    lines.join("\n")
}

/// What is not as the table says.
fn unexpected(source: &str, support: Support) -> Option<String> {
    let (flow, found) = findings(source, &Plugins::default());
    if let Some(Err(errors)) = flow.as_ref().map(compile) {
        return Some(format!("{errors:#?} in\n{source}"));
    }
    let good = match support {
        Support::Supported => found.is_empty(),
        Support::Warns(reason) => {
            found.len() == 1 && found[0].contains("warning no-effect") && found[0].contains(reason)
        }
        Support::Rejects(reason, fix) => {
            found.len() == 1
                && found[0].contains("error not-supported")
                && found[0].contains(reason)
                && found[0].contains(fix)
        }
    };
    (!good).then(|| format!("{support:?} but {found:#?} in\n{source}"))
}

#[test]
fn every_property_is_supported_warned_about_or_rejected() {
    let mut wrong = Vec::new();
    for info in task_types() {
        for prop in info.props {
            for key in std::iter::once(&prop.name).chain(prop.aliases) {
                let source = with_task(&with_property(info, prop, key));
                wrong.extend(unexpected(&source, prop.support));
            }
        }
    }
    for info in trigger_types() {
        for prop in info.props.iter().chain(TRIGGER) {
            for key in std::iter::once(&prop.name).chain(prop.aliases) {
                if prop.name == "type" {
                    continue;
                }
                let source = with_trigger(&with_property(info, prop, key));
                let flow_only = prop.name == "states" && info.name.ends_with(".Flow");
                if !flow_only {
                    wrong.extend(unexpected(&source, prop.support));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// What an inner property needs beside it: the rules of its parent.
fn companion(parent: &str, name: &str) -> &'static str {
    match (parent, name) {
        ("credentials", "registry") => "login: \"{{ secret('LOGIN') }}\", ",
        ("credentials", "username") => "password: \"{{ secret('PASSWORD') }}\", ",
        ("credentials", "password") => "username: robot, ",
        ("docker", name) if name != "image" => "image: busybox, ",
        ("retry", "maxInterval" | "delayFactor") => {
            "type: exponential, interval: PT1M, maxAttempts: 3, "
        }
        ("retry", "minInterval") => "type: random, maxInterval: PT30M, maxAttempts: 3, ",
        ("sla", name) if !matches!(name, "duration" | "assert") => "duration: PT1H, ",
        ("notify", name)
            if !matches!(name, "slack" | "email" | "sns" | "webhook" | "pagerduty") =>
        {
            "webhook: {url: \"https://example.org/\"}, "
        }
        ("retry", name) if name != "maxAttempts" => "maxAttempts: 3, ",
        ("window", "offset" | "fireOnce") => "every: PT1H, ",
        ("window", "timezone") => "deadline: \"09:00:00\", ",
        ("timeWindow", "windowAdvance") => "window: PT1H, ",
        ("preconditions", name) if name != "flows" => "flows: [{flowId: ingest}], ",
        _ => "",
    }
}

/// The least values of a property that have each of its inner ones, with what is said of that one.
#[allow(
    clippy::wildcard_enum_match_arm,
    reason = "only these four have inner properties"
)]
fn inner(parent: &str, ty: &PropType) -> Vec<(String, Support)> {
    match ty {
        PropType::Object(props) => {
            let mut found = Vec::new();
            for prop in *props {
                let others = props.iter().filter(|other| other.required);
                let others = others.filter(|other| other.name != prop.name);
                let mut before = String::new();
                for other in others {
                    write!(before, "{}: {}, ", other.name, other.example_yaml()).unwrap();
                }
                before.push_str(companion(parent, prop.name));
                if (parent, prop.name) == ("sla", "assert") {
                    before = before.replace("MAX_DURATION", "EXECUTION_ASSERTION");
                }
                for key in std::iter::once(&prop.name).chain(prop.aliases) {
                    let with = |value: &str| format!("{{{before}{key}: {value}}}");
                    found.push((with(prop.example_yaml()), prop.support));
                    if prop.support == Support::Supported {
                        let deeper = inner(prop.name, &prop.ty).into_iter();
                        found.extend(deeper.map(|(value, support)| (with(&value), support)));
                    }
                }
            }
            found
        }
        PropType::List(item) | PropType::OneOrMany(item) => {
            let each = inner(parent, item).into_iter();
            each.map(|(value, support)| (format!("[{value}]"), support))
                .collect()
        }
        PropType::OneOf(types) => types.iter().flat_map(|ty| inner(parent, ty)).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn every_inner_property_is_supported_warned_about_or_rejected() {
    let tasks = task_types().map(|info| (info, info.props, with_task as fn(&str) -> String));
    let triggers =
        trigger_types().map(|info| (info, info.props, with_trigger as fn(&str) -> String));
    let common = task_type("shell").map(|info| (info, TASK, with_task as fn(&str) -> String));
    let (mut wrong, mut count) = (Vec::new(), 0);
    for (info, props, within) in tasks.chain(triggers).chain(common) {
        for prop in props
            .iter()
            .filter(|prop| prop.support == Support::Supported)
        {
            for (value, support) in inner(prop.name, &prop.ty) {
                count += 1;
                let source = within(&with_value(info, prop, prop.name, &value));
                wrong.extend(unexpected(&source, support));
            }
        }
    }
    for prop in FLOW
        .iter()
        .filter(|prop| prop.support == Support::Supported)
    {
        for (value, support) in inner(prop.name, &prop.ty) {
            count += 1;
            let tasks = "tasks:\n  - {id: t, type: log, message: hello}\n";
            let flow = format!(
                "id: a\nnamespace: b\n{INPUTS}{tasks}{}: {value}\n",
                prop.name
            );
            wrong.extend(unexpected(&flow, support));
        }
    }
    assert!(count > 500, "only {count} inner properties");
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn properties_of_every_task_are_known_to_launched_tasks() {
    let mut wrong = Vec::new();
    for name in ["shell", "log", "subflow"] {
        let info = task_type(name).unwrap();
        for prop in TASK.iter().filter(|prop| prop.name != "type") {
            let source = with_task(&with_property(info, prop, prop.name));
            wrong.extend(unexpected(&source, prop.support));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn properties_of_the_flow_are_known() {
    let mut wrong = Vec::new();
    for prop in FLOW {
        for key in std::iter::once(&prop.name).chain(prop.aliases) {
            let mut source = "id: a\nnamespace: b\ninputs:\n  - {id: go, type: BOOLEAN, defaults: true}\n  - {id: organism, type: STRING, defaults: mpox}\ntasks:\n  - {id: t, type: log, message: hello}\n".to_owned();
            match prop.name {
                "id" | "namespace" | "tasks" => continue,
                "inputs" => {
                    source =
                        "id: a\nnamespace: b\ntasks:\n  - {id: t, type: log, message: hello}\n"
                            .to_owned();
                }
                _ => {}
            }
            writeln!(source, "{key}: {}", prop.example_yaml()).unwrap();
            wrong.extend(unexpected(&source, prop.support));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn what_every_trigger_gives_is_known() {
    for info in trigger_types() {
        let mut names = info.aliases.iter().chain([&info.name]);
        let known = names.find_map(|name| members::of_trigger(name));
        assert!(
            known.is_some_and(|mut names| names.any(|name| name == "event")),
            "{}",
            info.name
        );
    }
}
