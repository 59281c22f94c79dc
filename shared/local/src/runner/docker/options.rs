//! From an attempt to the body of the request that creates its container.
//!
//! Invariant 9: the image's entrypoint and its working directory stay as they are unless the flow says so.

use std::collections::HashMap;

use bollard::models::{ContainerCreateBody, HostConfig};
use operon_engine::ports::AttemptSpec;
use serde_json::{Map, Value};

use crate::runner::directory::WorkDir;
use crate::runner::stage::StageError;

/// Where the working directory is seen in a container.
pub(super) const WORK: &str = "/operon/work";
/// Where the control directory is.
const CONTROL: &str = "/operon/control";
/// Label of what an engine started; its value is that of [`RunnerConfig::engine`](super::RunnerConfig).
pub(super) const LABEL_ENGINE: &str = "operon.engine";
/// Label with the attempt's id.
pub(super) const LABEL_ATTEMPT_ID: &str = "operon.attempt-id";
/// Nanoseconds of CPU per second in a thousandth of a CPU.
const NANO_PER_MILLI: i64 = 1_000_000;

/// When an image is pulled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum PullPolicy {
    Always,
    #[default]
    IfNotPresent,
    Never,
}

/// Kestra's properties of its Docker runner, as far as they are used; others are refused by the flow's check.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) pull: PullPolicy,
    user: Option<String>,
    network: Option<String>,
    working_dir: Option<String>,
    volumes: Vec<String>,
    extra_hosts: Vec<String>,
}

impl Options {
    /// Reads the options of the task and those of its `taskRunner`; the latter win.
    pub(super) fn read(all: &Map<String, Value>) -> Result<Self, StageError> {
        let mut options = Self::default();
        options.take(all)?;
        if let Some(Value::Object(runner)) = all.get("taskRunner") {
            options.take(runner)?;
        }
        Ok(options)
    }

    fn take(&mut self, from: &Map<String, Value>) -> Result<(), StageError> {
        for (key, value) in from {
            match key.as_str() {
                "pullPolicy" => self.pull = pull_policy(value)?,
                "user" => self.user = Some(text(key, value)?),
                "networkMode" => self.network = Some(text(key, value)?),
                "workingDir" => self.working_dir = Some(text(key, value)?),
                "volumes" => self.volumes = texts(key, value)?,
                "extraHosts" => self.extra_hosts = texts(key, value)?,
                _ => {}
            }
        }
        Ok(())
    }
}

fn pull_policy(value: &Value) -> Result<PullPolicy, StageError> {
    let word = text("pullPolicy", value)?;
    match word.to_uppercase().replace('-', "_").as_str() {
        "ALWAYS" => Ok(PullPolicy::Always),
        "IF_NOT_PRESENT" | "IFNOTPRESENT" => Ok(PullPolicy::IfNotPresent),
        "NEVER" => Ok(PullPolicy::Never),
        _ => Err(StageError::invalid(format!(
            "`pullPolicy: {word}` is not known; write ALWAYS, IF_NOT_PRESENT or NEVER"
        ))),
    }
}

fn text(key: &str, value: &Value) -> Result<String, StageError> {
    match value {
        Value::String(text) => Ok(text.clone()),
        // `user: 1000` is a number in YAML.
        Value::Number(number) => Ok(number.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
            Err(StageError::invalid(format!("`{key}` must be a text")))
        }
    }
}

fn texts(key: &str, value: &Value) -> Result<Vec<String>, StageError> {
    match value {
        Value::Array(items) => items.iter().map(|item| text(key, item)).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
            text(key, value).map(|one| vec![one])
        }
    }
}

/// The container's name: the same for the same attempt, so it cannot be created twice.
pub(super) fn name(engine: &str, spec: &AttemptSpec) -> String {
    let hash = crate::runner::directory::short_hash(&format!("{engine}/{}", spec.id));
    format!("operon-{hash}")
}

/// The container of an attempt.
pub(super) fn body(
    engine: &str,
    image: &str,
    spec: &AttemptSpec,
    options: &Options,
    dir: &WorkDir,
) -> ContainerCreateBody {
    let command = (!spec.command.is_empty()).then(|| spec.command.clone());
    ContainerCreateBody {
        image: Some(image.to_owned()),
        entrypoint: spec.entrypoint.clone(),
        cmd: command,
        env: Some(environment(spec)),
        user: options.user.clone(),
        working_dir: working_dir(spec, options),
        labels: Some(labels(engine, spec)),
        attach_stdin: Some(false),
        tty: Some(false),
        host_config: Some(host_config(spec, options, dir)),
        ..ContainerCreateBody::default()
    }
}

/// Relative names of files need the attempt's directory; an attempt without files stays where the image
/// is at home.
fn working_dir(spec: &AttemptSpec, options: &Options) -> Option<String> {
    let has_files = !spec.input_files.is_empty()
        || !spec.output_files.is_empty()
        || spec.shared_directory.is_some();
    options
        .working_dir
        .clone()
        .or_else(|| has_files.then(|| WORK.to_owned()))
}

fn environment(spec: &AttemptSpec) -> Vec<String> {
    let own = [
        ("TMPDIR", format!("{CONTROL}/tmp")),
        ("WORKING_DIR", WORK.to_owned()),
        ("OUTPUT_DIR", format!("{CONTROL}/output")),
        ("OPERON_OUTPUTS", format!("{CONTROL}/outputs")),
        ("OPERON_METRICS", format!("{CONTROL}/metrics")),
        ("OPERON_EXECUTION", spec.id.execution.to_string()),
        ("OPERON_TASK_RUN", spec.name.clone()),
        ("OPERON_ATTEMPT", spec.id.attempt.to_string()),
    ];
    let given = spec.env.iter().map(|(name, value)| (name.as_str(), value));
    let own = own.iter().map(|(name, value)| (*name, value));
    // The last of two counts: nobody sets our names.
    let names: HashMap<&str, &String> = given.chain(own).collect();
    let mut all: Vec<String> = names
        .into_iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    all.sort();
    all
}

