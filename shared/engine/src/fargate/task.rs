//! What a task on Fargate is made of: a definition that many launches share, and what differs for one of them.
//!
//! Invariant: the definition holds what ECS cannot override (images, entrypoints, roles, logging, names of
//! secrets) and nothing that differs between attempts, so its hash is its name and it is registered once (E10).
//! Invariant: no value of a secret passes through here. Where a property mentions one there is a [`marker`], which
//! becomes a reference that ECS or the agent resolves, or the attempt is refused with what to do instead.
#![allow(clippy::similar_names, reason = "ARNs and environments")]

use std::collections::{BTreeMap, BTreeSet};

use operon_core::agent::{
    self, AgentInput, AgentSpec, AttemptName, CONTAINER_AGENT, CONTAINER_MAIN, CONTAINER_STAGE,
    CacheEntry, Part, ReportTimes, S3Object, Source, Target,
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::Size;
use crate::ports::{
    AttemptSpec, ContainerDefinition, ContainerOverride, FileSource, Output, TaskDefinition,
};
use crate::registry::Proof;
use crate::script::text_of;

/// Characters of all overrides of a launch together, JSON included (aws.md 2.4).
pub const OVERRIDES_MAX: usize = 8192;
/// Gibibytes of scratch space that a task has at least and at most when it asks for some.
const EPHEMERAL_GIB: std::ops::RangeInclusive<u32> = 21..=200;
/// Seconds a program gets to end when its task is stopped.
const MAIN_STOP_TIMEOUT_S: u32 = 30;
/// Seconds the agent gets to store what there is when the task is stopped; the most that ECS allows.
const STOP_TIMEOUT_S: u32 = 120;
/// Memory of a task that its program does not get: the kernel is to end the program, not the agent that tells of it.
const AGENT_MIB: u32 = 64;
/// Milliseconds after which an attempt that still runs says so.
const STARTED_AFTER_MS: u64 = 60_000;
/// Before, between and after the parts of a marker: characters that no text uses.
const MARK: [char; 3] = ['\u{f8f0}', '\u{f8f1}', '\u{f8f2}'];

/// Where attempts run: what is the same for all of them in a deployment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Site {
    /// First part of the names of task definitions: launches are only allowed for these.
    pub family_prefix: String,
    /// Image of the agent.
    pub agent_image: String,
    /// Role of the containers.
    pub task_role: String,
    /// Role of ECS itself.
    pub execution_role: String,
    /// Log group.
    pub log_group: String,
    /// Where the agent reports.
    pub plan_queue_url: String,
    /// Bucket of artifacts.
    pub bucket: String,
    /// First part of their keys, with a slash at its end.
    pub artifacts: String,
}

/// A secret that an attempt mentions: namespace and name.
pub type SecretRef = (String, String);

/// What stands for a secret's value wherever the launcher renders one.
#[must_use]
pub fn marker(namespace: &str, name: &str) -> String {
    let [open, between, close] = MARK;
    format!("{open}{namespace}{between}{name}{close}")
}

/// A text taken apart at its markers.
fn parts(text: &str) -> Vec<Result<&str, SecretRef>> {
    let [open, between, close] = MARK;
    let mut out = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(open) {
        let named = after.split_once(close).and_then(|(inside, after)| {
            let (namespace, name) = inside.split_once(between)?;
            Some(((namespace.to_owned(), name.to_owned()), after))
        });
        let Some((secret, after)) = named else { break };
        if !before.is_empty() {
            out.push(Ok(before));
        }
        out.push(Err(secret));
        rest = after;
    }
    if !rest.is_empty() || out.is_empty() {
        out.push(Ok(rest));
    }
    out
}

/// The secrets that an attempt mentions anywhere.
#[must_use]
pub fn secrets_of(spec: &AttemptSpec) -> BTreeSet<SecretRef> {
    let mut all = secrets_inside(spec, &spec.secrets);
    all.extend(pull_secret(spec).ok().flatten());
    all
}

