//! `operon doctor`: whether this machine, or a deployment on AWS, has what flows need.

mod aws;
mod cloud;
mod running;

use std::path::Path;
use std::process::{Command, Stdio};

use operon_local::dispatch::Limits;
use operon_local::state_dir::{StateDir, StateDirError};
use operon_local::store::SqliteStore;

use crate::args::{DoctorArgs, DoctorTarget, StateArgs};
use crate::exit::Exit;
use crate::output::Console;
use crate::state::block_on;
use crate::style;

/// Free space below which executions are likely to fail, in MiB.
const DISK_MIB_MIN: u64 = 1024;

/// What was found out about one thing.
enum Finding {
    Good(String),
    /// Somebody should look.
    Warning(String),
    /// Only some flows need it, or nobody says whether it is there.
    Missing(String),
    Bad(String),
}

/// What kind of finding it is, and what it says.
#[cfg(test)]
fn shown(finding: Finding) -> (&'static str, String) {
    match finding {
        Finding::Good(text) => ("good", text),
        Finding::Warning(text) => ("warning", text),
        Finding::Missing(text) => ("missing", text),
        Finding::Bad(text) => ("bad", text),
    }
}

pub(crate) fn doctor(args: &DoctorArgs, console: &Console) -> anyhow::Result<Exit> {
    let findings = match args.target {
        DoctorTarget::Local => local(&args.state),
        DoctorTarget::Aws => {
            block_on(async { Ok(aws::findings(&args.stage, &args.images).await) })?
        }
    };
    Ok(report(findings, console))
}

fn local(args: &StateArgs) -> Vec<(&'static str, Finding)> {
    vec![
        (
            "operon",
            Finding::Good(env!("CARGO_PKG_VERSION").to_owned()),
        ),
        ("machine", machine()),
        (
            "shell",
            program("sh", &["-c", "echo POSIX shell"], "shell tasks need it"),
        ),
        (
            "python",
            program(
                "python3",
                &["--version"],
                "Python tasks without an image need it",
            ),
        ),
        (
            "docker",
            program(
                "docker",
                &["version", "--format", "{{.Server.Version}}"],
                "tasks with an image need a running Docker; `--runner process` ignores images",
            ),
        ),
        ("disk", disk(&args.dir)),
        ("state", state(&args.dir)),
    ]
}

fn report(findings: Vec<(&'static str, Finding)>, console: &Console) -> Exit {
    let mut exit = Exit::Success;
    let colour = console.colour();
    for (name, finding) in findings {
        let (mark, text) = match finding {
            Finding::Good(text) => (
                style::paint(colour, style::of_state("SUCCESS"), "ok     "),
                text,
            ),
            Finding::Warning(text) => (
                style::paint(colour, style::of_state("WARNING"), "warning"),
                text,
            ),
            Finding::Missing(text) => (
                style::paint(colour, style::of_state("WARNING"), "missing"),
                text,
            ),
            Finding::Bad(text) => {
                exit = Exit::Failure;
                (
                    style::paint(colour, style::of_state("FAILED"), "wrong  "),
                    text,
                )
            }
        };
        console.line(&format!(
            "{mark}  {name:<8} {}",
            style::one_line(&text, 300)
        ));
    }
    exit
}

fn machine() -> Finding {
    let limits = Limits::of_machine();
    Finding::Good(format!(
        "{} CPUs, {:.1} GiB of memory",
        f64::from(limits.cpu_milli) / 1000.0,
        f64::from(limits.memory_mib) / 1024.0
    ))
}

/// What a program says of itself.
fn program(name: &str, args: &[&str], need: &str) -> Finding {
    let output = Command::new(name).args(args).stdin(Stdio::null()).output();
    match output {
        Ok(output) if output.status.success() => {
            let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
            Finding::Good(text)
        }
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stderr);
            let first = text.lines().next().unwrap_or_default();
            Finding::Missing(format!("`{name}` does not answer: {first}; {need}"))
        }
        Err(error) => Finding::Missing(format!("`{name}`: {error}; {need}")),
    }
}

fn disk(state: &Path) -> Finding {
    // The nearest directory that exists: the state directory may have to be made first.
    let full = std::path::absolute(state).unwrap_or_else(|_| state.to_owned());
    let place = full.ancestors().find(|place| place.exists());
    let place = place.unwrap_or(Path::new("/"));
    match nix::sys::statvfs::statvfs(place) {
        Ok(space) => {
            let free = space.blocks_available() * space.fragment_size() / (1 << 20);
            let text = format!(
                "{}.{} GiB free at {}",
                free / 1024,
                free % 1024 * 10 / 1024,
                place.display()
            );
            if free < DISK_MIB_MIN {
                Finding::Bad(format!("{text}; artifacts and logs need more"))
            } else {
                Finding::Good(text)
            }
        }
        Err(error) => Finding::Bad(format!("{}: {error}", place.display())),
    }
}

fn state(path: &Path) -> Finding {
    if !path.exists() {
        return Finding::Good(format!("{} will be made", path.display()));
    }
    let dir = match StateDir::open(path) {
        Ok(dir) => dir,
        Err(error) => return Finding::Bad(error.to_string()),
    };
    let free = match dir.lock() {
        Ok(_) => "no engine works on it",
        Err(StateDirError::Locked { .. }) => "an engine works on it",
        Err(error @ StateDirError::Io { .. }) => return Finding::Bad(error.to_string()),
    };
    if !dir.database().exists() {
        return Finding::Good(format!("{} is empty", dir.root().display()));
    }
    match SqliteStore::open(&dir.database()) {
        Ok(_) => Finding::Good(format!("{}: {free}", dir.root().display())),
        Err(error) => Finding::Bad(error.to_string()),
    }
}