fn labels(engine: &str, spec: &AttemptSpec) -> HashMap<String, String> {
    [
        (LABEL_ENGINE, engine.to_owned()),
        (LABEL_ATTEMPT_ID, spec.id.to_string()),
        ("operon.execution", spec.id.execution.to_string()),
        ("operon.task-run", spec.name.clone()),
        ("operon.attempt", spec.id.attempt.to_string()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

fn host_config(spec: &AttemptSpec, options: &Options, dir: &WorkDir) -> HostConfig {
    let mut binds = vec![
        format!("{}:{WORK}", dir.path.display()),
        format!("{}:{CONTROL}", dir.control.display()),
    ];
    binds.extend(options.volumes.iter().cloned());
    let memory = i64::from(spec.resources.memory_mib) << 20;
    HostConfig {
        binds: Some(binds),
        network_mode: options.network.clone(),
        extra_hosts: (!options.extra_hosts.is_empty()).then(|| options.extra_hosts.clone()),
        // A reservation of none is no limit. No swap beyond it: running out must be noticed.
        memory: (memory > 0).then_some(memory),
        memory_swap: (memory > 0).then_some(memory),
        nano_cpus: nano_cpus(spec),
        // Reaps children and passes signals on: a program that is process 1 ignores SIGTERM.
        init: Some(true),
        ..HostConfig::default()
    }
}

/// A share below one CPU is for the dispatcher only: as a limit it would slow glue down for nothing.
fn nano_cpus(spec: &AttemptSpec) -> Option<i64> {
    let milli = i64::from(spec.resources.cpu_milli);
    (milli >= 1000).then_some(milli * NANO_PER_MILLI)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use std::path::Path;

    use serde_json::json;

    use super::*;
    use crate::runner::testing::spec;

    fn options(value: &Value) -> Result<Options, StageError> {
        Options::read(value.as_object().unwrap())
    }

    fn made(spec: &AttemptSpec, given: &Value) -> ContainerCreateBody {
        let dir = WorkDir::of(Path::new("/state"), &spec.id, &spec.name, None);
        body("e1", "img:1", spec, &options(given).unwrap(), &dir)
    }

    #[test]
    fn an_image_runs_unchanged_unless_the_flow_says_so() {
        let plain = made(&spec(1, &[]), &json!({}));
        assert_eq!(plain.image.as_deref(), Some("img:1"));
        assert_eq!((plain.entrypoint, plain.cmd), (None, None));
        assert_eq!((plain.working_dir, plain.user), (None, None));
        let mut changed = spec(1, &["a", "b"]);
        changed.entrypoint = Some(vec!["sh".to_owned()]);
        changed.output_files = vec!["x".to_owned()];
        let changed = made(&changed, &json!({"user": 1000, "networkMode": "host"}));
        assert_eq!(changed.entrypoint, Some(vec!["sh".to_owned()]));
        assert_eq!(changed.cmd, Some(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(changed.working_dir.as_deref(), Some(WORK));
        assert_eq!(changed.user.as_deref(), Some("1000"));
        let host = changed.host_config.unwrap();
        assert_eq!(host.network_mode.as_deref(), Some("host"));
    }

    #[test]
    fn directories_limits_and_labels() {
        let mut attempt = spec(1, &[]);
        attempt.resources.cpu_milli = 1500;
        attempt.resources.memory_mib = 512;
        attempt
            .env
            .insert("WORKING_DIR".to_owned(), "/x".to_owned());
        let made = made(&attempt, &json!({"volumes": ["/data:/data:ro"]}));
        let host = made.host_config.unwrap();
        assert_eq!(host.nano_cpus, Some(1_500_000_000));
        assert_eq!(
            (host.memory, host.memory_swap),
            (Some(512 << 20), Some(512 << 20))
        );
        let binds = host.binds.unwrap();
        assert!(binds[0].starts_with("/state/work/exec-1/align_1_-1-"));
        assert!(binds[0].ends_with(":/operon/work"));
        assert_eq!(binds[2], "/data:/data:ro");
        let env = made.env.unwrap();
        assert!(env.contains(&"WORKING_DIR=/operon/work".to_owned()));
        assert!(!env.contains(&"WORKING_DIR=/x".to_owned()));
        let labels = made.labels.unwrap();
        assert_eq!(labels[LABEL_ENGINE], "e1");
        assert_eq!(labels["operon.task-run"], "align[1]");
    }

    #[test]
    fn small_shares_are_no_limits() {
        let host = made(&spec(1, &[]), &json!({})).host_config.unwrap();
        assert_eq!((host.memory, host.nano_cpus), (None, None));
    }

    #[test]
    fn options_of_the_runner_win_and_wrong_ones_are_named() {
        let read = options(&json!({
            "pullPolicy": "ALWAYS",
            "taskRunner": {"type": "docker", "pullPolicy": "never", "workingDir": "/package"},
        }))
        .unwrap();
        assert_eq!(read.pull, PullPolicy::Never);
        assert_eq!(read.working_dir.as_deref(), Some("/package"));
        let error = options(&json!({"pullPolicy": "sometimes"})).unwrap_err();
        assert!(error.message.contains("sometimes") && error.message.contains("NEVER"));
        assert!(options(&json!({"user": {}})).is_err());
    }
}
