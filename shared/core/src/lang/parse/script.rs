//! Tasks in containers and processes: rule R1, and scripts without values in their text.

use serde_json::{Map, Value};

use super::super::catalogue::{DOCKER, RUNNER_DOCKER, RUNNER_PROCESS, TypeInfo};
use super::super::diagnostic::{Diagnostic, Rule};
use super::super::model::{Span, Task};
use super::super::yaml::{Node, Yaml};
use super::Reader;
use super::convert::short;
use super::fields::{Field, Fields, nearest};
use super::tasks::named;

/// Properties whose text is code.
const CODE: &[&str] = &["script", "commands", "beforeCommands"];

impl Reader<'_> {
    pub(super) fn script(
        &mut self,
        task: &mut Task,
        fields: &Fields<'_>,
        info: &'static TypeInfo,
        place: &Span,
    ) {
        for &field in &fields.all {
            let name = field.info.name;
            if info.prop(name).is_none() || matches!(name, "docker" | "runner" | "taskRunner") {
                continue;
            }
            let value = match name {
                _ if CODE.contains(&name) => self.code(field),
                "secrets" => continue,
                _ => self.field(field),
            };
            if let Some(value) = value {
                task.props.insert(name.to_owned(), value);
            }
        }
        if let Some(field) = fields.get("secrets") {
            self.secret_variables(field, fields, task);
        }
        self.code_is_there(fields, info, &task.id, place);
        self.container_options(task, fields, info, place);
        if let Some(field) = fields.get("env") {
            self.plain_secrets(field.value);
        }
    }

    /// A script or commands. They may hold expressions, but should not.
    fn code(&mut self, field: Field<'_>) -> Option<Value> {
        let nodes = field
            .value
            .as_seq()
            .unwrap_or(std::slice::from_ref(field.value));
        for node in nodes {
            let Some(text) = node
                .as_str()
                .filter(|text| text.contains("{{") || text.contains("{%"))
            else {
                continue;
            };
            let at = text.find("{{").or_else(|| text.find("{%")).unwrap_or(0);
            let span = node.content_span(self.source, at..at + 2);
            self.push(
                Diagnostic::warning(
                    Rule::TemplateInScript,
                    span,
                    format!("an expression inside `{}` puts a value into code without quotes", field.key.name),
                )
                .with_help("pass the value with `env` (or a file with `inputFiles`) and read it in the script; for braces that are code write `{% raw %}…{% endraw %}`"),
            );
        }
        let what = format!("`{}`", field.key.name);
        let ty = field.info.ty;
        self.convert(field.value, &ty, true, &what)
    }

    fn code_is_there(&mut self, fields: &Fields<'_>, info: &TypeInfo, id: &str, place: &Span) {
        let given: Vec<Field<'_>> = ["script", "commands", "command"]
            .iter()
            .filter_map(|name| fields.get(name))
            .collect();
        match given.as_slice() {
            [] if info.name != "container" => {
                let wanted = if info.name.ends_with(".Commands") {
                    "commands"
                } else {
                    "script"
                };
                let help = if wanted == "script" {
                    "add `script: |` and the script below it"
                } else {
                    "add `commands: [\"…\"]`"
                };
                self.push(
                    Diagnostic::error(
                        Rule::MissingProperty,
                        place.clone(),
                        format!("{} has no `{wanted}`", named(id)),
                    )
                    .with_help(help),
                );
            }
            [first, second, ..] => self.push(
                Diagnostic::error(
                    Rule::Exclusive,
                    second.key.span.clone(),
                    format!(
                        "`{}` and `{}` are both given",
                        first.key.name, second.key.name
                    ),
                )
                .with_label(first.key.span.clone(), "the other is here")
                .with_help("keep one; what comes first belongs in `beforeCommands`"),
            ),
            _ => {}
        }
    }

    /// Rule R1 and the older spellings of the task runner: afterwards there is `containerImage`, the
    /// sizes are in `resources`, and everything else is in `taskRunner`.
    fn container_options(
        &mut self,
        task: &mut Task,
        fields: &Fields<'_>,
        info: &TypeInfo,
        place: &Span,
    ) {
        let mut runner = Map::new();
        if let Some(field) = fields.get("runner")
            && let Some(Value::String(name)) = self.field(field)
        {
            let name = if name == "PROCESS" {
                RUNNER_PROCESS
            } else {
                RUNNER_DOCKER
            };
            runner.insert("type".to_owned(), Value::from(name));
        }
        if let Some(field) = fields.get("taskRunner") {
            self.task_runner(field, task, fields, &mut runner);
        }
        if let Some(field) = fields.get("docker") {
            self.docker_options(field.value, "`docker`", task, fields, &mut runner);
        }
        if info.name == "container" && !task.props.contains_key("containerImage") {
            self.push(
                Diagnostic::error(
                    Rule::MissingProperty,
                    place.clone(),
                    format!("{} has no `containerImage`", named(&task.id)),
                )
                .with_help("add `containerImage: nextstrain/nextclade:3`"),
            );
        }
        if info.name == "container"
            && runner.get("type").and_then(Value::as_str) == Some(RUNNER_PROCESS)
        {
            let span = fields.get("taskRunner").or_else(|| fields.get("runner"));
            self.push(
                Diagnostic::error(
                    Rule::Exclusive,
                    span.map_or_else(|| task.span.clone(), |field| field.key.span.clone()),
                    "a `container` cannot run as a plain process",
                )
                .with_help("use `shell`, or remove the task runner"),
            );
        }
        if !runner.is_empty() {
            runner
                .entry("type")
                .or_insert_with(|| Value::from(RUNNER_DOCKER));
            task.props
                .insert("taskRunner".to_owned(), Value::Object(runner));
        }
    }

    fn task_runner(
        &mut self,
        field: Field<'_>,
        task: &mut Task,
        fields: &Fields<'_>,
        runner: &mut Map<String, Value>,
    ) {
        let name = match &field.value.value {
            Yaml::String(name) => Some((field.value, name.clone())),
            Yaml::Map(_) => {
                let node = field.value.get("type");
                if node.is_none() {
                    self.push(
                        Diagnostic::error(
                            Rule::MissingProperty,
                            field.key.span.clone(),
                            "`taskRunner` has no `type`",
                        )
                        .with_help("write `taskRunner: {type: docker}` or `{type: process}`"),
                    );
                }
                node.and_then(|node| Some((node, self.text(node, false, "`type`")?)))
            }
            Yaml::Null | Yaml::Bool(_) | Yaml::Int(_) | Yaml::Float(_) | Yaml::Seq(_) => {
                self.wrong_type(field.value, "`taskRunner`", "a mapping with `type`");
                None
            }
        };
        let Some((node, name)) = name else { return };
        let canonical = match name.as_str() {
            "process" | RUNNER_PROCESS | "io.kestra.plugin.core.runner.ProcessTaskRunner" => {
                RUNNER_PROCESS
            }
            "docker" | RUNNER_DOCKER | "io.kestra.plugin.core.runner.Docker" => RUNNER_DOCKER,
            _ => {
                self.unknown_runner(node, &name);
                return;
            }
        };
        runner.insert("type".to_owned(), Value::from(canonical));
        if field.value.as_map().is_some() {
            self.docker_options(field.value, "`taskRunner`", task, fields, runner);
        }
    }

    fn unknown_runner(&mut self, node: &Node, name: &str) {
        let help = if name.starts_with("io.kestra.plugin.") {
            "remove it: a task with an image runs on the deployment's runner (Fargate on AWS, Docker on a laptop)".to_owned()
        } else {
            nearest(name, ["process", "docker", RUNNER_PROCESS, RUNNER_DOCKER]).map_or_else(
                || "there are `process` and `docker`".to_owned(),
                |near| format!("did you mean `{near}`?"),
            )
        };
        self.push(
            Diagnostic::error(
                Rule::NoRunner,
                node.span.clone(),
                format!("there is no task runner `{}`", short(name)),
            )
            .with_help(help),
        );
    }

    /// Options of a container, from `docker:` or the Docker task runner.
    fn docker_options(
        &mut self,
        node: &Node,
        what: &str,
        task: &mut Task,
        fields: &Fields<'_>,
        runner: &mut Map<String, Value>,
    ) {
        let Some(entries) = node.as_map() else {
            self.wrong_type(node, what, "a mapping");
            return;
        };
        let entries: Vec<_> = entries
            .iter()
            .filter(|(key, _)| key.name != "type")
            .map(|(key, value)| (key, value))
            .collect();
        let options = self.fields_of(&entries, &[DOCKER], what, &node.span);
        for &option in &options.all {
            match option.info.name {
                "image" => self.image(option, task, fields),
                "entryPoint" => {
                    if let Some(value) = self.field(option) {
                        task.props.insert("entryPoint".to_owned(), value);
                    }
                }
                "cpu" => {
                    if let Some(node) = option.value.get("cpus")
                        && let Some(milli) = self.cpu(node, "`cpus`")
                        && fields
                            .value("resources")
                            .and_then(|r| r.get("cpu"))
                            .is_none()
                    {
                        task.resources.cpu_milli = milli;
                    }
                }
                "memory" => {
                    if self.field(option).is_some()
                        && let Some(node) = option.value.get("memory")
                        && let Some(mib) = self.mebibytes(node, "`memory`", 1)
                        && fields
                            .value("resources")
                            .and_then(|r| r.get("memory"))
                            .is_none()
                    {
                        task.resources.memory_mib = mib;
                    }
                }
                name => {
                    if name == "credentials" {
                        self.registry_login(option);
                    }
                    if let Some(value) = self.field(option) {
                        runner.insert(name.to_owned(), value);
                    }
                }
            }
        }
    }

    /// An image given a second time must be the same (rule R1).
    fn image(&mut self, option: Field<'_>, task: &mut Task, fields: &Fields<'_>) {
        let Some(value) = self.field(option) else {
            return;
        };
        match task.props.get("containerImage") {
            Some(first) if *first != value => {
                let other = fields.get("containerImage");
                let mut diagnostic = Diagnostic::error(
                    Rule::SameTwice,
                    option.key.span.clone(),
                    "the image is given twice and differs",
                )
                .with_help("keep one, best `containerImage`");
                if let Some(other) = other {
                    diagnostic = diagnostic.with_label(other.key.span.clone(), "the other is here");
                }
                self.push(diagnostic);
            }
            Some(_) => {}
            None => {
                task.props.insert("containerImage".to_owned(), value);
            }
        }
    }
}
