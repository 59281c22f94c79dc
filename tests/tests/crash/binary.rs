//! Where `operon` is.

use std::env;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;

/// The binary named by `OPERON_BIN`, or one that cargo builds now.
pub(crate) fn operon() -> PathBuf {
    if let Some(path) = env::var_os("OPERON_BIN") {
        let path = PathBuf::from(path);
        assert!(
            path.is_file(),
            "OPERON_BIN names no file: {}; build it with `cargo build -p operon`, or unset OPERON_BIN",
            path.display()
        );
        return path.canonicalize().unwrap();
    }
    let built = Command::new(env!("CARGO"))
        .args([
            "build",
            "--quiet",
            "--locked",
            // With the features of the whole workspace, as the tests: nothing is compiled a second time.
            "--workspace",
            "--bin",
            "operon",
            "--message-format=json",
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(
        built.status.success(),
        "`cargo build -p operon` failed; name a binary with OPERON_BIN"
    );
    let text = String::from_utf8(built.stdout).unwrap();
    let executable = text
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter_map(|message| Some(PathBuf::from(message.get("executable")?.as_str()?)))
        .next_back();
    executable.expect("`cargo build -p operon` named no binary; name one with OPERON_BIN")
}