/// The secrets that are needed inside of the task, where `stage`, `main` and `agent` get them. That of a login is not.
fn secrets_inside(spec: &AttemptSpec, also: &[String]) -> BTreeSet<SecretRef> {
    let env = spec.env.values();
    let files = spec
        .input_files
        .iter()
        .filter_map(|file| match &file.source {
            FileSource::Inline(text) => Some(text),
            FileSource::Artifact(_) | FileSource::Path(_) => None,
        });
    let texts = env.chain(files).chain(also);
    texts
        .flat_map(|text| parts(text))
        .filter_map(Result::err)
        .collect()
}

/// The secret with which ECS pulls the image. ECS reads it by itself, from one secret in a form of its own.
fn pull_secret(spec: &AttemptSpec) -> Result<Option<SecretRef>, String> {
    let Some(login) = &spec.registry else {
        return Ok(None);
    };
    login.registry_for(&image_of(spec))?;
    if let Proof::Document(value) = &login.proof
        && let [Err(secret)] = parts(value).as_slice()
    {
        return Ok(Some(secret.clone()));
    }
    Err(
        "on AWS a login is one secret `{\"username\": \"…\", \"password\": \"…\"}` that ECS reads by itself: write \
         `credentials: {login: \"{{ secret('NAME') }}\"}`"
            .to_owned(),
    )
}

/// The ARN of a login. ECS reads logins from Secrets Manager only.
fn login_arn<'a>(
    arns: &'a BTreeMap<SecretRef, String>,
    secret: &SecretRef,
) -> Result<&'a String, String> {
    let name = &secret.1;
    let arn = arns
        .get(secret)
        .ok_or_else(|| format!("secret `{name}` has no ARN"))?;
    if arn.split(':').nth(2) == Some("ssm") {
        return Err(format!(
            "secret `{name}` is a parameter of Parameter Store, from which ECS reads no logins of registries; create \
             it in Secrets Manager"
        ));
    }
    Ok(arn)
}

/// One launch, and the definition it needs.
#[derive(Debug, Clone, PartialEq)]
pub struct Build {
    /// What is shared.
    pub definition: TaskDefinition,
    /// What differs.
    pub overrides: Vec<ContainerOverride>,
    /// None leaves Fargate's default.
    pub ephemeral_gib: Option<u32>,
    /// What the agent is to do, when it is too large to travel in the overrides; they then name its key below
    /// the output prefix, [`SPEC_KEY`].
    pub document: Option<Vec<u8>>,
}

/// Key of the agent's document below the output prefix of an attempt.
pub const SPEC_KEY: &str = ".operon/spec.json";

