//! A directory in the place of a bucket: what is put there starts a flow, which reads it, and is moved.

use std::fs;
use std::time::{Duration, Instant};

use super::forms::Server;
use super::lab::Lab;

/// Longer than anything here takes, on a busy machine too.
const PATIENCE: Duration = Duration::from_mins(2);

const FLOW: &str = "id: inbox\nnamespace: lab\ntasks:\n  - id: read\n    type: shell\n    inputFiles: {in.txt: \"{{ trigger.uri }}\"}\n\
    \x20   script: echo \"read $(cat in.txt)\"\ntriggers:\n  - id: upload\n    type: s3\n    bucket: drop\n    prefix: in/\n\
    \x20   action: MOVE\n    moveTo: {key: \"done/{{ trigger.size }}\"}\n";

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_file_starts_a_flow_that_reads_it_and_is_moved() {
    let lab = Lab::new();
    lab.write("flows/inbox.yaml", FLOW);
    let mut command = lab.command(&["server", "--listen", "127.0.0.1:0", "--flows", "flows"]);
    let _server = Server(
        command
            .args(["--bucket", "drop=elsewhere"])
            .spawn()
            .unwrap(),
    );
    let seen = lab.path().join(".operon/triggers");
    until("the directory is not watched", || {
        fs::read_dir(&seen).is_ok_and(|mut entries| {
            entries.any(|entry| {
                entry.is_ok_and(|entry| entry.path().extension().is_some_and(|end| end == "jsonl"))
            })
        })
    });
    lab.write("elsewhere/in/a.txt", "ACGT");
    let moved = lab.path().join("elsewhere/done/4/a.txt");
    until("the file was not moved", || moved.exists());
    assert_eq!(fs::read_to_string(&moved).unwrap(), "ACGT");
    assert!(!lab.path().join("elsewhere/in/a.txt").exists());
    until("there is no execution that has ended", || {
        let listed = lab.operon(&["executions", "list", "-o", "json"]);
        listed.out.contains("\"SUCCESS\"")
    });
    let id = lab.newest();
    let log = lab.operon(&["executions", "logs", &id]);
    assert!(log.out.contains("read ACGT"), "{log}");
}
