//! Script and container tasks: from Kestra's properties to a program with arguments, files and environment.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use operon_core::lang::model::Resources;
pub use operon_core::plan::is_process;
use operon_core::plan::{ShardId, is_local_files};
use serde_json::{Map, Value};

use crate::files::{self, Beside};
use crate::ports::{ArtifactUri, AttemptId, AttemptSpec, FileSource, InputFile, TaskRunKey};
use crate::registry::RegistryLogin;

/// Directory of the files that belong to the engine, inside the working directory.
const OWN_DIRECTORY: &str = ".operon";

/// Whether tasks of this type start another flow.
#[must_use]
pub fn is_subflow(task_type: &str) -> bool {
    task_type == "io.kestra.plugin.core.flow.Subflow"
}

/// What interprets a script, and the name of its file.
fn interpreter(task_type: &str) -> Option<(&'static str, &'static str)> {
    if task_type.contains(".python.") {
        Some(("python3", "script.py"))
    } else if task_type.contains(".node.") {
        Some(("node", "script.js"))
    } else if task_type.contains(".r.") {
        Some(("Rscript", "script.R"))
    } else {
        None
    }
}

/// The spec of a script or container task, without what belongs to the task run.
pub fn spec(
    task_type: &str,
    props: &Map<String, Value>,
    beside: &Beside,
) -> Result<AttemptSpec, String> {
    let only_files = is_local_files(task_type);
    let (inputs, outputs) = if only_files {
        ("inputs", "outputs")
    } else {
        ("inputFiles", "outputFiles")
    };
    let mut input_files = files_of(inputs, props, beside)?;
    let command = if only_files {
        Vec::new()
    } else {
        command(task_type, props, &mut input_files)
    };
    let texts = |key: &str| -> Vec<String> { props.get(key).map(list_of_text).unwrap_or_default() };
    let mut env = BTreeMap::new();
    if let Some(entries) = props.get("env").and_then(Value::as_object) {
        for (name, value) in entries {
            env.insert(name.clone(), text_of(value));
        }
    }
    let entrypoint = props
        .get("entryPoint")
        .map(list_of_text)
        .filter(|list| !list.is_empty());
    let image = props
        .get("containerImage")
        .map(text_of)
        .filter(|image| !image.is_empty());
    let mut runner_options = Map::new();
    for key in [
        "taskRunner",
        "pullPolicy",
        "user",
        "networkMode",
        "volumes",
        "extraHosts",
    ] {
        if let Some(value) = props.get(key) {
            runner_options.insert(key.to_owned(), value.clone());
        }
    }
    let registry = RegistryLogin::take(&mut runner_options)?;
    let execution = "none".parse().map_err(|error: String| error)?;
    Ok(AttemptSpec {
        id: AttemptId {
            execution,
            task_run: TaskRunKey {
                shard: ShardId::ROOT,
                slot: 0,
            },
            attempt: 0,
        },
        name: String::new(),
        image,
        interpreter: interpreter(task_type).map(|(program, _)| program),
        entrypoint,
        command,
        env,
        input_files,
        output_files: texts(outputs),
        output_prefix: String::new(),
        shared_directory: None,
        only_files,
        timeout: Duration::ZERO,
        idempotent: true,
        resources: Resources::default(),
        priority: 0,
        rank: 0,
        runner_options,
        registry,
        secrets: Vec::new(),
    })
}

/// The program and its arguments. Scripts become files: nothing is spliced into a command line.
fn command(
    task_type: &str,
    props: &Map<String, Value>,
    input_files: &mut Vec<InputFile>,
) -> Vec<String> {
    let shell = match props.get("interpreter").map(list_of_text) {
        Some(shell) if !shell.is_empty() => shell,
        _ => vec!["/bin/sh".to_owned(), "-c".to_owned()],
    };
    let lines = |key: &str| props.get(key).map(list_of_text).unwrap_or_default();
    if task_type == "container" && !props.contains_key("script") {
        // The image's own entrypoint takes these as they are.
        return lines("command")
            .into_iter()
            .chain(lines("commands"))
            .collect();
    }
    let before = lines("beforeCommands");
    let mut program: Vec<String> = Vec::new();
    if props
        .get("failFast")
        .and_then(Value::as_bool)
        .unwrap_or(true)
    {
        program.push("set -e".to_owned());
    }
    let plain = before.is_empty();
    program.extend(before);
    match (props.get("script").map(text_of), interpreter(task_type)) {
        (Some(script), Some((interpreter, file))) => {
            let path = format!("{OWN_DIRECTORY}/{file}");
            let source = FileSource::Inline(script);
            input_files.push(InputFile {
                path: path.clone(),
                source,
                executable: false,
            });
            if plain && !props.contains_key("interpreter") {
                return vec![interpreter.to_owned(), path];
            }
            program.push(format!("exec {interpreter} {path}"));
        }
        (Some(script), None) => program.push(script),
        (None, _) => program.extend(lines("commands")),
    }
    shell.into_iter().chain([program.join("\n")]).collect()
}

/// `inputFiles` and `namespaceFiles`.
pub fn input_files(props: &Map<String, Value>, beside: &Beside) -> Result<Vec<InputFile>, String> {
    files_of("inputFiles", props, beside)
}

