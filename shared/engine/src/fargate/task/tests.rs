#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::*;
use crate::fargate::size_for;
use crate::files::Beside;
use crate::script;

fn site() -> Site {
    Site {
        family_prefix: "operon-test-".to_owned(),
        agent_image: "agent:1".to_owned(),
        task_role: "role/task".to_owned(),
        execution_role: "role/execution".to_owned(),
        log_group: "/operon".to_owned(),
        plan_queue_url: "https://sqs/plan".to_owned(),
        bucket: "data".to_owned(),
        artifacts: "artifacts/".to_owned(),
    }
}

fn spec(props: &Value, execution: &str) -> AttemptSpec {
    let Value::Object(props) = props else {
        panic!("properties are a map");
    };
    let kind = if props.contains_key("script") {
        "io.kestra.plugin.scripts.shell.Script"
    } else {
        "container"
    };
    let props: Map<String, Value> = props.clone();
    let mut spec = script::spec(kind, &props, &Beside::Nothing).unwrap();
    spec.id.execution = execution.parse().unwrap();
    spec.id.attempt = 1;
    spec.output_prefix = format!("executions/{execution}/0-0/1/");
    spec
}

fn built(spec: &AttemptSpec) -> Result<Build, String> {
    let arns: BTreeMap<SecretRef, String> = secrets_of(spec)
        .into_iter()
        .map(|secret| (secret.clone(), format!("arn:{}", secret.1)))
        .collect();
    build(&site(), spec, size_for(100, 0).unwrap(), &arns, None)
}

#[test]
fn attempts_that_differ_only_in_what_can_be_overridden_share_a_definition() {
    let one = built(&spec(
        &json!({"containerImage": "nextclade:3", "commands": ["a"], "env": {"X": "1"}}),
        "e1",
    ))
    .unwrap();
    let other = built(&spec(
        &json!({"containerImage": "nextclade:3", "commands": ["b"], "env": {"Y": "2"}}),
        "e2",
    ))
    .unwrap();
    assert_eq!(one.definition, other.definition);
    assert_ne!(one.overrides, other.overrides);
    let image = built(&spec(&json!({"containerImage": "nextclade:4"}), "e1")).unwrap();
    assert_ne!(one.definition.family, image.definition.family);
    let entry = built(&spec(
        &json!({"containerImage": "nextclade:3", "entryPoint": ["/x"]}),
        "e1",
    ))
    .unwrap();
    assert_ne!(one.definition.family, entry.definition.family);
}

#[test]
fn an_image_runs_unchanged_between_stage_and_agent() {
    let built = built(&spec(&json!({"containerImage": "nextclade:3"}), "e")).unwrap();
    let [stage, main, agent] = built.definition.containers.as_slice() else {
        panic!("three containers");
    };
    assert_eq!(main.entry_point, None);
    assert_eq!(main.command, None);
    assert_eq!(main.working_directory, None);
    assert!(!main.essential && !stage.essential && agent.essential);
    let after = |name: &str, condition: &str| (name.to_owned(), condition.to_owned());
    assert_eq!(
        main.depends_on,
        [after("stage", "SUCCESS"), after("agent", "START")]
    );
    assert_eq!(built.overrides[1].command, None);
    assert!(built.document.is_none());
}

#[test]
fn a_script_without_an_image_gets_one_for_its_language() {
    let image = |kind: &str| {
        let props = json!({"commands": ["python3 scripts/ingest.py"]});
        let props = props.as_object().unwrap();
        let mut spec = script::spec(kind, props, &Beside::Nothing).unwrap();
        spec.id.execution = "e".parse().unwrap();
        spec.id.attempt = 1;
        let built = built(&spec).unwrap();
        built.definition.containers[1].image.clone()
    };
    assert!(image("io.kestra.plugin.scripts.python.Commands").contains("/python:"));
    assert!(image("io.kestra.plugin.scripts.node.Script").contains("/node:"));
    assert!(image("io.kestra.plugin.scripts.shell.Commands").contains("/debian:"));
}

#[test]
fn the_agent_takes_the_programs_output_and_outlives_it() {
    let built = built(&spec(&json!({"containerImage": "nextclade:3"}), "e")).unwrap();
    let [stage, main, agent] = built.definition.containers.as_slice() else {
        panic!("three containers");
    };
    assert_eq!(
        [stage.output, main.output, agent.output],
        [Output::Group, Output::Routed, Output::Router]
    );
    assert_eq!(agent.user.as_deref(), Some("0"));
    assert!(
        agent.depends_on.is_empty(),
        "somebody tells that `stage` failed"
    );
    assert!(main.init && main.stop_timeout_s < agent.stop_timeout_s);
    let said = &built.overrides[1].environment;
    assert!(said.contains(&("OPERON_ATTEMPT".to_owned(), "1".to_owned())));
    let limits: Vec<_> = built.overrides.iter().map(|one| one.memory_mib).collect();
    assert_eq!(limits, [None, Some(512 - AGENT_MIB), None]);
}

