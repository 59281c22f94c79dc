//! A directory of flows with a state directory, and the binary in it.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use regex::Regex;
use serde_json::Value;
use tempfile::TempDir;

/// Longer than anything here takes, on a busy machine too.
const PATIENCE: Duration = Duration::from_mins(1);

pub(super) struct Lab {
    directory: TempDir,
}

/// What a command did.
pub(super) struct Done {
    pub(super) code: Option<i32>,
    pub(super) out: String,
    pub(super) err: String,
}

impl Done {
    /// Standard output as one JSON value.
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self}"))
    }

    /// With everything that differs from run to run replaced.
    pub(super) fn stable(&self) -> String {
        stable(&self.to_string())
    }
}

impl std::fmt::Display for Done {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "exit code {}\n--- stdout\n{}--- stderr\n{}",
            self.code
                .map_or_else(|| "none".to_owned(), |code| code.to_string()),
            self.out,
            self.err
        )
    }
}

/// Ids, times, durations and directories give way to words.
pub(super) fn stable(text: &str) -> String {
    let rules = [
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", "[time]"),
        (r"(?m)^\d\d:\d\d:\d\d", "[clock]"),
        (r"\b1[0-9a-hjkmnp-tv-z]{15}\b", "[execution]"),
        (r"\b\d+(\.\d)?m?s\b", "[duration]"),
        (
            r"/(private/)?(tmp|var)/[^\s:`'\x22]*\.tmp[A-Za-z0-9]+",
            "[lab]",
        ),
    ];
    rules.iter().fold(text.to_owned(), |text, (pattern, with)| {
        Regex::new(pattern)
            .unwrap()
            .replace_all(&text, *with)
            .into_owned()
    })
}

impl Lab {
    pub(super) fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
        }
    }

    pub(super) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(super) fn write(&self, name: &str, text: &str) {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// A flow `lab.<name>` in `<name>.yaml`.
    pub(super) fn flow(&self, name: &str, rest: &str) {
        self.write(
            &format!("{name}.yaml"),
            &format!("id: {name}\nnamespace: lab\n{rest}"),
        );
    }

    pub(super) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_operon"));
        command
            .args(args)
            .current_dir(self.path())
            .env_remove("OPERON_STATE")
            .env_remove("NO_COLOR")
            .env("TZ", "UTC")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub(super) fn operon(&self, args: &[&str]) -> Done {
        finish(self.start(args))
    }

    pub(super) fn start(&self, args: &[&str]) -> Child {
        self.command(args).spawn().unwrap()
    }

    /// The newest execution.
    pub(super) fn newest(&self) -> String {
        let listed = self.operon(&["executions", "list", "--limit", "1", "-o", "json"]);
        let id = &listed.json()["executions"][0]["id"];
        id.as_str().unwrap_or_else(|| panic!("{listed}")).to_owned()
    }

    /// Waits until the log of the newest execution holds a line, and gives the execution's id.
    pub(super) fn wait_for_log(&self, text: &str) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            if self.path().join(".operon/state.sqlite").exists() {
                let listed = self.operon(&["executions", "list", "--limit", "1", "-o", "json"]);
                let value: Value = serde_json::from_str(&listed.out).unwrap_or_default();
                if let Some(id) = value["executions"][0]["id"].as_str()
                    && self.operon(&["executions", "logs", id]).out.contains(text)
                {
                    return id.to_owned();
                }
            }
            assert!(Instant::now() < until, "`{text}` never came");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// The end of a command that was started.
pub(super) fn finish(child: Child) -> Done {
    let output = child.wait_with_output().unwrap();
    Done {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A flow whose second task waits until a file appears, at most a minute.
pub(super) const WAITS: &str = "
tasks:
  - id: first
    type: shell
    script: echo one
  - id: wait
    type: shell
    script: |
      echo waiting
      for i in $(seq 600); do test -e \"$LAB/go\" && exit 0; sleep 0.1; done
      exit 9
    env:
      LAB: \"{{ vars.lab }}\"
  - id: last
    type: shell
    script: echo last
";

impl Lab {
    /// The flow `waits`: see [`WAITS`].
    pub(super) fn waits(&self) {
        let variables = format!("variables:\n  lab: {}", self.path().display());
        self.flow("waits", &format!("{variables}{WAITS}"));
    }

    /// Lets `waits` go on.
    pub(super) fn go(&self) {
        self.write("go", "");
    }
}
