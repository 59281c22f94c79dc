//! Every task type of the catalogue, in each of its spellings, executed by the embedded engine: it ends as it
//! should, and its outputs have Kestra's names.
//!
//! The list is the catalogue's, which docs/LANGUAGE.md is written from too: a type without a case here fails.
#![allow(clippy::too_many_lines, reason = "tables of cases")]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;

use operon_core::lang::catalogue::{TypeInfo, task_types};

use super::lab::{Lab, finish};

/// One type. In the texts `@T` is the spelling, `@N` its number, `@S` the address of a server.
struct Case {
    class: &'static str,
    tasks: &'static str,
    /// Templates, and what they give.
    outputs: &'static [(&'static str, &'static str)],
    state: &'static str,
    /// It ends the execution, so each spelling has one of its own.
    alone: bool,
}

const fn case(
    class: &'static str,
    tasks: &'static str,
    outputs: &'static [(&'static str, &'static str)],
) -> Case {
    Case {
        class,
        tasks,
        outputs,
        state: "SUCCESS",
        alone: false,
    }
}

/// Types that need what a laptop does not have, and where they are executed.
const ELSEWHERE: [(&str, &str); 8] = [
    (
        "io.kestra.plugin.jdbc.postgresql.Query",
        "shared/engine/tests/tasks/sql.rs",
    ),
    (
        "io.kestra.plugin.aws.s3.Copy",
        "shared/engine/tests/tasks/services.rs",
    ),
    (
        "io.kestra.plugin.aws.s3.List",
        "shared/engine/tests/tasks/services.rs",
    ),
    (
        "io.kestra.plugin.aws.s3.Delete",
        "shared/engine/tests/tasks/services.rs",
    ),
    (
        "io.kestra.plugin.aws.lambda.Invoke",
        "shared/engine/tests/tasks/services.rs",
    ),
    ("container", "tests/containers/main.rs"),
    (
        "io.kestra.plugin.email.MailSend",
        "shared/engine/tests/notify",
    ),
    (
        "io.kestra.plugin.aws.sns.Publish",
        "shared/aws/src/messages.rs",
    ),
];

const CHILD: &str = "  - id: x@N
    type: @T
    tasks:
      - {id: a@N, type: return, format: one}
