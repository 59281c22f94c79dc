//! Executions that are killed, left, resumed, restarted and replayed.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::process::Child;

use super::lab::{Lab, finish};

fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
}

/// States of the task runs of an execution by name.
fn states(lab: &Lab, id: &str) -> Vec<(String, String)> {
    let shown = lab.operon(&["executions", "show", id, "-o", "json"]).json();
    let runs = shown["taskRuns"].as_array().unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    runs.iter()
        .map(|run| (text(&run["id"]), text(&run["state"])))
        .collect()
}

fn pairs(states: &[(String, String)]) -> Vec<(&str, &str)> {
    states
        .iter()
        .map(|(id, state)| (id.as_str(), state.as_str()))
        .collect()
}

#[test]
fn another_process_kills_what_runs() {
    let lab = Lab::new();
    lab.waits();
    let running = lab.start(&["run", "waits.yaml"]);
    let id = lab.wait_for_log("waiting");
    let killed = lab.operon(&["executions", "kill", &id]);
    assert_eq!(killed.code, Some(0), "{killed}");
    let run = finish(running);
    assert_eq!(run.code, Some(3), "{run}");
    assert_eq!(
        pairs(&states(&lab, &id)),
        [
            ("first", "SUCCESS"),
            ("wait", "KILLED"),
            ("last", "CANCELLED")
        ]
    );
    let again = lab.operon(&["executions", "kill", &id]);
    assert_eq!(again.code, Some(2), "{again}");
    assert!(again.err.contains("it ended KILLED"), "{again}");
}

#[test]
fn ctrl_c_kills_and_says_so() {
    let lab = Lab::new();
    lab.waits();
    let running = lab.start(&["run", "waits.yaml"]);
    let id = lab.wait_for_log("waiting");
    signal(&running, Signal::SIGINT);
    let run = finish(running);
    assert_eq!(run.code, Some(3), "{run}");
    assert!(run.err.contains("press Ctrl-C again"), "{run}");
    assert_eq!(states(&lab, &id)[1].1, "KILLED");
}

#[test]
fn the_second_ctrl_c_leaves_and_what_is_left_can_be_resumed() {
    let lab = Lab::new();
    lab.flow(
        "stubborn",
        "tasks:\n  - id: wait\n    type: shell\n    script: |\n      trap '' TERM\n      echo waiting\n      \
         for i in $(seq 600); do sleep 0.1; done\n",
    );
    let running = lab.start(&["run", "stubborn.yaml"]);
    let id = lab.wait_for_log("waiting");
    signal(&running, Signal::SIGINT);
    let until = std::time::Instant::now() + std::time::Duration::from_secs(30);
    let killing = |lab: &Lab| {
        let shown = lab
            .operon(&["executions", "show", &id, "-o", "json"])
            .json();
        shown["state"] == "KILLING"
    };
    while !killing(&lab) {
        assert!(std::time::Instant::now() < until, "it is never killed");
    }
    signal(&running, Signal::SIGINT);
    let run = finish(running);
    assert_eq!(run.code, Some(130), "{run}");
    assert!(
        run.err
            .contains("Left unfinished; `operon resume` takes it up."),
        "{run}"
    );
    let resumed = lab.operon(&["resume", "-q"]);
    assert_eq!(resumed.code, Some(3), "{resumed}");
}

#[test]
fn a_killed_engine_is_resumed() {
    let lab = Lab::new();
    lab.waits();
    let running = lab.start(&["run", "waits.yaml"]);
    let id = lab.wait_for_log("waiting");
    signal(&running, Signal::SIGKILL);
    assert_eq!(finish(running).code, None);
    let followed = lab.operon(&["executions", "logs", &id, "-f"]);
    assert_eq!(followed.code, Some(130), "{followed}");
    assert!(followed.err.contains("operon resume"), "{followed}");
    lab.go();
    let resumed = lab.operon(&["resume"]);
    assert_eq!(resumed.code, Some(0), "{resumed}");
    let states = states(&lab, &id);
    assert!(
        states.iter().all(|(_, state)| state == "SUCCESS"),
        "{states:?}"
    );
    let nothing = lab.operon(&["resume"]);
    assert_eq!(nothing.code, Some(0), "{nothing}");
    assert!(nothing.err.contains("Nothing is unfinished"), "{nothing}");
}

