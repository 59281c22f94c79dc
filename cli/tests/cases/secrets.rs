//! Invariant 8 at the surface: no command prints a secret, and no file keeps one.

use std::fs;
use std::path::Path;

use super::lab::{Lab, finish};

const SECRET: &str = "s3cr3t-value-of-the-test";

const FLOW: &str = "
inputs:
  - id: password
    type: SECRET
    required: false
tasks:
  - id: leak
    type: shell
    env:
      TOKEN: \"{{ secret('TOKEN') }}\"
    script: |
      echo \"the token is $TOKEN\"
      echo \"::{\\\"outputs\\\":{\\\"x\\\":\\\"$TOKEN\\\"}}::\"
      exit 3
";

/// Files below a directory that hold the text.
pub(super) fn holding(directory: &Path, text: &str, found: &mut Vec<String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            holding(&path, text, found);
        } else if fs::read(&path)
            .unwrap()
            .windows(text.len())
            .any(|part| part == text.as_bytes())
        {
            found.push(path.display().to_string());
        }
    }
}

#[test]
fn a_secret_is_nowhere() {
    let lab = Lab::new();
    lab.flow("leaks", FLOW);
    for format in ["human", "json", "ndjson"] {
        let mut command = lab.command(&["run", "leaks.yaml", "-o", format]);
        let child = command.env("OPERON_SECRET_TOKEN", SECRET).spawn().unwrap();
        let done = finish(child);
        assert_eq!(done.code, Some(1), "{done}");
        assert!(!done.to_string().contains(SECRET), "{done}");
    }
    let id = lab.newest();
    for args in [
        &["executions", "logs", &id][..],
        &["executions", "show", &id, "-o", "json"],
    ] {
        let done = lab.operon(args);
        assert_eq!(done.code, Some(0), "{done}");
        assert!(!done.to_string().contains(SECRET), "{done}");
    }
    assert!(
        lab.operon(&["executions", "logs", &id])
            .out
            .contains("the token is")
    );
    let mut found = Vec::new();
    holding(&lab.path().join(".operon"), SECRET, &mut found);
    assert!(found.is_empty(), "{found:?}");
}