/// Makes the task of an attempt. `arns` names each of its [`secrets_of`]; `cache` is what the agent hands back with the
/// result. The error is a sentence for people.
pub fn build(
    site: &Site,
    spec: &AttemptSpec,
    size: Size,
    arns: &BTreeMap<SecretRef, String>,
    cache: Option<CacheEntry>,
) -> Result<Build, String> {
    let name: AttemptName = spec
        .id
        .to_string()
        .parse()
        .map_err(|error: agent::AttemptNameError| error.to_string())?;
    if spec.shared_directory.is_some() {
        return Err(
            "tasks on Fargate share no directory; pass files from one to the next by `outputFiles` and \
             `inputFiles`"
                .to_owned(),
        );
    }
    let pull = pull_secret(spec)?;
    let inside = secrets_inside(spec, &spec.secrets);
    let outside = pull.as_ref().filter(|&secret| {
        // Masking it would need it there; nothing in the task has it.
        !secrets_inside(spec, &[]).contains(secret)
    });
    let variables = variables(inside.iter().filter(|&secret| Some(secret) != outside));
    let pull = match &pull {
        None => None,
        Some(secret) => Some(login_arn(arns, secret)?),
    };
    let (env, by_reference) = environment(spec, arns)?;
    for text in spec.command.iter().chain(spec.entrypoint.iter().flatten()) {
        if parts(text).iter().any(Result::is_err) {
            return Err(
                "a secret's value is never part of a command; write `secrets: {VARIABLE: NAME}` and use \
                 the variable"
                    .to_owned(),
            );
        }
    }
    let mut document = document(site, spec, size, name, &variables)?;
    document.cache = cache;
    let definition = definition(site, spec, by_reference, &variables, arns, pull);
    let mut command = (!spec.command.is_empty()).then(|| spec.command.clone());
    let main_mib = size.memory_mib.saturating_sub(AGENT_MIB);
    let overrides = |command: Option<&Vec<String>>, place: (&str, String)| {
        overrides(spec, command, (&env, main_mib), &place)
    };
    let text = to_json(&document)?;
    let inline = overrides(command.as_ref(), (agent::ENV_SPEC, text));
    let ephemeral_gib = (spec.resources.ephemeral_gib > 0).then(|| {
        spec.resources
            .ephemeral_gib
            .clamp(*EPHEMERAL_GIB.start(), *EPHEMERAL_GIB.end())
    });
    let build = |overrides, document| Build {
        definition,
        overrides,
        ephemeral_gib,
        document,
    };
    if length(&inline) <= OVERRIDES_MAX {
        return Ok(build(inline, None));
    }
    let uri = format!(
        "s3://{}/{}{}{SPEC_KEY}",
        site.bucket, site.artifacts, spec.output_prefix
    );
    let mut referred = overrides(command.as_ref(), (agent::ENV_SPEC_URI, uri.clone()));
    if length(&referred) > OVERRIDES_MAX
        && let Some(file) = long_script(&mut command)
    {
        document.input_files.push(file);
        referred = overrides(command.as_ref(), (agent::ENV_SPEC_URI, uri));
    }
    let length = length(&referred);
    if length > OVERRIDES_MAX {
        return Err(format!(
            "command and environment have {length} characters; ECS takes {OVERRIDES_MAX}: put long values \
             into `inputFiles`"
        ));
    }
    let text = to_json(&document)?;
    Ok(build(referred, Some(text.into_bytes())))
}

fn to_json(document: &AgentSpec) -> Result<String, String> {
    let text = serde_json::to_string(document).map_err(|error| error.to_string())?;
    if text.len() > agent::SPEC_BYTES_MAX {
        return Err(format!(
            "the input files in the flow have {} bytes; at most {} are possible: store them as artifacts",
            text.len(),
            agent::SPEC_BYTES_MAX
        ));
    }
    Ok(text)
}

/// The variables by which `stage` and `agent` see the secrets, in a fixed order.
fn variables<'a>(secrets: impl Iterator<Item = &'a SecretRef>) -> BTreeMap<SecretRef, String> {
    secrets
        .enumerate()
        .map(|(index, secret)| (secret.clone(), format!("OPERON_SECRET_{index}")))
        .collect()
}

/// The plain environment of `main`, and its variables whose values are secrets.
type Environment = (Vec<(String, String)>, Vec<(String, String)>);

fn environment(
    spec: &AttemptSpec,
    arns: &BTreeMap<SecretRef, String>,
) -> Result<Environment, String> {
    let mut plain: Vec<(String, String)> = agent::main_environment(agent::VOLUME)
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    // As on a laptop: a script may say who it is, and behave otherwise when it is tried again.
    plain.extend([
        ("OPERON_EXECUTION".to_owned(), spec.id.execution.to_string()),
        ("OPERON_TASK_RUN".to_owned(), spec.name.clone()),
        ("OPERON_ATTEMPT".to_owned(), spec.id.attempt.to_string()),
    ]);
    let mut secret = Vec::new();
    for (name, value) in &spec.env {
        match parts(value).as_slice() {
            [Ok(_)] => plain.push((name.clone(), value.clone())),
            [Err(one)] => {
                let arn = arns
                    .get(one)
                    .ok_or_else(|| format!("secret `{}` has no ARN", one.1))?;
                secret.push((name.clone(), arn.clone()));
            }
            _ => {
                return Err(format!(
                    "`env.{name}` mixes a secret with other text; give the secret a variable of its own \
                     and put them together in the script"
                ));
            }
        }
    }
    Ok((plain, secret))
}

