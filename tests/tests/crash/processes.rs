//! Which processes of attempts are alive.

use std::fs;
use std::path::Path;

/// A process that an engine started, directly or not.
#[derive(Debug)]
pub(crate) struct Process {
    /// The engine that started it.
    pub(crate) engine: u32,
    /// Its number, and the variable by which its engine knows it; for people.
    pub(crate) name: String,
}

/// Everything alive that leaves its side effects in `side`. Found by the environment, which every descendant
/// inherits; zombies are not alive.
pub(crate) fn alive(side: &Path) -> Vec<Process> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        // Gone meanwhile, or a zombie: then it has no environment.
        let Ok(environment) = fs::read(entry.path().join("environ")) else {
            continue;
        };
        let value = |name: &str| {
            environment.split(|byte| *byte == 0).find_map(|variable| {
                let value = variable.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
                Some(String::from_utf8_lossy(value).into_owned())
            })
        };
        if value("SIDE").is_some_and(|value| Path::new(&value) == side) {
            let home = value("HOME").unwrap_or_default();
            let marker = value("OPERON_ATTEMPT_ID").unwrap_or_default();
            found.push(Process {
                engine: engine_of(&home).unwrap_or(0),
                name: format!("process {pid} of attempt {marker}"),
            });
        }
    }
    found
}

/// The engine whose `HOME` this is.
fn engine_of(home: &str) -> Option<u32> {
    Path::new(home).file_name()?.to_str()?.parse().ok()
}
