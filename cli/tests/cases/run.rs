//! `operon run`: what it prints, and its exit codes.

use serde_json::Value;

use super::lab::{Lab, finish, stable};

const HELLO: &str = "
inputs:
  - id: name
    type: STRING
    defaults: world
tasks:
  - id: hello
    type: shell
    script: |
      echo \"hello $NAME\"
      echo '::{\"outputs\":{\"x\":\"y\"}}::'
    env:
      NAME: \"{{ inputs.name }}\"
  - id: loop
    type: foreach
    values: [p, q]
    tasks:
      - id: child
        type: log
        message: \"{{ taskrun.value }} {{ outputs.hello.vars.x }}\"
outputs:
  - id: got
    type: STRING
    value: \"{{ outputs.hello.vars.x }} {{ inputs.name }}\"
";

const FAILS: &str = "
tasks:
  - id: talk
    type: shell
    script: |
      for i in $(seq 1 25); do echo \"line $i\"; done
      exit 4
  - id: after
    type: log
    message: never
";

#[test]
fn a_flow_that_succeeds() {
    let lab = Lab::new();
    lab.flow("hello", HELLO);
    let done = lab.operon(&["run", "hello.yaml", "-i", "name=you", "--label", "a=b"]);
    assert_eq!(done.code, Some(0), "{done}");
    insta::assert_snapshot!("human_success", done.stable());
    let done = lab.operon(&["run", "hello.yaml", "-o", "json"]);
    assert_eq!(done.code, Some(0), "{done}");
    assert_eq!(done.out.lines().count(), 1);
    insta::assert_snapshot!(
        "json_success",
        stable(&serde_json::to_string_pretty(&done.json()).unwrap())
    );
    let done = lab.operon(&["run", "hello.yaml", "--quiet"]);
    assert_eq!(
        (done.code, done.out.as_str(), done.err.as_str()),
        (Some(0), "", "")
    );
}

#[test]
fn ndjson_has_one_object_per_change_and_the_execution_last() {
    let lab = Lab::new();
    lab.flow("hello", HELLO);
    let done = lab.operon(&["run", "hello.yaml", "-o", "ndjson"]);
    let lines: Vec<Value> = done
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let last = lines.last().unwrap();
    assert_eq!(last["event"], "execution");
    assert_eq!(last["state"], "SUCCESS");
    assert_eq!(last["outputs"]["got"], "y world");
    let children: Vec<&Value> = lines
        .iter()
        .filter(|line| line["task"] == "child" && line["state"] == "SUCCESS")
        .collect();
    assert_eq!(children.len(), 2, "{done}");
    assert_eq!(children[1]["item"], "q");
    assert_eq!(children[1]["attempt"], 1);
}

#[test]
fn a_flow_that_fails_says_where_and_why() {
    let lab = Lab::new();
    lab.flow("fails", FAILS);
    let done = lab.operon(&["run", "fails.yaml"]);
    assert_eq!(done.code, Some(1), "{done}");
    insta::assert_snapshot!("human_failure", done.stable());
    let done = lab.operon(&["run", "fails.yaml", "-o", "json"]);
    assert_eq!(done.code, Some(1), "{done}");
    let run = &done.json()["taskRuns"][0];
    assert_eq!(
        (&run["state"], &run["exitCode"]),
        (&"FAILED".into(), &4.into())
    );
}

#[test]
fn what_the_user_got_wrong_is_exit_code_2() {
    let lab = Lab::new();
    lab.flow("hello", HELLO);
    lab.flow(
        "bad",
        "tasks:\n  - id: a\n    type: nonsense\n  - id: b\n    type: shell\n    scrip: echo\n",
    );
    for (name, args) in [
        ("invalid_flow", &["run", "bad.yaml"][..]),
        ("missing_file", &["run", "nothing.yaml"]),
        ("unknown_input", &["run", "hello.yaml", "-i", "nam=x"]),
        (
            "missing_input_file",
            &["run", "hello.yaml", "-f", "name=nothing.txt"],
        ),
        ("usage", &["run"]),
        ("no_executions", &["executions", "list"]),
    ] {
        // A state directory that a refused run leaves would change the last case.
        std::fs::remove_dir_all(lab.path().join(".operon")).ok();
        let done = lab.operon(args);
        assert_eq!(done.code, Some(2), "{name}: {done}");
        insta::assert_snapshot!(name, done.stable());
    }
}

#[test]
fn files_are_relative_to_where_the_user_is_and_defaults_to_the_flow() {
    let lab = Lab::new();
    lab.write("here.txt", "given here");
    lab.write("flows/beside.txt", "beside the flow");
    lab.write(
        "flows/read.yaml",
        "id: read\nnamespace: lab\ninputs:\n  - id: data\n    type: FILE\n    defaults: nsfile:///beside.txt\ntasks:\n  \
         - id: show\n    type: shell\n    inputFiles:\n      data.txt: \"{{ inputs.data }}\"\n    script: cat data.txt\n",
    );
    let log = |args: &[&str]| {
        let done = lab.operon(args);
        assert_eq!(done.code, Some(0), "{done}");
        lab.operon(&["executions", "logs", &lab.newest()]).out
    };
    assert!(log(&["run", "flows/read.yaml", "-q"]).contains("beside the flow"));
    let given = log(&["run", "flows/read.yaml", "-q", "-f", "data=here.txt"]);
    assert!(given.contains("given here"), "{given}");
    let given = log(&["run", "flows/read.yaml", "-q", "-i", "data=here.txt"]);
    assert!(given.contains("given here"), "{given}");
}

#[test]
fn a_subflow_is_found_beside_its_caller() {
    let lab = Lab::new();
    lab.flow("hello", HELLO);
    lab.flow(
        "outer",
        "tasks:\n  - id: call\n    type: subflow\n    namespace: lab\n    flowId: hello\n    inputs:\n      name: inner\n\
         outputs:\n  - id: got\n    type: STRING\n    value: \"{{ outputs.call.outputs.got }}\"\n",
    );
    let done = lab.operon(&["run", "outer.yaml", "-o", "json"]);
    assert_eq!(done.code, Some(0), "{done}");
    assert_eq!(done.json()["outputs"]["got"], "y inner");
    let listed = lab
        .operon(&["executions", "list", "-o", "json", "--flow", "hello"])
        .json();
    assert_eq!(listed["executions"].as_array().unwrap().len(), 1);
}

#[test]
fn nobody_who_reads_is_no_failure() {
    let lab = Lab::new();
    lab.flow("hello", HELLO);
    let mut child = lab.start(&["run", "hello.yaml", "-o", "ndjson"]);
    drop(child.stdout.take());
    let done = finish(child);
    assert_eq!((done.code, done.err.as_str()), (Some(0), ""));
}