#[test]
fn what_is_too_long_for_ecs_goes_into_the_document() {
    let props = json!({"containerImage": "x", "script": "echo x\n".repeat(3000)});
    let built = built(&spec(&props, "e")).unwrap();
    assert!(length(&built.overrides) <= OVERRIDES_MAX);
    let document: AgentSpec = serde_json::from_slice(&built.document.unwrap()).unwrap();
    assert_eq!(document.input_files[0].path, ".operon/command.sh");
    let env = &built.overrides[0].environment;
    let uri = "s3://data/artifacts/executions/e/0-0/1/.operon/spec.json";
    assert!(env.contains(&(agent::ENV_SPEC_URI.to_owned(), uri.to_owned())));
}

#[test]
fn a_command_that_cannot_be_shortened_is_refused_with_what_to_do() {
    let props = json!({"containerImage": "x", "env": {"BIG": "y".repeat(9000)}});
    let error = built(&spec(&props, "e")).unwrap_err();
    assert!(
        error.contains("8192") && error.contains("inputFiles"),
        "{error}"
    );
}

#[test]
fn secrets_go_by_reference_only() {
    let secret = marker("genomics", "TOKEN");
    let props = json!({
        "containerImage": "x", "env": {"TOKEN": secret},
        "inputFiles": {"config": format!("key={secret}")},
    });
    let built = built(&spec(&props, "e")).unwrap();
    let main = &built.definition.containers[1];
    assert_eq!(main.secrets, [("TOKEN".to_owned(), "arn:TOKEN".to_owned())]);
    let all = format!("{:?}", built.overrides);
    assert!(!all.contains(MARK[0]), "{all}");
    assert!(all.contains("OPERON_SECRET_0"));
    assert_eq!(
        built.definition.containers[0].secrets,
        [("OPERON_SECRET_0".to_owned(), "arn:TOKEN".to_owned())]
    );
    for refused in [
        json!({"containerImage": "x", "commands": [format!("--key={secret}")]}),
        json!({"containerImage": "x", "env": {"URL": format!("https://u:{secret}@h")}}),
    ] {
        let spec = spec(&refused, "e");
        let arns = [(
            ("genomics".to_owned(), "TOKEN".to_owned()),
            "arn".to_owned(),
        )]
        .into();
        assert!(build(&site(), &spec, size_for(100, 0).unwrap(), &arns, None).is_err());
    }
}

#[test]
fn a_login_at_a_registry_is_a_secret_that_only_ecs_reads() {
    let with = |credentials: Value| {
        json!({
            "containerImage": "ghcr.io/a/b:1", "env": {"TOKEN": marker("genomics", "TOKEN")},
            "taskRunner": {"type": "docker", "credentials": credentials},
        })
    };
    let login = marker("genomics", "GHCR");
    let mut spec_of = spec(&with(json!({"login": login.as_str()})), "e");
    // As the launcher hands it on: everything that an expression mentioned.
    spec_of.secrets = vec![marker("genomics", "TOKEN"), login.clone()];
    let made = built(&spec_of).unwrap();
    let of: Vec<_> = made.definition.containers.iter().collect();
    assert_eq!(of[1].repository_credentials.as_deref(), Some("arn:GHCR"));
    assert_eq!(
        (&of[0].repository_credentials, &of[2].repository_credentials),
        (&None, &None)
    );
    for container in of {
        assert!(!format!("{:?}", container.secrets).contains("GHCR"));
    }
    for (credentials, words) in [
        (
            json!({"username": "u", "password": login.as_str()}),
            "credentials: {login:",
        ),
        (
            json!({"login": format!("x{login}")}),
            "credentials: {login:",
        ),
        (
            json!({"login": login.as_str(), "registry": "quay.io"}),
            "its own registry only",
        ),
    ] {
        let error = built(&spec(&with(credentials), "e")).unwrap_err();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn a_parameter_is_a_secret_of_a_program_and_no_login() {
    let arn = |name: &str| format!("arn:aws:ssm:eu-central-1:1:parameter/operon/s/{name}");
    let made = |spec: &AttemptSpec| {
        let arns = secrets_of(spec)
            .into_iter()
            .map(|secret| (secret.clone(), arn(&secret.1)))
            .collect();
        build(&site(), spec, size_for(100, 0).unwrap(), &arns, None)
    };
    let env = json!({"TOKEN": marker("genomics", "TOKEN")});
    let one = made(&spec(&json!({"containerImage": "x:1", "env": env}), "e")).unwrap();
    let main = &one.definition.containers[1];
    assert_eq!(main.secrets, [("TOKEN".to_owned(), arn("TOKEN"))]);
    let login = spec(
        &json!({
            "containerImage": "ghcr.io/a/b:1",
            "taskRunner": {"type": "docker", "credentials": {"login": marker("genomics", "GHCR")}},
        }),
        "e",
    );
    let error = made(&login).unwrap_err();
    assert!(
        error.contains("`GHCR`") && error.contains("create it in Secrets Manager"),
        "{error}"
    );
}