";
const LOOP: &str = "  - id: x@N
    type: @T
    values: [p, q]
    tasks:
      - {id: a@N, type: return, format: \"{{ taskrun.value }}\"}
";
const EACH: &str = "  - id: x@N
    type: @T
    value: '[\"p\", \"q\"]'
    tasks:
      - {id: a@N, type: return, format: \"{{ taskrun.value }}\"}
";
const LOOP_OUT: &[(&str, &str)] = &[
    ("{{ outputs.a@N['p'].value }}", "p"),
    ("{{ outputs.a@N.q.value }}", "q"),
];
/// One line per batch, in their order.
const MERGED: &str = "{\"got\":\"4-0\"}\n{\"got\":\"2-1\"}\n";
const SCRIPT_OUT: &[(&str, &str)] = &[
    ("{{ outputs.x@N.vars.y }}", "z"),
    ("{{ read(outputs.x@N.outputFiles['f']) }}", "kept"),
    ("{{ outputs.x@N.exitCode }}", "0"),
];
const COMMANDS: &str = "  - id: x@N
    type: @T
    commands:
      - echo '::{\"outputs\":{\"y\":\"z\"}}::'
      - printf kept > f
    outputFiles: [f]
";

fn cases() -> Vec<Case> {
    let mut cases = flow_cases();
    cases.extend(core_cases());
    cases.extend(file_cases());
    cases.extend(script_cases());
    cases
}

fn flow_cases() -> Vec<Case> {
    let one: &[(&str, &str)] = &[("{{ outputs.a@N.value }}", "one")];
    vec![
        case("io.kestra.plugin.core.flow.Sequential", CHILD, one),
        case("io.kestra.plugin.core.flow.Parallel", CHILD, one),
        case(
            "io.kestra.plugin.core.flow.Dag",
            "  - id: x@N
    type: @T
    tasks:
      - task: {id: a@N, type: return, format: one}
      - task: {id: b@N, type: return, format: \"{{ outputs.a@N.value }} two\"}
        dependsOn: [a@N]
",
            &[("{{ outputs.b@N.value }}", "one two")],
        ),
        case(
            "io.kestra.plugin.core.flow.If",
            "  - id: x@N
    type: @T
    condition: \"{{ 1 == 1 }}\"
    then:
      - {id: a@N, type: return, format: one}
    else:
      - {id: b@N, type: fail}
",
            one,
        ),
        case(
            "io.kestra.plugin.core.flow.Switch",
            "  - id: x@N
    type: @T
    value: k
    cases:
      k:
        - {id: a@N, type: return, format: one}
    defaults:
      - {id: b@N, type: fail}
",
            one,
        ),
        case("io.kestra.plugin.core.flow.Loop", LOOP, LOOP_OUT),
        case("io.kestra.plugin.core.flow.ForEach", LOOP, LOOP_OUT),
        case("io.kestra.plugin.core.flow.EachSequential", EACH, LOOP_OUT),
        case("io.kestra.plugin.core.flow.EachParallel", EACH, LOOP_OUT),
        case(
            "io.kestra.plugin.core.flow.ForEachItem",
            "  - {id: f@N, type: write, content: \"1\\n2\\n3\\n\"}
  - id: x@N
    type: @T
    items: \"{{ outputs.f@N.uri }}\"
    batch: {rows: 2}
    flowId: other
    inputs: {given: \"{{ read(taskrun.items) | length }}-{{ item.index }}\"}
",
            &[
                ("{{ read(outputs.x@N_merge.subflowOutputs) }}", MERGED),
                (
                    "{{ outputs.x@N.subflowOutputs == outputs.x@N_merge.subflowOutputs }}",
                    "true",
                ),
            ],
        ),
        case(
            "io.kestra.plugin.core.flow.LoopUntil",
            "  - id: x@N
    type: @T
    condition: \"{{ outputs.a@N.value == 2 }}\"
    checkFrequency: {interval: 20ms, maxIterations: 200}
    tasks:
      - {id: a@N, type: return, format: \"{{ item.index }}\"}
  - id: max@N
    type: @T
    condition: \"{{ false }}\"
    checkFrequency: {interval: 0ms, maxIterations: 130}
    tasks:
      - {id: b@N, type: return, format: \"{{ taskrun.iteration }}\"}
",
            &[
                ("{{ outputs.x@N.iterationCount }}", "3"),
                ("{{ outputs.a@N.value }}", "2"),
                // More than one shard holds.
                ("{{ outputs.max@N.iterationCount }}", "130"),
                ("{{ outputs.b@N.value }}", "129"),
            ],
        ),
        case(
            "io.kestra.plugin.core.flow.Subflow",
            "  - {id: x@N, type: @T, flowId: other, inputs: {given: hi}}\n",
            &[("{{ outputs.x@N.outputs.got }}", "hi")],
        ),
        case(
            "io.kestra.plugin.core.flow.Pause",
            "  - {id: x@N, type: @T, pauseDuration: 20ms}\n",
            &[],
        ),
        case(
            "io.kestra.plugin.core.flow.Sleep",
            "  - {id: x@N, type: @T, duration: 20ms}\n",
            &[],
        ),
        case(
            "io.kestra.plugin.core.flow.WorkingDirectory",
            "  - id: x@N
    type: @T
    tasks:
      - {id: a@N, type: shell, script: printf one > shared.txt}
      - {id: b@N, type: shell, script: grep one shared.txt}
",
            &[],
        ),
        Case {
            state: "WARNING",
            ..case(
                "io.kestra.plugin.core.flow.AllowFailure",
                "  - {id: x@N, type: @T, tasks: [{id: a@N, type: fail}]}\n",
                &[],
            )
        },
    ]
}

fn core_cases() -> Vec<Case> {
    vec![
        case(
            "io.kestra.plugin.core.log.Log",
            "  - {id: x@N, type: @T, message: hello}\n",
            &[],
        ),
        case(
            "io.kestra.plugin.core.debug.Return",
            "  - {id: x@N, type: @T, format: \"{{ flow.namespace }}\"}\n",
            &[("{{ outputs.x@N.value }}", "lab")],
        ),
        case(
            "io.kestra.plugin.core.debug.Echo",
            "  - {id: x@N, type: @T, format: hello}\n",
            &[],
        ),
        case(
            "io.kestra.plugin.core.output.OutputValues",
            "  - {id: x@N, type: @T, values: {y: \"{{ 1 + 1 }}\"}}\n",
            &[("{{ outputs.x@N.values.y }}", "2")],
        ),
        Case {
            state: "WARNING",
            ..case(
                "io.kestra.plugin.core.execution.Fail",
                "  - {id: x@N, type: @T, allowFailure: true}\n",
                &[],
            )
        },
        Case {
            state: "WARNING",
            alone: true,
            ..case(
                "io.kestra.plugin.core.execution.Exit",
                "  - {id: x@N, type: @T, state: WARNING}\n  - {id: never, type: fail}\n",
                &[],
            )
        },
        case(
            "io.kestra.plugin.core.execution.Assert",
            "  - {id: x@N, type: @T, conditions: [\"{{ 1 == 1 }}\"]}\n",
            &[],
        ),
        case(
            "io.kestra.plugin.core.execution.Labels",
            "  - {id: x@N, type: @T, labels: {a: b}}\n",
            &[],
        ),
        case(
            "io.kestra.plugin.core.execution.Count",
            "  - {id: x@N, type: @T, executions: [{namespace: lab, flowId: nothing}]}\n",
            &[("{{ outputs.x@N.total }}", "0")],
        ),
        case(
            "io.kestra.plugin.core.kv.Set",
            "  - {id: x@N, type: @T, key: k@N, value: v}\n  - {id: g@N, type: kv-get, key: k@N}\n",
            &[("{{ outputs.g@N.value }}", "v")],
        ),
        case(
            "io.kestra.plugin.core.kv.Get",
            "  - {id: s@N, type: kv-set, key: k@N, value: v}\n  - {id: x@N, type: @T, key: k@N}\n",
            &[("{{ outputs.x@N.value }}", "v")],
        ),
        case(
            "io.kestra.plugin.core.kv.GetKeys",
            "  - {id: s@N, type: kv-set, key: l@N, value: v}\n  - {id: x@N, type: @T, prefix: l@N}\n",
            &[("{{ outputs.x@N.keys[0] }}", "l@N")],
        ),
        case(
            "io.kestra.plugin.core.kv.Delete",
            "  - {id: s@N, type: kv-set, key: k@N, value: v}\n  - {id: x@N, type: @T, key: k@N}\n",
            &[("{{ outputs.x@N.deleted }}", "true")],
        ),
        case(
            "io.kestra.plugin.core.http.Request",
            "  - {id: x@N, type: @T, uri: \"@S/hello\"}\n",
            &[
                ("{{ outputs.x@N.code }}", "200"),
                ("{{ outputs.x@N.body }}", "hello"),
                ("{{ outputs.x@N.uri }}", "@S/hello"),
            ],
        ),
        case(
            "io.kestra.plugin.core.http.Download",
            "  - {id: x@N, type: @T, uri: \"@S/hello\"}\n",
            &[
                ("{{ read(outputs.x@N.uri) }}", "hello"),
                ("{{ outputs.x@N.length }}", "5"),
                ("{{ outputs.x@N.code }}", "200"),
            ],
        ),
        case(
            "io.kestra.plugin.slack.notifications.SlackIncomingWebhook",
            "  - {id: x@N, type: @T, url: \"@S/slack\", messageText: done}\n",
            &[],
        ),
        case(
            "io.kestra.plugin.pagerduty.PagerDutyAlert",
            "  - {id: x@N, type: @T, url: \"@S/page\", routingKey: k, summary: late, dedupKey: d}\n",
            &[("{{ outputs.x@N.dedupKey }}", "d")],
        ),
        case(
            "webhook",
            "  - {id: x@N, type: @T, url: \"@S/hook\", payload: {n: 1}, headers: {X-Key: k}}\n",
            &[],
        ),
    ]
}

fn file_cases() -> Vec<Case> {
    macro_rules! with_lines {
        ($rest:literal) => {
            concat!(
                "  - id: f@N\n    type: write\n    content: |\n      {\"n\": 1}\n      {\"n\": 2}\n      {\"n\": 2}\n",
                "  - {id: x@N, type: @T, ",
                $rest,
                "}\n"
            )
        };
    }
    vec![
        case(
            "io.kestra.plugin.core.storage.Write",
            "  - {id: x@N, type: @T, content: hello, extension: .txt}\n",
            &[("{{ read(outputs.x@N.uri) }}", "hello")],
        ),
        case(
            "io.kestra.plugin.core.storage.Split",
            with_lines!("from: \"{{ outputs.f@N.uri }}\", rows: 1"),
            &[("{{ outputs.x@N.uris | length }}", "3")],
        ),
        case(
            "io.kestra.plugin.core.storage.Concat",
            with_lines!("files: [\"{{ outputs.f@N.uri }}\", \"{{ outputs.f@N.uri }}\"]"),
            &[(
                "{{ read(outputs.x@N.uri) | trim | split('\\n') | length }}",
                "6",
            )],
        ),
        case(
            "io.kestra.plugin.core.storage.Size",
            with_lines!("uri: \"{{ outputs.f@N.uri }}\""),
            &[("{{ outputs.x@N.size }}", "27")],
        ),
        case(
            "io.kestra.plugin.core.storage.Reverse",
            with_lines!("from: \"{{ outputs.f@N.uri }}\""),
            &[(
                "{{ (read(outputs.x@N.uri) | trim | split('\\n'))[2] }}",
                "{\"n\": 1}",
            )],
        ),
        case(
            "io.kestra.plugin.core.storage.FilterItems",
            with_lines!("from: \"{{ outputs.f@N.uri }}\", filterCondition: \"{{ n == 2 }}\""),
            &[
                ("{{ outputs.x@N.processedItemsTotal }}", "3"),
                ("{{ outputs.x@N.droppedItemsTotal }}", "1"),
                (
                    "{{ (read(outputs.x@N.uri) | trim | split('\\n')) | length }}",
                    "2",
                ),
            ],
        ),
        case(
            "io.kestra.plugin.core.storage.DeduplicateItems",
            with_lines!("from: \"{{ outputs.f@N.uri }}\", expr: \"{{ n }}\""),
            &[
                ("{{ outputs.x@N.numKeys }}", "2"),
                ("{{ outputs.x@N.droppedItemsTotal }}", "1"),
            ],
        ),
        case(
            "io.kestra.plugin.core.storage.Delete",
            with_lines!("uri: \"{{ outputs.f@N.uri }}\""),
            &[("{{ outputs.x@N.deleted }}", "true")],
        ),
        case(
            "io.kestra.plugin.core.storage.LocalFiles",
            "  - {id: w@N, type: write, content: stored}
  - id: d@N
    type: working-directory
    tasks:
      - id: i@N
        type: @T
        inputs:
          c.txt: hello
          sub/u.txt: \"{{ outputs.w@N.uri }}\"
      - {id: r@N, type: shell, script: cat c.txt sub/u.txt > made.txt}
      - {id: x@N, type: @T, outputs: [made.txt, \"sub/**\"]}
",
            &[
                ("{{ read(outputs.x@N.uris['made.txt']) }}", "hellostored"),
                ("{{ read(outputs.x@N.uris['sub/u.txt']) }}", "stored"),
                ("{{ outputs.x@N.uris | length }}", "2"),
                ("{{ outputs.i@N.uris | length }}", "0"),
            ],
        ),
    ]
}

fn script_cases() -> Vec<Case> {
    vec![
        case(
            "io.kestra.plugin.scripts.shell.Script",
            "  - id: x@N
    type: @T
    script: |
      echo '::{\"outputs\":{\"y\":\"z\"}}::'
      printf kept > f
    outputFiles: [f]
",
            SCRIPT_OUT,
        ),
        case(
            "io.kestra.plugin.scripts.shell.Commands",
            COMMANDS,
            SCRIPT_OUT,
        ),
        case(
            "io.kestra.plugin.scripts.python.Script",
            "  - id: x@N
    type: @T
    script: |
      print('::{\"outputs\":{\"y\":\"z\"}}::')
      open('f', 'w').write('kept')
    outputFiles: [f]
",
            SCRIPT_OUT,
        ),
        case(
            "io.kestra.plugin.scripts.python.Commands",
            COMMANDS,
            SCRIPT_OUT,
        ),
        case(
            "io.kestra.plugin.scripts.node.Script",
            "  - id: x@N
    type: @T
    script: |
      console.log('::{\"outputs\":{\"y\":\"z\"}}::');
      require('fs').writeFileSync('f', 'kept');
    outputFiles: [f]
",
            SCRIPT_OUT,
        ),
        case(
            "io.kestra.plugin.scripts.node.Commands",
            COMMANDS,
            SCRIPT_OUT,
        ),
        // Read by the stand-in below, which is no R.
        case(
            "io.kestra.plugin.scripts.r.Script",
            "  - id: x@N
    type: @T
    script: |
      echo '::{\"outputs\":{\"y\":\"z\"}}::'
      printf kept > f
    outputFiles: [f]
",
            SCRIPT_OUT,
        ),
        case("io.kestra.plugin.scripts.r.Commands", COMMANDS, SCRIPT_OUT),
    ]
}

/// Stands in for R, which few machines have: what matters is that `Rscript` is given the script.
const RSCRIPT: &str = "#!/bin/sh\nfor last; do :; done\nexec /bin/sh \"$last\"\n";

/// Answers every request with `hello`.
fn server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || answer(stream));
        }
    });
    address
}

fn answer(mut stream: TcpStream) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut length = 0;
    let mut line = String::new();
    while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
        let lower = line.to_ascii_lowercase();
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        line.clear();
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let said = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello";
    stream.write_all(said.as_bytes()).unwrap();
}

fn spellings(info: &TypeInfo) -> Vec<&'static str> {
    std::iter::once(info.name)
        .chain(info.aliases.iter().copied())
        .collect()
}

/// Runs a flow with the spellings one after the other; what is wrong, in words.
fn run(lab: &Lab, name: &str, case: &Case, spellings: &[&str], server: &str) -> Option<String> {
    let fill = |text: &str, number: usize, spelling: &str| {
        text.replace("@T", spelling)
            .replace("@N", &number.to_string())
            .replace("@S", server)
    };
    let mut flow = String::from("tasks:\n");
    let mut wanted = Vec::new();
    let mut outputs = String::new();
    for (number, spelling) in spellings.iter().enumerate() {
        flow += &fill(case.tasks, number, spelling);
        for (template, value) in case.outputs {
            let id = format!("o{}", wanted.len());
            let template = fill(template, number, spelling).replace('\\', "\\\\");
            let template = template.replace('"', "\\\"");
            writeln!(
                outputs,
                "  - {{id: {id}, type: STRING, value: \"{template}\"}}"
            )
            .unwrap();
            wanted.push((id, fill(value, number, spelling)));
        }
    }
    if !outputs.is_empty() {
        write!(flow, "outputs:\n{outputs}").unwrap();
    }
    lab.flow(name, &flow);
    let mut command = lab.command(&["run", &format!("{name}.yaml"), "-o", "json"]);
    let path = std::env::var("PATH").unwrap_or_default();
    command.env(
        "PATH",
        format!("{}:{path}", lab.path().join("bin").display()),
    );
    let done = finish(command.spawn().unwrap());
    let Ok(told) = serde_json::from_str::<serde_json::Value>(&done.out) else {
        return Some(format!("{}\n{flow}\n{done}", case.class));
    };
    let is = |id: &str| {
        let value = &told["outputs"][id];
        let text = value.as_str().map(str::to_owned);
        text.or_else(|| (!value.is_null()).then(|| value.to_string()))
    };
    let wrong = wanted
        .iter()
        .find(|(id, value)| is(id).as_ref() != Some(value));
    if told["state"] != case.state || wrong.is_some() {
        return Some(format!("{}: {wrong:?}\n{flow}\n{done}", case.class));
    }
    None
}

#[test]
fn every_type_in_every_spelling_runs_and_has_kestra_s_outputs() {
    let lab = Lab::new();
    let server = server();
    lab.write("bin/Rscript", RSCRIPT);
    let script = lab.path().join("bin/Rscript");
    std::fs::set_permissions(script, std::fs::Permissions::from_mode(0o755)).unwrap();
    lab.flow(
        "other",
        "inputs: [{id: given, type: STRING}]\ntasks: [{id: a, type: log, message: \"{{ inputs.given }}\"}]\noutputs: [{id: got, type: STRING, value: \"{{ inputs.given }}\"}]\n",
    );
    let cases = cases();
    let mut wrong = Vec::new();
    for (number, info) in task_types().enumerate() {
        if ELSEWHERE.iter().any(|(class, _)| *class == info.name) {
            continue;
        }
        let Some(case) = cases.iter().find(|case| case.class == info.name) else {
            wrong.push(format!("`{}` has no case", info.name));
            continue;
        };
        let all = spellings(info);
        let parts = if case.alone { 1 } else { all.len() };
        for (part, spellings) in all.chunks(parts).enumerate() {
            let name = format!("c{number}-{part}");
            wrong.extend(run(&lab, &name, case, spellings, &server));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn no_case_is_about_what_is_not_in_the_catalogue() {
    let names: BTreeSet<&str> = task_types().map(|info| info.name).collect();
    let own = cases();
    let cases = own.iter().map(|case| case.class);
    let elsewhere = ELSEWHERE.iter().map(|(class, _)| *class);
    for class in cases.chain(elsewhere) {
        assert!(names.contains(class), "{class}");
    }
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for (class, place) in ELSEWHERE {
        assert!(root.join(place).exists(), "{class}: {place} is not there");
    }
}
