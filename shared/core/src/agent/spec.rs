//! What the agent is asked to do.

use serde::{Deserialize, Serialize};

use super::{AttemptName, FORMAT};

/// Everything the agent needs to know of one attempt; all expressions are rendered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentSpec {
    /// [`FORMAT`] of this document.
    pub format: u16,
    /// Which attempt. The agent refuses a document of another one.
    pub attempt: AttemptName,
    /// For people: `align[12]`.
    pub name: String,
    /// Written into the working directory before the image starts.
    #[serde(default)]
    pub input_files: Vec<AgentInput>,
    /// Names and globs collected after the end, relative to the working directory.
    #[serde(default)]
    pub output_files: Vec<String>,
    /// Where output files, large outputs and the manifest go.
    pub target: Target,
    /// Counted from the start of `main`.
    pub timeout_ms: u64,
    /// Memory of `main` in MiB, for the message when it ran out; 0 when there is no limit of its own.
    #[serde(default)]
    pub memory_mib: u32,
    /// Where the outputs are kept for an identical task run; the agent hands it back with its result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<CacheEntry>,
    /// Environment variables of `stage` and `agent` whose values are secrets: masked wherever they would be
    /// forwarded, and what [`Part::Secret`] may name. A value is never in this document.
    #[serde(default)]
    pub secret_variables: Vec<String>,
    /// When the agent speaks up before the end.
    #[serde(default)]
    pub reports: ReportTimes,
    /// What it takes at most.
    #[serde(default)]
    pub limits: AgentLimits,
}

impl AgentSpec {
    /// A document that asks for nothing but to be told how the attempt ended.
    #[must_use]
    pub fn new(attempt: AttemptName, name: &str, target: Target, timeout_ms: u64) -> Self {
        Self {
            format: FORMAT,
            attempt,
            name: name.to_owned(),
            input_files: Vec::new(),
            output_files: Vec::new(),
            target,
            timeout_ms,
            memory_mib: 0,
            cache: None,
            secret_variables: Vec::new(),
            reports: ReportTimes::default(),
            limits: AgentLimits::default(),
        }
    }
}

/// An entry of the task cache: what `taskCache` keeps the outputs under.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CacheEntry {
    /// Hash of all that makes two attempts do the same.
    pub key: String,
    /// Milliseconds it lives from the end of the attempt; none for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_ms: Option<u64>,
}

impl CacheEntry {
    /// When an entry that is written now is no longer used; none when it always is.
    #[must_use]
    pub fn expires_ms(&self, now_ms: u64) -> Option<u64> {
        self.ttl_ms.map(|ttl| now_ms.saturating_add(ttl))
    }
}

/// A file in the working directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentInput {
    /// Relative, without `..`.
    pub path: String,
    /// Its content.
    pub source: Source,
    /// Whether it can be executed, as scripts are.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub executable: bool,
}

/// Content of an input file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Source {
    /// Texts and secrets, one after the other.
    Inline(Vec<Part>),
    /// An object.
    S3(S3Object),
}

impl Source {
    /// A text as it stands.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self::Inline(vec![Part::Text(text.into())])
    }
}

/// A piece of an inline file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Part {
    /// As it stands.
    Text(String),
    /// The value of one of [`AgentSpec::secret_variables`].
    Secret(String),
}

/// An object in S3.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct S3Object {
    /// Its bucket.
    pub bucket: String,
    /// Its whole key.
    pub key: String,
    /// What it must hash to, in hexadecimal; none takes what is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// Where an attempt's output goes. Distinct for each attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// Bucket of the artifacts.
    pub bucket: String,
    /// Prefix of the objects' keys, without a slash at its end.
    pub key: String,
    /// The artifact URI of the same place, without a slash at its end: `operon:///…`.
    pub uri: String,
}

/// When the agent speaks up before the end. A short attempt sends only its result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ReportTimes {
    /// `Started` is sent when `main` has run that long, so that people see it run; 0 never sends it.
    pub started_after_ms: u64,
    /// `Alive` is sent that often; 0 never sends it.
    pub heartbeat_ms: u64,
}

impl Default for ReportTimes {
    /// Five seconds; below the minute that Fargate bills anyway, and the reconciler's five minutes less some.
    fn default() -> Self {
        Self {
            started_after_ms: 5_000,
            heartbeat_ms: 240_000,
        }
    }
}

/// What the agent takes at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AgentLimits {
    /// Bytes of all input files together.
    pub input_bytes: u64,
    /// Output files.
    pub output_files: u32,
    /// Bytes of all output files together.
    pub output_bytes: u64,
    /// Bytes of the log that are forwarded; what follows is counted only.
    pub log_bytes: u64,
}

impl Default for AgentLimits {
    /// What fits into the largest scratch space of a Fargate task, 200 GiB, and a log that people can read.
    fn default() -> Self {
        Self {
            input_bytes: 190 << 30,
            output_files: 10_000,
            output_bytes: 190 << 30,
            log_bytes: 64 << 20,
        }
    }
}