#[test]
fn the_next_run_goes_on_with_what_is_left_and_does_not_wait_for_people() {
    let lab = Lab::new();
    lab.waits();
    lab.flow("asks", "tasks:\n  - {id: ask, type: pause}\n");
    lab.flow(
        "other",
        "tasks:\n  - {id: say, type: log, message: other}\n",
    );
    let asking = lab.start(&["run", "asks.yaml"]);
    let paused = |lab: &Lab| {
        // There is no state directory at first.
        let listed = lab.operon(&["executions", "list", "-o", "json"]);
        listed.code == Some(0) && listed.json()["executions"][0]["state"] == "PAUSED"
    };
    let until = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while !paused(&lab) {
        assert!(std::time::Instant::now() < until, "it never pauses");
    }
    signal(&asking, Signal::SIGKILL);
    finish(asking);
    let running = lab.start(&["run", "waits.yaml"]);
    let id = lab.wait_for_log("waiting");
    signal(&running, Signal::SIGKILL);
    finish(running);
    lab.go();
    let run = lab.operon(&["run", "other.yaml"]);
    assert_eq!(run.code, Some(0), "{run}");
    assert!(run.err.contains("goes on, too: 2 executions"), "{run}");
    let states = states(&lab, &id);
    assert!(
        states.iter().all(|(_, state)| state == "SUCCESS"),
        "{states:?}"
    );
    let listed = lab.operon(&["executions", "list", "-o", "json"]).json();
    let all = listed["executions"].as_array().unwrap();
    let asks = all.iter().find(|row| row["flow"] == "asks").unwrap();
    assert_eq!(asks["state"], "PAUSED");
}

#[test]
fn what_a_killed_engine_left_can_be_killed_without_it() {
    let lab = Lab::new();
    lab.waits();
    let running = lab.start(&["run", "waits.yaml"]);
    let id = lab.wait_for_log("waiting");
    signal(&running, Signal::SIGKILL);
    finish(running);
    let killed = lab.operon(&["executions", "kill", &id]);
    assert_eq!(killed.code, Some(0), "{killed}");
    assert!(killed.out.contains("KILLED"), "{killed}");
}

#[test]
fn what_failed_is_restarted() {
    let lab = Lab::new();
    lab.waits();
    // Without the file the task would wait for a minute.
    lab.flow(
        "flips",
        &format!(
            "tasks:\n  - id: first\n    type: shell\n    script: echo one\n  - id: flaky\n    type: shell\n    \
             script: test -e {}/go\n  - id: last\n    type: log\n    message: over\n",
            lab.path().display()
        ),
    );
    assert_eq!(lab.operon(&["run", "flips.yaml"]).code, Some(1));
    let id = lab.newest();
    lab.go();
    let listed =
        |more: &[&str]| lab.operon(&[&["executions", "list", "--flow", "flips"], more].concat());
    let last = || listed(&["-o", "json"]).json()["executions"][0]["lastTask"].clone();
    assert_eq!(
        last(),
        serde_json::json!({"task": "flaky", "state": "FAILED", "attempts": 1})
    );
    assert!(listed(&[]).out.contains("flaky FAILED  "));
    let done = lab.operon(&["executions", "restart", &id, "-o", "json"]);
    assert_eq!(done.code, Some(0), "{done}");
    let runs = done.json()["taskRuns"].clone();
    let attempts: Vec<_> = runs
        .as_array()
        .unwrap()
        .iter()
        .map(|run| run["attempts"].clone())
        .collect();
    assert_eq!(attempts, [1, 2, 1]);
    assert_eq!(
        last(),
        serde_json::json!({"task": "last", "state": "SUCCESS", "attempts": 1})
    );
    let again = lab.operon(&["executions", "restart", &id]);
    assert_eq!(again.code, Some(2), "{again}");
}

#[test]
fn failed_items_that_were_tolerated_are_retried_with_what_follows_them() {
    let lab = Lab::new();
    lab.flow(
        "items",
        &format!(
            "tasks:\n  - id: alone\n    type: shell\n    script: exit 3\n    allowFailure: true\n  - id: each\n    type: foreach\n    values: [a, b, c]\n    allowFailure: true\n    tasks:\n      \
             - id: work\n        type: shell\n        env: {{ITEM: '{{{{ item.value }}}}'}}\n        script: '[ $ITEM != b ] || test -e {}/go'\n  \
             - id: merge\n    type: shell\n    script: echo merged\n",
            lab.path().display()
        ),
    );
    let run = lab.operon(&["run", "items.yaml"]);
    assert_eq!(run.code, Some(0), "{run}");
    let id = lab.newest();
    let attempts = |text: &serde_json::Value| {
        let runs = text["taskRuns"].as_array().unwrap().iter();
        let told = runs.map(|run| format!("{} {}", run["id"].as_str().unwrap(), run["attempts"]));
        told.collect::<Vec<_>>()
    };
    lab.go();
    let done = lab.operon(&["executions", "retry-failed", &id, "-o", "json"]);
    assert_eq!(done.code, Some(0), "{done}");
    assert_eq!(
        attempts(&done.json()),
        [
            "alone 1",
            "each 0",
            "merge 2",
            "work[0] 1",
            "work[1] 2",
            "work[2] 1"
        ]
    );
    let again = lab.operon(&["executions", "retry-failed", &id]);
    assert_eq!(again.code, Some(2), "{again}");
    assert!(again.err.contains("has no failed items"), "{again}");
}