fn document(
    site: &Site,
    spec: &AttemptSpec,
    size: Size,
    name: AttemptName,
    variables: &BTreeMap<SecretRef, String>,
) -> Result<AgentSpec, String> {
    let prefix = spec.output_prefix.trim_end_matches('/');
    let target = Target {
        bucket: site.bucket.clone(),
        key: format!("{}{prefix}", site.artifacts),
        uri: format!("operon:///{prefix}"),
    };
    let timeout = u64::try_from(spec.timeout.as_millis()).unwrap_or(u64::MAX);
    let mut document = AgentSpec::new(name, &spec.name, target, timeout);
    document.output_files.clone_from(&spec.output_files);
    document.memory_mib = size.memory_mib.saturating_sub(AGENT_MIB);
    // A report costs as much as half an attempt, so only what lasts is shown to run; whether it is alive the
    // reconciler asks ECS.
    document.reports = ReportTimes {
        started_after_ms: STARTED_AFTER_MS,
        heartbeat_ms: 0,
    };
    document.secret_variables = variables.values().cloned().collect();
    for file in &spec.input_files {
        let source = match &file.source {
            FileSource::Inline(text) => {
                let part = |part: Result<&str, SecretRef>| match part {
                    Ok(text) => Some(Part::Text(text.to_owned())),
                    Err(secret) => variables.get(&secret).cloned().map(Part::Secret),
                };
                Source::Inline(parts(text).into_iter().filter_map(part).collect())
            }
            FileSource::Artifact(uri) => Source::S3(S3Object {
                bucket: site.bucket.clone(),
                key: format!("{}{}", site.artifacts, uri.key()),
                sha256: None,
            }),
            FileSource::Path(path) => {
                return Err(format!(
                    "`{}` is a file beside the flow; in the cloud give it as an artifact or write its \
                     content into `inputFiles`",
                    path.display()
                ));
            }
        };
        document.input_files.push(AgentInput {
            path: file.path.clone(),
            source,
            executable: file.executable,
        });
    }
    Ok(document)
}

/// Images for scripts that name none, by what interprets them.
fn image_of(spec: &AttemptSpec) -> String {
    if let Some(image) = &spec.image {
        return image.clone();
    }
    let library = "public.ecr.aws/docker/library";
    match spec.interpreter.unwrap_or_default() {
        "python3" => format!("{library}/python:3.13-slim"),
        "node" => format!("{library}/node:22-slim"),
        "Rscript" => format!("{library}/r-base:4.5.1"),
        _ => format!("{library}/debian:stable-slim"),
    }
}

fn option(spec: &AttemptSpec, key: &str) -> Option<String> {
    let runner = spec
        .runner_options
        .get("taskRunner")
        .and_then(|runner| runner.get(key));
    let value = runner.or_else(|| spec.runner_options.get(key))?;
    Some(text_of(value)).filter(|text| !text.is_empty())
}