/// The files of the property `name`, and `namespaceFiles`.
fn files_of(
    name: &str,
    props: &Map<String, Value>,
    beside: &Beside,
) -> Result<Vec<InputFile>, String> {
    let mut out = Vec::new();
    if let Some(options) = props.get("namespaceFiles").and_then(Value::as_object)
        && options
            .get("enabled")
            .and_then(Value::as_bool)
            .unwrap_or(true)
    {
        namespace_files(options, beside, &mut out)?;
    }
    let entries = match props.get(name) {
        Some(Value::Object(entries)) => entries.clone(),
        // A text is JSON, as a template gives it.
        Some(Value::String(text)) => serde_json::from_str(text).map_err(|error| {
            format!("`{name}` must be a map of file names to contents or artifact URIs: {error}")
        })?,
        Some(Value::Array(paths)) => {
            for path in paths.iter().map(text_of) {
                out.push(InputFile {
                    source: beside.find(&path)?,
                    path,
                    executable: false,
                });
            }
            Map::new()
        }
        _ => Map::new(),
    };
    for (path, content) in entries {
        let text = text_of(&content);
        let source = if ArtifactUri::is_uri(&text) {
            let uri = text
                .trim()
                .parse()
                .map_err(|error| format!("`{name}.{path}`: {error}"))?;
            FileSource::Artifact(uri)
        } else if text.starts_with("nsfile:///") {
            beside.find(&text)?
        } else {
            FileSource::Inline(text)
        };
        out.push(InputFile {
            path,
            source,
            executable: false,
        });
    }
    for file in &out {
        if files::beneath(Path::new("."), &file.path).is_none() {
            return Err(format!(
                "`{}` is not a path for an input file; it must be relative and stay in the working directory",
                file.path
            ));
        }
    }
    Ok(out)
}

/// Files beside the flow that match `include` (all by default) and not `exclude`.
fn namespace_files(
    options: &Map<String, Value>,
    beside: &Beside,
    out: &mut Vec<InputFile>,
) -> Result<(), String> {
    let globs = |key: &str| -> Result<globset::GlobSet, String> {
        let mut set = globset::GlobSetBuilder::new();
        for pattern in options.get(key).map(list_of_text).unwrap_or_default() {
            let pattern = pattern.trim_start_matches('/');
            let glob = globset::GlobBuilder::new(pattern)
                .literal_separator(true)
                .build();
            set.add(glob.map_err(|error| format!("`namespaceFiles.{key}`: {error}"))?);
        }
        set.build()
            .map_err(|error| format!("`namespaceFiles.{key}`: {error}"))
    };
    let (include, exclude) = (globs("include")?, globs("exclude")?);
    let wanted =
        |path: &str| (include.is_empty() || include.is_match(path)) && !exclude.is_match(path);
    let found = beside.all(wanted)?.into_iter();
    out.extend(found.map(|(path, source)| InputFile {
        path,
        source,
        executable: false,
    }));
    Ok(())
}

/// Whether the input files of these properties are partly beside the flow.
#[must_use]
pub fn wants_files_beside(props: &Map<String, Value>) -> bool {
    match props.get("inputFiles").or_else(|| props.get("inputs")) {
        _ if props.contains_key("namespaceFiles") => true,
        Some(files) => files.is_array() || files.to_string().contains("nsfile:///"),
        None => false,
    }
}

/// A rendered value as text: strings as they are, everything else as JSON.
pub(crate) fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

fn list_of_text(value: &Value) -> Vec<String> {
    match value {
        Value::Array(items) => items.iter().map(text_of).collect(),
        Value::Null => Vec::new(),
        Value::String(_) | Value::Bool(_) | Value::Number(_) | Value::Object(_) => {
            vec![text_of(value)]
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use serde_json::json;

    use super::*;

    fn of(task_type: &str, props: &Value) -> AttemptSpec {
        spec(task_type, props.as_object().unwrap(), &Beside::Nothing).unwrap()
    }

    #[test]
    fn a_python_script_becomes_a_file() {
        let spec = of(
            "io.kestra.plugin.scripts.python.Script",
            &json!({"script": "print(1)"}),
        );
        assert_eq!(spec.command, ["python3", ".operon/script.py"]);
        assert_eq!(
            spec.input_files[0].source,
            FileSource::Inline("print(1)".to_owned())
        );
    }

    #[test]
    fn commands_run_in_one_shell_that_stops_at_the_first_failure() {
        let props = json!({"commands": ["a", "b"], "beforeCommands": ["c"]});
        let spec = of("io.kestra.plugin.scripts.shell.Commands", &props);
        assert_eq!(spec.command, ["/bin/sh", "-c", "set -e\nc\na\nb"]);
    }

    #[test]
    fn an_input_file_cannot_leave_the_working_directory() {
        for path in ["../x", "/etc/passwd", "a/../../x", ""] {
            let props = json!({"inputFiles": {path: "x"}});
            let error = input_files(props.as_object().unwrap(), &Beside::Nothing).unwrap_err();
            assert!(error.contains("working directory"), "{path}: {error}");
        }
    }

    #[test]
    fn local_files_start_nothing() {
        let props = json!({"inputs": {"a.txt": "a"}, "outputs": "*.txt"});
        let spec = of("io.kestra.plugin.core.storage.LocalFiles", &props);
        assert!(spec.only_files && spec.command.is_empty());
        assert_eq!(spec.input_files[0].path, "a.txt");
        assert_eq!(spec.output_files, ["*.txt"]);
        assert!(!of("container", &json!({"commands": ["a"]})).only_files);
    }

    #[test]
    fn an_image_keeps_its_entrypoint() {
        let props = json!({"containerImage": "nextclade:3", "commands": ["run", "--all"]});
        let spec = of("container", &props);
        assert_eq!(spec.entrypoint, None);
        assert_eq!(spec.command, ["run", "--all"]);
    }
}