#[test]
fn a_replay_reuses_what_came_before() {
    let lab = Lab::new();
    lab.waits();
    lab.go();
    assert_eq!(lab.operon(&["run", "waits.yaml", "-q"]).code, Some(0));
    let id = lab.newest();
    let done = lab.operon(&["executions", "replay", &id, "--from", "last"]);
    assert_eq!(done.code, Some(0), "{done}");
    assert!(done.err.contains("2 task runs reused"), "{done}");
    assert!(!done.out.contains("first RUNNING"), "{done}");
    let shown = lab
        .operon(&["executions", "show", &lab.newest(), "-o", "json"])
        .json();
    assert_eq!(shown["taskRuns"][0]["reason"], "reused");
    assert_eq!(
        shown["taskRuns"][0]["message"],
        format!("reused from execution {id}")
    );
    // The log of what is reused is the one of what was executed, in every form.
    let new = lab.newest();
    let log = |id: &str, more: &[&str]| {
        let done = lab.operon(&[&["executions", "logs", id], more].concat());
        assert_eq!(done.code, Some(0), "{done}");
        done
    };
    let gated = log(&id, &["wait"]).out;
    assert!(gated.contains("waiting"), "{gated}");
    assert_eq!(log(&new, &["wait"]).out, gated);
    assert_eq!(log(&new, &["wait", "-f"]).out, gated);
    let lines = log(&new, &["wait", "-o", "json"]).json()["lines"].clone();
    let texts: Vec<&str> = (lines.as_array().unwrap().iter())
        .map(|line| line["text"].as_str().unwrap())
        .collect();
    assert!(texts.contains(&"waiting"), "{texts:?}");
    assert_eq!(lines[0]["level"], "INFO");
    let found = log(&new, &["--search", "WAITING", "-f", "-o", "ndjson"]).out;
    let found: Vec<&str> = found.lines().collect();
    assert_eq!(found.len(), 1, "{found:?}");
    let line: serde_json::Value = serde_json::from_str(found[0]).unwrap();
    assert_eq!(line["text"], "waiting");
    let endless = lab.operon(&["executions", "logs", &new, "-f", "-o", "json"]);
    assert_eq!(endless.code, Some(2), "{endless}");
    assert!(endless.err.contains("ndjson"), "{endless}");
    let unknown = lab.operon(&["executions", "replay", &id, "--from", "nothing"]);
    assert_eq!(unknown.code, Some(2), "{unknown}");
}

#[test]
fn a_loop_is_replayed_as_a_whole() {
    let lab = Lab::new();
    lab.flow(
        "loops",
        "tasks:\n  - id: each\n    type: foreach\n    values: [1, 2, 3]\n    tasks:\n      - {id: item, type: shell, env: \
         {N: \"{{ taskrun.value }}\"}, script: 'test $N != 2 || test -e good'}\n",
    );
    assert_eq!(lab.operon(&["run", "loops.yaml", "-q"]).code, Some(1));
    let id = lab.newest();
    let inside = lab.operon(&["executions", "replay", &id, "--from", "item"]);
    assert_eq!(inside.code, Some(2), "{inside}");
    for words in [
        format!("replay {id} --from each"),
        format!("retry-failed {id}"),
    ] {
        assert!(inside.err.contains(&words), "{inside}");
    }
    // Both of what it says work.
    let whole = lab.operon(&["executions", "replay", &id, "--from", "each", "-o", "json"]);
    assert_eq!(whole.code, Some(1), "{whole}");
    let runs = whole.json()["taskRuns"].as_array().unwrap().clone();
    let items = runs.iter().filter(|run| run["task"] == "item");
    assert_eq!(items.filter(|run| run["reason"] != "reused").count(), 3);
    let again = lab.operon(&["executions", "retry-failed", &id, "-o", "json"]);
    let runs = again.json()["taskRuns"].as_array().unwrap().clone();
    let attempts: Vec<_> = runs
        .iter()
        .filter(|run| run["task"] == "item")
        .map(|run| run["attempts"].as_u64().unwrap())
        .collect();
    assert_eq!(attempts, [1, 2, 1], "{again}");
}

