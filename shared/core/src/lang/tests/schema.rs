//! The JSON Schema accepts what the parser accepts, and refuses what a schema can see.

use jsonschema::Validator;
use serde_json::{Value, json};

use super::catalogue::{with_property, with_task, with_trigger};
use super::{files, findings, plugins};
use crate::lang::catalogue::{PropInfo, Support, task_types, trigger_types};
use crate::lang::schema::schema;
use crate::lang::yaml;

fn validator() -> Validator {
    let schema = schema(&plugins());
    jsonschema::draft202012::meta::validate(&schema).expect("the schema is a schema");
    jsonschema::draft202012::new(&schema).expect("the schema compiles")
}

fn value(source: &str) -> Value {
    yaml::parse(source, &yaml::Limits::default())
        .unwrap()
        .to_json()
}

fn errors(validator: &Validator, value: &Value) -> Vec<String> {
    validator
        .iter_errors(value)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect()
}

#[test]
fn every_flow_of_the_repository_satisfies_it() {
    let validator = validator();
    for (name, text) in files("flows", "yaml") {
        if text.lines().any(|line| line.starts_with("tasks:"))
            && !name.starts_with("flows/plugins/")
        {
            assert_eq!(
                errors(&validator, &value(&text)),
                Vec::<String>::new(),
                "{name}"
            );
        }
    }
}

#[test]
fn every_example_satisfies_it() {
    let validator = validator();
    let log = json!({"id": "t", "type": "log", "message": "x"});
    for info in task_types() {
        let flow = json!({"id": "a", "namespace": "b", "tasks": [value(info.example)]});
        assert_eq!(
            errors(&validator, &flow),
            Vec::<String>::new(),
            "{}",
            info.name
        );
    }
    for info in trigger_types() {
        let flow =
            json!({"id": "a", "namespace": "b", "tasks": [log], "triggers": [value(info.example)]});
        assert_eq!(
            errors(&validator, &flow),
            Vec::<String>::new(),
            "{}",
            info.name
        );
    }
}

#[test]
fn every_property_is_in_it_unless_it_is_rejected() {
    let validator = validator();
    let mut wrong = Vec::new();
    let mut check = |prop: &PropInfo, source: String| {
        let rejected = matches!(prop.support, Support::Rejects(..));
        let found = errors(&validator, &value(&source));
        if found.is_empty() == rejected {
            wrong.push(format!(
                "{} {:?}: {found:?}\n{source}",
                prop.name, prop.support
            ));
        }
    };
    for info in task_types() {
        for prop in info.props {
            for key in std::iter::once(&prop.name).chain(prop.aliases) {
                check(prop, with_task(&with_property(info, prop, key)));
            }
        }
    }
    for info in trigger_types() {
        for prop in info.props {
            check(prop, with_trigger(&with_property(info, prop, prop.name)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn what_a_schema_can_see_is_refused_by_both() {
    let validator = validator();
    for wrong in [
        "tasks: []\nnamespace: b\n",
        "id: a\nnamespace: b\n",
        "id: a\nnamespace: b\nlables: {a: b}\ntasks: [{id: t, type: log, message: x}]\n",
        "id: a\nnamespace: b\ntasks: [{id: t, type: lgo, message: x}]\n",
        "id: a\nnamespace: b\ntasks: [{id: t, type: log}]\n",
        "id: a\nnamespace: b\ntasks: [{type: log, message: x}]\n",
        "id: a\nnamespace: b\ntasks: [{id: t, type: log, message: x, mesage: y}]\n",
        "id: a\nnamespace: b\ntasks: [{id: t, type: log, message: x, level: LOUD}]\n",
        "id: a\nnamespace: b\ntasks: [{id: t, type: shell, script: x, timeout: soon}]\n",
        "id: a\nnamespace: b\ntasks: [{id: t, type: shell, script: x, retry: {maxAttempts: 0}}]\n",
        "id: a\nnamespace: b\ntasks: [{id: t, type: parallel, tasks: [{id: u, type: log}]}]\n",
        "id: a\nnamespace: b\ntasks: [{id: t, type: dag, tasks: [{task: {id: u, type: log}}]}]\n",
        "id: a\nnamespace: b\ntasks: [{id: t, type: genomics.nextclade, batchSize: 0}]\n",
        "id: a\nnamespace: b\ntasks: [{id: t, type: genomics.nextclade, organsim: x}]\n",
        "id: a\nnamespace: b\ntasks: [{id: t, type: log, message: x}]\ntriggers: [{id: s, type: schedule}]\n",
        "id: a\nnamespace: b\ntasks: [{id: t, type: log, message: x}]\ninputs: [{id: i, type: TEXT}]\n",
        "id: a\nnamespace: b\ntasks: [{id: t, type: log, message: x}]\nconcurrency: {limit: 0}\n",
        "id: a\nnamespace: b\ntasks: [{id: t, type: log, message: x}]\nlisteners: [a]\n",
    ] {
        assert!(
            !validator.is_valid(&value(wrong)),
            "the schema accepts {wrong}"
        );
        assert!(
            findings(wrong, &plugins()).0.is_none(),
            "the parser accepts {wrong}"
        );
    }
}

#[test]
fn what_has_several_spellings_has_them_in_the_schema() {
    let validator = validator();
    for good in [
        "id: a\nnamespace: b\ntasks: [{id: t, type: python, script: x, docker: {image: y}}]\n",
        "id: a\nnamespace: b\ntasks: [{id: t, type: python, script: x, docker.image: y}]\n",
        "id: a\nnamespace: b\ntasks: [{id: t, type: http, url: https://x}]\n",
        "id: a\nnamespace: b\ntasks: [{id: t, type: log, message: x, runIf: \"{{ true }}\", x-note: y}]\n",
        "id: a\nnamespace: b\ntasks: [{id: t, type: dag, tasks: [{task: {id: u, type: log, message: x}, dependsOn: []}]}]\n",
        "id: a\nnamespace: b\ntasks: [{id: t, type: log, message: x}]\nconcurrency: {limit: 1, behavior: queue}\n",
    ] {
        assert_eq!(
            errors(&validator, &value(good)),
            Vec::<String>::new(),
            "{good}"
        );
        assert!(findings(good, &plugins()).0.is_some(), "{good}");
    }
}