fn definition(
    site: &Site,
    spec: &AttemptSpec,
    secrets: Vec<(String, String)>,
    variables: &BTreeMap<SecretRef, String>,
    arns: &BTreeMap<SecretRef, String>,
    pull: Option<&String>,
) -> TaskDefinition {
    let own = |name: &str, mode: &str| ContainerDefinition {
        name: name.to_owned(),
        image: site.agent_image.clone(),
        command: Some(vec![mode.to_owned()]),
        secrets: variables
            .iter()
            .filter_map(|(secret, variable)| Some((variable.clone(), arns.get(secret)?.clone())))
            .collect(),
        mount: Some(agent::VOLUME.to_owned()),
        ..ContainerDefinition::default()
    };
    let has_files = !spec.input_files.is_empty() || !spec.output_files.is_empty();
    let work = || format!("{}/{}", agent::VOLUME, agent::layout::WORK);
    let main = ContainerDefinition {
        name: CONTAINER_MAIN.to_owned(),
        image: image_of(spec),
        repository_credentials: pull.cloned(),
        entry_point: spec.entrypoint.clone(),
        working_directory: option(spec, "workingDir").or_else(|| has_files.then(work)),
        user: option(spec, "user"),
        secrets,
        // The agent first: it takes what the program says from the first line on, and masks secrets in it.
        depends_on: vec![
            (CONTAINER_STAGE.to_owned(), "SUCCESS".to_owned()),
            (CONTAINER_AGENT.to_owned(), "START".to_owned()),
        ],
        mount: Some(agent::VOLUME.to_owned()),
        stop_timeout_s: Some(MAIN_STOP_TIMEOUT_S),
        init: true,
        output: Output::Routed,
        ..ContainerDefinition::default()
    };
    let watch = ContainerDefinition {
        essential: true,
        environment: vec![(
            agent::ENV_PLAN_QUEUE_URL.to_owned(),
            site.plan_queue_url.clone(),
        )],
        // ECS wants a log router to be root.
        user: Some("0".to_owned()),
        stop_timeout_s: Some(STOP_TIMEOUT_S),
        output: Output::Router,
        ..own(CONTAINER_AGENT, "watch")
    };
    let mut definition = TaskDefinition {
        family: String::new(),
        containers: vec![own(CONTAINER_STAGE, "stage"), main, watch],
        volume: agent::VOLUME_NAME.to_owned(),
        task_role: site.task_role.clone(),
        execution_role: site.execution_role.clone(),
        log_group: site.log_group.clone(),
        cpu_units: 256,
        memory_mib: 512,
    };
    let digest = hex::encode(Sha256::digest(format!("{definition:?}")));
    let digest = digest.get(..40).unwrap_or(&digest);
    definition.family = format!("{}{digest}", site.family_prefix);
    definition
}

fn overrides(
    spec: &AttemptSpec,
    command: Option<&Vec<String>>,
    (env, main_mib): (&[(String, String)], u32),
    place: &(&str, String),
) -> Vec<ContainerOverride> {
    let own = |name: &str| ContainerOverride {
        name: name.to_owned(),
        command: None,
        environment: vec![
            (agent::ENV_ATTEMPT.to_owned(), spec.id.to_string()),
            (place.0.to_owned(), place.1.clone()),
        ],
        memory_mib: None,
    };
    vec![
        own(CONTAINER_STAGE),
        ContainerOverride {
            name: CONTAINER_MAIN.to_owned(),
            command: command.cloned(),
            environment: env.to_vec(),
            memory_mib: Some(main_mib),
        },
        own(CONTAINER_AGENT),
    ]
}

/// Characters of the overrides as ECS counts them.
fn length(overrides: &[ContainerOverride]) -> usize {
    let containers: Vec<Value> = overrides
        .iter()
        .map(|container| {
            let environment: Vec<Value> = container
                .environment
                .iter()
                .map(|(name, value)| json!({"name": name, "value": value}))
                .collect();
            json!({
                "name": container.name, "command": container.command, "environment": environment,
                "memory": container.memory_mib,
            })
        })
        .collect();
    let all = json!({
        "containerOverrides": containers, "cpu": "16384", "memory": "122880",
        "ephemeralStorage": {"sizeInGiB": 200},
    });
    all.to_string().chars().count()
}

/// Moves a long `sh -c` text into a file that the shell reads instead.
fn long_script(command: &mut Option<Vec<String>>) -> Option<AgentInput> {
    let words = command.as_mut()?;
    let [shell, flag, text] = words.as_slice() else {
        return None;
    };
    if flag != "-c" {
        return None;
    }
    let path = ".operon/command.sh".to_owned();
    let file = AgentInput {
        path: path.clone(),
        source: Source::text(text.clone()),
        executable: false,
    };
    let place = format!("{}/{}/{path}", agent::VOLUME, agent::layout::WORK);
    *words = vec![shell.clone(), place];
    Some(file)
}

#[cfg(test)]
mod tests;
