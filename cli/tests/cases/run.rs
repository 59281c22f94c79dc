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

/// Time zones are those of the binary: what a machine calls by their names is not asked.
#[test]
fn a_machine_with_other_time_zones_changes_nothing() {
    let lab = Lab::new();
    // A zone without an offset, as RFC 9636 writes it: counts, one type, its name, and the rule.
    let mut zone = Vec::new();
    for _ in 0..2 {
        zone.extend(b"TZif2");
        zone.extend([0; 15]);
        zone.extend(
            [0_u32, 0, 0, 0, 1, 4]
                .into_iter()
                .flat_map(u32::to_be_bytes),
        );
        zone.extend([0; 6]);
        zone.extend(b"UTC\0");
    }
    zone.extend(b"\nUTC0\n");
    let place = lab.path().join("zones/Europe/Zurich");
    std::fs::create_dir_all(place.parent().unwrap()).unwrap();
    std::fs::write(&place, zone).unwrap();
    lab.flow(
        "noon",
        "
tasks:
  - {id: at, type: return, format: \"{{ '2026-07-01T12:00:00Z' | date('HH:mm', timeZone='Europe/Zurich') }}\"}
outputs:
  - {id: at, type: STRING, value: \"{{ outputs.at.value }}\"}
",
    );
    let mut command = lab.command(&["run", "noon.yaml", "-o", "json"]);
    command
        .env("TZDIR", lab.path().join("zones"))
        .env("TZ", "Europe/Zurich");
    let done = finish(command.spawn().unwrap());
    assert_eq!(done.json()["outputs"]["at"], "14:00", "{done}");
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

#[test]
fn guards_forbid_fail_or_warn_and_only_what_is_left_runs() {
    let lab = Lab::new();
    for behavior in ["BLOCK_EXECUTION", "FAIL_EXECUTION", "CREATE_EXECUTION"] {
        lab.flow(
            "guarded",
            &format!(
                "inputs:\n  - {{id: n, type: INT, defaults: 0}}\nchecks:\n  - condition: \"{{{{ inputs.n > 0 }}}}\"\n    \
                 message: n is too small\n    behavior: {behavior}\ntasks:\n  - id: touch\n    type: shell\n    \
                 script: touch \"$MARK\"\n    env: {{MARK: {}}}\n",
                lab.path().join(behavior).display()
            ),
        );
        let done = lab.operon(&["run", "guarded.yaml", "-o", "json"]);
        let ran = lab.path().join(behavior).exists();
        let listed = lab.operon(&["executions", "list", "-o", "json"]);
        match behavior {
            "BLOCK_EXECUTION" => {
                assert_eq!((done.code, ran), (Some(2), false), "{done}");
                assert!(done.err.contains("n is too small"), "{done}");
                let executions = &listed.json()["executions"];
                assert!(executions.as_array().is_none_or(Vec::is_empty), "{listed}");
            }
            "FAIL_EXECUTION" => {
                assert_eq!((done.code, ran), (Some(1), false), "{done}");
                let json = done.json();
                assert_eq!(json["state"], "FAILED");
                assert_eq!(json["reason"], "n is too small");
                assert_eq!(json["taskRuns"].as_array().map(Vec::len), Some(0), "{done}");
                assert_eq!(listed.json()["executions"][0]["state"], "FAILED");
            }
            _ => {
                assert_eq!((done.code, ran), (Some(0), true), "{done}");
                assert!(done.err.contains("n is too small"), "{done}");
            }
        }
    }
}

#[test]
fn a_flow_that_is_tried_again_as_a_new_execution_ends_as_the_last_try_does() {
    let lab = Lab::new();
    let flow = |succeeds_at: u8| {
        let count = lab.path().join(format!("count-{succeeds_at}"));
        format!(
            "retry:\n  behavior: CREATE_NEW_EXECUTION\n  type: constant\n  interval: PT0.1S\n  maxAttempts: 3\n\
             tasks:\n  - id: flaky\n    type: shell\n    env: {{COUNT: {}}}\n    script: |\n      \
             echo x >> \"$COUNT\"\n      [ \"$(wc -l < \"$COUNT\")\" -ge {succeeds_at} ]\n",
            count.display()
        )
    };
    lab.flow("second", &flow(2));
    let done = lab.operon(&["run", "second.yaml", "-o", "json"]);
    assert_eq!(done.code, Some(0), "{done}");
    assert_eq!(done.out.lines().count(), 1, "{done}");
    assert_eq!(done.json()["state"], "SUCCESS");
    assert_eq!(done.json()["id"], lab.newest());
    let done = lab.operon(&["run", "second.yaml", "-o", "ndjson"]);
    let last: Value = serde_json::from_str(done.out.lines().last().unwrap()).unwrap();
    assert_eq!(
        (&last["event"], &last["state"]),
        (&"execution".into(), &"SUCCESS".into())
    );
    lab.flow("never", &flow(9));
    let done = lab.operon(&["run", "never.yaml", "-o", "json"]);
    assert_eq!(done.code, Some(1), "{done}");
    assert_eq!(done.json()["state"], "FAILED");
    let listed = lab.operon(&[
        "executions",
        "list",
        "-o",
        "json",
        "--flow",
        "never",
        "--state-is",
        "retried",
    ]);
    let listed = listed.json();
    let retried = listed["executions"].as_array().unwrap();
    assert_eq!(retried.len(), 2, "{listed}");
    assert!(
        retried[0]["reason"]
            .as_str()
            .unwrap()
            .contains("tried again as execution"),
        "{listed}"
    );
}