#[test]
fn a_pause_is_resumed_from_elsewhere() {
    let lab = Lab::new();
    lab.flow(
        "pauses",
        "tasks:\n  - id: before\n    type: shell\n    script: echo waiting\n  - id: ask\n    type: pause\n  - id: last\n    \
         type: log\n    message: over\n",
    );
    let running = lab.start(&["run", "pauses.yaml"]);
    let id = lab.wait_for_log("waiting");
    let until = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while lab.operon(&["executions", "resume", &id]).code != Some(0) {
        assert!(std::time::Instant::now() < until, "it never paused");
    }
    let run = finish(running);
    assert_eq!(run.code, Some(0), "{run}");
}

#[test]
fn a_followed_log_ends_with_its_execution() {
    let lab = Lab::new();
    lab.waits();
    let running = lab.start(&["run", "waits.yaml", "-q"]);
    let id = lab.wait_for_log("waiting");
    let following = lab.start(&["executions", "logs", &id, "-f"]);
    std::thread::sleep(std::time::Duration::from_millis(300));
    lab.go();
    assert_eq!(finish(running).code, Some(0));
    let followed = finish(following);
    assert_eq!(followed.code, Some(0), "{followed}");
    let tasks: Vec<&str> = followed
        .out
        .lines()
        .filter_map(|line| line.split_whitespace().nth(1))
        .collect();
    assert_eq!(tasks, ["first", "wait", "last"]);
}

#[test]
fn a_pause_is_answered_with_typed_values_without_a_server() {
    let lab = Lab::new();
    lab.flow("asks", super::remote::ASKS);
    let state = |lab: &Lab| {
        let listed = lab.operon(&["executions", "list", "--limit", "1", "-o", "json"]);
        let listed: serde_json::Value = serde_json::from_str(&listed.out).unwrap_or_default();
        listed["executions"][0]["state"].clone()
    };
    // While `run` waits for it, and after that was killed.
    for killed in [false, true] {
        let waiting = lab.start(&["run", "asks.yaml"]);
        let until = std::time::Instant::now() + std::time::Duration::from_mins(1);
        while state(&lab) != "PAUSED" {
            assert!(std::time::Instant::now() < until, "it never waits");
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        let id = lab.newest();
        let mut run = Some(waiting);
        if killed {
            let left = run.take().unwrap();
            signal(&left, Signal::SIGKILL);
            finish(left);
        }
        let missing = lab.operon(&["executions", "resume", &id]);
        assert_eq!(missing.code, Some(2), "{missing}");
        assert_eq!(state(&lab), "PAUSED");
        let resumed = lab.operon(&["executions", "resume", &id, "-i", "release=x"]);
        assert_eq!(resumed.code, Some(0), "{resumed}");
        if let Some(run) = run {
            let run = finish(run);
            assert_eq!(run.code, Some(0), "{run}");
        }
        let log = lab.operon(&["executions", "logs", &id]);
        assert!(log.out.contains("2 copies of x"), "{log}");
    }
}

#[test]
fn a_restart_finds_what_was_left_in_a_working_directory() {
    let lab = Lab::new();
    let flag = lab.path().join("flag");
    lab.flow(
        "shared",
        &format!(
            "tasks:\n  - id: wd\n    type: working-directory\n    tasks:\n      - {{id: m, type: shell, script: \"echo data > big.txt\"}}\n      \
             - {{id: n, type: shell, script: \"cat big.txt; test -f {}\"}}\n",
            flag.display()
        ),
    );
    let done = lab.operon(&["run", "shared.yaml"]);
    assert_eq!(done.code, Some(1), "{done}");
    std::fs::write(&flag, "").unwrap();
    let id = lab.newest();
    let again = lab.operon(&["executions", "restart", &id]);
    assert_eq!(again.code, Some(0), "{again}");
    let log = lab.operon(&["executions", "logs", &id]);
    assert_eq!(log.out.matches("data").count(), 2, "{log}");
    // Nothing is left of it once it has succeeded.
    let left = std::fs::read_dir(lab.path().join(".operon/work")).map_or(0, Iterator::count);
    assert_eq!(left, 0);
}
